/**
 * Entries of the compactions object and the epoch of compactors: what keeps the tables of a job from being collected,
 * and who is whose rival.
 *
 * @module
 */
import { compactOnce, openCompactor } from "../../src/db/standalone_compactor.ts";
import { type FaultRule, faultyStore } from "../../src/store/faulty_store.ts";
import { World } from "../db/fault_world.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertAllStored, journal, LONG, QUIET, statuses, submit, table, tables } from "./compactor_world.ts";

const COLLECTS = { garbageCollector: { intervalMillis: 60_000 } };
const EVERY_SECOND = { minCompactionSources: 2 };
const NEVER_BY_ITSELF = { minCompactionSources: 100, maxCompactionSources: 100 };

/** Waits until a job has stored `count` tables that are not in `before`; answers how many are there now. */
async function made(world: World, before: ReadonlySet<string>, count: number): Promise<() => number> {
  const now = () => world.paths("compacted").filter((path) => !before.has(path)).length;
  for (let i = 0; i < 1000 && now() < count; i++) await world.clock.advance(100);
  assert.ok(now() >= count, `${now()} tables`);
  return now;
}

describe("a standalone compactor", () => {
  it("has an active entry also for a job that it runs again, so that nobody collects what the job has stored", async () => {
    const world = new World({ ...QUIET, ...COLLECTS });
    const db = await world.open();
    await tables(world, db, 4, 400, 1000);
    const before = new Set(world.paths("compacted"));
    const store = faultyStore(world.inner, {
      latencyMillis: 200,
      rules: [{ op: ["get", "getRange"], prefix: "compacted/", rate: 1, fault: { kind: "corrupt", offset: 100 } }],
    });
    const opened = openCompactor({ store, path: "" }, { clock: world.clock, maxSstBytes: 50_000 });
    const compactor = await world.get(opened, LONG);
    await world.clock.advance(6000);
    assert.equal(compactor.status.phase, "failing");
    store.controls.quiet();
    store.controls.setLatency(200);
    const stored = await made(world, before, 3);
    assert.equal(compactor.status.phase, "running");
    assert.ok(statuses(world).includes("running"), `the job runs, the journal says ${statuses(world)}`);
    store.controls.setOutage(true);
    const earlier = stored();
    await world.clock.advance(LONG);
    assert.ok(stored() >= earlier, "tables of a running job were collected");
    store.controls.setOutage(false);
    await world.clock.advance(60_000);
    assert.equal(compactor.status.published, 1);
    assertAllStored(world);
    await world.get(compactor.close(), LONG);
    await world.get(db.close(), LONG);
  });

  it("gives tables later ids than the entry they belong to, whatever clock the entry comes from", async () => {
    const world = new World({ ...QUIET, ...COLLECTS });
    const db = await world.open();
    await tables(world, db, 4, 400, 1000);
    const before = new Set(world.paths("compacted"));
    const store = faultyStore(world.inner, { latencyMillis: 200 });
    const settings = { clock: world.clock, maxSstBytes: 50_000, minCompactionSources: 8 };
    const compactor = await world.get(openCompactor({ store, path: "" }, settings), LONG);
    await world.clock.advance(20_000);
    const l0ViewIds = world.manifest.l0.map(({ viewId }) => viewId);
    submit(world, world.clock.now() + 3_600_000, { l0ViewIds });
    const stored = await made(world, before, 3);
    const earlier = stored();
    store.controls.setOutage(true);
    await world.clock.advance(LONG);
    assert.ok(stored() >= earlier, "tables of a running job were collected");
    store.controls.setOutage(false);
    await world.clock.advance(60_000);
    assert.equal(compactor.status.published, 1);
    assertAllStored(world);
    await world.get(compactor.close(), LONG);
    await world.get(db.close(), LONG);
  });

  it("does a manual compaction once, however its polls fall", async () => {
    const world = new World({ ...QUIET, mergeOperator: "elsewhere" });
    const db = await world.open();
    await tables(world, db, 4, 200, 200);
    // An operand that nobody folds: the run is never so plain that compacting it again would be left out.
    await db.merge("m", "1", { durable: false });
    await world.get(db.compact(), LONG);
    await world.get(db.close(), LONG);
    for (let poll = 100; poll < 900; poll += 160) {
      const store = faultyStore(world.inner.clone(), { latencyMillis: [100, 400], seed: poll });
      const settings = { clock: world.clock, pollIntervalMillis: poll, maxSstBytes: 20_000 };
      const compactor = await world.get(openCompactor({ store, path: "" }, settings), LONG);
      await world.get(compactor.compact(), LONG);
      await world.clock.advance(60_000);
      assert.equal(compactor.status.published, 1, `poll every ${poll} ms`);
      await world.get(compactor.close(), LONG);
    }
  });
});

