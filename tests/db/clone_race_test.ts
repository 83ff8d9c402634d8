/**
 * Clones made and deleted while others act at the worst moment, and attempts that fail half-way for long.
 *
 * @module
 */
import { Effect } from "effect";
import { clone, createCheckpoint, deleteClone, InvalidArgument, Unavailable } from "../../mod.ts";
import { addCheckpoint } from "../../src/state/checkpoint_edits.ts";
import { releaseExternals } from "../../src/state/external_dbs.ts";
import { ManifestHandle } from "../../src/state/manifest_handle.ts";
import { ManifestStore } from "../../src/state/manifest_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { CloneWorld, commit, dropExpired, endless, leftAt, newestAt, rowsOf, sorted } from "./clone_world.ts";

const ID = "00000000-0000-4000-8000-000000000001";

function reasonOf(error: unknown): string {
  assert.ok(error instanceof InvalidArgument, `not refused, but ${String(error)}`);
  return error.reason;
}

/** The store, in which `act` happens just before the first put below `prefix`. */
function justBefore(store: ObjectStoreShape, prefix: string, act: () => void): ObjectStoreShape {
  let acted = false;
  return {
    ...store,
    putIfAbsent: (path, body, identity) =>
      Effect.suspend(() => {
        if (!acted && path.startsWith(prefix)) {
          acted = true;
          act();
        }
        return store.putIfAbsent(path, body, identity);
      }),
  };
}

/** Lets no request of one kind through from the nth on. */
const refuse = (op: "putIfAbsent" | "delete", prefix: string, nth = 1) => ({
  op,
  prefix,
  nth,
  times: Infinity,
  fault: { kind: "before", reason: "permission" } as const,
});

describe("clone among others", () => {
  it("a checkpoint that ended before the parent held on to it is missing, not replaced by another state", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    const { id } = await world.get(createCheckpoint(world.place("a"), { ...world.calls, lifetimeMillis: 60_000 }));
    const make = () => clone(world.place("a"), "b", { ...world.calls, checkpoint: id });
    world.store.controls.addRules(refuse("putIfAbsent", "a/manifest/"));
    assert.ok(await world.error(make()) instanceof Unavailable);
    world.store.controls.quiet();
    assert.equal(world.manifestAt("b")!.initialized, false);
    await world.clock.advance(60_000);
    assert.equal(reasonOf(await world.error(make())), "checkpoint-missing");
    assert.equal(world.manifestAt("b")!.initialized, false);
    await world.get(deleteClone(world.place("b"), world.calls));
    await world.get(clone(world.place("a"), "b", world.calls));
  });

  it("an attempt that begins anew takes back what the one before had others keep", async () => {
    const world = new CloneWorld();
    const rows = await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const make = () => clone(world.place("b"), "c", world.calls);
    world.store.controls.addRules(refuse("putIfAbsent", "b/manifest/", 2));
    assert.ok(await world.error(make()) instanceof Unavailable);
    world.store.controls.quiet();
    assert.equal(endless(world.inner, "a").length, 2, "the grandparent keeps something for c already");
    await world.clock.advance(400_000);
    for (const root of ["a", "b"]) dropExpired(world.inner, root, world.clock.now());
    await world.get(make());
    const [inA, inB] = world.manifestAt("c")!.externalDbs.map((db) => db.finalCheckpointId);
    const [finalOfB] = world.manifestAt("b")!.externalDbs.map((db) => db.finalCheckpointId);
    assert.deepEqual(endless(world.inner, "a").map((one) => one.id), [finalOfB, inA]);
    assert.deepEqual(endless(world.inner, "b").map((one) => one.id), [inB]);
    assert.deepEqual(sorted(await rowsOf(world.inner, "c")), sorted(rows));
  });

  it("a parent whose deletion begins meanwhile keeps nothing for a clone of it", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const { id } = await world.get(createCheckpoint(world.place("b"), { ...world.calls, lifetimeMillis: 60_000 }));
    const store = justBefore(world.store, "b/manifest/", () => {
      commit(world.inner, "b", (current) => ({ ...current, initialized: false }));
    });
    const made = clone({ store, path: "b" }, "c", { ...world.calls, checkpoint: id });
    assert.equal(reasonOf(await world.error(made)), "clone-deleted");
    assert.equal(endless(world.inner, "b").length, 0);
  });

  it("two processes that make the same clone at once both succeed, with one result", async () => {
    const world = new CloneWorld();
    const rows = await world.fill("a", true);
    const make = () => clone(world.place("a"), "b", world.calls);
    const reports = await world.get(Promise.all([make(), make(), make()]));
    assert.equal(new Set(reports.map((one) => one.finalCheckpoint)).size, 1);
    assert.deepEqual(endless(world.inner, "a").map((one) => one.id), [reports[0]!.finalCheckpoint]);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(rows));
  });
});

describe("deleteClone among others", () => {
  it("the manifest that tells what is left to do goes last", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const hang = { kind: "hang", when: "before" } as const;
    world.store.controls.addRules({ op: "delete", prefix: "b/manifest/00000000000000000001", fault: hang });
    const deleted = deleteClone(world.place("b"), world.calls);
    await world.clock.advance(1_000);
    const left = newestAt(world.inner, "b")!;
    assert.deepEqual([left.initialized, left.checkpoints.length, left.externalDbs.length], [false, 1, 1]);
    world.store.controls.quiet();
    assert.ok(await world.error(deleted, 100_000) instanceof Unavailable);
    await world.get(deleteClone(world.place("b"), world.calls));
    assert.deepEqual(leftAt(world.inner, "b"), []);
  });

  it("a clone half made is marked too: it is not finished while it is deleted", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    world.store.controls.addRules(refuse("putIfAbsent", "b/manifest/", 2));
    const make = () => clone(world.place("a"), "b", world.calls);
    assert.ok(await world.error(make()) instanceof Unavailable);
    world.store.controls.quiet();
    world.store.controls.addRules(refuse("delete", "b/"));
    assert.ok(await world.error(deleteClone(world.place("b"), world.calls)) instanceof Unavailable);
    assert.equal(reasonOf(await world.error(make())), "clone-deleted");
    world.store.controls.quiet();
    await world.get(deleteClone(world.place("b"), world.calls));
    assert.deepEqual([leftAt(world.inner, "b"), endless(world.inner, "a")], [[], []]);
  });
});

describe("releaseExternals among others", () => {
  it("a version that was pinned behind its back is read before anything is taken off", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    commit(world.inner, "b", (current) => ({ ...current, l0: current.l0.slice(0, 1) }));
    const handle = await Effect.runPromise(Effect.gen(function* () {
      const versions = new ManifestStore(world.inner, "b");
      return new ManifestHandle(versions, (yield* versions.newest)!, false);
    }));
    const made = { id: ID, nowMillis: 0, lifetimeMillis: Infinity };
    commit(world.inner, "b", (current) => addCheckpoint(made)(current, handle.stored.id)!);
    commit(world.inner, "b", (current) => ({ ...current, l0: [] }));
    const released = await Effect.runPromise(releaseExternals(world.inner, handle));
    assert.deepEqual(released, { tables: 1, databases: [] });
    assert.equal(newestAt(world.inner, "b")!.externalDbs[0]!.sstIds.length, 1, "the pinned version names it");
    assert.equal(endless(world.inner, "a").length, 1);
  });
});
