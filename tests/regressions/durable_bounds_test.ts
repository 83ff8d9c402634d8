/**
 * Durable reads of a moment at which a memtable was being encoded and only some of its rows were durable.
 *
 * @module
 */
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "../db/fault_world.ts";

const LATENCY_MILLIS = 100;

describe("durable reads of a snapshot", () => {
  it("K-21 show what a range delete hid that was durable by then, though a later one covers it in the same table", async () => {
    const world = new World({ compactor: false, garbageCollector: false, l0SstSizeBytes: 2000, blockSizeBytes: 1024 });
    const db = await world.open();
    await world.get(db.put("k", "1"));
    await world.get(db.deleteRange({ gte: "x" }));
    await world.get(db.flush({ kind: "memtable" }));
    world.store.controls.setLatency(LATENCY_MILLIS);
    const first = await db.deleteRange({ gte: "a", lt: "m" }, { durable: false });
    void db.flush();
    // The first object of the log is on its way; these two go into the next one, and fill the memtable.
    await world.clock.advance(LATENCY_MILLIS / 2);
    const second = await db.deleteRange({ gte: "a", lt: "n" }, { durable: false });
    await db.put("y", "2".repeat(3000), { durable: false });
    await world.get(first.durable);
    assert.equal(db.status.durableSeq, first.seq);
    assert.ok(second.seq > first.seq);
    const snapshot = await db.snapshot();
    const seen = async () => text(await world.get(snapshot.get("k", { durability: "durable" })));
    assert.equal(await seen(), undefined);
    await world.get(db.flush({ kind: "memtable" }));
    assert.equal((await world.get(db.tables())).l0.length, 2);
    assert.equal(await seen(), undefined, "deleted, and durably so, when the snapshot was taken");
    snapshot.release();
    await world.get(db.close());
  });
});
