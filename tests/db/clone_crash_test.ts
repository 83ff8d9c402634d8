/**
 * Clones made, deleted and let go by processes that die before or after any one of their store requests, and are asked
 * for again: all ends well, nothing is kept for ever, and nothing that is needed goes missing meanwhile.
 *
 * @module
 */
import { Effect } from "effect";
import { clone, createCheckpoint, deleteClone, InvalidArgument } from "../../mod.ts";
import { contextWithClock, Runtime } from "../../src/db/runtime.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { removeCheckpoint } from "../../src/state/checkpoint_edits.ts";
import { releaseExternals } from "../../src/state/external_dbs.ts";
import { ManifestHandle } from "../../src/state/manifest_handle.ts";
import { ManifestStore } from "../../src/state/manifest_store.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import {
  CloneWorld,
  collect,
  commit,
  diverge,
  dropExpired,
  endless,
  leftAt,
  newestAt,
  rowsIn,
  sorted,
} from "./clone_world.ts";
import { START_MILLIS } from "./fault_world.ts";

type Call = (store: ObjectStoreShape, clock: ReturnType<typeof virtualClock>) => Promise<unknown>;

/** Runs `call` on a store that dies at a request; answers how many requests there were, and whether it died. */
async function runUntilCrash(
  inner: MemoryStore,
  call: Call,
  point: { readonly index: number; readonly when: "before" | "after" } | undefined,
  atMillis = START_MILLIS + 1_000_000,
): Promise<{ readonly requests: number; readonly crashed: boolean }> {
  const store = faultyStore(inner, {});
  store.controls.crashAt = point;
  const clock = virtualClock(atMillis);
  let ended = false;
  let failure: unknown;
  call(store, clock).then(() => ended = true, (error) => {
    ended = true;
    failure = error;
  });
  for (let turn = 0; !ended && !store.controls.crashed; turn++) {
    await clock.advance(turn < 20 ? 0 : 100);
    if (turn > 2000) throw new Error("it neither ended nor crashed");
  }
  await clock.advance(0);
  if (failure !== undefined && !store.controls.crashed) throw failure;
  return { requests: store.controls.requestCount, crashed: store.controls.crashed };
}

/** Calls `check` with the store of each crash of `call` over copies of `base`. */
async function everyCrash(
  base: MemoryStore,
  call: Call,
  least: number,
  check: (store: MemoryStore, where: string) => Promise<void>,
): Promise<void> {
  const sound = await runUntilCrash(base.clone(), call, undefined);
  assert.ok(sound.requests >= least, `only ${sound.requests} requests`);
  for (let index = 0; index < sound.requests; index++) {
    for (const when of ["before", "after"] as const) {
      const store = base.clone();
      const { crashed } = await runUntilCrash(store, call, { index, when });
      assert.ok(crashed, `no crash at request ${index}`);
      await check(store, `${when} request ${index}`);
    }
  }
}

const place = (store: ObjectStoreShape, path: string) => ({ store, path });
const makeB: Call = (store, clock) => clone(place(store, "a"), "b", { clock });

describe("clone, crashed at every request", () => {
  for (const lapse of [1_000, 400_000]) {
    it(`asked for again ${lapse / 1000} s later it is whole, and the parent keeps exactly what it needs`, async () => {
      const world = new CloneWorld();
      const model = await world.fill("a", true);
      await everyCrash(world.inner, makeB, 14, async (store, where) => {
        const later = START_MILLIS + 1_000_000 + lapse;
        const changed = new Map(model);
        if (lapse > 300_000) {
          // The checkpoint of the attempt has ended: the parent may go on and collect as if there had been none.
          await diverge(store, "a", changed);
          dropExpired(store, "a", later);
          collect(store, "a");
        }
        await runUntilCrash(store, makeB, undefined, later);
        const made = newestAt(store, "b")!;
        const finals = made.externalDbs.map((db) => db.finalCheckpointId);
        assert.deepEqual(endless(store, "a").map((one) => one.id), finals, where);
        const found = sorted(await rowsIn(store, "b"));
        const allowed = [sorted(model), sorted(changed)].map((rows) => JSON.stringify(rows));
        assert.ok(allowed.includes(JSON.stringify(found)), `${where}: ${JSON.stringify(found)}`);
        const twin = new Map(found);
        await diverge(store, "b", twin);
        if (lapse <= 300_000) await diverge(store, "a", changed);
        dropExpired(store, "a", later + 400_000);
        for (const root of ["a", "b"]) collect(store, root);
        assert.deepEqual(sorted(await rowsIn(store, "a")), sorted(changed), where);
        assert.deepEqual(sorted(await rowsIn(store, "b")), sorted(twin), where);
      });
    });
  }

  it("of a checkpoint, a clone of a clone, and once more at any request of the second attempt", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const model = new Map([["k0", "x"]]);
    await diverge(world.inner, "b", model);
    const { id } = await world.get(createCheckpoint(world.place("b"), world.calls));
    const rows = sorted(await rowsIn(world.inner.clone(), "b"));
    const makeC: Call = (store, clock) => clone(place(store, "b"), "c", { clock, checkpoint: id });
    await everyCrash(world.inner, makeC, 12, async (store, where) => {
      const rest = await runUntilCrash(store.clone(), makeC, undefined);
      for (let index = 0; index < rest.requests; index++) {
        const again = store.clone();
        await runUntilCrash(again, makeC, { index, when: index % 2 === 0 ? "after" : "before" });
        await runUntilCrash(again, makeC, undefined);
        const finals = newestAt(again, "c")!.externalDbs.map((db) => db.finalCheckpointId!);
        assert.ok(endless(again, "a").some((one) => one.id === finals[0]), where);
        assert.ok(endless(again, "b").some((one) => one.id === finals[1]), where);
        assert.equal(endless(again, "a").length, 2, where);
        assert.deepEqual(sorted(await rowsIn(again, "c")), rows, `${where}, then ${index}`);
      }
    });
  });
});

