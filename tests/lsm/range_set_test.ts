/** Fragments of range tombstones against a list of them. @module */
import fc from "fast-check";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { RangeTombstone } from "../../src/format/types.ts";
import { joinFragments, NOT_COVERED, RangeLevels, RangeSet } from "../../src/lsm/range_set.ts";
import { seqsOver } from "./range_numbers.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 5502;
const key = (n: number) => Uint8Array.of(n);
const anyTombstone: fc.Arbitrary<RangeTombstone> = fc.tuple(fc.nat(20), fc.integer({ min: 1, max: 21 }), fc.nat(30))
  .map(
    ([start, length, seq]) => ({
      start: start === 0 ? new Uint8Array(0) : key(start),
      end: start + length > 20 ? undefined : key(start + length),
      seq: seq + 1,
      createTs: seq + 1,
    }),
  );
const some = fc.array(anyTombstone, { maxLength: 25 });

/** The newest of at most `maxSeq` over key `n`, by looking at each. */
function modelOver(all: readonly RangeTombstone[], n: number, maxSeq: number): number {
  return all.filter(({ start, end, seq }) =>
    seq <= maxSeq && compareBytes(start, key(n)) <= 0 && (end === undefined || compareBytes(key(n), end) < 0)
  ).reduce((newest, { seq }) => Math.max(newest, seq), NOT_COVERED);
}

describe("RangeSet", () => {
  it(`seqOver is the newest visible tombstone over a key (seed ${SEED})`, () => {
    fc.assert(
      fc.property(some, fc.nat(35), (all, maxSeq) => {
        const set = RangeSet.of(all);
        for (let n = 0; n < 23; n++) assert.equal(set.seqOver(key(n), maxSeq), modelOver(all, n, maxSeq), `key ${n}`);
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it(`fragments do not overlap, carry every number over them, and give the same set again (seed ${SEED})`, () => {
    fc.assert(
      fc.property(some, (all) => {
        const set = RangeSet.of(all);
        assert.ok(set.count <= Math.max(0, 2 * all.length - 1));
        for (let i = 1; i < set.count; i++) assert.ok(compareBytes(set.end(i - 1)!, set.start(i)) <= 0);
        const numbers = new Map<string, number[]>();
        for (let n = 0; n < 23; n++) {
          const over = all.filter(({ start, end }) =>
            compareBytes(start, key(n)) <= 0 && (end === undefined || compareBytes(key(n), end) < 0)
          );
          numbers.set(String(n), [...new Set(over.map(({ seq }) => seq))].sort((a, b) => b - a));
          const at = set.find(key(n));
          const isOver = at < set.count && compareBytes(set.start(at), key(n)) <= 0;
          assert.deepEqual(isOver ? seqsOver(set, at) : [], numbers.get(String(n)));
        }
        assert.deepEqual(RangeSet.of(set.fragments()).fragments(), set.fragments());
        const joined = joinFragments(set.fragments());
        assert.ok(joined.length <= set.fragments().length);
        const again = RangeSet.of(joined);
        for (let n = 0; n < 23; n++) {
          const at = again.find(key(n));
          const isOver = at < again.count && compareBytes(again.start(at), key(n)) <= 0;
          assert.deepEqual(isOver ? seqsOver(again, at) : [], numbers.get(String(n)));
        }
        for (let i = 1; i < again.count; i++) {
          const touches = compareBytes(again.end(i - 1)!, again.start(i)) === 0;
          assert.ok(!touches || String(seqsOver(again, i - 1)) !== String(seqsOver(again, i)), "not joined");
        }
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("RangeSet.of leaves out what ends where it begins, or before, and does not cut others there", () => {
    const over = (start: number, end: number, seq: number) => ({ start: key(start), end: key(end), seq, createTs: 0 });
    assert.equal(RangeSet.of([over(3, 3, 1)]).count, 0);
    const set = RangeSet.of([over(5, 5, 9), over(2, 8, 4), over(7, 6, 9), over(2, 2, 4)]);
    assert.deepEqual(set.fragments(), [over(2, 8, 4)]);
    assert.equal(set.seqOver(key(9), Infinity), NOT_COVERED);
    const levels = new RangeLevels();
    for (const tombstone of [over(3, 3, 1), over(1, 4, 2), over(9, 3, 3)]) levels.add([tombstone]);
    assert.deepEqual([2, 3, 5, 12].map((n) => levels.seqOver(key(n), Infinity)), [2, 2, NOT_COVERED, NOT_COVERED]);
  });

  it(`clipped covers inside the bounds as before, and nothing outside (seed ${SEED})`, () => {
    fc.assert(
      fc.property(some, fc.option(fc.nat(22)), fc.option(fc.nat(22)), fc.nat(35), (all, low, high, maxSeq) => {
        const set = RangeSet.of(all).clipped(
          low === null ? undefined : key(low),
          high === null ? undefined : key(high),
        );
        for (let n = 0; n < 23; n++) {
          const inside = (low === null || n >= low) && (high === null || n < high);
          assert.equal(set.seqOver(key(n), maxSeq), inside ? modelOver(all, n, maxSeq) : NOT_COVERED);
        }
      }),
      { seed: SEED, numRuns: 500 },
    );
  });
});

describe("RangeLevels", () => {
  it(`answers as one set of all, and sets that were taken before do not change (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.array(anyTombstone, { minLength: 1, maxLength: 60 }), (all) => {
        const levels = new RangeLevels();
        const taken = levels.sets;
        all.forEach((one, i) => {
          levels.add([one]);
          assert.equal(levels.count, i + 1);
          for (const n of [0, 7, 20]) {
            assert.equal(levels.seqOver(key(n), 40), modelOver(all.slice(0, i + 1), n, 40));
          }
        });
        assert.equal(taken.length, 0);
        assert.deepEqual(RangeSet.of(levels.all()).fragments(), RangeSet.of(all).fragments());
        assert.ok(levels.sets.length <= 7, `${levels.sets.length} sets of ${all.length}`);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("takes ten thousand nested tombstones in time and memory that grow with their number", () => {
    const levels = new RangeLevels();
    const at = (n: number) => Uint8Array.of(n >> 8, n & 255);
    let compared = 0;
    for (let n = 0; n < 10_000; n++) {
      levels.add([{ start: at(n), end: at(30_000 - n), seq: n + 1, createTs: n }]);
      if (n % 100 === 0) compared += levels.seqOver(at(n), 1e9);
    }
    assert.ok(compared > 0);
    assert.equal(levels.seqOver(at(15_000), 1e9), 10_000);
    assert.equal(levels.seqOver(at(29_999), 1e9), 1);
    assert.ok(levels.sets.length <= 15);
  });
});
