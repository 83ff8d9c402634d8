import { Effect } from "effect";
import {
  type BoundRange,
  FLAG_CREATE,
  FLAG_TOMBSTONE,
  NO_EXPIRY,
  type RangeTombstone,
} from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import type { Levels } from "../../src/lsm/lsm_view.ts";
import {
  ALL_KEYS,
  defragmented,
  type KeySpan,
  overlappedBytes,
  shareInside,
  spansBetween,
  spansInside,
  unionOfSpans,
} from "../../src/lsm/range_estimate.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { TableIndex } from "../../src/lsm/table.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStatistics } from "../../src/lsm/table_statistics.ts";
import { tableBytes } from "../../src/lsm/table_stats.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { rangeLog } from "../support/range_log.ts";
import { assert, describe, it } from "../support/suite.ts";
import { Dice, type ModelRow, testUlid, writeTable } from "./read_world.ts";

const bytes = (of: string): Uint8Array => new TextEncoder().encode(of);
const span = (start: string, end?: string): KeySpan => ({
  start: bytes(start),
  end: end === undefined ? undefined : bytes(end),
});
const said = (spans: ReadonlyArray<KeySpan>) => spans.map(({ start, end }) => `${text(start)}..${text(end) ?? ""}`);

/** Tables made by hand, and what is told about them. */
class Tree {
  readonly inner = memoryStore();
  readonly log = rangeLog(this.inner);
  readonly tables = new TableStore({ store: this.log.store, root: "db", cache: new BlockCache({ blockBytes: 0 }) });
  readonly statistics = new TableStatistics(this.log.store, this.tables);
  #ids = 0;

  /** A table of rows `key` or `-key` (deletions), one row a block, and of range tombstones `a..c`. */
  table(rows: string, ranges = "", seq = 1, visibleRange?: BoundRange): TableRef {
    const list = (all: string) => all.split(" ").filter((one) => one !== "");
    const model = list(rows).map((one): ModelRow => {
      const flags = FLAG_CREATE | (one.startsWith("-") ? FLAG_TOMBSTONE : 0);
      const value = new Uint8Array(one.startsWith("-") ? 0 : 200);
      return { key: bytes(one.replace("-", "")), seq, flags, createTs: 1, expireTs: NO_EXPIRY, value };
    });
    const tombstones = list(ranges).map((one): RangeTombstone => {
      const [start, end] = one.split("..");
      return { start: bytes(start!), end: end === "" ? undefined : bytes(end!), seq: seq + 1, createTs: 1 };
    });
    const view = writeTable(this.inner, "db", testUlid(++this.#ids), model, {
      blockSizeBytes: 64,
      minFilterKeys: 1000,
      ranges: RangeSet.of(tombstones).fragments(),
      visibleRange,
    });
    return new TableRef(this.tables.table(view), view);
  }

  /** What the range tombstones of each table cover, by the order in which the tables are given. */
  covered(levels: Levels): number[] {
    return this.figures(levels).map(({ rangeBytes }) => rangeBytes);
  }

  figures(levels: Levels) {
    const figures = Effect.runSync(this.statistics.figures(levels));
    return [...levels.l0, ...levels.runs.flatMap((run) => run.tables)].map((ref) => figures.get(ref)!);
  }
}

const runs = (...of: ReadonlyArray<ReadonlyArray<TableRef>>) => of.map((tables, i) => ({ id: of.length - i, tables }));
const sizeOf = (ref: TableRef): number => tableBytes(ref.table.info);

