/**
 * The doctor's short form: does the store refuse a conditional create of an object that exists?
 *
 * Everything that two writers could disagree about is decided by one conditional create. A store that ignores the
 * condition lets both win, and each overwrites what the other acknowledged. So a writer on an endpoint that is not known
 * to honour conditions (`provider.conditionalCreate`: "unknown") puts the bytes it has just created once more, which
 * must be refused: with the first manifest version that it creates while it opens, and likewise with the fence of a WAL
 * store of its own. That is one request above what opening costs, once per process and endpoint. Afterwards the same is
 * done with the next manifest version or WAL object when the last refusal is older than {@linkcode RECHECK_MILLIS},
 * before anybody is told that it is stored. There is no timer: who writes nothing asks nothing.
 *
 * Invariant F4: on such an endpoint a writer acknowledges nothing before a conditional create was refused there, and
 * nothing more once one was not, or was answered as unsupported.
 *
 * The second put has a put-id of its own. An unknown outcome is resolved below (D19): an "exists" that comes out of it
 * was said by the store of an object that was there, a "created" means that the object bears the new id. Where that took
 * so long that the object could have been deleted in between, it is put again at once: the object has just been created.
 * A store that takes that too, or cannot be asked any more, counts as one that takes everything.
 *
 * @module
 */
import { Clock, Context, Effect } from "effect";
import { Closed, InvalidArgument, StoreError } from "../errors.ts";
import { elapsedMillis, type EngineTime, engineTime, FRESH_MILLIS } from "../state/numbered_versions.ts";
import type { ObjectStoreShape, PutIdentity, StoreProvider } from "../store/object_store.ts";
import { STORE_UNFIT } from "./failures.ts";
import type { Stores } from "./stores.ts";

/** Age of the last refusal beyond which the next object of at most {@linkcode RECHECK_BYTES} is put twice, ms. */
export const RECHECK_MILLIS: number = 3_600_000;
/** Larger objects are not put twice while a writer is open, in bytes. */
export const RECHECK_BYTES: number = 1024 * 1024;
/** Puts of one check, of which all but the last were taken so late that they prove nothing. */
const PUTS_MAX = 3;
/** Endpoints remembered, by clock; the one that was checked longest ago is forgotten first. */
const ENDPOINTS_MAX = 64;

/**
 * When each endpoint last refused, by the clock that says so: times of a virtual clock mean nothing to another, and what
 * one simulation found out must not change what the next one asks.
 */
export class CheckedEndpoints {
  readonly #byClock: WeakMap<Clock.Clock, Map<string, EngineTime>> = new WeakMap();

  /** Whether the endpoint has not refused for so long that it has to be asked. */
  isDue(clock: Clock.Clock, endpoint: string, now: EngineTime): boolean {
    const last = this.#byClock.get(clock)?.get(endpoint);
    return last === undefined || elapsedMillis(last, now) >= RECHECK_MILLIS;
  }

  /** It refused. */
  refused(clock: Clock.Clock, endpoint: string, now: EngineTime): void {
    let times = this.#byClock.get(clock);
    if (times === undefined) this.#byClock.set(clock, times = new Map());
    times.delete(endpoint);
    times.set(endpoint, now);
    for (const oldest of times.keys()) {
      if (times.size <= ENDPOINTS_MAX) break;
      times.delete(oldest);
    }
  }

  /** It did not: whoever opens next has to ask. */
  forget(clock: Clock.Clock, endpoint: string): void {
    this.#byClock.get(clock)?.delete(endpoint);
  }
}

/** What this process knows about endpoints; provide another one to know nothing. */
export const EndpointMemory: Context.Reference<CheckedEndpoints> = Context.Reference<CheckedEndpoints>(
  "phyllite/db/EndpointMemory",
  { defaultValue: () => new CheckedEndpoints() },
);

/** Stands between a writer and its stores. */
export interface ConditionalGuard {
  /** The stores whose conditional creates are checked. */
  readonly stores: Stores;
  /** The writer is open: a store that is found wanting from now on closes it by `onLost`. */
  readonly opened: (onLost: (error: Closed) => void) => void;
}

/** Guards the stores of a writer. Stores that say nothing about what lies behind them are left alone. */
export function guardConditions(stores: Stores): Effect.Effect<ConditionalGuard> {
  return Effect.map(EndpointMemory, (memory) => {
    const guard: Guard = { memory, onLost: undefined };
    return {
      stores: { ...stores, main: guarded(stores.main, guard), wal: guarded(stores.wal, guard) },
      opened: (onLost) => {
        guard.onLost = onLost;
      },
    };
  });
}

interface Guard {
  readonly memory: CheckedEndpoints;
  /** Undefined while the writer opens. */
  onLost: ((error: Closed) => void) | undefined;
}

function guarded(store: ObjectStoreShape, guard: Guard): ObjectStoreShape {
  const { provider } = store;
  if (provider === undefined) return store;
  const endpoint = new GuardedEndpoint(store, provider, guard);
  return { ...store, putIfAbsent: (path, body, identity) => endpoint.putIfAbsent(path, body, identity) };
}

