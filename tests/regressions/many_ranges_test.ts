/**
 * Logs with more range deletes than a memtable takes, replayed by a writer and by a reader.
 *
 * @module
 */
import { Effect } from "effect";
import { openReaderAt } from "../../src/db/reader.ts";
import { replayObject } from "../../src/db/reader_follow.ts";
import { resolveReaderOptions } from "../../src/db/reader_options.ts";
import { FLAG_CREATE, FLAG_MERGE, NO_EXPIRY } from "../../src/format/types.ts";
import { WalSstBuilder } from "../../src/format/wal_sst.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import type { Memtable } from "../../src/lsm/memtable.ts";
import { RANGES_PER_MEMTABLE } from "../../src/lsm/memtable_limits.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import { ReaderState } from "../../src/state/reader_state.ts";
import type { FaultRule } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { WriteBatch } from "../../mod.ts";
import { World } from "../db/fault_world.ts";
import { openDatabase } from "../db/transaction_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const BATCH = 500;
/** Every request for a table fails. */
const NO_TABLES: FaultRule = { prefix: "compacted/", rate: 1, fault: { kind: "before" } };

/** How many range tombstones each memtable has, oldest first. */
const counts = (memtables: ReadonlyArray<Memtable>): number[] =>
  memtables.map(({ ranges }) => ranges.count).filter((count) => count > 0).reverse();

describe("a log with many range deletes", () => {
  it("fills memtables that end as the writer's did, within its objects too, and no batch is in two", async () => {
    const world = new World({ compactor: false, garbageCollector: false });
    const db = await world.open();
    await world.get(db.put("k", "1"));
    world.store.controls.addRules(NO_TABLES);
    for (let batch = 0; batch < 12; batch++) {
      const ranges = new WriteBatch();
      for (let i = 0; i < BATCH; i++) ranges.deleteRange({ gte: `r${batch}.${i}`, lt: `r${batch}.${i}x` });
      void db.write(ranges, { durable: false });
    }
    await world.get(db.flush());
    const objects = world.paths("wal").length;
    assert.ok(objects <= 4, `${objects} objects`);
    world.store.controls.crash();

    const full = Math.ceil(RANGES_PER_MEMTABLE / BATCH) * BATCH;
    const expected = [full, full, 12 * BATCH - 2 * full];
    const successor = new World({ compactor: false, garbageCollector: false }, world.inner.clone());
    successor.store.controls.addRules(NO_TABLES);
    const opened = await openDatabase(successor);
    assert.deepEqual(counts(opened.engine.parts.state.view.memtables), expected, "the writer's");
    successor.store.controls.crash();

    const options = resolveReaderOptions({ clock: world.clock });
    const reading = openReaderAt({ store: world.inner, root: "" }, options);
    const reader = await world.get(Effect.runPromise(reading), 100_000);
    assert.deepEqual(counts(reader.host.view(reader.reader.spec(undefined)).memtables), expected, "the reader's");
    await world.get(Effect.runPromise(reader.close));
  });

  it("has each row in one memtable of a reader, though its object is read twice", () => {
    const builder = new WalSstBuilder({ blockSizeBytes: 4096, compression: 0, minFilterKeys: 0, filterBitsPerKey: 10 });
    const key = new TextEncoder().encode("m");
    const operand = new Uint8Array(5000);
    for (const seq of [1, 2]) {
      builder.add(key, 0, 1, seq, FLAG_CREATE | FLAG_MERGE, 1, NO_EXPIRY, operand, 0, operand.length);
    }
    const sound = builder.finish();
    const damaged = sound.slice();
    damaged[7000]! ^= 1;
    const tables = new TableStore({ store: memoryStore(), root: "", cache: new BlockCache({ blockBytes: 0 }) });
    const stored = { id: 1, seenNewestAt: { wall: 0, monotonic: 0 }, manifest: emptyManifest(false) };
    const options = { maxMemtableBytes: 12_000, holdIdleMillis: 1000, now: () => 0 };
    const state = new ReaderState(tables, stored, options);
    const replay = (bytes: Uint8Array) =>
      Effect.runSync(Effect.exit(replayObject({ root: "", state }, { id: 1, bytes })));
    assert.equal(replay(damaged)._tag, "Failure");
    assert.equal(state.memtables[0]!.entryCount, 1, "the row before the damage");
    assert.equal(replay(sound)._tag, "Success");
    assert.deepEqual(state.memtables.map(({ entryCount }) => entryCount), [2]);
  });
});