describe("deleteClone, crashed at every request", () => {
  it("asked for again it leaves nothing of the clone, and nothing is kept for it", async () => {
    const world = new CloneWorld();
    const model = await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    await diverge(world.inner, "b", new Map());
    const deleteB: Call = (store, clock) => deleteClone(place(store, "b"), { clock });
    await everyCrash(world.inner, deleteB, 14, async (store, where) => {
      const marked = newestAt(store, "b");
      if (marked?.initialized === true) {
        const held = endless(store, "a").map((one) => one.id);
        assert.deepEqual(held, marked.externalDbs.map((db) => db.finalCheckpointId), `${where}: usable, but let go`);
      }
      await runUntilCrash(store, deleteB, undefined).catch((error) => {
        assert.ok(
          error instanceof InvalidArgument && error.reason === "missing-database" &&
            marked!.checkpoints.some((one) => one.name === "phyllite: deleted"),
          where,
        );
      });
      assert.deepEqual(leftAt(store, "b"), [], where);
      assert.deepEqual(endless(store, "a"), [], where);
      assert.deepEqual(sorted(await rowsIn(store, "a")), sorted(model), where);
      await runUntilCrash(store, makeB, undefined);
      assert.deepEqual(sorted(await rowsIn(store, "b")), sorted(model), "the place is free again");
    });
  });
});

/** What a compaction of `b` leaves that keeps only so many of its tables. */
function compactB(store: MemoryStore, count: number): void {
  commit(store, "b", (current) => ({ ...current, l0: current.l0.slice(0, count) }));
}

describe("releaseExternals, crashed at every request", () => {
  const release: Call = (store, clock) =>
    new Runtime(contextWithClock(clock)).promise(Effect.gen(function* () {
      const versions = new ManifestStore(store, "b");
      return yield* releaseExternals(store, new ManifestHandle(versions, (yield* versions.newest)!, false));
    }));

  it("lets go of a parent when no state names its tables, and not one request before", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const { id } = await world.get(createCheckpoint(world.place("b"), { ...world.calls, lifetimeMillis: 5_000 }));
    compactB(world.inner, 1);
    await runUntilCrash(world.inner, release, undefined);
    assert.equal(newestAt(world.inner, "b")!.externalDbs[0]!.sstIds.length, 2, "its checkpoint names them");
    assert.equal(endless(world.inner, "a").length, 1);
    commit(world.inner, "b", (current) => removeCheckpoint(id)(current, 0)!);
    await runUntilCrash(world.inner, release, undefined);
    assert.equal(newestAt(world.inner, "b")!.externalDbs[0]!.sstIds.length, 1, "what is needed is kept");
    assert.equal(endless(world.inner, "a").length, 1);
    compactB(world.inner, 0);
    await everyCrash(world.inner, release, 6, async (store, where) => {
      const found = newestAt(store, "b")!;
      const needed = found.externalDbs.some((db) => db.sstIds.length > 0);
      if (needed) assert.equal(endless(store, "a").length, 1, `${where}: let go while it is named`);
      await runUntilCrash(store, release, undefined);
      assert.deepEqual([newestAt(store, "b")!.externalDbs, endless(store, "a")], [[], []], where);
      const sound = await runUntilCrash(store, release, undefined);
      assert.equal(sound.requests, 2, "reading the newest manifest; the rest asks for nothing");
    });
  });
});
