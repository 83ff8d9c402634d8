/**
 * A ceiling on the objects of the log is one on bytes per second too: writes that wait for it are told why.
 *
 * @module
 */
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const KIB = 1024;

describe("writes that wait for the ceiling of the log", () => {
  it("are explained by a warning with both settings, which goes when they do not wait any more", async () => {
    const world = new World({
      compactor: false,
      garbageCollector: false,
      maxWalPutsPerSecond: 0.1,
      l0SstSizeBytes: 64 * KIB,
      maxUnflushedBytes: 256 * KIB,
    });
    const db = await world.open();
    const value = new Uint8Array(KIB);
    const writes: Promise<void>[] = [];
    for (let i = 0; i < 400; i++) writes.push(db.put(`k${i}`, value, { durable: false }).then(() => {}));
    await world.clock.advance(1_000);
    assert.equal(db.status.backpressure, true);
    const [warning, ...others] = db.status.warnings;
    assert.match(warning ?? "", /maxWalPutsPerSecond = 0\.1 with l0SstSizeBytes = 65536 stores about 6554 bytes/);
    assert.deepEqual(others, []);
    await world.get(Promise.all(writes), 1_000_000);
    await world.get(db.flush({ kind: "wal" }), 1_000_000);
    assert.deepEqual([db.status.backpressure, db.status.warnings], [false, []]);
    await world.get(db.close());
  });

  it("without a ceiling, writes that wait are not put down to it", async () => {
    const world = new World({
      compactor: false,
      garbageCollector: false,
      l0SstSizeBytes: 64 * KIB,
      maxUnflushedBytes: 256 * KIB,
    });
    const db = await world.open();
    world.store.controls.setOutage(true);
    const writes: Promise<void>[] = [];
    const value = new Uint8Array(KIB);
    for (let i = 0; i < 400; i++) writes.push(db.put(`k${i}`, value, { durable: false }).then(() => {}));
    await world.clock.advance(1_000);
    assert.deepEqual([db.status.backpressure, db.status.warnings], [true, []]);
    world.store.controls.setOutage(false);
    await world.get(Promise.all(writes), 100_000);
    await world.get(db.close());
  });
});
