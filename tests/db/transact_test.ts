/** Transactions that are run again: after conflicts, failures of the body, and reopening. */
import { open } from "../../mod.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, conflictOf, refused, text, withDb } from "./transaction_world.ts";

describe("transact", () => {
  it("commits what the body did and answers what it answers", () =>
    withDb(async (db) => {
      const answer = await db.transact(async (tx) => {
        await tx.put("a", "1");
        return "yes";
      });
      assert.equal(answer, "yes");
      assert.equal(await allOf(db), "a=1");
    }));

  it("runs the body again after a conflict, so that no increment is lost", () =>
    withDb(async (db) => {
      let runs = 0;
      const increment = () =>
        db.transact(async (tx) => {
          runs++;
          const value = Number(text(await tx.get("n")) ?? "0");
          await tx.put("n", `${value + 1}`);
        }, { durable: false, retry: { times: 100, firstDelayMillis: 0, maxDelayMillis: 1 } });
      await Promise.all(Array.from({ length: 12 }, increment));
      assert.equal(text(await db.get("n")), "12");
      assert.ok(runs > 12, "there were conflicts");
    }));

  it("gives up after so many runs, with growing waits in between", async () => {
    const world = new World();
    const db = await world.open();
    const begun: number[] = [];
    const failing = (retry?: number | object) =>
      db.transact(async (tx) => {
        begun.push(world.clock.now());
        await tx.put("a", "mine");
        await db.put("a", "theirs", { durable: false });
      }, { durable: false, ...(retry === undefined ? {} : { retry }) });
    const outcome = await world.outcome(failing({ times: 6, firstDelayMillis: 100, maxDelayMillis: 1000 }), 60_000);
    assert.ok(outcome.ended === "error");
    assert.equal((outcome.error as { reason: string }).reason, "write");
    assert.equal(begun.length, 7);
    const waits = begun.slice(1).map((at, i) => at - begun[i]!);
    for (const [i, wait] of waits.entries()) {
      const longest = Math.min(1000, 100 * 2 ** i);
      assert.ok(wait >= longest / 2 - 1 && wait <= longest + 1, `wait ${i} is ${wait}`);
    }
    begun.length = 0;
    await conflictOf(world.get(failing(0)), "write");
    assert.equal(begun.length, 1);
    begun.length = 0;
    await conflictOf(world.get(failing(), 60_000), "write");
    assert.equal(begun.length, 11, "the default");
    await world.get(db.close());
  });

  it("rolls back and passes on what the body fails with, and does not run it again", () =>
    withDb(async (db) => {
      let runs = 0;
      const reason = new Error("mine");
      const failing = db.transact(async (tx) => {
        runs++;
        await tx.put("a", "1");
        throw reason;
      });
      await assert.rejects(failing, (error) => error === reason);
      const foreign = db.transact(async (tx) => {
        runs++;
        await db.put("k", "1");
        await tx.put("b", "1");
        await db.put("k", "2", { ifAbsent: true });
      });
      await conflictOf(foreign, "exists");
      assert.equal(runs, 2, "a conflict of something else is no reason to repeat");
      await assert.rejects(db.transact(() => Promise.reject(undefined)), (error) => error === undefined);
      assert.equal(await allOf(db), "k=1");
    }));

  it("leaves a body that ended the transaction the last word", () =>
    withDb(async (db) => {
      assert.equal(
        await db.transact(async (tx) => {
          await tx.put("a", "1");
          await tx.rollback();
          return "rolled back";
        }),
        "rolled back",
      );
      let runs = 0;
      await db.transact(async (tx) => {
        await tx.put("b", "1");
        if (++runs === 1) await db.put("b", "theirs");
        await tx.commit();
      });
      assert.equal(runs, 2, "its own conflict is a reason to repeat");
      assert.equal(await allOf(db), "b=1");
    }));

  it("refuses bad options before it begins", () =>
    withDb(async (db) => {
      const never = () => assert.fail("the body was run");
      for (
        const options of [
          { retry: -1 },
          { retry: 1.5 },
          { retry: { times: 2000 } },
          { retry: { delay: 3 } },
          { retry: { firstDelayMillis: 10, maxDelayMillis: 5 } },
          { isolation: "chaos" },
          { signal: 1 },
        ]
      ) await refused(db.transact(never as never, options as never), "InvalidArgument", "options");
      await db.close();
      await refused(db.transact(never as never), "Closed", "clean");
    }));

  it("K-15 a transaction that outlived the history is refused, and its repetition goes through", () =>
    withDb(async (db) => {
      let runs = 0;
      await db.transact(async (tx) => {
        const times = runs++ === 0 ? 200 : 1;
        await tx.put("mine", `${runs}`);
        for (let i = 0; i < times; i++) await db.put(`k${i}`, "x", { durable: false });
      });
      assert.equal(runs, 2);
      const tx = await db.begin();
      await tx.put("mine", "3");
      for (let i = 0; i < 200; i++) await db.put(`k${i}`, "x", { durable: false });
      const error = await conflictOf(tx.commit(), "history-lost");
      assert.match(error.message, /conflictHistoryBytes/);
      const reader = await db.begin();
      for (let i = 0; i < 200; i++) await db.put(`k${i}`, "y", { durable: false });
      assert.equal(text(await reader.get("k1")), "x", "reads go on");
      assert.equal(await reader.commit(), undefined, "and what claims nothing cannot be in anybody's way");
    }, { conflictHistoryBytes: 2048 }));

  it("takes a database through reopening: committed transactions are whole", async () => {
    const store = memoryStore();
    for (let round = 0; round < 3; round++) {
      const db = await open({ store, path: "" }, { compactor: false, garbageCollector: false });
      await db.transact(async (tx) => {
        const value = Number(text(await tx.get("a")) ?? "0");
        assert.equal(Number(text(await tx.get("b")) ?? "0"), value);
        await tx.put("a", `${value + 1}`);
        await tx.put("b", `${value + 1}`);
      }, { isolation: "serializable" });
      assert.equal(db.status.lastSeq, round + 1);
      await db.close();
    }
  });
});
