/**
 * A clock that moves only when told, and that knows when everything its moves caused has come to rest.
 *
 * Invariants:
 * - Wall time may go back (`set`), monotonic time never does; sleeps are measured in monotonic time.
 * - `advance` fires due timers one by one in order of deadline, then of registration, and lets all work that a timer
 *   caused settle before it fires the next.
 * - "Settled" is counted, not guessed: no task waits in the clock's scheduler, no probe given to `track` is busy and no
 *   real I/O is under way, seen in two consecutive turns of the event loop (between turns all promise jobs have run).
 *   It holds for work that runs on the clock's `scheduler`; a fiber on another scheduler is not seen.
 *
 * This is the one file that uses the platform's timers: `setImmediate` to see whole turns of the event loop go by, and
 * `setTimeout` to give up on work that never settles. Neither is visible in virtual time.
 *
 * @module
 */
import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import { Clock, Context, Duration, Effect, Layer, Scheduler } from "effect";
import { InvalidArgument } from "../errors.ts";
import type { IoCountingClock } from "./real_io.ts";

/** A clock for tests and simulations. Pass it to `open`, or provide it with {@linkcode virtualClockLayer}. */
export interface VirtualClock extends IoCountingClock {
  /** Wall time, ms since 1970. */
  now(): number;
  /** Moves time forward by `millis` (0 or more), firing what is due; resolves when all of it has settled. */
  advance(millis: number): Promise<void>;
  /** Sets the wall time. Forward: like `advance` by the difference. Back: no timer fires or moves. */
  set(millis: number): Promise<void>;
  /** Resolves when all work has settled; time stands still. Rejects when it does not within 30 real seconds. */
  settle(): Promise<void>;
  /** Run effects on this scheduler so that `settle` can see them. */
  readonly scheduler: Scheduler.Scheduler;
  /** Adds a probe: while it answers true, work is not settled. Answers a function that takes it away. */
  track(busy: () => boolean): () => void;
  /** Number of sleeps that wait for their time. */
  readonly timers: number;
}

/** Settings of {@linkcode virtualClock}. */
export interface VirtualClockOptions {
  /** The scheduler that really runs the tasks, such as a `SeededScheduler`; Effect's own when absent. */
  readonly scheduler?: Scheduler.Scheduler;
  /** Real time after which settling is given up, in ms; 30,000 when absent. */
  readonly settleLimitMillis?: number;
}

/** Makes a {@linkcode VirtualClock} that shows `startMillis` (ms since 1970; 0 when absent). */
export function virtualClock(startMillis: number = 0, options: VirtualClockOptions = {}): VirtualClock {
  checkMillis("start time", startMillis, Number.MIN_SAFE_INTEGER);
  return new SteppedClock(startMillis, options);
}

/** Gives the effects below it this clock and its scheduler. */
export function virtualClockLayer(clock: VirtualClock): Layer.Layer<never> {
  return Layer.succeedContext(virtualClockContext(clock)) as Layer.Layer<never>;
}

/** The services of {@linkcode virtualClockLayer}, for `Effect.provideContext`. */
export function virtualClockContext(clock: VirtualClock): Context.Context<never> {
  return Context.make(Clock.Clock, clock).pipe(Context.add(Scheduler.Scheduler, clock.scheduler)) as Context.Context<
    never
  >;
}

/** Turns of the event loop without work that make "settled". */
const QUIET_TURNS = 2;
/** Turns before the watchdog is armed; most settling ends long before. */
const TURNS_BEFORE_WATCHDOG = 100;

interface Timer {
  readonly deadline: number;
  readonly order: number;
  readonly fire: () => void;
}

class SteppedClock implements VirtualClock {
  readonly scheduler: CountingScheduler;
  readonly currentTimeMillis: Effect.Effect<number> = Effect.sync(() => this.currentTimeMillisUnsafe());
  readonly currentTimeNanos: Effect.Effect<bigint> = Effect.sync(() => this.currentTimeNanosUnsafe());
  readonly monotonicTimeNanos: Effect.Effect<bigint> = Effect.sync(() => this.monotonicTimeNanosUnsafe());
  readonly #limitMillis: number;
  /** Milliseconds since the clock was made; never goes back. */
  #monotonic = 0;
  /** Wall time minus monotonic time. */
  #offset: number;
  /** Sleeps in ascending order of (deadline, order). */
  #timers: Array<Timer> = [];
  #nextOrder = 0;
  #probes = new Set<() => boolean>();
  #ioInFlight = 0;
  /** Moves run one after the other, in the order of the calls. */
  #moves: Promise<void> = Promise.resolve();

  constructor(startMillis: number, options: VirtualClockOptions) {
    this.#offset = startMillis;
    this.#limitMillis = options.settleLimitMillis ?? 30_000;
    this.scheduler = new CountingScheduler(options.scheduler ?? new Scheduler.MixedScheduler());
  }

  now(): number {
    return this.#monotonic + this.#offset;
  }

  get timers(): number {
    return this.#timers.length;
  }

  currentTimeMillisUnsafe(): number {
    return this.now();
  }

  currentTimeNanosUnsafe(): bigint {
    return toNanos(this.now());
  }

