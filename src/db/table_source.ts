/**
 * Where an open database or reader reads its tables from: the main store, or the main store behind a cache on the disk.
 *
 * Only reads of tables go through it (and table flushes, with `cachePuts`): manifests, the log, the compactor and the
 * collector have the store itself. It stands above the counting of requests, so that what the disk answers costs nothing
 * in `cost()`.
 *
 * @module
 */
import { isAbsolute, relative, resolve, sep } from "node:path";
import { Effect, type Scope } from "effect";
import { toHex } from "../bytes/hex.ts";
import { Ids } from "../env/ids.ts";
import type { Series } from "../env/metrics.ts";
import { InvalidArgument, type StoreError } from "../errors.ts";
import {
  DISK_CACHE_PART_BYTES,
  diskCache,
  diskCacheMaxBytes,
  diskCacheProblem,
  type DiskCacheStore,
} from "../store/disk_cache.ts";
import { nodeFileSystem } from "../store/file/file_system.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { ResolvedLocation } from "./location.ts";
import type { Stores } from "./stores.ts";

/** A cache of tables in a folder of the local disk. */
export interface DiskCacheSettings {
  /** The folder; made when there is none. Databases and processes may share one. Not inside a database's own folder. */
  readonly folder: string;
  /**
   * Disk space of all tables' parts in the folder, bytes, from two parts to 262,144. Default 16 GiB, or 262,144 parts
   * where that is less.
   */
  readonly maxBytes?: number;
  /** What is fetched and kept at once, bytes: a multiple of 1024, 1 KiB..64 MiB. Default 256 KiB. */
  readonly partBytes?: number;
  /** Whether tables of up to 64 MiB that this process flushes are kept too. Default false. */
  readonly cachePuts?: boolean;
  /**
   * What tells the store from others that use the same folder. Default: its endpoint and bucket, or its folder. A store
   * object that names no endpoint has one of its own for as long as it lives: give an identity to find its parts again
   * in the next process.
   */
  readonly identity?: string;
}

/** Settings with every default filled in. */
export interface ResolvedDiskCache {
  readonly folder: string;
  readonly maxBytes: number;
  readonly partBytes: number;
  readonly cachePuts: boolean;
  readonly identity: string | undefined;
}

/** What is brought to this machine in the background once a database is open. */
export type Preload = "none" | "l0" | "all";

/** All values of {@linkcode Preload}. */
export const PRELOADS: readonly Preload[] = ["none", "l0", "all"];

const FIELDS = ["folder", "maxBytes", "partBytes", "cachePuts", "identity"];

/**
 * Checks settings and fills in defaults.
 *
 * @param what begins the message, such as "Cannot open"
 * @throws InvalidArgument reason "options" with the path of the field
 */
export function resolveDiskCache(given: unknown, what: string): ResolvedDiskCache | undefined {
  if (given === undefined) return undefined;
  const refuse = (problem: string): InvalidArgument =>
    new InvalidArgument({ reason: "options", message: `${what}: option diskCache${problem}` });
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw refuse(": give { folder }, or leave it out for no cache on the disk");
  }
  const unknown = Object.keys(given).filter((name) => !FIELDS.includes(name));
  if (unknown.length > 0) throw refuse(`.${unknown[0]}: there is no such option; known are ${FIELDS.join(", ")}`);
  const { folder, partBytes = DISK_CACHE_PART_BYTES, cachePuts = false, identity } = given as Partial<
    Record<keyof DiskCacheSettings, unknown>
  >;
  const { maxBytes = diskCacheMaxBytes(partBytes as number) } = given as DiskCacheSettings;
  if (typeof folder !== "string" || folder.trim() === "" || folder.includes("\0")) {
    throw refuse(".folder: give the path of a folder on the local disk");
  }
  if (/^[A-Za-z][A-Za-z0-9+.-]+:/.test(folder)) throw refuse(".folder: give the path of a folder, not a URL");
  if (folder.startsWith("~")) {
    throw refuse('.folder: "~" means your home only to a shell; give the whole path, or "./~…" for that name');
  }
  const problem = diskCacheProblem(partBytes as number, maxBytes as number);
  if (problem !== undefined) throw refuse(`.${problem}`);
  if (typeof cachePuts !== "boolean") throw refuse(".cachePuts: give true or false");
  if (identity !== undefined && typeof identity !== "string") throw refuse(".identity: give a string");
  return { folder, maxBytes: maxBytes as number, partBytes: partBytes as number, cachePuts, identity };
}

/** Where tables are read from. */
export interface TableSource {
  /** For reads. */
  readonly store: ObjectStoreShape;
  /** For flushes. */
  readonly forPuts: ObjectStoreShape;
  /** Undefined: none. */
  readonly cache: DiskCacheStore | undefined;
}

