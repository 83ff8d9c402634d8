/**
 * Range deletes that are stored key by key: what is found, what is committed while the store is asked, limits, faults,
 * and that no other engine ever meets a range tombstone.
 *
 * @module
 */
import { Effect, Fiber } from "effect";
import { WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { effectFace } from "../../src/db/effect.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { promiseFace } from "../../src/db/promise.ts";
import { FLAG_RANGE_DELETE, FLAG_TOMBSTONE } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, append, openDatabase, refused, text, withDb } from "./transaction_world.ts";

const EXPAND = { rangeDeletes: "expand" } as const;
const QUIET = { mergeOperator: append, compactor: false, garbageCollector: false } as const;

/** A world whose rows are in tables that no cache holds. */
async function coldWorld(pairs: readonly string[], options: OpenOptions = {}): Promise<World> {
  const world = new World({ ...QUIET, ...EXPAND, ...options });
  const filler = await world.open();
  for (const pair of pairs) {
    await world.get(filler.put(pair.split("=")[0]!, pair.split("=")[1]!, { durable: false }));
  }
  await world.get(filler.flush({ kind: "memtable" }));
  await world.get(filler.close());
  return world;
}

async function cold(pairs: readonly string[], options: OpenOptions = {}): Promise<{ world: World; db: Db }> {
  const world = await coldWorld(pairs, options);
  return { world, db: await world.open({ blockCacheBytes: 0 }) };
}

function slow(world: World, millis = 500): void {
  world.store.controls.addRules({ op: "getRange", prefix: "compacted/", rate: 1, fault: { kind: "delay", millis } });
}

/** Rows of the log as "seq:key=value" or "seq:key" for deletes; fails on a range tombstone. */
function logged(world: World): string[] {
  const all: string[] = [];
  for (const path of world.paths("wal")) {
    for (const row = new WalRows(world.inner.peek(path)!); row.next();) {
      assert.equal(row.flags & FLAG_RANGE_DELETE, 0, "a range tombstone");
      const key = text(row.keyBytes.subarray(row.keyStart, row.keyEnd));
      const value = text(row.valueBytes.subarray(row.valueStart, row.valueEnd));
      all.push(`${row.seq}:${key}${(row.flags & FLAG_TOMBSTONE) === 0 ? `=${value}` : ""}`);
    }
  }
  return all;
}

