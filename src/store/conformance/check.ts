/**
 * The words in which the conformance checks are written: run an effect, expect bytes, expect a refusal.
 *
 * @module
 */
import { Cause, Effect, Exit } from "effect";
import { bytesEqual } from "../../bytes/compare.ts";
import { StoreError, type StoreErrorReason } from "../../errors.ts";
import type { ObjectStoreShape } from "../object_store.ts";

/** Runs an effect to its promise; a store under a virtual clock may need its own scheduler and services. */
export type RunEffect = <A>(effect: Effect.Effect<A, StoreError>) => Promise<A>;

/** What a check works with. */
export interface CheckContext {
  readonly store: ObjectStoreShape;
  readonly run: RunEffect;
}

/** One promise of an object store, and how to see whether it is kept. */
export interface StoreCheck {
  /** The promise in plain words. */
  readonly name: string;
  /** @throws Error when the promise is broken */
  readonly check: (context: CheckContext) => Promise<void>;
}

/** Fails the check with `message` unless `condition` holds. */
export function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`The store does not conform: ${message}`);
}

/** Fails unless both are the same value. */
export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  expect(Object.is(actual, expected), `${what} is ${String(actual)}, expected ${String(expected)}`);
}

/** Fails unless both hold the same bytes. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  expect(actual instanceof Uint8Array, `${what} is not a Uint8Array`);
  expect(
    actual.length === expected.length && bytesEqual(actual, expected),
    `${what} has ${actual.length} bytes that differ from the ${expected.length} expected`,
  );
}

/** Fails unless `effect` fails with a `StoreError` of one of `reasons`. */
export async function expectRefusal(
  run: RunEffect,
  effect: Effect.Effect<unknown, StoreError>,
  what: string,
  ...reasons: ReadonlyArray<StoreErrorReason>
): Promise<StoreError> {
  const exit = await run(Effect.exit(effect));
  expect(Exit.isFailure(exit), `${what} succeeds, expected ${reasons.join(" or ")}`);
  const error = Cause.squash(exit.cause);
  expect(error instanceof StoreError, `${what} fails with ${String(error)}, expected a StoreError`);
  expect(reasons.includes(error.reason), `${what} fails with ${error.reason}, expected ${reasons.join(" or ")}`);
  return error;
}

/** `length` bytes that look random and are a function of `seed`. */
export function patternBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = (seed + 1) | 0;
  for (let i = 0; i < length; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** The bytes of `text` in UTF-8. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
