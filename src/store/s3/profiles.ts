/**
 * How services that speak S3 differ, as data. No other file asks which service it talks to.
 *
 * The profile is chosen by the host of the endpoint and can be given by name or whole. "known" is said only of services
 * whose own documentation promises that `If-None-Match: *` refuses; everything else, loopback included, is asked once.
 *
 * @module
 */

/** Services with a profile of their own; "generic" is everything else. */
export type S3ProfileName = "aws" | "r2" | "ceph" | "minio" | "spaces" | "tigris" | "gcs" | "b2" | "oss" | "generic";

/** What has to be known of a service before the first request. */
export interface S3Profile {
  /** What messages call it. */
  readonly name: string;
  /** Whether a create of what exists is refused by documented promise. */
  readonly conditionalCreate: "known" | "unknown";
  /** Whether the bucket stands in the path ("https://s3.example.com/bucket/key") or in the host name. */
  readonly addressing: "path" | "host";
  /** Region to sign for: always this one, this one unless another is given, or asked of the usual chain. */
  readonly region: { readonly fixed: string } | { readonly fallback: string } | "chain";
  /**
   * Checksums of the SDK: only where the operation demands one, or wherever it knows one. Many services refuse those
   * they do not know.
   */
  readonly checksums: "WHEN_REQUIRED" | "WHEN_SUPPORTED";
  /** Whether many objects may be deleted with one request. */
  readonly deleteMany: boolean;
  /** How an `If-Match` names an ETag. The store sends none; whoever does finds it here. */
  readonly ifMatchEtag: "quoted" | "unquoted";
}

const GENERIC: S3Profile = {
  name: "generic",
  conditionalCreate: "unknown",
  addressing: "path",
  region: { fallback: "us-east-1" },
  checksums: "WHEN_REQUIRED",
  deleteMany: true,
  ifMatchEtag: "quoted",
};

/** The profiles by name. */
export const S3_PROFILES: Readonly<Record<S3ProfileName, S3Profile>> = {
  aws: { ...GENERIC, name: "aws", conditionalCreate: "known", addressing: "host", region: "chain" },
  r2: { ...GENERIC, name: "r2", conditionalCreate: "known", region: { fixed: "auto" } },
  ceph: { ...GENERIC, name: "ceph", ifMatchEtag: "unquoted" },
  minio: { ...GENERIC, name: "minio" },
  spaces: { ...GENERIC, name: "spaces", addressing: "host", ifMatchEtag: "unquoted" },
  tigris: { ...GENERIC, name: "tigris", region: { fixed: "auto" } },
  gcs: { ...GENERIC, name: "gcs", region: { fallback: "auto" }, deleteMany: false },
  b2: { ...GENERIC, name: "b2" },
  oss: { ...GENERIC, name: "oss", addressing: "host" },
  generic: GENERIC,
};

/** Ends of host names and the profile they mean. */
const HOSTS: ReadonlyArray<readonly [suffix: string, profile: S3ProfileName]> = [
  [".amazonaws.com", "aws"],
  [".amazonaws.com.cn", "aws"],
  [".r2.cloudflarestorage.com", "r2"],
  [".digitaloceanspaces.com", "spaces"],
  ["storage.googleapis.com", "gcs"],
  [".storage.tigris.dev", "tigris"],
  [".storage.dev", "tigris"],
  [".backblazeb2.com", "b2"],
  [".aliyuncs.com", "oss"],
];

/** The profile of an endpoint's host name; without an endpoint it is AWS. */
export function profileOfHost(host: string | undefined): S3Profile {
  if (host === undefined) return S3_PROFILES.aws;
  const name = host.toLowerCase().replace(/\.$/, "");
  const found = HOSTS.find(([suffix]) => name.endsWith(suffix));
  return found === undefined ? GENERIC : S3_PROFILES[found[1]];
}
