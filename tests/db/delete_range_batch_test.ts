/**
 * Range deletes inside batches: what they take back of the batch, what stays above them, and how they are logged.
 *
 * @module
 */
import fc from "fast-check";
import { open, WriteBatch } from "../../mod.ts";
import type { Db, KeyRange } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { FLAG_RANGE_DELETE } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { allOf, append, fill, refused, rows, text, withDb } from "./transaction_world.ts";

const operation = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("put" as const, "merge" as const), key: fc.nat(8) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), key: fc.nat(8) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("deleteRange" as const),
      from: fc.option(fc.nat(7), { nil: undefined }),
      count: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      inclusive: fc.boolean(),
    }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer A> ? A : never;

const keyOf = (n: number): string => "abcdefghi"[n]!;

function rangeOf({ from, count, inclusive }: Extract<Operation, { do: "deleteRange" }>): KeyRange {
  const first = from ?? 0;
  const start = from === undefined ? { gte: "" } : { gte: keyOf(from) };
  if (count === undefined || first + count > 8) return start;
  return inclusive ? { ...start, lte: keyOf(first + count - 1) } : { ...start, lt: keyOf(first + count) };
}

/** Does the operations one after the other, in the batch and in the model. */
function apply(batch: WriteBatch, model: Map<string, string>, operations: readonly Operation[], tag: string): void {
  operations.forEach((one, i) => {
    const value = `${tag}${i}.`;
    if (one.do === "deleteRange") {
      batch.deleteRange(rangeOf(one));
      const first = one.from ?? 0;
      const last = one.count === undefined || first + one.count > 8 ? 8 : first + one.count - 1;
      for (let n = first; n <= last; n++) model.delete(keyOf(n));
      return;
    }
    const key = keyOf(one.key);
    if (one.do === "put") {
      batch.put(key, value);
      model.set(key, value);
    } else if (one.do === "delete") {
      batch.delete(key);
      model.delete(key);
    } else {
      batch.merge(key, value);
      model.set(key, `${model.get(key) ?? ""}${value}`);
    }
  });
}

/** Random batches against the model, all rows read after each; with the rows in memory, or in tables. */
async function batchesAgreeWithModel(options: OpenOptions, runs: number, seed: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(operation, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 6 }),
      async (batches) => {
        const store = memoryStore();
        const settings = { compactor: false, garbageCollector: false, mergeOperator: append, ...options } as const;
        let db: Db = await open({ store, path: "" }, settings);
        const model = new Map<string, string>();
        let seq = 0;
        for (const [n, operations] of batches.entries()) {
          const batch = new WriteBatch();
          apply(batch, model, operations, `${n}:`);
          const result = await db.write(batch);
          assert.equal(result.seq, ++seq);
          const wanted = [...model].sort(([a], [b]) => a < b ? -1 : 1).map(([key, value]) => `${key}=${value}`);
          assert.deepEqual(rows(await db.scan().toArray()), wanted);
          const down = rows(await db.scan({}, { order: "descending" }).toArray());
          assert.deepEqual(down.reverse(), wanted);
          for (let k = 0; k < 9; k++) assert.equal(text(await db.get(keyOf(k))), model.get(keyOf(k)));
        }
        const before = await allOf(db);
        await db.close();
        db = await open({ store, path: "" }, settings);
        assert.equal(await allOf(db), before, "after reopening");
        await db.close();
      },
    ),
    { numRuns: runs, seed },
  );
}