describe("an embedded compactor", () => {
  it("takes up an entry that somebody submits while it runs, and what the entry kept is collected", async () => {
    const world = new World({ ...QUIET, compactor: EVERY_SECOND, garbageCollector: {} });
    const db = await world.open();
    await tables(world, db, 2);
    await world.clock.advance(10_000);
    assert.deepEqual(statuses(world), ["completed"]);
    submit(world, world.clock.now(), { sortedRuns: [0] });
    for (let i = 0; i < 20; i++) {
      await table(world, db, 20, `${i}`);
      await world.clock.advance(60_000);
    }
    await world.clock.advance(6 * 3_600_000);
    const active = journal(world).filter(({ status }) => status === "submitted" || status === "running");
    assert.deepEqual(active, []);
    const { l0, compacted } = world.manifest;
    const named = l0.length + compacted.flatMap(({ ssts }) => ssts).length;
    assert.equal(world.paths("compacted").length, named, "dead tables were kept");
    await world.get(db.close(), LONG);
  });

  const troubles: ReadonlyArray<readonly [string, boolean, FaultRule]> = [
    // The 1st version from then on publishes the table that sets the compactor going, the 2nd is its claim.
    ["the answer to its claim is lost", false, {
      op: "putIfAbsent",
      prefix: "manifest/",
      nth: 2,
      fault: { kind: "after" },
    }],
    ["the journal cannot be read once after its claim", true, {
      op: "list",
      prefix: "compactions/",
      nth: 1,
      fault: { kind: "before", reason: "unavailable", retryable: false },
    }],
  ];
  for (const [trouble, putIds, rule] of troubles) {
    it(`does not take its own epoch for that of another when ${trouble}`, async () => {
      const world = new World({ ...QUIET, compactor: {}, l0MaxSsts: 8 }, undefined, putIds);
      const db = await world.open();
      await tables(world, db, 3);
      world.store.controls.addRules(rule);
      for (let i = 0; i < 12; i++) {
        await table(world, db, 20, `${i}`);
        await world.clock.advance(60_000);
      }
      assert.deepEqual(world.store.controls.struck(), { [rule.fault.kind]: 1 });
      const { compactor, warnings, l0Count } = db.status;
      assert.deepEqual({ compactor, warnings }, { compactor: "idle", warnings: [] });
      assert.ok(l0Count < 4, `${l0Count} L0 tables`);
      await world.get(db.close(), LONG);
    });
  }

  it("that wants the epoch which a standalone one has just taken costs that one its place, and nobody data", async () => {
    const world = new World({ ...QUIET, compactor: { minCompactionSources: 4 } });
    const db = await world.open();
    await tables(world, db, 3);
    // The put of the 4th table's version is the 1st; that of the claim is under way for 2 s.
    world.store.controls.addRules({
      op: "putIfAbsent",
      prefix: "manifest/",
      nth: 2,
      fault: { kind: "delay", millis: 2000 },
    });
    await table(world, db, 20, "3");
    const opened = openCompactor({ store: world.inner, path: "" }, { clock: world.clock, ...NEVER_BY_ITSELF });
    const other = await world.get(opened, LONG);
    assert.equal(world.manifest.compactorEpoch, 1);
    await world.clock.advance(30_000);
    const phases = [db.status.compactor, other.status.phase];
    assert.ok(phases.includes("idle") && phases.includes("superseded"), `one of them goes on: ${phases}`);
    assert.equal(world.store.controls.struck()["delay"], 1);
    await world.get(db.compact(), LONG);
    assert.equal(world.manifest.l0.length, 0);
    assertAllStored(world);
    assert.equal(text(await world.get(db.get("k0019"))), `3 ${"x".repeat(20)}`);
    await world.get(other.close(), LONG);
    await world.get(db.close(), LONG);
    assert.equal((await world.contents()).size, 20);
  });
});

describe("a manual compaction", () => {
  it("that is asked for while the compactor finds that it lost its place takes that place", async () => {
    const world = new World({ ...QUIET, compactor: { minCompactionSources: 2 } });
    const db = await world.open();
    await table(world, db, 20, "0");
    await world.get(compactOnce({ store: world.inner, path: "" }, { clock: world.clock, full: true }), LONG);
    assert.equal(world.manifest.compactorEpoch, 1);
    world.store.controls.setLatency(150);
    await table(world, db, 20, "1");
    await table(world, db, 20, "2");
    await world.get(db.compact(), LONG);
    assert.equal(world.manifest.compactorEpoch, 2);
    assert.equal(world.manifest.l0.length, 0);
    assert.equal(db.status.compactor, "idle");
    await world.get(db.close(), LONG);
  });
});
