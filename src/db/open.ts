/**
 * Puts a database together: stores and their decorators, recovery, state, moving parts, supervision.
 *
 * The only place that starts the writer's fibers. Everything is acquired in a scope: when opening fails or the database
 * closes, the scope ends and takes fibers and open files along.
 *
 * @module
 */
import { Context, Effect, Exit, Scope } from "effect";
import type { DbError } from "../errors.ts";
import type { EngineCounters } from "../env/counters.ts";
import { Ids, UlidMint } from "../env/ids.ts";
import { BlockCache } from "../lsm/block_cache.ts";
import { ExternalRoots } from "../lsm/external_roots.ts";
import { countedMerge, foldMerge } from "../lsm/merge_operator.ts";
import { KnownTables } from "../lsm/table_facts.ts";
import { TableStore } from "../lsm/table_store.ts";
import type { TableEncoding } from "../lsm/table_writer.ts";
import { ManifestStore } from "../state/manifest_store.ts";
import { type ManifestFault, ManifestHandle } from "../state/manifest_handle.ts";
import { WriterState } from "../state/writer_state.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import type { Compactor } from "../../tasks/compactor.ts";
import { manifestPoller } from "../../tasks/manifest_poller.ts";
import { memtableFlusher, type MemtableMessage } from "../../tasks/memtable_flusher.ts";
import type { Actor } from "../../tasks/actor.ts";
import { Supervisor } from "../../tasks/supervisor.ts";
import { walFlusher } from "../../tasks/wal_flusher.ts";
import { type Collector, startCollector } from "./collection.ts";
import { startCompactor } from "./compaction.ts";
import { threadRefusal } from "./compactor_options.ts";
import { guardConditions } from "./conditional_check.ts";
import { Engine } from "./engine.ts";
import { withDbErrors } from "./failures.ts";
import { releaseWithScope, type ResolvedLocation } from "./location.ts";
import type { ResolvedOptions } from "./options.ts";
import { countCollection, EngineMetrics, gaugesOf } from "./metrics.ts";
import { Preloader } from "./preload.ts";
import { claimEpoch, fenceWal, listWal, replay, type WalObject } from "./recovery.ts";
import { contextWithClock, Runtime } from "./runtime.ts";
import { stackStores, type Stores, type StoreTrouble } from "./stores.ts";
import { cacheSeries, cacheWarning, openTableSource, type TableSource } from "./table_source.ts";

/** An epoch proof older than this needs a new one before an acknowledgement, in manifest polls. */
const EPOCH_PROOF_POLLS = 2;
/** Quarter of the shortest age at which any collector may delete a fence (300 s), ms. */
const EPOCH_PROOF_MAX_MILLIS = 75_000;

/** An engine with the stores it counts requests on. */
export interface OpenedEngine {
  readonly engine: Engine;
  readonly stores: Stores;
  readonly metrics: EngineMetrics;
}

/** Opens a database for writing at a resolved location. */
export function openEngine(
  location: ResolvedLocation,
  options: ResolvedOptions,
): Effect.Effect<OpenedEngine, DbError> {
  return withDbErrors(Effect.gen(function* () {
    const context = Context.merge(yield* Effect.context<never>(), contextWithClock(options.clock));
    return yield* Effect.provideContext(openWith(new Runtime(context), location, options), context);
  }));
}

function openWith(
  runtime: Runtime,
  location: ResolvedLocation,
  options: ResolvedOptions,
): Effect.Effect<OpenedEngine, ManifestFault | DbError> {
  return Effect.gen(function* () {
    const scope = yield* Scope.make();
    return yield* assemble(runtime, location, options, scope).pipe(
      Scope.provide(scope),
      Effect.onError(() => Scope.close(scope, Exit.void)),
    );
  });
}

/** What recovery starts from and the moving parts work with. */
interface Foundation {
  readonly runtime: Runtime;
  readonly options: ResolvedOptions;
  readonly root: string;
  readonly folder: string | undefined;
  readonly stores: Stores;
  readonly source: TableSource;
  readonly preloader: Preloader;
  readonly supervisor: Supervisor;
  readonly state: WriterState;
  readonly manifest: ManifestHandle;
  readonly tables: TableStore;
  readonly external: ExternalRoots;
  readonly mint: UlidMint;
  readonly known: KnownTables;
  readonly counters: EngineCounters;
}

