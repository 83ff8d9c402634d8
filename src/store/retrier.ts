/**
 * The loop in which one call to a store is tried again: waits, turns, deadlines, and what everybody learns from each
 * attempt. What a lost answer means is not decided here (`retrying_store.ts`).
 *
 * @module
 */
import { Clock, Context, Effect, Exit, Random } from "effect";
import { monotonicMillis } from "../env/monotonic_time.ts";
import { StoreError, storeErrorWith, type StoreOp } from "../errors.ts";
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
  /** How many repetitions the store gets; share it among all who use the same store. One of its own when absent. */
  readonly budget?: RetryBudget;
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

/**
 * Whether the same request is worth repeating. Without a deadline (a writer's flush) a refused permission is too:
 * credentials are refreshed, file modes mended, and the writer must go on then instead of losing what it holds.
 */
function mayRetry(error: StoreError, deadlineMillis: number): boolean {
  return error.retryable || (error.reason === "permission" && deadlineMillis === Infinity);
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
}

/** Repeats the requests of one user of a store. */
export class Retrier {
  readonly #firstDelay: number;
  readonly #maxDelay: number;
  readonly #attemptTimeout: number | undefined;
  readonly #isBackground: boolean;
  readonly #isHeard: boolean;
  readonly #budget: RetryBudget;
  readonly #health: StoreHealth;

  constructor(options: RetryOptions) {
    this.#firstDelay = options.firstDelayMillis ?? 100;
    this.#maxDelay = options.maxDelayMillis ?? 1_000;
    this.#attemptTimeout = options.attemptTimeoutMillis;
    this.#isBackground = options.background === true;
    this.#isHeard = options.heard !== false;
    this.#budget = options.budget ?? new RetryBudget();
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
      const call: Call = { op, path, startMillis, outcome, bodyBytes, urgency, clock };
      const first = this.#budget.isFree(urgency, startMillis)
        ? this.#attempt(call, attempt, deadline, false)
        : this.#turn(call, attempt, deadline, deadline, true);
      return Effect.catch(first, (error) => {
        if (error.outcome === "unknown") outcome.unknown = true;
        if (!mayRetry(error, deadline)) return Effect.fail(outcome.unknown ? withUnknownOutcome(error) : error);
        return this.#repeat(call, attempt, error, deadline, fiber.getRef(Random.Random));
      });
    });
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
        if (!mayRetry(error, deadlineMillis)) return Effect.fail(given);
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
    const work = Effect.suspend(() =>
      this.#attempt(call, attempt, Math.max(deadlineMillis - elapsedMillis(call), this.#firstDelay), true)
    );
    const turn = this.#budget.turn(call.urgency, isFirst, work);
    if (withinMillis === Infinity) return turn;
    return Effect.timeoutOrElse(turn, {
      duration: withinMillis,
      orElse: () => {
        const error = given ?? this.#notAsked(call);
        return Effect.fail(call.outcome.unknown ? withUnknownOutcome(error) : error);
      },
    });
  }

  #notAsked({ op, path }: Call): StoreError {
    return new StoreError({
      op,
      path,
      reason: this.#budget.lastFailure,
      retryable: true,
      outcome: "none",
      detail: "the store answers nobody",
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
          this.#budget.answered(now, tookTurn);
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
        this.#budget.failed(failed.reason, now, begun);
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
