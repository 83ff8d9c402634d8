/**
 * Settings of a store in S3, checked before anything is sent.
 *
 * Invariants:
 * - Requests are signed only for TLS, for loopback, or where the user has said `allowHttp`.
 * - No message repeats what may be a secret: of a refused endpoint only what is wrong with it is said.
 *
 * @module
 */
import { InvalidArgument } from "../../errors.ts";
import { checkedProfile } from "./profile_check.ts";
import type { S3Profile, S3ProfileName } from "./profiles.ts";
import { credentialsProblem, type S3Credentials } from "./s3_credentials.ts";

/** Settings of `s3Store`. */
export interface S3Options {
  /** Name of the bucket. */
  readonly bucket: string;
  /**
   * URL of the service, such as "https://<account>.r2.cloudflarestorage.com"; AWS in the region when absent. The
   * variables AWS_ENDPOINT_URL are not looked at.
   */
  readonly endpoint?: string | undefined;
  /** Region to sign for; of the service's profile, AWS_REGION or the shared configuration when absent. */
  readonly region?: string | undefined;
  /** Whether the bucket stands in the path rather than in the host name; what the profile says when absent. */
  readonly pathStyle?: boolean | undefined;
  /** Allows plain http to a host that is not this machine. Whoever listens can read and change everything. */
  readonly allowHttp?: boolean | undefined;
  /**
   * Credentials, or a function that answers them: it is called at the start, before they expire, and once more when
   * the service refuses them. The usual chain (AWS_* variables, shared files, containers, instances) when absent.
   */
  readonly credentials?: S3Credentials | (() => Promise<S3Credentials>) | undefined;
  /** What is known of the service; chosen by the endpoint's host when absent. */
  readonly profile?: S3ProfileName | S3Profile | undefined;
  /** Size of the parts of large objects, bytes: 5 MiB to 5 GiB; 8 MiB when absent. Up to four are held in memory. */
  readonly partBytes?: number | undefined;
  /** A `put` of more bytes goes in parts; 64 MiB when absent, 5 GiB at most. */
  readonly multipartAboveBytes?: number | undefined;
  /**
   * Time limit of a request, ms, besides 1 s for every 100 kB of its body; 30,000 when absent. What a write cut off has
   * done is unknown.
   */
  readonly requestTimeoutMillis?: number | undefined;
  /** Connections at most; further requests wait for one. 64 when absent. */
  readonly connections?: number | undefined;
}

/** Checked settings. */
export interface S3Settings {
  readonly bucket: string;
  /** Without a "/" at its end; undefined for AWS in the region. */
  readonly endpoint: string | undefined;
  /** Undefined: what AWS_REGION or the shared configuration say, else the fallback of the profile. */
  readonly region: string | undefined;
  readonly pathStyle: boolean;
  readonly allowHttp: boolean;
  readonly credentials: S3Credentials | (() => Promise<S3Credentials>) | undefined;
  readonly profile: S3Profile;
  readonly partBytes: number;
  readonly multipartAboveBytes: number;
  readonly requestTimeoutMillis: number;
  readonly connections: number;
}

const MIB = 1 << 20;
/** Smallest part that S3 takes, except for the last. */
const PART_BYTES_MIN: number = 5 * MIB;
/** Largest object of a single put, and largest part and copy. */
const SINGLE_BYTES_MAX: number = 5 * 1024 * MIB;

const FIELDS: ReadonlySet<string> = new Set<keyof S3Options>([
  "bucket",
  "endpoint",
  "region",
  "pathStyle",
  "allowHttp",
  "credentials",
  "profile",
  "partBytes",
  "multipartAboveBytes",
  "requestTimeoutMillis",
  "connections",
]);

