/**
 * What piles up while the store takes nothing: it must fit into objects that can be stored and replayed, and whoever
 * watches the pile must not make it grow without end.
 *
 * @module
 */
import { WriteBatch } from "../../mod.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const KIB = 1024;

describe("an outage", () => {
  for (const timePasses of [true, false]) {
    it(`leaves WAL objects as large as a memtable, not as large as the outage was long; time passes: ${timePasses}`, async () => {
      const memtableBytes = 64 * KIB;
      const world = new World({
        l0SstSizeBytes: memtableBytes,
        maxUnflushedBytes: 32 * memtableBytes,
        flushIntervalMillis: 100,
      });
      const db = await world.open();
      await world.get(db.put("first", "1"));
      world.store.controls.setOutage(true);
      const value = new Uint8Array(KIB);
      for (let i = 0; i < 1000; i++) {
        await db.put(`k${i}`, value, { durable: false });
        if (timePasses && i % 50 === 0) await world.clock.advance(200);
      }
      const batch = new WriteBatch();
      for (let i = 0; i < 100; i++) batch.put(`b${i}`, value);
      const last = db.write(batch);
      assert.equal(db.status.backpressure, false, "all of it is in memory");
      world.store.controls.setOutage(false);
      // The process dies when the last write is acknowledged: only the log holds what tables do not yet.
      await world.get(last, 60_000);
      world.store.controls.crash();
      const sizes = world.paths("wal").map((path) => world.inner.peek(path)!.length);
      assert.ok(Math.max(...sizes) < memtableBytes + 110 * KIB, `WAL objects of ${sizes} bytes`);
      assert.equal((await world.contents()).size, 1101);
    });
  }

  it("does not drown in the writes of a status listener that reports backpressure", async () => {
    const world = new World({ l0SstSizeBytes: 10_000, maxUnflushedBytes: 2_000_000 });
    const db = await world.open();
    await world.get(db.put("a", "1"));
    world.store.controls.setOutage(true);
    let calls = 0;
    db.onStatus((status) => {
      calls++;
      if (status.backpressure) db.put("metric", `${calls}`, { durable: false }).catch(() => {});
    });
    const value = new Uint8Array(25_000);
    for (let i = 0; i < 120 && !db.status.backpressure; i++) {
      db.put(`k${i}`, value, { durable: false }).catch(() => {});
    }
    assert.equal(db.status.backpressure, true);
    await world.clock.advance(10);
    world.store.controls.setOutage(false);
    await world.clock.advance(60_000);
    assert.ok(calls > 0 && calls < 1000, `the listener was called ${calls} times`);
    assert.equal(db.status.closeReason, undefined);
    await world.get(db.put("z", "1"));
    await world.get(db.close());
    assert.ok((await world.contents()).has("metric"));
  });
});
