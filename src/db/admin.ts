/**
 * Work on a stored database from outside, without opening it for writing: nobody is fenced, no fiber stays behind.
 *
 * {@linkcode openAdmin} is the one way to such a database: its stores, counted and retried, and an unfenced manifest
 * handle that holds the newest version. Whoever works through it may change checkpoints and external databases, nothing
 * else (author "admin"). Every request has a deadline, and so has every call of one commit.
 *
 * @module
 */
import { type Clock, Context, Effect } from "effect";
import { type DataError, type DbError, InvalidArgument, type StoreError, Unavailable } from "../errors.ts";
import { ManifestHandle } from "../state/manifest_handle.ts";
import { ManifestStore } from "../state/manifest_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import { badOption, checkFields } from "./call_options.ts";
import { type Location, placeAdvice, type ResolvedLocation, withLocation } from "./location.ts";
import { surfaced } from "./reads.ts";
import { notInitialized } from "./recovery.ts";
import { contextWithClock, Runtime } from "./runtime.ts";
import { stackStores, type Stores } from "./stores.ts";

/** Settings of a call that works on a stored database without opening it. */
export interface AdminOptions {
  /** Clock to use instead of the platform's: a `VirtualClock` or anything with its shape. */
  readonly clock?: Clock.Clock;
  /** How long the store may leave a request, or a call of a few requests, without an answer, ms. Default 30,000. */
  readonly requestTimeoutMillis?: number;
}

/** Names of {@linkcode AdminOptions}. */
export const ADMIN_FIELDS: ReadonlyArray<keyof AdminOptions> = ["clock", "requestTimeoutMillis"];

/** How long a store may leave a request without an answer unless said otherwise, ms. */
const REQUEST_TIMEOUT_MILLIS = 30_000;

/** A stored database as whoever works on it from outside sees it. */
export interface AdminAccess {
  /** Runs effects with the services of this access: its clock and the deadline of requests. */
  readonly runtime: Runtime;
  readonly stores: Stores;
  /** Manifests and tables, retried, counted for the component. */
  readonly store: ObjectStoreShape;
  readonly root: string;
  /** What messages call the place. */
  readonly name: string;
  /** Unfenced; holds the newest version at the time of opening. */
  readonly handle: ManifestHandle;
}

/** How {@linkcode openAdmin} opens. */
export interface AdminSpec extends AdminOptions {
  /** The store of the WAL, where it is not the database's. */
  readonly walStore?: ObjectStoreShape | undefined;
  /** Also takes a clone that was not finished. Default false: it fails with `DataError` "not-initialized". */
  readonly unfinished?: boolean;
}

/**
 * Opens a stored database for work from outside. Makes one listing and one read.
 *
 * @param component who the requests are counted for: "admin", "gc", "compactor", …
 * @returns fails with `InvalidArgument` "missing-database" when there is none
 */
export function openAdmin(
  place: ResolvedLocation,
  component: string,
  spec: AdminSpec = {},
): Effect.Effect<AdminAccess, DbError | StoreError> {
  return Effect.gen(function* () {
    const runtime = new Runtime(
      Context.mergeAll(
        yield* Effect.context<never>(),
        contextWithClock(spec.clock),
        Context.make(RetryDeadline, spec.requestTimeoutMillis ?? REQUEST_TIMEOUT_MILLIS) as Context.Context<never>,
      ),
    );
    const stores = stackStores(place.store, spec.walStore, () => {}, component);
    const { root, name = "this location" } = place;
    const found = openHandle(stores.main, root, name, spec.unfinished === true);
    const handle = yield* Effect.provideContext(found, runtime.context);
    return { runtime, stores, store: stores.main, root, name, handle };
  });
}

/** An unfenced handle on the newest manifest below `root`. */
export function openHandle(
  store: ObjectStoreShape,
  root: string,
  name: string,
  unfinished: boolean = false,
): Effect.Effect<ManifestHandle, DataError | StoreError | InvalidArgument> {
  const versions = new ManifestStore(store, root);
  return Effect.flatMap(versions.newest, (stored): Effect.Effect<ManifestHandle, DataError | InvalidArgument> => {
    if (stored === undefined) return Effect.fail(missingDatabase(name));
    if (!unfinished && !stored.manifest.initialized) return Effect.fail(notInitialized(versions, stored));
    return Effect.succeed(new ManifestHandle(versions, stored, false));
  });
}

/** The error of work on a database that is not there. */
export function missingDatabase(name: string): InvalidArgument {
  return new InvalidArgument({
    reason: "missing-database",
    message: `There is no database in ${name}. ${placeAdvice(name)}`,
  });
}

/**
 * One call on a stored database, for the Promise face: checks the options, opens, works, all with one deadline.
 *
 * @param known names of the options besides {@linkcode ADMIN_FIELDS}
 * @param check looks at the options before the first request; what it throws refuses the call
 */
export function adminCall<Options extends AdminOptions, Checked, A>(
  location: Location,
  options: Options,
  known: ReadonlyArray<string>,
  check: (options: Options) => Checked,
  work: (access: AdminAccess, checked: Checked) => Effect.Effect<A, unknown>,
): Promise<A> {
  return new Runtime(Context.empty()).promise(surfaced(Effect.gen(function* () {
    checkFields(options, new Set([...known, ...ADMIN_FIELDS]));
    const millis = timeoutOf(options);
    const checked = check(options);
    const context = contextWithClock(options.clock);
    return yield* withLocation(location, (place) => {
      const all = Effect.gen(function* () {
        const access = yield* openAdmin(place, "admin", options);
        return yield* Effect.provideContext(work(access, checked), access.runtime.context);
      });
      return Effect.provideContext(withDeadline(all, millis), context);
    });
  })));
}

/** The deadline that the options set. @throws InvalidArgument */
export function timeoutOf(options: AdminOptions): number {
  const millis = options.requestTimeoutMillis ?? REQUEST_TIMEOUT_MILLIS;
  if (!Number.isSafeInteger(millis) || millis < 1) {
    throw badOption("requestTimeoutMillis", "a whole number of milliseconds, at least 1");
  }
  return millis;
}

/** Ends a call of a few requests that has no answer after `millis`. */
export function withDeadline<A, E, R>(
  effect: Effect.Effect<A, E, R>,
  millis: number,
): Effect.Effect<A, E | Unavailable, R> {
  return Effect.timeoutOrElse(Effect.provideService(effect, RetryDeadline, millis), {
    duration: millis,
    orElse: () =>
      Effect.fail(
        new Unavailable({
          reason: "timeout",
          message:
            `The object store did not answer within ${millis} ms (requestTimeoutMillis). It is not known whether ` +
            "a change was made; look before trying again",
        }),
      ),
  });
}
