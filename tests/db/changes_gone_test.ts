import { Effect } from "effect";
import { open } from "../../mod.ts";
import { DataError } from "../../src/errors.ts";
import { walPath } from "../../src/format/paths.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { collectLog, everything, Feed, plantLog, plantManifest, walObject } from "./changes_world.ts";
import { World } from "./fault_world.ts";

/** A log of which everything up to `collected` is gone: seq 1..10 in ids 2..11, all in tables. */
function worldOf(objects: Readonly<Record<number, readonly number[]>>, replayAfter: number, lastL0Seq: number): World {
  const world = new World();
  plantLog(world.inner, objects);
  plantManifest(world.inner, { replayAfterWalId: replayAfter, lastL0Seq });
  return world;
}

describe("changes that the log no longer has", () => {
  it("says so at the start, and from where the log is still there", async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 1; i <= 5; i++) await world.get(db.put(`k${i}`, "v"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("k6", "v"));
    collectLog(world);
    const gone = await new Feed(world, { fromSeq: 1 }).gone();
    assert.equal(gone.oldest, 5);
    assert.match(gone.detail, /no changes from sequence number 1 on: .*collected.* oldest available is 5.*checkpoint/);
    assert.deepEqual(await everything(world, { fromSeq: 5 }), ["put k5=v @5", "put k6=v @6"]);
    assert.equal((await new Feed(world, { fromSeq: 4 }).gone()).oldest, 5);
  });

  it("gives all there is to who neither follows nor says from where", async () => {
    const world = new World();
    const db = await world.open();
    const options = { follow: false } as const;
    assert.equal(await new Feed(world, options).next(), undefined);
    for (let i = 1; i <= 5; i++) await world.get(db.put(`k${i}`, "v"));
    assert.deepEqual(
      await new Feed(world, options).take(6),
      [1, 2, 3, 4, 5].map((i) => `put k${i}=v @${i}`).concat("end"),
    );
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("k6", "v"));
    collectLog(world);
    assert.deepEqual(await new Feed(world, options).take(3), ["put k5=v @5", "put k6=v @6", "end"]);
  });

  it("says so while following, to who comes back too late", async () => {
    const world = new World();
    const db = await world.open();
    const feed = new Feed(world, { fromSeq: 1 });
    await world.get(db.put("k1", "v"));
    assert.equal(await feed.next(), "put k1=v @1");
    for (let i = 2; i <= 9; i++) await world.get(db.put(`k${i}`, "v"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("k10", "v"));
    await world.clock.advance(400_000);
    collectLog(world);
    assert.equal((await feed.gone()).oldest, 9);
    assert.equal(await feed.next(), undefined, "it has ended");
  });

  it("goes on while following when tables have overtaken it but nothing is missing", async () => {
    const world = new World();
    const db = await world.open();
    const feed = new Feed(world, { fromSeq: 1 });
    await world.get(db.put("k1", "v"));
    assert.equal(await feed.next(), "put k1=v @1");
    for (let i = 2; i <= 30; i++) {
      await world.get(db.put(`k${i}`, "v"));
      if (i % 10 === 0) await world.get(db.flush({ kind: "memtable" }));
    }
    await world.clock.advance(400_000);
    assert.deepEqual((await feed.take(29)).at(-1), "put k30=v @30");
  });

  it("waits on behind fences that were collected", async () => {
    const world = new World();
    const first = await world.open();
    const feed = new Feed(world, { fromSeq: 1 });
    await world.get(first.put("a", "1"));
    assert.equal(await feed.next(), "put a=1 @1");
    for (let i = 0; i < 3; i++) await world.get((await world.open()).close());
    const last = await world.open();
    await world.get(last.flush({ kind: "memtable" }));
    collectLog(world);
    await world.clock.advance(400_000);
    await world.get(last.put("b", "2"));
    assert.equal(await feed.next(), "put b=2 @2");
  });

  it("says that rows were written with the log off, at the start, at the end and in between", async () => {
    const world = new World();
    const first = await world.open();
    await world.get(first.put("a", "1"));
    await world.get(first.close());
    const live = new Feed(world, { fromSeq: 1 });
    assert.equal(await live.next(), "put a=1 @1");
    const second = await world.open({ wal: false });
    await world.get(second.put("b", "2"), 60_000);
    await world.get(second.close());
    assert.match((await live.gone(60_000)).detail, /from sequence number 2 on: .*WAL off/);
    const ending = new Feed(world, { fromSeq: 1, follow: false });
    assert.match((await ending.gone()).detail, /WAL off/);
    assert.equal((await new Feed(world, { fromSeq: 2 }).gone()).oldest, 3);
    const third = await world.open();
    await world.get(third.put("c", "3"));
    assert.deepEqual(await everything(world, { fromSeq: 3 }), ["put c=3 @3"]);
    const gone = await new Feed(world, { fromSeq: 1 }).gone();
    assert.deepEqual([gone.oldest, /WAL off/.test(gone.detail)], [3, true]);
    const ahead = await new Feed(world).start();
    await world.get(third.put("d", "4"));
    assert.equal(await ahead.next(), "put d=4 @4");
  });

  it("says so of a database that never had a log", async () => {
    const world = new World({ wal: false });
    const db = await world.open();
    await world.get(db.put("a", "1"), 60_000);
    const gone = await new Feed(world, { fromSeq: 1 }).gone();
    assert.deepEqual([gone.oldest, /WAL off/.test(gone.detail)], [2, true]);
    const next = await new Feed(world).start();
    await world.get(db.put("b", "1"), 60_000);
    assert.match((await next.gone(60_000)).detail, /WAL off/);
  });

  it("tells numbers that were never used from rows that went past the log by the fence between them", async () => {
    const unused = worldOf({ 1: [], 2: [1], 3: [3], 4: [5, 6] }, 0, 6);
    assert.deepEqual(await everything(unused), ["put k1=v @1", "put k3=v @3", "put k5=v @5", "put k6=v @6"]);
    const later = worldOf({ 1: [], 2: [1], 3: [], 4: [3] }, 0, 1);
    assert.deepEqual(await everything(later), ["put k1=v @1", "put k3=v @3"]);
    const past = worldOf({ 1: [], 2: [1], 3: [], 4: [3] }, 0, 2);
    const feed = new Feed(past, { fromSeq: 1 });
    assert.equal(await feed.next(), "put k1=v @1");
    const gone = await feed.gone();
    assert.deepEqual([gone.oldest, /from sequence number 2 on: .*WAL off/.test(gone.detail)], [3, true]);
  });

  it("does not end quietly before rows that went past the log", async () => {
    const world = worldOf({ 1: [], 2: [1], 3: [] }, 0, 2);
    const feed = new Feed(world, { fromSeq: 1, follow: false });
    assert.equal(await feed.next(), "put k1=v @1");
    assert.equal((await feed.gone()).oldest, 3);
  });

  it("calls a live object that is missing what it is", async () => {
    for (const follow of [true, false]) {
      const world = worldOf({ 1: [], 2: [1], 4: [3] }, 0, 0);
      const feed = new Feed(world, { fromSeq: 1, follow });
      assert.equal(await feed.next(), "put k1=v @1");
      const error = await feed.error();
      assert.ok(error instanceof DataError && error.reason === "wal-gap", String(error));
      assert.equal(error.object, walPath("", 3));
    }
  });

  it("cuts no batch: an object that is damaged at its end gives no row at all", async () => {
    const world = worldOf({ 1: [], 2: [1, 2], 3: Array.from({ length: 2000 }, (_, i) => i + 3) }, 0, 0);
    const body = world.inner.peek(walPath("", 3))!;
    body[20_000]! ^= 1;
    world.inner.plant(walPath("", 3), body);
    const feed = new Feed(world, { fromSeq: 1 });
    assert.deepEqual(await feed.take(2), ["put k1=v @1", "put k2=v @2"]);
    const error = await feed.error();
    assert.ok(error instanceof DataError && error.reason === "checksum", String(error));
  });
});

