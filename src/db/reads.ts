/**
 * Reads of a database, a reader or a snapshot: answered from memory at once where possible, else by an effect.
 *
 * Each read takes one view and one sequence number together and never changes them. A table that is gone from the store
 * is not called damage before the manifest was read again: an idle writer may have been overtaken by a compaction and a
 * collection elsewhere (decision D12). Then the read starts over on the newer view, which is exact as long as nothing
 * above its sequence number's protection was dropped: compaction keeps every version that a manifest's
 * `recentSnapshotMinSeq` protects.
 *
 * @module
 */
import { Effect } from "effect";
import type { EngineCounters } from "../env/counters.ts";
import { DataError, type DbError, Unavailable } from "../errors.ts";
import { assertKeys, keyBytes, resolveRange, type ScanRange } from "../lsm/key_range.ts";
import { ABSENT, fetchLookups, FOUND, PointLookup } from "../lsm/lookup.ts";
import { ResultSlab } from "../lsm/result_slab.ts";
import { emptyRow, type FoundRow, type ReadSpec } from "../lsm/version_fold.ts";
import type { Manifest } from "../format/types.ts";
import type { StoredManifest } from "../state/manifest_store.ts";
import { isGated } from "../state/range_gate.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import { type Bytes, type Durability, type KeyRange, NOT_CACHED, type ReadOptions, type ScanOptions } from "./api.ts";
import { badOption, checkFields } from "./call_options.ts";
import type { ReadHost } from "./read_host.ts";
import { withDbErrors } from "./failures.ts";
import { CursorSource, type MoveObserver } from "./cursor_source.ts";
import { type ScanObserver, ScanSource } from "./scan_source.ts";

/** What the waits between a read's requests may add to its deadline, ms. */
const DEADLINE_GRACE_MILLIS = 1000;
/** How often one read may start over because a table was collected under it. */
const RESTARTS_MAX = 4;

const READ_FIELDS: ReadonlySet<string> = new Set(["durability", "ttl", "cacheBlocks", "signal"]);
const SCAN_FIELDS: ReadonlySet<string> = new Set([...READ_FIELDS, "order", "limit", "readAheadBytes"]);

/** Which writes reads of a database or snapshot see. */
export interface ReadBounds {
  /** The newest sequence number visible now. */
  readonly maxSeq: (durability: Durability) => number;
  /** Throws when reads are over: the database is closed, the snapshot released. */
  readonly assertUsable: () => void;
}

/** Reads under given bounds. */
export class Reader {
  readonly #host: ReadHost;
  readonly #bounds: ReadBounds;
  readonly #counters: EngineCounters;
  readonly #lookup: PointLookup;
  readonly #row: FoundRow = emptyRow();
  /** Where results are copied to. */
  readonly slab: ResultSlab;

  /** @param slab memory for results, shared with other readers of the database */
  constructor(host: ReadHost, bounds: ReadBounds, slab: ResultSlab = new ResultSlab()) {
    this.#host = host;
    this.#bounds = bounds;
    this.#counters = host.tables.counters;
    this.slab = slab;
    this.#lookup = new PointLookup(this.slab, this.#counters);
  }

  /** The value from memory, undefined when the key is absent, NOT_CACHED when only the store can tell. */
  getCached(key: Bytes, options?: ReadOptions): Uint8Array | undefined | typeof NOT_CACHED {
    const row = this.tryGet(key, options);
    return row === NOT_CACHED || row === undefined ? row : row.value;
  }

  /** The row from memory; valid until the next call. */
  tryGet(key: Bytes, options?: ReadOptions): FoundRow | undefined | typeof NOT_CACHED {
    this.#bounds.assertUsable();
    const bytes = keyBytes(key);
    const spec = this.spec(options);
    this.#counters.gets++;
    const answer = this.#lookup.tryGet(this.#host.view(spec), bytes, spec, this.#row);
    if (answer === FOUND) return this.#row;
    return answer === ABSENT ? undefined : NOT_CACHED;
  }

