/**
 * The compactor's look for tables that range tombstones hide: it neither fails with very many of them, nor keeps the
 * thread, nor stands in the way of other compactions.
 *
 * @module
 */
import { Effect } from "effect";
import { FLAG_CREATE, type Manifest, NO_EXPIRY, type SstView } from "../../src/format/types.ts";
import { coverersToRead, type CoverOf, dropJobs } from "../../src/lsm/dropped_tables.ts";
import { manualL0 } from "../../src/lsm/compaction_rules.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import { sliced } from "../../tasks/sliced.ts";
import { TableDrops } from "../../tasks/table_drops.ts";
import { World } from "../db/fault_world.ts";
import { key } from "../lsm/counted_tables.ts";
import { RangeTree } from "../lsm/range_tree.ts";
import { Dice } from "../lsm/read_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { LONG, QUIET, tables } from "./compactor_world.ts";

const PLACES = { filterOffset: 0, filterLen: 0, indexOffset: 100, indexLen: 10, statsOffset: 110, statsLen: 10 };

/** A table of rows, or of tombstones up to `end`. */
function view(id: string, first: number, last?: number, end?: number): SstView {
  const info = {
    ...PLACES,
    firstEntry: key(first),
    lastEntry: last === undefined ? undefined : key(last),
    compression: 0,
    sstType: 0,
    filterFormat: 0,
    ...(end === undefined ? {} : { rangeDeletes: { offset: 120, length: 9, count: 1, end: key(end) } }),
  } as const;
  return { viewId: id, sstId: id, info, visibleRange: undefined, formatVersion: 2 };
}

const parts = (count: number): ReturnType<CoverOf> =>
  Array.from({ length: count }, (_, i) => ({ start: key(10 * i), end: key(10 * i + 5) }));

/** "many" covers much, "wide" hides `hidden` tables of a run that "many" has no key of. */
function layout(hidden: number): Manifest {
  const ssts = Array.from({ length: hidden }, (_, i) => view(`t${i}`, 5_000_000 + 2 * i, 5_000_001 + 2 * i));
  const l0 = [view("wide", 5_000_000, undefined, 9_000_000), view("many", 0, undefined, 4_000_000)];
  return { ...emptyManifest(false), l0, compacted: [{ id: 1, ssts }] };
}

describe("a look for tables that go unread", () => {
  it("takes a table with 150,000 stretches", () => {
    const covers = new Map<string, ReturnType<CoverOf>>([["many", parts(150_000)], ["wide", [{
      start: key(5_000_000),
      end: undefined,
    }]]]);
    const jobs = Effect.runSync(sliced(dropJobs(layout(3), ({ sstId }) => covers.get(sstId) ?? [], 2)));
    assert.deepEqual(jobs.map((job) => [job.tables?.size, [...job.coveredBy!]]), [[3, ["wide"]]]);
  });

  it("compares no stretch with every table, and gives others turns", () => {
    let compared = 0;
    const counted = parts(4000);
    for (const { start } of counted) {
      const { length } = start;
      const get = () => {
        compared++;
        return length;
      };
      Object.defineProperty(start, "length", { get });
    }
    const covers = new Map<string, ReturnType<CoverOf>>([["many", counted], ["wide", [{
      start: key(5_000_000),
      end: undefined,
    }]]]);
    const look = dropJobs(layout(2000), ({ sstId }) => covers.get(sstId) ?? [], 2);
    let slices = 1;
    let step = look.next();
    for (; step.done !== true; step = look.next()) slices++;
    assert.equal(step.value[0]?.tables?.size, 2000);
    assert.ok(compared < 200_000, `4,000 stretches were compared ${compared} times`);
    assert.ok(slices >= 2, `${slices} slices`);
  });

  it("ends, whatever there is to look through", () => {
    const l0 = Array.from({ length: 4000 }, (_, i) => view(`l${i}`, 10 * i, 10 * i + 1, 10 * i + 5));
    const look = coverersToRead({ ...emptyManifest(false), l0 });
    let slices = 1;
    for (let step = look.next(); step.done !== true; step = look.next()) slices++;
    assert.ok(slices < 200, `${slices} slices`);
  });

  it("is not repeated while neither tables nor protected reads have changed", () => {
    const tree = new RangeTree(new Dice(1), 1 << 20);
    const row = (seq: number) => ({
      key: key(1),
      seq,
      flags: FLAG_CREATE,
      createTs: 1,
      expireTs: NO_EXPIRY,
      value: key(1),
    });
    tree.put([row(1)], [], Infinity);
    tree.compact({ ...manualL0(tree.manifest, -1)!, effort: "move" });
    tree.put([], [{ start: key(0), end: key(9), seq: 5, createTs: 1 }], 2);
    const find = (changes: Partial<Manifest> = {}) => Effect.runSync(tree.drops.find({ ...tree.manifest, ...changes }));
    const protectedAt2 = find({ recentSnapshotMinSeq: 2 });
    assert.deepEqual(protectedAt2, []);
    assert.equal(find({ recentSnapshotMinSeq: 2, l0: [...tree.manifest.l0] }), protectedAt2);
    const open = find({ recentSnapshotMinSeq: 5 });
    assert.equal(open.length, 1);
    assert.equal(find({ recentSnapshotMinSeq: 7 }), open);
    assert.deepEqual(find({ recentSnapshotMinSeq: 7, compacted: [] }), []);
  });

  it("that fails is told, and tables are merged all the same", async () => {
    const find = TableDrops.prototype.find;
    TableDrops.prototype.find = () => Effect.die(new Error("broken on purpose"));
    try {
      const world = new World({ ...QUIET, compactor: { minCompactionSources: 4 } });
      const db = await world.open();
      await tables(world, db, 4);
      await world.clock.advance(5000);
      assert.equal(world.manifest.l0.length, 0);
      await world.get(db.compact(), LONG);
      assert.equal(db.status.compactor, "idle");
      assert.deepEqual(db.status.warnings, [
        "Tables that range deletes hide are compacted instead of dropped: broken on purpose",
      ]);
      TableDrops.prototype.find = find;
      await tables(world, db, 4);
      await world.clock.advance(5000);
      assert.deepEqual(db.status.warnings, []);
      await world.get(db.close(), LONG);
    } finally {
      TableDrops.prototype.find = find;
    }
  });
});
