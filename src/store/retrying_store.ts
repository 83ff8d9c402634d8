/**
 * Repeats requests that may succeed later, and finds out what became of those whose answer was lost.
 *
 * Invariants:
 * - Errors that are answers (`retryable: false`) pass at once.
 * - This is the only place that resolves unknown outcomes (D19). "created" is answered only when this call's own put
 *   created the object: proven by its put-id, or by equal bytes where no other process could have written them
 *   (`uniqueBody`). Everything else that exists is "exists", and so is every "exists" of a first attempt, but for unique
 *   bodies that go to a service far away: proxies may repeat a PUT, and a log object of its own would fence its writer.
 * - An error that is given out says "unknown" if any of the attempts had an unknown outcome.
 * - No repetition without a turn from the store's {@linkcode RetryBudget}: no retry storm, however many calls fail.
 *
 * How long a call tries is said by its fiber: {@linkcode RetryDeadline}. Flush paths set it to Infinity (D22). A first
 * attempt that never answers is ended only when `attemptTimeoutMillis` is given; adapters have timeouts of their own.
 *
 * @module
 */
import { Clock, Context, Effect, Exit, Layer, Random } from "effect";
import { bytesEqual } from "../bytes/compare.ts";
import { toHex } from "../bytes/hex.ts";
import { Ids } from "../env/ids.ts";
import { StoreError, type StoreOp } from "../errors.ts";
import { ObjectStore, type ObjectStoreShape, type PutIdentity, type Upload } from "./object_store.ts";
import { monotonicMillis, RetryBudget, type Urgency } from "./retry_budget.ts";
import { SLOWEST_BYTES_PER_MILLI, StoreHealth } from "./store_health.ts";

export type { DegradedReport } from "./store_health.ts";

/** How long a request is repeated, in ms from its start; 30,000 unless provided, Infinity = for ever. */
export const RetryDeadline: Context.Reference<number> = Context.Reference<number>("phyllite/store/RetryDeadline", {
  defaultValue: () => 30_000,
});

/** Bytes that an upload may hold back until a later call sends them: its time limit allows for those too. */
const UPLOAD_HELD_BYTES_MAX = 64 * 1024 * 1024;

/** Settings of {@linkcode retrying}. */
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

/** Repeats the requests of `inner`. */
export function retrying(inner: ObjectStoreShape, options: RetryOptions = {}): ObjectStoreShape {
  const retrier = new Retrier(options);
  const { deleteMany } = inner;
  return {
    provider: inner.provider,
    get: (path) => retrier.run("get", path, () => inner.get(path)),
    getRange: (path, range) => retrier.run("getRange", path, () => inner.getRange(path, range)),
    getRanges: (path, ranges) => retrier.run("getRanges", path, () => inner.getRanges(path, ranges)),
    head: (path) => retrier.run("head", path, () => inner.head(path)),
    put: (path, body) => retrier.run("put", path, () => inner.put(path, body), undefined, body.length),
    putIfAbsent: (path, body, identity) => putOnce(retrier, inner, path, body, identity),
    list: (prefix, startAfter) => retrier.run("list", prefix, () => inner.list(prefix, startAfter)),
    delete: (path) => retrier.run("delete", path, () => inner.delete(path)),
    deleteMany: deleteMany &&
      ((paths) => retrier.run("deleteMany", paths[0] ?? "", () => deleteMany(paths), undefined, 0)),
    copy: (source, target) => retrier.run("copy", target, () => inner.copy(source, target)),
    upload: (path) =>
      Effect.map(
        retrier.run("upload", path, () => inner.upload(path)),
        (upload) => retryingUpload(retrier, inner, path, upload),
      ),
  };
}

/** {@linkcode retrying} as a layer over the store service. */
export function retryingLayer(options?: RetryOptions): Layer.Layer<ObjectStore, never, ObjectStore> {
  return Layer.effect(ObjectStore, Effect.map(ObjectStore, (inner) => retrying(inner, options)));
}

function putOnce(
  retrier: Retrier,
  inner: ObjectStoreShape,
  path: string,
  body: Uint8Array,
  identity: PutIdentity | undefined,
): Effect.Effect<"created" | "exists", StoreError> {
  return Effect.withFiber((fiber) => {
    const putId = identity?.putId ?? toHex(fiber.getRef(Ids).randomBytes(16));
    const uniqueBody = identity?.uniqueBody === true;
    const outcome = { unknown: false };
    return Effect.flatMap(
      retrier.run(
        "putIfAbsent",
        path,
        () => inner.putIfAbsent(path, body, { putId, uniqueBody }),
        outcome,
        body.length,
      ),
      (answer) => {
        // What lies between us and a service may have sent the request twice, without anybody knowing.
        const isDoubtful = outcome.unknown || (uniqueBody && inner.provider !== undefined);
        if (answer === "created" || !isDoubtful) return Effect.succeed(answer);
        return Effect.map(
          isOwn(retrier, inner, path, body, putId, uniqueBody),
          (own) => own ? "created" as const : "exists" as const,
        );
      },
    );
  });
}

