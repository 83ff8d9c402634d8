/** Turns of a store that fails: their rate, their order, what hangs on to them, and that nothing is left behind. */
import { Effect, Fiber, Random } from "effect";
import { SeededScheduler } from "../../src/env/seeded_scheduler.ts";
import { type VirtualClock, virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError, type StoreErrorReason } from "../../src/errors.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { RetryBudget, TURNS_BURST, TURNS_PER_SECOND, type Urgency } from "../../src/store/retry_budget.ts";
import { type SlowReport, StoreHealth } from "../../src/store/store_health.ts";
import { assert, describe, it } from "../support/suite.ts";

/** Users of one budget on a store that answers as told, in virtual time. */
class Bench {
  readonly clock: VirtualClock;
  readonly budget: RetryBudget;
  /** Who got a turn when, ms. */
  readonly turns: Array<readonly [at: number, who: string]> = [];

  #seed = 0;

  constructor(turnsAtOnce?: number, scheduler?: SeededScheduler) {
    this.clock = virtualClock(0, scheduler === undefined ? {} : { scheduler });
    this.budget = new RetryBudget(turnsAtOnce);
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    const seeded = Effect.provideContext(
      Random.withSeed(effect, `seed ${this.#seed++}`),
      virtualClockContext(this.clock),
    );
    return Effect.runFork(seeded, { scheduler: this.clock.scheduler });
  }

  /** One turn that takes `millis` and then tells `outcome`. */
  turn(
    urgency: Urgency,
    outcome: "ok" | "unavailable" | "throttled",
    { millis = 0, isFirst = false, who = urgency as string } = {},
  ): Effect.Effect<void> {
    return this.budget.turn(
      urgency,
      isFirst,
      Effect.gen({ self: this }, function* () {
        const begun = this.clock.now();
        this.turns.push([begun, who]);
        if (millis > 0) yield* Effect.sleep(millis);
        this.tell(outcome, begun);
      }),
    );
  }

  tell(outcome: "ok" | "unavailable" | "throttled", begun = this.clock.now()): void {
    if (outcome === "ok") this.budget.answered(this.clock.now(), true);
    else this.budget.failed(outcome, this.clock.now(), begun);
  }

  /** `callers` that take one turn after the other, for ever. */
  load(callers: number, urgency: Urgency, outcome: "ok" | "unavailable" | "throttled", millis = 0): void {
    for (let i = 0; i < callers; i++) this.fork(Effect.forever(this.turn(urgency, outcome, { millis })));
  }

  between(from: number, to: number, who?: string): number {
    return this.turns.filter(([at, name]) => at >= from && at < to && (who === undefined || name === who)).length;
  }
}