describe("deleteRange, expanded", () => {
  it("stores a delete for every key that is there, under one number, and never raises the gate", async () => {
    const { world, db } = await cold(["a=1", "b=2", "c=3", "d=4"]);
    await world.get(db.put("bb", "x"));
    await world.get(db.delete("c"));
    const before = logged(world).length;
    const { seq } = await world.get(db.deleteRange({ gt: "a", lte: "d" }));
    assert.equal(seq, 7);
    assert.deepEqual(logged(world).slice(before), ["7:b", "7:bb", "7:d"]);
    const batch = new WriteBatch().put("a2", "taken back").merge("z", "1").deleteRange({ prefix: "a" }).put("a1", "new")
      .merge("a", "+");
    const middle = logged(world).length;
    await world.get(db.write(batch));
    assert.deepEqual(logged(world).slice(middle), ["8:a=+", "8:a1=new", "8:z=1"]);
    const tx = await db.begin();
    await tx.deleteRange({ gte: "a1" });
    await tx.put("q", "1");
    const end = logged(world).length;
    await world.get(tx.commit());
    assert.deepEqual(logged(world).slice(end), ["9:a1", "9:q=1", "9:z"]);
    assert.equal(await world.get(allOf(db)), "a=+ q=1");
    await world.get(db.flush({ kind: "memtable" }));
    assert.equal(world.manifest.features, undefined);
    assert.ok([...world.manifest.l0].every(({ info }) => info.rangeDeletes === undefined));
    await world.get(db.close());
  });

  it("takes no number when nothing is there, and resolves when all before it is durable", async () => {
    const { world, db } = await cold(["a=1", "c=1"]);
    await world.get(db.delete("a"));
    const requests = world.store.controls.log.filter(({ op }) => op === "putIfAbsent").length;
    const none = await world.get(db.deleteRange({ lt: "c" }));
    assert.equal(none.seq, 3);
    assert.ok(none.createdAt > 0);
    await none.durable;
    assert.equal(
      world.store.controls.log.filter(({ op }) => op === "putIfAbsent").length,
      requests,
      "nothing is stored",
    );
    const late = { op: "putIfAbsent", prefix: "wal/", rate: 1, fault: { kind: "delay", millis: 5000 } } as const;
    world.store.controls.addRules(late);
    await world.get(db.delete("c", { durable: false }));
    const volatile = db.deleteRange({ prefix: "c" });
    assert.equal((await world.get(db.deleteRange({ prefix: "c" }, { durable: false }))).seq, 4);
    assert.equal((await world.outcome(volatile, 1000)).ended, "never", "a crash would bring the key back");
    assert.equal((await world.get(volatile)).seq, 4);
    assert.equal(db.status.durableSeq, 4);
    assert.equal((await world.get(db.put("x", "1"))).seq, 5);
    await world.get(db.close());
  });

  it("A1 holds back the writes after it while it looks", async () => {
    const { world, db } = await cold(["a=1", "b=1", "c=1"]);
    slow(world);
    const calls = [
      db.put("bb", "before", { durable: false }),
      db.deleteRange({ prefix: "b" }, { durable: false }),
      db.put("b", "after", { durable: false }),
      db.deleteRange({ prefix: "x" }, { durable: false }),
      db.deleteRange({ gte: "c" }, { durable: false }),
      db.delete("a", { durable: false }),
    ];
    await world.clock.settle();
    assert.equal(db.status.lastSeq, 4, "only what came before is applied");
    assert.equal(db.status.backpressure, false);
    assert.deepEqual((await world.get(Promise.all(calls), 20_000)).map(({ seq }) => seq), [4, 5, 6, 6, 7, 8]);
    assert.equal(await world.get(allOf(db)), "b=after");
    await world.get(db.close());
  });

  it("X7 finds what was written between the look and its turn, also what no conflict counts", async () => {
    const world = await coldWorld(["a=1", "b=1", "c=1", "d=1", "x=1"]);
    slow(world);
    const database = await openDatabase(world, { blockCacheBytes: 0 });
    const db = promiseFace(database);
    const tx = database.begin();
    tx.put("c2", "unmarked");
    tx.unmarkWrite(["c2"]);
    // The first holds the others back; the range delete looks at once.
    const calls = [
      db.put("x", "2", { ifSeq: 5, durable: false }),
      db.put("b2", "new", { durable: false }),
      db.delete("b", { durable: false }),
      db.merge("m", "+", { durable: false }),
      db.deleteRange({ gte: "b", lt: "c" }, { durable: false }),
      db.put("b3", "stays", { durable: false }),
    ];
    const commit = tx.commit({ durable: false })!;
    const second = db.deleteRange({ gte: "c", lt: "n" }, { durable: false });
    const seqs = (await world.get(Promise.all([...calls, second]), 20_000)).map(({ seq }) => seq);
    assert.ok("ready" in commit && commit.applied?.seq === 12);
    assert.deepEqual(seqs, [6, 7, 8, 9, 10, 11, 13]);
    assert.equal(await world.get(allOf(db)), "a=1 b3=stays x=2");
    await world.get(db.close());
    assert.deepEqual(logged(world).filter((row) => /^(10|13):/.test(row)), ["10:b2", "13:c", "13:c2", "13:d", "13:m"]);
  });

  it("X7 looks again when the history did not suffice", async () => {
    const { world, db } = await cold(["a=1", "x=1"], { conflictHistoryBytes: 1024 });
    slow(world);
    const first = db.put("x", "2", { ifSeq: 2, durable: false });
    const others = Array.from({ length: 50 }, (_, i) => db.put(`k${i}`, "x".repeat(10), { durable: false }));
    const range = db.deleteRange({ gte: "a", lt: "k5" }, { durable: false });
    await world.get(Promise.all([first, ...others, range]), 20_000);
    assert.equal((await world.get(db.scan().toArray())).map(({ key }) => text(key)).join(" "), "k5 k6 k7 k8 k9 x");
    await world.get(db.close());
  });

  it("looks for the keys of several at once, whichever have to wait, and never waits for those behind", async () => {
    const letters = "abcdefghijklmnop".split("");
    const { world, db } = await cold(letters.map((letter) => `${letter}=1`));
    await world.get(db.get("a"));
    slow(world);
    const one = await world.outcome(db.deleteRange({ prefix: "a" }, { durable: false }), 20_000);
    assert.equal(one.ended, "value");
    const millis = one.ended === "value" ? one.afterMillis : 0;
    const rest = letters.slice(1, 13).map((letter) => db.deleteRange({ prefix: letter }, { durable: false }));
    const many = await world.outcome(Promise.all(rest), 60_000);
    assert.ok(many.ended === "value" && many.afterMillis <= millis * 4, `${JSON.stringify(many)} after ${millis}`);
    // Each answer brings another one, so that the places for answers go to those behind the one that waits longest.
    const seqs: number[] = [];
    const next = async (round: number): Promise<void> => {
      seqs.push((await db.deleteRange({ gte: letters[13 + round % 3]!, lte: "z" }, { durable: false })).seq);
      if (round < 12) await next(round + 6);
    };
    await world.get(Promise.all([0, 1, 2, 3, 4, 5].map(next)), 60_000);
    assert.equal(seqs.length, 18);
    assert.equal(await world.get(allOf(db)), "");
    await world.get(db.close());
  });

  it("applies many at once in their order", async () => {
    const letters = "abcdefghijkl".split("");
    const { world, db } = await cold(letters.map((letter) => `${letter}=1`));
    slow(world, 100);
    const calls = letters.flatMap((letter) => [
      db.deleteRange({ lte: letter }, { durable: false }),
      db.put(letter.toUpperCase(), "1", { durable: false }),
    ]);
    const seqs = (await world.get(Promise.all(calls), 20_000)).map(({ seq }) => seq);
    assert.deepEqual(seqs, seqs.map((_, i) => i + 13), "each deletes its letter and the capital before it");
    assert.equal(await world.get(allOf(db)), "L=1");
    await world.get(db.close());
  });

  it("leaves nothing behind when the queue takes no more", async () => {
    const world = await coldWorld(["a=1", "b=1"]);
    slow(world);
    const database = await openDatabase(world, { blockCacheBytes: 0, l0SstSizeBytes: 500, maxUnflushedBytes: 1000 });
    const db = promiseFace(database);
    const calls: Array<Promise<unknown>> = [];
    for (let i = 0; i < 5; i++) calls.push(db.deleteRange({ prefix: "a" }, { durable: false }));
    calls.push(db.put("c", "x".repeat(900), { durable: false }));
    await refused(db.deleteRange({ prefix: "b" }), "Unavailable", "backpressure");
    await world.get(Promise.all(calls), 20_000);
    assert.equal((await world.get(allOf(db))).slice(0, 7), "b=1 c=x");
    assert.equal(database.engine.parts.state.conflicts.isActive, false);
    await world.get(db.close());
  });

  it("deletes expired rows and unfolded operands too, which other engines still see", async () => {
    const world = new World({ ...QUIET, ...EXPAND, mergeOperator: "elsewhere" });
    const db = await world.open();
    await world.get(db.put("a", "short", { ttl: { afterMillis: 5 } }));
    await world.get(db.merge("b", "!"));
    await world.clock.advance(10);
    assert.equal(await db.get("a"), undefined);
    await world.get(db.deleteRange({ gte: "" }));
    assert.deepEqual(await db.scan({}, { ttl: "slatedb" }).toArray(), []);
    assert.deepEqual(logged(world).slice(-2), ["3:a", "3:b"]);
    await world.get(db.close());
  });

  it("refuses more keys or bytes than its limits, changes nothing, and lets others go on", () =>
    withDb(async (db) => {
      for (let i = 0; i < 12; i++) await db.put(`k${i}`, "1", { durable: false });
      const range = db.deleteRange({ prefix: "k" });
      const behind = db.put("later", "1");
      await refused(range, "InvalidArgument", "range-too-large");
      assert.equal((await behind).seq, 13);
      await refused(
        db.write(new WriteBatch().put("x", "1").deleteRange({ gt: "k" })),
        "InvalidArgument",
        "range-too-large",
      );
      const tx = await db.begin();
      await tx.deleteRange({ gte: "k" });
      await refused(tx.commit(), "InvalidArgument", "range-too-large");
      assert.equal(db.status.lastSeq, 13);
      assert.equal((await db.deleteRange({ gte: "k", lt: "k9" })).seq, 14, "eleven are not too many");
      for (let i = 0; i < 10; i++) await db.put(`z${i}`.padEnd(3000, "x"), "1", { durable: false });
      await refused(db.deleteRange({ prefix: "z" }), "InvalidArgument", "range-too-large");
      assert.equal(db.status.lastSeq, 24);
      assert.equal((await db.scan({ prefix: "z" }).toArray()).length, 10);
      const both = new WriteBatch().put("x", "v".repeat(12_000)).deleteRange({ gte: "z", lt: "z3" });
      await refused(db.write(both), "InvalidArgument", "batch-too-large");
      assert.equal(db.status.lastSeq, 24);
    }, { ...EXPAND, rangeDeleteMaxKeys: 11, l0SstSizeBytes: 10_000, maxUnflushedBytes: 20_000 }));

  it("finds more than it can look at within one turn", () =>
    withDb(async (db) => {
      const batch = new WriteBatch();
      for (let i = 0; i < 10_000; i++) batch.put(`k${i}`.padStart(8, "0"), "1");
      await db.write(batch);
      const range = db.deleteRange({ gte: "" });
      const put = db.put("stays", "1");
      assert.deepEqual([(await range).seq, (await put).seq], [2, 3]);
      assert.equal(await allOf(db), "stays=1");
    }, EXPAND));

  it("fails with what the store fails with, and lets the writes behind it go on", async () => {
    const { world, db } = await cold(["a=1"], { requestTimeoutMillis: 2000 });
    const hang = { op: "getRange", prefix: "compacted/", rate: 1, fault: { kind: "hang", when: "before" } } as const;
    world.store.controls.addRules(hang);
    const range = db.deleteRange({ gte: "" });
    range.catch(() => {});
    const tx = await db.begin();
    await tx.deleteRange({ gte: "" });
    const commit = tx.commit();
    commit.catch(() => {});
    const behind = db.put("b", "1");
    assert.equal((await world.error(range, 20_000) as { _tag: string })._tag, "Unavailable");
    assert.equal((await world.error(commit, 20_000) as { _tag: string })._tag, "Unavailable");
    assert.equal((await world.get(behind, 20_000)).seq, 2);
    world.store.controls.quiet();
    assert.equal(await world.get(allOf(db)), "a=1 b=1");
    await world.get(db.close());
  });

  it("A1 is judged by what its range holds when its turn comes, though more was there at the call", async () => {
    const letters = "abcdefghijkl".split("");
    const { world, db } = await cold(letters.map((letter) => `${letter}=1`), { rangeDeleteMaxKeys: 10 });
    slow(world);
    const calls = [
      db.deleteRange({ lt: "g" }, { durable: false }),
      db.deleteRange({ gte: "g" }, { durable: false }),
      db.put("m", "1", { durable: false }),
      db.deleteRange({ gte: "a" }, { durable: false }),
    ];
    const last = db.put("n", "1", { durable: false });
    assert.deepEqual((await world.get(Promise.all(calls), 20_000)).map(({ seq }) => seq), [13, 14, 15, 16]);
    await world.get(last);
    assert.equal(await world.get(allOf(db)), "n=1");
    await world.get(db.close());
  });

  it("A1 is judged by what the store says when its turn comes, though it failed before", async () => {
    const world = await coldWorld(["x=1"]);
    const filler = await world.open();
    await world.get(filler.put("a", "1", { durable: false }));
    await world.get(filler.flush({ kind: "memtable" }));
    await world.get(filler.close());
    const db = await world.open({ blockCacheBytes: 0 });
    const [ofX, ofA] = world.paths("compacted");
    const denied = { kind: "before", reason: "permission", retryable: false } as const;
    world.store.controls.addRules(
      { op: "getRange", prefix: ofX!, rate: 1, fault: { kind: "delay", millis: 500 } },
      { op: "getRange", prefix: ofA!, nth: 1, fault: denied },
    );
    const first = db.put("x", "2", { ifSeq: 1, durable: false });
    const range = db.deleteRange({ gte: "a", lt: "c" }, { durable: false });
    assert.deepEqual((await world.get(Promise.all([first, range]), 20_000)).map(({ seq }) => seq), [3, 4]);
    assert.equal(await world.get(allOf(db)), "x=2");
    assert.ok(world.store.controls.log.some(({ path, fault }) => path === ofA && fault === "before"), "it did fail");
    await world.get(db.close());
  });

  it("C1 is answered when the database closes, and applied before that if the store answers in time", async () => {
    const { world, db } = await cold(["a=1"]);
    slow(world);
    const range = db.deleteRange({ gte: "" });
    await world.get(db.close(), 60_000);
    assert.equal((await range).seq, 2);
    const again = await cold(["a=1"], { requestTimeoutMillis: 1000 });
    again.world.store.controls.setOutage(true);
    const lost = again.db.deleteRange({ gte: "" });
    lost.catch(() => {});
    await again.world.outcome(again.db.close(), 20_000);
    assert.match(`${(await again.world.error(lost, 20_000) as { _tag: string })._tag}`, /Closed|Unavailable/);
    again.world.store.controls.setOutage(false);
    assert.deepEqual([...await again.world.contents()], [["a", "1"]]);
  });

  it("K-22 is applied though its caller no longer waits", async () => {
    const world = await coldWorld(["a=1"]);
    slow(world);
    const db = effectFace(await openDatabase(world, { blockCacheBytes: 0 }));
    const fiber = Effect.runFork(db.deleteRange({ gte: "" }));
    await world.clock.settle();
    await Effect.runPromise(Fiber.interrupt(fiber));
    const { seq } = await world.get(Effect.runPromise(db.put("b", "1")));
    assert.equal(seq, 3);
    assert.equal(await world.get(Effect.runPromise(db.get("a"))), undefined);
    await world.get(Effect.runPromise(db.close));
  });
});
