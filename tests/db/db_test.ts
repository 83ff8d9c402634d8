import { Effect, Fiber, Option, Stream } from "effect";
import { TestClock } from "effect/testing";
import { Closed, Db, InvalidArgument, NOT_CACHED, ObjectStore, open, Unavailable, WriteBatch } from "../../mod.ts";
import type { Db as OpenDb } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";

const keysOf = async (rows: Promise<{ key: Uint8Array }[]>) => (await rows).map((row) => text(row.key));

async function withDb(options: OpenOptions, body: (db: OpenDb) => Promise<void>): Promise<void> {
  const db = await open("memory:", options);
  try {
    await body(db);
  } finally {
    await db[Symbol.asyncDispose]();
  }
}

const refusedWith = (reason: string) => (error: unknown) => error instanceof InvalidArgument && error.reason === reason;

describe("open", () => {
  const bad: Array<[string, unknown, RegExp]> = [
    ["an unknown name", { flushIntervalMilis: 5 }, /flushIntervalMilis/],
    ["a wrong type", { l0SstSizeBytes: "64" }, /l0SstSizeBytes/],
    ["NaN", { maxUnflushedBytes: NaN }, /maxUnflushedBytes/],
    ["a negative size", { blockCacheBytes: -1 }, /blockCacheBytes/],
    ["a block size that the format has not", { blockSizeBytes: 5000 }, /blockSizeBytes/],
    ["contradicting sizes", { l0SstSizeBytes: 100, maxUnflushedBytes: 100 }, /greater than l0SstSizeBytes/],
    ["a prototype key", JSON.parse('{"__proto__": {"wal": false}}'), /__proto__/],
    ["a store that is none", { wal: { store: {} } }, /wal/],
    ["a clock that is none", { clock: { now: 1 } }, /clock/],
    ["a store that lacks an operation", { wal: { store: { ...memoryStore(), copy: undefined } } }, /wal/],
  ];
  for (const [name, options, pattern] of bad) {
    it(`refuses ${name} before any store request, naming the field`, async () => {
      const store = faultyStore(memoryStore());
      await assert.rejects(open({ store, path: "" }, options as OpenOptions), (error: Error) => {
        assert.ok(refusedWith("options")(error), String(error));
        assert.match(error.message, pattern);
        return true;
      });
      assert.equal(store.controls.requestCount, 0);
    });
  }

  for (
    const location of ["gopher://x", "", "a\0b", { store: {}, path: "" }, { store: memoryStore(), path: "../x" }, {
      store: { putIfAbsent: () => {} },
      path: "",
    }]
  ) {
    it(`refuses the location ${JSON.stringify(location).slice(0, 40)}`, async () => {
      await assert.rejects(open(location as string), InvalidArgument);
    });
  }

  it("create: false and errorIfExists decide by what is there", async () => {
    const store = memoryStore();
    await assert.rejects(open({ store, path: "" }, { create: false }), refusedWith("missing-database"));
    assert.equal(store.objects().length, 0);
    await (await open({ store, path: "" }, { errorIfExists: true })).close();
    await assert.rejects(open({ store, path: "" }, { errorIfExists: true }), refusedWith("database-exists"));
  });

  it("K11 takes six requests on a closed database and six plus n with n WAL objects", async () => {
    const inner = memoryStore();
    const first = await open({ store: inner, path: "" });
    await first.put("a", "1");
    await first.put("b", "1");
    await first.flush({ kind: "memtable" });
    await first.close();
    const store = faultyStore(inner);
    const db = await open({ store, path: "" });
    const replayed = store.controls.log.filter((request) => request.op === "get" && request.path.startsWith("wal/"));
    assert.equal(store.controls.requestCount - replayed.length, 6);
    await db.close();
  });
});

