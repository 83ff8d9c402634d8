import type { Db } from "../../src/db/api.ts";
import type { Isolation, Transaction } from "../../src/db/transaction_api.ts";
import { WriteBatch } from "../../mod.ts";
import { assert, describe, it } from "../support/suite.ts";
import { allOf, conflictOf, fill, rows, text, withDb } from "./transaction_world.ts";

/** Runs two transactions side by side up to their commits; answers what became of both. */
async function side(
  db: Db,
  isolation: Isolation,
  one: (tx: Transaction) => Promise<unknown>,
  two: (tx: Transaction) => Promise<unknown>,
): Promise<string[]> {
  const [a, b] = [await db.begin({ isolation }), await db.begin({ isolation })];
  await one(a);
  await two(b);
  const ended = (tx: Transaction) => tx.commit().then(() => "ok", (error) => error.reason as string);
  return [await ended(a), await ended(b)];
}

describe("transaction conflicts", () => {
  it("lost update: of two that write one key the first to commit wins, at both levels", () =>
    withDb(async (db) => {
      for (const isolation of ["snapshot", "serializable"] as const) {
        await fill(db, "n=1");
        const add = (amount: number) => async (tx: Transaction) =>
          await tx.put("n", `${Number(text(await tx.get("n"))) + amount}`);
        assert.deepEqual(await side(db, isolation, add(10), add(100)), ["ok", "write"]);
        assert.equal(await allOf(db), "n=11");
      }
    }));

  it("write skew passes under snapshot isolation and is refused under serializable", () =>
    withDb(async (db) => {
      const leave = (mine: string, other: string) => async (tx: Transaction) => {
        if (text(await tx.get(other)) === "on call") await tx.put(mine, "away");
      };
      for (const [isolation, expected] of [["snapshot", ["ok", "ok"]], ["serializable", ["ok", "read"]]] as const) {
        await fill(db, "alice=on call", "bob=on call");
        assert.deepEqual(await side(db, isolation, leave("alice", "bob"), leave("bob", "alice")), expected);
      }
      assert.equal(await allOf(db), "alice=away bob=on call");
    }));

  it("K-20 a key that was not found counts as read, by get, getMany, getEntry and getCached", () =>
    withDb(async (db) => {
      const reads: Array<(tx: Transaction) => unknown> = [
        (tx) => tx.get("none"),
        (tx) => tx.getMany(["x", "none"]),
        (tx) => tx.getEntry("none"),
        (tx) => tx.getCached("none"),
      ];
      for (const read of reads) {
        const [tx, calm] = [await db.begin({ isolation: "serializable" }), await db.begin({ isolation: "snapshot" })];
        await read(tx);
        await read(calm);
        await fill(db, "none=1");
        for (const one of [tx, calm]) await one.put("own", "1");
        await conflictOf(tx.commit(), "read");
        await calm.commit();
        await db.delete("none");
      }
    }));

  const phantoms: ReadonlyArray<{
    readonly what: string;
    readonly scan: (tx: Transaction) => Promise<unknown>;
    readonly hits: readonly string[];
    readonly misses: readonly string[];
  }> = [
    {
      what: "a whole scan",
      scan: (tx) => tx.scan({ gte: "d", lt: "q" }).toArray(),
      hits: ["d", "e", "f", "pz"],
      misses: ["cz", "q"],
    },
    {
      what: "a scan that found nothing",
      scan: (tx) => tx.scan({ gt: "f", lt: "h" }).toArray(),
      hits: ["f\0", "g"],
      misses: ["f", "h"],
    },
    {
      what: "a descending scan that found nothing",
      scan: (tx) => tx.scan({ prefix: "g" }, { order: "descending" }).toArray(),
      hits: ["g", "gg"],
      misses: ["f", "h"],
    },
    {
      what: "a scan to its limit",
      scan: (tx) => tx.scan({ gte: "d" }, { limit: 2 }).toArray(),
      hits: ["d", "e", "f"],
      misses: ["c", "f\0", "h", "z"],
    },
    {
      what: "a descending scan to its limit",
      scan: (tx) => tx.scan({ lte: "q" }, { limit: 2, order: "descending" }).toArray(),
      hits: ["n", "o", "p", "q"],
      misses: ["mz", "h", "qq"],
    },
    {
      what: "an iteration that was broken off",
      scan: async (tx) => {
        for await (const { key } of tx.scan()) if (text(key) === "f") break;
      },
      hits: ["\0", "b", "d", "f"],
      misses: ["f\0", "h", "z"],
    },
    {
      what: "keys that were taken one by one",
      scan: async (tx) => {
        for await (const key of tx.scan({ gte: "c" }).keys()) if (text(key) === "h") break;
      },
      hits: ["c", "h"],
      misses: ["b", "i"],
    },
    {
      what: "batches",
      scan: async (tx) => {
        for await (const batch of tx.scan().batches(3)) if (batch.length === 3) break;
      },
      hits: ["a", "f"],
      misses: ["f\0", "h"],
    },
    {
      what: "an iterator that ran to its end",
      scan: async (tx) => {
        const scan = tx.scan({ gte: "m", lt: "w" }).iterator();
        while (await scan.next() !== undefined);
      },
      hits: ["m", "v"],
      misses: ["lz", "w"],
    },
    {
      what: "an iterator that was told to skip",
      scan: async (tx) => {
        const scan = tx.scan().iterator();
        await scan.next();
        await scan.seek("g");
        await scan.next();
      },
      hits: ["a", "b", "g", "h"],
      misses: ["b\0", "f", "fz", "h\0"],
    },
    {
      what: "a descending iterator that was told to skip",
      scan: async (tx) => {
        const scan = tx.scan({}, { order: "descending" }).iterator();
        await scan.next();
        await scan.seek("g");
        await scan.next();
      },
      hits: ["z", "p", "g", "f"],
      misses: ["g\0", "h", "n", "ez"],
    },
    {
      what: "an iterator that was not used",
      scan: (tx) => Promise.resolve(tx.scan().iterator()),
      hits: [],
      misses: ["d"],
    },
    { what: "a scan over own rows only", scan: (tx) => own(tx), hits: ["x1", "x2"], misses: ["x3"] },
  ];
  async function own(tx: Transaction): Promise<void> {
    await tx.put("x2", "own");
    await tx.scan({ prefix: "x" }, { limit: 1 }).toArray();
    await tx.unmarkWrite(["x2"]);
  }

  for (const { what, scan, hits, misses } of phantoms) {
    it(`K-20 ${what} has read exactly what it looked at, gaps included`, () =>
      withDb(async (db) => {
        await fill(db, "b=1", "d=2", "f=3", "h=4", "n=5", "p=6");
        await db.flush({ kind: "memtable" });
        for (const key of [...hits, ...misses]) {
          const [tx, calm] = [await db.begin({ isolation: "serializable" }), await db.begin({ isolation: "snapshot" })];
          await scan(tx);
          await scan(calm);
          const original = await db.get(key);
          await db.put(key, "changed");
          const outcome = await tx.commit().then(() => "ok", (error) => error.reason as string);
          assert.equal(outcome, hits.includes(key) ? "range" : "ok", `a write to ${JSON.stringify(key)}`);
          await calm.rollback();
          if (original === undefined) await db.delete(key);
          else await db.put(key, original);
        }
      }));
  }

  it("a phantom is seen whether it is put, deleted, merged or comes in a batch", () =>
    withDb(async (db) => {
      const writes: Array<() => Promise<unknown>> = [
        () => db.put("k", "1"),
        () => db.delete("k"),
        () => db.merge("k", "1"),
        () => db.write(new WriteBatch().put("a", "1").delete("k")),
        () => db.transact((tx) => tx.merge("k", "2")),
        () => db.put("k", "3", { ifSeq: db.status.lastSeq }),
      ];
      for (const write of writes) {
        const tx = await db.begin({ isolation: "serializable" });
        await tx.scan({ gte: "j", lt: "l" }).toArray();
        await write();
        await tx.put("own", "1");
        await conflictOf(tx.commit(), "range");
      }
    }));

  it("merges count as writes; deletes of absent keys too", () =>
    withDb(async (db) => {
      const merge = (tx: Transaction) => tx.merge("m", "+");
      assert.deepEqual(await side(db, "snapshot", merge, merge), ["ok", "write"]);
      const remove = (tx: Transaction) => tx.delete("none");
      assert.deepEqual(await side(db, "snapshot", remove, remove), ["ok", "write"]);
    }));

  it("unmarkWrite takes a key out on both sides, also one that is written afterwards", () =>
    withDb(async (db) => {
      const count = async (tx: Transaction) => {
        await tx.unmarkWrite(["hits"]);
        await tx.merge("hits", "+");
        await tx.put(tx.seq === 0 ? "a" : "b", "1");
      };
      const [one, two] = [await db.begin(), await db.begin({ isolation: "serializable" })];
      const reader = await db.begin({ isolation: "serializable" });
      await reader.get("hits");
      await count(one);
      await fill(db, "x=1");
      await count(two);
      await one.commit();
      await two.delete("a");
      await conflictOf(two.commit(), "write");
      assert.equal(await reader.commit(), undefined);
      assert.equal(await allOf(db), "a=1 hits=+ x=1");
    }));

  it("markRead counts under snapshot isolation as well", () =>
    withDb(async (db) => {
      const tx = await db.begin();
      await tx.markRead(["a", new TextEncoder().encode("b")]);
      await fill(db, "b=1");
      await conflictOf(tx.commit(), "read");
    }));

  it("a conflict names the first key in the way, the range, and the write that touched it", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      const begin = () => db.begin({ isolation: "serializable" });
      const [written, read, scanned] = [await begin(), await begin(), await begin()];
      await written.put("z", "1");
      await written.put("b", "1");
      await written.put("a", "1");
      await read.get(Uint8Array.of(0, 255));
      await scanned.scan({ gte: "c", lt: "e" }).toArray();
      await db.put("a", "2");
      await db.write(new WriteBatch().put("b", "2").put(Uint8Array.of(0, 255), "2").put("d".repeat(100), "2"));
      const first = await conflictOf(written.commit(), "write");
      assert.deepEqual([text(first.key), first.range, first.seq], ["b", undefined, 3]);
      assert.match(
        first.message,
        /write 3 touched key "b", which the transaction writes too\. Nothing was applied\. Run/,
      );
      const second = await conflictOf(read.commit(), "read");
      assert.deepEqual([second.key, second.seq], [Uint8Array.of(0, 255), 3]);
      assert.match(second.message, /key 0x00ff, which the transaction read\./);
      const third = await conflictOf(scanned.commit(), "range");
      assert.deepEqual([text(third.range?.gte), text(third.range?.lt), third.seq], ["c", "e", 3]);
      assert.match(third.message, /key "d{64}"… \(100 bytes\), which .* scanned \(from "c" to before "e"\)/);
    }));

  it("what was committed before a transaction began is not in its way", () =>
    withDb(async (db) => {
      const long = await db.begin();
      await fill(db, "a=1");
      const tx = await db.begin({ isolation: "serializable" });
      assert.equal(await allOf(tx), "a=1");
      await tx.put("a", "2");
      await tx.commit();
      assert.deepEqual(rows(await long.scan().toArray()), []);
      await long.put("a", "3");
      await conflictOf(long.commit(), "write");
    }));
});
