/**
 * Cursors inside transactions, on snapshots and readers, and on the Effect face.
 *
 * @module
 */
import { Effect, Exit, Fiber, Scope } from "effect";
import type { Cursor, Db, Entry, Reads, Transaction } from "../../mod.ts";
import { effectReads } from "../../src/db/effect_reads.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";
import { append, conflictOf, fill, openDatabase, withDb } from "./transaction_world.ts";

function shown(entry: Entry | undefined): string {
  return entry === undefined ? "." : `${text(entry.key)}:${text(entry.value)}`;
}

/** All rows of something readable, by a cursor: forwards, which backwards must agree with. */
async function walked(reads: Reads, ...args: Parameters<Reads["cursor"]>): Promise<string> {
  const cursor = await reads.cursor(...args);
  const forward: string[] = [];
  for (let row = await cursor.first(); row !== undefined; row = await cursor.next()) forward.push(shown(row));
  const backward: string[] = [];
  for (let row = await cursor.prev(); row !== undefined; row = await cursor.prev()) backward.push(shown(row));
  await cursor.close();
  assert.deepEqual(backward.reverse(), forward);
  return forward.join(" ");
}

describe("a cursor inside a transaction", () => {
  it("goes through its own writes and what they leave of the others", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2", "c=3", "d=4", "e=5", "f=6");
      await db.flush({ kind: "memtable" });
      for (const isolation of ["snapshot", "serializable"] as const) {
        const tx = await db.begin({ isolation });
        await tx.put("aa", "own");
        await tx.delete("b");
        await tx.merge("c", "+");
        await tx.deleteRange({ gte: "d", lt: "f" });
        await tx.put("e", "back");
        assert.equal(await walked(tx), "a:1 aa:own c:3+ e:back f:6");
        const cursor = await tx.cursor();
        const own = await cursor.seekGE("aa");
        assert.deepEqual([own!.seq, own!.createdAt], [0, 0]);
        assert.equal((await cursor.next())!.seq === 0, true, "an operand of its own shaped it");
        assert.equal((await cursor.last())!.seq, 6);
        await tx.rollback();
      }
    }));

  it("shows the writes before its own beginning, as scans do", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "d=4");
      const tx = await db.begin();
      await tx.put("b", "before");
      const cursor = await tx.cursor();
      await tx.put("c", "after");
      await tx.delete("a");
      await tx.deleteRange({ gte: "a" });
      const rows = [await cursor.next(), await cursor.next(), await cursor.next(), await cursor.prev()];
      assert.deepEqual(rows.map(shown), ["a:1", "b:before", "d:4", "b:before"]);
      assert.equal(await walked(tx), "");
      await tx.rollback();
      await assert.rejects(cursor.next(), /transaction/);
    }));

  /** Whether a commit is refused after `look` when somebody else writes `key`. */
  async function conflicts(db: Db, look: (cursor: Cursor, tx: Transaction) => Promise<unknown>, key: string) {
    const tx = await db.begin({ isolation: "serializable" });
    const cursor = await tx.cursor({ gte: "b", lt: "y" });
    await look(cursor, tx);
    await db.put(key, "other", { durable: false });
    await tx.put("zz", "1");
    const ended = tx.commit();
    try {
      if (await ended.then(() => true, () => false)) return false;
      await conflictOf(ended, "range");
      return true;
    } finally {
      await db.delete(key, { durable: false });
      await fill(db, "d=1", "h=1", "p=1");
    }
  }

  it("K-20 reads every gap that it has passed or found empty, on both sides, and nothing else", () =>
    withDb(async (db) => {
      await fill(db, "d=1", "h=1", "p=1");
      type Look = (cursor: Cursor) => Promise<unknown>;
      const looks: Array<[string, Look, string, string]> = [
        ["first", (c) => c.first(), "b bb d", "a dd e h x y"],
        ["last", (c) => c.last(), "p q x", "b d h o y z"],
        ["next twice", (c) => c.next().then(() => c.next()), "b c d e g h", "a hh p x y"],
        ["prev twice", (c) => c.prev().then(() => c.prev()), "x p o i h", "g d b y"],
        ["past the end", (c) => c.seekGE("p").then(() => c.next()), "p q x", "o h d y"],
        ["past the start", (c) => c.seekLT("e").then(() => c.prev()), "dd d c b", "e a"],
        ["seekGE", (c) => c.seekGE("e"), "e f h", "d dz hh p"],
        ["seekLT", (c) => c.seekLT("g"), "f e d", "g h c b"],
        ["seekGE of nothing", (c) => c.seekGE("q"), "q r x", "p d y"],
        ["seekLT of nothing", (c) => c.seekLT("d"), "c b", "d a e"],
        ["seekGE above the range", (c) => c.seekGE("z"), "", "x y z p"],
        ["a turn", (c) => c.seekGE("e").then(() => c.prev()).then(() => c.next()), "d e f h", "c hh"],
        ["back from the end", (c) => c.seekGE("q").then(() => c.prev()), "p q x", "o h"],
        ["two places", (c) => c.seekGE("c").then(() => c.seekLT("q")), "c d p pp", "b e g h o q x"],
        ["no move", () => Promise.resolve(), "", "b d x"],
      ];
      for (const [name, look, inside, outside] of looks) {
        for (const key of inside.split(" ").filter((one) => one !== "")) {
          assert.equal(await conflicts(db, look, key), true, `${name}, then ${key} is written`);
        }
        for (const key of outside.split(" ")) {
          assert.equal(await conflicts(db, look, key), false, `${name}, then ${key} is written`);
        }
      }
    }));

  it("K-20 takes part in conflicts with range deletes, and stays bounded in memory", () =>
    withDb(async (db) => {
      for (let i = 0; i < 600; i++) await db.put(`k${1000 + i}`, "1", { durable: false });
      const tx = await db.begin({ isolation: "serializable" });
      const cursor = await tx.cursor();
      for (let i = 0; i < 300; i++) await cursor.seekGE(`k${1000 + ((i * 7) % 600)}`);
      for (let i = 0; i < 100; i++) await (i % 3 === 0 ? cursor.prev() : cursor.next());
      await db.deleteRange({ gte: "k1300", lt: "k1301" }, { durable: false });
      await tx.put("zz", "1");
      await conflictOf(tx.commit(), "range");
    }, { conflictHistoryBytes: 4096 }));
});

