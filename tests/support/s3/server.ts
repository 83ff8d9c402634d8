/**
 * What the two S3 servers for tests have in common.
 *
 * @module
 */

/** Which server: Ceph's gateway, or Cloudflare's R2 as it runs on a developer's machine. */
export type S3Kind = "rgw" | "r2";

/** How a server is reached. All of it is for tests; the credentials are made up. */
export interface S3Place {
  readonly kind: S3Kind;
  readonly endpoint: string;
  /** A bucket that is there. */
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** In which form the server wants an ETag in `If-Match`. */
  readonly ifMatchEtag: "quoted" | "unquoted";
}

/** Bucket and credentials of every server. */
export const TEST_ACCOUNT = {
  bucket: "phyllite",
  accessKeyId: "phyllite-test",
  secretAccessKey: "phyllite-test-secret",
} as const;

/** A server of either kind, installed. */
export interface RunnableServer {
  readonly place: S3Place;
  /** Starts what does not run and waits until the server answers; the first time it also makes the bucket. */
  readonly run: () => Promise<void>;
}