describe("WriteBatch deleteRange", () => {
  it("takes earlier operations of the batch back and leaves later ones", () =>
    withDb(async (db) => {
      await fill(db, "a=1", "b=2", "c=3", "m=4");
      const batch = new WriteBatch()
        .put("b", "gone").merge("m", "gone").put("x", "gone").delete("a").put("z", "stays")
        .deleteRange({ gte: "b", lt: "y" })
        .put("c", "new").merge("m", "+");
      assert.equal(batch.size, 8);
      const { seq } = await db.write(batch);
      assert.equal(await allOf(db), "c=new m=+ z=stays");
      assert.deepEqual((await db.scan().toArray()).map((row) => row.seq), [seq, seq, seq]);
      assert.equal(seq, 5);
      await db.put("b", "later");
      await db.write(batch);
      assert.equal(await allOf(db), "c=new m=+ z=stays", "it can be written again");
    }));

  it("needs no operator for a merge whose earlier operations were taken back", () =>
    withDb(async (db) => {
      await db.write(new WriteBatch().put("a", "1").merge("a", "2").deleteRange({ prefix: "a" }).merge("a", "3"));
      assert.equal(await db.getEntry("a").catch((error) => error.reason), "merge-operator-missing");
      await db.write(
        new WriteBatch().put("b", "1").deleteRange({ prefix: "b" }).merge("b", "2").deleteRange({ gte: "" }),
      );
      assert.equal(await allOf(db), "");
      const folded = new WriteBatch().put("c", "1").deleteRange({ prefix: "a" }).merge("c", "2");
      await refused(db.write(folded), "InvalidArgument", "merge-operator-missing");
      assert.equal(db.status.lastSeq, 2, "a refused batch takes no number");
    }, { mergeOperator: "elsewhere" }));

  it("may hold nothing but ranges, several of them, in any order and overlapping", () =>
    withDb(async (db) => {
      await fill(db, ..."abcdefgh".split("").map((key) => `${key}=1`));
      const batch = new WriteBatch().deleteRange({ gte: "g" }).deleteRange({ gte: "b", lte: "c" })
        .deleteRange({ gte: "c", lt: "e" }).deleteRange({ lte: "a" });
      assert.equal(batch.size, 4);
      assert.equal((await db.write(batch)).seq, 9);
      assert.equal(await allOf(db), "e=1 f=1");
      await fill(db, "a=2", "b=2", "g=2");
      assert.equal(await allOf(db), "a=2 b=2 e=1 f=1 g=2");
    }));

  it("refuses bad ranges and stays as it was", async () => {
    const batch = new WriteBatch().put("a", "1");
    const before = batch.estimatedBytes;
    const bad = [{}, { gte: "b", lt: "a" }, { gte: 1 as never }, undefined as never, { gte: "a".repeat(65_536) }];
    for (const range of bad) assert.throws(() => batch.deleteRange(range), { _tag: "InvalidArgument" });
    assert.deepEqual([batch.size, batch.estimatedBytes], [1, before]);
    const bytes = new TextEncoder().encode("a");
    batch.deleteRange({ gte: bytes, lt: "bcd" });
    bytes[0] = 0;
    assert.equal(batch.estimatedBytes, before + 4 + 24);
    await withDb(async (db) => {
      await db.write(batch);
      assert.equal(await allOf(db), "", "its bytes are its own");
    });
  });

  it("counts for the largest batch that is admitted", () =>
    withDb(async (db) => {
      const batch = new WriteBatch();
      for (let i = 0; i < 100; i++) batch.deleteRange({ gte: `${"x".repeat(100)}${i}` });
      await refused(db.write(batch), "InvalidArgument", "batch-too-large");
      assert.equal(db.status.lastSeq, 0);
    }, { l0SstSizeBytes: 4096, maxUnflushedBytes: 8192 }));

  it("is written as it was when the call was made", async () => {
    const world = new World({ l0SstSizeBytes: 2048, maxUnflushedBytes: 4096 });
    const db = await world.open();
    world.store.controls.setOutage(true);
    for (let i = 0; i < 8; i++) void db.put(`k${i}`, "x".repeat(700), { durable: false });
    assert.ok(db.status.backpressure);
    const batch = new WriteBatch().put("k1", "gone").deleteRange({ prefix: "k1" });
    const first = db.write(batch, { durable: false });
    batch.put("k1", "new").deleteRange({ gte: "k2" }).put("k5", "new");
    world.store.controls.setOutage(false);
    await world.get(first);
    assert.deepEqual((await world.get(db.scan().keys()[Symbol.asyncIterator]().next())).done, false);
    const keys = (await world.get(db.scan().toArray())).map(({ key }) => text(key));
    assert.deepEqual(keys, ["k0", "k2", "k3", "k4", "k5", "k6", "k7"]);
    await world.get(db.write(batch));
    assert.deepEqual((await world.get(db.scan().toArray())).map(({ key }) => text(key)), ["k0", "k1", "k5"]);
    await world.get(db.close());
  });

  it("stands in the log before the batch's rows, by start, then by end, each range once", async () => {
    const world = new World();
    const db = await world.open();
    const one = new WriteBatch().put("b", "1").deleteRange({ gte: "c" }).put("a", "2").deleteRange({
      gte: "c",
      lt: "d",
    })
      .deleteRange({ lt: "B" }).deleteRange({ gte: "c" }).delete("x");
    const { seq } = await world.get(db.write(one));
    const logged: string[] = [];
    for (const path of world.paths("wal")) {
      for (const row = new WalRows(world.inner.peek(path)!); row.next();) {
        assert.equal(row.seq, seq);
        const key = text(row.keyBytes.subarray(row.keyStart, row.keyEnd));
        const value = text(row.valueBytes.subarray(row.valueStart, row.valueEnd));
        logged.push((row.flags & FLAG_RANGE_DELETE) === 0 ? `${key}=${value}` : `[${key},${value})`);
      }
    }
    assert.deepEqual(logged, ["[,B)", "[c,d)", "[c,)", "a=2", "b=1", "x="]);
    await world.get(db.close());
  });

  it("reads like its operations one after the other, in memory", () => batchesAgreeWithModel({}, 60, 41));

  it("reads like its operations one after the other, through tiny tables", () =>
    batchesAgreeWithModel({ l0SstSizeBytes: 300, blockSizeBytes: 1024, minFilterKeys: 1 }, 40, 42));
});