/** Whether the object that exists is the one that an earlier attempt of this call has put. */
function isOwn(
  retrier: Retrier,
  inner: ObjectStoreShape,
  path: string,
  body: Uint8Array,
  putId: string,
  uniqueBody: boolean,
): Effect.Effect<boolean, StoreError> {
  const proof = Effect.flatMap(retrier.run("head", path, () => inner.head(path)), (meta) => {
    if (meta.putId !== undefined) return Effect.succeed(meta.putId === putId);
    if (!uniqueBody || meta.size !== body.length) return Effect.succeed(false);
    return readBack(retrier, inner, path, body, undefined);
  });
  return Effect.catch(proof, (error) => {
    // It was there and is gone again: nothing of ours that could be acknowledged.
    if (error.reason === "not-found") return Effect.succeed(false);
    // Without the proof the put itself is what is not known.
    return Effect.fail(withUnknownOutcome(error));
  });
}

/** Whether the stored body is `body`; "no" needs two reads that agree, since one may come back damaged. */
function readBack(
  retrier: Retrier,
  inner: ObjectStoreShape,
  path: string,
  body: Uint8Array,
  before: Uint8Array | undefined,
): Effect.Effect<boolean, StoreError> {
  return Effect.flatMap(retrier.run("get", path, () => inner.get(path)), (found) => {
    if (bytesEqual(found, body)) return Effect.succeed(true);
    if (before !== undefined && bytesEqual(found, before)) return Effect.succeed(false);
    return readBack(retrier, inner, path, body, found);
  });
}

function retryingUpload(retrier: Retrier, inner: ObjectStoreShape, path: string, upload: Upload): Upload {
  let size = 0;
  // What earlier writes brought may be sent with this one only.
  const held = () => Math.min(size, UPLOAD_HELD_BYTES_MAX);
  return {
    write: (bytes) =>
      Effect.suspend(() =>
        Effect.map(
          retrier.run("upload", path, () => upload.write(bytes), undefined, held() + bytes.length),
          () => void (size += bytes.length),
        )
      ),
    complete: Effect.suspend(() => {
      const outcome = { unknown: false };
      return Effect.catch(retrier.run("upload", path, () => upload.complete, outcome, held()), (error) => {
        if (error.reason !== "not-found") return Effect.fail(error);
        // The store no longer knows the upload: an attempt has completed it, or it was dropped.
        if (!outcome.unknown) return Effect.fail(uploadLost(error));
        return retrier.run("head", path, () => inner.head(path)).pipe(
          Effect.catch((failed) =>
            Effect.fail(failed.reason === "not-found" ? uploadLost(error) : withUnknownOutcome(failed))
          ),
          Effect.flatMap((meta) => meta.size === size ? Effect.void : Effect.fail(uploadLost(error))),
        );
      });
    }),
    abort: upload.abort,
  };
}

/** The parts are gone and only a new upload can succeed; "not-found" would be taken for a missing object. */
function uploadLost(error: StoreError): StoreError {
  const { op, path, outcome, detail } = error;
  return new StoreError({ op, path, reason: "unavailable", retryable: false, outcome, detail, cause: error });
}

/** Requests that change nothing. */
const READS: ReadonlySet<StoreOp> = new Set(["get", "getRange", "getRanges", "head", "list"]);

/**
 * Whether the same request is worth repeating. Without a deadline (a writer's flush) a refused permission is too:
 * credentials are refreshed, file modes mended, and the writer must go on then instead of losing what it holds.
 */
function mayRetry(error: StoreError, deadlineMillis: number): boolean {
  return error.retryable || (error.reason === "permission" && deadlineMillis === Infinity);
}

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

class Retrier {
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
          if (!READS.has(call.op)) call.outcome.unknown = true;
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
    const outcome = READS.has(op) ? "none" : "unknown";
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

function withUnknownOutcome(error: StoreError): StoreError {
  if (error.outcome === "unknown") return error;
  const { op, path, reason, retryable, detail, cause } = error;
  return new StoreError({ op, path, reason, retryable, outcome: "unknown", detail, cause });
}
