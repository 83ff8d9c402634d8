/** SipHash of many strings at once: the same as one by one, in WebAssembly and without it. @module */
import fc from "fast-check";
import { sipHash13 } from "../../src/bytes/siphash.ts";
import { BATCH_BYTES_MAX, BATCH_COUNT_MAX, hashPlainly, sipHash13Batch } from "../../src/bytes/siphash_batch.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20_261_123;

function oneByOne(strings: ReadonlyArray<Uint8Array>): number[] {
  const hash = new Uint32Array(2);
  return strings.flatMap((bytes) => {
    sipHash13(bytes, 0, bytes.length, hash);
    return [hash[0]!, hash[1]!];
  });
}

function batch(hash: typeof sipHash13Batch, strings: ReadonlyArray<Uint8Array>): number[] {
  const bytes = Uint8Array.from(strings.flatMap((string) => [...string]));
  const lengths = Uint16Array.from([...strings.map((string) => string.length), 999]);
  const into = new Uint32Array(2 * strings.length + 5).fill(7);
  hash(bytes, lengths, strings.length, into, 3);
  assert.deepEqual([...into.subarray(0, 3), ...into.subarray(3 + 2 * strings.length)], [7, 7, 7, 7, 7]);
  return [...into.subarray(3, 3 + 2 * strings.length)];
}

describe("sipHash13Batch", () => {
  for (const hash of [sipHash13Batch, hashPlainly]) {
    it(`${hash.name} answers what sipHash13 answers for each string (seed ${SEED})`, () => {
      const strings = fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 40, size: "max" });
      fc.assert(
        fc.property(strings, (all) => {
          assert.deepEqual(batch(hash, all), oneByOne(all));
        }),
        { seed: SEED, numRuns: 200 },
      );
    });

    it(`${hash.name} takes every length up to a full batch, and the most strings there may be`, () => {
      for (const length of [0, 1, 7, 8, 9, 255, 256, 257, BATCH_BYTES_MAX]) {
        const string = new Uint8Array(length).map((_, i) => i * 7);
        assert.deepEqual(batch(hash, [string]), oneByOne([string]));
      }
      const many = Array.from({ length: BATCH_COUNT_MAX }, (_, i) => new Uint8Array(16).fill(i));
      assert.deepEqual(batch(hash, many), oneByOne(many));
      // What an earlier batch left behind must not show.
      assert.deepEqual(batch(hash, [Uint8Array.of(1, 2, 3)]), oneByOne([Uint8Array.of(1, 2, 3)]));
    });
  }
});
