/**
 * The loop in which one call to a store is tried again: waits, turns, deadlines, and what everybody learns from each
 * attempt. What a lost answer means is not decided here (`retrying_store.ts`).
 *
 * @module
 */
import { Clock, Context, Effect, Exit, Random } from "effect";
import { monotonicMillis } from "../env/monotonic_time.ts";
import { StoreError, type StoreErrorReason, storeErrorWith, type StoreOp } from "../errors.ts";
import { READ_OPS } from "./object_store.ts";
import { RetryBudget, type Urgency } from "./retry_budget.ts";
import { SLOWEST_BYTES_PER_MILLI, StoreHealth } from "./store_health.ts";

/** How long a request is repeated, in ms from its start; 30,000 unless provided, Infinity = for ever. */
export const RetryDeadline: Context.Reference<number> = Context.Reference<number>("phyllite/store/RetryDeadline", {
  defaultValue: () => 30_000,
});

/** Settings of `retrying`. */
export interface RetryOptions {
  /** Wait before the first repetition, ms; it doubles from then on. 100 when absent. */
  readonly firstDelayMillis?: number;
  /** Longest wait, ms; 1,000 when absent. The real waits are between half of it and all of it. */
  readonly maxDelayMillis?: number;
  /**
   * Time limit of every single attempt, ms, plus 1 s for every 100 kB it sends; none when absent. The outcome of an
   * attempt cut off is unknown.
   */
  readonly attemptTimeoutMillis?: number;
  /**
   * How many requests and repetitions the store gets; share it among all who use the same store. One of its own when
   * absent; a function finds it for the clock of who asks.
   */
  readonly budget?: RetryBudget | ((clock: Clock.Clock) => RetryBudget);
  /** Whether this is housekeeping, which makes way for calls and for a writer's flushes. Default false. */
  readonly background?: boolean;
  /** Hears how the store is doing; share it likewise. */
  readonly health?: StoreHealth;
  /**
   * Whether calls that fail for long make the store degraded; default true. False for whoever gives its requests up: they
   * still tell that the store is well again.
   */
  readonly heard?: boolean;
}

/** What no operator mends while a writer waits: the condition was refused, or the request cannot be made at all. */
const FINAL: ReadonlySet<StoreErrorReason> = new Set(["conflict", "invalid-path", "unsupported"]);

/**
 * Whether the same request is worth repeating.
 *
 * Without a deadline (a writer's flush, D22) everything is but answers: credentials are refreshed, file modes, buckets,
 * gateways and certificates mended, and the writer must go on then instead of losing what it holds. Answers to a read are
 * also that there is no such object, and that it is shorter. An upload that cannot go on is begun anew by who made it.
 */
function mayRetry(error: StoreError, op: StoreOp, deadlineMillis: number): boolean {
  if (error.retryable) return true;
  if (deadlineMillis !== Infinity || FINAL.has(error.reason)) return false;
  if (error.reason === "permission" || op === "put" || op === "putIfAbsent") return true;
  return op !== "upload" && error.reason !== "not-found" && error.reason !== "short-read";
}

/** One call, with all its attempts. */
interface Call {
  readonly op: StoreOp;
  readonly path: string;
  /** Monotonic time of the start, ms. */
  readonly startMillis: number;
  /** Set when an attempt ended without anybody knowing what it did. */
  readonly outcome: { unknown: boolean };
  /** Size of the body it sends. */
  readonly bodyBytes: number;
  readonly urgency: Urgency;
  readonly clock: Clock.Clock;
  readonly budget: RetryBudget;
}

/** Repeats the requests of one user of a store. */
export class Retrier {
  readonly #firstDelay: number;
  readonly #maxDelay: number;
  readonly #attemptTimeout: number | undefined;
  readonly #isBackground: boolean;
  readonly #isHeard: boolean;
  readonly #budgetOf: (clock: Clock.Clock) => RetryBudget;
  readonly #health: StoreHealth;

  constructor(options: RetryOptions) {
    this.#firstDelay = options.firstDelayMillis ?? 100;
    this.#maxDelay = options.maxDelayMillis ?? 1_000;
    this.#attemptTimeout = options.attemptTimeoutMillis;
    this.#isBackground = options.background === true;
    this.#isHeard = options.heard !== false;
    const { budget = new RetryBudget() } = options;
    this.#budgetOf = typeof budget === "function" ? budget : () => budget;
    this.#health = options.health ?? new StoreHealth();
  }

