/**
 * Repeats requests that may succeed later, and finds out what became of those whose answer was lost.
 *
 * Invariants:
 * - Errors that are answers (`retryable: false`) pass at once.
 * - This is the only place that resolves unknown outcomes (D19). "created" is answered only when this call's own put
 *   created the object: proven by its put-id, or by equal bytes where no other process could have written them
 *   (`uniqueBody`). Everything else that exists is "exists", and so is every "exists" of a first attempt.
 * - An error that is given out says "unknown" if any of the attempts had an unknown outcome.
 * - At most `concurrency` repetitions are under way at once in one store, however many calls fail: no retry storm.
 *
 * How long a call tries is said by its fiber: {@linkcode RetryDeadline}. Flush paths set it to Infinity (D22). A first
 * attempt that never answers is ended only when `attemptTimeoutMillis` is given; adapters have timeouts of their own.
 *
 * @module
 */
import { Clock, Context, Effect, Layer, Random, Semaphore } from "effect";
import { bytesEqual } from "../bytes/compare.ts";
import { toHex } from "../bytes/hex.ts";
import { Ids } from "../env/ids.ts";
import { StoreError, type StoreOp } from "../errors.ts";
import { ObjectStore, type ObjectStoreShape, type PutIdentity, type Upload } from "./object_store.ts";

/** How long a request is repeated, in ms from its start; 30,000 unless provided, Infinity = for ever. */
export const RetryDeadline: Context.Reference<number> = Context.Reference<number>("phyllite/store/RetryDeadline", {
  defaultValue: () => 30_000,
});

/** Slowest transfer that is not taken for a request that will never answer. */
const SLOWEST_BYTES_PER_MILLI = 100;

/** A call that has been failing for long. */
export interface DegradedReport {
  /** What the call asks for. */
  readonly op: StoreOp;
  /** Of which object. */
  readonly path: string;
  /** Time since the call began, ms. */
  readonly failingMillis: number;
  /** The error of its last attempt. */
  readonly error: StoreError;
}

