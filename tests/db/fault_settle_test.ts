import { Effect } from "effect";
import { open, WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed, type CloseReason, InvalidArgument } from "../../src/errors.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { contentsOf, START_MILLIS, World } from "./fault_world.ts";

const small: OpenOptions = { l0SstSizeBytes: 1000, maxUnflushedBytes: 4000, blockSizeBytes: 1024 };

/** Starts one of everything that a caller can wait for; answers the promises by name. */
async function everything(db: Db): Promise<Map<string, Promise<unknown>>> {
  const pending = new Map<string, Promise<unknown>>();
  const add = (name: string, promise: Promise<unknown>) => {
    promise.catch(() => {});
    pending.set(name, promise);
  };
  const snapshot = await db.snapshot();
  add("durable put", db.put("a", "1"));
  add("durable delete", db.delete("b"));
  add("durable merge", db.merge("m", "1"));
  add("durable batch", db.write(new WriteBatch().put("c", "1").delete("d")));
  const soft = await db.put("e", "1", { durable: false });
  add("the later promise of a soft put", soft.durable);
  for (let i = 0; i < 80; i++) {
    add(`put ${i} that waits for room`, db.put(`room ${i}`, "v".repeat(50), { durable: i % 2 === 0 }));
  }
  add("flush of the log", db.flush({ kind: "wal" }));
  add("flush of the memtable", db.flush({ kind: "memtable" }));
  add("get", db.get("cold 3"));
  add("getEntry", db.getEntry("cold 4"));
  add("getMany", db.getMany(["cold 1", "cold 2"]));
  add("scan", db.scan().toArray());
  add("next of an iterator", db.scan({ prefix: "cold" }).iterator().next());
  add("get in a snapshot", snapshot.get("cold 1"));
  add("scan in a snapshot", snapshot.scan({ prefix: "cold" }).toArray());
  add("tables", db.tables());
  add("put after the flush", db.put("last", "1"));
  return pending;
}

/** An open database with cold rows, every request of which takes 200 ms from now on. */
async function busy(inner = memoryStore()): Promise<{ world: World; db: Db }> {
  const world = new World(
    { ...small, mergeOperator: (_key, old, operand) => operand ?? old, blockCacheBytes: 0 },
    inner,
  );
  const first = await world.open();
  for (let i = 0; i < 8; i++) await world.get(first.put(`cold ${i}`, "1"));
  await world.get(first.flush({ kind: "memtable" }));
  await world.get(first.close());
  const db = await world.open();
  world.store.controls.setLatency(200);
  return { world, db };
}

/** Fails unless everything ends within `millis` of virtual time. */
async function allSettle(world: World, pending: Map<string, Promise<unknown>>, millis: number): Promise<unknown[]> {
  const open = new Set(pending.keys());
  const errors: unknown[] = [];
  for (const [name, promise] of pending) {
    promise.then(() => open.delete(name), (error) => {
      open.delete(name);
      errors.push(error);
    });
  }
  for (let waited = 0; open.size > 0 && waited < millis; waited += 100) await world.clock.advance(100);
  assert.deepEqual([...open], [], `still waiting after ${millis} ms`);
  return errors;
}

function assertClosed(errors: readonly unknown[], reason: CloseReason): void {
  assert.ok(errors.length > 0);
  for (const error of errors) {
    assert.ok(error instanceof Closed && error.reason === reason, `not closed (${reason}), but ${String(error)}`);
  }
}

