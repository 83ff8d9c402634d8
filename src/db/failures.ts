/**
 * What leaves the engine: the one table from internal faults to the six public errors.
 *
 * @module
 */
import { Effect } from "effect";
import {
  Closed,
  DataError,
  type DbError,
  Internal,
  InvalidArgument,
  StoreError,
  textOf,
  TransactionConflict,
  Unavailable,
} from "../errors.ts";

/** Reason of the `InvalidArgument` that refuses a store without conditional creates. */
export const STORE_UNFIT: string = "store-unfit";

/** The public error that stands for `cause`. */
export function asDbError(cause: unknown): DbError {
  if (
    cause instanceof InvalidArgument || cause instanceof TransactionConflict || cause instanceof Closed ||
    cause instanceof Unavailable || cause instanceof DataError || cause instanceof Internal
  ) return cause;
  if (cause instanceof StoreError) return storeFailure(cause);
  return new Internal({
    reason: "defect",
    message: `Internal error: ${textOf(cause)}. Please report it with its cause`,
    cause,
  });
}

/** Maps the failures of an effect that talks to the store. Defects pass unchanged. */
export function withDbErrors<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, DbError, R> {
  return Effect.mapError(effect, asDbError);
}

function storeFailure(error: StoreError): DbError {
  // Such a store was found unfit, which says more than the request that showed it.
  if (error.cause instanceof InvalidArgument && error.cause.reason === STORE_UNFIT) return error.cause;
  if (error.cause instanceof Closed) return error.cause;
  switch (error.reason) {
    case "not-found":
      return new DataError({
        object: error.path,
        section: "object",
        offset: 0,
        reason: "missing-object",
        cause: error,
      });
    case "invalid-path":
      return new InvalidArgument({
        reason: "path",
        message: `${error.message}. Give a folder as the location, one without links or foreign files in the way`,
        cause: error,
      });
    default:
      return new Unavailable({
        reason: error.reason,
        message: `${error.message}. Nothing acknowledged is lost; ${remedy(error)}`,
        cause: error,
      });
  }
}

/** What helps against a store that fails for this reason. */
function remedy({ reason, retryable }: StoreError): string {
  switch (reason) {
    case "permission":
      return "check what rights this process has there";
    case "disk-full":
      return "make room, then try again";
    case "throttled":
      return "the store asks for fewer requests: try again later, or with fewer at once";
    case "unsupported":
      return "choose a store that can do what is needed";
    default:
      return retryable
        ? "try again when the object store answers"
        : "it does not pass by itself: mend that, then try again";
  }
}

/** What every call answers after a clean close. */
export function closedCleanly(): Closed {
  return new Closed({ reason: "clean", message: "Closed: the database was closed. Open it again to go on" });
}

/** The error of a close that the store held up for so long. */
export function closeTimeout(millis: number): Unavailable {
  return new Unavailable({
    reason: "timeout",
    message: `The object store did not take what close() had to store within ${millis} ms (requestTimeoutMillis). ` +
      "Writes that were acknowledged are durable; others may be lost",
  });
}