describe("TableStatistics, of range tombstones", () => {
  it("counts nothing for a table of tombstones in the last run, and its fragments as entries and deletions", () => {
    const tree = new Tree();
    const bottom = tree.table("", "a..c e..g");
    assert.deepEqual(tree.covered({ l0: [], runs: runs([bottom]) }), [0]);
    assert.equal(bottom.table.info.rangeDeletes?.count, 2);
    assert.deepEqual(tree.figures({ l0: [], runs: runs([bottom]) })[0]!.counts, { puts: 0, deletes: 0, merges: 0 });
  });

  it("counts a table that a tombstone one level up covers wholly by its size", () => {
    const tree = new Tree();
    const [upper, lower] = [tree.table("", "a..d", 9), tree.table("a b c")];
    assert.deepEqual(tree.covered({ l0: [], runs: runs([upper], [lower]) }), [sizeOf(lower), 0]);
    assert.deepEqual(tree.covered({ l0: [], runs: runs([lower], [upper]) }), [0, 0], "never what is newer");
  });

  it("counts both tables that an L0 table covers, for each L0 table alone and never other L0 tables", () => {
    const tree = new Tree();
    const [one, two] = [tree.table("a b c"), tree.table("d e")];
    const l0 = [tree.table("", "a..f", 20), tree.table("x", "a..f", 10)];
    const both = sizeOf(one) + sizeOf(two);
    assert.deepEqual(tree.covered({ l0, runs: runs([one, two]) }), [both, both, 0, 0]);
  });

  it("sums what two disjoint spans cover, in all older runs", () => {
    const tree = new Tree();
    const [one, two, three] = [tree.table("a b"), tree.table("k l"), tree.table("b k")];
    const upper = tree.table("", "a..c j..m", 9);
    const inThree = tree.covered({ l0: [], runs: runs([upper], [three]) })[0]!;
    assert.ok(inThree > 0 && inThree < sizeOf(three));
    const [found] = tree.covered({ l0: [], runs: runs([upper], [one, two], [three]) });
    assert.equal(found, sizeOf(one) + sizeOf(two) + inThree);
  });

  it("counts stacked and touching tombstones of one table once", () => {
    const tree = new Tree();
    const lower = tree.table("a b c d e f");
    const stacked = tree.table("", "a..d a..d b..g c..e f..z", 9);
    assert.deepEqual(tree.covered({ l0: [], runs: runs([stacked], [lower]) })[0], sizeOf(lower));
    // Two spans with a gap inside one block: the block once.
    const sameBlock = tree.table("", "b..b0 b1..b2", 9);
    const oneSpan = tree.table("", "b..b0", 9);
    const [both] = tree.covered({ l0: [], runs: runs([sameBlock], [lower]) });
    assert.deepEqual(tree.covered({ l0: [], runs: runs([oneSpan], [lower]) })[0], both);
  });

  it("counts the blocks that a span reaches into where it covers a table in part", () => {
    const tree = new Tree();
    const lower = tree.table("a c e g i");
    const parts = ["a..b", "c..d", "e..f", "g..h", "i..j"].map((one) =>
      tree.covered({ l0: [tree.table("", one, 9)], runs: runs([lower]) })[0]!
    );
    assert.ok(parts.every((part) => part > 200 && part < 300), parts.join());
    assert.deepEqual(parts.reduce((sum, part) => sum + part), lower.table.info.filterOffset, "together the data");
    assert.deepEqual(tree.covered({ l0: [tree.table("", "x..z", 9)], runs: runs([lower]) })[0], 0);
    const open = tree.covered({ l0: [tree.table("", "g..", 9)], runs: runs([lower]) })[0];
    assert.equal(open, parts[3]! + parts[4]!);
  });

  it("counts only what a visible range leaves, of the tombstones and of what they cover", () => {
    const tree = new Tree();
    const key = (of: string, inclusive: boolean) => ({ key: bytes(of), inclusive });
    const clip = { start: key("c", true), end: key("g", false) };
    const whole = tree.table("a c e g");
    const clipped = tree.table("a c e g", "", 1, clip);
    const blocks = ["c..d", "e..f"].map((one) =>
      tree.covered({ l0: [tree.table("", one, 9)], runs: runs([whole]) })[0]!
    );
    const all = tree.covered({ l0: [tree.table("", "a..z", 9)], runs: runs([clipped]) })[0];
    assert.equal(all, blocks[0]! + blocks[1]!);
    const cut = tree.table("", "a..z", 9, { start: key("e", true), end: key("f", true) });
    assert.equal(tree.covered({ l0: [cut], runs: runs([whole]) })[0], blocks[1]);
  });

  it("reads each table once, no data, and estimates anew only where an older level changed", () => {
    const tree = new Tree();
    const [upper, middle] = [tree.table("p", "a..d", 9), tree.table("m", "b..c", 5)];
    const [one, two] = [tree.table("a b c"), tree.table("b bb")];
    const all = [upper, middle, one, two];
    const asked = () => {
      const ranges = tree.log.asked();
      for (const { path, offset } of ranges) {
        const { info } = all.find(({ table }) => table.path === path)!.table;
        assert.ok(offset >= info.filterOffset, "no data is read");
      }
      return ranges.length;
    };
    tree.figures({ l0: [upper], runs: runs([middle], [one]) });
    assert.equal(asked(), 3 + 2 + 2, "statistics, range tombstones, and the indexes of tables covered in part");
    const again = tree.figures({ l0: [upper], runs: runs([middle], [one]) });
    assert.equal(asked(), 0);
    // One more run in front changes nothing below the others; another last run all of it.
    const grown: Levels = { l0: [], runs: [{ id: 9, tables: [upper] }, ...runs([middle], [one])] };
    assert.deepEqual(tree.figures(grown).map((one) => one.rangeBytes), again.map((one) => one.rangeBytes));
    const changed = tree.covered({ l0: [upper], runs: runs([middle], [two]) });
    assert.equal(changed[0], again[0]!.rangeBytes - sizeOf(one) + sizeOf(two));
    assert.equal(asked(), 1, "the statistics of the new table: ranges and indexes are in the cache");
  });

  it("estimates point deletions by the average row of older tables, as many as there are", () => {
    const tree = new Tree();
    const [deletes, other] = [tree.table("-a -b z", "", 9), tree.table("-a -b -c -d -e -f", "", 9)];
    const lower = tree.table("a b c d");
    const average = sizeOf(lower) / 4;
    assert.equal(tree.figures({ l0: [deletes], runs: runs([lower]) })[0]!.pointBytes, Math.round(2 * average));
    assert.equal(tree.figures({ l0: [other], runs: runs([lower]) })[0]!.pointBytes, sizeOf(lower));
    assert.equal(tree.figures({ l0: [], runs: runs([deletes]) })[0]!.pointBytes, 0);
    assert.equal(tree.figures({ l0: [tree.table("-x", "", 9)], runs: runs([lower]) })[0]!.pointBytes, 0);
  });
});

