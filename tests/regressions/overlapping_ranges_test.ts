/**
 * Range deletes of which each covers the ones before, as "everything below a cutoff" does: what is written, held and
 * read grows with their number, not with its square.
 *
 * @module
 */
import { DataError, InvalidArgument, open, WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { joinFragments, RangeLevels, RangeSet } from "../../src/lsm/range_set.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { ReaderWorld } from "../db/reader_world.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const MANY = 600;
const cutoff = (i: number) => `k${String(i).padStart(6, "0")}`;
const UNAWAITED = { durable: false } as const;

async function burst(wal: boolean): Promise<Db> {
  const clock = virtualClock(1_000);
  const db = await open({ store: memoryStore(), path: "" }, { clock, wal, compactor: false, garbageCollector: false });
  await db.put(cutoff(MANY + 1), "kept", UNAWAITED);
  for (let i = 1; i <= MANY; i++) await db.deleteRange({ lt: cutoff(i) }, UNAWAITED);
  return db;
}

describe("range deletes that cover each other", () => {
  for (const wal of [true, false]) {
    it(`make a table with one of them when nobody waits for them to be durable; log: ${wal}`, async () => {
      const db = await burst(wal);
      await db.flush({ kind: "memtable" });
      const [table] = (await db.tables()).l0;
      assert.equal(table!.rangeDeletions, 1);
      assert.equal(text((await db.get(cutoff(MANY + 1)))!), "kept");
      await db.close();
    });
  }

  it("are looked through by older reads without a list of all numbers over all keys", () => {
    const all = Array.from({ length: 20_000 }, (_, i) => ({
      start: new Uint8Array(0),
      end: new TextEncoder().encode(cutoff(i + 1)),
      seq: i + 1,
      createTs: 0,
    }));
    const set = RangeSet.of(all);
    // 200 million numbers, if they were listed.
    const key = new TextEncoder().encode(cutoff(5000));
    assert.equal(set.seqOver(key, 10_000), 10_000);
    assert.equal(set.seqOver(key, 5000), 0);
    assert.equal(set.seqOver(new Uint8Array(0), 7), 7);
  });

  it("may be 130,000 at once", () => {
    const bytes = (i: number) => Uint8Array.of(i >>> 16, i >>> 8, i);
    const made = (seq: number) =>
      Array.from({ length: 130_000 }, (_, i) => ({ start: bytes(i), end: bytes(i + 1), seq, createTs: 0 }));
    const levels = new RangeLevels();
    levels.add(made(1));
    levels.add(made(2));
    assert.equal(levels.sets.length, 1);
    assert.equal(levels.seqOver(bytes(77_777), Infinity), 2);
    assert.equal(joinFragments(levels.sets[0]!.fragments()).length, 2);
  });

  it("count as the memory that they take while they wait for their table", async () => {
    const db = await burst(true);
    assert.ok(db.status.unflushedBytes > MANY * 500, `${db.status.unflushedBytes} bytes`);
    await db.close();
  });
});

describe("a follower's snapshot between two range deletes", () => {
  it("fails typed whenever its tables are gone, and never shows what was deleted before it", async () => {
    const world = new ReaderWorld({ blockCacheBytes: 0, blockSizeBytes: 1024, compactor: {} });
    const db = await world.open();
    for (let i = 0; i < 60; i++) await db.put(cutoff(i), "v".repeat(5000), UNAWAITED);
    await world.get(db.flush({ kind: "memtable" }));
    const oldest = await db.snapshot();
    await world.get(db.deleteRange({ gte: cutoff(30), lt: cutoff(50) }));
    const follower = await world.reader({ mode: "follow", blockCacheBytes: 0 });
    const snapshot = await follower.snapshot();
    await world.get(db.deleteRange({ gte: cutoff(20), lt: cutoff(55) }));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.compact(), 100_000);
    await world.clock.advance(20 * 60_000);
    await world.get(db.collectGarbage(), 100_000);
    for (let i = 0; i < 3; i++) {
      assert.equal(await world.get(snapshot.get(cutoff(40))), undefined);
      const error = await world.error(snapshot.get(cutoff(25)));
      assert.ok(error instanceof DataError && error.reason === "view-expired", String(error));
    }
    snapshot.release();
    oldest.release();
    await world.get(follower.close());
    await world.get(db.close());
  });
});

describe("a serializable transaction", () => {
  it("refuses to read what is durable: writes between that and its beginning are not watched", async () => {
    const db = await burst(true);
    const tx = await db.begin({ isolation: "serializable" });
    const refused = (error: unknown) => error instanceof InvalidArgument && error.reason === "durability";
    await assert.rejects(tx.get("a", { durability: "durable" }), refused);
    await assert.rejects(async () => await tx.scan({}, { durability: "durable" }).toArray(), refused);
    await assert.rejects(tx.cursor({}, { durability: "durable" }), refused);
    await tx.rollback();
    const snapshot = await db.begin();
    assert.equal(await snapshot.get(cutoff(MANY + 1), { durability: "durable" }), undefined);
    await snapshot.rollback();
    await db.write(new WriteBatch().put("a", "1"));
    await db.close();
  });
});
