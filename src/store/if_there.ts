/**
 * Requests for objects that may not be there.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../errors.ts";

/** The answer of `request`, undefined when there is no such object. */
export function ifThere<A>(request: Effect.Effect<A, StoreError>): Effect.Effect<A | undefined, StoreError> {
  return Effect.catch(
    request,
    (error) => error.reason === "not-found" ? Effect.succeed(undefined) : Effect.fail(error),
  );
}
