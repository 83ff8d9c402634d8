import fc from "fast-check";
import type { ScanRange } from "../../src/lsm/key_range.ts";
import { keyText, spanContains, SpanSet, textBytes } from "../../src/state/key_spans.ts";
import { ReadSet } from "../../src/state/read_set.ts";
import { assert, describe, it } from "../support/suite.ts";

const range = (start?: string, end?: string, startInclusive = true, endInclusive = false): ScanRange => ({
  start: start === undefined ? undefined : textBytes(start),
  startInclusive,
  end: end === undefined ? undefined : textBytes(end),
  endInclusive,
});
const covers = (set: ReadSet, key: string) => set.keys.has(key) || new SpanSet(set.spans).holding(key) !== undefined;
const covered = (set: ReadSet, keys: string) => [...keys].filter((key) => covers(set, key)).join("");

describe("read set", () => {
  it("X3 a scan covers from its beginning to the last row answered, and no further", () => {
    const set = new ReadSet(10_000);
    const trace = set.scan(range("b", "x"), false);
    assert.equal(covered(set, "abcdefx"), "", "nothing was answered yet");
    trace.reached(textBytes("d"));
    assert.equal(covered(set, "abcdefx"), "bcd");
    assert.equal(covers(set, "c5"), true, "gaps are read as much as rows");
    assert.equal(covers(set, "d\0"), false);
    trace.reached(textBytes("e"));
    assert.equal(covered(set, "abcdefx"), "bcde");
    trace.ended();
    assert.equal(covered(set, "abcdefwx"), "bcdefw", "whoever found no more has looked at the rest");
    assert.equal([...set.spans].length, 1);
  });

  it("X3 a descending scan covers from its end down", () => {
    const set = new ReadSet(10_000);
    const trace = set.scan(range("b", "x", false, true), true);
    trace.reached(textBytes("f"));
    assert.equal(covered(set, "abefgxy"), "fgx");
    assert.equal(covers(set, "x\0"), false);
    trace.ended();
    assert.equal(covered(set, "abefgxy"), "efgx");
    assert.equal(covers(set, "b\0"), true);
  });

  it("X3 an empty scan covers its range, open ends included", () => {
    const set = new ReadSet(10_000);
    set.scan(range(undefined, "c"), false).ended();
    set.scan(range("p"), true).ended();
    assert.equal(covered(set, "\0abcopz"), "\0abpz");
  });

  it("X3 a seek leaves out what it skips, in both orders", () => {
    const set = new ReadSet(10_000);
    const up = set.scan(range("a", "z"), false);
    up.reached(textBytes("b"));
    up.sought(textBytes("m"));
    assert.equal(covered(set, "abcmn"), "ab");
    up.reached(textBytes("n"));
    assert.equal(covered(set, "abcmno"), "abmn");
    const down = new ReadSet(10_000);
    const trace = down.scan(range("a", "z"), true);
    trace.sought(textBytes("m"));
    trace.reached(textBytes("k"));
    assert.equal(covered(down, "jklmnz"), "klm");
    trace.sought(textBytes("c"));
    trace.ended();
    assert.equal(covered(down, "abcdjklm"), "abcklm");
  });

  it("X4 past its bound it covers one span of everything, and goes on growing", () => {
    const set = new ReadSet(400);
    const open = set.scan(range("m", "p"), false);
    open.reached(textBytes("n"));
    for (const key of "fghij") set.addKey(textBytes(key));
    assert.equal(set.keys.size, 0);
    assert.equal(covered(set, "efgkmnop"), "fgkmn");
    open.reached(textBytes("o"));
    set.addKey(textBytes("e"));
    assert.equal(covered(set, "defgkmnop"), "efgkmno");
    set.scan(range("x"), false).ended();
    assert.equal(covered(set, "dez"), "ez");
    assert.equal([...set.spans].length, 1);
  });

  it("X3 X4 covers everything that any scan has answered, interleaved, in any memory", () => {
    const key = fc.string({ unit: fc.constantFrom("\0", "a", "b", "c"), minLength: 1, maxLength: 3 });
    const scan = fc.record({ keys: fc.uniqueArray(key, { maxLength: 6 }), taken: fc.nat(7), descending: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(scan, { maxLength: 5 }),
        fc.array(key),
        fc.constantFrom(0, 300, 10_000),
        (scans, keys, max) => {
          const set = new ReadSet(max);
          for (const one of keys) set.addKey(textBytes(one));
          const traces = scans.map(({ descending }) => set.scan(range("\0"), descending));
          for (let round = 0; round < 7; round++) {
            for (const [i, { keys: rows, taken, descending }] of scans.entries()) {
              const sorted = rows.toSorted((a, b) => (a < b ? -1 : 1) * (descending ? -1 : 1));
              if (round < taken && round < sorted.length) traces[i]!.reached(textBytes(sorted[round]!));
            }
          }
          for (const one of keys) assert.ok(covers(set, one));
          for (const { keys: rows, taken, descending } of scans) {
            const sorted = rows.toSorted((a, b) => (a < b ? -1 : 1) * (descending ? -1 : 1)).slice(0, taken);
            const last = sorted.at(-1);
            if (last === undefined) continue;
            for (const one of sorted) assert.ok(covers(set, one));
            const looked = descending ? { lower: last, upper: undefined } : { lower: "\0", upper: `${last}\0` };
            for (const probe of rows) {
              if (spanContains(looked, probe)) {
                assert.ok(covers(set, keyText(textBytes(probe))));
              }
            }
          }
        },
      ),
      { seed: 3, numRuns: 1000 },
    );
  });
});
