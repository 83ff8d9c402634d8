/**
 * Checks a profile that a program gives: a wrong field would show as a raw error, or in secret as another behaviour.
 *
 * @module
 */
import type { InvalidArgument } from "../../errors.ts";
import { profileOfHost, S3_PROFILES, type S3Profile, type S3ProfileName } from "./profiles.ts";

const isRegion = (value: unknown): boolean => typeof value === "string" && /^[A-Za-z0-9-]{1,64}$/.test(value);

/** What each field may be, and how a message says it. */
const FIELDS: Readonly<Record<keyof S3Profile, readonly [demand: string, holds: (value: unknown) => boolean]>> = {
  name: ["a text of 1 to 64 characters", (value) => typeof value === "string" && /^[^\p{C}]{1,64}$/u.test(value)],
  conditionalCreate: ['"known" or "unknown"', (value) => value === "known" || value === "unknown"],
  addressing: ['"path" or "host"', (value) => value === "path" || value === "host"],
  region: ['"chain", { fixed: "…" } or { fallback: "…" }', (value) => {
    if (value === "chain") return true;
    if (typeof value !== "object" || value === null) return false;
    const fields = Object.entries(value);
    return fields.length === 1 && (fields[0]![0] === "fixed" || fields[0]![0] === "fallback") &&
      isRegion(fields[0]![1]);
  }],
  checksums: [
    '"WHEN_REQUIRED" or "WHEN_SUPPORTED"',
    (value) => value === "WHEN_REQUIRED" || value === "WHEN_SUPPORTED",
  ],
  deleteMany: ["true or false", (value) => typeof value === "boolean"],
  ifMatchEtag: ['"quoted" or "unquoted"', (value) => value === "quoted" || value === "unquoted"],
};

/**
 * The profile that is meant: by name, given whole or in part, or by the endpoint's host. Absent and undefined fields are
 * those of "generic".
 *
 * @throws what `refused` makes of a wrong one
 */
export function checkedProfile(
  profile: S3ProfileName | S3Profile | undefined,
  host: string | undefined,
  refused: (field: string, what: string) => InvalidArgument,
): S3Profile {
  if (profile === undefined) return profileOfHost(host);
  const known = Object.keys(S3_PROFILES).join(", ");
  if (typeof profile === "string" && Object.hasOwn(S3_PROFILES, profile)) return S3_PROFILES[profile];
  if (typeof profile !== "object" || profile === null || Array.isArray(profile)) {
    throw refused("profile", `known are ${known}`);
  }
  const given = Object.entries(profile).filter(([, value]) => value !== undefined);
  for (const [field, value] of given) {
    if (!Object.hasOwn(FIELDS, field)) {
      throw refused("profile", `has a field that is not known; known are ${Object.keys(FIELDS).join(", ")}`);
    }
    const [demand, holds] = FIELDS[field as keyof S3Profile];
    if (!holds(value)) throw refused("profile", `${field} must be ${demand}`);
  }
  return { ...S3_PROFILES.generic, ...Object.fromEntries(given) };
}
