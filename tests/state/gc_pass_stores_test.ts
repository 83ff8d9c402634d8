/** Collections in stores with faults, and where the WAL has a store of its own. */
import { walPath } from "../../src/format/paths.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { contentsOf } from "../db/fault_world.ts";
import { fill, type GcWorld, gcWorld } from "../tasks/gc_world.ts";
import { deleted, MIN_AGE, names, oldWorld, oneRow, pin, plain, plantTable } from "./gc_pass_world.ts";

describe("collectOnce, a store with faults", () => {
  it("goes on when a deletion fails and leaves the object to the next pass", async () => {
    const world = await oldWorld();
    const fault = { kind: "before", reason: "permission", retryable: false } as const;
    world.store.controls.addRules({ op: "delete", nth: 2, fault });
    const pass = await world.pass();
    assert.equal(pass.report.deleted.wal.length, 4);
    assert.equal(pass.report.kept.wal["delete-failed"], 1);
    assert.deepEqual([pass.failure?.reason, pass.report.deleted.manifest.length], ["permission", 7]);
    assert.equal((await world.pass()).report.deleted.wal.length, 1);
  });

  it("stops asking a store that refuses every deletion", async () => {
    const world = await oldWorld();
    for (let i = 0; i < 100; i++) plantTable(world, i);
    const fault = { kind: "before", reason: "permission", retryable: false } as const;
    world.store.controls.addRules({ op: "delete", rate: 1, fault });
    const from = world.store.controls.requestCount;
    const { report } = await world.pass();
    const asked = world.store.controls.log.slice(from).filter(({ op }) => op === "delete").length;
    assert.ok(asked >= 16 && asked < 24, `${asked} deletions were tried`);
    assert.deepEqual([report.kept.wal["delete-failed"], report.kept.compacted["delete-failed"]], [5, 100]);
    assert.equal(report.deletedBytes, 0);
  });

  it("counts an object as deleted that somebody else has deleted", async () => {
    const world = await oldWorld();
    const fault = { kind: "before", reason: "not-found", retryable: false } as const;
    world.store.controls.addRules({ op: "delete", nth: 1, fault });
    assert.equal((await world.pass()).report.deleted.wal.length, 5);
  });

  it("a crash at any request leaves a database that opens and reads the same, and a next pass finishes", async () => {
    const world = await lived();
    const expected = await world.contents(plain);
    const sound = faultyStore(world.inner.clone());
    await world.pass({}, { store: sound, walStore: sound });
    const requests = sound.controls.requestCount;
    assert.ok(sound.controls.log.some(({ op }) => op === "putIfAbsent"), "a checkpoint ends");
    assert.ok(requests > 20, `${requests} requests`);
    for (let index = 0; index < requests; index++) {
      for (const when of ["before", "after"] as const) {
        const inner = world.inner.clone();
        const store = faultyStore(inner);
        store.controls.crashAt = { index, when };
        world.pass({}, { store, walStore: store }).catch(() => {});
        await world.clock.settle();
        assert.ok(store.controls.crashed, `crash ${when} request ${index}`);
        assert.deepEqual(await contentsOf(inner, { ...world.options, ...plain }), expected);
        await world.pass({}, { store: inner, walStore: inner });
        assert.deepEqual(await contentsOf(inner, { ...world.options, ...plain }), expected);
        const last = await world.pass({ dryRun: true }, { store: inner, walStore: inner });
        assert.deepEqual(deleted(last), [], `left after a crash ${when} request ${index}`);
        assert.equal(last.report.stopped, undefined);
      }
    }
  });
});

/** A database with sorted runs, L0, a replayed and a live log, a checkpoint that has ended and one that holds. */
async function lived(): Promise<GcWorld> {
  const world = gcWorld();
  await fill(world, 3, 1);
  const db = await world.open();
  await world.get(db.compact());
  const seconds = Math.floor(world.clock.now() / 1000);
  await world.get(db.put("k1", "later"));
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(db.put("k2", "in the log"));
  await world.get(db.close());
  world.plantManifest((current) => ({
    checkpoints: [...current.checkpoints, pin(6, seconds + 5), pin(4)],
  }));
  for (let i = 0; i < 3; i++) plantTable(world, 1000 + i);
  await world.wait(1_000_000);
  return world;
}

describe("collectOnce, a separate store of the WAL", () => {
  it("collects the log there and everything else here", async () => {
    const world = gcWorld();
    const log = memoryStore();
    const db = await world.open({ wal: { store: log } });
    for (let i = 0; i < 3; i++) {
      await world.get(db.put("a", String(i)));
      await world.get(db.flush({ kind: "memtable" }));
    }
    await world.get(db.close());
    for (const id of [1, 2]) world.inner.plant(walPath("", id), oneRow(500), { lastModifiedMillis: 0 });
    await world.wait(MIN_AGE + 1000);
    const { report } = await world.pass({}, { walStore: log });
    assert.deepEqual(report.deleted.wal, names("wal", [2, 3]));
    assert.deepEqual(log.objects(), names("wal", [1, 4]));
    assert.deepEqual(world.paths("wal"), names("wal", [1, 2]), "not this database's log");
  });
});
