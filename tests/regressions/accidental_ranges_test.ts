/**
 * Range deletes whose range says more than was meant: refused, with what to write instead.
 *
 * @module
 */
import { Effect } from "effect";
import { type Db, Db as DbService, InvalidArgument, ObjectStore, open, WriteBatch } from "../../mod.ts";
import type { KeyRange } from "../../src/db/api.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";

async function withRow(body: (db: Db) => Promise<void>): Promise<void> {
  const db = await open({ store: memoryStore(), path: "" }, { compactor: false, garbageCollector: false });
  await db.put("a", "1");
  await body(db);
  assert.deepEqual([db.status.lastSeq, (await db.scan().toArray()).length], [1, 1], "nothing was deleted");
  await db.close();
}

async function refusal(call: () => unknown): Promise<InvalidArgument> {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof InvalidArgument, String(error));
    return error;
  }
  return assert.fail("it was taken");
}

describe("deleteRange refuses, wherever it is called, ", () => {
  const careless: Array<[string, unknown, RegExp]> = [
    ["an empty prefix alone", { prefix: "" }, /prefix is empty.*\{ gte: "" \}/],
    ["empty bytes as a prefix alone", { prefix: new Uint8Array(0) }, /prefix is empty/],
    ["an upper bound that is undefined", { gte: "a", lt: undefined }, /"lt" is undefined.*leave the bound out/],
    ["a lower bound that is undefined", { gte: undefined, lt: "b" }, /"gte" is undefined/],
    ["a prefix that is undefined beside a bound", { prefix: undefined, gt: "a" }, /"prefix" is undefined/],
    ["everything with a bound that is undefined", { gte: "", lte: undefined }, /"lte" is undefined/],
    ["no bound", {}, /no bound.*\{ gte: "" \}/],
    ["no range", undefined, /no range.*\{ gte: "" \}/],
  ];
  for (const [name, given, message] of careless) {
    it(name, () =>
      withRow(async (db) => {
        const range = given as KeyRange;
        const tx = await db.begin();
        const batch = new WriteBatch();
        for (const call of [() => db.deleteRange(range), () => batch.deleteRange(range), () => tx.deleteRange(range)]) {
          const error = await refusal(call);
          assert.equal(error.reason, "range-unbounded");
          assert.match(error.message, message);
        }
        assert.equal(batch.size, 0);
        assert.equal(await tx.commit(), undefined);
      }));
  }

  effectTest("the same on the Effect face", () =>
    Effect.gen(function* () {
      const db = yield* DbService.open({ compactor: false });
      yield* db.put("a", "1");
      const error = yield* Effect.flip(db.deleteRange({ prefix: "" }));
      assert.deepEqual([error._tag, error.reason], ["InvalidArgument", "range-unbounded"]);
      yield* db.deleteRange({ prefix: "", gte: "" });
      assert.equal(yield* db.get("a"), undefined, "who says it, gets it");
    }).pipe(Effect.scoped, Effect.provideService(ObjectStore, memoryStore())));
});

it("scans go on to take an empty prefix and undefined bounds for no limit", () =>
  withRow(async (db) => {
    for (const range of [{ prefix: "" }, { gte: "a", lt: undefined }, { gte: "" }, {}] as KeyRange[]) {
      assert.equal((await db.scan(range).toArray()).length, 1);
    }
  }));

describe("the refusal of a range says what to write:", () => {
  const bad: Array<[string, (db: Db) => unknown, string, RegExp]> = [
    ["a prefix as text", (db) => db.deleteRange("log/" as never), "range", /Give \{ gte, lt \}/],
    ["two keys instead of a range", (db) => db.deleteRange("a" as never, "b" as never), "range", /Give \{ gte, lt \}/],
    [
      "options in the range",
      (db) => db.deleteRange({ gte: "a", durable: false } as never),
      "range-field",
      /second arg/,
    ],
    ["options in a scan's range", (db) => db.scan({ limit: 3 } as never).toArray(), "range-field", /second argument/],
    ["an unknown bound", (db) => db.scan({ from: "a" } as never).toArray(), "range-field", /gte, gt, lte, lt, prefix/],
    [
      "reversed bounds",
      (db) => db.scan({ gte: "d", lt: "c" }).toArray(),
      "range-empty",
      /"d" and before "c"\. .*below/,
    ],
    [
      "one key, exclusive",
      (db) => db.scan({ gt: "c", lte: "c" }).toArray(),
      "range-empty",
      /after "c" and at or before/,
    ],
    [
      "a prefix beside bounds",
      (db) => db.deleteRange({ prefix: "a", lt: "a" }),
      "range-empty",
      /after "a" and before "a"/,
    ],
    ["no room between", (db) => db.deleteRange({ gt: "a", lt: "a\0" }), "range-empty", /after "a" and before 0x6100/],
    ["nothing below", (db) => db.deleteRange({ lte: "" }), "range-empty", /no key lies at or before ""\./],
    [
      "long keys",
      (db) => db.deleteRange({ gte: "x".repeat(999), lt: "a" }),
      "range-empty",
      /x{64}"… \(999 bytes\) and/,
    ],
  ];
  for (const [name, call, reason, message] of bad) {
    it(name, () =>
      withRow(async (db) => {
        const error = await refusal(() => call(db));
        assert.equal(error.reason, reason, error.message);
        assert.match(error.message, message);
        assert.ok(!/left out/.test(error.message) || name.includes("scan"), error.message);
      }));
  }
});
