import { Effect, Fiber, Stream } from "effect";
import { changes, changesStream, ObjectStore, open, WriteBatch } from "../../mod.ts";
import type { Change } from "../../src/db/admin_api.ts";
import { virtualClockContext } from "../../src/env/virtual_clock.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { walPath } from "../../src/format/paths.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { everything, Feed, plantLog, plantManifest, said } from "./changes_world.ts";
import { World } from "./fault_world.ts";

describe("changes, following a writer", () => {
  it("gives puts, deletes and merges as they become durable, batches whole and in key order", async () => {
    const world = new World({ mergeOperator: "elsewhere" });
    const db = await world.open();
    await world.get(db.put("before", "0"));
    const feed = await new Feed(world).start();
    await world.get(db.put("a", "1"));
    await world.get(db.delete("a"));
    await world.get(db.merge("m", "x"));
    await world.get(db.write(new WriteBatch().put("z", "2").put("b", "3").delete("q")));
    assert.deepEqual(await feed.take(6), [
      "put a=1 @2",
      "delete a @3",
      "merge m=x @4",
      "put b=3 @5",
      "delete q @5",
      "put z=2 @5",
    ]);
    await feed.quiet(5000);
    await world.get(db.put("later", "4", { ttl: { atMillis: 9e12 } }));
    assert.equal(await feed.next(), "put later=4 @6");
    await feed.end();
    await world.get(db.close());
  });

  it("gives nothing that is not durable", async () => {
    const world = new World();
    const db = await world.open();
    const feed = await new Feed(world).start();
    await db.put("a", "1", { durable: false });
    await feed.quiet(3000);
    await world.get(db.flush());
    assert.equal(await feed.next(), "put a=1 @1");
  });

  it("asks for one object per look, and neither lists nor reads manifests in between", async () => {
    const world = new World();
    const db = await world.open();
    const store = faultyStore(world.inner);
    const feed = await new Feed(world, { fromSeq: 1 }, store).start();
    const begin = store.controls.log.length;
    await feed.quiet(10_000);
    for (let i = 0; i < 5; i++) {
      await world.get(db.put(`k${i}`, "1"));
      assert.equal(await feed.next(), `put k${i}=1 @${i + 1}`);
    }
    const asked = store.controls.log.slice(begin);
    assert.deepEqual([...new Set(asked.map(({ op, path }) => `${op} ${path.split("/")[0]}`))], ["get wal"]);
    assert.ok(asked.length <= 10 + 3 * 5, `${asked.length} requests`);
  });

  it("starts in the middle, at the row asked for, wherever tables begin", async () => {
    const world = new World();
    const db = await world.open();
    for (let i = 1; i <= 20; i++) await world.get(db.put(`k${i}`, "v"));
    await world.get(db.write(new WriteBatch().put("x", "1").put("y", "2")));
    const all = await everything(world);
    assert.equal(all.length, 22);
    for (const flushed of [false, true]) {
      if (flushed) await world.get(db.flush({ kind: "memtable" }));
      assert.equal(world.manifest.lastL0Seq > 0, flushed);
      for (let seq = 1; seq <= 22; seq++) {
        const wanted = seq === 22 ? [] : all.slice(seq - 1);
        assert.deepEqual(await everything(world, { fromSeq: seq }), wanted, `from ${seq}, ${flushed}`);
      }
    }
    await world.get(db.put("after", "v"));
    assert.deepEqual(await everything(world, { fromSeq: 20 }), [...all.slice(19), "put after=v @22"]);
    const ahead = new Feed(world, { fromSeq: 24 });
    await ahead.quiet(2000);
    await world.get(db.put("k23", "v"));
    await world.get(db.put("k24", "v"));
    assert.equal(await ahead.next(), "put k24=v @24");
  });

  it("goes on over fences when the database is opened again, cleanly or not", async () => {
    const world = new World();
    const first = await world.open();
    const feed = await new Feed(world).start();
    await world.get(first.put("a", "1"));
    await world.get(first.close());
    const second = await world.open();
    await world.get(second.put("b", "2"));
    const third = await world.open();
    const fourth = await world.open();
    await world.get(fourth.put("c", "3"));
    assert.deepEqual(await feed.take(3), ["put a=1 @1", "put b=2 @2", "put c=3 @3"]);
    assert.ok(third.status.lastSeq >= 2);
    assert.deepEqual(await everything(world), ["put a=1 @1", "put b=2 @2", "put c=3 @3"]);
  });

  it("gives a row once that its fenced writer never acknowledged but its successor replays", async () => {
    const world = new World();
    const first = await world.open();
    const feed = await new Feed(world).start();
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "wal/", fault: { kind: "hang", when: "after" } });
    first.put("a", "1").catch(() => {});
    await world.clock.advance(100);
    const second = await world.open();
    await world.get(second.put("b", "2"));
    assert.deepEqual(await feed.take(2), ["put a=1 @1", "put b=2 @2"]);
  });

  it("reads a log in a store of its own", async () => {
    const wal = { store: memoryStore() };
    const world = new World({ wal });
    const db = await world.open();
    const feed = await new Feed(world, { wal }).start();
    await world.get(db.put("a", "1"));
    assert.equal(await feed.next(), "put a=1 @1");
    const error = await new Feed(world).error();
    assert.ok(error instanceof InvalidArgument && error.reason === "wal-store", String(error));
    assert.match(error.message, /wal: \{ store \}/);
  });

  it("reads objects without a byte, and rows in the order of their keys, as older engines left them", async () => {
    const world = new World();
    plantLog(world.inner, { 1: [], 2: [3, 1, 2], 4: [4] });
    world.inner.plant(walPath("", 3), new Uint8Array(0));
    plantManifest(world.inner, {});
    const rows = await everything(world);
    assert.deepEqual(rows, ["put k1=v @1", "put k2=v @2", "put k3=v @3", "put k4=v @4"]);
    assert.deepEqual(await everything(world, { fromSeq: 3 }), rows.slice(2));
  });

  it("gives many objects in few steps, and holds only some of them", async () => {
    const world = new World();
    plantManifest(world.inner, {});
    plantLog(world.inner, Object.fromEntries(Array.from({ length: 500 }, (_, i) => [i + 1, [i + 1]])));
    const rows = await everything(world, { fromSeq: 250 });
    assert.equal(rows.length, 251);
    assert.equal(rows[0], "put k250=v @250");
    const gets = world.store.controls.log.filter(({ op, path }) => op === "get" && path.startsWith("wal/"));
    assert.ok(gets.length < 251 + 20, `${gets.length} objects read`);
  });

  it("ends when its signal aborts or nobody wants more, and leaves no timer", async () => {
    const world = new World();
    await world.open();
    await world.clock.advance(1000);
    const timers = world.clock.timers;
    const stop = new AbortController();
    const feed = await new Feed(world, { signal: stop.signal }).start();
    assert.equal(world.clock.timers, timers + 1);
    const failing = feed.error();
    stop.abort(new Error("enough"));
    assert.equal((await failing as Error).message, "enough");
    assert.equal(await feed.next(), undefined, "it has ended");
    const second = await new Feed(world).start();
    const ended = second.next();
    await second.end();
    assert.equal(await ended, undefined);
    await world.clock.settle();
    assert.equal(world.clock.timers, timers);
  });

  it("is a stream, too", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    const seen: Change[] = [];
    const program = changesStream({ fromSeq: 1 }).pipe(
      Stream.runForEach((change) => Effect.sync(() => void seen.push(change))),
      Effect.provideService(ObjectStore, world.store),
    );
    const fiber = Effect.runForkWith(virtualClockContext(world.clock))(program);
    await world.clock.settle();
    await world.get(db.put("b", "2"));
    await world.clock.advance(1000);
    assert.deepEqual(seen.map(said), ["put a=1 @1", "put b=2 @2"]);
    assert.deepEqual(Object.keys(seen[0]!), ["kind", "key", "value", "seq", "isLast", "createdAt"]);
    await Effect.runPromise(Fiber.interrupt(fiber));
  });

  it("works on a running database in real time", async () => {
    const store = memoryStore();
    const db = await open({ store, path: "deep/down" });
    const rows = changes({ store, path: "deep/down" }, { fromSeq: 1, pollIntervalMillis: 5 });
    await db.put("a", "1");
    for await (const change of rows) {
      if (change.seq === 3) break;
      assert.equal(change.seq, change.seq === 1 ? 1 : 2);
      await db.put(`next ${change.seq}`, "1");
    }
    await db.close();
  });

  it("refuses what it cannot do, and says what to give instead", async () => {
    const world = new World();
    const bad = (options: object) => {
      try {
        changes({ store: world.store, path: "" }, options);
      } catch (error) {
        assert.ok(error instanceof InvalidArgument);
        return error.message;
      }
      return "taken";
    };
    assert.match(bad({ form: 3 }), /no option "form" here: known are .*fromSeq/);
    assert.match(bad({ fromSeq: 0 }), /fromSeq/);
    assert.match(bad({ fromSeq: 1.5 }), /fromSeq/);
    assert.match(bad({ pollIntervalMillis: 0 }), /pollIntervalMillis/);
    assert.match(bad({ follow: "yes" }), /follow/);
    assert.match(bad({ wal: true }), /wal/);
    assert.match(bad({ clock: {} }), /clock/);
    assert.match(bad({ signal: 1 }), /signal/);
    const missing = await new Feed(world).error();
    assert.ok(missing instanceof InvalidArgument && missing.reason === "missing-database", String(missing));
  });
});