describe("writes", () => {
  it("refuse bad arguments without taking a sequence number", () =>
    withDb({}, async (db) => {
      await assert.rejects(db.put("", "v"), refusedWith("key-empty"));
      await assert.rejects(db.put(new Uint8Array(65_536), "v"), refusedWith("key-too-long"));
      await assert.rejects(db.put(1 as unknown as string, "v"), refusedWith("not-bytes"));
      await assert.rejects(db.put("k", undefined as unknown as string), refusedWith("not-bytes"));
      await assert.rejects(db.write(new WriteBatch()), refusedWith("batch-empty"));
      await assert.rejects(db.write({ size: 1 }), refusedWith("batch"));
      await assert.rejects(db.merge("k", "x"), refusedWith("merge-operator-missing"));
      assert.equal((await db.put("k", "v")).seq, 1);
    }));

  it("copy what they are given: later changes of the buffers have no effect", () =>
    withDb({}, async (db) => {
      const key = new TextEncoder().encode("key");
      const value = new TextEncoder().encode("value");
      const written = db.put(key, value);
      key.fill(0);
      value.fill(0);
      await written;
      assert.equal(text(await db.get("key")), "value");
      const got = await db.get("key");
      got!.fill(0);
      assert.equal(text(await db.get("key")), "value", "results do not alias the store");
    }));

  it("A1 take effect in call order, awaited or not, also while they wait for room", async () => {
    const clock = virtualClock(0);
    const store = faultyStore(memoryStore());
    const options = { clock, l0SstSizeBytes: 400, maxUnflushedBytes: 800, flushIntervalMillis: null };
    const db = await open({ store, path: "" }, options);
    store.controls.setOutage(true);
    const writes = Array.from({ length: 14 }, (_, i) => db.put("k", `${i} ${"x".repeat(90)}`, { durable: false }));
    await clock.advance(10);
    assert.equal(db.status.backpressure, true);
    assert.ok(db.status.lastSeq < 14, "memory is bounded");
    store.controls.setOutage(false);
    await clock.advance(5000);
    assert.deepEqual((await Promise.all(writes)).map((result) => result.seq), writes.map((_, i) => i + 1));
    assert.match(text(await db.get("k"))!, /^13 /);
    assert.equal(db.status.backpressure, false);
    await Promise.all([db.close(), clock.advance(60_000)]);
  });

  it("refuse further writes when too much waits for room, and answer all of them at close", async () => {
    const clock = virtualClock(0);
    const store = faultyStore(memoryStore());
    const options = { clock, l0SstSizeBytes: 400, maxUnflushedBytes: 800, requestTimeoutMillis: 1000 };
    const db = await open({ store, path: "" }, options);
    store.controls.setOutage(true);
    const outcomes = Array.from(
      { length: 60 },
      () => db.put("k", "x".repeat(90), { durable: false }).then(() => "ok", (error) => error._tag as string),
    );
    await clock.advance(10);
    const closing = db.close().then(() => "ok", (error) => error._tag as string);
    await clock.advance(5000);
    const tags = new Set(await Promise.all(outcomes));
    assert.deepEqual([...tags].sort(), ["Closed", "Unavailable", "ok"]);
    assert.equal(await closing, "Unavailable");
    assert.equal(db.status.closeReason, "failed");
  });

  it("group commit: what arrives during a WAL PUT goes with the next one", async () => {
    const clock = virtualClock(0);
    const store = faultyStore(memoryStore(), { latencyMillis: 30 });
    const opening = open({ store, path: "" }, { clock, flushIntervalMillis: null });
    await clock.advance(1000);
    const db = await opening;
    const before = store.controls.requestCount;
    const writes = [db.put("a", "1")];
    await clock.advance(5);
    for (let i = 0; i < 10; i++) writes.push(db.put(`b${i}`, "1"));
    await clock.advance(25);
    await writes[0];
    await clock.advance(30);
    await Promise.all(writes);
    assert.equal(store.controls.requestCount - before, 2);
    await Promise.all([db.close(), clock.advance(1000)]);
  });

  it("nobody waits: one WAL object per interval, and none when nothing was written", async () => {
    const clock = virtualClock(0);
    const store = faultyStore(memoryStore());
    const db = await open({ store, path: "" }, { clock, garbageCollector: false });
    const before = store.controls.requestCount;
    for (let i = 0; i < 50; i++) await db.put(`k${i}`, "v", { durable: false });
    await clock.advance(99);
    assert.equal(store.controls.requestCount, before);
    await clock.advance(1);
    assert.equal(store.controls.requestCount, before + 1);
    assert.equal(db.status.durableSeq, 50);
    await clock.advance(2_000);
    const settled = store.controls.requestCount;
    await clock.advance(36_000_000);
    assert.equal(store.controls.requestCount, settled, "an idle database asks nothing of the store");
    await db.close();
  });

  it("the durable promise settles later and its failure is never unhandled", async () => {
    const clock = virtualClock(0);
    const store = faultyStore(memoryStore());
    const db = await open({ store, path: "" }, { clock, flushIntervalMillis: null, requestTimeoutMillis: 500 });
    const result = await db.put("k", "v", { durable: false });
    store.controls.setOutage(true);
    const untouched = await db.put("k", "w", { durable: false });
    const closing = assert.rejects(db.close(), Unavailable);
    await clock.advance(2000);
    await closing;
    await assert.rejects(result.durable, Closed);
    assert.equal(untouched.seq, 2);
  });

  it("a clock behind the newest row is tolerated, then refused without effect", async () => {
    const clock = virtualClock(100_000);
    const db = await open("memory:", { clock, clockToleranceMillis: 1000 });
    assert.equal((await db.put("a", "1", { durable: false })).createdAt, 100_000);
    await clock.set(99_500);
    assert.equal((await db.put("a", "2", { durable: false })).createdAt, 100_000);
    await clock.set(98_000);
    await assert.rejects(db.put("a", "3", { durable: false }), refusedWith("clock-behind"));
    assert.equal(db.status.lastSeq, 2);
    await db.close();
  });
});

