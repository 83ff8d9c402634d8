import { InvalidArgument } from "../../src/errors.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, append, conflictOf, fill, refused, text, withDb } from "./transaction_world.ts";

describe("conditional put", () => {
  it("ifAbsent puts only what is not there, deleted keys and expired rows included", async () => {
    const world = new World({ mergeOperator: append });
    const db = await world.open();
    const put = (key: string, value: string) => world.get(db.put(key, value, { ifAbsent: true }));
    assert.equal((await put("a", "1")).seq, 1);
    const conflict = await conflictOf(put("a", "2"), "exists");
    assert.deepEqual([text(conflict.key), conflict.seq], ["a", 1]);
    assert.match(conflict.message, /key "a" has version 1, and .* absent \(ifAbsent\)/);
    await world.get(db.delete("a"));
    assert.equal((await put("a", "3")).seq, 3, "a refused put takes no number");
    await world.get(db.merge("m", "+"));
    await conflictOf(put("m", "x"), "exists");
    await world.get(db.put("t", "1", { ttl: { afterMillis: 10 } }));
    await conflictOf(put("t", "2"), "exists");
    await world.clock.advance(11);
    await put("t", "3");
    assert.equal(await allOf(db), "a=3 m=+ t=3");
    await world.get(db.close());
  });

  it("ifSeq puts only over the version that it names", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=1");
      const { seq } = (await db.getEntry("a"))!;
      const next = await db.put("a", "2", { ifSeq: seq });
      const stale = await conflictOf(db.put("a", "3", { ifSeq: seq }), "seq");
      assert.deepEqual([stale.seq, text(stale.key)], [next.seq, "a"]);
      await db.merge("a", "+");
      await conflictOf(db.put("a", "3", { ifSeq: next.seq }), "seq");
      await db.put("a", "4", { ifSeq: (await db.getEntry("a"))!.seq });
      const gone = await conflictOf(db.put("none", "3", { ifSeq: 1 }), "seq");
      assert.equal(gone.seq, 0);
      await db.delete("b");
      await conflictOf(db.put("b", "3", { ifSeq: 2 }), "seq");
      assert.equal(await allOf(db), "a=4");
    }));

  it("needs no operator and runs none to find the version of a key with operands", () =>
    withDb(async (db) => {
      const { seq } = await db.merge("a", "!");
      await conflictOf(db.put("a", "1", { ifAbsent: true }), "exists");
      await db.put("a", "1", { ifSeq: seq });
      assert.equal(await allOf(db), "a=1");
    }, { mergeOperator: "elsewhere" }));

  it("refuses conditions that make no sense, at the call", () =>
    withDb(async (db) => {
      const bad = [{ ifSeq: 0 }, { ifSeq: 1.5 }, { ifSeq: "1" }, { ifAbsent: 1 }, { ifAbsent: true, ifSeq: 1 }];
      for (const options of bad) await refused(db.put("a", "1", options as never), "InvalidArgument", "options");
      await refused(db.merge("a", "1", { ifAbsent: true } as object), "InvalidArgument", "options");
      await refused(db.put("", "1", { ifAbsent: true }), "InvalidArgument", "key-empty");
      await db.put("a", "1", { ifAbsent: false });
      assert.equal(db.status.lastSeq, 1);
    }));

  /** A database whose rows are in tables that no cache holds. */
  async function cold(pairs: readonly string[], options: object = {}) {
    const world = new World({ mergeOperator: append, compactor: false, garbageCollector: false });
    const filler = await world.open();
    for (const pair of pairs) await world.get(filler.put(pair.split("=")[0]!, pair.split("=")[1]!));
    await world.get(filler.flush({ kind: "memtable" }));
    await world.get(filler.close());
    return { world, db: await world.open({ blockCacheBytes: 0, ...options }) };
  }
  const slow = (world: World, millis = 500) =>
    world.store.controls.addRules({ op: "getRange", prefix: "compacted/", rate: 1, fault: { kind: "delay", millis } });

  it("A1 waits for the store and holds back the writes after it", async () => {
    const { world, db } = await cold(["a=1", "b=1"]);
    slow(world);
    const calls = [
      db.put("a", "conditional", { ifSeq: 1, durable: false }),
      db.put("a", "later", { durable: false }),
      db.put("new", "1", { ifAbsent: true, durable: false }),
      db.put("b", "2", { ifAbsent: true, durable: false }).catch((error) => error),
      db.delete("z", { durable: false }),
    ] as const;
    await world.clock.settle();
    assert.equal(db.status.lastSeq, 2, "nothing was applied");
    assert.equal(db.status.backpressure, false, "and yet it is not for want of room");
    const results = await world.get(Promise.all(calls), 20_000);
    assert.deepEqual(results.map((one) => "reason" in one ? one.reason : (one as { seq: number }).seq), [
      3,
      4,
      5,
      "exists",
      6,
    ]);
    assert.equal(text(await world.get(db.get("a"))), "later");
    await world.get(db.close());
  });

  it("X1 is judged by what was applied before it, not by what the store said earlier", async () => {
    const { world, db } = await cold(["a=1", "b=1", "c=1", "x=1"], { l0SstSizeBytes: 400, maxUnflushedBytes: 800 });
    slow(world);
    // The first holds the others back, whose keys are looked up at once and then written by the writes between them.
    const calls = [
      db.put("x", "2", { ifSeq: 4, durable: false }),
      db.put("a", "other", { durable: false }),
      db.put("a", "mine", { ifSeq: 1, durable: false }),
      db.delete("b", { durable: false }),
      db.put("b", "mine", { ifAbsent: true, durable: false }),
      db.put("c", "mine", { ifSeq: 3, durable: false }),
    ];
    const outcomes = calls.map((call) => call.then(({ seq }) => seq, (error) => error.reason as string));
    assert.deepEqual(await world.get(Promise.all(outcomes), 20_000), [5, 6, "seq", 7, 8, 9]);
    assert.deepEqual(
      await Promise.all(["a", "b", "c"].map(async (key) => text(await world.get(db.get(key))))),
      ["other", "mine", "mine"],
    );
    await world.get(db.close());
  });

  it("X1 hears of keys that a transaction took out of the detection of conflicts, and of deleted ranges", async () => {
    const { world, db } = await cold(["a=1", "b=1", "x=1"]);
    slow(world);
    const tx = await db.begin();
    await tx.put("a", "other");
    await tx.unmarkWrite(["a"]);
    const first = db.put("x", "2", { ifSeq: 3, durable: false });
    const commit = tx.commit({ durable: false });
    const range = db.deleteRange({ prefix: "b" }, { durable: false });
    const stale = db.put("a", "mine", { ifSeq: 1, durable: false }).catch((error) => error.reason);
    const gone = db.put("b", "mine", { ifSeq: 2, durable: false }).catch((error) => error.reason);
    const free = db.put("b", "mine", { ifAbsent: true, durable: false });
    await world.get(Promise.all([first, commit, range]), 20_000);
    assert.deepEqual([await world.get(stale, 20_000), await world.get(gone, 20_000)], ["seq", "seq"]);
    assert.equal((await world.get(free, 20_000)).seq, 7);
    await world.get(db.close());
  });

  it("X2 looks again when the history did not suffice", async () => {
    const { world, db } = await cold(["a=1", "x=1"], { conflictHistoryBytes: 1024 });
    slow(world);
    const first = db.put("x", "2", { ifSeq: 2, durable: false });
    const others = Array.from({ length: 50 }, (_, i) => db.put(`k${i}`, "x".repeat(10), { durable: false }));
    const changed = db.put("a", "other", { durable: false });
    const late = db.put("a", "mine", { ifSeq: 1, durable: false });
    late.catch(() => {});
    await world.get(Promise.all([first, changed, ...others]), 20_000);
    await conflictOf(world.get(late, 20_000), "seq");
    await world.get(db.close());
  });

  it("fails with what the store fails with, and lets the writes behind it go on", async () => {
    const { world, db } = await cold(["a=1"], { requestTimeoutMillis: 2000 });
    world.store.controls.addRules({
      op: "getRange",
      prefix: "compacted/",
      rate: 1,
      fault: { kind: "hang", when: "before" },
    });
    const put = db.put("a", "2", { ifAbsent: true });
    put.catch(() => {});
    const behind = db.put("b", "1");
    assert.equal((await world.error(put, 20_000) as { _tag: string })._tag, "Unavailable");
    assert.equal((await world.get(behind, 20_000)).seq, 2);
    await world.get(db.close());
  });

  it("C1 is answered when the database closes, and applied before that if the store answers in time", async () => {
    const { world, db } = await cold(["a=1"]);
    slow(world);
    const put = db.put("a", "2", { ifSeq: 1 });
    await world.get(db.close(), 60_000);
    assert.equal((await put).seq, 2);
    const again = await cold(["a=1"], { requestTimeoutMillis: 1000 });
    again.world.store.controls.setOutage(true);
    const lost = again.db.put("a", "2", { ifSeq: 1 });
    lost.catch(() => {});
    await again.world.outcome(again.db.close(), 20_000);
    const error = await again.world.error(lost, 20_000);
    assert.ok(!(error instanceof InvalidArgument), String(error));
  });

  it("of many that want to create one key exactly one does", async () => {
    const { world, db } = await cold(["other=1"]);
    const calls = Array.from(
      { length: 20 },
      (_, i) =>
        db.put("lock", `${i}`, { ifAbsent: true, durable: false }).then(() => i, (error) => error.reason as string),
    );
    const outcomes = await world.get(Promise.all(calls), 20_000);
    assert.deepEqual(outcomes, [0, ...Array(19).fill("exists")]);
    await world.get(db.close());
  });
});
