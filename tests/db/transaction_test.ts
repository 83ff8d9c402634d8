import { Effect } from "effect";
import { NOT_CACHED } from "../../src/db/api.ts";
import { effectFace } from "../../src/db/effect.ts";
import { promiseFace } from "../../src/db/promise.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, append, conflictOf, fill, openDatabase, refused, rows, text, withDb } from "./transaction_world.ts";

describe("transaction reads", () => {
  for (const place of ["memory", "tables"] as const) {
    it(`X6 see the beginning with own writes on top, committed rows in ${place}`, () =>
      withDb(async (db) => {
        await fill(db, "a=1", "b=2", "c=3", "m=x", "n=y");
        if (place === "tables") await db.flush({ kind: "memtable" });
        const tx = await db.begin();
        await fill(db, "a=later", "z=later");
        assert.equal(await allOf(tx), "a=1 b=2 c=3 m=x n=y");
        await tx.put("b", "own");
        await tx.delete("c");
        await tx.merge("m", "1");
        await tx.merge("m", "2");
        await tx.delete("n");
        await tx.merge("n", "3");
        await tx.merge("q", "4");
        await tx.put("aa", "new");
        assert.equal(await allOf(tx), "a=1 aa=new b=own m=x12 n=3 q=4");
        const down = await tx.scan({ gte: "aa", lt: "q" }, { order: "descending" }).toArray();
        assert.deepEqual(rows(down), ["n=3", "m=x12", "b=own", "aa=new"]);
        const many = await tx.getMany(["m", "c", "b", "z", "n", "a"]);
        assert.deepEqual(many.map(text), ["x12", undefined, "own", undefined, "3", "1"]);
        assert.equal(text(await tx.get("m")), "x12");
        const cached = tx.getCached("b");
        assert.ok(cached !== NOT_CACHED && text(cached) === "own");
        const [own, mixed, other] = [await tx.getEntry("b"), await tx.getEntry("m"), await tx.getEntry("a")];
        assert.deepEqual(
          [own!.seq, own!.createdAt, mixed!.seq, other!.seq],
          [0, 0, 0, 1],
          "no numbers before the commit",
        );
        assert.ok((await tx.scan().toArray()).every(({ seq }) => Number.isInteger(seq)));
        assert.equal((await db.get("m") as Uint8Array).length, 1, "invisible to others");
        const { seq } = (await tx.commit())!;
        assert.equal(seq, db.status.lastSeq);
        assert.equal(await allOf(db), "a=later aa=new b=own m=x12 n=3 q=4 z=later");
        assert.deepEqual(
          (await db.scan({ gte: "aa", lte: "q" }).toArray()).map((entry) => entry.seq),
          Array(5).fill(seq),
          "one number for all",
        );
      }));
  }

  it("X6 a scan does not see what is written after it began, whatever it has read already", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "c=3", "e=5");
      const tx = await db.begin({ isolation: "serializable" });
      await tx.put("b", "own");
      await tx.merge("e", "+");
      const scan = tx.scan().iterator();
      assert.equal(text((await scan.next())!.key), "a");
      await tx.put("b", "changed");
      await tx.put("d", "new");
      await tx.merge("e", "+");
      await tx.delete("c");
      const rest = [await scan.next(), await scan.next(), await scan.next()];
      assert.deepEqual(rows(rest.map((entry) => entry!)), ["b=own", "c=3", "e=5+"]);
      assert.equal(await scan.next(), undefined);
      assert.equal(await allOf(tx), "a=1 b=changed d=new e=5++");
      await tx.rollback();
    }));

  it("X6 own writes in any number and order read as a batch of them would be written", () =>
    withDb(async (db) => {
      await fill(db, "k0=a", "k1=b");
      const tx = await db.begin();
      const model: Record<string, string> = { k0: "a", k1: "b" };
      for (let i = 0; i < 300; i++) {
        const key = `k${i % 7}`;
        if (i % 5 === 3) {
          await tx.delete(key);
          delete model[key];
        } else if (i % 3 === 0) {
          await tx.put(key, `${i}`);
          model[key] = `${i}`;
        } else {
          await tx.merge(key, `+${i}`);
          model[key] = `${model[key] ?? ""}+${i}`;
        }
        const expected = Object.entries(model).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => `${k}=${v}`).join(
          " ",
        );
        assert.equal(await allOf(tx), expected);
      }
      const seen = await allOf(tx);
      await tx.commit();
      assert.equal(await allOf(db), seen);
    }));

  it("K-21 durable reads repeat, own writes are seen by them too", () =>
    withDb(async (db) => {
      await db.put("a", "1");
      await db.put("b", "2", { durable: false });
      await db.put("a", "1+", { durable: false });
      const tx = await db.begin();
      const durable = { durability: "durable" } as const;
      assert.deepEqual(rows(await tx.scan({}, durable).toArray()), ["a=1"]);
      await tx.put("c", "own");
      await db.flush({ kind: "memtable" });
      await db.put("a", "later");
      await db.compact();
      assert.equal(text(await tx.get("a")), "1+");
      assert.equal(text(await tx.get("b", durable)), undefined, "the bound is frozen");
      assert.equal(text(await tx.get("b")), "2");
      assert.equal(text(await tx.get("c", durable)), "own");
      assert.deepEqual(rows(await tx.scan({}, durable).toArray()), ["a=1", "c=own"]);
      await tx.rollback();
    }, { flushIntervalMillis: null }));

  it("K-21 keep the versions that they need through flushes, compactions and collections", async () => {
    const world = new World({ compactor: {}, garbageCollector: {}, mergeOperator: append });
    const db = await world.open();
    for (const key of ["a", "b", "c"]) await world.get(db.put(key, "old"));
    await world.get(db.merge("b", "+"));
    await world.get(db.flush({ kind: "memtable" }));
    const tx = await db.begin({ isolation: "serializable" });
    const scan = tx.scan().iterator();
    assert.equal(text((await world.get(scan.next()))!.value), "old");
    await world.get(tx.merge("b", "own"));
    for (let round = 0; round < 5; round++) {
      for (const key of ["a", "b", "c", "d"]) await world.get(db.put(key, `${round}`));
      await world.get(db.delete("c"));
      await world.get(db.flush({ kind: "memtable" }));
      await world.get(db.compact(), 60_000);
      await world.clock.advance(3_600_000);
      await world.get(db.collectGarbage(), 60_000);
      assert.deepEqual(rows(await world.get(tx.scan().toArray())), ["a=old", "b=old+own", "c=old"]);
      assert.equal(text(await world.get(tx.get("c"))), "old");
    }
    assert.equal(text((await world.get(scan.next()))!.value), "old+", "of before its own operand");
    assert.equal(text((await world.get(scan.next()))!.key), "c");
    await conflictOf(world.get(tx.commit()), "write");
    await world.get(db.close(), 60_000);
  });

  it("hide what expires, and count a lifetime of own rows from the commit", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("short", "1", { ttl: { afterMillis: 1000 } }));
    const tx = await db.begin();
    await tx.put("relative", "2", { ttl: { afterMillis: 100 } });
    await tx.put("past", "3", { ttl: { atMillis: world.clock.now() } });
    assert.equal(await allOf(tx), "relative=2 short=1");
    await world.clock.advance(5000);
    assert.equal(await allOf(tx), "relative=2");
    const { createdAt } = (await world.get(tx.commit()))!;
    assert.equal((await db.getEntry("relative"))?.expiresAt, createdAt + 100);
    await world.get(db.close());
  });

  it("fail alone when the merge operator fails on their key", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      const tx = await db.begin();
      await tx.merge("bad", "!");
      await tx.merge("a", "+");
      await refused(tx.get("bad"), "InvalidArgument", "merge-operator-failed");
      assert.equal(text(await tx.get("a")), "1+");
      await refused(tx.scan().toArray(), "InvalidArgument", "merge-operator-failed");
      assert.deepEqual(rows(await tx.scan({ lt: "b" }).toArray()), ["a=1+"]);
      await tx.rollback();
    }));
});

