/** Virtual clock: order of timers, exact settling, wall time that goes back. */
import { readFile } from "node:fs/promises";
import { Clock, Duration, Effect, Fiber, Queue, type Scheduler } from "effect";
import { realIo } from "../../src/env/real_io.ts";
import { SeededScheduler } from "../../src/env/seeded_scheduler.ts";
import { type VirtualClock, virtualClock, virtualClockLayer } from "../../src/env/virtual_clock.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { canUseDisk } from "../support/permissions.ts";
import { repositoryPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";

function fork<A, E>(clock: VirtualClock, effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
  return Effect.runFork(Effect.provide(effect, virtualClockLayer(clock)), { scheduler: clock.scheduler });
}

describe("virtualClock", () => {
  it("virtualClock shows its start time and moves only when told", async () => {
    const clock = virtualClock(1_000);
    assert.equal(clock.now(), 1_000);
    await clock.advance(250);
    assert.equal(clock.now(), 1_250);
    assert.equal(clock.currentTimeMillisUnsafe(), 1_250);
    assert.equal(clock.currentTimeNanosUnsafe(), 1_250_000_000n);
    assert.equal(clock.monotonicTimeNanosUnsafe(), 250_000_000n);
    await clock.advance(0.5);
    assert.equal(clock.currentTimeNanosUnsafe(), 1_250_500_000n);
    assert.equal(virtualClock().now(), 0);
  });

  it("advance fires timers in order of deadline, each at its own time", async () => {
    const clock = virtualClock();
    const log: Array<string> = [];
    for (const [name, millis] of [["c", 30], ["a", 10], ["b", 20], ["a2", 10], ["late", 101]] as const) {
      fork(
        clock,
        Effect.sleep(Duration.millis(millis)).pipe(
          Effect.andThen(Clock.currentTimeMillis),
          Effect.map((now) => log.push(`${name}@${now}`)),
        ),
      );
    }
    await clock.advance(100);
    assert.deepEqual(log, ["a@10", "a2@10", "b@20", "c@30"]);
    assert.equal(clock.timers, 1);
    await clock.advance(1);
    assert.equal(log.at(-1), "late@101");
    assert.equal(clock.timers, 0);
  });

  it("advance lets the work of a timer settle before the next fires, however many steps it takes", async () => {
    const clock = virtualClock();
    const log: Array<string> = [];
    const work = (name: string, millis: number) =>
      Effect.gen(function* () {
        const queue = yield* Queue.unbounded<number>();
        yield* Effect.sleep(millis);
        yield* Effect.forkChild(
          Effect.forEach([1, 2, 3], (n) => Effect.andThen(Effect.yieldNow, Queue.offer(queue, n))),
        );
        for (let i = 0; i < 3; i++) {
          yield* Queue.take(queue);
          for (let hop = 0; hop < 20; hop++) yield* Effect.promise(() => Promise.resolve());
          yield* Effect.yieldNow;
        }
        log.push(name);
      });
    fork(clock, work("first", 10));
    fork(clock, work("second", 10));
    fork(clock, Effect.andThen(Effect.sleep(10), Effect.sync(() => log.push("third"))));
    await clock.advance(10);
    assert.deepEqual(log, ["first", "second", "third"]);
  });

  it("advance fires the sleeps that are begun on the way", async () => {
    const clock = virtualClock();
    let ticks = 0;
    const ticker = fork(clock, Effect.forever(Effect.andThen(Effect.sleep(100), Effect.sync(() => ticks++))));
    await clock.advance(1_050);
    assert.equal(ticks, 10);
    await clock.advance(50);
    assert.equal(ticks, 11);
    Effect.runFork(Fiber.interrupt(ticker), { scheduler: clock.scheduler });
    await clock.settle();
    assert.equal(clock.timers, 0);
  });

  it("set back moves no timer and leaves monotonic time alone; set forward fires", async () => {
    const clock = virtualClock(10_000);
    let fired = 0;
    fork(clock, Effect.andThen(Effect.sleep(100), Effect.sync(() => fired++)));
    await clock.set(4_000);
    assert.equal(clock.now(), 4_000);
    assert.equal(clock.monotonicTimeNanosUnsafe(), 0n);
    await clock.advance(99);
    assert.equal(fired, 0);
    await clock.set(4_100);
    assert.equal(fired, 1);
    assert.equal(clock.now(), 4_100);
    assert.equal(clock.monotonicTimeNanosUnsafe(), 100_000_000n);
  });

  it("settle waits for busy probes until they are taken away", async () => {
    const clock = virtualClock();
    let busy = true;
    const untrack = clock.track(() => busy);
    let settled = false;
    const done = clock.settle().then(() => settled = true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(settled, false);
    busy = false;
    await done;
    busy = true;
    untrack();
    await clock.settle();
  });

  it("settle waits for real input and output, also under an interrupted fiber", async (t) => {
    if (!canUseDisk()) return t.skip("needs the disk");
    const clock = virtualClock();
    const read = realIo(() => readFile(repositoryPath("deno.json")), (cause) => cause);
    let size = 0;
    fork(clock, Effect.andThen(Effect.sleep(5), Effect.map(read, (bytes) => size = bytes.length)));
    await clock.advance(5);
    assert.ok(size > 0);

    let ended = false;
    let finish = () => {};
    const slow = realIo(async (signal) => {
      await new Promise<void>((resolve) => finish = resolve);
      ended = signal.aborted;
    }, (cause) => cause);
    const fiber = fork(clock, slow);
    await Effect.runPromise(Fiber.interrupt(fiber));
    assert.equal(ended, false, "a disk that hangs holds up nobody who has interrupted the wait for it");
    finish();
    await clock.settle();
    assert.equal(ended, true, "the work saw the abort");

    ended = false;
    setTimeout(() => finish(), 20);
    Effect.runFork(Fiber.interrupt(fork(clock, slow)), { scheduler: clock.scheduler });
    await clock.settle();
    assert.equal(ended, true);
  });

  it("settle gives up on work that never ends, and says what was busy", async () => {
    const clock = virtualClock(0, { settleLimitMillis: 30 });
    const spin = fork(clock, Effect.forever(Effect.yieldNow));
    await assert.rejects(clock.settle(), /cannot settle within 30 ms: \d+ scheduled tasks/);
    Effect.runFork(Fiber.interrupt(spin), { scheduler: clock.scheduler });
    await clock.settle();
    const untrack = clock.track(() => true);
    await assert.rejects(clock.advance(1), /a tracked probe/);
    untrack();
    await clock.advance(1);
  });

  it("moves that are asked for together run one after the other", async () => {
    const clock = virtualClock();
    const seen: Array<number> = [];
    await Promise.all([
      clock.advance(10).then(() => seen.push(clock.now())),
      clock.advance(5).then(() => seen.push(clock.now())),
    ]);
    assert.deepEqual(seen, [10, 15]);
  });

  it("advance and set refuse what is not a time", async () => {
    const clock = virtualClock();
    for (const bad of [-1, NaN, Infinity]) {
      await assert.rejects(clock.advance(bad), (e) => e instanceof InvalidArgument && e.reason === "clock");
    }
    await assert.rejects(clock.set(NaN), InvalidArgument);
    assert.throws(() => virtualClock(Infinity), InvalidArgument);
    assert.equal(clock.now(), 0);
  });
});

describe("SeededScheduler", () => {
  const run = async (seed: number): Promise<string> => {
    const clock = virtualClock(0, { scheduler: new SeededScheduler(seed, { preemption: 0.1 }) });
    const log: Array<string> = [];
    const program = Effect.forEach(["a", "b", "c"], (name) =>
      Effect.gen(function* () {
        for (let i = 0; i < 3; i++) {
          log.push(`${name}${i}`);
          yield* Effect.yieldNow;
        }
        yield* Effect.sleep("1 second");
        log.push(`${name}!`);
      }), { concurrency: "unbounded" });
    const fiber = fork(clock, program);
    await clock.advance(1_000);
    assert.notEqual(fiber.pollUnsafe(), undefined);
    return log.join(" ");
  };

  it("SeededScheduler replays a seed and explores with others", async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const first = await run(seed);
      assert.equal(await run(seed), first, `seed ${seed}`);
      seen.add(first);
    }
    assert.ok(seen.size > 20, `only ${seen.size} interleavings of 40`);
  });

  it("SeededScheduler gives the same run on every runtime", async () => {
    assert.equal(await run(7), EXPECTED_RUN_OF_SEED_7);
  });

  it("SeededScheduler preempts fibers that never yield of themselves", async () => {
    const scheduler: Scheduler.Scheduler = new SeededScheduler(1, { preemption: 0.5 });
    const log: Array<string> = [];
    const work = (name: string) =>
      Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (n) => Effect.sync(() => log.push(name + n)));
    await Effect.runPromise(Effect.all([work("a"), work("b")], { concurrency: 2 }), { scheduler });
    assert.equal(log.length, 16);
    assert.ok(log.lastIndexOf("a8") > log.indexOf("b1") && log.lastIndexOf("b8") > log.indexOf("a1"));
  });
});

const EXPECTED_RUN_OF_SEED_7 = "a0 b0 a1 a2 b1 b2 c0 c1 c2 b! a! c!";
