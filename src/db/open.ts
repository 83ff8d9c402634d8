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
import { Ids, UlidMint } from "../env/ids.ts";
import { BlockCache } from "../lsm/block_cache.ts";
import { ExternalRoots } from "../lsm/external_roots.ts";
import { foldMerge } from "../lsm/merge_operator.ts";
import { TableStore } from "../lsm/table_store.ts";
import { ManifestStore } from "../state/manifest_store.ts";
import { type ManifestFault, ManifestHandle } from "../state/manifest_handle.ts";
import { WriterState } from "../state/writer_state.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import { manifestPoller } from "../../tasks/manifest_poller.ts";
import { memtableFlusher } from "../../tasks/memtable_flusher.ts";
import { Supervisor } from "../../tasks/supervisor.ts";
import { walFlusher } from "../../tasks/wal_flusher.ts";
import { Engine } from "./engine.ts";
import { withDbErrors } from "./failures.ts";
import type { ResolvedLocation } from "./location.ts";
import type { ResolvedOptions } from "./options.ts";
import { claimEpoch, fenceWal, listWal, replay, type WalObject } from "./recovery.ts";
import { contextWithClock, Runtime } from "./runtime.ts";
import { stackStores, type Stores } from "./stores.ts";

/** An epoch proof older than this needs a new one before an acknowledgement, in manifest polls. */
const EPOCH_PROOF_POLLS = 2;
/** Quarter of the shortest age at which any collector may delete a fence (300 s), ms. */
const EPOCH_PROOF_MAX_MILLIS = 75_000;

/** An engine with the stores it counts requests on. */
export interface OpenedEngine {
  readonly engine: Engine;
  readonly stores: Stores;
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
  readonly stores: Stores;
  readonly supervisor: Supervisor;
  readonly state: WriterState;
  readonly manifest: ManifestHandle;
  readonly tables: TableStore;
}

function assemble(
  runtime: Runtime,
  { store, root, name = "this location" }: ResolvedLocation,
  options: ResolvedOptions,
  scope: Scope.Closeable,
): Effect.Effect<OpenedEngine, ManifestFault | DbError, Scope.Scope> {
  return Effect.gen(function* () {
    let degraded: (trouble: string | undefined) => void = () => {};
    const stores = stackStores(store, options.walStore, (trouble) => degraded(trouble));
    const limited = Effect.provideService(RetryDeadline, options.requestTimeoutMillis);
    const base = yield* limited(takeOver(runtime, options, root, name, stores));
    const found = yield* limited(fenceIfNeeded(base));
    const parts = yield* Effect.provideService(startParts(base), RetryDeadline, Infinity);
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
    });
    degraded = (trouble) => engine.status.setDegraded(trouble);
    state.hooks = {
      onRows: parts.onRows,
      onTables: parts.onTables,
      onProgress: () => {
        engine.drainQueue();
        engine.status.changed();
      },
      onDefect: (defect) => supervisor.fail("write", defect),
    };
    if (found !== undefined) {
      yield* limited(replay({ ...base, ...options, store: stores.wal }, found.objects));
      state.ledger.stored(found.fenceId, 0);
    }
    if (supervisor.closed !== undefined) return yield* supervisor.closed;
    return { engine, stores };
  });
}

/** Claims the epoch and sets the state up as the manifest tells it. */
function takeOver(
  runtime: Runtime,
  options: ResolvedOptions,
  root: string,
  place: string,
  stores: Stores,
): Effect.Effect<Foundation, ManifestFault | DbError> {
  return Effect.gen(function* () {
    const versions = new ManifestStore(stores.main, root);
    const stored = yield* claimEpoch(versions, options, place);
    const external = new ExternalRoots(stored.manifest);
    const tables = new TableStore({
      store: stores.main,
      root,
      externalRoot: (id) => external.rootOf(id),
      cache: new BlockCache({ blockBytes: options.blockCacheBytes }),
    });
    const state = new WriterState(options, tables, new UlidMint(yield* Ids), () => runtime.now(), stored);
    const manifest = new ManifestHandle(versions, stored, true, (newer) => {
      external.adopt(newer.manifest);
      state.adopt(newer);
    });
    return { runtime, options, root, stores, supervisor: new Supervisor(), state, manifest, tables };
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

/** How the synchronous core wakes the moving parts. */
interface MovingParts {
  readonly flushNow: () => void;
  readonly onRows: (full: boolean) => void;
  readonly onTables: () => void;
}

/** Starts the fibers; the current scope ends them, in reverse order. */
function startParts(base: Foundation): Effect.Effect<MovingParts, never, Scope.Scope> {
  return Effect.gen(function* () {
    const { options, stores } = base;
    const encoding = {
      blockSizeBytes: options.blockSizeBytes,
      compression: options.compression,
      minFilterKeys: options.minFilterKeys,
      filterBitsPerKey: options.filterBitsPerKey,
    };
    const poller = yield* manifestPoller({
      ...base,
      intervalMillis: options.manifestPollIntervalMillis,
      idleMillis: options.idlePollMillis,
    });
    const tables = yield* memtableFlusher({
      ...base,
      store: stores.main,
      encoding,
      merge: foldMerge(options.mergeOperator),
      parallelism: options.l0FlushParallelism,
      flushIntervalMillis: options.walEnabled ? Infinity : options.flushIntervalMillis,
      flushWal: () => wal?.tell("flush"),
    });
    const wal = !options.walEnabled ? undefined : yield* walFlusher({
      ...base,
      store: stores.wal,
      encoding,
      flushIntervalMillis: options.flushIntervalMillis,
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
    };
  });
}