describe("a cursor of a snapshot", () => {
  it("K-21 repeats, durable ones too, however far the log has come", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2");
      await db.put("c", "3", { durable: false });
      const snapshot = await db.snapshot();
      const tx = await db.begin();
      const durable = { durability: "durable" } as const;
      for (const round of ["before", "log", "table", "run"]) {
        assert.equal(await walked(snapshot), "a:1 b:2 c:3", round);
        assert.equal(await walked(tx), "a:1 b:2 c:3", round);
        for (const reads of [snapshot, tx]) {
          assert.equal(await walked(reads, {}, durable), "a:1 b:2", round);
          assert.deepEqual((await reads.scan({}, durable).toArray()).map(shown), ["a:1", "b:2"], round);
          assert.equal(await reads.get("c", durable), undefined, round);
          assert.deepEqual((await reads.getMany(["b", "c"], durable)).map(text), ["2", undefined], round);
        }
        if (round === "before") await db.flush();
        if (round === "log") {
          await fill(db, "a=new", "c=new");
          await db.flush({ kind: "memtable" });
        }
        if (round === "table") await db.compact();
      }
      await tx.rollback();
      snapshot.release();
    }, { flushIntervalMillis: null, compactor: {} }));
});

describe("a cursor of a reader", () => {
  for (const mode of ["managed", "follow", "pinned"] as const) {
    it(`goes both ways over tables and the log, ${mode}`, async () => {
      const world = new ReaderWorld({ blockSizeBytes: 1024, mergeOperator: append });
      const db = await world.open();
      await world.put(db, { a: "1", b: "2", c: "3" });
      await world.get(db.flush({ kind: "memtable" }));
      await world.put(db, { b: "two", d: "4" });
      await world.get(db.merge("c", "+"));
      await world.get(db.deleteRange({ gte: "a", lt: "b" }));
      const pin = mode === "pinned" ? await world.get(db.checkpoint({ scope: "durable" })) : undefined;
      const reader = await world.reader({
        mergeOperator: append,
        blockCacheBytes: 0,
        ...(pin === undefined ? { mode: mode as "managed" } : { checkpoint: pin.id }),
      });
      const snapshot = await world.get(reader.snapshot());
      const open = await reader.cursor();
      const expected = "b:two c:3+ d:4";
      assert.equal(await world.get(walked(reader)), expected);
      await world.put(db, { d: "later", e: "later" });
      await world.get(reader.refresh());
      assert.equal(await world.get(walked(snapshot)), expected);
      assert.equal(await world.get(walked(snapshot, {}, { durability: "durable" })), expected);
      assert.equal(await world.get(walked(reader)), pin === undefined ? "b:two c:3+ d:later e:later" : expected);
      assert.equal(shown(await world.get(open.last())), "d:4", "the moment of its opening");
      await open.close();
      snapshot.release();
      await world.get(reader.close());
      await world.get(db.close());
    });
  }
});