/** Faults of a folder that only another setting or another permission mends. */
const FINAL: ReadonlySet<string> = new Set(["permission", "invalid-path", "unsupported"]);
/** How long an opening waits for the disk, ms. */
const READY_MILLIS = 5_000;

/** `main`, whose ranges for the background go the way of `background`: with its pace, and counted as its own. */
function pacedByHint(main: ObjectStoreShape, background: ObjectStoreShape): ObjectStoreShape {
  return {
    ...main,
    getRange: (path, range, hint) => (hint?.background === true ? background : main).getRange(path, range, hint),
  };
}

/** Of each store that was given without saying what it is: what tells it from others in a shared folder. */
const ownIdentities: WeakMap<ObjectStoreShape, string> = new WeakMap();
let lastIdentity = 0;

/** The same for all openings of one store object in this process, and no other's in any. */
function identityOf(store: ObjectStoreShape): Effect.Effect<string> {
  return Effect.withFiber((fiber) => {
    let identity = ownIdentities.get(store);
    if (identity === undefined) {
      const random = toHex(fiber.getRef(Ids).randomBytes(16));
      identity = `store ${++lastIdentity} of process ${nodeFileSystem.processId}, ${random}`;
      ownIdentities.set(store, identity);
    }
    return Effect.succeed(identity);
  });
}

/** Why a cache must not lie there; undefined when it may. */
function placeProblem(folder: string, database: string | undefined): string | undefined {
  if (database === undefined) return undefined;
  const way = relative(database, resolve(folder));
  if (way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way)) return undefined;
  return `${JSON.stringify(folder)} is inside the database's own folder; give one outside of it`;
}

/**
 * Opens the cache in the current scope, which closes it; makes no store request. A folder that can never be used fails:
 * it was asked for. One that cannot be used just now, say on a full disk, is left alone until it can.
 *
 * @param stores the main store, counted and retried
 */
export function openTableSource(
  stores: Stores,
  location: ResolvedLocation,
  settings: ResolvedDiskCache | undefined,
  what: string,
): Effect.Effect<TableSource, InvalidArgument, Scope.Scope> {
  const main = pacedByHint(stores.main, stores.mainFor("preload", false));
  if (settings === undefined) return Effect.succeed({ store: main, forPuts: stores.main, cache: undefined });
  const { folder, maxBytes, partBytes, cachePuts } = settings;
  const problem = placeProblem(folder, location.folder);
  if (problem !== undefined) {
    const message = `${what}: option diskCache.folder: ${problem}`;
    return Effect.fail(new InvalidArgument({ reason: "options", message }));
  }
  const known = settings.identity ?? location.store.provider?.endpoint ?? location.folder;
  const made = Effect.flatMap(
    known === undefined ? identityOf(location.store) : Effect.succeed(known),
    (identity) =>
      Effect.acquireRelease(
        Effect.sync(() => diskCache(main, { folder, identity, maxBytes, partBytes, cachePuts })),
        (cache) => cache.close,
      ),
  );
  return Effect.flatMap(made, (cache) => {
    const ready = Effect.catch(
      Effect.timeoutOption(cache.ready, READY_MILLIS),
      (error) => FINAL.has(error.reason) ? Effect.fail(unusable(folder, error, what)) : Effect.void,
    );
    return Effect.as(ready, { store: cache, forPuts: cachePuts ? cache : stores.main, cache });
  });
}

function unusable(folder: string, error: StoreError, what: string): InvalidArgument {
  return new InvalidArgument({
    reason: "disk-cache",
    message: `${what}: option diskCache.folder: ${JSON.stringify(folder)} cannot be used: ${error.reason}${
      error.detail === undefined ? "" : ` (${error.detail})`
    }. Give a folder that this process may make and write, or leave diskCache out`,
    cause: error,
  });
}

/** What an operator should know of a cache; undefined while it works. */
export function cacheWarning(cache: DiskCacheStore | undefined): string | undefined {
  const trouble = cache?.figures().trouble;
  return trouble === undefined ? undefined : `The disk cache keeps nothing at the moment: ${trouble}`;
}

/** The metrics of a cache, under SlateDB's names. */
export function cacheSeries(cache: DiskCacheStore | undefined): Series[] {
  if (cache === undefined) return [];
  const series = (name: string, type: Series["type"], read: () => number): Series => ({
    name: `slatedb.object_store_cache.${name}`,
    labels: {},
    type,
    read,
  });
  return [
    series("part_access_count", "counter", () => cache.figures().partAccesses),
    series("part_hit_count", "counter", () => cache.figures().partHits),
    series("evicted_keys", "counter", () => cache.figures().evictedKeys),
    series("evicted_bytes", "counter", () => cache.figures().evictedBytes),
    series("cache_keys", "gauge", () => cache.figures().keys),
    series("cache_bytes", "gauge", () => cache.figures().bytes),
  ];
}
