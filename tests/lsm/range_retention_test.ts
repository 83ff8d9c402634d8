/**
 * Range tombstones in flushes: pruning, elision and cutting against a model, and tables of points and fragments.
 *
 * @module
 */
import fc from "fast-check";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { BuiltSst } from "../../src/format/sst_builder.ts";
import { readSst } from "../../src/format/sst_footer.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK, type RangeTombstone } from "../../src/format/types.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import {
  ALL_KEYS,
  elidedFragments,
  prunedFragments,
  RangeCutter,
  retainedRanges,
  stripesAbove,
} from "../../src/lsm/range_retention.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { coveredInSlices, retainedInSlices } from "../../src/lsm/range_slices.ts";
import type { RetentionRules } from "../../src/lsm/retention.ts";
import type { KeySpan } from "../../src/lsm/table_span.ts";
import { TableWriter } from "../../src/lsm/table_writer.ts";
import { assert, describe, it } from "../support/suite.ts";
import { rowsIn } from "../tasks/compaction_tables.ts";
import { concat, Dice, makeRows, modelGet, type ModelRow, show } from "./read_world.ts";

const SEED = 20261121;
const ENCODING = { blockSizeBytes: 64, compression: 0, minFilterKeys: 0, filterBitsPerKey: 10 } as const;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const LETTERS = "abcdefgh";
const bytes = (text: string): Uint8Array => encoder.encode(text);

/** "a-c@5": from a to before c with number 5; "-@5": all keys. */
function ranges(text: string): RangeTombstone[] {
  return text.split(" ").filter((part) => part !== "").map((part) => {
    const [, start, end, seq] = /^(\w*)-(\w*)@(\d+)$/.exec(part)!;
    return { start: bytes(start!), end: end === "" ? undefined : bytes(end!), seq: Number(seq), createTs: 1000 };
  });
}

function textOf(tombstones: ReadonlyArray<RangeTombstone>): string {
  const key = (of: Uint8Array): string => decoder.decode(of).replaceAll("\0", "0");
  return tombstones.map(({ start, end, seq }) => `${key(start)}-${end === undefined ? "" : key(end)}@${seq}`).join(" ");
}

function span(first: string, end: string | undefined, endInclusive = false): KeySpan {
  return { first: bytes(first), end: end === undefined ? undefined : bytes(end), endInclusive };
}

/** Newest number of at most `maxSeq` over a key. */
function over(tombstones: ReadonlyArray<RangeTombstone>, key: Uint8Array, maxSeq: number): number {
  const covers = ({ start, end, seq }: RangeTombstone) =>
    seq <= maxSeq && compareBytes(start, key) <= 0 && (end === undefined || compareBytes(key, end) < 0);
  return tombstones.filter(covers).reduce((newest, { seq }) => Math.max(newest, seq), 0);
}

/** Keys at and between all letters. */
const PROBES: ReadonlyArray<Uint8Array> = ["", ...LETTERS].flatMap((key) => [bytes(key), bytes(`${key}\0`)]).slice(1);

const letter = fc.integer({ min: 0, max: LETTERS.length - 1 });
const tombstone = fc.tuple(letter, letter, fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 9 })).map(
  ([a, b, seq, shape]): RangeTombstone => {
    const [low, high] = a < b ? [a, b] : [b, a + 1];
    const start = shape === 0 ? "" : LETTERS[low]!;
    const end = shape === 1 || high >= LETTERS.length ? undefined : bytes(LETTERS[high]!);
    return { start: bytes(start), end, seq, createTs: 1000 + seq };
  },
);
const tombstones = fc.array(tombstone, { maxLength: 10 });
const minSeqs = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 13 }), fc.constant(Infinity));

