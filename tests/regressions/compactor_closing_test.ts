/**
 * Ends of compactors, and what they say: closing, an outage, trouble that is over, a journal that cannot be read, a merge
 * operator that throws, and calls that cannot be meant.
 *
 * @module
 */
import { open } from "../../mod.ts";
import { collectGarbage } from "../../src/db/collect.ts";
import { compactOnce, openCompactor } from "../../src/db/standalone_compactor.ts";
import { Closed, DataError, InvalidArgument, Unavailable } from "../../src/errors.ts";
import { compactionsPath } from "../../src/format/paths.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { LONG, QUIET, table, tables } from "./compactor_world.ts";

const HOUR = 3_600_000;
const EVERY_SECOND = { minCompactionSources: 2 };

/** Writes one L0 table of 36 MiB that does not compress. */
async function largeTable(world: World, db: Awaited<ReturnType<World["open"]>>): Promise<void> {
  const value = new Uint8Array(1 << 20);
  const dice = new FaultDice(7);
  for (let i = 0; i < value.length; i++) value[i] = 256 * dice.next();
  for (let i = 0; i < 36; i++) await db.put(`k${i}`, value, { durable: false });
  await world.get(db.flush({ kind: "memtable" }), LONG);
}

describe("a standalone compactor", () => {
  it("closes within its deadline when the store never answers that it gave up an upload", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    for (let i = 0; i < 2; i++) await largeTable(world, db);
    const { controls } = world.store;
    controls.addRules({ op: "uploadWrite", nth: 2, times: 1e9, fault: { kind: "delay", millis: 20_000 } });
    const settings = { clock: world.clock, ...EVERY_SECOND, requestTimeoutMillis: 30_000 };
    const compactor = await world.get(openCompactor({ store: world.store, path: "" }, settings), LONG);
    await world.clock.advance(15_000);
    assert.ok(controls.log.some(({ op }) => op === "upload"), "the merge goes up in parts");
    assert.equal(compactor.status.phase, "running");
    controls.addRules({ op: "uploadAbort", rate: 1, fault: { kind: "hang", when: "before" } });
    await world.get(compactor.close(), 31_000);
    assert.ok(controls.log.some(({ op }) => op === "uploadAbort"), "the upload was given up");
    controls.crash();
  });

  it("is idle again after one look that failed when there is nothing left to do", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await tables(world, db, 2);
    const store = faultyStore(world.inner);
    const compactor = await world.get(openCompactor({ store, path: "" }, { clock: world.clock }), LONG);
    await world.clock.advance(60_000);
    store.controls.addRules({ op: "get", prefix: "manifest/", nth: 1, fault: { kind: "short", bytes: 40 } });
    await table(world, db, 20, "x");
    await world.clock.advance(LONG);
    assert.deepEqual(store.controls.struck(), { short: 1 });
    assert.deepEqual([compactor.status.phase, compactor.status.trouble], ["idle", undefined]);
    await world.get(compactor.settled(), 60_000);
    await world.get(compactor.close(), LONG);
    await world.get(db.close());
  });
});

describe("compactOnce", () => {
  it("says that the store takes no tables instead of waiting for it without end", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await tables(world, db, 4);
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "compacted/", rate: 1, fault: { kind: "before" } });
    const settings = { clock: world.clock, requestTimeoutMillis: 30_000 };
    const error = await world.error(compactOnce({ store: world.store, path: "" }, settings), LONG);
    assert.ok(error instanceof Unavailable, String(error));
    assert.match(error.message, /A compaction failed: Cannot putIfAbsent compacted\//);
    world.store.controls.quiet();
    await world.get(db.close());
  });
});

describe("a merge operator that throws in a compaction", () => {
  it("is told by the status, and its operands stay", async () => {
    let isBroken = false;
    const concat = (_key: Uint8Array, base: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
      if (isBroken) throw new Error("cannot merge");
      return new Uint8Array([...base ?? [], ...operand]);
    };
    const world = new World({ ...QUIET, mergeOperator: concat });
    const db = await world.open();
    for (let i = 0; i < 3; i++) {
      const merged = db.merge("a", String(i), { durable: false });
      await world.get(Promise.all([merged, db.flush({ kind: "memtable" })]));
    }
    isBroken = true;
    await world.get(db.compact());
    assert.match(db.status.warnings.join(), /merge operator.*cannot merge/);
    isBroken = false;
    assert.equal(new TextDecoder().decode(await world.get(db.get("a"))), "012");
    await world.get(db.close());
  });
});

