/**
 * Range deletes on their own: bounds, refusals, call order, and what reads of every kind see of them.
 *
 * @module
 */
import { Effect } from "effect";
import { WriteBatch } from "../../mod.ts";
import type { KeyRange } from "../../src/db/api.ts";
import { deletedRange } from "../../src/db/deleted_range.ts";
import { RANGES_PER_MEMTABLE } from "../../src/lsm/memtable_limits.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, append, fill, openDatabase, refused, rows, text, withDb } from "./transaction_world.ts";

const LETTERS = ["a=1", "b=2", "c=3", "d=4", "e=5"];

/** What is left of LETTERS after a range delete, with the number that it got. */
async function left(range: KeyRange): Promise<string> {
  let all = "";
  await withDb(async (db) => {
    await fill(db, ...LETTERS);
    await db.put("a\0", "0");
    const { seq } = await db.deleteRange(range);
    assert.equal(seq, 7);
    all = (await db.scan().keys()[Symbol.asyncIterator]().next()).done ? "" : await allOf(db);
    const singly: string[] = [];
    for (const key of ["a", "a\0", "b", "c", "d", "e"]) {
      const value = await db.get(key);
      if (value !== undefined) singly.push(`${key}=${text(value)}`);
    }
    assert.equal(singly.join(" "), all, "gets and scans agree");
    const down = await db.scan({}, { order: "descending" }).toArray();
    assert.equal(rows(down).reverse().join(" "), all, "and so do descending scans");
  });
  return all.replaceAll("\0", "_");
}