  /** Runs `attempt` until it succeeds, fails for good, or the fiber's deadline has passed. */
  run<A>(
    op: StoreOp,
    path: string,
    attempt: () => Effect.Effect<A, StoreError>,
    outcome: { unknown: boolean } = { unknown: false },
    bodyBytes: number = 0,
  ): Effect.Effect<A, StoreError> {
    return Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock);
      const deadline = fiber.getRef(RetryDeadline);
      const urgency = this.#isBackground ? "background" : deadline === Infinity ? "flush" : "call";
      const startMillis = monotonicMillis(clock);
      const call: Call = {
        op,
        path,
        startMillis,
        outcome,
        bodyBytes,
        urgency,
        clock,
        budget: this.#budgetOf(clock),
      };
      return Effect.catch(this.#first(call, attempt, deadline), (error) => {
        if (error.outcome === "unknown") outcome.unknown = true;
        if (!mayRetry(error, op, deadline)) return Effect.fail(outcome.unknown ? withUnknownOutcome(error) : error);
        return this.#repeat(call, attempt, error, deadline, fiber.getRef(Random.Random));
      });
    });
  }

  /** The first attempt: when there is a place for it, and also with a turn where the store is not to be asked freely. */
  #first<A>(
    call: Call,
    attempt: () => Effect.Effect<A, StoreError>,
    deadlineMillis: number,
  ): Effect.Effect<A, StoreError> {
    const { budget, urgency, clock } = call;
    const turn = () => {
      const within = Math.max(deadlineMillis - elapsedMillis(call), 0);
      return this.#turn(call, attempt, deadlineMillis, within, true);
    };
    if (!budget.isFree(urgency, call.startMillis)) return turn();
    let needsTurn = false;
    const work = Effect.suspend(() => {
      // How the store does may have changed while this waited.
      needsTurn = !budget.isFree(urgency, monotonicMillis(clock));
      if (needsTurn) return Effect.fail(notAsked(call));
      const least = Math.min(deadlineMillis, this.#firstDelay);
      return this.#attempt(call, attempt, Math.max(deadlineMillis - elapsedMillis(call), least), false);
    });
    const passed = budget.gate.pass(urgency, deadlineMillis, work, () => crowdedOut(call));
    return Effect.catch(passed, (error) => needsTurn ? turn() : Effect.fail(error));
  }

  #repeat<A>(
    call: Call,
    attempt: () => Effect.Effect<A, StoreError>,
    firstError: StoreError,
    deadlineMillis: number,
    random: typeof Random.Random.Service,
  ): Effect.Effect<A, StoreError> {
    const loop = (error: StoreError, delay: number): Effect.Effect<A, StoreError> =>
      Effect.suspend(() => {
        if (error.outcome === "unknown") call.outcome.unknown = true;
        const given = call.outcome.unknown ? withUnknownOutcome(error) : error;
        if (!mayRetry(error, call.op, deadlineMillis)) return Effect.fail(given);
        const elapsed = elapsedMillis(call);
        if (this.#isHeard) this.#noteFailure(call, elapsed, error);
        const left = deadlineMillis - elapsed;
        if (left < 1) return Effect.fail(given);
        const wait = Math.min(Math.ceil(left), Math.round(delay * (0.5 + random.nextDoubleUnsafe() / 2)));
        const again = Effect.suspend(() =>
          this.#turn(call, attempt, deadlineMillis, Math.max(left - wait, this.#firstDelay), false, given)
        );
        return Effect.sleep(wait).pipe(
          Effect.andThen(again),
          Effect.catch((next) => loop(next, Math.min(delay * 2, this.#maxDelay))),
        );
      });
    return loop(firstError, this.#firstDelay).pipe(
      Effect.tap(() => Effect.sync(() => this.#noteRecovery(call))),
      Effect.ensuring(Effect.sync(() => this.#health.callEnded(call))),
    );
  }

  /**
   * One attempt, when its turn comes; the wait for it counts towards the deadline.
   *
   * @param withinMillis time that the wait and the attempt have together; Infinity = any
   * @param given the error when that time is over; absent before anything was asked
   */
  #turn<A>(
    call: Call,
    attempt: () => Effect.Effect<A, StoreError>,
    deadlineMillis: number,
    withinMillis: number,
    isFirst: boolean,
    given?: StoreError,
  ): Effect.Effect<A, StoreError> {
    const { budget, urgency } = call;
    const work = Effect.suspend(() =>
      this.#attempt(call, attempt, Math.max(deadlineMillis - elapsedMillis(call), this.#firstDelay), true)
    );
    const passed = budget.gate.pass(urgency, Infinity, work, () => crowdedOut(call));
    const turn = budget.turn(urgency, isFirst, passed);
    if (withinMillis === Infinity) return turn;
    return Effect.timeoutOrElse(turn, {
      duration: withinMillis,
      orElse: () => {
        const error = given ?? notAsked(call);
        return Effect.fail(call.outcome.unknown ? withUnknownOutcome(error) : error);
      },
    });
  }

  /** One attempt, cut off after `limitMillis` or the store's own limit; everybody learns from how it ends. */
  #attempt<A>(
    call: Call,
    attempt: () => Effect.Effect<A, StoreError>,
    limitMillis: number,
    tookTurn: boolean,
  ): Effect.Effect<A, StoreError> {
    return Effect.suspend(() => {
      const begun = monotonicMillis(call.clock);
      return Effect.onExit(this.#limited(call, attempt, limitMillis), (exit) => {
        const now = monotonicMillis(call.clock);
        if (Exit.isSuccess(exit)) {
          call.budget.answered(now, tookTurn);
          this.#health.took(now - begun, bytesOf(call, exit.value), call.clock.currentTimeMillisUnsafe());
          this.#health.succeeded();
          return Effect.void;
        }
        const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error;
        if (failed === undefined) {
          // What is cut off here may take effect all the same.
          if (!READ_OPS.has(call.op)) call.outcome.unknown = true;
          return Effect.void;
        }
        if (failed.reason === "not-found") this.#health.succeeded();
        call.budget.failed(failed.reason, now, begun);
        return Effect.void;
      });
    });
  }

  #limited<A>(
    call: Call,
    attempt: () => Effect.Effect<A, StoreError>,
    limitMillis: number,
  ): Effect.Effect<A, StoreError> {
    const own = this.#attemptTimeout === undefined
      ? Infinity
      : this.#attemptTimeout + call.bodyBytes / SLOWEST_BYTES_PER_MILLI;
    const limit = Math.min(limitMillis, Math.ceil(own));
    if (limit === Infinity) return attempt();
    const { op, path } = call;
    const outcome = READ_OPS.has(op) ? "none" : "unknown";
    const late = (): Effect.Effect<never, StoreError> =>
      Effect.fail(new StoreError({ op, path, reason: "timeout", retryable: true, outcome }));
    return Effect.timeoutOrElse(attempt(), { duration: limit, orElse: late });
  }

  #noteFailure(call: Call, failingMillis: number, error: StoreError): void {
    const { op, path, clock } = call;
    const sinceMillis = clock.currentTimeMillisUnsafe() - failingMillis;
    this.#health.callFailed(call, { op, path, sinceMillis, failingMillis, error });
  }

  /** A call that had failed has succeeded. */
  #noteRecovery(call: Call): void {
    this.#health.callEnded(call);
    this.#health.succeeded();
  }
}

/** Why a store that is down was not asked. */
function notAsked({ op, path, budget }: Call): StoreError {
  const detail = "the store answers nobody";
  return new StoreError({ op, path, reason: budget.lastFailure, retryable: true, outcome: "none", detail });
}

/** Why a store that has too much to do was not asked. */
function crowdedOut({ op, path }: Call): StoreError {
  const detail = "all that may be asked at once was under way for others";
  return new StoreError({ op, path, reason: "timeout", retryable: true, outcome: "none", detail });
}

/** Bytes that a request has moved, as far as it tells. */
function bytesOf(call: Call, value: unknown): number {
  let bytes = call.bodyBytes;
  for (const part of Array.isArray(value) ? value : [value]) if (part instanceof Uint8Array) bytes += part.length;
  return bytes;
}

function elapsedMillis({ clock, startMillis }: Call): number {
  return monotonicMillis(clock) - startMillis;
}

/** The same error, as one of a request of which nobody knows what it did. */
export function withUnknownOutcome(error: StoreError): StoreError {
  return error.outcome === "unknown" ? error : storeErrorWith(error, { outcome: "unknown" });
}
