/**
 * A clone that is deleted and made again at the same place while somebody still has the first one open, and processes that
 * finish the same clone when its checkpoint ends: what was acknowledged in the clone that counts stays.
 *
 * @module
 */
import { Effect } from "effect";
import {
  clone,
  Closed,
  createCheckpoint,
  DataError,
  deleteCheckpoint,
  deleteClone,
  InvalidArgument,
  open,
  openReader,
  Unavailable,
} from "../../mod.ts";
import { removeExpired } from "../../src/state/checkpoint_edits.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { CloneWorld, collect, commit, endless, rowsOf, sorted } from "../db/clone_world.ts";
import { assert, describe, it } from "../support/suite.ts";

function reasonOf(error: unknown): string {
  assert.ok(error instanceof InvalidArgument || error instanceof DataError, `not refused, but ${String(error)}`);
  return error.reason;
}

/** A world with a clone `b` of `a` that a writer has worked in, and what its parent holds. */
async function worked(): Promise<{ readonly world: CloneWorld; readonly rows: Map<string, string> }> {
  const world = new CloneWorld();
  const rows = await world.fill("a", true);
  await world.get(clone(world.place("a"), "b", world.calls), 100_000);
  const first = await world.at("b");
  await world.get(first.put("x", "old clone"));
  await world.get(first.flush({ kind: "memtable" }));
  await world.get(first.close());
  return { world, rows };
}

/** Deletes `b`, makes it again, and has a writer put into it; answers what the new one holds. */
async function madeAgain(world: CloneWorld, rows: Map<string, string>): Promise<Array<[string, string]>> {
  await world.get(deleteClone(world.place("b"), world.calls), 100_000);
  await world.get(clone(world.place("a"), "b", world.calls), 100_000);
  const second = await world.at("b");
  await world.get(second.put("y", "new clone"));
  await world.get(second.close());
  return sorted(new Map([...rows, ["y", "new clone"]]));
}

describe("a clone deleted and made again", () => {
  it("is not replaced by a managed reader of the first one, which fails instead of showing the second", async () => {
    const { world, rows } = await worked();
    const reader = await world.get(
      openReader(world.place("b"), {
        clock: world.clock,
        manifestPollIntervalMillis: 10_000,
        checkpointLifetimeMillis: 20_000,
      }),
      100_000,
    );
    const expected = await madeAgain(world, rows);
    const newest = world.below("b").filter((path) => path.includes("/manifest/")).at(-1);
    await world.clock.advance(60_000);
    assert.equal(reader.status.closeReason, "failed");
    assert.match(reader.status.trouble ?? "", /not-initialized/);
    assert.equal(world.below("b").filter((path) => path.includes("/manifest/")).at(-1), newest);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), expected);
  });

  for (const wal of [true, false]) {
    for (const waits of [0, 10_000, 60_000]) {
      it(`is not written by an idle writer of the first one, log ${wal}, ${waits} ms later`, async () => {
        const { world, rows } = await worked();
        const idle = await world.at("b", { wal });
        const expected = await madeAgain(world, rows);
        await world.clock.advance(waits);
        const put = idle.put("z", "idle").then(() => idle.flush({ kind: "memtable" }));
        assert.ok(await world.error(put, 100_000) instanceof Closed);
        assert.equal(idle.status.closeReason, "fenced");
        assert.deepEqual(sorted(await rowsOf(world.inner, "b")), expected);
      });
    }
  }

  it("a reader that looks while nothing is there keeps nothing, and the place stays free", async () => {
    const { world, rows } = await worked();
    const options = { clock: world.clock, manifestPollIntervalMillis: 10_000, checkpointLifetimeMillis: 20_000 };
    const reader = await world.get(openReader(world.place("b"), options), 100_000);
    await world.get(deleteClone(world.place("b"), world.calls), 100_000);
    const left = world.below("b");
    assert.deepEqual(left.map((path) => path.split("/")[1]), ["manifest", "manifest", "wal"]);
    await world.clock.advance(60_000);
    assert.equal(reader.status.closeReason, "failed");
    assert.equal(reasonOf(await world.error(openReader(world.place("b"), options))), "missing-database");
    assert.equal(reasonOf(await world.error(world.at("b", { create: false }))), "missing-database");
    assert.equal(reasonOf(await world.error(deleteClone(world.place("b"), world.calls))), "missing-database");
    await world.get(clone(world.place("a"), "b", world.calls), 100_000);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(rows));
  });

  it("a database opened where a clone was goes on from its numbers too", async () => {
    const { world } = await worked();
    const idle = await world.at("b");
    await world.get(deleteClone(world.place("b"), world.calls), 100_000);
    const db = await world.get(
      open(world.place("b"), { ...world.options, errorIfExists: true }),
      100_000,
    );
    await world.get(db.put("own", "1"));
    assert.ok(await world.error(idle.put("z", "idle").then(() => idle.flush()), 100_000) instanceof Closed);
    await world.get(db.put("own", "2"));
    await world.get(db.close());
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), [["own", "2"]]);
    assert.equal(world.manifestAt("b")!.writerEpoch > idle.status.writerEpoch + 1, true);
  });

  it("over and over, also cut short, it is whole and keeps one checkpoint in its parent", async () => {
    const world = new CloneWorld();
    const rows = await world.fill("a", true);
    for (let round = 0; round < 3; round++) {
      const refuse = { kind: "before", reason: "permission" } as const;
      world.store.controls.addRules({ op: "copy", times: Infinity, fault: refuse });
      assert.ok(await world.error(clone(world.place("a"), "b", world.calls), 100_000) instanceof Unavailable);
      world.store.controls.quiet();
      await world.get(clone(world.place("a"), "b", world.calls), 100_000);
      const db = await world.at("b");
      for (let i = 0; i < 4; i++) await world.get(db.put(`own${round}`, `${i}`));
      await world.get(db.close());
      const expected = new Map([...rows, [`own${round}`, "3"]]);
      assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(expected));
      assert.equal(endless(world.inner, "a").length, 1);
      await world.get(deleteClone(world.place("b"), world.calls), 100_000);
      assert.deepEqual(endless(world.inner, "a"), []);
    }
  });
});

