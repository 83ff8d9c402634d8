/**
 * A database as it is stored at this moment, read without being opened: nothing is written, nobody is fenced.
 *
 * Reads the newest manifest, then every WAL object above its replay boundary into one memtable, and looks tables up as
 * any reader does. A live writer may move on meanwhile: when a WAL object that was listed is gone, the manifest is read
 * again and the view is built anew. What a writer has only in its memory is not seen; everything acknowledged as
 * durable is.
 *
 * Invariants: no request but get, range, head and list is made.
 *
 * @module
 */
import { Effect } from "effect";
import type { CostReport, Entry, MergeOperator, SizeEstimate, TtlMode } from "../db/api.ts";
import { costReport } from "../db/cost.ts";
import { surfaced } from "../db/reads.ts";
import { listWal, notInitialized } from "../db/recovery.ts";
import type { Runtime } from "../db/runtime.ts";
import { stackStores, type Stores } from "../db/stores.ts";
import { firstMissing, walGap, type WalObject, WalReplay } from "../db/wal_rows.ts";
import { DataError, type DbError, StoreError } from "../errors.ts";
import { tablePath, walPath } from "../format/paths.ts";
import type { Manifest, Ulid } from "../format/types.ts";
import { WalRows } from "../format/wal_sst.ts";
import { BlockCache } from "../lsm/block_cache.ts";
import { END } from "../lsm/cursor.ts";
import { ExternalRoots } from "../lsm/external_roots.ts";
import type { ScanRange } from "../lsm/key_range.ts";
import { fetchLookup } from "../lsm/lookup.ts";
import { buildLevels, type Levels, type LsmView } from "../lsm/lsm_view.ts";
import { Memtable } from "../lsm/memtable.ts";
import { foldMerge } from "../lsm/merge_operator.ts";
import { decode } from "../lsm/read_error.ts";
import { fetchRows, RowScan } from "../lsm/row_scan.ts";
import { estimateSize } from "../lsm/size_estimate.ts";
import type { TableRef } from "../lsm/table_ref.ts";
import { type TableFigures, TableStatistics } from "../lsm/table_statistics.ts";
import { TableStore } from "../lsm/table_store.ts";
import type { FoundRow, ReadSpec } from "../lsm/version_fold.ts";
import { ManifestStore, type StoredManifest } from "../state/manifest_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import { missingDatabase, type Place } from "./places.ts";
import { CommandFailure } from "./usage_error.ts";

/** How long one read may retry a store that does not answer, ms. */
const RETRY_MILLIS = 30_000;
/** How often the view is built anew because a writer moved on. */
const ATTEMPTS_MAX = 5;
/** WAL objects fetched at once. */
const WAL_READS = 8;
/** Memory for blocks while a command runs. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** Rows per batch of a scan. */
const BATCH_ROWS = 256;

/** How values are read. */
export interface ViewOptions {
  readonly mergeOperator?: MergeOperator | undefined;
  readonly ttl?: TtlMode | undefined;
}

/** How a range is read. */
export interface ViewScanOptions {
  readonly descending?: boolean;
  readonly limit?: number | undefined;
  readonly keysOnly?: boolean;
}

/** The stored objects of one database: manifests, WAL objects, tables. */
export class StoredObjects {
  readonly runtime: Runtime;
  readonly root: string;
  /** Manifests and tables. */
  readonly store: ObjectStoreShape;
  readonly walStore: ObjectStoreShape;
  readonly hasOwnWalStore: boolean;
  readonly manifests: ManifestStore;
  readonly #place: Place;
  readonly #stores: Stores;

  constructor(runtime: Runtime, place: Place) {
    this.runtime = runtime;
    this.root = place.root;
    this.#place = place;
    this.#stores = stackStores(place.store, place.walStore, () => {});
    this.store = this.#stores.main;
    this.walStore = this.#stores.wal;
    this.hasOwnWalStore = place.walStore !== undefined;
    this.manifests = new ManifestStore(this.store, place.root);
  }

  /** Runs a read; fails with a public error. */
  run<A, E>(effect: Effect.Effect<A, E>): Promise<A> {
    const bounded = Effect.provideService(effect, RetryDeadline, RETRY_MILLIS) as Effect.Effect<A, E>;
    return this.runtime.promise(surfaced(bounded));
  }

  /** The newest manifest. Fails when there is no database. */
  async newest(): Promise<StoredManifest> {
    const stored = await this.run(this.manifests.newest);
    if (stored !== undefined) return stored;
    throw missingDatabase(this.#place);
  }

  /** The WAL objects above `after`, ascending. */
  walObjects(after: number): Promise<WalObject[]> {
    return this.run(listWal(this.walStore, this.root, after));
  }

  /** The name of a table, its own or one of the database that a clone refers to. */
  tablePath(manifest: Manifest, id: Ulid): string {
    return tablePath(new ExternalRoots(manifest).rootOf(id) ?? this.root, id);
  }

  /** Requests made so far and what they would cost. */
  cost(): CostReport {
    return costReport([this.#stores.meter.report()]);
  }
}

/** Everything that can be read of a database at one moment. */
export class StoredView {
  readonly objects: StoredObjects;
  readonly stored: StoredManifest;
  readonly walObjects: readonly WalObject[];
  readonly #tables: TableStore;
  readonly #statistics: TableStatistics;
  readonly #view: LsmView;
  readonly #spec: ReadSpec;

  private constructor(
    objects: StoredObjects,
    stored: StoredManifest,
    wal: StoredLog,
    options: ViewOptions,
  ) {
    this.objects = objects;
    this.stored = stored;
    this.walObjects = wal.objects;
    const external = new ExternalRoots(stored.manifest);
    this.#tables = new TableStore({
      store: objects.store,
      root: objects.root,
      externalRoot: (id) => external.rootOf(id),
      cache: new BlockCache({ blockBytes: CACHE_BYTES }),
    });
    this.#statistics = new TableStatistics(objects.store, this.#tables);
    this.#view = { memtables: wal.memtables, ...buildLevels(stored.manifest, this.#tables) };
    this.#spec = {
      maxSeq: Number.MAX_SAFE_INTEGER,
      nowMillis: options.ttl === "slatedb" ? -Infinity : objects.runtime.now(),
      mergeOperator: foldMerge(options.mergeOperator),
    };
  }

