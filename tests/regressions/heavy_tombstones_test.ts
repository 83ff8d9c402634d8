/**
 * Very many range tombstones in one place: tables are made all the same, stay readable, and are read no more than needed.
 *
 * @module
 */
import { Cause, Effect, Exit } from "effect";
import { FormatError } from "../../src/errors.ts";
import type { BuiltSst, SstOptions } from "../../src/format/sst_builder.ts";
import { FLAG_CREATE, NO_EXPIRY, NO_TICK, type RangeTombstone } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import type { CompactionPlan } from "../../src/lsm/compaction_job.ts";
import { CompactionWriter, ENDED, TABLE } from "../../src/lsm/compaction_writer.ts";
import { fetchLookup } from "../../src/lsm/lookup.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { ALL_KEYS } from "../../src/lsm/range_retention.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { runCompaction } from "../../tasks/compaction_worker.ts";
import { counting, key, makeRows, SPEC } from "../lsm/counted_tables.ts";
import { now, testUlid, writeTable } from "../lsm/read_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { planOf } from "../tasks/compaction_tables.ts";

const tombstone = (from: number, to: number, seq: number): RangeTombstone => ({
  start: key(from),
  end: key(to),
  seq,
  createTs: 1,
});

const ENCODING: SstOptions = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 };

/** Runs a plan, with tables of up to 256 MiB. */
function compacted(store: MemoryStore, plan: CompactionPlan, encoding: SstOptions = ENCODING) {
  const tables = new TableStore({ store, root: "db", cache: new BlockCache({ blockBytes: 0 }) });
  let ids = 100;
  const mintTableId = () => testUlid(ids++);
  const spec = { store, tables, root: "db", merge: undefined, mintTableId, maxSstBytes: 1 << 28, encoding };
  return runCompaction(spec, plan, { bytesIn: 0, bytesOut: 0 });
}

/** The tables that rows with keys from `from` on and fragments become. */
function written(
  rows: { readonly from: number; readonly count: number },
  ranges: ReadonlyArray<RangeTombstone>,
  limits: { readonly maxSstBytes: number; readonly maxRangeBytes?: number },
): BuiltSst[] {
  const memtable = new Memtable();
  for (let i = 0; i < rows.count; i++) {
    const at = key(rows.from + i);
    memtable.insert(at, 0, at.length, 1_000_000, FLAG_CREATE, 1, NO_EXPIRY, at, 0, at.length);
  }
  const writer = new CompactionWriter(memtable.cursor(), {
    encoding: ENCODING,
    rules: { minSeq: 0, tick: NO_TICK, dropTombstones: false, merge: undefined },
    ...limits,
    ranges,
  });
  const tables: BuiltSst[] = [];
  for (let step = writer.step(1000, 65_536); step !== ENDED; step = writer.step(1000, 65_536)) {
    if (step === TABLE) tables.push(writer.takeTable());
  }
  return tables;
}

describe("very many range tombstones", () => {
  it("over the same keys, larger than a table by themselves, do not make a table of every row", () => {
    const same = Array.from({ length: 500 }, (_, i) => tombstone(0, 9999, 500 - i));
    const tables = written({ from: 100, count: 200 }, same, { maxSstBytes: 10_000 });
    assert.deepEqual(tables.map(({ stats }) => stats.numPuts), [0, 200]);
    assert.deepEqual(tables.map(({ info }) => info.rangeDeletes!.count), [500, 500]);
  });

  it("of one compaction are parted among tables, with rows and without", () => {
    const many = Array.from({ length: 1000 }, (_, i) => tombstone(2 * i, 2 * i + 1, 5));
    for (const rows of [0, 1000]) {
      const tables = written({ from: 500, count: rows }, many, { maxSstBytes: 1 << 20, maxRangeBytes: 10_000 });
      const counts = tables.map(({ info }) => info.rangeDeletes!.count);
      assert.equal(counts.reduce((sum, count) => sum + count), 1000);
      assert.equal(tables.reduce((sum, { stats }) => sum + stats.numPuts, 0), rows);
      assert.ok(tables.length > 4 && Math.max(...counts) < 250, `${counts}`);
    }
  });

  it("with long keys are parted by 8 MiB, however large tables may be", () => {
    const store = memoryStore();
    const long = (n: number) => new TextEncoder().encode(String(n).padStart(6, "0").padEnd(4000, "x"));
    const many = Array.from(
      { length: 1300 },
      (_, i) => ({ start: long(2 * i), end: long(2 * i + 1), seq: 5, createTs: 1 }),
    );
    const view = writeTable(store, "db", testUlid(1), [], { blockSizeBytes: 4096, ranges: many });
    const made = Effect.runSync(compacted(store, planOf(store, [[[view]]], { olderSpans: [ALL_KEYS] })));
    assert.deepEqual(made[0]!.map((table) => table.view.info.rangeDeletes!.count), [1046, 254]);
  });

  it("that no reader could take are refused, and the compaction fails with its sources as they were", () => {
    const store = memoryStore();
    const nested = (seq: number) => Array.from({ length: 100 }, (_, i) => tombstone(0, 9999, seq - i));
    const view = (n: number) =>
      writeTable(store, "db", testUlid(n), [], { blockSizeBytes: 4096, ranges: nested(200 * n) });
    const plan = planOf(store, [[[view(2)], [view(1)]]], { minSeq: 0, olderSpans: [ALL_KEYS] });
    const before = store.objects();
    const compact = (maxRangePayloadBytes: number) =>
      Effect.runSyncExit(compacted(store, plan, { ...ENCODING, maxRangePayloadBytes }));
    const refused = compact(4999);
    const error = Exit.isFailure(refused) ? Cause.squash(refused.cause) : undefined;
    assert.ok(error instanceof FormatError && error.reason === "too-large", `${error}`);
    assert.match(error.message, /200 pieces of range tombstones take more than 4999 bytes.*nothing was published/);
    assert.deepEqual(store.objects(), before);
    assert.ok(Exit.isSuccess(compact(10_000)));
  });

  it("that reach beyond a table's last row cost no block of it", () => {
    const memory = memoryStore();
    const { store, requests } = counting(memory);
    const tables = new TableStore({ store, root: "db", cache: new BlockCache({ blockBytes: 1 << 20 }) });
    const options = { blockSizeBytes: 4096, minFilterKeys: Infinity, ranges: [tombstone(40_000, 90_000, 5)] };
    const view = writeTable(memory, "db", testUlid(1), makeRows(20_000, 100), options);
    const lsm = { memtables: [], l0: [new TableRef(tables.table(view), view)], runs: [] };
    const get = (n: number) => now(fetchLookup(tables, lsm, key(n), SPEC, { cache: true }));
    assert.equal(get(50_000), undefined);
    assert.equal(requests.length, 1, `the section of the tombstones, not ${requests}`);
    assert.ok(get(19_999) !== undefined);
    assert.equal(get(30_000), undefined);
  });
});