/** A clone of which only the first manifest is there, just before the checkpoint of its attempt ends. */
async function begun(): Promise<CloneWorld> {
  const world = new CloneWorld();
  await world.fill("a", true);
  const store = world.store;
  const dies: ObjectStoreShape = {
    ...store,
    putIfAbsent: (path, body, identity) =>
      path.startsWith("a/manifest/") && world.below("b").length > 0
        ? Effect.never
        : store.putIfAbsent(path, body, identity),
  };
  clone({ store: dies, path: "a" }, "b", { clock: world.clock }).catch(() => {});
  await world.clock.settle();
  const [source] = world.manifestAt("a")!.checkpoints;
  assert.deepEqual([world.below("b").length, endless(world.inner, "a").length], [1, 0]);
  await world.clock.advance(source!.expireTimeSeconds * 1000 - world.clock.now() - 1_000);
  return world;
}

describe("a clone that several finish while its checkpoint ends", () => {
  it("is kept by its parent once it was answered as created", async () => {
    const world = await begun();
    const { store } = world;
    const slowReads: ObjectStoreShape = {
      ...store,
      get: (path) =>
        path.startsWith("a/manifest/")
          ? Effect.flatMap(store.get(path), (body) => Effect.as(Effect.sleep(2_000), body))
          : store.get(path),
    };
    const slowCopies: ObjectStoreShape = {
      ...store,
      copy: (source, target) => Effect.andThen(Effect.sleep(5_000), store.copy(source, target)),
    };
    const made = [slowReads, slowCopies].map((one) => clone({ store: one, path: "a" }, "b", { clock: world.clock }));
    const reports = await world.get(Promise.all(made), 100_000);
    const finals = world.manifestAt("b")!.externalDbs.map((db) => db.finalCheckpointId);
    assert.deepEqual(endless(world.inner, "a").map((one) => one.id), finals);
    assert.deepEqual(reports.map((one) => one.finalCheckpoint), [...finals, ...finals]);
    await world.clock.advance(3_600_000);
    commit(world.inner, "a", (current) => ({ ...(removeExpired(world.clock.now())(current, 0) ?? current), l0: [] }));
    collect(world.inner, "a");
    assert.equal((await rowsOf(world.inner, "b")).size, 5);
  });

  it("is kept also by who was about to begin it anew", async () => {
    const world = await begun();
    const { store } = world;
    const late = (folder: string, millis: number): ObjectStoreShape => ({
      ...store,
      putIfAbsent: (path, body, identity) => {
        const put = store.putIfAbsent(path, body, identity);
        return path.startsWith(folder) ? Effect.andThen(Effect.sleep(millis), put) : put;
      },
    });
    // The first one decides before the end, and is late; the second one finds the end, and is later still.
    const first = clone({ store: late("a/manifest/", 3_000), path: "a" }, "b", { clock: world.clock });
    await world.clock.advance(2_000);
    const second = clone({ store: late("b/manifest/", 9_000), path: "a" }, "b", { clock: world.clock });
    const reports = await world.get(Promise.all([first, second]), 200_000);
    const finals = world.manifestAt("b")!.externalDbs.map((db) => db.finalCheckpointId);
    assert.deepEqual(endless(world.inner, "a").map((one) => one.id), finals);
    assert.deepEqual(reports.map((one) => [one.created, one.finalCheckpoint]), [[true, finals[0]], [false, finals[0]]]);
    assert.equal((await rowsOf(world.inner, "b")).size, 5);
  });
});