describe("reads", () => {
  it("get, getEntry, getMany, getCached and scans agree over memtables, tables and after reopening", async () => {
    const store = memoryStore();
    let db = await open({ store, path: "" }, { blockSizeBytes: 1024, l0SstSizeBytes: 2000 });
    for (let i = 0; i < 200; i++) await db.put(`k${String(i).padStart(3, "0")}`, `v${i}`, { durable: false });
    for (let i = 0; i < 200; i += 3) await db.delete(`k${String(i).padStart(3, "0")}`, { durable: false });
    const expected = Array.from({ length: 200 }, (_, i) => i).filter((i) => i % 3 !== 0);
    for (let round = 0; round < 2; round++) {
      const rows = await db.scan().toArray();
      assert.deepEqual(rows.map((row) => text(row.value)), expected.map((i) => `v${i}`));
      assert.deepEqual((await db.scan({}, { order: "descending" }).toArray()).reverse(), rows);
      const values = await db.getMany(["k001", "k003", "nope"]);
      assert.deepEqual(values.map(text), ["v1", undefined, undefined]);
      assert.equal((await db.getEntry("k001"))?.seq, 2);
      assert.equal(text(db.getCached("k001") as Uint8Array), "v1");
      await db.close();
      db = await open({ store, path: "" }, { ttl: "strict" });
    }
    await db.flush({ kind: "memtable" });
    await db.close();
    db = await open({ store, path: "" });
    assert.equal(db.getCached("k001"), NOT_CACHED);
    await db.get("k001");
    assert.equal(text(db.getCached("k001") as Uint8Array), "v1");
    await db.close();
  });

  it("scan takes bounds, prefix, limit and order, and can be run again", () =>
    withDb({}, async (db) => {
      for (const key of ["a", "b1", "b2", "b3", "c"]) await db.put(key, key, { durable: false });
      assert.deepEqual(await keysOf(db.scan({ prefix: "b" }).toArray()), ["b1", "b2", "b3"]);
      assert.deepEqual(await keysOf(db.scan({ gt: "b1", lte: "c" }).toArray()), ["b2", "b3", "c"]);
      assert.deepEqual(await keysOf(db.scan({ prefix: "b", lt: "b3" }, { order: "descending" }).toArray()), [
        "b2",
        "b1",
      ]);
      const scan = db.scan({}, { limit: 2 });
      const seen: string[] = [];
      for await (const row of scan) seen.push(text(row.key)!);
      for await (const key of scan.keys()) seen.push(text(key)!);
      assert.deepEqual(seen, ["a", "b1", "a", "b1"]);
      await assert.rejects(db.scan({ gte: "c", lt: "a" }).toArray(), refusedWith("range-empty"));
      await assert.rejects(db.scan({}, { limit: 0 }).toArray(), refusedWith("options"));
      await assert.rejects(db.get("a", { limit: 1 } as never), refusedWith("options"));
      assert.throws(() => db.scan().batches(0), refusedWith("options"));
      await assert.rejects(db.scan({}, { ordre: "ascending" } as never).toArray(), refusedWith("options"));
    }));

  it("an iterator keeps its moment, seeks forward only, and stays usable after a refused seek", () =>
    withDb({}, async (db) => {
      for (const key of ["a", "b", "c", "d"]) await db.put(key, "old", { durable: false });
      const rows = db.scan().iterator();
      assert.equal(text((await rows.next())?.key), "a");
      await db.put("b", "new", { durable: false });
      await db.delete("d", { durable: false });
      await db.flush({ kind: "memtable" });
      await assert.rejects(rows.seek("a"), refusedWith("seek-backward"));
      assert.equal(text((await rows.next())?.value), "old");
      await rows.seek("d");
      assert.equal(text((await rows.next())?.key), "d");
      assert.equal(await rows.next(), undefined);
      await rows.return();
    }));

  it("calls of next that do not wait for each other are answered in order", () =>
    withDb({}, async (db) => {
      for (let i = 0; i < 200; i++) await db.put(`k${1000 + i}`, "v", { durable: false });
      const iterator = db.scan()[Symbol.asyncIterator]();
      const rows = await Promise.all(Array.from({ length: 201 }, () => iterator.next()));
      assert.deepEqual(
        rows.slice(0, 200).map((row) => text(row.value.key)),
        rows.slice(0, 200).map((_, i) => `k${1000 + i}`),
      );
      assert.equal(rows[200]!.done, true);
    }));

  it("an aborted signal ends the wait for the store with its reason", async () => {
    const clock = virtualClock(0);
    const store = faultyStore(memoryStore());
    let db = await open({ store, path: "" }, { clock });
    await db.put("k", "v");
    await db.flush({ kind: "memtable" });
    await db.close();
    db = await open({ store, path: "" }, { clock });
    store.controls.setLatency(10_000);
    const abort = new AbortController();
    const read = db.get("k", { signal: abort.signal });
    const scan = db.scan({}, { signal: abort.signal }).toArray();
    const ended = Promise.all([assert.rejects(read, /enough/), assert.rejects(scan, /enough/)]);
    await clock.advance(10);
    abort.abort(new Error("enough"));
    await clock.advance(10);
    await ended;
    store.controls.setLatency(0);
    assert.equal(text(await db.get("k")), "v");
    await db.close();
  });

  it("a snapshot sees its moment through overwrites, deletes and flushes, and durable reads in it repeat", () =>
    withDb({ flushIntervalMillis: null }, async (db) => {
      await db.put("a", "1");
      await db.put("a", "2", { durable: false });
      const snapshot = await db.snapshot();
      await db.put("a", "3", { durable: false });
      await db.delete("b", { durable: false });
      await db.flush({ kind: "memtable" });
      assert.equal(text(await snapshot.get("a")), "2");
      assert.equal(text(await snapshot.get("a", { durability: "durable" })), "1");
      assert.equal(text(await db.get("a", { durability: "durable" })), "3");
      assert.deepEqual((await snapshot.scan().toArray()).map((row) => row.seq), [2]);
      snapshot.release();
      snapshot.release();
      await assert.rejects(snapshot.get("a"), refusedWith("released"));
    }));
});