describe("RetryBudget", () => {
  it("B1 gives a dead store its burst and then ten turns a second, however many ask", async () => {
    const bench = new Bench();
    bench.load(500, "call", "unavailable");
    await bench.clock.advance(60_000);
    assert.ok(bench.between(0, 1) <= TURNS_BURST);
    for (let second = 1; second < 60; second++) {
      const turns = bench.between(second * 1000, (second + 1) * 1000);
      assert.ok(Math.abs(turns - TURNS_PER_SECOND) <= 1, `${turns} turns in second ${second}`);
    }
    assert.ok(bench.clock.timers <= 1, `${bench.clock.timers} timers for those who wait`);
  });

  it("B1 gives a store that throttles one turn a second, with jitter, and the usual ones half a minute later", async () => {
    const bench = new Bench();
    bench.load(50, "call", "throttled", 20);
    await bench.clock.advance(60_000);
    const late = bench.turns.filter(([at]) => at >= 10_000).map(([at]) => at);
    assert.ok(late.length >= 45 && late.length <= 55, `${late.length} turns in 50 s`);
    const gaps = new Set(late.slice(1).map((at, i) => at - late[i]!));
    assert.ok(gaps.size > 10, "no jitter");
    const now = bench.clock.now();
    assert.equal(bench.budget.isThrottled(now), true);
    assert.equal(bench.budget.isThrottled(now + 30_000), false);
  });

  it("successes end throttling step by step, and one answer to many requests of a moment slows down once", () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 100; i++) budget.failed("throttled", 50, 0);
    let successes = 0;
    for (; budget.isThrottled(60 + successes); successes++) budget.answered(60 + successes, false);
    assert.equal(successes, 20, "from half of the trickle back to all of it, a quarter of a turn each");
  });

  it("a store that is back is noticed by the next turn, and is fully used within a second", async () => {
    const bench = new Bench();
    let outcome: "ok" | "unavailable" = "unavailable";
    const done: number[] = [];
    for (let i = 0; i < 400; i++) {
      bench.fork(Effect.gen(function* () {
        let isDone = false;
        while (!isDone) {
          yield* bench.budget.turn(
            "call",
            false,
            Effect.suspend(() => Effect.map(Effect.sleep(20), () => bench.tell(outcome))),
          );
          isDone = outcome === "ok";
        }
        done.push(bench.clock.now());
      }));
    }
    await bench.clock.advance(30_000);
    outcome = "ok";
    await bench.clock.advance(2_000);
    assert.ok(done[0]! - 30_000 <= 150, `noticed after ${done[0]! - 30_000} ms`);
    assert.equal(done.length, 400, "all done within two seconds");
  });

  it("B2 a flush path is never starved by calls and background work, nor these by it", async () => {
    const bench = new Bench();
    bench.load(300, "call", "unavailable");
    bench.load(300, "background", "unavailable");
    await bench.clock.advance(5_000);
    bench.load(20, "flush", "unavailable");
    await bench.clock.advance(60_000);
    const since = (who: string): number => bench.between(6_000, 65_000, who);
    const all = since("flush") + since("call") + since("background");
    assert.ok(since("flush") >= all / 2 - 1, `${since("flush")} of ${all} turns went to the flush path`);
    assert.ok(since("call") >= all / 6 && since("background") >= all / 6, "calls and background work got none");
    const names = bench.turns.filter(([at]) => at >= 6_000).map(([, who]) => who);
    for (let at = 0; at + 4 <= names.length; at++) {
      assert.ok(names.slice(at, at + 4).filter((who) => who === "flush").length >= 2, `turns ${at} and after`);
    }
  });

  it("B3 whatever calls do, background work and flush paths get turns", async () => {
    for (const [outcome, millis] of [["ok", 2_000], ["unavailable", 5_000], ["throttled", 12_000]] as const) {
      const bench = new Bench();
      bench.load(40, "call", outcome, millis);
      bench.load(1, "background", outcome, millis);
      bench.load(1, "flush", outcome, millis);
      await bench.clock.advance(600_000);
      for (const who of ["background", "flush"]) {
        const begun = bench.turns.filter(([, name]) => name === who).map(([at]) => at);
        const longest = Math.max(...[...begun, 600_000].map((at, i) => at - (begun[i - 1] ?? 0)));
        assert.ok(longest <= 20_000, `${who} waited ${longest} ms while calls take ${millis} ms, ${outcome}`);
      }
    }
  });

  it("B3 requests that hang leave places: to flush paths and calls a quarter each, to background work an eighth", async () => {
    const bench = new Bench();
    bench.load(50, "background", "ok", 1e9);
    bench.load(50, "call", "ok", 1e9);
    await bench.clock.advance(60_000);
    assert.deepEqual([bench.between(0, 1e9, "background"), bench.between(0, 1e9, "call")], [8, 4]);
    bench.load(50, "flush", "ok", 1e9);
    await bench.clock.advance(60_000);
    assert.equal(bench.between(0, 1e9, "flush"), 4);
    const calls = new Bench();
    for (const urgency of ["call", "flush", "background"] as const) {
      calls.load(50, urgency, "ok", 1e9);
      await calls.clock.advance(60_000);
    }
    const taken = ["call", "flush", "background"].map((who) => calls.between(0, 1e9, who));
    assert.deepEqual(taken, [10, 4, 2]);
  });

  it("is first come, first served within an urgency", async () => {
    const bench = new Bench(1);
    for (let i = 0; i < 40; i++) bench.fork(bench.turn("call", "unavailable", { who: String(i) }));
    await bench.clock.advance(10_000);
    assert.deepEqual(bench.turns.map(([, who]) => Number(who)), Array.from({ length: 40 }, (_, i) => i));
  });

  it("first attempts are free unless the store is down, background work's also unless it throttles", () => {
    const bench = new Bench();
    const free = (at: number): string =>
      (["flush", "call", "background"] as const).filter((urgency) => bench.budget.isFree(urgency, at)).join(" ");
    assert.equal(free(0), "flush call background");
    for (let at = 0; at < 2000; at += 100) bench.budget.failed("unavailable", at, at);
    assert.equal(free(2000), "");
    bench.budget.answered(2001, false);
    assert.equal(free(2001), "flush call background");
    bench.budget.failed("throttled", 2002, 2001);
    assert.equal(free(2002), "flush call");
    // Answers that only refuse say that the store is there.
    for (let at = 3000; at < 9000; at += 100) bench.budget.failed("permission", at, at);
    assert.equal(bench.budget.isDown(9000), false);
    // A burst that fails at once is not an outage yet.
    for (let i = 0; i < 500; i++) bench.budget.failed("unavailable", 9100, 9099);
    assert.equal(bench.budget.isDown(9101), false);
  });

  it("first attempts that wait for a store that is down are let go by its first answer, as many as there are places", async () => {
    const bench = new Bench();
    for (let at = 0; at < 2000; at += 100) bench.budget.failed("unavailable", at, at);
    await bench.clock.advance(2_000);
    bench.load(40, "background", "unavailable");
    await bench.clock.advance(1);
    for (let i = 0; i < 100; i++) bench.fork(bench.turn("call", "unavailable", { isFirst: true, who: "first" }));
    await bench.clock.advance(50);
    const before = bench.between(0, 1e9, "first");
    bench.budget.answered(bench.clock.now(), false);
    await bench.clock.advance(5);
    assert.equal(before, 0);
    assert.equal(bench.between(0, 1e9, "first"), 100);
  });

  it("twenty thousand first attempts that are done at once go on one after the other, not one inside the other", async () => {
    const bench = new Bench(4);
    for (let at = 0; at < 2000; at += 100) bench.budget.failed("unavailable", at, at);
    await bench.clock.advance(2_000);
    bench.load(40, "background", "unavailable");
    await bench.clock.advance(10);
    const work = Effect.sync(() => bench.tell("ok"));
    const fibers = Array.from({ length: 20_000 }, () => bench.fork(bench.budget.turn("call", true, work)));
    bench.tell("ok");
    await bench.clock.advance(1_000);
    assert.ok(fibers.every((fiber) => fiber.pollUnsafe()?._tag === "Success"), "the stack is too deep");
  });

  it("nothing is saved up while the store throttles", async () => {
    const bench = new Bench();
    bench.tell("throttled");
    await bench.clock.advance(20_000);
    bench.load(20, "call", "throttled", 1);
    await bench.clock.advance(500);
    assert.ok(bench.turns.length <= 4, `${bench.turns.length} turns at once`);
  });

  it("an interrupted wait hands the clock on and leaves no timer", async () => {
    const bench = new Bench(1);
    const hung = bench.fork(bench.turn("call", "ok", { millis: 1e6 }));
    await bench.clock.settle();
    const waiting = Array.from({ length: 3 }, (_, i) => bench.fork(bench.turn("call", "ok", { who: `${i}` })));
    await bench.clock.advance(100);
    await Effect.runPromise(Fiber.interrupt(waiting[0]!));
    hung.interruptUnsafe();
    waiting[1]!.interruptUnsafe();
    await bench.clock.advance(100);
    assert.equal(bench.turns.at(-1)![1], "2");
    bench.fork(bench.turn("call", "ok", { who: "after" }));
    await bench.clock.advance(1);
    assert.equal(bench.turns.at(-1)![1], "after");
    assert.equal(bench.clock.timers, 0);
  });

  it("interruptions at any step, from 40 seeds, lose neither a place nor a waiter", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const bench = new Bench(2, new SeededScheduler(seed, { preemption: 0.3 }));
      const dice = new FaultDice(seed);
      const fibers = Array.from({ length: 40 }, (_, i) => {
        const urgency = (["flush", "call", "background"] as const)[i % 3]!;
        return bench.fork(bench.turn(urgency, dice.next() < 0.5 ? "ok" : "unavailable", { millis: i % 5 }));
      });
      for (let i = 0; i < 60; i++) {
        if (i % 4 === 0) await bench.clock.advance(Math.floor(dice.next() * 40));
        if (dice.next() < 0.3) bench.budget.answered(bench.clock.now(), true);
        fibers[Math.floor(dice.next() * 40)]!.interruptUnsafe();
      }
      await bench.clock.advance(20_000);
      assert.ok(fibers.every((fiber) => fiber.pollUnsafe() !== undefined), `seed ${seed}: somebody still waits`);
      for (let i = 0; i < 2; i++) bench.fork(bench.turn("flush", "ok", { millis: 1e6, who: "after" }));
      await bench.clock.advance(10);
      assert.equal(bench.between(0, 1e9, "after"), 2, `seed ${seed}: a place is lost`);
    }
  });

  it("somebody looks after the time when who does and the next are interrupted in one moment, from 40 seeds", async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const bench = new Bench(undefined, new SeededScheduler(seed, { preemption: 0.3 }));
      for (let i = 0; i < 32; i++) bench.fork(bench.turn("call", "unavailable", { who: "burst" }));
      await bench.clock.advance(1);
      const pair = [1, 2].map(() => bench.fork(bench.turn("call", "unavailable", { who: "given up" })));
      await bench.clock.settle();
      for (let i = 0; i < 2; i++) bench.fork(bench.turn("background", "unavailable"));
      await bench.clock.advance(1);
      for (const fiber of pair) fiber.interruptUnsafe();
      await bench.clock.advance(1_000);
      assert.equal(bench.between(0, 1e9, "background"), 2, `seed ${seed}: who remains waits for ever`);
    }
  });

  it("no timer when the one that looks after the time goes away while others wait", async () => {
    const bench = new Bench();
    bench.load(40, "background", "unavailable");
    await bench.clock.advance(1_000);
    const calls = Array.from({ length: 5 }, (_, i) => bench.fork(bench.turn("call", "unavailable", { who: `${i}` })));
    for (const fiber of calls.slice(0, 4)) await Effect.runPromise(Fiber.interrupt(fiber));
    await bench.clock.advance(1_000);
    assert.equal(bench.between(1_000, 2_000, "4"), 1);
    assert.ok(bench.between(1_000, 2_000, "background") >= 7, "those who still wait got no turns");
  });
});