describe("K-1 a stray object of a fenced writer in the collected part of the log", () => {
  // The log: a fence, rows 1 to 3, the fence 5 of a successor, whose rows begin at 4 again. Tables have 1 to 8.
  const LOG = { 1: [], 2: [1], 3: [2], 4: [3], 5: [], 6: [4, 5], 7: [6], 8: [7, 8], 9: [9] };

  const strays: ReadonlyArray<readonly [string, Readonly<Record<number, readonly number[]>>, number[], number]> = [
    ["where the fence was", { 5: [4, 5, 6] }, [], 4],
    ["where the fence was, with objects missing behind it", { 5: [4] }, [6], 6],
    ["with rows that nobody has", { 5: [40] }, [], 4],
    ["two of them, the first rows of which fit", { 5: [4], 6: [5] }, [7], 7],
    ["two of them that leave a gap", { 5: [4], 6: [4] }, [], 6],
    ["two of them that overlap with the next", { 5: [4], 6: [5, 6, 7] }, [], 6],
    ["which is the last below the boundary", { 8: [7] }, [], 9],
    ["which holds more than tables do", { 8: [7, 8, 9] }, [], 9],
  ];
  for (const [name, stray, missing, oldest] of strays) {
    it(`is never given out: ${name}`, async () => {
      const world = worldOf(LOG, 8, 8);
      for (const id of [1, 2, 3, 4, ...missing]) world.inner.remove(walPath("", id));
      plantLog(world.inner, stray, "stray");
      for (let fromSeq = 1; fromSeq < oldest; fromSeq++) {
        const gone = await new Feed(world, { fromSeq }).gone();
        assert.equal(gone.oldest, oldest, `from ${fromSeq}`);
      }
      const rest = await everything(world, { fromSeq: oldest });
      assert.deepEqual(rest, [4, 5, 6, 7, 8, 9].slice(oldest - 4).map((seq) => `put k${seq}=v @${seq}`));
    });
  }

  it("leaves a sound log readable", async () => {
    const world = worldOf(LOG, 8, 8);
    assert.deepEqual(await everything(world), [1, 2, 3, 4, 5, 6, 7, 8, 9].map((seq) => `put k${seq}=v @${seq}`));
  });

  it("is not given out when nothing but fences was ever behind it", async () => {
    const world = worldOf({ 4: [3], 6: [], 7: [] }, 7, 3);
    plantLog(world.inner, { 5: [4, 5] }, "stray");
    const feed = new Feed(world, { fromSeq: 4 });
    await feed.quiet(2000);
    world.inner.plant(walPath("", 8), walObject([4]));
    assert.equal(await feed.next(), "put k4=v @4");
  });

  it("is not given out to a follower that slept at its place", async () => {
    const world = worldOf({ 1: [], 2: [1], 3: [2], 4: [3] }, 0, 0);
    const feed = new Feed(world, { fromSeq: 1 });
    assert.equal((await feed.take(3)).at(-1), "put k3=v @3");
    // The successor: fence 5, rows in 6 and 7, tables, collection; then the sleeper's put.
    plantLog(world.inner, { 5: [], 6: [4], 7: [5] });
    plantManifest(world.inner, { writerEpoch: 2, replayAfterWalId: 7, lastL0Seq: 5 });
    await world.clock.advance(400_000);
    collectLog(world);
    plantLog(world.inner, { 5: [4, 5] }, "stray");
    assert.equal((await feed.gone()).oldest, 5);
  });

  it("is not given out when it takes the place of an object between the proof and the reading", async () => {
    const world = worldOf({ ...LOG, 1: [], 2: [1], 3: [2] }, 8, 8);
    let reads = 0;
    const store: ObjectStoreShape = {
      ...world.store,
      get: (path: string) => {
        if (path === walPath("", 6) && ++reads === 2) plantLog(world.inner, { 6: [4] }, "stray");
        return world.store.get(path);
      },
    };
    const feed = new Feed(world, { fromSeq: 1 }, store);
    assert.equal((await feed.gone()).oldest, 6);
  });

  it("is not given out when the log was collected while it was read", async () => {
    // The first reading finds the place, the second gives out.
    for (const reading of [1, 2]) {
      const world = worldOf({ 1: [], 2: [1], 3: [2], 4: [3] }, 0, 0);
      let reads = 0;
      const store: ObjectStoreShape = {
        ...world.store,
        get: (path: string) => {
          if (path === walPath("", 4) && ++reads === reading) {
            plantLog(world.inner, { 4: [], 5: [3], 6: [4] });
            plantManifest(world.inner, { writerEpoch: 2, replayAfterWalId: 6, lastL0Seq: 4 });
            collectLog(world);
            plantLog(world.inner, { 4: [3, 4, 5] }, "stray");
          }
          return world.store.get(path);
        },
      };
      const feed = new Feed(world, { fromSeq: 1 }, store);
      assert.equal((await feed.gone()).oldest, 4);
    }
  });

  it("is not given out when all that happened while the end was looked for", async () => {
    const world = worldOf({ 1: [], 2: [1], 3: [2], 4: [3] }, 0, 0);
    const store: ObjectStoreShape = {
      ...world.store,
      list: (prefix, after) =>
        Effect.tap(world.store.list(prefix, after), () => {
          if (prefix !== "wal/" || world.inner.peek(walPath("", 7)) !== undefined) return Effect.void;
          plantLog(world.inner, { 7: [5] });
          plantManifest(world.inner, { writerEpoch: 2, replayAfterWalId: 7, lastL0Seq: 5 });
          plantLog(world.inner, { 5: [4] }, "stray");
          return Effect.void;
        }),
    };
    const feed = new Feed(world, {}, store);
    assert.equal((await feed.gone()).oldest, 5);
  });

  it("is not given out after a real succession with a collection", async () => {
    const world = new World();
    const zombie = await world.open();
    await world.get(zombie.put("a", "1"));
    const feed = new Feed(world, { fromSeq: 1 });
    assert.equal(await feed.next(), "put a=1 @1");
    const successor = await world.open();
    await world.get(successor.put("b", "2"));
    await world.get(successor.put("c", "3"));
    await world.get(successor.flush({ kind: "memtable" }));
    await world.get(successor.put("d", "4"));
    collectLog(world);
    const fence = world.manifest.replayAfterWalId - 2;
    assert.equal(world.inner.peek(walPath("", fence)), undefined, "the fence is collected");
    world.inner.plant(walPath("", fence), walObject([2], "stray"));
    await world.clock.advance(60_000);
    const gone = await feed.gone();
    assert.equal(gone.oldest, 3);
    const again = await open({ store: world.inner.clone(), path: "" }, { clock: world.clock });
    assert.equal(again.status.lastSeq, 4);
    await world.get(again.close());
  });
});