describe("close", () => {
  it("C1 makes everything accepted durable, then every call fails with Closed", async () => {
    const store = memoryStore();
    const db = await open({ store, path: "" }, { flushIntervalMillis: null });
    const statuses: Array<string | undefined> = [];
    const stop = db.onStatus((status) => statuses.push(status.closeReason));
    await db.put("a", "1", { durable: false });
    await db.close();
    stop();
    assert.equal(statuses.at(-1), "clean");
    const closed = (error: unknown) => error instanceof Closed && error.reason === "clean";
    await assert.rejects(db.close(), closed);
    await assert.rejects(db.put("a", "2"), closed);
    await assert.rejects(db.get("a"), closed);
    await assert.rejects(db.flush(), closed);
    await assert.rejects(db.snapshot(), closed);
    await assert.rejects(db.scan().toArray(), closed);
    await db[Symbol.asyncDispose]();
    const again = await open({ store, path: "" });
    assert.equal(text(await again.get("a")), "1");
    await again.close();
  });

  it("writes nothing but the WAL position, and nothing at all when that is known", async () => {
    const store = faultyStore(memoryStore());
    const db = await open({ store, path: "" });
    await db.put("a", "1");
    const before = store.controls.requestCount;
    await db.close();
    assert.deepEqual(store.controls.log.slice(before).map((request) => request.op), ["putIfAbsent"]);
  });
});

