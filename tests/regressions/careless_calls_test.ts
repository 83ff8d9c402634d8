/**
 * Calls with bad arguments and operators with bad manners: the call is refused, the database stays open.
 *
 * @module
 */
import { Effect } from "effect";
import {
  Closed,
  Db as DbService,
  InvalidArgument,
  type MergeOptions,
  ObjectStore,
  open,
  type Transaction,
  WriteBatch,
} from "../../mod.ts";
import type { Bytes, Db, PutOptions, WriteOptions } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";

/** Even turning it into a string throws. */
const unprintable: unknown = Object.create(null);
const refusedWith = (reason: string) => (error: unknown) => error instanceof InvalidArgument && error.reason === reason;

async function withDb(options: OpenOptions, body: (db: Db) => Promise<void>): Promise<void> {
  const db = await open({ store: memoryStore(), path: "" }, { clock: virtualClock(1_000), ...options });
  await body(db);
  assert.equal(db.status.closeReason, undefined);
  await db.close();
}

describe("a write with bad options is refused, and the next one takes its number:", () => {
  const bad: Array<[string, string, (db: Db) => Promise<unknown>]> = [
    ["null", "options", (db) => db.put("k", "v", null as unknown as PutOptions)],
    ["null for a delete", "options", (db) => db.delete("k", null as unknown as WriteOptions)],
    ["an option of another engine", "options", (db) => db.put("k", "v", { awaitDurable: true } as PutOptions)],
    ["a misspelt option", "options", (db) => db.put("k", "v", { durabel: false } as PutOptions)],
    ["an option of puts for a batch", "options", (db) => {
      return db.write(new WriteBatch().put("k", "v"), { ttl: "none" } as WriteOptions);
    }],
    ["a lifetime that cannot be printed", "ttl", (db) => {
      return db.put("k", "v", { ttl: { afterMillis: unprintable } as { afterMillis: number } });
    }],
    ["a time that cannot be printed", "ttl", (db) => {
      return db.put("k", "v", { ttl: { atMillis: unprintable } as { atMillis: number } });
    }],
  ];
  for (const [name, reason, call] of bad) {
    it(name, () =>
      withDb({}, async (db) => {
        await db.put("a", "1");
        await assert.rejects(call(db), refusedWith(reason));
        assert.equal((await db.put("a", "2")).seq, 2);
      }));
  }
});

describe("a batch refuses options that it would not honour, and stays as it was:", () => {
  const bad: Array<[string, unknown]> = [
    ["a condition", { ifAbsent: true }],
    ["a condition on a version", { ifSeq: 1 }],
    ["durability, which belongs to the write", { durable: false }],
    ["a misspelt lifetime", { tll: 1 }],
    ["null", null],
  ];
  for (const [name, given] of bad) {
    it(name, () => {
      const batch = new WriteBatch().put("a", "1", {});
      const options = given as { ttl?: "none" };
      assert.throws(() => batch.put("b", "x", options), refusedWith("options"));
      assert.throws(() => batch.merge("b", "x", options), refusedWith("options"));
      assert.equal(batch.size, 1);
      assert.equal(batch.merge("b", "x", { ttl: "none" }).put("c", "x", { ttl: { afterMillis: 1 } }).size, 3);
    });
  }
});

it("a merge has options of its own, without the conditions of a put", () =>
  withDb({ mergeOperator: (_key, _existing, operand) => operand }, async (db) => {
    const options: MergeOptions = { ttl: "none", durable: false };
    await db.merge("k", "v", options);
    // @ts-expect-error: a condition of puts
    await assert.rejects(db.merge("k", "v", { ifAbsent: true }), refusedWith("options"));
    // @ts-expect-error: likewise
    await assert.rejects(db.merge("k", "v", { ifSeq: 1 }), refusedWith("options"));
  }));

