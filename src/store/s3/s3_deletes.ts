/**
 * What became of each object of a DeleteObjects.
 *
 * @module
 */
import { StoreError } from "../../errors.ts";
import { readFailure, type S3Place, storeErrorOf, verdictOf } from "./s3_failures.ts";

/** One entry of the answer's list of errors. */
export interface KeyError {
  readonly Key?: string | undefined;
  readonly Code?: string | undefined;
}

/**
 * One error for all that failed, or undefined. An object that was not there is deleted. What cannot be repeated counts
 * before what can.
 */
export function keyFailures(
  errors: ReadonlyArray<KeyError>,
  paths: ReadonlyArray<string>,
  place: S3Place,
): StoreError | undefined {
  const found = errors.map(({ Key, Code }) => {
    const failure = { ...readFailure({ name: Code }), status: 200 };
    return { path: paths.find((path) => path === Key) ?? paths[0] ?? "", failure };
  }).filter(({ failure }) => verdictOf("deleteMany", failure).reason !== "not-found");
  const worst = found.find(({ failure }) => !verdictOf("deleteMany", failure).retryable) ?? found[0];
  if (worst === undefined) return undefined;
  const error = storeErrorOf("deleteMany", worst.path, worst.failure, true, place);
  const { op, path, reason, retryable } = error;
  const detail = `${found.length} of ${paths.length} objects were not deleted; ${error.detail}`;
  return new StoreError({ op, path, reason, retryable, outcome: "unknown", detail });
}
