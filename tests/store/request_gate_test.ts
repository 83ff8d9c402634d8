/** Requests under way at once: what is urgent does not wait behind what is not, and nothing is lost on the way. */
import { Cause, Effect, Exit, type Fiber, Semaphore } from "effect";
import { SeededScheduler } from "../../src/env/seeded_scheduler.ts";
import { type VirtualClock, virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { RequestGate } from "../../src/store/request_gate.ts";
import { RetryBudget, type Urgency } from "../../src/store/retry_budget.ts";
import { RetryDeadline, retrying } from "../../src/store/retrying_store.ts";
import { assert, describe, it } from "../support/suite.ts";

/** Users of one gate in virtual time. */
class Bench {
  readonly clock: VirtualClock;
  readonly gate: RequestGate;
  /** Who began, in order. */
  readonly begun: string[] = [];

  constructor(requestsAtOnce?: number, scheduler?: SeededScheduler) {
    this.clock = virtualClock(0, scheduler === undefined ? {} : { scheduler });
    this.gate = new RequestGate(requestsAtOnce);
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runFork(Effect.provideContext(effect, virtualClockContext(this.clock)), {
      scheduler: this.clock.scheduler,
    });
  }

  ask(urgency: Urgency, millis: number, who: string = urgency, within = Infinity): Fiber.Fiber<void, string> {
    const work = Effect.suspend(() => {
      this.begun.push(who);
      return Effect.sleep(millis);
    });
    return this.fork(this.gate.pass(urgency, within, work, () => "late"));
  }

  count(who: string): number {
    return this.begun.filter((name) => name === who).length;
  }
}

describe("RequestGate", () => {
  it("B3 keeps places for each urgency, whatever the others do with theirs", async () => {
    for (
      const [order, expected] of [
        [["call", "flush", "background"], [52, 8, 4]],
        [["background", "call", "flush"], [48, 8, 8]],
        [["flush", "background", "call"], [52, 4, 8]],
      ] as const
    ) {
      const bench = new Bench();
      for (const urgency of order) for (let i = 0; i < 100; i++) bench.ask(urgency, 1e9);
      await bench.clock.settle();
      assert.deepEqual(order.map((urgency) => bench.count(urgency)), expected, order.join(" "));
    }
  });

  it("is first come, first served within an urgency, the urgent first, and nobody is passed over for ever", async () => {
    const bench = new Bench(1);
    bench.ask("call", 10, "first");
    for (let i = 0; i < 3; i++) bench.ask("background", 10, `b${i}`);
    for (let i = 0; i < 3; i++) bench.ask("call", 10, `c${i}`);
    for (let i = 0; i < 6; i++) bench.ask("flush", 10, `f${i}`);
    await bench.clock.advance(1_000);
    assert.equal(bench.begun.join(" "), "first f0 f1 f2 c0 b0 f3 f4 c1 b1 f5 c2 b2");
    assert.equal(bench.clock.timers, 0);
  });

  it("asks for no timer and no turn of the event loop where there is a place", () => {
    const gate = new RequestGate(1);
    const late = (): never => assert.fail("there is a place");
    for (let i = 0; i < 3; i++) assert.equal(Effect.runSync(gate.pass("call", 10, Effect.succeed(i), late)), i);
  });

  it("twenty thousand that wait and are done at once go on one after the other, not one inside the other", async () => {
    const bench = new Bench(1);
    bench.ask("call", 10);
    const late = (): never => assert.fail("no limit");
    const fibers = Array.from(
      { length: 20_000 },
      (_, i) =>
        bench.fork(bench.gate.pass("call", Infinity, i % 2 === 0 ? Effect.succeed(i) : Effect.fail({ i }), late)),
    );
    await bench.clock.advance(10);
    const defects = fibers.filter((fiber, i) => fiber.pollUnsafe()?._tag !== (i % 2 === 0 ? "Success" : "Failure"));
    assert.equal(defects.length, 0);
    const causes = fibers.map((fiber) => fiber.pollUnsafe()!).filter(Exit.isFailure);
    assert.ok(causes.every(({ cause }) => !Cause.hasDies(cause)), "the stack is too deep");
  });

  it("a wait ends at its limit, the work itself does not", async () => {
    const bench = new Bench(1);
    const first = bench.ask("call", 5_000, "first", 100);
    const second = bench.ask("call", 1, "second", 100);
    await bench.clock.advance(100);
    const exit = second.pollUnsafe();
    assert.ok(exit !== undefined && Exit.isFailure(exit) && Cause.squash(exit.cause) === "late");
    assert.equal(first.pollUnsafe(), undefined);
    await bench.clock.advance(5_000);
    assert.ok(first.pollUnsafe() !== undefined && Exit.isSuccess(first.pollUnsafe()!));
    assert.deepEqual(bench.begun, ["first"]);
  });

  it("interruptions at any step, from 40 seeds, lose neither a place nor a waiter", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const bench = new Bench(5, new SeededScheduler(seed, { preemption: 0.3 }));
      const dice = new FaultDice(seed);
      const fibers = Array.from(
        { length: 60 },
        (_, i) => bench.ask((["flush", "call", "background"] as const)[i % 3]!, i % 5, "some", i % 7 ? Infinity : 4),
      );
      for (let i = 0; i < 40; i++) {
        if (i % 4 === 0) await bench.clock.advance(Math.floor(dice.next() * 4));
        fibers[Math.floor(dice.next() * 60)]!.interruptUnsafe();
      }
      await bench.clock.advance(1_000);
      assert.ok(fibers.every((fiber) => fiber.pollUnsafe() !== undefined), `seed ${seed}: somebody still waits`);
      for (const urgency of ["flush", "call", "background"] as const) {
        for (let i = 0; i < 5; i++) bench.ask(urgency, 1e9, "after");
      }
      await bench.clock.advance(1);
      assert.equal(bench.count("after"), 5, `seed ${seed}: a place is lost`);
    }
  });
});