describe("C1 K-13 whoever waits is answered", () => {
  it("when nothing goes wrong", async () => {
    const { world, db } = await busy();
    assert.deepEqual(await allSettle(world, await everything(db), 60_000), []);
    await world.get(db.close());
  });

  it("when another writer takes over", async () => {
    const { world, db } = await busy();
    const pending = await everything(db);
    await world.clock.advance(50);
    const other = await open({ store: world.inner, path: "" }, { clock: virtualClock(START_MILLIS) });
    assertClosed(await allSettle(world, pending, 5000), "fenced");
    await other.close();
  });

  for (
    const [prefix, op] of [["wal/", "putIfAbsent"], ["compacted/", "putIfAbsent"], [
      "manifest/",
      "putIfAbsent",
    ]] as const
  ) {
    it(`when a defect strikes below ${prefix}`, async () => {
      const { world, db } = await busy();
      const store = world.store as { putIfAbsent: typeof world.store.putIfAbsent };
      const sound = store[op];
      store[op] = (path, body, identity) =>
        path.startsWith(prefix) ? Effect.die(new Error("a bug")) : sound(path, body, identity);
      const errors = await allSettle(world, await everything(db), 60_000);
      assertClosed(errors, "failed");
      assert.match(String(errors[0]), /a bug/);
      assert.equal(db.status.closeReason, "failed");
      store[op] = sound;
      assert.ok((await contentsOf(world.inner, world.options)).has("cold 1"));
    });
  }

  it("when the database is closed meanwhile: writes accepted before are durable, reads answered or told", async () => {
    const { world, db } = await busy();
    const pending = await everything(db);
    await world.clock.advance(50);
    pending.set("close", db.close());
    const errors = await allSettle(world, pending, 40_000);
    for (const error of errors) assert.ok(error instanceof Closed && error.reason === "clean", String(error));
    const contents = await contentsOf(world.inner, world.options);
    for (const key of ["a", "c", "e", "last", "room 0", "room 79"]) assert.ok(contents.has(key), `${key} is lost`);
  });

  it("calls after a close, a fence or a failure fail at once with the reason", async () => {
    const { world, db } = await busy();
    await world.get(db.close());
    const snapshot = db.snapshot();
    snapshot.catch(() => {});
    const calls = [
      () => db.put("a", "1"),
      () => db.delete("a"),
      () => db.write(new WriteBatch().put("a", "1")),
      () => db.get("a"),
      () => db.getMany(["a"]),
      () => db.scan().toArray(),
      () => db.flush(),
      () => db.tables(),
      () => db.close(),
      () => snapshot,
    ];
    for (const call of calls) assertClosed([await world.error(call(), 0)], "clean");
  });
});

describe("a request of a flush that never answers", () => {
  for (const prefix of ["wal/", "compacted/", "manifest/"]) {
    it(`below ${prefix}: degraded after 30 s, asked again, and done once`, async () => {
      const world = new World();
      const db = await world.open();
      const degraded = new Set<boolean>();
      db.onStatus((status) => degraded.add(status.degraded));
      const fault = { kind: "hang", when: "after" } as const;
      world.store.controls.addRules({ op: "putIfAbsent", prefix, times: 2, fault });
      const put = db.put("a", "1");
      const flush = db.flush({ kind: "memtable" });
      flush.catch(() => {});
      await world.clock.advance(31_000);
      assert.equal(db.status.degraded, true);
      await world.get(put, 60_000);
      await world.get(flush, 60_000);
      assert.equal(db.status.degraded, false);
      assert.deepEqual(world.walSeqs, [1]);
      assert.equal(world.manifest.l0.length, 1);
      assert.ok(degraded.has(true));
      await world.get(db.close());
    });
  }
});

describe("S1 sequence numbers", () => {
  for (const [name, options] of [["log on", small], ["log off", { ...small, wal: false }]] as const) {
    it(`go on by exactly 1 over reopenings, closed or crashed, ${name}`, async () => {
      const inner = memoryStore();
      let next = 1;
      for (let life = 0; life < 8; life++) {
        const world = new World(options, inner);
        const db = await world.open();
        assert.equal(db.status.lastSeq, next - 1, `life ${life}`);
        for (let i = 0; i < 3 + life; i++) {
          assert.equal((await db.put(`life ${life} ${i}`, "v".repeat(30), { durable: false })).seq, next++);
        }
        if (life % 3 === 1 || options.wal === false) await world.get(db.flush({ kind: "memtable" }));
        else await world.get(db.flush());
        if (life % 2 === 0) await world.get(db.close());
        else {
          // A crash: what was not durable is lost, and its number is given out again.
          await db.put("lost", "1", { durable: false });
          world.store.controls.crash();
        }
      }
      assert.equal((await contentsOf(inner, new World(options).options)).size, next - 1);
    });
  }
});

