/**
 * Range deletes and transactions: own ones in own reads, anybody's in the detection of conflicts, and conditional puts.
 *
 * @module
 */
import { Effect } from "effect";
import { WriteBatch } from "../../mod.ts";
import type { Db, KeyRange } from "../../src/db/api.ts";
import { effectFace } from "../../src/db/effect.ts";
import type { Isolation, Transaction } from "../../src/db/transaction_api.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, append, conflictOf, fill, openDatabase, refused, rows, text, withDb } from "./transaction_world.ts";

const LETTERS = ["a=1", "b=2", "c=3", "d=4", "e=5"];

/** Begins, lets others do something, does its own and commits: "ok", or why not. */
async function outcome(
  db: Db,
  isolation: Isolation,
  own: (tx: Transaction) => Promise<unknown>,
  others: (db: Db) => Promise<unknown>,
): Promise<string> {
  const tx = await db.begin({ isolation });
  await own(tx);
  await others(db);
  return await tx.commit().then(() => "ok", (error) => error.reason as string);
}

for (const mode of ["native", "expand"] as const) {
  const inMode = (body: (db: Db) => Promise<void>, options: object = {}) =>
    withDb(body, { rangeDeletes: mode, ...options });

  describe(`Transaction deleteRange, ${mode}`, () => {
    for (const place of ["memory", "tables"] as const) {
      it(`X6 hides what was committed and written before it, committed rows in ${place}`, () =>
        inMode(async (db) => {
          await fill(db, ...LETTERS, "m=x");
          if (place === "tables") await db.flush({ kind: "memtable" });
          const tx = await db.begin();
          await tx.put("bb", "own");
          await tx.merge("m", "lost");
          await tx.deleteRange({ gte: "b", lte: "c" });
          await tx.deleteRange({ prefix: "m" });
          await tx.put("c", "again");
          await tx.merge("m", "+");
          await tx.merge("b", "1");
          assert.equal(await allOf(tx), "a=1 b=1 c=again d=4 e=5 m=+");
          const down = await tx.scan({ gte: "b" }, { order: "descending", limit: 4 }).toArray();
          assert.deepEqual(rows(down), ["m=+", "e=5", "d=4", "c=again"]);
          const many = await tx.getMany(["a", "b", "bb", "c", "m"]);
          assert.deepEqual(many.map(text), ["1", "1", undefined, "again", "+"]);
          assert.equal(tx.getCached("bb"), undefined);
          assert.equal(await allOf(db), "a=1 b=2 c=3 d=4 e=5 m=x", "nobody else sees it");
          const before = db.status.lastSeq;
          assert.equal((await tx.commit())!.seq, before + 1);
          assert.equal(await allOf(db), "a=1 b=1 c=again d=4 e=5 m=+");
        }));
    }

    it("X6 leaves a scan that is under way alone", () =>
      inMode(async (db) => {
        await fill(db, ...LETTERS);
        const tx = await db.begin({ isolation: "serializable" });
        await tx.put("bb", "own");
        const scan = tx.scan().iterator();
        assert.equal(text((await scan.next())!.key), "a");
        await tx.deleteRange({ gte: "" });
        await tx.put("cc", "late");
        const rest: string[] = [];
        for (let row = await scan.next(); row !== undefined; row = await scan.next()) rest.push(text(row.key)!);
        assert.deepEqual(rest, ["b", "bb", "c", "d", "e"]);
        assert.equal(await allOf(tx), "cc=late");
        await tx.rollback();
        assert.equal(await allOf(db), LETTERS.join(" "));
      }));

    it("X1 conflicts with every write inside its range, and with ranges that overlap", () =>
      inMode(async (db) => {
        await fill(db, ...LETTERS);
        const delBtoD = (tx: Transaction) => tx.deleteRange({ gte: "b", lt: "d" });
        const others: ReadonlyArray<readonly [string, (db: Db) => Promise<unknown>]> = [
          ["write", (db) => db.put("b", "x")],
          ["write", (db) => db.put("bb", "new")],
          ["write", (db) => db.delete("c")],
          ["write", (db) => db.merge("c\xff", "+")],
          ["write", (db) => db.write(new WriteBatch().put("x", "1").delete("c"))],
          ["write", (db) => db.deleteRange({ gte: "a", lte: "b" })],
          ["write", (db) => db.deleteRange({ prefix: "c" })],
          ["ok", (db) => db.put("d", "x")],
          ["ok", (db) => db.put("a\xff", "x")],
          ["ok", (db) => db.deleteRange({ lt: "b" })],
          ["ok", (db) => db.deleteRange({ gte: "d" })],
        ];
        for (const [expected, other] of others) {
          await fill(db, ...LETTERS);
          assert.equal(await outcome(db, "snapshot", delBtoD, other), expected, String(other));
        }
      }));

    it("X1 whoever writes inside a range that was deleted meanwhile is refused", () =>
      inMode(async (db) => {
        const deletes = (range: KeyRange) => (db: Db) => db.deleteRange(range);
        const put = (key: string) => (tx: Transaction) => tx.put(key, "x");
        const cases: ReadonlyArray<readonly [string, (tx: Transaction) => Promise<unknown>, KeyRange]> = [
          ["write", put("b"), { gte: "b", lt: "d" }],
          ["write", put("bx"), { gte: "b", lt: "d" }],
          ["ok", put("d"), { gte: "b", lt: "d" }],
          ["ok", put("a"), { gt: "a" }],
          ["write", (tx) => tx.merge("c", "+"), { lt: "d" }],
          ["ok", (tx) => tx.get("b"), { gte: "b", lt: "d" }],
        ];
        for (const [expected, own, range] of cases) {
          await fill(db, ...LETTERS);
          assert.equal(await outcome(db, "snapshot", own, deletes(range)), expected);
        }
      }));

    it("K-20 counts as a write of what serializable transactions have read or scanned, both ways", () =>
      inMode(async (db) => {
        const cases: ReadonlyArray<readonly [string, (tx: Transaction) => Promise<unknown>, KeyRange]> = [
          ["read", (tx) => tx.get("b"), { gte: "b", lt: "d" }],
          ["read", (tx) => tx.getMany(["x", "bx"]), { gte: "b", lt: "d" }],
          ["ok", (tx) => tx.get("d"), { gte: "b", lt: "d" }],
          ["range", (tx) => tx.scan({ gte: "c" }).toArray(), { gte: "b", lt: "d" }],
          ["ok", (tx) => tx.scan({ gte: "d" }).toArray(), { gte: "b", lt: "d" }],
          ["ok", (tx) => tx.scan({}, { limit: 1 }).toArray(), { gte: "b", lt: "d" }],
          ["range", (tx) => tx.scan({}, { limit: 1, order: "descending" }).toArray(), { gte: "e" }],
        ];
        for (const [expected, own, range] of cases) {
          await fill(db, ...LETTERS);
          const both = async (tx: Transaction) => {
            await own(tx);
            await tx.put("0own", "1");
          };
          assert.equal(await outcome(db, "serializable", both, (db) => db.deleteRange(range)), expected, `${own}`);
          await fill(db, ...LETTERS);
          const byTransaction = async (db: Db) => {
            const other = await db.begin();
            await other.deleteRange(range);
            await other.commit();
          };
          assert.equal(await outcome(db, "serializable", both, byTransaction), expected, "by a transaction");
          assert.equal(await outcome(db, "snapshot", both, (db) => db.deleteRange(range)), "ok");
        }
        await fill(db, ...LETTERS);
        const marked = await outcome(
          db,
          "snapshot",
          (tx) => tx.markRead(["b"]),
          (db) => db.deleteRange({ prefix: "b" }),
        );
        assert.equal(marked, "read", "a key marked as read");
      }));

    it("names the first key or range that was in the way", () =>
      inMode(async (db) => {
        await fill(db, ...LETTERS);
        const tx = await db.begin();
        await tx.deleteRange({ gte: "b", lt: "d" });
        const { seq } = await db.put("c", "x");
        const byKey = await conflictOf(tx.commit(), "write");
        assert.deepEqual([text(byKey.key), text(byKey.range!.gte), text(byKey.range!.lt)], ["c", "b", "d"]);
        assert.equal(byKey.seq, seq);
        await refused(tx.put("c", "y"), "InvalidArgument", "transaction-ended");
        const two = await db.begin();
        await two.deleteRange({ gte: "b" });
        await db.deleteRange({ lte: "c" });
        const byRange = await conflictOf(two.commit(), "write");
        assert.deepEqual([byRange.key, text(byRange.range!.gte), byRange.range!.lt], [undefined, "b", undefined]);
        assert.match(byRange.message, /touched keys from "b" on, which the transaction writes too/);
        const three = await db.begin();
        await three.put("d", "x");
        await db.deleteRange({ prefix: "d" });
        const inside = await conflictOf(three.commit(), "write");
        assert.deepEqual([text(inside.key), text(inside.range!.gte), text(inside.range!.lt)], ["d", "d", "e"]);
      }));

    it("keeps its range in the detection of conflicts when keys of it are unmarked", () =>
      inMode(async (db) => {
        await fill(db, ...LETTERS);
        const own = async (tx: Transaction) => {
          await tx.deleteRange({ gte: "b", lt: "d" });
          await tx.unmarkWrite(["c", "x"]);
          await tx.put("x", "1");
        };
        assert.equal(await outcome(db, "snapshot", own, (db) => db.put("c", "y")), "write");
        assert.equal(await outcome(db, "snapshot", own, (db) => db.put("x", "y")), "ok");
        const other = await db.begin();
        await other.put("c", "1");
        const tx = await db.begin();
        await own(tx);
        await tx.commit();
        await conflictOf(other.commit(), "write");
      }));

    it("refuses bad ranges at the call and goes on", () =>
      inMode(async (db) => {
        const tx = await db.begin();
        await refused(tx.deleteRange({}), "InvalidArgument", "range-unbounded");
        await refused(tx.deleteRange({ gte: "b", lt: "a" }), "InvalidArgument", "range-empty");
        assert.equal(await tx.commit(), undefined, "nothing was written");
        await refused(tx.deleteRange({ gte: "b" }), "InvalidArgument", "transaction-ended");
        const large = await db.begin();
        await refused(large.deleteRange({ gte: "b".repeat(60_000) }), "InvalidArgument", "batch-too-large");
        await large.rollback();
      }, { l0SstSizeBytes: 4096, maxUnflushedBytes: 50_000 }));

    it("X2 ranges count for the bound of the history, and are forgotten when nobody watches", async () => {
      const world = new World({ conflictHistoryBytes: 4096, rangeDeletes: mode });
      const database = await openDatabase(world);
      const { conflicts } = database.engine.parts.state;
      const db = effectFace(database);
      const run = <A>(effect: Effect.Effect<A, unknown>) => world.get(Effect.runPromise(effect));
      const tx = database.begin();
      tx.put("z", "1");
      for (let i = 0; i < 50; i++) {
        await run(db.put(`k${i}`, "1", { durable: false }));
        await run(db.deleteRange({ prefix: `k${i}`.padEnd(i, "x").slice(0, 3) }, { durable: false }));
        await run(db.deleteRange({ gte: `k${i}` }, { durable: false }));
        assert.ok(conflicts.bytes <= 4096, `${conflicts.bytes} bytes`);
      }
      assert.throws(() => tx.commit(), { reason: "history-lost" });
      assert.equal(conflicts.bytes, 0);
      await run(db.deleteRange({ gte: "" }, { durable: false }));
      assert.equal(conflicts.bytes, 0);
      await run(db.close);
    });

    it("lets conditional puts see that keys are gone", () =>
      inMode(async (db) => {
        await fill(db, ...LETTERS);
        const { seq } = (await db.getEntry("b"))!;
        await db.deleteRange({ gte: "b", lt: "d" });
        const gone = await conflictOf(db.put("b", "x", { ifSeq: seq }), "seq");
        assert.equal(gone.seq, 0);
        const put = await db.put("b", "new", { ifAbsent: true });
        await conflictOf(db.put("b", "x", { ifAbsent: true }), "exists");
        await db.flush({ kind: "memtable" });
        await db.put("b", "newer", { ifSeq: put.seq });
        await db.put("c", "new", { ifAbsent: true });
        assert.equal(await allOf(db), "a=1 b=newer c=new d=4 e=5");
      }));

    it("works the same on the Effect face", async () => {
      const world = new World({ mergeOperator: append, rangeDeletes: mode });
      const db = effectFace(await openDatabase(world));
      const program = Effect.gen(function* () {
        yield* db.put("a", "1");
        yield* db.put("b", "1");
        const value = yield* db.transact((tx) =>
          Effect.gen(function* () {
            yield* tx.deleteRange({ gte: "b" });
            yield* tx.put("c", "1");
            return (yield* tx.get("b")) ?? "gone";
          })
        );
        assert.equal(value, "gone");
        const result = yield* db.deleteRange({ lt: "b" });
        assert.equal(result.seq, 4);
        const error = yield* Effect.flip(db.deleteRange({}));
        assert.equal(error.reason, "range-unbounded");
        return [yield* db.get("a"), yield* db.get("b"), text(yield* db.get("c"))];
      });
      assert.deepEqual(await world.get(Effect.runPromise(program)), [undefined, undefined, "1"]);
      await world.get(Effect.runPromise(db.close));
    });
  });
}
