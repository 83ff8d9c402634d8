/**
 * What the service or the network answered, and what that means for the engine.
 *
 * Invariants:
 * - Nothing (invariant N2) of a failure is kept but its status, its code, the id of the request and the name of the
 *   region, each only in the form that such names have: error objects of the SDK carry headers, signatures and whatever
 *   the service echoes, and none of them is passed on, not even as a cause.
 * - A write is said to have had no effect only where the service refused it; everything else is unknown (D19).
 * - Final is only what the service itself refused, by its code or under one of its own headers (N4), and a refused
 *   condition. All else may come from a gateway in between: it is worth repeating, and may have happened.
 * - The code decides before the status: an error may come with status 200 (CompleteMultipartUpload, CopyObject).
 *
 * @module
 */
import { StoreError, type StoreErrorReason, type StoreOp } from "../../errors.ts";
import { ForeignAnswer } from "./s3_marks.ts";

/** What is kept of a failed request. Holds no secret. */
export interface S3Failure {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** The service's code ("SlowDown"), the network's ("ECONNRESET"), or "" when it said none. */
  readonly code: string;
  /** Id of the request, for the service's support; "" when it gave none. */
  readonly requestId: string;
  /** The region in which the bucket lies, where the service says so; else "". */
  readonly bucketRegion: string;
  /** Whether the answer is the service's: it has a code, or one of the service's own headers. */
  readonly isMarked: boolean;
  /** Whether the answer is a web page, which S3 never sends. */
  readonly isPage: boolean;
  /** What an answer lacks that is none of S3; words of ours. */
  readonly lacks?: string | undefined;
}

/** What a failure means. */
export interface S3Verdict {
  readonly reason: StoreErrorReason;
  readonly retryable: boolean;
  /** Whether a write that failed so may have taken effect. */
  readonly mayHaveHappened: boolean;
  /** What to say besides status and code. */
  readonly advice?: string | undefined;
}

/** Reads what the SDK threw. */
export function readFailure(cause: unknown): S3Failure {
  const error = recordOf(cause);
  const metadata = recordOf(error.$metadata);
  const response = recordOf(error.$response);
  const headers = recordOf(response.headers);
  const status = metadata.httpStatusCode ?? response.statusCode;
  // The SDK names an error after its code; without a code it says "UnknownError" or the class.
  const code = error.message === "Region is missing"
    ? "RegionMissing"
    : [error.code, error.Code, error.name].map(plainCode).find((found) => found !== "") ?? "";
  const known = NO_CODES.has(code) ? "" : code;
  return {
    status: typeof status === "number" && status >= 100 && status < 600 ? status : 0,
    code: known,
    requestId: plain(metadata.requestId ?? headers["x-amz-request-id"], /^[A-Za-z0-9_-]{1,80}$/),
    bucketRegion: plain(headers["x-amz-bucket-region"], /^[a-z0-9-]{1,32}$/),
    // "NotFound" is what the SDK calls every 404 without a code.
    isMarked: (known !== "" && known !== "NotFound") || MARKS.some((name) => headers[name] !== undefined),
    isPage: typeof headers["content-type"] === "string" && headers["content-type"].includes("html"),
    ...(cause instanceof ForeignAnswer ? { lacks: cause.lacks } : {}),
  };
}

/** Headers that only a service of this kind sends. */
const MARKS: readonly string[] = ["x-amz-request-id", "x-amz-id-2", "x-amz-bucket-region", "x-oss-request-id"];

/** Names that the SDK gives to errors without a code of the service. */
const NO_CODES: ReadonlySet<string> = new Set([
  "Error",
  "TypeError",
  "SyntaxError",
  "RangeError",
  "UnknownError",
  "Unknown",
]);

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

/** A code is words without digits, or known; keys and tokens are neither. */
function plainCode(value: unknown): string {
  if (typeof value === "string" && BY_CODE.has(value)) return value;
  return plain(
    value,
    /^(?=.{3,60}$)(?:(?:[A-Z]{1,3}[a-z]+)+|E[A-Z]{3,15}|(?:ERR|HPE|CERT|UNABLE|SELF|DEPTH)_[A-Z_]+)$/,
  );
}

function plain(value: unknown, form: RegExp): string {
  return typeof value === "string" && form.test(value) ? value : "";
}