/** Settings of {@linkcode retrying}. */
export interface RetryOptions {
  /** Wait before the first repetition, ms; it doubles from then on. 100 when absent. */
  readonly firstDelayMillis?: number;
  /** Longest wait, ms; 1,000 when absent. The real waits are between half of it and all of it. */
  readonly maxDelayMillis?: number;
  /** Repetitions under way at once; 16 when absent. */
  readonly concurrency?: number;
  /**
   * Time limit of every single attempt, ms, plus 1 s for every 100 kB it sends; none when absent. The outcome of an
   * attempt cut off is unknown.
   */
  readonly attemptTimeoutMillis?: number;
  /** Time after which a failing call makes the store degraded, ms; 30,000 when absent. */
  readonly degradedAfterMillis?: number;
  /** Told when the store becomes degraded (with the call that made it so), and when it has recovered. */
  readonly onDegraded?: (degraded: boolean, report?: DegradedReport) => void;
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
        if (answer === "created" || !outcome.unknown) return Effect.succeed(answer);
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
  return {
    write: (bytes) =>
      Effect.map(
        retrier.run("upload", path, () => upload.write(bytes), undefined, bytes.length),
        () => void (size += bytes.length),
      ),
    complete: Effect.suspend(() => {
      const outcome = { unknown: false };
      return Effect.catch(retrier.run("upload", path, () => upload.complete, outcome), (error) => {
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
  /** Monotonic time of the start, ns. */
  readonly startNanos: bigint;
  /** Set when an attempt ended without anybody knowing what it did. */
  readonly outcome: { unknown: boolean };
  /** Size of the body it sends. */
  readonly bodyBytes: number;
  /** Whether it has been failing for so long that the store counts as degraded. */
  late: boolean;
}

class Retrier {
  readonly #firstDelay: number;
  readonly #maxDelay: number;
  readonly #attemptTimeout: number | undefined;
  readonly #degradedAfter: number;
  readonly #onDegraded: (degraded: boolean, report?: DegradedReport) => void;
  readonly #budget: Semaphore.Semaphore;
  #lateCalls = 0;
  #degraded = false;

  constructor(options: RetryOptions) {
    this.#firstDelay = options.firstDelayMillis ?? 100;
    this.#maxDelay = options.maxDelayMillis ?? 1_000;
    this.#attemptTimeout = options.attemptTimeoutMillis;
    this.#degradedAfter = options.degradedAfterMillis ?? 30_000;
    this.#onDegraded = options.onDegraded ?? (() => {});
    this.#budget = Semaphore.makeUnsafe(options.concurrency ?? 16);
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
      const call: Call = { op, path, startNanos: clock.monotonicTimeNanosUnsafe(), outcome, bodyBytes, late: false };
      const deadline = fiber.getRef(RetryDeadline);
      const first = this.#limited(call, attempt, deadline);
      const handled = Effect.catch(first, (error) => {
        if (error.outcome === "unknown") outcome.unknown = true;
        if (!mayRetry(error, deadline)) return Effect.fail(outcome.unknown ? withUnknownOutcome(error) : error);
        return this.#repeat(call, attempt, error, clock, deadline, fiber.getRef(Random.Random));
      });
      return this.#degraded ? Effect.tap(handled, () => Effect.sync(() => this.#noteSuccess())) : handled;
    });
  }

  #repeat<A>(
    call: Call,
    attempt: () => Effect.Effect<A, StoreError>,
    firstError: StoreError,
    clock: Clock.Clock,
    deadlineMillis: number,
    random: typeof Random.Random.Service,
  ): Effect.Effect<A, StoreError> {
    const loop = (error: StoreError, delay: number): Effect.Effect<A, StoreError> =>
      Effect.suspend(() => {
        if (error.outcome === "unknown") call.outcome.unknown = true;
        const given = call.outcome.unknown ? withUnknownOutcome(error) : error;
        if (!mayRetry(error, deadlineMillis)) return Effect.fail(given);
        const elapsed = elapsedMillis(clock, call);
        this.#noteFailure(call, elapsed, error);
        const left = deadlineMillis - elapsed;
        if (left < 1) return Effect.fail(given);
        const wait = Math.min(Math.ceil(left), Math.round(delay * (0.5 + random.nextDoubleUnsafe() / 2)));
        const again = this.#budget.withPermits(1)(Effect.suspend(() => {
          const limit = Math.max(deadlineMillis - elapsedMillis(clock, call), this.#firstDelay);
          return this.#limited(call, attempt, limit);
        }));
        // The wait for a permit counts towards the deadline too.
        const inTime = left === Infinity ? again : Effect.timeoutOrElse(again, {
          duration: Math.max(left - wait, this.#firstDelay),
          orElse: () => Effect.fail(given),
        });
        return Effect.sleep(wait).pipe(
          Effect.andThen(inTime),
          Effect.catch((next) => loop(next, Math.min(delay * 2, this.#maxDelay))),
        );
      });
    return loop(firstError, this.#firstDelay).pipe(
      Effect.tap(() => Effect.sync(() => this.#noteRecovery(call))),
      Effect.ensuring(Effect.sync(() => this.#noteEnd(call))),
    );
  }

  /** One attempt, cut off after `limitMillis` or the store's own limit. */
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

  #noteFailure(call: Call, elapsed: number, error: StoreError): void {
    if (call.late || elapsed < this.#degradedAfter) return;
    call.late = true;
    this.#lateCalls++;
    if (this.#degraded) return;
    this.#degraded = true;
    this.#onDegraded(true, { op: call.op, path: call.path, failingMillis: elapsed, error });
  }

  /** A call that had failed has succeeded. */
  #noteRecovery(call: Call): void {
    this.#noteEnd(call);
    this.#noteSuccess();
  }

  /** A call has ended, well or not: it is no longer a reason to be degraded, but giving up is no recovery either. */
  #noteEnd(call: Call): void {
    if (!call.late) return;
    call.late = false;
    this.#lateCalls--;
  }

  #noteSuccess(): void {
    if (!this.#degraded || this.#lateCalls > 0) return;
    this.#degraded = false;
    this.#onDegraded(false);
  }
}

function elapsedMillis(clock: Clock.Clock, call: Call): number {
  return Number(clock.monotonicTimeNanosUnsafe() - call.startNanos) / 1e6;
}

function withUnknownOutcome(error: StoreError): StoreError {
  if (error.outcome === "unknown") return error;
  const { op, path, reason, retryable, detail, cause } = error;
  return new StoreError({ op, path, reason, retryable, outcome: "unknown", detail, cause });
}
