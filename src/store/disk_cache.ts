/**
 * Keeps parts of tables in a folder of the local disk: a decorator between the engine and a store that is far away.
 *
 * Invariant PC1: a reader gets what the store would answer, never an error or wrong bytes because of the folder. Only
 * tables are kept, whose bytes never change (`disk_cache/part_name.ts`); manifests, the log and everything else pass,
 * whatever lies in the folder. Every page that is read is proven by its checksum; what is damaged is removed and fetched
 * again. A disk that hangs, is full or refuses ends the caching, not the reading.
 *
 * A range is cut into parts of `partBytes`. Those that are not on the disk are fetched whole, neighbours with one
 * request, each part once however many readers want it, and written behind the reader's back. Put it above `retrying`
 * and `metered`: what it answers itself is no request.
 *
 * @module
 */
import { Effect, Layer } from "effect";
import { InvalidArgument, type StoreError } from "../errors.ts";
import { CachedStore } from "./disk_cache/cached_store.ts";
import { spaceOf } from "./disk_cache/cache_tree.ts";
import { PARTS_MAX } from "./disk_cache/part_index.ts";
import type { FileSystem } from "./file/file_system.ts";
import { ObjectStore, type ObjectStoreShape } from "./object_store.ts";

const MIB = 1024 * 1024;
/** Default limit of the folder, bytes. */
export const DISK_CACHE_MAX_BYTES: number = 16 * 1024 * MIB;
/** Default size of parts, bytes: see decision 0021. */
export const DISK_CACHE_PART_BYTES: number = 256 * 1024;
/** Parts are a multiple of so many bytes. */
const PART_BYTES_UNIT = 1024;
/** Largest part, bytes. */
const PART_BYTES_MAX: number = 64 * MIB;

/** Settings of {@linkcode diskCache}. */
export interface DiskCacheOptions {
  /** The folder; made when there is none, for the owner only. Databases and processes may share one. */
  readonly folder: string;
  /** What tells this store from others whose parts lie in the same folder, such as "s3://bucket". */
  readonly identity: string;
  /** Disk space of all parts in the folder, bytes: 2..262,144 parts. Default 16 GiB, or 262,144 parts if that is less. */
  readonly maxBytes?: number;
  /** Size of a part, bytes: a multiple of 1024, 1 KiB..64 MiB. Default 256 KiB. */
  readonly partBytes?: number;
  /** Whether tables that are put are kept too. Default false. */
  readonly cachePuts?: boolean;
  /** After so long the next write looks through the folder anew, ms. Default 3,600,000. */
  readonly scanIntervalMillis?: number;
  /**
   * The file system; the platform's when absent. For tests that make a disk fail.
   *
   * @internal
   */
  readonly fileSystem?: FileSystem;
}

/** How a disk cache is doing. Counts are of this cache, from its making on; the rest is of its folder. */
export interface DiskCacheFigures {
  /** Parts that reads were made of. */
  readonly partAccesses: number;
  /** Those of them that were on the disk. */
  readonly partHits: number;
  /** Parts in the folder, as far as this process knows. */
  readonly keys: number;
  /** Their disk space, bytes. */
  readonly bytes: number;
  /** Parts evicted by this process since the cache was made. */
  readonly evictedKeys: number;
  /** Their disk space, bytes. */
  readonly evictedBytes: number;
  /** Parts that were read and not kept: too many at once, no room, a full disk. */
  readonly skippedParts: number;
  /** Parts that were damaged and removed. */
  readonly damagedParts: number;
  /** Why the folder takes nothing; absent while it does. */
  readonly trouble?: string;
}

/** A store with a cache on the disk. */
export interface DiskCacheStore extends ObjectStoreShape {
  /** Makes the folder and proves that it can be written. Fails like a request; reading works without. */
  readonly ready: Effect.Effect<void, StoreError>;
  /**
   * Brings bytes `0..end` of a table to the disk, as far as there is room without an eviction; false when there was not.
   * The object must have so many bytes.
   */
  readonly warm: (path: string, end: number) => Effect.Effect<boolean, StoreError>;
  /** Ends when nothing waits to be written. */
  readonly settled: Effect.Effect<void>;
  /** Ends the caching; reads go on without it. Other caches with the same folder are not disturbed. */
  readonly close: Effect.Effect<void>;
  /** How it is doing. */
  readonly figures: () => DiskCacheFigures;
}

/**
 * Keeps parts of the tables of `inner` in a folder. Nothing is touched before the first request.
 *
 * @throws InvalidArgument reason "options" for a size that is not one
 */
export function diskCache(inner: ObjectStoreShape, options: DiskCacheOptions): DiskCacheStore {
  const { partBytes = DISK_CACHE_PART_BYTES, maxBytes = diskCacheMaxBytes(partBytes) } = options;
  const problem = diskCacheProblem(partBytes, maxBytes);
  if (problem !== undefined) {
    throw new InvalidArgument({ reason: "options", message: `Cannot make a disk cache: option ${problem}` });
  }
  return new CachedStore(inner, options, partBytes, maxBytes);
}

/** {@linkcode diskCache} as a layer over the store service; the folder must be usable. */
export function diskCacheLayer(
  options: DiskCacheOptions,
): Layer.Layer<ObjectStore, InvalidArgument | StoreError, ObjectStore> {
  const made = Effect.flatMap(ObjectStore, (inner) =>
    Effect.try({
      try: () => diskCache(inner, options),
      catch: (error) => {
        if (error instanceof InvalidArgument) return error;
        throw error;
      },
    }));
  const opened = Effect.tap(Effect.acquireRelease(made, (cache) => cache.close), (cache) => cache.ready);
  return Layer.effect(ObjectStore, opened);
}

/** The default limit of a folder with parts of this size, bytes: no more than so many files can hold. */
export function diskCacheMaxBytes(partBytes: number): number {
  return Math.max(0, Math.min(DISK_CACHE_MAX_BYTES, PARTS_MAX * partBytes));
}

/** What is wrong with these sizes, with the name of the option first; undefined when nothing is. */
export function diskCacheProblem(partBytes: number, maxBytes: number): string | undefined {
  if (!Number.isSafeInteger(partBytes) || partBytes < PART_BYTES_UNIT || partBytes > PART_BYTES_MAX) {
    return `partBytes: must be ${PART_BYTES_UNIT}..${PART_BYTES_MAX} bytes`;
  }
  if (partBytes % PART_BYTES_UNIT !== 0) return `partBytes: must be a multiple of ${PART_BYTES_UNIT}`;
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 2 * Math.max(partBytes, 4096)) {
    return `maxBytes: must have room for two parts, ${2 * Math.max(partBytes, 4096)} bytes`;
  }
  if (maxBytes > PARTS_MAX * spaceOf(partBytes)) {
    return `maxBytes: a folder has up to ${PARTS_MAX} parts, with this partBytes ${PARTS_MAX * partBytes} bytes`;
  }
  return undefined;
}
