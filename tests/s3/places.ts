/**
 * The S3 servers that the tests of this folder run on, and fresh places in them.
 *
 * The servers stand in `PHYLLITE_S3`, which `deno task test --s3` sets. Both runtimes work on the same servers at the
 * same time: every test takes folders of its own and never kills a server that it did not start.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import process from "node:process";
import type { S3Options, S3Store } from "../../src/s3.ts";
import { canRunPrograms } from "../support/permissions.ts";
import type { S3Place } from "../support/s3/server.ts";
import { S3_VARIABLE } from "../support/s3_run.ts";
import { describe, it } from "../support/suite.ts";

/** Why tests that need a server are left out here, or false. */
export const S3_MISSING: string | false = s3Places().length === 0 ? "run with: deno task test --s3" : false;

/** The store in S3, loaded where there are servers: the AWS SDK reads the environment when it is loaded. */
export const s3Store: (options: S3Options) => S3Store = S3_MISSING === false
  ? (await import("../../src/s3.ts")).s3Store
  : () => {
    throw new Error("There is no server");
  };

/** Whether everything is to run of which a run otherwise takes a sample: `PHYLLITE_S3_ALL=1`. */
export const ALL: boolean = S3_MISSING === false && process.env["PHYLLITE_S3_ALL"] === "1";

/** The servers; none when the run has none. */
export function s3Places(): ReadonlyArray<S3Place> {
  if (!canRunPrograms()) return [];
  return JSON.parse(process.env[S3_VARIABLE] ?? "[]") as ReadonlyArray<S3Place>;
}

/** Defines the tests of a group once for each server, or the group as skipped. */
export function describeOnServers(name: string, define: (place: S3Place) => void): void {
  if (S3_MISSING !== false) describe(`s3: ${name}`, { skip: S3_MISSING }, () => it("needs a server", () => {}));
  for (const place of s3Places()) describe(`s3: ${name}, ${place.kind}`, () => define(place));
}

/** How the store of a server is opened. */
export function storeOptions(place: S3Place): S3Options {
  const { kind, endpoint, bucket, region, accessKeyId, secretAccessKey } = place;
  const credentials = { accessKeyId, secretAccessKey };
  return { endpoint, bucket, region, pathStyle: true, credentials, profile: kind === "rgw" ? "ceph" : "r2" };
}

/** A folder that nobody else uses. */
export function freshFolder(): string {
  return `t-${randomBytes(8).toString("hex")}`;
}

/** Gives `work` a store and a fresh root in it, and closes the store afterwards. */
export async function onS3<A>(place: S3Place, work: (store: S3Store, root: string) => Promise<A>): Promise<A> {
  const store = s3Store(storeOptions(place));
  try {
    return await work(store, freshFolder());
  } finally {
    await store.close();
  }
}