  /** The row that `tryGet` could not tell, from the store if need be. */
  fetch(key: Bytes, options?: ReadOptions): Effect.Effect<FoundRow | undefined, DbError> {
    return Effect.map(this.#fetchRows([key], options), (rows) => rows[0]);
  }

  /** The rows of many keys, in the order of the keys, at one moment. */
  fetchMany(
    keys: ReadonlyArray<Bytes>,
    options?: ReadOptions,
  ): Effect.Effect<Array<FoundRow | undefined>, DbError> {
    return Effect.suspend(() => {
      assertKeys(keys, "get many keys");
      this.#counters.gets += keys.length;
      return this.#fetchRows(keys, options);
    }).pipe(surfaced);
  }

  #fetchRows(
    keys: ReadonlyArray<Bytes>,
    options: ReadOptions | undefined,
  ): Effect.Effect<Array<FoundRow | undefined>, DbError> {
    return Effect.suspend(() => {
      this.#bounds.assertUsable();
      const bytes = keys.map((key) => keyBytes(key).slice());
      this.onFetch(bytes);
      const specNow = this.specs(options, READ_FIELDS);
      // Refuses bad options before anything waits.
      specNow();
      const cache = options?.cacheBlocks ?? true;
      const { tables } = this.#host;
      const attempt = (restarts: number): Effect.Effect<Array<FoundRow | undefined>, unknown> =>
        Effect.suspend(() => {
          // Number and view are of one moment. Nothing was answered yet: a restart reads at the number of its own.
          const spec = specNow();
          const { id } = this.#host.stored();
          return Effect.catch(
            fetchLookups(tables, this.#host.view(spec), bytes, spec, { cache }) as Effect.Effect<
              Array<FoundRow | undefined>,
              unknown
            >,
            (error) =>
              isMissing(error) && restarts < RESTARTS_MAX
                ? Effect.andThen(
                  this.newerView(() => specNow().maxSeq, error, id),
                  attempt(restarts + 1),
                )
                : Effect.fail(error),
          );
        });
      return this.bounded(attempt(0));
    }).pipe(surfaced);
  }

  /** A scan that starts now. @throws InvalidArgument for a bad range or option, Closed. */
  scan(range: KeyRange | undefined, options: ScanOptions = {}): ScanSource {
    this.#bounds.assertUsable();
    const spec = this.specs(options, SCAN_FIELDS);
    const { order = "ascending", limit, readAheadBytes, cacheBlocks = false } = options;
    if (order !== "ascending" && order !== "descending") throw badOption("order", '"ascending" or "descending"');
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 1)) {
      throw badOption("limit", "a whole number of at least 1");
    }
    if (readAheadBytes !== undefined && !(Number.isSafeInteger(readAheadBytes) && readAheadBytes >= 0)) {
      throw badOption("readAheadBytes", "a whole number of at least 0");
    }
    this.#counters.scans++;
    const keys = resolveRange(range);
    const descending = order === "descending";
    return new ScanSource(this, this.#host, keys, spec, {
      descending,
      limit: limit ?? Infinity,
      readAheadBytes,
      cache: cacheBlocks,
      assertUsable: this.#bounds.assertUsable,
      observer: this.observer(keys, descending),
    });
  }

  /** A cursor that stands on the moment of this call. @throws InvalidArgument for a bad range or option, Closed. */
  cursor(range: KeyRange | undefined, options: ReadOptions = {}): CursorSource {
    this.#bounds.assertUsable();
    const specs = this.specs(options, READ_FIELDS);
    const spec = specs();
    this.#counters.scans++;
    return new CursorSource(this, this.#host, resolveRange(range), () => spec, {
      cache: options.cacheBlocks ?? true,
      assertUsable: this.#bounds.assertUsable,
      observer: this.moveObserver(),
    });
  }

  /** Hears of the keys that are about to be looked up. */
  protected onFetch(_keys: ReadonlyArray<Uint8Array>): void {}

  /** Hears what a scan answers; undefined when nobody needs to. */
  protected observer(_range: ScanRange, _descending: boolean): ScanObserver | undefined {
    return undefined;
  }

  /** Hears what a cursor looks at and answers; undefined when nobody needs to. */
  protected moveObserver(): MoveObserver | undefined {
    return undefined;
  }

  /** What a read that may last works with, asked again as long as nothing was answered. */
  protected specs(options: ReadOptions | undefined, known: ReadonlySet<string>): () => ReadSpec {
    return () => this.spec(options, known);
  }

  /** Sequence number, time and operator that a read with `options` works with. */
  spec(options: ReadOptions | undefined, known: ReadonlySet<string> = READ_FIELDS): ReadSpec {
    const { merge, runtime } = this.#host;
    let durability: Durability = "memory";
    let ttl = this.#host.ttl;
    if (options !== undefined) {
      checkRead(options, known);
      durability = options.durability ?? "memory";
      ttl = options.ttl ?? ttl;
    }
    return {
      maxSeq: this.#bounds.maxSeq(durability),
      nowMillis: ttl === "strict" ? this.#host.readTime(runtime.now()) : -Infinity,
      mergeOperator: merge,
    };
  }

  /**
   * Makes sure that the state is newer than manifest version `seenId`, on which a table was missing: reads the manifest
   * again unless somebody else did. Fails with `error` when nothing changed, or when the read's versions may be gone.
   *
   * @param maxSeq the number that the read goes on with on that state
   */
  newerView(maxSeq: () => number, error: DataError, seenId: number): Effect.Effect<void, unknown> {
    const { requestTimeoutMillis } = this.#host;
    return Effect.suspend(() => {
      const known = this.#host.stored();
      // A commit that waits for the store may hold the manifest for long; a read does not wait for that.
      const refreshed = known.id !== seenId ? Effect.succeed(known) : Effect.timeoutOrElse(
        this.#host.refresh,
        { duration: requestTimeoutMillis, orElse: () => Effect.fail(noAnswer(requestTimeoutMillis)) },
      );
      return Effect.flatMap(refreshed, (stored) => {
        if (stored.id === seenId) return Effect.fail(error);
        const expired = viewExpired(this.#host, stored, maxSeq(), error);
        return expired === undefined ? Effect.void : Effect.fail(expired);
      });
    });
  }

  /** Gives a read its deadline: each store request has it, and all of its waits together have a little more. */
  bounded<A>(effect: Effect.Effect<A, unknown>): Effect.Effect<A, unknown> {
    const { requestTimeoutMillis } = this.#host;
    return Effect.timeoutOrElse(Effect.provideService(effect, RetryDeadline, requestTimeoutMillis), {
      duration: requestTimeoutMillis + DEADLINE_GRACE_MILLIS,
      orElse: () => Effect.fail(noAnswer(requestTimeoutMillis)),
    });
  }
}