describe("range_retention", () => {
  const pruned: ReadonlyArray<readonly [string, string, number, string]> = [
    ["nothing of nothing", "", 5, ""],
    ["the newest at or below the barrier, and all above it", "a-e@9 a-e@7 a-e@5 a-e@3", 6, "a-e@9 a-e@7 a-e@5"],
    ["an older one where a newer does not reach", "a-e@5 b-c@7", 9, "a-b@5 b-c@7 c-e@5"],
    ["neighbours that are alike, joined", "a-c@5 b-e@5 c-d@3", 9, "a-e@5"],
    ["what is open on both sides", "-@5 -@3", 9, "-@5"],
    ["one number of a batch once", "a-e@5 c-g@5", 9, "a-g@5"],
  ];
  for (const [name, before, minSeq, after] of pruned) {
    it(`prunedFragments keeps ${name}`, () => {
      assert.equal(textOf(prunedFragments(ranges(before), stripesAbove(minSeq))), after);
    });
  }

  it("prunedFragments keeps one number for every snapshot that parts them", () => {
    const all = ranges("a-e@9 a-e@8 a-e@7 a-e@5 a-e@3 a-e@2");
    assert.equal(textOf(prunedFragments(all, stripesAbove(Infinity, []))), "a-e@9");
    assert.equal(textOf(prunedFragments(all, stripesAbove(Infinity, [2, 7]))), "a-e@9 a-e@7 a-e@2");
    assert.equal(textOf(prunedFragments(all, stripesAbove(Infinity, [1, 4]))), "a-e@9 a-e@3");
  });

  it("prunedFragments keeps every number above the bound, and below it one for every snapshot", () => {
    const all = ranges("a-e@9 a-e@8 a-e@7 a-e@5 a-e@3 a-e@2");
    assert.equal(textOf(prunedFragments(all, stripesAbove(7, [2, 8]))), "a-e@9 a-e@8 a-e@7 a-e@2");
    assert.equal(textOf(prunedFragments(all, stripesAbove(4, [1]))), "a-e@9 a-e@8 a-e@7 a-e@5 a-e@3");
  });

  it(`prunedFragments changes no protected read and keeps no number twice in a stripe (seed ${SEED})`, () => {
    fc.assert(
      fc.property(tombstones, minSeqs, (before, minSeq) => {
        const after = prunedFragments(before, stripesAbove(minSeq));
        for (const key of PROBES) {
          for (let q = 0; q <= 13; q++) {
            if (q >= minSeq) assert.equal(over(after, key, q), over(before, key, q), `${decoder.decode(key)} at ${q}`);
          }
          const old = after.filter((one) => one.seq <= minSeq && over([one], key, Infinity) > 0);
          assert.ok(old.length <= 1, `${old.length} numbers at or below the barrier`);
        }
        const times = new Map(before.map(({ seq, createTs }) => [seq, createTs]));
        for (const { seq, createTs } of after) assert.equal(createTs, times.get(seq));
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("elidedFragments keeps old tombstones only over keys in use", () => {
    const all = ranges("a-h@5");
    assert.equal(textOf(elidedFragments(all, 9, [])), "");
    assert.equal(textOf(elidedFragments(all, 4, [])), "a-h@5");
    assert.equal(textOf(elidedFragments(all, 9, [span("c", "d", true), span("f", undefined)])), "c-d0@5 f-h@5");
    assert.equal(textOf(elidedFragments(all, 9, [span("f", "g"), span("c", "f")])), "c-g@5");
    assert.equal(textOf(elidedFragments(ranges("a-c@9 a-c@5 c-e@5"), 5, [span("b", "d")])), "a-b@9 b-c@9 b-c@5 c-d@5");
    assert.equal(elidedFragments(all, 9, [ALL_KEYS])[0], all[0]);
  });

  it(`elidedFragments covers no key anew and no old one that is not in use (seed ${SEED})`, () => {
    const spans = fc.array(fc.tuple(letter, letter, fc.boolean()), { maxLength: 4 }).map((parts) =>
      parts.map(([a, b, inclusive]) => span(LETTERS[Math.min(a, b)]!, LETTERS[Math.max(a, b)]!, inclusive || a === b))
    );
    fc.assert(
      fc.property(tombstones, minSeqs, spans, (before, minSeq, inUse) => {
        const after = retainedRanges(before, minSeq, inUse);
        const isUsed = (key: Uint8Array) =>
          inUse.some(({ first, end, endInclusive }) => {
            const order = compareBytes(key, end!);
            return compareBytes(first, key) <= 0 && (order < 0 || (order === 0 && endInclusive));
          });
        for (const key of PROBES) {
          for (let q = minSeq === Infinity ? 13 : minSeq; q <= 13; q++) {
            const [was, is] = [over(before, key, q), over(after, key, q)];
            assert.equal(is, was > minSeq || isUsed(key) ? was : 0, `${decoder.decode(key)} at ${q}`);
          }
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it(`RangeCutter parts fragments at keys without losing or adding any (seed ${SEED})`, () => {
    fc.assert(
      fc.property(tombstones, fc.uniqueArray(letter, { maxLength: 4 }), (given, places) => {
        const before = prunedFragments(given, stripesAbove(0));
        const cutter = new RangeCutter(before);
        const parts: RangeTombstone[][] = [];
        const keys = places.sort((a, b) => a - b).map((at) => bytes(LETTERS[at]!));
        const row = (key: Uint8Array) => ({ keyBytes: key, keyStart: 0, keyEnd: key.length }) as never;
        for (const key of keys) {
          while (cutter.isNextBelow(row(key))) cutter.take();
          parts.push(cutter.cut(key));
        }
        while (cutter.nextStart !== undefined) cutter.take();
        parts.push(cutter.cut());
        for (const [i, part] of parts.entries()) {
          const [lower, upper] = [keys[i - 1], keys[i]];
          for (const { start, end } of part) {
            assert.ok(lower === undefined || compareBytes(lower, start) <= 0);
            assert.ok(upper === undefined || (end !== undefined && compareBytes(end, upper) <= 0));
          }
        }
        for (const key of PROBES) {
          for (let q = 0; q <= 13; q++) assert.equal(over(parts.flat(), key, q), over(before, key, q));
        }
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});

/** Rows and tombstones of a finished table. */
function contentsOf(built: BuiltSst): { rows: ModelRow[]; ranges: RangeTombstone[] } {
  const file = joinChunks(built.chunks);
  return { rows: rowsIn(file), ranges: [...readSst(file).ranges] };
}

function memtableOf(rows: ReadonlyArray<ModelRow>, tombstones: ReadonlyArray<RangeTombstone>): Memtable {
  const memtable = new Memtable();
  for (const one of tombstones) memtable.insertRange(one);
  for (const { key, seq, flags, createTs, expireTs, value } of rows) {
    memtable.insert(key, 0, key.length, seq, flags, createTs, expireTs, value, 0, value.length);
  }
  return memtable;
}

function flushed(memtable: Memtable, rules: Partial<RetentionRules>, slice = Infinity): BuiltSst | undefined {
  const all: RetentionRules = { minSeq: Infinity, tick: NO_TICK, dropTombstones: false, merge: concat, ...rules };
  const writer = new TableWriter(memtable.cursor(), ENCODING, all, 0, memtable.ranges.all());
  while (writer.step(slice));
  return writer.finish();
}

/** "v5" of key "k" and so on: v value, T tombstone, m operand. */
function rowsOf(text: string): ModelRow[] {
  return text.split(" ").filter((part) => part !== "").map((part) => {
    const [, key, kind, seq] = /^(\w)([vTm])(\d+)$/.exec(part)!;
    const flags = kind === "T" ? FLAG_TOMBSTONE : kind === "m" ? FLAG_MERGE : 0;
    const value = kind === "T" ? bytes("") : bytes(part);
    return { key: bytes(key!), seq: Number(seq), flags, createTs: 1, expireTs: NO_EXPIRY, value };
  });
}

function rowText(rows: ReadonlyArray<ModelRow>): string {
  return rows.map(({ key, seq, flags, value }) => {
    const kind = (flags & FLAG_TOMBSTONE) !== 0 ? "T" : (flags & FLAG_MERGE) !== 0 ? "m" : "v";
    const label = `${decoder.decode(key)}${kind}${seq}`;
    const shown = decoder.decode(value);
    return kind === "T" || shown === label ? label : `${label}=${shown}`;
  }).join(" ");
}

describe("range_slices", () => {
  const sources = fc.array(fc.array(tombstone, { maxLength: 12 }), { minLength: 1, maxLength: 4 })
    .map((all) => all.map((one) => RangeSet.of(one).fragments()));
  const inUse = fc.constantFrom([], [ALL_KEYS], [span("b", "c", true), span("e", undefined)], [span("d", "d", true)]);

  it(`retainedInSlices answers what retainedRanges does, whatever the slices (seed ${SEED})`, () => {
    fc.assert(
      fc.property(sources, minSeqs, inUse, fc.integer({ min: 1, max: 12 }), (before, minSeq, spans, perSlice) => {
        const inSlices = retainedInSlices(before, minSeq, spans, perSlice);
        assert.equal(textOf(finished(inSlices)), textOf(retainedRanges(before.flat(), minSeq, spans)));
        const covered = finished(coveredInSlices(before, minSeq, perSlice));
        const all = RangeSet.of(before.flat().filter(({ seq }) => seq <= minSeq));
        for (const key of PROBES) assert.equal(covered.seqOver(key, minSeq), all.seqOver(key, minSeq));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("retainedInSlices takes a slice at a time, and what reaches over many of them once for each stripe", () => {
    const at = (n: number) => bytes(String(n).padStart(6, "0"));
    const wide = Array.from({ length: 200 }, (_, i) => ({ start: at(0), end: at(9000), seq: 200 - i, createTs: 1 }));
    const many = Array.from(
      { length: 4000 },
      (_, i) => ({ start: at(2 * i), end: at(2 * i + 1), seq: 300, createTs: 1 }),
    );
    const look = retainedInSlices([many, wide], 400, [ALL_KEYS], 200);
    let slices = 1;
    let step = look.next();
    for (; step.done !== true; step = look.next()) slices++;
    assert.ok(slices >= 20 && slices <= 80, `${slices} slices`);
    assert.equal(step.value.length, 8000);
  });
});

/** What a computation in slices ends with. */
function finished<A>(steps: Iterator<void, A>): A {
  for (let step = steps.next();; step = steps.next()) if (step.done === true) return step.value;
}

describe("TableWriter with range tombstones", () => {
  const cases: ReadonlyArray<readonly [string, string, string, Partial<RetentionRules>, string, string]> = [
    ["what a tombstone at the barrier hides", "av4 av9 bv4 bT3", "a-b@5", {}, "av9 bv4", "a-b@5"],
    ["nothing that only newer reads see hidden", "av4 bT3", "a-c@5", { minSeq: 4 }, "av4 bT3", "a-c@5"],
    ["operands above a tombstone, as a value", "am9 am7 am5 av4", "a-b@6", {}, "av9=am7am9", "a-b@6"],
    ["operands with the tombstone's own number", "am6 av5", "a-b@6", {}, "av6=am6", "a-b@6"],
    ["operands above the barrier", "am9 am7 am5 av4", "a-b@6", { minSeq: 7 }, "am9 av7=am7", "a-b@6"],
    ["operands below a tombstone above the barrier", "am9 am4 am3", "a-b@6", { minSeq: 5 }, "am9 am4=am3am4", "a-b@6"],
    ["operands beside a tombstone", "cm9 cm7", "a-c@6", {}, "cm9=cm7cm9", "a-c@6"],
  ];
  for (const [name, rows, tombs, rules, keptRows, keptRanges] of cases) {
    it(`TableWriter keeps ${name}`, () => {
      const built = flushed(memtableOf(rowsOf(rows), ranges(tombs)), rules)!;
      const contents = contentsOf(built);
      assert.equal(rowText(contents.rows), keptRows);
      assert.equal(textOf(contents.ranges), keptRanges);
      assert.equal(built.info.rangeDeletes!.count, contents.ranges.length);
      assert.equal(built.isPlain, false);
    });
  }

  it("TableWriter writes a table for tombstones alone", () => {
    const built = flushed(memtableOf([], ranges("b-d@5 c-e@3")), {})!;
    assert.equal(textOf(contentsOf(built).ranges), "b-d@5 d-e@3");
    assert.deepEqual(built.info.firstEntry, bytes("b"));
    assert.equal(built.info.lastEntry, undefined);
    assert.deepEqual(built.info.rangeDeletes!.end, bytes("e"));
    assert.equal(built.isPlain, false);
    const everything = flushed(memtableOf(rowsOf("av4"), ranges("-@5")), {})!;
    assert.deepEqual(everything.info.firstEntry, bytes(""));
    assert.equal(everything.info.rangeDeletes!.end, undefined);
    assert.deepEqual(contentsOf(everything).rows, []);
  });

  it("TableWriter writes nothing when nothing older can be hidden and nothing newer is there", () => {
    assert.equal(flushed(memtableOf(rowsOf("av4"), ranges("-@5")), { dropTombstones: true }), undefined);
    assert.equal(
      contentsOf(flushed(memtableOf([], ranges("-@5")), { minSeq: 4, dropTombstones: true })!).ranges.length,
      1,
    );
  });

  it("TableWriter gives way among many hidden rows", () => {
    const memtable = new Memtable();
    for (let i = 0; i < 20_000; i++) {
      const key = bytes(`k${String(i).padStart(6, "0")}`);
      memtable.insert(key, 0, key.length, i + 1, 0, NO_TICK, NO_EXPIRY, key, 0, 3);
    }
    memtable.insertRange({ start: bytes("k"), end: bytes("l"), seq: 30_000, createTs: 1 });
    const rules: RetentionRules = { minSeq: Infinity, tick: NO_TICK, dropTombstones: false, merge: undefined };
    const writer = new TableWriter(memtable.cursor(), ENCODING, rules, 0, memtable.ranges.all());
    let steps = 1;
    while (writer.step(1000)) steps++;
    assert.ok(steps > 2, `${steps} steps`);
    assert.deepEqual(contentsOf(writer.finish()!).rows, []);
  });

  it(`TableWriter changes no protected read, beside older and newer sources (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.integer(), tombstones, minSeqs, fc.integer({ min: 1, max: 5 }), (seed, tombs, minSeq, slice) => {
        const dice = new Dice(seed);
        const keys = [...LETTERS].map(bytes);
        const all = makeRows(dice, keys, 12, true);
        const [oldest, newest] = [dice.roll(6), 6 + dice.roll(7)];
        const inside = ({ seq }: { readonly seq: number }) => seq > oldest && seq <= newest;
        const tick = dice.pick([NO_TICK, 1300, 1500]);
        const memtable = memtableOf(all.filter(inside), tombs.filter(inside));
        const built = flushed(memtable, { minSeq, tick }, slice);
        const table = built === undefined ? { rows: [], ranges: [] } : contentsOf(built);
        const rows = [...all.filter((row) => !inside(row)), ...table.rows];
        const allRanges = [...tombs.filter((one) => !inside(one)), ...table.ranges];
        for (let q = Math.min(minSeq, 13); q <= 13; q++) {
          for (const nowMillis of tick === NO_TICK ? [-Infinity, 1400] : [tick, 2000]) {
            const spec = { maxSeq: q, nowMillis, mergeOperator: concat };
            for (const key of keys) {
              const told = `${decoder.decode(key)} at ${q}, ${nowMillis}`;
              assert.equal(show(modelGet(rows, key, spec, allRanges)), show(modelGet(all, key, spec, tombs)), told);
            }
          }
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});