function assemble(
  runtime: Runtime,
  location: ResolvedLocation,
  options: ResolvedOptions,
  scope: Scope.Closeable,
): Effect.Effect<OpenedEngine, ManifestFault | DbError, Scope.Scope> {
  return Effect.gen(function* () {
    let trouble: StoreTrouble = { degraded: [], slow: [] };
    let onTrouble = (now: StoreTrouble): void => void (trouble = now);
    let onStatus = () => {};
    let unpublish = () => {};
    // First, and so the last to end: until then the parts may still have requests to make.
    yield* releaseWithScope(location);
    const refusal = threadRefusal(options, location.folder);
    if (refusal !== undefined) return yield* refusal;
    yield* Effect.addFinalizer(() => Effect.sync(() => unpublish()));
    const guard = yield* guardConditions(
      stackStores(location.store, options.walStore, (now) => onTrouble(now)),
    );
    const { stores } = guard;
    const limited = Effect.provideService(RetryDeadline, options.requestTimeoutMillis);
    const source = yield* openTableSource(stores, location, options.diskCache, "Cannot open");
    const base = yield* limited(takeOver(runtime, options, location, stores, source));
    const found = yield* limited(fenceIfNeeded(base));
    guard.opened((error) => void base.supervisor.close(error));
    const parts = yield* Effect.provideService(startParts(base, () => onStatus()), RetryDeadline, Infinity);
    const { supervisor, state, manifest, tables } = base;
    const engine = new Engine({
      runtime,
      options,
      supervisor,
      state,
      manifest,
      tables,
      store: stores.main,
      merge: foldMerge(options.mergeOperator),
      scope,
      flushNow: parts.flushNow,
      compactor: parts.compactor,
      collector: parts.collector,
    });
    const metrics = new EngineMetrics(base.counters, stores.meter, gaugesOf(engine.parts), cacheSeries(source.cache));
    unpublish = metrics.publish(runtime.context);
    onStatus = () => engine.status.changed();
    onTrouble = (now) => engine.status.setTrouble(now);
    onTrouble(trouble);
    base.preloader.onChange = onStatus;
    engine.status.others = () => [cacheWarning(source.cache), base.preloader.trouble];
    state.hooks = {
      onRows: parts.onRows,
      onTables: parts.onTables,
      onManifest: parts.onManifest,
      onProgress: () => {
        engine.writes.drain();
        engine.status.changed();
      },
      onDefect: (defect) => supervisor.fail("write", defect),
    };
    if (found !== undefined) {
      yield* limited(replay({ ...base, ...options, store: stores.wal }, found.objects));
      state.ledger.stored(found.fenceId, 0);
    }
    state.isReplayed = true;
    if (supervisor.closed !== undefined) return yield* supervisor.closed;
    parts.compactor.changed();
    yield* limited(base.preloader.start);
    return { engine, stores, metrics };
  });
}

/** Claims the epoch and sets the state up as the manifest tells it. */
function takeOver(
  runtime: Runtime,
  options: ResolvedOptions,
  { root, folder, name = "this location" }: ResolvedLocation,
  stores: Stores,
  source: TableSource,
): Effect.Effect<Foundation, ManifestFault | DbError> {
  return Effect.gen(function* () {
    const versions = new ManifestStore(stores.main, root);
    const stored = yield* claimEpoch(versions, options, name);
    const external = new ExternalRoots(stored.manifest);
    const tables = new TableStore({
      store: source.store,
      root,
      externalRoot: (id) => external.rootOf(id),
      cache: new BlockCache({ blockBytes: options.blockCacheBytes }),
    });
    const { counters } = tables;
    const mint = new UlidMint(yield* Ids);
    const state = new WriterState(options, tables, mint, () => runtime.now(), stored);
    const manifest = new ManifestHandle(versions, stored, true, (newer) => {
      external.adopt(newer.manifest);
      state.adopt(newer);
    }, (next) => state.needsGate(next));
    const known = new KnownTables();
    const { preload } = options;
    const preloader = new Preloader({ preload, tables, levels: () => state.view, cache: source.cache });
    return {
      runtime,
      options,
      root,
      folder,
      stores,
      source,
      preloader,
      supervisor: new Supervisor(),
      state,
      manifest,
      tables,
      external,
      mint,
      known,
      counters,
    };
  });
}

/**
 * Fences the WAL. With the WAL off that is still needed where there is one: its last writer might acknowledge once more.
 */
function fenceIfNeeded(
  { options, root, stores, manifest }: Foundation,
): Effect.Effect<{ readonly objects: WalObject[]; readonly fenceId: number } | undefined, ManifestFault | DbError> {
  return Effect.gen(function* () {
    const needed = options.walEnabled || manifest.current.replayAfterWalId > 0 ||
      (yield* listWal(stores.wal, root, 0)).length > 0;
    return needed ? yield* fenceWal(stores.wal, root, manifest) : undefined;
  });
}