describe("Effect face", () => {
  effectTest(
    "opens on the store and clock of its environment and closes with its scope",
    () =>
      Effect.gen(function* () {
        const store = memoryStore();
        yield* Effect.scoped(Effect.gen(function* () {
          const db = yield* Db.open({ path: "db", flushIntervalMillis: 1000 });
          yield* TestClock.adjust("5 seconds");
          const result = yield* db.put("a", "1", { durable: false });
          assert.equal(result.createdAt, 5000);
          assert.equal(text(yield* db.get("a")), "1");
          const refused = yield* Effect.flip(db.put("", "x"));
          assert.equal(refused._tag, "InvalidArgument");
          yield* db.put("b", "2", { durable: false });
          const rows = yield* Stream.runCollect(db.scan());
          assert.deepEqual(rows.map((row) => text(row.key)), ["a", "b"]);
          assert.equal((yield* db.status).durableSeq, 0);
        })).pipe(Effect.provideService(ObjectStore, store));
        const row = yield* Effect.flatMap(Db, (db) => db.getEntry("b")).pipe(
          Effect.provide(Db.layer({ path: "db" })),
          Effect.provideService(ObjectStore, store),
        );
        assert.equal(row?.seq, 2);
      }),
  );

  effectTest(
    "tells its status, answers from memory, and is interrupted instead of signalled",
    () =>
      Effect.scoped(Effect.gen(function* () {
        const db = yield* Db.open({ flushIntervalMillis: 100 });
        const durable = yield* Effect.forkChild(
          db.onStatus.pipe(
            Stream.map((status) => status.durableSeq),
            Stream.filter((seq) => seq === 1),
            Stream.runHead,
          ),
        );
        yield* Effect.yieldNow;
        yield* db.put("a", "1", { durable: false });
        yield* TestClock.adjust("1 second");
        assert.deepEqual(yield* Fiber.join(durable), Option.some(1));
        assert.equal(text((yield* db.getCached("a")) as Uint8Array), "1");
        const signal = { signal: new AbortController().signal } as object;
        assert.equal((yield* Effect.flip(db.get("a", signal))).reason, "options");
        assert.equal((yield* Effect.flip(Stream.runDrain(db.scan({}, signal)))).reason, "options");
      })).pipe(Effect.provideService(ObjectStore, memoryStore())),
  );
});