describe("keys that are no keys are refused", () => {
  const noKeys = [undefined, null, 7] as unknown as Bytes[];
  const noArrays = ["abc", null, undefined, new Set(["a"])] as unknown as string[][];

  it("by a cursor, which stays where it was, and by getMany", () =>
    withDb({}, async (db) => {
      await db.put("a", "1");
      await db.put("b", "2");
      const cursor = await db.cursor();
      assert.equal(text((await cursor.next())?.key), "a");
      for (const key of noKeys) {
        await assert.rejects(cursor.seekGE(key), refusedWith("not-bytes"));
        await assert.rejects(cursor.seekLT(key), refusedWith("not-bytes"));
      }
      assert.equal(text((await cursor.next())?.key), "b");
      await cursor.close();
      const tx = await db.begin({ isolation: "serializable" });
      for (const keys of noArrays) {
        for (const call of [db.getMany(keys), tx.getMany(keys), tx.markRead(keys), tx.unmarkWrite(keys)]) {
          await assert.rejects(call, (error) => refusedWith("keys")(error) && /give an array of keys/.test(`${error}`));
        }
      }
      await tx.rollback();
    }));

  effectTest("on the Effect face", () =>
    Effect.gen(function* () {
      const db = yield* DbService.open({ compactor: false });
      yield* db.put("a", "1");
      const cursor = yield* db.cursor();
      for (const key of noKeys) {
        assert.equal((yield* Effect.flip(cursor.seekGE(key))).reason, "not-bytes");
        assert.equal((yield* Effect.flip(cursor.seekLT(key))).reason, "not-bytes");
      }
      assert.equal(text((yield* cursor.seekGE("a"))?.key), "a");
      for (const keys of noArrays) {
        const error = yield* Effect.flip(db.getMany(keys));
        assert.deepEqual([error._tag, error.reason], ["InvalidArgument", "keys"]);
      }
    }).pipe(Effect.scoped, Effect.provideService(ObjectStore, memoryStore())));
});

describe("a scan in batches", () => {
  for (const size of [0, -1, 1.5, NaN, Infinity]) {
    it(`of ${size} rows is refused, instead of yielding nothing or for ever`, () =>
      withDb({}, async (db) => {
        await db.put("a", "1");
        await assert.rejects(async () => {
          for await (const batch of db.scan().batches(size)) assert.ok(batch.length > 0, "an empty batch");
        }, refusedWith("options"));
      }));
  }
});

describe("a merge operator", () => {
  const operands = () => new WriteBatch().merge("m", "a").merge("m", "b");

  it("that throws what cannot be printed fails its write only", () => {
    const mergeOperator = () => {
      throw unprintable;
    };
    return withDb({ mergeOperator }, async (db) => {
      await assert.rejects(db.write(operands()), refusedWith("merge-operator-failed"));
      assert.equal((await db.put("a", "1")).seq, 1);
    });
  });

  it("may look other keys up: the row it is asked for keeps its number and times", async () => {
    const clock = virtualClock(1_000);
    let db: Db | undefined = undefined;
    let lookUps = 0;
    const mergeOperator = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) => {
      if (db !== undefined && typeof db.getCached("other") === "object") lookUps++;
      return new Uint8Array([...(existing ?? []), ...operand]);
    };
    await withDb({ clock, mergeOperator, flushIntervalMillis: null }, async (opened) => {
      await opened.merge("m", "a");
      await opened.merge("m", "b");
      await clock.advance(5_000);
      await opened.put("other", "far longer than the operands", { ttl: { afterMillis: 60_000 } });
      db = opened;
      const entry = await opened.getEntry("m");
      assert.ok(lookUps > 0);
      assert.deepEqual([text(entry?.value), entry?.seq, entry?.createdAt], ["ab", 2, 1_000]);
      assert.equal(entry?.expiresAt, undefined);
    });
  });

  it("cannot write while its own write is applied: sequence numbers and times rise together", async () => {
    const clock = virtualClock(1_000);
    const inner: Array<Promise<unknown>> = [];
    let db: Db | undefined = undefined;
    const mergeOperator = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) => {
      if (db !== undefined && inner.length === 0) {
        const writes = [() => db!.put("inner", "1"), () => db!.delete("m"), () => db!.write(operands())];
        for (const write of writes) {
          inner.push(write());
          inner.at(-1)!.catch(() => {});
        }
      }
      return new Uint8Array([...(existing ?? []), ...operand]);
    };
    await withDb({ clock, mergeOperator }, async (opened) => {
      db = opened;
      assert.equal((await db.write(operands())).seq, 1);
      assert.equal(inner.length, 3);
      for (const write of inner) await assert.rejects(write, refusedWith("reentrant"));
      assert.equal(text(await db.get("m")), "ab");
      assert.equal(await db.get("inner"), undefined);
      assert.equal((await db.put("after", "1")).seq, 2);
    });
  });
});