const PASSING: S3Verdict = { reason: "unavailable", retryable: true, mayHaveHappened: true };
const REFUSED_FOR_NOW: S3Verdict = { reason: "unavailable", retryable: true, mayHaveHappened: false };
/** What came in the place of S3's answer says nothing of the request, and stands there for now only. */
const FOREIGN: S3Verdict = {
  ...PASSING,
  advice: "that is not an answer of S3; check the endpoint and what lies between",
};
/** A new certificate, or the right time, mends it. */
const UNTRUSTED: S3Verdict = { ...REFUSED_FOR_NOW, advice: "the certificate of the service is not trusted" };
const REFUSED: S3Verdict = { reason: "unavailable", retryable: false, mayHaveHappened: false };
const THROTTLED: S3Verdict = { reason: "throttled", retryable: true, mayHaveHappened: true };
const LATE: S3Verdict = { reason: "timeout", retryable: true, mayHaveHappened: true };
const MISSING: S3Verdict = { reason: "not-found", retryable: false, mayHaveHappened: false };
const DENIED: S3Verdict = { reason: "permission", retryable: false, mayHaveHappened: false };
const EXPIRED: S3Verdict = { ...DENIED, advice: "the credentials have expired or are not known" };
const RACED: S3Verdict = { reason: "conflict", retryable: true, mayHaveHappened: true };
const FULL: S3Verdict = { reason: "disk-full", retryable: true, mayHaveHappened: false };
const UNSUPPORTED: S3Verdict = {
  reason: "unsupported",
  retryable: false,
  mayHaveHappened: false,
  advice: "the service does not know this kind of request",
};

/** Verdicts by code, for codes that say more than their status. */
const BY_CODE: ReadonlyMap<string, S3Verdict> = new Map<string, S3Verdict>([
  ["NoSuchKey", MISSING],
  ["NoSuchUpload", MISSING],
  ["NoSuchBucket", REFUSED],
  ["PreconditionFailed", { reason: "conflict", retryable: false, mayHaveHappened: false }],
  ["ConditionalRequestConflict", RACED],
  ["OperationAborted", RACED],
  ["SlowDown", THROTTLED],
  ["Throttling", THROTTLED],
  ["ThrottlingException", THROTTLED],
  ["RequestLimitExceeded", THROTTLED],
  ["TooManyRequests", THROTTLED],
  ["BandwidthLimitExceeded", THROTTLED],
  ["InternalError", PASSING],
  ["ServiceUnavailable", PASSING],
  ["RequestTimeout", LATE],
  ["IncompleteBody", REFUSED_FOR_NOW],
  ["BadDigest", REFUSED_FOR_NOW],
  ["XAmzContentSHA256Mismatch", REFUSED_FOR_NOW],
  // The SDK has corrected its idea of the time by the answer's; the next request carries the right one.
  ["RequestTimeTooSkewed", { ...REFUSED_FOR_NOW, advice: "this machine's clock differs from the service's" }],
  ["TemporaryRedirect", REFUSED_FOR_NOW],
  ["AccessDenied", DENIED],
  ["AllAccessDisabled", DENIED],
  ["SignatureDoesNotMatch", DENIED],
  ["Unauthorized", DENIED],
  ["ExpiredToken", EXPIRED],
  ["ExpiredTokenException", EXPIRED],
  ["TokenRefreshRequired", EXPIRED],
  ["RequestExpired", EXPIRED],
  ["InvalidToken", EXPIRED],
  ["InvalidAccessKeyId", EXPIRED],
  ["InvalidClientTokenId", EXPIRED],
  ["CredentialsProviderError", { ...DENIED, advice: "no credentials were found (AWS_* variables, shared files, …)" }],
  ["CredentialsMalformed", {
    ...DENIED,
    advice:
      "the credentials given are of no use: accessKeyId and secretAccessKey must be text without blanks or line " +
      "ends, so must sessionToken if there is one, and expiration a Date",
  }],
  ["CredentialsLate", {
    reason: "timeout",
    retryable: true,
    mayHaveHappened: false,
    advice: "whoever gives the credentials did not answer in time",
  }],
  ["ForeignAnswer", FOREIGN],
  ["TokenProviderError", { ...DENIED, advice: "no credentials were found (AWS_* variables, shared files, …)" }],
  ["RegionMissing", { ...REFUSED, advice: "no region is known; give one as an option, or in AWS_REGION" }],
  ["EndpointNotAllowed", {
    ...REFUSED,
    advice: "AWS_ENDPOINT_URL or the shared configuration name another service; give it as the option `endpoint`",
  }],
  ["QuotaExceeded", FULL],
  ["KeyTooLongError", { ...REFUSED, reason: "invalid-path", advice: "names have at most 1024 bytes" }],
  ["EntityTooLarge", { ...REFUSED, advice: "the object is larger than the service takes at once" }],
  ["NotImplemented", UNSUPPORTED],
  ["MethodNotAllowed", UNSUPPORTED],
]);

