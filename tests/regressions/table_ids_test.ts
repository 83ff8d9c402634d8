/**
 * Ids of tables after the clock went back: collectors elsewhere take what is older than the newest L0 table for garbage.
 *
 * @module
 */
import { collectGarbage } from "../../src/db/collect.ts";
import { parseTableName } from "../../src/format/paths.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { START_MILLIS, World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertAllStored, LONG, QUIET, table } from "./compactor_world.ts";

describe("a writer whose clock is behind that of the writer before", () => {
  it("gives its tables later ids than every one published, also when all of those are compacted away", async () => {
    const log = memoryStore();
    const wal = faultyStore(log);
    const world = new World({ ...QUIET, wal: { store: wal }, l0SstSizeBytes: 20_000 });
    await world.clock.set(10 * START_MILLIS);
    const first = await world.open();
    await table(world, first, 20, "old");
    await world.get(first.compact(), LONG);
    await world.get(first.close(), LONG);
    const newest = world.manifest.lastCompactedL0!;
    await world.clock.set(world.clock.now() - 8000);
    const db = await world.open();
    // Tables go up, but cannot be published before their rows are in the log.
    wal.controls.setOutage(true);
    const before = new Set(world.paths("compacted"));
    for (let i = 0; i < 30; i++) await db.put(`new ${i}`, new Uint8Array(1000), { durable: false });
    await world.clock.advance(5000);
    const waiting = world.paths("compacted").filter((path) => !before.has(path));
    assert.ok(waiting.length > 0, "a table waits for the log");
    for (const path of waiting) assert.ok(parseTableName(path)! > newest, `${path} is not above ${newest}`);
    await world.clock.advance(LONG);
    const collected = collectGarbage({ store: world.inner, path: "" }, { clock: world.clock, wal: { store: log } });
    const { deleted } = await world.get(collected, LONG);
    assert.deepEqual(deleted.compacted.filter((path) => waiting.includes(path)), []);
    wal.controls.setOutage(false);
    await world.get(db.flush({ kind: "memtable" }), LONG);
    assertAllStored(world);
    assert.equal((await world.get(db.scan().toArray())).length, 50);
    await world.get(db.close(), LONG);
  });
});