class GuardedEndpoint {
  readonly #store: ObjectStoreShape;
  readonly #provider: StoreProvider;
  readonly #guard: Guard;

  constructor(store: ObjectStoreShape, provider: StoreProvider, guard: Guard) {
    this.#store = store;
    this.#provider = provider;
    this.#guard = guard;
  }

  putIfAbsent(
    path: string,
    body: Uint8Array,
    identity: PutIdentity | undefined,
  ): Effect.Effect<"created" | "exists", StoreError> {
    return Effect.gen({ self: this }, function* () {
      const started = yield* engineTime;
      const answer = yield* this.#orUnsupported(path, this.#store.putIfAbsent(path, body, identity));
      if (answer === "created" && (yield* this.#isDue(body))) yield* this.#check(path, body, started);
      return answer;
    });
  }

  #isDue(body: Uint8Array): Effect.Effect<boolean> {
    const { conditionalCreate, endpoint } = this.#provider;
    if (conditionalCreate === "known") return Effect.succeed(false);
    if (this.#guard.onLost !== undefined && body.length > RECHECK_BYTES) return Effect.succeed(false);
    return Clock.clockWith((clock) => Effect.map(engineTime, (now) => this.#guard.memory.isDue(clock, endpoint, now)));
  }

  /** Puts once more what this writer has created; `started` is a time before the first put. */
  #check(path: string, body: Uint8Array, started: EngineTime): Effect.Effect<void, StoreError> {
    const { endpoint } = this.#provider;
    const { memory } = this.#guard;
    return Effect.gen({ self: this }, function* () {
      const clock = yield* Clock.Clock;
      /** A time before the put that created the object as it is now. */
      let createdAfter = started;
      for (let put = 1; put <= PUTS_MAX; put++) {
        const begun = yield* engineTime;
        const answer = yield* Effect.catch(
          this.#orUnsupported(path, this.#store.putIfAbsent(path, body)),
          (error) => this.#unasked(error, put),
        );
        if (answer === undefined) return;
        const now = yield* engineTime;
        if (answer === "exists") return memory.refused(clock, endpoint, now);
        if (elapsedMillis(createdAfter, now) < FRESH_MILLIS) break;
        // In so long a time the object may have been collected: that it was created again tells nothing by itself.
        createdAfter = begun;
      }
      return yield* this.#lost(path, `took ${CONDITIONAL} of an object that exists`);
    });
  }

  /** What follows when put number `put` of a check has no answer. */
  #unasked(error: StoreError, put: number): Effect.Effect<undefined, StoreError> {
    if (error.reason === "unsupported" || this.#guard.onLost === undefined) return Effect.fail(error);
    // While the writer is open, a check that could not be made is made with the next object.
    if (put === 1) return Effect.succeed(undefined);
    return this.#lost(
      error.path,
      `took ${CONDITIONAL} of an object that should exist, and could not be asked again`,
      error,
    );
  }

  #orUnsupported<A>(path: string, put: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.catch(put, (error) => {
      if (error.reason !== "unsupported") return Effect.fail(error);
      return this.#lost(path, "knows no conditional writes (If-None-Match: *)", error);
    });
  }

  /** Ends the opening, or closes the writer. */
  #lost(path: string, what: string, cause?: StoreError): Effect.Effect<never, StoreError> {
    return Clock.clockWith((clock) => {
      const { memory, onLost } = this.#guard;
      const { endpoint } = this.#provider;
      memory.forget(clock, endpoint);
      const error = onLost === undefined ? unfit(endpoint, what, cause) : lost(endpoint, what, cause);
      if (error instanceof Closed) onLost?.(error);
      return Effect.fail(
        new StoreError({
          op: "putIfAbsent",
          path,
          reason: "unsupported",
          retryable: false,
          outcome: "none",
          cause: error,
        }),
      );
    });
  }
}

const CONDITIONAL = "a conditional write (If-None-Match: *)";
const DANGER = "Two writers could both believe that they own the database, and overwrite what the other acknowledged";
const DOCTOR = '"phyllite doctor <location>" shows what it does';

/** The error of an opening on a store without conditional creates. */
function unfit(endpoint: string, what: string, cause: StoreError | undefined): InvalidArgument {
  return new InvalidArgument({
    reason: STORE_UNFIT,
    message: `Cannot open the database: the object store ${endpoint} ${what}. ${DANGER}. Nothing was written but ` +
      `what claims the database; give a store that honours conditional writes (${DOCTOR})`,
    cause,
  });
}

/** The error of an open writer whose store is found to be one. */
function lost(endpoint: string, what: string, cause: StoreError | undefined): Closed {
  return new Closed({
    reason: "failed",
    message: `Closed: the object store ${endpoint} ${what}. ${DANGER}, so this writer stopped. What it acknowledged ` +
      `is stored; before it is opened again, the store must honour conditional writes (${DOCTOR})`,
    cause,
  });
}