/** What `failure` of `op` means. */
export function verdictOf(op: StoreOp, { status, code, isMarked, isPage }: S3Failure): S3Verdict {
  const known = BY_CODE.get(code);
  if (known !== undefined) return known;
  switch (status) {
    case 0:
      if (NETWORK_NOTHING_SENT.has(code)) return REFUSED_FOR_NOW;
      if (CERTIFICATE_CODES.test(code)) return UNTRUSTED;
      return LATE_CODES.has(code) ? LATE : PASSING;
    case 401:
    case 403:
      return DENIED;
    case 404:
      // Only a HEAD says "not found" without a body; else it is the answer of something that is not S3, such as a
      // gateway whose service is away. Taken for a missing object, it would look like a lost database.
      return op === "head" && !isPage ? MISSING : FOREIGN;
    case 408:
      return LATE;
    case 409:
      return RACED;
    case 412:
      return { reason: "conflict", retryable: false, mayHaveHappened: false };
    case 425:
    case 429:
      return { ...THROTTLED, mayHaveHappened: false };
    case 501:
      return isMarked ? UNSUPPORTED : FOREIGN;
    case 307:
      return isMarked ? REFUSED_FOR_NOW : FOREIGN;
    case 507:
      return FULL;
  }
  // A 200 whose body cannot be read: who knows what was done.
  if (status >= 500 || status < 300) return PASSING;
  return isMarked ? REFUSED : FOREIGN;
}

/**
 * Errors of the network that come before any byte of the request. An unreachable host or network is none of them: a
 * connection that was used before may end so when the request has long gone out.
 */
const NETWORK_NOTHING_SENT: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
]);
const CERTIFICATE_CODES = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/;
const LATE_CODES: ReadonlySet<string> = new Set(["ETIMEDOUT", "TimeoutError"]);

/**
 * Whether asking for the credentials anew may help: refused ones, and a HEAD's answer without a body, whose 400 may be
 * "ExpiredToken".
 */
export function asksForCredentials(op: StoreOp, { status, code }: S3Failure): boolean {
  const verdict = BY_CODE.get(code);
  if (verdict !== undefined) return verdict.reason === "permission";
  return status === 401 || status === 403 || (op === "head" && status === 400 && code === "");
}

/** Where a request went, for messages. */
export interface S3Place {
  readonly bucket: string;
  /** "AWS S3" or the endpoint's host. */
  readonly host: string;
}

/** The engine's error for `failure`. */
export function storeErrorOf(
  op: StoreOp,
  path: string,
  failure: S3Failure,
  writes: boolean,
  place: S3Place,
): StoreError {
  const verdict = verdictOf(op, failure);
  return new StoreError({
    op,
    path,
    reason: verdict.reason,
    retryable: verdict.retryable,
    outcome: writes && verdict.mayHaveHappened ? "unknown" : "none",
    detail: detailOf(op, failure, verdict, place),
  });
}

function detailOf(op: StoreOp, failure: S3Failure, verdict: S3Verdict, place: S3Place): string {
  const { status, code, requestId, bucketRegion, lacks } = failure;
  const said = lacks === undefined ? saidBy(status, code) : `answered ${status}, but ${lacks}`;
  const where = requestId === "" ? `${place.host}: ${said}` : `${place.host}: ${said} (request ${requestId})`;
  const advice = adviceOf(op, failure, verdict, place);
  const elsewhere = bucketRegion === "" || verdict.retryable || (status !== 301 && status !== 400)
    ? ""
    : `the bucket lies in the region ${bucketRegion}`;
  return [where, advice, elsewhere].filter((part) => part !== "").join("; ");
}

function saidBy(status: number, code: string): string {
  return [status === 0 ? "" : String(status), code].filter((word) => word !== "").join(" ") || "no answer";
}

function adviceOf(op: StoreOp, { status, code }: S3Failure, verdict: S3Verdict, place: S3Place): string {
  if (code === "NoSuchBucket") return `there is no bucket "${place.bucket}" there; make it first, or check the name`;
  if (verdict === UNSUPPORTED && op === "putIfAbsent") {
    return "the service has no conditional writes (If-None-Match), without which two writers cannot be told apart";
  }
  if (verdict !== FOREIGN && verdict.advice !== undefined) return verdict.advice;
  if (status >= 300 && status < 400) return "redirects are not followed; give the endpoint and region of the bucket";
  return verdict.advice ?? "";
}