describe("a merge operator that throws", () => {
  const operator = (_key: Uint8Array, old: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
    if (new TextDecoder().decode(operand) === "bad") throw new Error("cannot fold this");
    return new Uint8Array([...(old ?? []), ...operand]);
  };

  it("fails the read that needs it, with its error; writes, other reads, flushes and reopening go on", async () => {
    const world = new World({ mergeOperator: operator });
    const db = await world.open();
    await world.get(db.merge("good", "1"));
    await world.get(db.merge("bad", "1"));
    await world.get(db.merge("bad", "bad"));
    for (const read of [() => db.get("bad"), () => db.scan().toArray(), () => db.getMany(["good", "bad"])]) {
      const error = await world.error(read());
      assert.match(String(error), /cannot fold this/);
      assert.ok(error instanceof InvalidArgument && error.reason === "merge-operator-failed");
    }
    assert.equal(db.status.closeReason, undefined);
    assert.equal(new TextDecoder().decode(await world.get(db.get("good"))), "1");
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("after", "1"));
    assert.equal(db.status.closeReason, undefined);
    assert.match(String(await world.error(db.get("bad"))), /cannot fold this/);
    await world.get(db.put("bad", "mended"));
    assert.equal(new TextDecoder().decode(await world.get(db.get("bad"))), "mended");
    await world.get(db.close());
    assert.deepEqual([...(await world.contents()).keys()], ["after", "bad", "good"]);
  });

  it("fails a batch that needs it, without a trace", async () => {
    const world = new World({ mergeOperator: operator });
    const db = await world.open();
    const batch = new WriteBatch().put("other", "1").merge("k", "1").merge("k", "bad");
    await world.error(db.write(batch));
    assert.equal(db.status.closeReason, undefined, "a user's error closed the database");
    assert.equal(await db.get("other"), undefined);
    assert.equal((await world.get(db.put("next", "1"))).seq, 1, "the refused batch took a number");
    await world.get(db.close());
  });
});

describe("many tiny writes", () => {
  it("10,000 with flushes in between leave bounded memory, manifests and objects", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner);
    const clock = virtualClock(START_MILLIS);
    const maxUnflushedBytes = 100_000;
    const settings: OpenOptions = { clock, flushIntervalMillis: 100, l0SstSizeBytes: 20_000, maxUnflushedBytes };
    const db = await open({ store, path: "" }, settings);
    const opening = store.controls.requestCount;
    let most = 0;
    for (let i = 0; i < 10_000; i++) {
      const write = db.put(`key ${i % 500}`, `${i}`, { durable: false });
      most = Math.max(most, db.status.unflushedBytes);
      if (i % 100 === 99) {
        await clock.advance(100);
        await write;
      }
    }
    await Promise.all([db.flush({ kind: "memtable" }), clock.advance(1000)]);
    const tables = inner.objects().filter((path) => path.startsWith("compacted/")).length;
    const versions = inner.objects().filter((path) => path.startsWith("manifest/")).length;
    const logs = inner.objects().filter((path) => path.startsWith("wal/")).length;
    assert.ok(most <= maxUnflushedBytes + 1000, `${most} bytes were held`);
    assert.equal(db.status.unflushedBytes, 0);
    assert.ok(tables >= 5 && tables <= 60, `${tables} tables`);
    assert.ok(versions <= tables + 3, `${versions} manifests for ${tables} tables`);
    assert.ok(logs <= 102, `${logs} objects of the log for 100 intervals`);
    const requests = store.controls.requestCount - opening;
    assert.ok(requests <= tables + versions + logs + 400, `${requests} requests`);
    await Promise.all([db.close(), clock.advance(1000)]);
    assert.equal((await contentsOf(inner, { clock: virtualClock(START_MILLIS) })).get("key 499"), "9999");
  });

  it("10,000 durable ones that do not wait for each other share objects of the log", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner);
    const clock = virtualClock(START_MILLIS);
    const db = await open({ store, path: "" }, { clock, flushIntervalMillis: null });
    store.controls.setLatency(5);
    const writes: Array<Promise<{ readonly seq: number }>> = [];
    for (let i = 0; i < 10_000; i++) {
      writes.push(db.put(`key ${i}`, "1"));
      if (i % 500 === 499) await clock.advance(5);
    }
    await Promise.all([...writes, clock.advance(100)]);
    const logs = inner.objects().filter((path) => path.startsWith("wal/")).length;
    assert.ok(logs <= 30, `${logs} objects of the log`);
    assert.equal((await writes.at(-1)!).seq, 10_000);
    await Promise.all([db.close(), clock.advance(1000)]);
  });
});
