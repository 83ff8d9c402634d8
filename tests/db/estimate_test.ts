import { Effect } from "effect";
import { type Db, Db as DbService, InvalidArgument, ObjectStore, open, type OpenOptions } from "../../mod.ts";
import type { KeyRange } from "../../src/db/api.ts";
import { parseTableName } from "../../src/format/paths.ts";
import { readSst } from "../../src/format/sst_footer.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { rangeLog } from "../support/range_log.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";

const VALUE = "v".repeat(100);
const keyOf = (i: number): string => `key/${String(i).padStart(6, "0")}`;

/** A database that does nothing by itself, and what is asked of its tables. */
class Place {
  readonly inner = memoryStore();
  readonly log = rangeLog(this.inner);

  open(options: OpenOptions = {}): Promise<Db> {
    return open({ store: this.log.store, path: "" }, {
      compactor: false,
      garbageCollector: false,
      flushIntervalMillis: null,
      blockCacheBytes: 0,
      ...options,
    });
  }

  /** Requests for tables since the last call; fails when one of them reaches into data. */
  asked(): number {
    const ranges = this.log.asked().filter(({ path }) => parseTableName(path) !== undefined);
    for (const { path, offset } of ranges) {
      const { info } = readSst(this.inner.peek(path)!);
      assert.ok(offset >= info.filterOffset, `data of ${path} was read, from ${offset}`);
    }
    return ranges.length;
  }
}

/** Puts keys `from` to before `to`. */
async function fill(db: Db, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await db.put(keyOf(i), VALUE, { durable: false });
}

const tabled = (db: Db): Promise<void> => db.flush({ kind: "memtable" });

function near(actual: number, expected: number, within: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= expected * within, `${what}: ${actual}, not about ${expected}`);
}

