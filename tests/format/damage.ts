/**
 * What every decoder must survive: all truncations and single-byte changes of a good input.
 *
 * @module
 */
import { FormatError } from "../../src/errors.ts";
import { assert } from "../support/suite.ts";

/** How often a damaged input was refused, and how often it gave a value. */
export interface DamageCount {
  readonly refused: number;
  readonly read: number;
}

/** Milliseconds that one run may take; the real time is far below. */
const MILLIS_MAX = 20_000;

/** Decodes every proper prefix of `input`: each must be refused, or be equal to the whole by `same`. */
export function everyTruncation<T>(
  input: Uint8Array,
  decode: (bytes: Uint8Array) => T,
  same: (value: T) => boolean,
): DamageCount {
  let refused = 0;
  let read = 0;
  for (let length = 0; length < input.length; length++) {
    const value = attempt(() => decode(input.slice(0, length)), `first ${length} bytes`);
    if (value === undefined) refused++;
    else {
      assert.ok(same(value.value), `the first ${length} of ${input.length} bytes gave another value`);
      read++;
    }
  }
  return { refused, read };
}

/**
 * Decodes `input` with each byte changed: to all other values in the first `thorough` bytes, to ten elsewhere. Each
 * must be refused with `FormatError` or give some value.
 */
export function everyByteChange(
  input: Uint8Array,
  thorough: number,
  decode: (bytes: Uint8Array) => unknown,
): DamageCount {
  const started = performance.now();
  let refused = 0;
  let read = 0;
  const damaged = input.slice();
  for (let at = 0; at < input.length; at++) {
    const good = input[at]!;
    const bits = [0, 1, 2, 3, 4, 5, 6, 7].map((bit) => good ^ (1 << bit));
    const others = at < thorough ? Array.from({ length: 256 }, (_, value) => value) : [...bits, 0, 255];
    for (const other of others) {
      if (other === good) continue;
      damaged[at] = other;
      const value = attempt(() => decode(damaged), `byte ${at} set to ${other}`);
      if (value === undefined) refused++;
      else read++;
    }
    damaged[at] = good;
  }
  assert.ok(performance.now() - started < MILLIS_MAX, "damaged inputs took too long");
  return { refused, read };
}

/** Asserts that `run` throws a FormatError of that reason. */
export function assertRefused(run: () => unknown, reason: string, what?: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof FormatError, String(error));
    assert.equal(error.reason, reason, error.message);
    if (what !== undefined) assert.match(error.message, what);
    return true;
  });
}

function attempt<T>(run: () => T, what: string): { readonly value: T } | undefined {
  try {
    return { value: run() };
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw new Error(`${what}: not a FormatError: ${String(error)}`, { cause: error });
  }
}
