/**
 * What a read can fail with, and the border between throwing and failing.
 *
 * The synchronous part of a read throws typed errors; the driver that mixes it with I/O wants them as failures. Codecs
 * throw `FormatError`, since they do not know which object they read; whoever reads it says so.
 *
 * @module
 */
import { Effect } from "effect";
import { damageIn, DataError, Internal, InvalidArgument, type StoreError } from "../errors.ts";

/** Failures of a read: damaged or missing tables, the store, a missing or failing merge operator. */
export type ReadError = DataError | StoreError | InvalidArgument | Internal;

/** Runs `step`; a typed error that it throws becomes the failure of the effect, anything else stays a defect. */
export function attempt<A>(step: () => Effect.Effect<A, ReadError>): Effect.Effect<A, ReadError> {
  return Effect.suspend(() => {
    try {
      return step();
    } catch (error) {
      if (error instanceof DataError || error instanceof InvalidArgument || error instanceof Internal) {
        return Effect.fail(error);
      }
      throw error;
    }
  });
}

/**
 * Runs a decoder over bytes of `object`; damage names the object, anything else that it throws is a defect.
 *
 * @param base where the decoded bytes begin in the object
 */
export function decode<A>(object: string, base: number, run: () => A): Effect.Effect<A, DataError> {
  return Effect.try({ try: run, catch: (error) => damageIn(object, base, error) });
}