describe("range_estimate", () => {
  it("defragmented joins fragments that touch, whatever their numbers", () => {
    const of = (start: string, end: string | undefined, seq: number): RangeTombstone => ({
      ...span(start, end),
      seq,
      createTs: 1,
    });
    const set = RangeSet.of([
      of("a", "c", 5),
      of("b", "d", 9),
      of("d", "e", 2),
      of("g", "h", 1),
      of("x", undefined, 3),
    ]);
    assert.ok(set.count > 4);
    assert.deepEqual(said(defragmented(set)), ["a..e", "g..h", "x.."]);
  });

  it("spans are joined, cut and complemented as sets of keys", () => {
    const dice = new Dice(7);
    const keys = ["", ..."abcdefghij"];
    const inside = (spans: ReadonlyArray<KeySpan>, key: string) =>
      spans.some(({ start, end }) => key >= text(start)! && (end === undefined || key < text(end)!));
    const random = (): KeySpan[] => [...defragmented(RangeSet.of(Array.from({ length: dice.roll(4) }, (_, seq) => {
      const from = dice.roll(keys.length - 1);
      const to = from + 1 + dice.roll(keys.length - from);
      return { ...span(keys[from]!, keys[to]), seq: seq + 1, createTs: 1 };
    })))];
    for (let round = 0; round < 300; round++) {
      const [a, b, [within = ALL_KEYS]] = [random(), random(), random()];
      const [all, cut, rest] = [unionOfSpans(a, b), spansInside(a, within), spansBetween(a, within)];
      for (const key of keys) {
        assert.equal(inside(all, key), inside(a, key) || inside(b, key));
        assert.equal(inside(cut, key), inside(a, key) && inside([within], key));
        assert.equal(inside(rest, key), !inside(a, key) && inside([within], key));
      }
    }
  });

  it("shareInside divides blocks at the edges by their keys, and adds up", () => {
    const offsets = [0, 100, 300, 400];
    const index = new TableIndex(offsets, ["", "k20", "k40", "k60"].map(bytes), 500);
    const bounds = span("k00", "k80");
    const share = (start: string, end: string | undefined) => shareInside(bounds, [span(start, end)], index);
    assert.equal(share("k00", undefined), 1);
    assert.ok(Math.abs(share("k20", "k40") - 0.4) < 1e-9);
    assert.equal(share("a", "k20"), 0.2);
    assert.ok(Math.abs(share("k00", "k30") - 0.4) < 0.01, `${share("k00", "k30")}`);
    assert.ok(share("k25", "k27") > 0 && share("k25", "k27") < 0.1);
    for (const cut of ["k05", "k20", "k33", "k61", "k79"]) {
      assert.ok(Math.abs(share("k00", cut) + share(cut, "k80") - 1) < 1e-9, cut);
    }
    assert.ok(Math.abs(shareInside(bounds, [span("k00", "k40")], undefined) - 0.5) < 0.01);
  });

  it("overlappedBytes takes a block at whose bound a span begins, and not the one before", () => {
    const index = new TableIndex([0, 100, 300], ["", "b", "c"].map(bytes), 600);
    assert.equal(overlappedBytes(index, [span("b", "c")]), 200);
    assert.equal(overlappedBytes(index, [span("a", "b")]), 100);
    assert.equal(overlappedBytes(index, [span("b0", "b1"), span("b2", "c1")]), 500);
    assert.equal(overlappedBytes(index, [span("c")]), 300);
  });
});