/** The moving parts, and how the synchronous core wakes them. */
interface MovingParts {
  readonly flushNow: () => void;
  readonly onRows: (full: boolean) => void;
  readonly onTables: () => void;
  readonly onManifest: () => void;
  readonly compactor: Compactor;
  readonly collector: Collector;
}

function encodingOf(options: ResolvedOptions): TableEncoding {
  const { blockSizeBytes, compression, minFilterKeys, filterBitsPerKey } = options;
  return { blockSizeBytes, compression, minFilterKeys, filterBitsPerKey };
}

/** Starts the fibers; the current scope ends them, in reverse order. */
function startParts(base: Foundation, onStatus: () => void): Effect.Effect<MovingParts, never, Scope.Scope> {
  return Effect.gen(function* () {
    const { options, stores, known, counters } = base;
    const merge = foldMerge(options.mergeOperator);
    const encoding = encodingOf(options);
    const poller = yield* manifestPoller({
      ...base,
      intervalMillis: options.manifestPollIntervalMillis,
      idleMillis: options.idlePollMillis,
    });
    const { collector, compactor } = yield* startHousekeeping(base, encoding, onStatus, (what) => tables.tell(what));
    const tables: Actor<MemtableMessage> = yield* memtableFlusher({
      ...base,
      store: base.source.forPuts,
      encoding,
      merge: countedMerge(merge, (operands) => counters.operandsFlush += operands),
      parallelism: options.l0FlushParallelism,
      l0Limit: () => options.compactor !== undefined && isAtWork(compactor) ? options.l0MaxSsts : Infinity,
      onStored: (id, isPlain) => known.note(id, isPlain),
      flushIntervalMillis: options.walEnabled ? Infinity : options.flushIntervalMillis,
      flushWal: () => wal?.tell("flush"),
    });
    const wal = !options.walEnabled ? undefined : yield* walFlusher({
      ...base,
      store: stores.wal,
      encoding,
      flushIntervalMillis: options.flushIntervalMillis,
      maxPutsPerSecond: options.maxWalPutsPerSecond,
      epochProofMillis: Math.min(EPOCH_PROOF_POLLS * options.manifestPollIntervalMillis, EPOCH_PROOF_MAX_MILLIS),
    });
    return {
      flushNow: wal === undefined ? () => tables.tell("wanted") : () => wal.tell("flush"),
      onRows: (full) => {
        if (wal === undefined) tables.tell("rows");
        else wal.tell(full ? "flush" : "rows");
        poller.tell("busy");
      },
      onTables: () => {
        tables.tell("tables");
        poller.tell("busy");
      },
      onManifest: () => {
        compactor.changed();
        collector.changed();
        base.preloader.changed();
      },
      compactor,
      collector,
    };
  });
}

/**
 * Starts the parts that keep the database small. `tellFlusher` hears "tables" when the compactor does nothing for L0 any
 * more, and "gate" when it made tables without range tombstones of some with them.
 */
function startHousekeeping(
  base: Foundation,
  encoding: TableEncoding,
  onStatus: () => void,
  tellFlusher: (what: "tables" | "gate") => void,
): Effect.Effect<Pick<MovingParts, "collector" | "compactor">, never, Scope.Scope> {
  return Effect.gen(function* () {
    const { options, counters } = base;
    const collector: Collector = yield* startCollector({
      ...base,
      settings: options.garbageCollector,
      onChange: onStatus,
      onReport: (report) => {
        countCollection(counters, report);
        const isHeld = (report.kept.compacted["active-compaction"] ?? 0) > 0;
        if (isHeld && options.compactor !== undefined) compactor.reclaim();
      },
    });
    const compactor: Compactor = yield* startCompactor({
      ...base,
      externalRoot: (id) => base.external.rootOf(id),
      encoding,
      merge: countedMerge(foldMerge(options.mergeOperator), (operands) => counters.operandsCompact += operands),
      settings: options.compactor,
      expectedEpoch: options.compactor === undefined ? undefined : base.manifest.current.compactorEpoch,
      onChange: () => {
        // Where it makes no more room in L0, the flushing must not go on waiting for it.
        if (!isAtWork(compactor)) tellFlusher("tables");
        onStatus();
      },
      onMergeFailure: (error) => void (base.state.mergeFailure = error),
      onOrphans: () => collector.orphaned(),
      onPublished: (_manifest, _outputs, { bytesIn }) => {
        counters.compacted(bytesIn, base.runtime.now());
        if (base.state.mayLiftGate) tellFlusher("gate");
      },
    });
    return { collector, compactor };
  });
}

/** Whether a compactor will make room in L0: one that is superseded or fails must not stop the flushing. */
function isAtWork({ status }: Compactor): boolean {
  return status.phase === "idle" || status.phase === "running";
}