  /** Reads manifest and log. Fails when there is no database or its log is damaged. */
  static async read(objects: StoredObjects, options: ViewOptions = {}): Promise<StoredView> {
    let stored = await objects.newest();
    for (let attempt = 1;; attempt++) {
      checkReadable(objects, stored);
      try {
        const wal = await objects.run(readWal(objects, stored.manifest));
        return new StoredView(objects, stored, wal, options);
      } catch (error) {
        if (!(error instanceof DataError) || !isOvertaken(error) || attempt === ATTEMPTS_MAX) throw error;
        const newer = await objects.newest();
        if (newer.id === stored.id) throw error;
        stored = newer;
      }
    }
  }

  /** Rows of the log that are not in tables yet. */
  get walRows(): number {
    return this.#view.memtables.reduce((rows, memtable) => rows + memtable.entryCount - memtable.ranges.count, 0);
  }

  /** Range tombstones of the log that are not in tables yet. */
  get walRanges(): number {
    return this.#view.memtables.reduce((count, memtable) => count + memtable.ranges.count, 0);
  }

  /** L0 and the sorted runs. */
  get levels(): Levels {
    return this.#view;
  }

  /** What is known about each table of the levels; reads statistics, range tombstones and some indexes. */
  figures(): Promise<ReadonlyMap<TableRef, TableFigures>> {
    return this.objects.run(this.#statistics.figures(this.#view));
  }

  /** About how much a range holds; reads no data of tables. */
  estimate(range: ScanRange): Promise<SizeEstimate> {
    return this.objects.run(estimateSize(this.#statistics, this.#view, range));
  }

  /** The value of a key; undefined when it has none. */
  get(key: Uint8Array): Promise<FoundRow | undefined> {
    return this.objects.run(fetchLookup(this.#tables, this.#view, key, this.#spec, { cache: true }));
  }

  /** The rows of a range, in batches. */
  async *scan(range: ScanRange, options: ViewScanOptions = {}): AsyncGenerator<readonly Entry[]> {
    const scan = new RowScan(this.#view, range, this.#spec, {
      order: options.descending === true ? "descending" : "ascending",
      expectedRows: options.limit,
      keysOnly: options.keysOnly,
    });
    let left = options.limit ?? Infinity;
    while (left > 0) {
      const batch: Entry[] = [];
      const rows = Math.min(BATCH_ROWS, left);
      const move = await this.objects.run(fetchRows(this.#tables, scan, batch, rows, { cache: false }));
      left -= batch.length;
      if (batch.length > 0) yield batch;
      if (move === END) return;
    }
  }
}

/** Damage that may only mean that a writer moved on since the manifest was read. */
function isOvertaken(error: DataError): boolean {
  return error.reason === "missing-object" || error.reason === "wal-gap";
}

function checkReadable(objects: StoredObjects, stored: StoredManifest): void {
  if (!stored.manifest.initialized) throw notInitialized(objects.manifests, stored);
  const isApart = stored.manifest.walObjectStoreUri !== undefined;
  if (isApart && !objects.hasOwnWalStore) {
    throw new CommandFailure(
      "wal-store",
      "Its write-ahead log lives in a store of its own: name it with --wal-location",
    );
  }
  if (!isApart && objects.hasOwnWalStore) {
    throw new CommandFailure("wal-store", "Its write-ahead log lives beside its tables: leave --wal-location out");
  }
}

/** The log above the manifest's replay boundary, as memtables, newest first. */
interface StoredLog {
  readonly objects: readonly WalObject[];
  readonly memtables: readonly Memtable[];
}

function readWal(objects: StoredObjects, manifest: Manifest): Effect.Effect<StoredLog, DbError | StoreError> {
  return Effect.gen(function* () {
    const listed = yield* listWal(objects.walStore, objects.root, manifest.replayAfterWalId);
    const hole = firstMissing(listed, manifest.replayAfterWalId);
    if (hole !== undefined) return yield* walGap(objects.root, hole);
    const memtables = [new Memtable()];
    for (let at = 0; at < listed.length; at += WAL_READS) {
      const group = listed.slice(at, at + WAL_READS);
      const bodies = yield* Effect.forEach(group, ({ id }) => objects.walStore.get(walPath(objects.root, id)), {
        concurrency: WAL_READS,
      });
      for (let i = 0; i < group.length; i++) {
        const path = walPath(objects.root, group[i]!.id);
        const rows = yield* decode(path, 0, () => new WalRows(bodies[i]!));
        const object = new WalReplay(rows, bodies[i]!, manifest);
        while (!(yield* decode(path, 0, () => object.insertInto(memtables[0]!)))) memtables.unshift(new Memtable());
      }
    }
    return { objects: listed, memtables };
  }).pipe(Effect.catch((error) => Effect.fail(missingAsData(error))));
}

function missingAsData(error: DbError | StoreError): DbError | StoreError {
  if (!(error instanceof StoreError) || error.reason !== "not-found") return error;
  return new DataError({ object: error.path, section: "wal", offset: 0, reason: "missing-object", cause: error });
}
