/**
 * Databases whose WAL was switched off: rows replayed from the old log, and bounds that only tables advance.
 *
 * @module
 */
import { World } from "../db/fault_world.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("with the WAL off", () => {
  it("a durable write settles although the active memtable began with rows replayed from a log", async () => {
    const world = new World({ flushIntervalMillis: 100 });
    const before = await world.open();
    await world.get(before.put("a", "1"));
    await world.get(before.close());
    const db = await world.open({ wal: false });
    assert.equal((await world.get(db.put("b", "2"))).seq, 2);
    assert.equal(db.status.durableSeq, 2);
    await world.get(db.close());
    assert.deepEqual([...await world.contents({ wal: false })], [["a", "1"], ["b", "2"]]);
  });

  it("a manifest on its way does not give up what a snapshot taken meanwhile still reads", async () => {
    const world = new World({ wal: false, flushIntervalMillis: 10 });
    const db = await world.open();
    await world.get(db.put("a", "one"));
    world.store.controls.addRules({
      op: "putIfAbsent",
      prefix: "manifest/",
      nth: 1,
      fault: { kind: "delay", millis: 500 },
    });
    const second = db.put("a", "two");
    await world.clock.advance(100);
    assert.equal(db.status.durableSeq, 1, "the manifest is on its way");
    const snapshot = await db.snapshot();
    assert.equal(text(await world.get(snapshot.get("a", { durability: "durable" }))), "one");
    await world.get(second);
    assert.ok(world.manifest.lastL0Seq === 2 && world.manifest.recentSnapshotMinSeq <= 1);
    snapshot.release();
    await world.get(db.close());
  });
});