/**
 * The number from which on reads are exact on a manifest's tables, when its writer protects the read, or does not.
 *
 * Of range tombstones a flush keeps what protected numbers need, not what those between them would.
 */
export function exactFrom(manifest: Manifest, isProtected: boolean): number {
  return isGated(manifest) && !isProtected ? manifest.lastL0Seq : manifest.recentSnapshotMinSeq;
}

/** The error of a read at `maxSeq` that `stored` may no longer have every version for; undefined when it has. */
export function viewExpired(
  { protects }: Pick<ReadHost, "protects">,
  { manifest }: StoredManifest,
  maxSeq: number,
  cause: DataError,
): DataError | undefined {
  const protectedFrom = exactFrom(manifest, protects(maxSeq));
  if (maxSeq >= protectedFrom) return undefined;
  return new DataError({
    object: cause.object,
    section: cause.section,
    offset: 0,
    reason: "view-expired",
    detail: `compaction kept versions from ${protectedFrom} on, this read needs ${maxSeq}; start a new read`,
    cause,
  });
}

/** Errors thrown by synchronous parts are failures of the read, not defects. */
export function surfaced<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, DbError, R> {
  return withDbErrors(Effect.catchDefect(effect, (defect) => Effect.fail(defect)));
}

function noAnswer(millis: number): Unavailable {
  return new Unavailable({
    reason: "timeout",
    message: `The object store did not answer a read within ${millis} ms (requestTimeoutMillis). ` +
      "Nothing acknowledged is lost; try again when it answers",
  });
}

function isMissing(error: unknown): error is DataError {
  return error instanceof DataError && error.reason === "missing-object";
}

function checkRead(options: ReadOptions, known: ReadonlySet<string>): void {
  checkFields(options, known);
  const { durability, ttl } = options;
  if (durability !== undefined && durability !== "memory" && durability !== "durable") {
    throw badOption("durability", '"memory" or "durable"');
  }
  if (ttl !== undefined && ttl !== "strict" && ttl !== "slatedb") throw badOption("ttl", '"strict" or "slatedb"');
}