/** Checks `options` and fills in what is absent. @throws InvalidArgument reason "options" */
export function s3Settings(options: S3Options): S3Settings {
  if (typeof options !== "object" || options === null) throw refused("options", "give an object with a bucket");
  const unknown = Object.keys(options).filter((name) => !FIELDS.has(name));
  if (unknown.length > 0) throw refused("options", `unknown ${unknown.map(shownName).join(", ")}`);
  const endpoint = checkedEndpoint(options.endpoint, checkedFlag("allowHttp", options.allowHttp) ?? false);
  const profile = checkedProfile(options.profile, endpoint?.hostname, refused);
  const pathStyle = checkedFlag("pathStyle", options.pathStyle) ?? profile.addressing === "path";
  return {
    bucket: checkedBucket(options.bucket, pathStyle),
    endpoint: endpoint === undefined ? undefined : `${endpoint.origin}${endpoint.pathname.replace(/\/+$/, "")}`,
    region: regionOf(options.region, profile),
    pathStyle,
    allowHttp: options.allowHttp ?? false,
    credentials: checkedCredentials(options.credentials),
    profile,
    partBytes: checkedNumber("partBytes", options.partBytes, 8 * MIB, PART_BYTES_MIN, SINGLE_BYTES_MAX),
    multipartAboveBytes: checkedNumber(
      "multipartAboveBytes",
      options.multipartAboveBytes,
      64 * MIB,
      0,
      SINGLE_BYTES_MAX,
    ),
    requestTimeoutMillis: checkedNumber("requestTimeoutMillis", options.requestTimeoutMillis, 30_000, 1, 2 ** 31 - 1),
    connections: checkedNumber("connections", options.connections, 64, 1, 10_000),
  };
}

/** Whether plain http to `hostname` stays on this machine. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase();
  return name === "localhost" || name.endsWith(".localhost") || name === "[::1]" || name === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

function checkedEndpoint(endpoint: string | undefined, allowHttp: boolean): URL | undefined {
  if (endpoint === undefined) return undefined;
  let url: URL;
  try {
    url = new URL(endpoint);
  } catch {
    // Not even the cause: it repeats the text.
    throw refused("endpoint", "it is not a URL; give one such as https://s3.example.com");
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") throw refused("endpoint", "must begin with https://");
  if (url.username !== "" || url.password !== "") {
    throw refused("endpoint", "credentials do not belong in a URL; give them as `credentials` or in AWS_* variables");
  }
  if (url.search !== "" || url.hash !== "") throw refused("endpoint", 'must end before any "?" or "#"');
  if (url.protocol === "http:" && !allowHttp && !isLoopback(url.hostname)) {
    throw refused(
      "endpoint",
      "plain http shows everything to whoever listens; give https://, or allowHttp if the network is yours alone",
    );
  }
  return url;
}

function regionOf(region: string | undefined, profile: S3Profile): string | undefined {
  if (region !== undefined && !(typeof region === "string" && /^[A-Za-z0-9-]{1,64}$/.test(region))) {
    throw refused("region", 'give a name such as "eu-central-1"');
  }
  return profile.region !== "chain" && "fixed" in profile.region ? profile.region.fixed : region;
}

function checkedBucket(bucket: string, pathStyle: boolean): string {
  if (typeof bucket !== "string" || bucket === "") throw refused("bucket", "give its name");
  const strict = /^(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
  // Older and other services have names with capitals and underscores, which only a path can hold.
  const lax = /^(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/;
  if (!(pathStyle ? lax : strict).test(bucket)) {
    throw refused(
      "bucket",
      pathStyle
        ? "must have 3 to 63 small letters, digits, dots and hyphens (older names: to 255, capitals and underscores too), " +
          "and be no IP address"
        : "must have 3 to 63 small letters, digits, dots and hyphens, and be no IP address",
    );
  }
  if (bucket.endsWith("--x-s3")) {
    throw refused(
      "bucket",
      "a directory bucket (S3 Express) lists its objects in no order; give a general purpose one",
    );
  }
  return bucket;
}

function checkedCredentials(
  credentials: S3Options["credentials"],
): S3Credentials | (() => Promise<S3Credentials>) | undefined {
  if (credentials === undefined || typeof credentials === "function") return credentials;
  const problem = credentialsProblem(credentials);
  if (problem !== undefined) throw refused("credentials", problem);
  return credentials;
}

function checkedFlag(field: string, value: boolean | undefined): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw refused(field, "must be true or false");
}

function checkedNumber(
  field: string,
  value: number | undefined,
  absent: number,
  least: number,
  most: number,
): number {
  if (value === undefined) return absent;
  if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
  throw refused(field, `must be a whole number from ${least} to ${most}`);
}

/** A name that is safe to repeat. */
export function shownName(name: string): string {
  return /^[A-Za-z][A-Za-z_-]{0,31}$/.test(name) ? `"${name}"` : "(a name that is not repeated here)";
}

function refused(field: string, what: string): InvalidArgument {
  return new InvalidArgument({ reason: "options", message: `Cannot use S3: ${field}: ${what}` });
}
