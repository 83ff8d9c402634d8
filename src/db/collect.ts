/**
 * Garbage collection from outside, once: for cron, serverless functions and the command line.
 *
 * Fences nobody and may run beside a live writer. It does not know what that writer is uploading, so a table that is
 * not older than the one published last stays for a later pass, or for the writer's own collector. A pass has no
 * deadline, each of its requests has one.
 *
 * @module
 */
import { Context, Effect } from "effect";
import { type DbError, InvalidArgument, type StoreError } from "../errors.ts";
import { collectOnce } from "../state/gc_pass.ts";
import type { GcAges } from "../state/gc_rules.ts";
import type { ManifestFault } from "../state/manifest_handle.ts";
import { type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";
import { ADMIN_FIELDS, type AdminOptions, openAdmin, timeoutOf } from "./admin.ts";
import type { GcReport } from "./admin_api.ts";
import { costReport } from "./cost.ts";
import type { CostReport } from "./cost_api.ts";
import { badOption, checkFields } from "./call_options.ts";
import { type GcAgeOptions, resolveGcAges } from "./gc_options.ts";
import { type Location, type ResolvedLocation, withLocation } from "./location.ts";
import { surfaced } from "./reads.ts";
import { contextWithClock, Runtime } from "./runtime.ts";

/** Settings of {@linkcode collectGarbage}. */
export interface CollectOptions extends AdminOptions, GcAgeOptions {
  /** Deletes and writes nothing, reports what would be deleted. Default false. */
  readonly dryRun?: boolean;
  /** Where the write-ahead log is, for a database that keeps it in a store of its own. */
  readonly wal?: { readonly store: ObjectStoreShape };
}

/** What a collection from outside did, and what it asked. */
export interface CollectReport extends GcReport {
  /** Requests of this collection and what they would cost. */
  readonly cost: CostReport;
}

const FIELDS: ReadonlySet<string> = new Set<keyof CollectOptions>([
  ...ADMIN_FIELDS,
  "minAgeMillis",
  "walFenceMinAgeMillis",
  "allowUnsafeAge",
  "dryRun",
  "wal",
]);

/**
 * Deletes, once, what nothing reaches any more: tables, old versions, old parts of the write-ahead log. Checkpoints that
 * have ended are removed first.
 *
 * @param location "./folder", "file:///folder", "s3://bucket/prefix" or `{ store, path }`
 * @param options ages and the like; unknown names are refused
 * @returns what was deleted and why the rest was kept
 * @throws InvalidArgument for a bad location or option, or when there is no database; Unavailable when the store does
 * not answer; DataError when the newest manifest cannot be read. A pinned one that cannot be read is no error: the
 * report says so in `stopped`, and nothing was deleted
 */
export function collectGarbage(location: Location, options: CollectOptions = {}): Promise<CollectReport> {
  return new Runtime(Context.empty()).promise(surfaced(Effect.gen(function* () {
    const checked = checkCollect(options);
    return yield* withLocation(
      location,
      (place) => Effect.provideContext(collectAt(place, checked), contextWithClock(options.clock)),
    );
  })));
}

/** Options that were checked. */
export interface CheckedCollect {
  readonly options: CollectOptions;
  readonly settings: GcAges;
}

/** Checks the options. @throws InvalidArgument reason "options" */
export function checkCollect(options: CollectOptions): CheckedCollect {
  checkFields(options, FIELDS);
  timeoutOf(options);
  for (const field of ["minAgeMillis", "walFenceMinAgeMillis"] as const) {
    const millis = options[field];
    if (millis !== undefined && !(Number.isSafeInteger(millis) && millis >= 0)) {
      throw badOption(field, "a whole number of milliseconds, 0 or more");
    }
  }
  for (const field of ["dryRun", "allowUnsafeAge"] as const) {
    if (options[field] !== undefined && typeof options[field] !== "boolean") throw badOption(field, "true or false");
  }
  const { wal } = options;
  const hasStore = typeof wal === "object" &&
    STORE_OPERATIONS.every((name) => typeof wal?.store?.[name] === "function");
  if (wal !== undefined && !hasStore) throw badOption("wal", "{ store } with an object store, or leave it out");
  return { options, settings: resolveGcAges(options, "Cannot collect: option ") };
}

/** {@linkcode collectGarbage} at a resolved location. */
export function collectAt(
  place: ResolvedLocation,
  { options, settings }: CheckedCollect,
): Effect.Effect<CollectReport, DbError | StoreError | ManifestFault> {
  return Effect.gen(function* () {
    const walStore = options.wal?.store;
    const { clock, requestTimeoutMillis } = options;
    const access = yield* openAdmin(place, "gc", {
      walStore,
      ...(clock === undefined ? {} : { clock }),
      ...(requestTimeoutMillis === undefined ? {} : { requestTimeoutMillis }),
    });
    const isApart = access.handle.current.walObjectStoreUri !== undefined;
    if (isApart !== (walStore !== undefined)) return yield* wrongWalStore(isApart);
    const pass = collectOnce({
      store: access.store,
      walStore: walStore === undefined ? access.store : access.stores.walFor("gc"),
      root: access.root,
      manifest: access.handle,
      settings,
    }, { dryRun: options.dryRun ?? false });
    const { report } = yield* Effect.provideContext(pass, access.runtime.context);
    const { meter, walMeter } = access.stores;
    return { ...report, cost: costReport([{ ...meter.report(), walStore: walMeter?.report() }]) };
  });
}

function wrongWalStore(isApart: boolean): InvalidArgument {
  return new InvalidArgument({
    reason: "wal-store",
    message: isApart
      ? "Cannot collect: its WAL lives in a separate store; name it with wal: { store }"
      : "Cannot collect: its WAL lives beside its tables; leave wal out",
  });
}