describe("estimate", () => {
  it("estimate counts what is in memory exactly while it is little, deletions and range deletes left out", async () => {
    const db = await new Place().open();
    assert.deepEqual(await db.estimate({}), { bytes: 0, entries: 0 });
    await fill(db, 0, 100);
    assert.equal((await db.estimate({})).entries, 100);
    assert.equal((await db.estimate({ gte: keyOf(10), lt: keyOf(30) })).entries, 20);
    assert.equal((await db.estimate({ gt: keyOf(10), lte: keyOf(30) })).entries, 20);
    assert.equal((await db.estimate({ prefix: "key/00000" })).entries, 10);
    assert.deepEqual(await db.estimate({ prefix: "other" }), { bytes: 0, entries: 0 });
    await fill(db, 0, 50);
    await db.delete(keyOf(99));
    assert.equal((await db.estimate({})).entries, 99, "versions of one key are one row");
    await db.deleteRange({ lt: keyOf(90) });
    await db.put(keyOf(5), VALUE);
    assert.equal((await db.estimate({})).entries, 10);
    await db.close();
  });

  it("estimate tells about how many rows a large memtable has in a range, without walking it", async () => {
    const db = await new Place().open();
    await fill(db, 0, 20_000);
    near((await db.estimate({})).entries, 20_000, 0.02, "all");
    near((await db.estimate({ gte: keyOf(5000), lt: keyOf(15_000) })).entries, 10_000, 0.2, "half");
    near((await db.estimate({ gte: keyOf(18_000) })).bytes, 2000 * 126, 0.3, "bytes of a tenth");
    await db.close();
  });

  it("estimate reads indexes and statistics, no data, and nothing twice", async () => {
    const place = new Place();
    const db = await place.open();
    await fill(db, 0, 2000);
    await tabled(db);
    await db.close();
    const again = await place.open();
    place.asked();
    const all = await again.estimate({});
    assert.equal(all.entries, 2000);
    near(all.bytes, 2000 * 120, 0.2, "bytes");
    assert.equal(place.asked(), 1, "statistics alone: the table lies inside");
    near((await again.estimate({ gte: keyOf(500), lt: keyOf(1500) })).entries, 1000, 0.1, "half of the rows");
    assert.equal(place.asked(), 1, "the index");
    near((await again.estimate({ gte: keyOf(1990) })).entries, 10, 1, "a part of a block");
    assert.deepEqual(await again.estimate({ gt: keyOf(1999) }), { bytes: 0, entries: 0 });
    const one = await again.estimate({ gte: keyOf(700), lte: keyOf(700) });
    assert.ok(one.entries >= 1 && one.entries < 40, "a key that may be there is never nothing");
    near(one.bytes, 120, 0.2, "bytes of one row");
    assert.deepEqual(await again.estimate(), all, "without a range: everything");
    assert.equal(place.asked(), 0);
    const { l0: [table] } = await again.tables();
    assert.ok(table!.bytes < 65_536 * 8 && all.bytes === table!.bytes);
    await again.close();
  });

  it("estimate leaves out what range deletes of newer sources cover, of blocks and of whole tables", async () => {
    const place = new Place();
    const db = await place.open();
    await fill(db, 0, 1000);
    await tabled(db);
    await fill(db, 1000, 2000);
    await tabled(db);
    await db.deleteRange({ gte: keyOf(1000), lt: keyOf(2000) });
    assert.equal((await db.estimate({})).entries, 1000, "in memory, over a table");
    await tabled(db);
    assert.equal((await db.estimate({})).entries, 1000, "in a table");
    assert.deepEqual(await db.estimate({ gte: keyOf(1000), lt: keyOf(2000) }), { bytes: 0, entries: 0 });
    await db.deleteRange({ gte: keyOf(0), lt: keyOf(500) });
    near((await db.estimate({})).entries, 500, 0.1, "half of the other");
    assert.deepEqual(await db.estimate({ lt: keyOf(100) }), { bytes: 0, entries: 0 });
    await tabled(db);
    await fill(db, 100, 200);
    near((await db.estimate({})).entries, 600, 0.1, "rows that are newer count");
    await tabled(db);
    near((await db.estimate({ lt: keyOf(300) })).entries, 100, 0.1, "a tombstone hides nothing of newer tables");
    place.asked();
    await db.deleteRange({ gte: "" });
    assert.deepEqual(await db.estimate({}), { bytes: 0, entries: 0 });
    assert.equal(place.asked(), 0);
    await db.close();
    const again = await place.open();
    place.asked();
    await again.estimate({ gte: keyOf(200), lt: keyOf(1500) });
    assert.ok(place.asked() <= 8);
    await again.close();
  });

  it("estimate makes no more requests than it promises, and goes on where it stopped", async () => {
    const place = new Place();
    const db = await place.open({ l0MaxSsts: 1000 });
    const tables = 100;
    for (let i = 0; i < tables; i++) {
      await fill(db, i * 10, i * 10 + 10);
      await tabled(db);
    }
    await db.close();
    const again = await place.open({ l0MaxSsts: 1000 });
    place.asked();
    near((await again.estimate({})).entries, tables * 10, 0.02, "rows of tables not read are estimated");
    assert.equal(place.asked(), 64);
    assert.equal((await again.estimate({})).entries, tables * 10);
    assert.equal(place.asked(), tables - 64);
    await again.close();
  });

  it("estimate refuses what a scan refuses, and a closed database", async () => {
    const db = await new Place().open();
    for (const range of [{ gte: "b", lt: "a" }, { from: "a" }, { gte: 7 }] as unknown as KeyRange[]) {
      const refusals = await Promise.all([
        db.estimate(range).catch((error) => error),
        db.scan(range).toArray().catch((error) => error),
      ]);
      assert.ok(refusals.every((error) => error instanceof InvalidArgument));
      assert.equal(refusals[0].reason, refusals[1].reason);
    }
    await db.close();
    assert.equal((await db.estimate({}).catch((error) => error))._tag, "Closed");
  });

  effectTest("estimate and tables are effects, too", () =>
    Effect.gen(function* () {
      const db = yield* DbService.open({ compactor: false });
      yield* db.put("a", "1");
      yield* db.deleteRange({ gte: "b" });
      yield* db.flush({ kind: "memtable" });
      assert.equal((yield* db.estimate({ prefix: "a" })).entries, 1);
      assert.deepEqual(yield* db.estimate(), yield* db.estimate({}));
      const { l0: [table] } = yield* db.tables;
      assert.deepEqual([table?.numEntries, table?.numDeletions, table?.rangeDeletions, table?.numRangeKeySets], [
        2,
        1,
        1,
        0,
      ]);
    }).pipe(Effect.scoped, Effect.provideService(ObjectStore, memoryStore())));
});

describe("tables", () => {
  it("tables tells what tombstones of each table make superfluous, of a real tree", async () => {
    const place = new Place();
    const db = await place.open();
    await fill(db, 0, 500);
    await db.compact();
    place.log.asked();
    const bottom = (await db.tables()).runs[0]!.tables[0]!;
    assert.deepEqual([bottom.pointDeletionsBytesEstimate, bottom.rangeDeletionsBytesEstimate], [0, 0]);
    await db.deleteRange({ prefix: "key/" });
    await tabled(db);
    await db.deleteRange({ gte: keyOf(0), lt: keyOf(250) });
    await db.delete(keyOf(400));
    await tabled(db);
    const { l0: [part, whole] } = await db.tables();
    assert.equal(whole!.rangeDeletionsBytesEstimate, bottom.bytes);
    near(part!.rangeDeletionsBytesEstimate, bottom.bytes / 2, 0.2, "half of the run");
    near(part!.pointDeletionsBytesEstimate, bottom.bytes / 500, 0.01, "one row");
    assert.deepEqual([part!.numEntries, part!.numDeletions, part!.entries, part!.pointDeletions], [2, 2, 1, 1]);
    assert.deepEqual([whole!.entries, whole!.lastKey, whole!.formatVersion], [0, undefined, 0x8001]);
    place.asked();
    await db.tables();
    assert.equal(place.asked(), 0);
    await db.close();
  });
});
