import { Effect } from "effect";
import { Db as DbService, DbReader as ReaderService, ObjectStore } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";
import { refused } from "./transaction_world.ts";

const VALUE = "v".repeat(100);
const keyOf = (i: number): string => `k${String(i).padStart(4, "0")}`;

async function written(world: ReaderWorld, from: number, to: number): Promise<void> {
  const db = await world.open();
  for (let i = from; i < to; i++) await db.put(keyOf(i), VALUE, { durable: false });
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(db.close());
}

describe("a reader's estimate", () => {
  it("tells of tables and of the log what the reader shows, as the writer's does", async () => {
    const world = new ReaderWorld();
    await written(world, 0, 500);
    const db = await world.open();
    const { id } = await world.get(db.checkpoint());
    for (let i = 500; i < 600; i++) await db.put(keyOf(i), VALUE, { durable: false });
    await world.get(db.deleteRange({ lt: keyOf(100) }));
    const readers: Array<[DbReader, number]> = [
      [await world.reader(), 500],
      [await world.reader({ mode: "follow" }), 500],
      [await world.reader({ checkpoint: id }), 500],
    ];
    for (const [reader, expected] of readers) {
      const shown = await world.get(reader.scan().toArray());
      const { entries, bytes } = await world.get(reader.estimate());
      assert.equal(shown.length, expected);
      assert.ok(Math.abs(entries - expected) < 50 && bytes > expected * VALUE.length, `${entries}, ${bytes} bytes`);
      assert.deepEqual(await world.get(reader.estimate({})), { entries, bytes }, "without a range: everything");
      const one = await world.get(reader.estimate({ gte: keyOf(300), lte: keyOf(300) }));
      assert.ok(one.entries >= 1 && one.bytes >= VALUE.length && one.bytes < 30 * VALUE.length, `${one.bytes} bytes`);
      await refused(world.get(reader.estimate({ gte: "b", lt: "a" })), "InvalidArgument", "range-empty");
      await world.get(reader.close());
      await refused(reader.estimate(), "Closed", "clean");
    }
    await world.get(db.close());
  });

  it("starts over on newer state when its tables were collected", async () => {
    const world = new ReaderWorld();
    await written(world, 0, 50);
    await written(world, 50, 100);
    const reader = await world.reader({ mode: "follow" });
    world.compact(true);
    const { entries } = await world.get(reader.estimate());
    assert.equal(entries, 100);
    await world.get(reader.close());
  });

  effectTest("is an effect, too", () =>
    Effect.gen(function* () {
      const db = yield* DbService.open({ compactor: false });
      yield* db.put("a", "1");
      const reader = yield* ReaderService.open();
      assert.equal((yield* reader.estimate()).entries, 1);
      assert.deepEqual(yield* reader.estimate({ gt: "a" }), { bytes: 0, entries: 0 });
    }).pipe(Effect.scoped, Effect.provideService(ObjectStore, memoryStore())));
});