describe("transaction", () => {
  it("ends with commit and rollback: later calls are refused and change nothing", () =>
    withDb(async (db) => {
      const ended = await db.begin();
      await ended.put("a", "1");
      const scan = ended.scan().iterator();
      await ended.commit();
      const rolledBack = await db.begin();
      await rolledBack.put("b", "1");
      await rolledBack.rollback();
      for (const tx of [ended, rolledBack]) {
        const calls = [
          tx.put("x", "1"),
          tx.delete("x"),
          tx.merge("x", "1"),
          tx.get("a"),
          tx.getMany(["a"]),
          tx.scan().toArray(),
          tx.markRead(["a"]),
          tx.unmarkWrite(["a"]),
          tx.commit(),
        ];
        for (const call of calls) await refused(call, "InvalidArgument", "transaction-ended");
        await tx.rollback();
        await tx[Symbol.asyncDispose]();
      }
      await refused(scan.next(), "InvalidArgument", "transaction-ended");
      assert.equal(await allOf(db), "a=1");
      assert.equal(db.status.lastSeq, 1);
    }));

  it("without writes commits to nothing and takes no number", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      for (const isolation of ["snapshot", "serializable"] as const) {
        const tx = await db.begin({ isolation });
        assert.deepEqual([tx.isolation, tx.seq], [isolation, 1]);
        await tx.get("a");
        assert.equal(await tx.commit(), undefined);
      }
      assert.equal(db.status.lastSeq, 1);
      assert.equal((await db.begin()).isolation, "snapshot", "the default");
    }));

  it("refuses bad arguments at the call and stays usable", () =>
    withDb(async (db) => {
      const tx = await db.begin();
      await refused(tx.put("", "x"), "InvalidArgument", "key-empty");
      await refused(tx.put("a", "x", { durable: false } as object), "InvalidArgument", "options");
      await refused(tx.put("a", "x", { ifAbsent: true } as object), "InvalidArgument", "options");
      await refused(tx.put("a", "x", { ttl: { afterMillis: -1 } }), "InvalidArgument", "ttl");
      await refused(tx.markRead(["a", ""]), "InvalidArgument", "key-empty");
      await refused(tx.unmarkWrite("a" as unknown as string[]), "InvalidArgument", "keys");
      await refused(tx.put("a", "x".repeat(9000)), "InvalidArgument", "batch-too-large");
      await refused(tx.commit({ durabel: true } as object), "InvalidArgument", "options");
      await refused(db.begin({ isolation: "none" } as object), "InvalidArgument", "options");
      await refused(db.begin({ level: "snapshot" } as object), "InvalidArgument", "options");
      await tx.put("a", "1");
      await tx.commit();
      assert.equal(await allOf(db), "a=1");
    }, { l0SstSizeBytes: 4000, maxUnflushedBytes: 8000 }));

  it("K-24 merge needs an operator at the call; K-23 operands of different lifetimes are all kept", async () => {
    await withDb(async (db) => {
      const tx = await db.begin();
      await refused(tx.merge("a", "1"), "InvalidArgument", "merge-operator-missing");
      await tx.rollback();
    }, { mergeOperator: undefined as never });
    await withDb(async (db) => {
      const tx = await db.begin();
      await tx.merge("a", "1", { ttl: { afterMillis: 10_000 } });
      await tx.merge("a", "2");
      await tx.merge("a", "3", { ttl: { afterMillis: 100_000 } });
      const { createdAt } = (await tx.commit())!;
      const entry = (await db.getEntry("a"))!;
      assert.deepEqual([text(entry.value), entry.expiresAt], ["123", createdAt + 10_000]);
    });
  });

  it("a failing merge operator fails the commit: nothing is applied, no number taken, the database goes on", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      const tx = await db.begin();
      await tx.put("b", "2");
      await tx.merge("c", "+");
      await tx.merge("c", "!");
      await refused(tx.commit(), "InvalidArgument", "merge-operator-failed");
      await refused(tx.get("a"), "InvalidArgument", "transaction-ended");
      assert.equal((await db.put("d", "4")).seq, 2);
      assert.equal(await allOf(db), "a=1 d=4");
    }));

  it("K-8 a refused commit takes no number", () =>
    withDb(async (db) => {
      await fill(db, "a=1");
      const tx = await db.begin();
      await tx.put("a", "mine");
      await fill(db, "a=2");
      await conflictOf(tx.commit(), "write");
      assert.equal((await db.put("b", "3")).seq, 3);
      await db.flush({ kind: "memtable" });
    }));

  it("a commit may leave durability for later", () =>
    withDb(async (db) => {
      const tx = await db.begin();
      await tx.put("a", "1");
      const result = (await tx.commit({ durable: false }))!;
      assert.ok(db.status.durableSeq < result.seq);
      await db.flush();
      await result.durable;
      assert.equal(db.status.durableSeq, result.seq);
    }, { flushIntervalMillis: null }));

  it("C1 ends with the database: its calls answer Closed, whatever they wait for", async () => {
    const world = new World({ l0SstSizeBytes: 400, maxUnflushedBytes: 800, requestTimeoutMillis: 1000 });
    const db = await world.open();
    const [idle, waiting] = [await db.begin(), await db.begin()];
    await waiting.put("w", "1");
    world.store.controls.setOutage(true);
    const filler = Array.from({ length: 12 }, (_, i) => db.put(`f${i}`, "x".repeat(90), { durable: false }));
    const fillers = filler.map((write) => write.catch(() => {}));
    await world.clock.advance(10);
    assert.equal(db.status.backpressure, true);
    const commit = waiting.commit();
    commit.catch(() => {});
    await world.outcome(db.close(), 20_000);
    assert.equal((await world.error(commit) as { _tag: string })._tag, "Closed");
    for (const call of [() => idle.get("a"), () => idle.put("a", "1"), () => idle.commit()]) {
      assert.equal((await world.error(call()) as { _tag: string })._tag, "Closed");
    }
    await idle.rollback();
    await idle[Symbol.asyncDispose]();
    await Promise.all(fillers);
  });

  it("X2 leaves nothing behind, however it ends: no protected version and no history", async () => {
    const world = new World({ mergeOperator: append, blockCacheBytes: 0 });
    const opened = await openDatabase(world);
    const db = promiseFace(opened);
    const { snapshots, conflicts } = opened.engine.parts.state;
    const begun = async () => {
      const tx = await db.begin({ isolation: "serializable" });
      await tx.get("a");
      await tx.put("a", "1");
      assert.deepEqual([snapshots.size, conflicts.isActive], [1, true]);
      return tx;
    };
    await world.get(db.put("cold", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    const endings: Array<() => Promise<unknown>> = [
      async () => await (await begun()).commit(),
      async () => await (await begun()).rollback(),
      async () => await (await begun())[Symbol.asyncDispose](),
      async () => {
        const tx = await begun();
        await tx.merge("b", "+");
        await tx.merge("b", "!");
        await refused(tx.commit(), "InvalidArgument", "merge-operator-failed");
      },
      async () => {
        const tx = await begun();
        await db.put("a", "theirs");
        await conflictOf(tx.commit());
      },
      async () => await (await db.begin()).commit(),
      async () => await db.transact((tx) => tx.get("a")),
      async () => await db.transact(() => Promise.reject(new Error("mine"))).catch(() => {}),
      async () => await db.put("cold", "2", { ifSeq: 1 }),
      async () => await conflictOf(db.put("cold", "3", { ifSeq: 1 })),
      async () => {
        await db.flush({ kind: "memtable" });
        await conflictOf(db.put("cold", "3", { ifAbsent: true }));
      },
    ];
    for (const [i, end] of endings.entries()) {
      await world.get(end());
      assert.deepEqual([snapshots.size, conflicts.isActive, conflicts.bytes], [0, false, 0], `ending ${i}`);
    }
    await world.get(db.close());
  });

  it("is rolled back with its scope on the Effect face, and committed inside it", () =>
    withDb(async () => {
      const { Db, ObjectStore } = await import("../../mod.ts");
      const store = memoryStore();
      const program = Effect.scoped(Effect.gen(function* () {
        const db = yield* Db.open({ compactor: false, garbageCollector: false });
        yield* Effect.scoped(Effect.gen(function* () {
          const tx = yield* db.begin();
          yield* tx.put("lost", "1");
        }));
        const left = yield* db.begin({ isolation: "serializable" });
        yield* left.put("a", "1");
        const result = yield* left.commit({ durable: false });
        assert.equal(result?.seq, 1);
        const error = yield* Effect.flip(left.put("b", "1"));
        assert.equal(error.reason, "transaction-ended");
        const body = db.transact((tx) =>
          Effect.gen(function* () {
            const value = yield* tx.get("a");
            yield* tx.put("a", `${text(value)}!`);
            return "done";
          })
        );
        assert.equal(yield* body, "done");
        assert.equal(text(yield* db.get("a")), "1!");
        assert.equal(yield* db.get("lost"), undefined);
      }));
      await Effect.runPromise(Effect.provideService(program, ObjectStore, store));
    }));
});

