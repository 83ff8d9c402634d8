/**
 * What a compactor may cost: writers that wait, requests of a database at rest, room in the manifest.
 *
 * @module
 */
import type { Db } from "../../src/db/api.ts";
import { openCompactor } from "../../src/db/standalone_compactor.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { damage, LONG, QUIET, table, tables } from "./compactor_world.ts";

const HOUR = 3_600_000;
const READS = { prefix: "compacted/", op: ["get", "getRange"], rate: 1 } as const;

/** So many writes of 2 kB, none of them waited for. */
async function write(db: Db, count: number): Promise<void> {
  const value = new Uint8Array(2000);
  for (let i = 0; i < count; i++) await db.put(`n${i}`, value, { durable: false });
}

describe("writes", () => {
  it("go on while a manual compaction waits for a long merge of runs", async () => {
    const world = new World({ ...QUIET, compactor: {}, l0SstSizeBytes: 20_000, maxUnflushedBytes: 100_000 });
    const db = await world.open();
    await tables(world, db, 15, 100, 100);
    await world.clock.advance(5000);
    // The next table makes the fourth run; merging the four never ends.
    for (const { ssts } of world.manifest.compacted) {
      for (const { sstId } of ssts) {
        const fault = { kind: "hang", when: "before" } as const;
        world.store.controls.addRules({ ...READS, prefix: `compacted/${sstId}`, fault });
      }
    }
    await table(world, db, 100, "15", 100);
    await world.clock.advance(5000);
    const { compacted } = world.manifest;
    assert.deepEqual([compacted.length, db.status.compactions.length], [4, 1], "four runs, being merged");
    const asked = db.compact();
    asked.catch(() => {});
    await world.clock.advance(1000);
    await world.get(write(db, 400), LONG);
    await world.clock.advance(10_000);
    assert.equal(db.status.backpressure, false);
    assert.ok(db.status.l0Count < 8, `${db.status.l0Count} L0 tables`);
    world.store.controls.crash();
  });

  for (const end of ["damaged", "superseded"] as const) {
    it(`at the limit of L0 tables go on when the compactor is ${end}`, async () => {
      const settings = { l0SstSizeBytes: 20_000, maxUnflushedBytes: 60_000, l0MaxSsts: 4 };
      const world = new World({ ...QUIET, ...settings, compactor: {} });
      const db = await world.open();
      await tables(world, db, 3, 100, 100);
      if (end === "damaged") damage(world, world.paths("compacted")[0]!, 0, 300);
      world.store.controls.addRules({ ...READS, fault: { kind: "delay", millis: 10_000 } });
      await table(world, db, 100, "3", 100);
      await world.clock.advance(1000);
      const writes = write(db, 200);
      await world.clock.advance(2000);
      assert.deepEqual([db.status.compactor, db.status.backpressure], ["running", true]);
      if (end === "superseded") {
        const never = { minCompactionSources: 1000, maxCompactionSources: 1000 };
        const opened = openCompactor({ store: world.inner, path: "" }, { clock: world.clock, ...never });
        await world.get(opened, LONG);
      }
      await world.get(writes, LONG);
      assert.equal(db.status.compactor, end === "superseded" ? "superseded" : "failing");
      world.store.controls.crash();
    });
  }
});

describe("checkpoints of compactions", () => {
  it("that have ended are dropped by later ones where nobody collects", async () => {
    const world = new World({ ...QUIET, compactor: { minCompactionSources: 2 } });
    const db = await world.open();
    for (let i = 0; i < 30; i++) {
      await table(world, db, 5, `${i}`);
      await world.clock.advance(HOUR);
    }
    const left = world.manifest.checkpoints.length;
    assert.ok(left >= 1 && left <= 3, `${left} checkpoints after 30 hours`);
    await world.get(db.close());
  });
});

describe("a database at rest", () => {
  it("whose table is damaged is not compacted anew every minute", async () => {
    const world = new World({ ...QUIET, compactor: { maxSstBytes: 20_000 }, garbageCollector: {} });
    const db = await world.open();
    await tables(world, db, 3, 200, 500);
    damage(world, world.paths("compacted")[0]!, 60_000, 70_000);
    await table(world, db, 200, "4", 500);
    await world.clock.advance(2 * HOUR);
    assert.equal(db.status.compactor, "failing");
    const { log } = world.store.controls;
    const from = log.length;
    await world.clock.advance(24 * HOUR);
    const day = log.slice(from);
    const tablePuts = day.filter(({ op, path }) => op === "putIfAbsent" && path.startsWith("compacted/")).length;
    assert.ok(tablePuts < 30 && day.length < 500, `a day: ${tablePuts} tables, ${day.length} requests`);
    assert.ok(db.status.warnings.some((warning) => warning.includes("checksum")), `${db.status.warnings}`);
    await world.get(db.close());
  });

  it("that is one plain table is not compacted again by whoever asks for it", async () => {
    const world = new World({ ...QUIET, compactor: { minCompactionSources: 2 } });
    const first = await world.open();
    await tables(world, first, 2, 200, 200);
    await world.clock.advance(5000);
    await world.get(first.close());
    const db = await world.open();
    await world.get(db.compact());
    const stored = world.inner.objects();
    const from = world.store.controls.log.length;
    for (let i = 0; i < 3; i++) await world.get(db.compact());
    assert.deepEqual(world.inner.objects(), stored);
    assert.equal(world.store.controls.log.length - from, 3, "one look at the manifest each");
    await world.get(db.close());
  });
});