describe("StoreHealth", () => {
  it("calls a store slow after four requests in a row of two seconds, and not when bytes explain them", () => {
    const seen: Array<SlowReport | undefined> = [];
    const health = new StoreHealth({ onSlow: (report) => seen.push(report) });
    for (let i = 0; i < 3; i++) health.took(5000, 0, 10_000 + i);
    health.took(10, 0, 20_000);
    for (let i = 0; i < 9; i++) health.took(9000, 1_000_000, 30_000);
    assert.deepEqual(seen, []);
    for (let i = 0; i < 6; i++) health.took(2000, 0, 40_000 + i);
    assert.deepEqual(seen, [{ sinceMillis: 38_000, tookMillis: 2000 }]);
    health.took(1999, 0, 50_000);
    assert.deepEqual(seen.slice(1), [undefined]);
  });

  it("tells once for each reason, of one call after the other, and of none that has ended", () => {
    const told: string[] = [];
    const health = new StoreHealth({ onDegraded: (now, report) => told.push(`${now} ${report?.error.reason}`) });
    const fails = (call: object, reason: StoreErrorReason): void => {
      const fields = { op: "put", path: "p" } as const;
      const error = new StoreError({ ...fields, reason, retryable: true, outcome: "none" });
      health.callFailed(call, { ...fields, sinceMillis: 0, failingMillis: 30_000, error });
    };
    const [one, two] = [{}, {}];
    fails(one, "unavailable");
    fails(two, "throttled");
    fails(one, "unavailable");
    fails(one, "timeout");
    health.callEnded(one);
    health.succeeded();
    fails(two, "throttled");
    health.callEnded(two);
    assert.deepEqual(told, ["true unavailable", "true timeout", "true throttled"]);
    health.succeeded();
    health.succeeded();
    assert.deepEqual(told.slice(3), ["false undefined"]);
  });
});