describe("transaction commits that wait", () => {
  const full = { l0SstSizeBytes: 400, maxUnflushedBytes: 800, flushIntervalMillis: null } as const;

  it("X5 A1 keep their place among the writes and are checked when their turn comes", async () => {
    const world = new World(full);
    const db = await world.open();
    await world.get(db.put("a", "0"));
    const before = await db.begin({ isolation: "serializable" });
    await before.get("a");
    await before.put("b", "before");
    const after = await db.begin({ isolation: "serializable" });
    await after.get("a");
    await after.put("b2", "after");
    world.store.controls.setOutage(true);
    const fillers = Array.from({ length: 8 }, (_, i) => db.put(`f${i}`, "x".repeat(120), { durable: false }));
    await world.clock.advance(10);
    assert.equal(db.status.backpressure, true);
    const first = before.commit({ durable: false });
    const write = db.put("a", "1", { durable: false });
    const second = after.commit({ durable: false });
    second.catch(() => {});
    await refused(before.put("b", "too late"), "InvalidArgument", "transaction-ended");
    await refused(before.commit(), "InvalidArgument", "transaction-ended");
    world.store.controls.setOutage(false);
    await world.get(Promise.all(fillers), 60_000);
    const [{ seq } = { seq: 0 }, put] = [await world.get(first), await world.get(write)];
    assert.equal(put.seq, seq + 1, "in the order of the calls");
    const conflict = await conflictOf(world.get(second), "read");
    assert.equal(conflict.seq, put.seq, "with the write that was called between them");
    assert.equal(await world.get(db.get("b2")), undefined);
    await world.get(db.close(), 60_000);
  });

  it("X5 K-22 who stops waiting for a commit stops nothing: it is checked, applied, and in others' way", async () => {
    const world = new World(full);
    const opened = await openDatabase(world);
    const face = effectFace(opened);
    const { runtime } = opened.engine.parts;
    const [one, two, three] = [opened.begin(), opened.begin(), opened.begin()];
    for (const [tx, value] of [[one, "one"], [two, "two"], [three, "three"]] as const) tx.put("k", value);
    world.store.controls.setOutage(true);
    for (let i = 0; i < 8; i++) opened.engine.writes.put(`f${i}`, "x".repeat(120), { durable: false });
    const commits = [one, two].map((tx) =>
      runtime.fork(Effect.suspend(() => {
        const accepted = tx.commit({ durable: false })!;
        return "ready" in accepted ? accepted.ready.wait : Effect.void;
      }))
    );
    await world.clock.settle();
    for (const fiber of commits) fiber.interruptUnsafe();
    await world.clock.settle();
    world.store.controls.setOutage(false);
    for (let i = 0; i < 100; i++) await world.clock.advance(100);
    assert.equal(text(await world.get(runtime.promise(face.get("k")))), "one", "the second was refused");
    assert.throws(() => three.commit(), (error) => (error as { reason: string }).reason === "write");
    await world.get(runtime.promise(face.close), 60_000);
  });
});