describe("deleteRange", () => {
  it("deletes what lies inside its bounds, of any kind, and nothing else", async () => {
    assert.equal(await left({ gte: "b", lt: "d" }), "a=1 a_=0 d=4 e=5");
    assert.equal(await left({ gt: "b", lte: "d" }), "a=1 a_=0 b=2 e=5");
    assert.equal(await left({ gt: "a", lt: "b" }), "a=1 b=2 c=3 d=4 e=5");
    assert.equal(await left({ lte: "a" }), "a_=0 b=2 c=3 d=4 e=5");
    assert.equal(await left({ lt: "c" }), "c=3 d=4 e=5");
    assert.equal(await left({ gt: "c" }), "a=1 a_=0 b=2 c=3");
    assert.equal(await left({ prefix: "a" }), "b=2 c=3 d=4 e=5");
    assert.equal(await left({ prefix: "a", gt: "a" }), "a=1 b=2 c=3 d=4 e=5");
    assert.equal(await left({ gte: "" }), "");
    assert.equal(await left({ gte: "", lt: "e" }), "e=5");
    assert.equal(await left({ gte: "x" }), "a=1 a_=0 b=2 c=3 d=4 e=5");
  });

  it("knows one shape of range: an inclusive start and an exclusive end, one zero byte behind a key where need be", () => {
    const shape = (range: KeyRange) => {
      const { start, end } = deletedRange(range);
      return [text(start), text(end)];
    };
    assert.deepEqual(shape({ gte: "a", lt: "b" }), ["a", "b"]);
    assert.deepEqual(shape({ gt: "a", lte: "b" }), ["a\0", "b\0"]);
    assert.deepEqual(shape({ lte: "b" }), ["", "b\0"]);
    assert.deepEqual(shape({ gt: "b" }), ["b\0", undefined]);
    assert.deepEqual(shape({ prefix: "b", lt: "bx" }), ["b", "bx"]);
    const high = new Uint8Array([0xff, 0xff]);
    assert.deepEqual(deletedRange({ prefix: high }), { start: high, end: undefined });
    const long = deletedRange({ gt: new Uint8Array(65_535), lte: new Uint8Array(65_535).fill(1) });
    assert.deepEqual([long.start.length, long.end!.length], [65_536, 65_536]);
    const mine = new Uint8Array([97]);
    const kept = deletedRange({ gte: mine });
    mine[0] = 98;
    assert.equal(text(kept.start), "a", "bounds are copied");
  });

  it("refuses ranges that make no sense, at the call and without taking a number", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      const unbounded = [undefined, {}, { gte: undefined }, { gte: "a", lt: undefined }, { prefix: "" }];
      for (const range of unbounded) {
        await refused(db.deleteRange(range as never), "InvalidArgument", "range-unbounded");
      }
      const empty = [
        { gte: "b", lt: "a" },
        { gte: "a", lt: "a" },
        { gt: "a", lte: "a" },
        { gt: "a", lt: "a\0" },
        { lt: "" },
        { lte: "" },
        { prefix: "a", lt: "a" },
      ];
      for (const range of empty) await refused(db.deleteRange(range), "InvalidArgument", "range-empty");
      await refused(db.deleteRange({ gte: new Uint8Array(65_536) }), "InvalidArgument", "key-too-long");
      await refused(db.deleteRange({ prefix: "x".repeat(65_536) }), "InvalidArgument", "key-too-long");
      await refused(db.deleteRange({ gte: 1 as never }), "InvalidArgument", "not-bytes");
      await refused(db.deleteRange({ from: "a" } as never), "InvalidArgument", "range-field");
      await refused(db.deleteRange("a" as never), "InvalidArgument", "range");
      await refused(db.deleteRange(null as never), "InvalidArgument", "range");
      await refused(db.deleteRange({ gte: "a" }, { ttl: "none" } as never), "InvalidArgument", "options");
      assert.equal(db.status.lastSeq, 1);
      assert.equal(await allOf(db), "a=1");
      assert.equal((await db.deleteRange({ gte: "a", lt: "b" })).seq, 2);
      await db.close();
      await refused(db.deleteRange({ gte: "a" }), "Closed", "clean");
    }));

  it("takes effect where it is called: what is put later stays, whatever is awaited", () =>
    withDb(async (db) => {
      const done = [
        db.put("a", "1"),
        db.deleteRange({ prefix: "a" }),
        db.put("ab", "2"),
        db.deleteRange({ gt: "ab" }, { durable: false }),
        db.put("b", "3"),
      ];
      assert.deepEqual((await Promise.all(done)).map(({ seq }) => seq), [1, 2, 3, 4, 5]);
      assert.equal(await allOf(db), "ab=2 b=3");
      const [first, second] = await Promise.all([db.deleteRange({ prefix: "b" }), db.deleteRange({ prefix: "b" })]);
      assert.deepEqual([first.seq, second.seq], [6, 7], "also when nothing is there");
      assert.ok(first.createdAt > 0);
      await first.durable;
      assert.equal(db.status.durableSeq, 7);
    }));

  it("begins a key's merges anew, and ends no lifetime but by deleting", async () => {
    const world = new World({ mergeOperator: append });
    const db = await world.open();
    const of = <A>(promise: Promise<A>) => world.get(promise);
    for (const operand of ["b", "c", "d"]) await of(db.merge("k", operand));
    const before = await of(db.snapshot());
    await of(db.deleteRange({ gte: "k", lt: "l" }));
    const between = await of(db.snapshot());
    await of(db.merge("k", "e"));
    assert.equal(text(await db.get("k")), "e");
    assert.equal(await allOf(before), "k=bcd");
    assert.equal(await allOf(between), "");
    before.release();
    between.release();
    await of(db.put("t", "old"));
    await of(db.put("t", "short", { ttl: { afterMillis: 10 } }));
    await of(db.deleteRange({ gte: "t" }));
    await of(db.put("u", "long", { ttl: { afterMillis: 20 } }));
    assert.equal(await allOf(db), "k=e u=long");
    await world.clock.advance(30);
    assert.equal(await allOf(db), "k=e");
    assert.equal(rows(await db.scan({}, { ttl: "slatedb" }).toArray()).join(" "), "k=e u=long");
    await of(db.close());
  });

  it("is not seen by reads of what is durable before it is", async () => {
    const world = new World({ flushIntervalMillis: null });
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.deleteRange({ gte: "a" }, { durable: false }));
    assert.equal(await db.get("a"), undefined);
    assert.equal(text(await db.get("a", { durability: "durable" })), "1");
    assert.deepEqual(rows(await db.scan({}, { durability: "durable" }).toArray()), ["a=1"]);
    await world.get(db.close());
  });

  it("does not disturb a scan that is under way", () =>
    withDb(async (db) => {
      await fill(db, ...LETTERS);
      const scan = db.scan().iterator();
      assert.equal(text((await scan.next())!.key), "a");
      await db.deleteRange({ gte: "" });
      await db.put("bb", "late");
      const rest: string[] = [];
      for (let row = await scan.next(); row !== undefined; row = await scan.next()) rest.push(text(row.key)!);
      assert.equal(rest.join(""), "bcde");
      assert.equal(await allOf(db), "bb=late");
    }));

  it("counts with its bounds for the size of the log's next object", async () => {
    const world = new World();
    const database = await openDatabase(world);
    const { wal } = database.engine.parts.state;
    database.engine.writes.deleteRange({ gte: "k".repeat(500), lt: "l".repeat(500) }, { durable: false });
    const one = wal!.estimatedBytes;
    assert.ok(one >= 1000 && one <= 1050, `${one} bytes`);
    database.engine.writes.write(new WriteBatch().deleteRange({ gte: "k".repeat(300) }).put("a", "1"), {
      durable: false,
    });
    assert.ok(wal!.estimatedBytes - one >= 302);
    await world.get(Effect.runPromise(database.engine.close));
  });

  it("ends a memtable after a few thousand, since a table of overlapping ones may have the square of their number", () =>
    withDb(async (db) => {
      const snapshot = await db.snapshot();
      for (let i = 0; i < RANGES_PER_MEMTABLE - 1; i++) {
        void db.deleteRange({ prefix: `k${i % 9}` }, { durable: false });
      }
      assert.equal((await db.tables()).frozenMemtables, 0);
      await db.deleteRange({ gte: "k" }, { durable: false });
      const { frozenMemtables, l0 } = await db.tables();
      assert.equal(frozenMemtables + l0.length, 1);
      snapshot.release();
    }));

  it("is one row to memory whatever it covers, and waits for room behind the writes before it", async () => {
    const world = new World({ l0SstSizeBytes: 4096, maxUnflushedBytes: 8192 });
    const db = await world.open();
    const start = db.status.unflushedBytes;
    await world.get(db.deleteRange({ gte: "k".repeat(50), lt: "l".repeat(50) }));
    const one = db.status.unflushedBytes - start;
    // The row, and what a set of range tombstones takes beside it.
    assert.ok(one >= 100 && one <= 1000, `${one} bytes`);
    world.store.controls.setOutage(true);
    const writes: Array<Promise<{ readonly seq: number }>> = [];
    for (let i = 0; i < 12; i++) writes.push(db.put(`k${i}`, "x".repeat(1000), { durable: false }));
    assert.ok(db.status.backpressure);
    writes.push(db.deleteRange({ prefix: "k" }, { durable: false }));
    writes.push(db.put("k1", "kept", { durable: false }));
    const { lastSeq } = db.status;
    assert.ok(lastSeq < 13, "it waits");
    world.store.controls.setOutage(false);
    const seqs = (await world.get(Promise.all(writes))).map(({ seq }) => seq);
    assert.deepEqual(seqs, writes.map((_, i) => i + 2));
    assert.equal(await allOf(db), "k1=kept");
    await world.get(db.close());
  });
});