  monotonicTimeNanosUnsafe(): bigint {
    return toNanos(this.#monotonic);
  }

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration);
    if (millis <= 0) return Effect.yieldNow;
    if (!Number.isFinite(millis)) return Effect.never;
    return Effect.callback<void>((resume) => {
      const timer: Timer = {
        deadline: this.#monotonic + millis,
        order: this.#nextOrder++,
        fire: () => resume(Effect.void),
      };
      this.#timers.splice(this.#place(timer), 0, timer);
      return Effect.sync(() => {
        const at = this.#place(timer);
        if (this.#timers[at] === timer) this.#timers.splice(at, 1);
      });
    });
  }

  advance(millis: number): Promise<void> {
    return this.#move(() => {
      checkMillis("step", millis, 0);
      return this.#advanceTo(this.#monotonic + millis);
    });
  }

  set(millis: number): Promise<void> {
    return this.#move(async () => {
      checkMillis("time", millis, Number.MIN_SAFE_INTEGER);
      await this.#settle();
      const step = millis - this.now();
      if (step >= 0) await this.#advanceTo(this.#monotonic + step);
      this.#offset = millis - this.#monotonic;
      await this.#settle();
    });
  }

  settle(): Promise<void> {
    return this.#move(() => this.#settle());
  }

  track(busy: () => boolean): () => void {
    const probe = (): boolean => busy();
    this.#probes.add(probe);
    return () => void this.#probes.delete(probe);
  }

  ioStarted(): void {
    this.#ioInFlight++;
  }

  ioEnded(): void {
    this.#ioInFlight--;
  }

  #move(step: () => Promise<void>): Promise<void> {
    const done = this.#moves.then(step);
    this.#moves = done.catch(() => {});
    return done;
  }

  async #advanceTo(end: number): Promise<void> {
    await this.#settle();
    for (let timer = this.#timers[0]; timer !== undefined && timer.deadline <= end; timer = this.#timers[0]) {
      this.#timers.shift();
      this.#monotonic = Math.max(this.#monotonic, timer.deadline);
      timer.fire();
      await this.#settle();
    }
    this.#monotonic = end;
    await this.#settle();
  }

  /** Index of the first timer that is not before `timer`. */
  #place(timer: Timer): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#timers[middle]!;
      const before = other.deadline < timer.deadline ||
        (other.deadline === timer.deadline && other.order < timer.order);
      if (before) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #busy(): string | undefined {
    if (this.scheduler.pending > 0) return `${this.scheduler.pending} scheduled tasks`;
    if (this.#ioInFlight > 0) return `${this.#ioInFlight} requests to a disk or network`;
    for (const probe of this.#probes) if (probe()) return "a tracked probe";
    return undefined;
  }

  async #settle(): Promise<void> {
    let watchdog: ReturnType<typeof setTimeout> | undefined;
    let expired = false;
    try {
      for (let quiet = 0, turns = 0; quiet < QUIET_TURNS; turns++) {
        const tasksBefore = this.scheduler.started;
        await nextTurn();
        const busy = this.#busy();
        // A task that came and went within the turn may have promised more: such a turn was not quiet either.
        quiet = busy === undefined && this.scheduler.started === tasksBefore ? quiet + 1 : 0;
        if (expired) {
          throw new Error(
            `Virtual clock cannot settle within ${this.#limitMillis} ms: ${busy ?? "new tasks all the time"}`,
          );
        }
        if (turns === TURNS_BEFORE_WATCHDOG) watchdog = setTimeout(() => expired = true, this.#limitMillis);
      }
    } finally {
      if (watchdog !== undefined) clearTimeout(watchdog);
    }
  }
}

/** Counts the tasks that wait in the schedulers's dispatchers. */
class CountingScheduler implements Scheduler.Scheduler {
  readonly executionMode: "sync" | "async";
  /** Tasks scheduled and not yet finished. */
  pending = 0;
  /** Tasks scheduled since the beginning. */
  started = 0;
  readonly #inner: Scheduler.Scheduler;

  constructor(inner: Scheduler.Scheduler) {
    this.#inner = inner;
    this.executionMode = inner.executionMode;
  }

  shouldYield(fiber: Parameters<Scheduler.Scheduler["shouldYield"]>[0]): boolean {
    return this.#inner.shouldYield(fiber);
  }

  makeDispatcher(): Scheduler.SchedulerDispatcher {
    const dispatcher = this.#inner.makeDispatcher();
    return {
      scheduleTask: (task, priority) => {
        this.pending++;
        this.started++;
        dispatcher.scheduleTask(() => {
          try {
            task();
          } finally {
            this.pending--;
          }
        }, priority);
      },
      flush: () => dispatcher.flush(),
    };
  }
}

/** Resolves after the event loop has gone round once; all promise jobs of this turn have run by then. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function toNanos(millis: number): bigint {
  const whole = Math.floor(millis);
  return BigInt(whole) * 1_000_000n + BigInt(Math.round((millis - whole) * 1e6));
}

function checkMillis(what: string, millis: number, least: number): void {
  if (Number.isFinite(millis) && millis >= least && millis <= Number.MAX_SAFE_INTEGER) return;
  throw new InvalidArgument({
    reason: "clock",
    message: `Cannot move the virtual clock: the ${what} is ${millis}, it must be a finite number of milliseconds` +
      (least === 0 ? ", 0 or more" : ""),
  });
}
