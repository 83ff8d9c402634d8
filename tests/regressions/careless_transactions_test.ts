/**
 * Transactions whose user is careless: nothing stays open, and no error hides another one.
 *
 * @module
 */
import { Effect, Exit } from "effect";
import { InvalidArgument, type TransactRetry } from "../../mod.ts";
import type { KeyRange } from "../../src/db/api.ts";
import { effectFace } from "../../src/db/effect.ts";
import { promiseFace } from "../../src/db/promise.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "../db/fault_world.ts";
import { allOf, append, conflictOf, openDatabase, refused, text } from "../db/transaction_world.ts";

/** A database with both faces, which must have no open transaction in the end. */
async function withBoth(
  body: (db: ReturnType<typeof promiseFace>, effects: ReturnType<typeof effectFace>, world: World) => Promise<void>,
): Promise<void> {
  const world = new World({ mergeOperator: append });
  const opened = await openDatabase(world);
  const db = promiseFace(opened);
  await body(db, effectFace(opened), world);
  const { snapshots, conflicts } = opened.engine.parts.state;
  assert.deepEqual([snapshots.size, conflicts.isActive], [0, false], "an open transaction was left behind");
  await world.get(db.close());
}

describe("transact ends its transaction", () => {
  it("when the body throws before it answers, on both faces", () =>
    withBoth(async (db, effects, world) => {
      const reason = new Error("mine");
      const throwing = () => {
        throw reason;
      };
      await assert.rejects(world.get(db.transact(throwing)), (error) => error === reason);
      const exit = await world.get(Effect.runPromiseExit(effects.transact(throwing)));
      assert.ok(Exit.hasDies(exit), "a defect, as anywhere in an effect");
      assert.equal(await allOf(db), "");
    }));

  it("when the body of the Effect face answers no effect", () =>
    withBoth(async (_db, effects, world) => {
      const wrong = (() => "no effect") as unknown as () => Effect.Effect<void>;
      await refused(world.get(Effect.runPromise(effects.transact(wrong))), "InvalidArgument", "body");
    }));

  it("before it begins one, when the body is no function", () =>
    withBoth(async (db, effects, world) => {
      for (const body of [undefined, null, "a", Promise.resolve(), Effect.void] as never[]) {
        await refused(db.transact(body), "InvalidArgument", "body");
        const error = await world.get(Effect.runPromise(Effect.flip(effects.transact(body))));
        assert.ok(error instanceof InvalidArgument && error.reason === "body", String(error));
        assert.match(error.message, /Give a function/);
      }
    }));
});

describe("rollback", () => {
  it("of a transaction whose commit was refused does nothing, so that the conflict is what the caller hears", () =>
    withBoth(async (db, effects, world) => {
      const of = <A>(promise: Promise<A>) => world.get(promise);
      const careful = async () => {
        const tx = await db.begin();
        try {
          await tx.put("a", "mine");
          await of(db.put("a", "theirs"));
          await tx.commit();
        } catch (error) {
          await tx.rollback();
          throw error;
        }
      };
      await conflictOf(careful(), "write");
      const program = Effect.scoped(Effect.gen(function* () {
        const tx = yield* effects.begin();
        yield* tx.put("a", "mine");
        yield* effects.put("a", "theirs");
        return yield* Effect.tapError(tx.commit(), () => tx.rollback);
      }));
      await conflictOf(of(Effect.runPromise(program)), "write");
      assert.equal(await allOf(db), "a=theirs");
    }));

  it("takes no commit back, and may be called again and again", () =>
    withBoth(async (db, _effects, world) => {
      const tx = await db.begin();
      await tx.put("a", "1");
      const commit = tx.commit();
      await tx.rollback();
      assert.equal((await world.get(commit))?.seq, 1);
      await tx.rollback();
      assert.equal(await allOf(db), "a=1");
      const other = await db.begin();
      await other.put("b", "1");
      for (let i = 0; i < 3; i++) await other.rollback();
      await refused(other.commit(), "InvalidArgument", "transaction-ended");
      assert.equal(await allOf(db), "a=1");
    }));
});

it("waits between repetitions have a name that says what they are, and a type that can be named", () =>
  withBoth(async (db, _effects, world) => {
    const retry: TransactRetry = { times: 2, firstDelayMillis: 100, maxDelayMillis: 150 };
    const begun: number[] = [];
    const failing = db.transact(async (tx) => {
      begun.push(world.clock.now());
      await tx.put("a", "mine");
      await db.put("a", "theirs", { durable: false });
    }, { durable: false, retry });
    await conflictOf(world.get(failing, 60_000), "write");
    const [first = 0, second = 0] = begun.slice(1).map((at, i) => at - begun[i]!);
    assert.ok(first >= 49 && first <= 101, `first wait ${first}: at most firstDelayMillis`);
    assert.ok(second >= 74 && second <= 151, `second wait ${second}: at most maxDelayMillis`);
    await refused(
      db.transact(() => Promise.resolve(), { retry: { minDelayMillis: 1 } as object }),
      "InvalidArgument",
      "options",
    );
  }));

it("the range of a conflict has the shape that deleteRange takes, whatever its ends", () =>
  withBoth(async (db, _effects, world) => {
    const ranges: Array<[KeyRange, string, string | undefined]> = [
      [{ gte: "b", lt: "d" }, "b", "d"],
      [{ gt: "b", lte: "d" }, "b\0", "d\0"],
      [{ lt: "d" }, "", "d"],
      [{ gte: "b" }, "b", undefined],
      [{ gte: "" }, "", undefined],
    ];
    for (const [range, gte, lt] of ranges) {
      const tx = await db.begin({ isolation: "serializable" });
      await tx.scan(range).toArray();
      await world.get(db.put("c", "1"));
      const conflict = await conflictOf(tx.commit(), "range");
      assert.deepEqual([text(conflict.range?.gte), text(conflict.range?.lt)], [gte, lt]);
      assert.equal("lt" in conflict.range!, lt !== undefined);
      await world.get(db.deleteRange(conflict.range!));
      assert.equal(await allOf(db), "", "it can be handed on as it is");
    }
  }));