describe("the checkpoint that a clone needs", () => {
  it("is named after the clone, and deleted only when told twice", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    const { finalCheckpoint } = await world.get(clone(world.place("a"), "b", world.calls), 100_000);
    assert.deepEqual(endless(world.inner, "a").map((one) => one.name), ["clone: b"]);
    const refused = deleteCheckpoint(world.place("a"), finalCheckpoint, world.calls);
    assert.equal(reasonOf(await world.error(refused)), "checkpoint-kept");
    const db = await world.at("a");
    assert.equal(reasonOf(await world.error(db.deleteCheckpoint(finalCheckpoint))), "checkpoint-kept");
    assert.equal(endless(world.inner, "a").length, 1);
    await world.get(db.deleteCheckpoint(finalCheckpoint, { force: true }));
    assert.equal(endless(world.inner, "a").length, 0);
    await world.get(db.deleteCheckpoint(finalCheckpoint));
    await world.get(db.close());
    const { id } = await world.get(createCheckpoint(world.place("a"), { ...world.calls, name: "clone: mine" }));
    await world.get(deleteCheckpoint(world.place("a"), id, { ...world.calls, force: true }));
    const bad = { ...world.calls, force: 1 as never };
    assert.equal(reasonOf(await world.error(deleteCheckpoint(world.place("a"), id, bad))), "options");
  });

  it("that ended before the clone was begun to be kept says the way out", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    const { id } = await world.get(createCheckpoint(world.place("a"), { ...world.calls, lifetimeMillis: 10_000 }));
    const hang = { kind: "hang", when: "before" } as const;
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "a/manifest/", fault: hang });
    clone(world.place("a"), "b", { ...world.calls, checkpoint: id }).catch(() => {});
    await world.clock.advance(20_000);
    world.store.controls.quiet();
    const again = await world.error(clone(world.place("a"), "b", { ...world.calls, checkpoint: id }), 100_000);
    assert.equal(reasonOf(again), "checkpoint-missing");
    assert.match(String(again), /delete it with deleteClone/);
    const other = await world.get(createCheckpoint(world.place("a"), world.calls));
    const differs = await world.error(clone(world.place("a"), "b", { ...world.calls, checkpoint: other.id }), 100_000);
    assert.equal(reasonOf(differs), "clone-differs");
    assert.match(String(differs), /begun.*deleteClone/s);
    await world.get(deleteClone(world.place("b"), world.calls), 100_000);
    await world.get(clone(world.place("a"), "b", { ...world.calls, checkpoint: other.id }), 100_000);
  });
});
