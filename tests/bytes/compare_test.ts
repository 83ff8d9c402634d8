/** Order and prefixes of byte strings, against plain string and array models. @module */
import fc from "fast-check";
import {
  bytesEqual,
  commonPrefixLength,
  compareBytes,
  compareSlices,
  keyWord,
  prefixEnd,
  toBytes,
} from "../../src/bytes/compare.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20261;
const shortKey = fc.uint8Array({ maxLength: 12, max: 255 }).map((bytes) =>
  bytes.map((byte) => byte % 4 === 0 ? byte : byte % 3 + 253)
);

function sign(value: number): number {
  return value < 0 ? -1 : value > 0 ? 1 : 0;
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

describe("bytes/compare", () => {
  it("compareBytes orders by unsigned bytes, prefixes first", () => {
    const table: [number[], number[], number][] = [
      [[], [], 0],
      [[], [0], -1],
      [[1], [1, 0], -1],
      [[0x7f], [0x80], -1],
      [[255], [1, 255], 1],
      [[1, 2, 3], [1, 2, 3], 0],
      [[1, 2, 4], [1, 2, 3, 9], 1],
    ];
    for (const [a, b, expected] of table) {
      assert.equal(sign(compareBytes(Uint8Array.from(a), Uint8Array.from(b))), expected, `${a} ? ${b}`);
      assert.equal(sign(compareBytes(Uint8Array.from(b), Uint8Array.from(a))), -expected + 0, `${b} ? ${a}`);
    }
  });

  it(`every comparison agrees with JavaScript's order of Latin-1 strings (seed ${SEED})`, () => {
    fc.assert(
      fc.property(shortKey, shortKey, fc.nat(3), fc.nat(3), (a, b, padA, padB) => {
        const expected = latin1(a) < latin1(b) ? -1 : latin1(a) > latin1(b) ? 1 : 0;
        assert.equal(sign(compareBytes(a, b)), expected);
        assert.equal(bytesEqual(a, b), expected === 0);
        const wideA = Uint8Array.from([...new Array(padA).fill(7), ...a, 9]);
        const wideB = Uint8Array.from([...new Array(padB).fill(8), ...b, 3]);
        assert.equal(
          sign(compareSlices(wideA, padA, padA + a.length, wideB, padB, padB + b.length)),
          expected,
        );
        let common = 0;
        while (common < a.length && common < b.length && a[common] === b[common]) common++;
        assert.equal(commonPrefixLength(wideA, padA, padA + a.length, wideB, padB, padB + b.length), common);
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });

  it(`keyWord never contradicts the byte order and settles it when words differ (seed ${SEED})`, () => {
    fc.assert(
      fc.property(shortKey, shortKey, (a, b) => {
        const hi = keyWord(a, 0, a.length) - keyWord(b, 0, b.length);
        const lo = keyWord(a, 4, a.length) - keyWord(b, 4, b.length);
        const byWords = hi !== 0 ? hi : lo;
        if (byWords !== 0) assert.equal(sign(byWords), sign(compareBytes(a, b)));
      }),
      { seed: SEED, numRuns: 3000 },
    );
    assert.equal(keyWord(new Uint8Array(0), 0, 0), -0x80000000);
    assert.equal(keyWord(Uint8Array.of(255, 255, 255, 255), 0, 4), 0x7fffffff);
  });

  it("prefixEnd is the first key after all keys with the prefix", () => {
    assert.equal(prefixEnd(new Uint8Array(0)), undefined);
    assert.equal(prefixEnd(Uint8Array.of(255, 255)), undefined);
    assert.deepEqual(prefixEnd(Uint8Array.of(1, 255, 255)), Uint8Array.of(2));
    assert.deepEqual(prefixEnd(Uint8Array.of(1, 2)), Uint8Array.of(1, 3));
    fc.assert(
      fc.property(shortKey, shortKey, (prefix, key) => {
        const end = prefixEnd(prefix);
        const starts = latin1(key).startsWith(latin1(prefix));
        const inside = compareBytes(key, prefix) >= 0 && (end === undefined || compareBytes(key, end) < 0);
        assert.equal(inside, starts);
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });

  it("toBytes encodes strings as UTF-8 and passes arrays through", () => {
    assert.deepEqual(toBytes("aé€"), Uint8Array.of(0x61, 0xc3, 0xa9, 0xe2, 0x82, 0xac));
    const bytes = Uint8Array.of(1, 2);
    assert.equal(toBytes(bytes), bytes);
  });
});