/** A store with so many connections: what finds none waits for one, first come, first served, and takes its time then. */
function withConnections(connections: number, millis: number): ObjectStoreShape & { reads: number } {
  const inner = memoryStore();
  inner.plant("a", new Uint8Array(1));
  const free = Semaphore.makeUnsafe(connections);
  const slow = <A, E>(request: Effect.Effect<A, E>) => free.withPermit(Effect.andThen(Effect.sleep(millis), request));
  const store = {
    ...inner,
    reads: 0,
    get: (path: string) => slow(Effect.suspend(() => (store.reads++, inner.get(path)))),
    putIfAbsent: (path: string, body: Uint8Array) => slow(inner.putIfAbsent(path, body)),
  };
  return store;
}

describe("a slow store that is asked far more than it can answer", () => {
  it("a writer's put is answered as fast as by an idle one, and every read that is asked is in time", async () => {
    const bench = new Bench();
    const below = withConnections(64, 2_000);
    const shared = { budget: new RetryBudget(), attemptTimeoutMillis: 30_000 };
    const store = retrying(below, shared);
    const reads = Array.from({ length: 3000 }, () => bench.fork(Effect.result(store.get("a"))));
    await bench.clock.advance(1_000);
    const put = bench.fork(
      Effect.provideService(store.putIfAbsent("wal/1", new Uint8Array(1)), RetryDeadline, Infinity),
    );
    const collected = bench.fork(retrying(below, { ...shared, background: true }).get("a"));
    await bench.clock.advance(2_000);
    assert.deepEqual([put, collected].map((fiber) => fiber.pollUnsafe()?._tag), ["Success", "Success"]);
    await bench.clock.advance(29_000);
    const ends = reads.map((fiber) => fiber.pollUnsafe());
    let answered = 0;
    for (const end of ends) {
      assert.ok(end !== undefined && Exit.isSuccess(end), "a read waits beyond its deadline");
      if (end.value._tag === "Success") answered++;
      else {
        assert.ok(end.value.failure instanceof StoreError && end.value.failure.reason === "timeout");
        assert.equal(end.value.failure.outcome, "none");
      }
    }
    assert.ok(answered >= 15 * 50, `${answered} reads answered in 30 s`);
    // Nothing is done for those who have given up.
    assert.ok(below.reads <= answered + 64, `${below.reads} reads for ${answered}`);
    assert.equal(bench.clock.timers, 0);
  });

  it("the time limit of an attempt begins when it is sent", async () => {
    const bench = new Bench();
    const store = retrying(withConnections(4, 2_000), {
      budget: new RetryBudget(undefined, new RequestGate(4)),
      attemptTimeoutMillis: 3_000,
    });
    const puts = Array.from(
      { length: 40 },
      (_, i) =>
        bench.fork(Effect.provideService(store.putIfAbsent(`${i}`, new Uint8Array(1)), RetryDeadline, Infinity)),
    );
    await bench.clock.advance(40_000);
    assert.ok(puts.every((fiber) => fiber.pollUnsafe()?._tag === "Success"), "sent too late to be answered in time");
  });
});