describe("K-32 the options of a cursor", () => {
  it("are honoured on the database, in snapshots and transactions, and by readers", async () => {
    const world = new ReaderWorld({ blockSizeBytes: 1024 });
    const db = await world.open();
    await world.put(db, { a: "1" });
    await world.get(db.put("b", "gone", { ttl: { afterMillis: 1000 } }));
    await world.get(db.flush({ kind: "memtable" }));
    const gone = await world.get(db.checkpoint({ scope: "durable" }));
    await db.put("c", "3", { durable: false });
    await world.clock.advance(1500);
    const roles: Record<string, Reads> = {
      "the database": db,
      "a snapshot": await db.snapshot(),
      "a transaction": await db.begin(),
      "a managed reader": await world.reader(),
      "a follower": await world.reader({ mode: "follow" }),
      "a pinned reader": await world.reader({ checkpoint: gone.id }),
      "a reader with other defaults": await world.reader({ ttl: "slatedb" }),
    };
    for (const [role, reads] of Object.entries(roles)) {
      const isReader = role.includes("reader") || role === "a follower";
      const showsAll = role.includes("defaults");
      const tail = isReader ? "" : " c:3";
      const see = (options: Parameters<Reads["cursor"]>[1]) => world.get(walked(reads, {}, options));
      assert.equal(await see({ ttl: "strict" }), `a:1${tail}`, role);
      assert.equal(await see({ ttl: "slatedb" }), `a:1 b:gone${tail}`, role);
      assert.equal(await see({}), showsAll ? "a:1 b:gone" : `a:1${tail}`, role);
      assert.equal(await see({ durability: "durable", ttl: "strict" }), "a:1", role);
      await assert.rejects(reads.cursor({}, { limit: 1 } as object), /limit/, role);
    }
  });
});

describe("a cursor of the Effect face", () => {
  it("makes the same moves, one at a time, and is closed by its scope", async () => {
    const world = new ReaderWorld({ blockCacheBytes: 0, blockSizeBytes: 1024 });
    const database = await openDatabase(world);
    for (let i = 10; i < 50; i++) database.engine.writes.put(`k${i}`, "v".repeat(5000));
    await world.get(Effect.runPromise(database.engine.flush("memtable")));
    const reads = effectReads(database.reader);
    const scope = Effect.runSync(Scope.make());
    const runWith = <A, E>(effect: Effect.Effect<A, E>) => database.engine.parts.runtime.promise(effect);
    const cursor = await runWith(Scope.provide(reads.cursor({ gte: "k12" }), scope));
    const key = (entry: Entry | undefined) => text(entry?.key);
    const moves = [cursor.next, cursor.next, cursor.seekGE("k40"), cursor.prev, cursor.first, cursor.seekLT("k20")];
    const keys = await world.get(runWith(Effect.all(moves, { concurrency: "unbounded" })));
    assert.deepEqual(keys.map(key), ["k12", "k13", "k40", "k39", "k12", "k19"]);
    world.store.controls.addRules({ op: "getRange", fault: { kind: "hang", when: "before" } });
    const hanging = database.engine.parts.runtime.fork(cursor.last);
    await world.clock.advance(10);
    await world.get(runWith(Fiber.interrupt(hanging)));
    world.store.controls.quiet();
    assert.equal(key(await runWith(cursor.current)), "k19");
    assert.equal(key(await world.get(runWith(cursor.next))), "k20", "it goes on where it stood");
    const failed = await runWith(Effect.flip(cursor.seekGE("")));
    assert.equal(failed._tag, "InvalidArgument");
    const refused = await runWith(Effect.flip(Scope.provide(reads.cursor({}, { signal: 1 } as object), scope)));
    assert.equal(refused._tag, "InvalidArgument");
    await runWith(Scope.close(scope, Exit.void));
    assert.equal((await runWith(Effect.flip(cursor.next)))._tag, "Closed");
    await world.get(Effect.runPromise(database.engine.close));
  });
});
