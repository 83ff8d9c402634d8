/**
 * Requests that never answer: nobody waits for one longer than promised, and what has to go on goes on without it.
 *
 * @module
 */
import { Effect } from "effect";
import { Db, ObjectStore, open, Unavailable } from "../../mod.ts";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import { type FaultRule, faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { RetryBudget } from "../../src/store/retry_budget.ts";
import { RetryDeadline, retrying } from "../../src/store/retrying_store.ts";
import { contentsOf, START_MILLIS, World } from "../db/fault_world.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const HANG = { kind: "hang", when: "before" } as const;

/** A world whose store holds one table with "k" = "1" and no open writer. */
async function worldWithTable(): Promise<World> {
  const world = new World();
  const db = await world.open();
  await world.get(db.put("k", "1"));
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(db.close());
  return world;
}

describe("a writer", () => {
  it("repeats a put that never arrived, and says meanwhile that it is degraded", async () => {
    const world = new World();
    const db = await world.open();
    const degraded: boolean[] = [];
    db.onStatus((status) => degraded.push(status.degraded));
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "wal/", nth: 1, fault: HANG });
    const put = db.put("a", "1");
    assert.equal((await world.outcome(put, 29_900)).ended, "never");
    await world.get(put, 1_000);
    assert.ok(degraded.includes(true), "30 s without an answer were not told");
    assert.equal(db.status.degraded, false);
    await world.get(db.close());
  });

  it("repeats a look at the manifest that never answers, and acknowledges then", async () => {
    const world = new World();
    const db = await world.open();
    world.store.controls.addRules({ op: ["get", "list"], prefix: "manifest/", nth: 1, fault: HANG });
    await world.clock.advance(60_000);
    assert.equal((await world.get(db.put("a", "1"), 60_000)).seq, 1);
    assert.equal(world.store.controls.struck()["hang"], 1);
    await world.get(db.close());
  });
});

describe("a read", () => {
  it("that joined the request of another has its own deadline", async () => {
    const world = await worldWithTable();
    const db = await world.open({ requestTimeoutMillis: 30_000 });
    world.store.controls.addRules({ op: ["getRange", "getRanges"], rate: 1, fault: { kind: "before" } });
    const first = db.get("k");
    first.catch(() => {});
    await world.clock.advance(29_500);
    const second = db.get("k");
    assert.ok(await world.error(first, 2_000) instanceof Unavailable);
    world.store.controls.quiet();
    assert.equal(text(await world.get(second)), "1");
    await world.get(db.close());
  });

  it("keeps its deadline while others have all the permits to repeat", async () => {
    const clock = virtualClock(START_MILLIS);
    const rules: FaultRule[] = [
      { op: "putIfAbsent", nth: 1, fault: { kind: "before" } },
      { op: "putIfAbsent", nth: 2, fault: HANG },
      { op: "get", rate: 1, fault: { kind: "before" } },
    ];
    const store = retrying(faultyStore(memoryStore(), { rules }), { budget: new RetryBudget(1) });
    const run = <A>(effect: Effect.Effect<A, StoreError>, deadlineMillis: number): Promise<A> =>
      Effect.runPromise(effect.pipe(
        Effect.provideService(RetryDeadline, deadlineMillis),
        Effect.provideContext(virtualClockContext(clock)),
      ));
    run(store.putIfAbsent("a", new Uint8Array(1)), Infinity).catch(() => {});
    await clock.advance(400);
    let error: unknown;
    run(store.get("b"), 300).catch((cause) => error = cause);
    await clock.advance(600);
    assert.ok(error instanceof StoreError, "it still waits for a permit");
  });
});

describe("opening", () => {
  it("gives up at its deadline when the log needs room and the store takes no table", async () => {
    const world = new World();
    const filled = await world.open();
    for (let i = 0; i < 6; i++) await world.get(filled.put(`k${i}`, new Uint8Array(3000)));
    await world.get(filled.close());
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "compacted/", rate: 1, fault: { kind: "before" } });
    const options = { l0SstSizeBytes: 2000, maxUnflushedBytes: 5000, requestTimeoutMillis: 1000 };
    const opening = open({ store: world.store, path: "" }, { ...world.options, ...options });
    const error = await world.error(opening, 60_000);
    assert.ok(error instanceof Unavailable && error.reason === "timeout", String(error));
    world.store.controls.quiet();
    const db = await world.open(options);
    await world.get(db.close());
    assert.equal((await contentsOf(world.inner, world.options)).size, 6);
  });

  it("through the Effect face can be interrupted while the store does not answer", async () => {
    const clock = virtualClock(START_MILLIS);
    const store = faultyStore(memoryStore(), { rules: [{ op: "list", rate: 1, fault: HANG }] });
    let ended = "";
    Effect.runPromise(
      Effect.scoped(Db.open({ requestTimeoutMillis: 1_000_000 })).pipe(
        Effect.timeoutOption(300),
        Effect.provideService(ObjectStore, store),
        Effect.provideContext(virtualClockContext(clock)),
      ),
    ).then((opened) => ended = opened._tag, (error) => ended = String(error));
    await clock.advance(301);
    assert.equal(ended, "None");
  });
});