describe("a merge operator that is called by the commit of its transaction", () => {
  for (const rangeDeletes of ["native", "expand"] as const) {
    it(`can neither change nor end it: nothing is accepted and lost, ${rangeDeletes}`, async () => {
      const inner: Array<Promise<unknown>> = [];
      let tx: Transaction | undefined = undefined;
      const mergeOperator = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) => {
        if (tx !== undefined && inner.length === 0) {
          inner.push(tx.put("inner", "1"), tx.delete("a"), tx.merge("m", "c"), tx.deleteRange({ gte: "a" }));
          inner.push(tx.markRead(["a"]), tx.unmarkWrite(["m"]), tx.commit(), tx.rollback());
          for (const call of inner) call.catch(() => {});
        }
        return new Uint8Array([...(existing ?? []), ...operand]);
      };
      await withDb({ mergeOperator, rangeDeletes }, async (db) => {
        const begun = await db.begin();
        await begun.deleteRange({ gte: "x" });
        await begun.merge("m", "a");
        await begun.merge("m", "b");
        tx = begun;
        assert.equal((await begun.commit())?.seq, 1);
        assert.equal(inner.length, 8);
        for (const call of inner) await assert.rejects(call, refusedWith("reentrant"));
        assert.equal(text(await db.get("m")), "ab");
        assert.equal(await db.get("inner"), undefined);
        await begun.rollback();
        await assert.rejects(begun.put("a", "1"), refusedWith("transaction-ended"));
      });
    });
  }
});

it("what only looks like true is refused where writes are told to be durable", () =>
  withDb({ mergeOperator: (_key, _existing, operand) => operand }, async (db) => {
    const tx = await db.begin();
    await tx.put("a", "1");
    for (const durable of ["x", null, 0, 1, {}] as never[]) {
      const calls = [
        db.put("a", "1", { durable }),
        db.put("a", "1", { ifAbsent: true, durable }),
        db.delete("a", { durable }),
        db.merge("a", "1", { durable }),
        db.deleteRange({ gte: "a" }, { durable }),
        db.write(new WriteBatch().put("a", "1"), { durable }),
        tx.commit({ durable }),
        (await db.begin()).commit({ durable }),
        db.transact((body) => body.put("a", "1"), { durable }),
        db.transact(() => Promise.resolve(), { durable }),
      ];
      for (const call of calls) await assert.rejects(call, refusedWith("options"));
    }
    assert.equal(db.status.lastSeq, 0);
    assert.equal((await tx.commit({ durable: false }))?.seq, 1);
  }));

it("an iterator ends like a cursor, by close or dispose, as often as one likes", () =>
  withDb({}, async (db) => {
    await db.put("a", "1");
    await db.put("b", "2");
    for (const way of ["close", "return", Symbol.asyncDispose] as const) {
      const rows = db.scan().iterator();
      assert.equal(text((await rows.next())?.key), "a");
      await rows[way]();
      assert.equal(await rows.next(), undefined);
      await rows.close();
    }
  }));

it("a closed cursor says that it is the cursor that was closed, and what to do", () =>
  withDb({}, async (db) => {
    const cursor = await db.cursor();
    await cursor.close();
    for (const call of [cursor.next(), cursor.seekGE("a"), cursor.close()]) {
      await assert.rejects(call, (error) =>
        error instanceof Closed && /cursor was closed. Open another/.test(error.message));
    }
    await db.put("a", "1");
  }));
