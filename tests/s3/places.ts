/**
 * The real servers of this run, as `run_tests.ts --s3` names them.
 *
 * @module
 */
import process from "node:process";
import { randomBytes } from "node:crypto";
import type { S3Place } from "../support/s3/server.ts";

/** The servers; none, and a line that says so, when the run has none. */
export function s3Places(): ReadonlyArray<S3Place> {
  const text = process.env.PHYLLITE_S3 ?? "";
  if (text !== "") return JSON.parse(text) as ReadonlyArray<S3Place>;
  console.log("SKIPPED: tests on real S3 servers; run with --s3");
  return [];
}

/** A folder that nobody else uses. */
export function freshFolder(): string {
  return `t-${randomBytes(8).toString("hex")}`;
}