describe("a journal that cannot be read", () => {
  for (const compactor of [EVERY_SECOND, false] as const) {
    it(`is named to who asks, and nobody takes the epoch over and over; compactor: ${compactor !== false}`, async () => {
      const world = new World({ ...QUIET, compactor });
      const db = await world.open();
      world.inner.plant(compactionsPath("", 1), new Uint8Array([0, 9, 1, 2, 3]));
      await tables(world, db, 5);
      await world.clock.advance(HOUR);
      const before = world.paths("manifest").length;
      await world.clock.advance(6 * HOUR);
      for (let i = 0; i < 3; i++) {
        const error = await world.error(db.compact(), LONG);
        assert.ok(error instanceof DataError && error.reason === "unsupported-version", String(error));
        assert.match(error.message, /compactions\/0+1\.compactions/);
      }
      await world.clock.advance(6 * HOUR);
      assert.ok(world.paths("manifest").length - before <= 1, "manifest versions for nothing");
      assert.ok(world.manifest.compactorEpoch <= 1, `epoch ${world.manifest.compactorEpoch}`);
      assert.equal(db.status.compactor, compactor === false ? "off" : "failing");
      assert.equal(db.status.closeReason, undefined);
      await world.get(db.close());
    });
  }
});

describe("a call that cannot be meant", () => {
  const world = new World(QUIET);
  const at = { store: world.store, path: "" };
  const { clock } = world;
  const scheduler = { name: "a", minL0Sources: 0, wholeRuns: true, propose: () => [] };
  /** Hands over what a program without types may hand over. */
  const careless = <A>(value: unknown): A => value as A;
  const calls: Record<string, (db: Awaited<ReturnType<World["open"]>>) => Promise<unknown>> = {
    "openCompactor with null": () => openCompactor(at, careless(null)),
    "openCompactor with a number": () => openCompactor(at, careless(5)),
    "openCompactor with an option of open": () => openCompactor(at, careless({ l0MaxSsts: 3, clock })),
    "openCompactor with a size below nothing": () => openCompactor(at, { maxSstBytes: -1, clock }),
    "compactOnce with null": () => compactOnce(at, careless(null)),
    "collectGarbage with null": () => collectGarbage(at, careless(null)),
    "compact with null": (db) => db.compact(careless(null)),
    "compact with a number": (db) => db.compact(careless(5)),
    "compact with an unknown bound": (db) => db.compact(careless({ foo: "a" })),
    "collectGarbage of a writer with null": (db) => db.collectGarbage(careless(null)),
    "collectGarbage of a writer with dryRun: 1": (db) => db.collectGarbage(careless({ dryRun: 1 })),
    "open with a scheduler that wants no sources": () => open(at, { clock, compactor: { scheduler } }),
    "open with a compactor in a thread over a store": () => open(at, { clock, compactor: { thread: true } }),
  };
  it("is refused as an argument, by name", async () => {
    const db = await world.open();
    for (const [name, call] of Object.entries(calls)) {
      const error = await world.error(call(db), 60_000).catch((reason) => assert.fail(`${name}: ${reason}`));
      assert.ok(error instanceof InvalidArgument, `${name}: ${String(error)}`);
    }
    assert.equal(db.status.closeReason, undefined, "the writer goes on");
    await world.get(db.close());
  });
});

describe("a compactor without a writer that is closed", () => {
  it("says so to a second close, and is silent at the end of its block", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await world.get(db.close());
    const compactor = await world.get(openCompactor({ store: world.store, path: "" }, { clock: world.clock }));
    await world.get(compactor.close());
    const error = await world.error(compactor.close());
    assert.ok(error instanceof Closed && error.reason === "clean", String(error));
    await world.get(Promise.resolve(compactor[Symbol.asyncDispose]()));
  });
});
