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
import type { Manifest, Ulid } from "../format/types.ts";
import { BlockCache } from "../lsm/block_cache.ts";
import { foldMerge } from "../lsm/merge_operator.ts";
import { TableStore } from "../lsm/table_store.ts";
import { ManifestStore } from "../state/manifest_store.ts";
import { type ManifestFault, WriterManifest } from "../state/writer_manifest.ts";
import { WriterState } from "../state/writer_state.ts";
import { metered, type MeteredStore } from "../store/metered_store.ts";
import { RetryDeadline, retrying } from "../store/retrying_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { manifestPoller } from "../../tasks/manifest_poller.ts";
import { memtableFlusher } from "../../tasks/memtable_flusher.ts";
import { Supervisor } from "../../tasks/supervisor.ts";
import { walFlusher } from "../../tasks/wal_flusher.ts";
import { Engine } from "./engine.ts";
import { withDbErrors } from "./failures.ts";
import type { ResolvedLocation } from "./location.ts";
import type { ResolvedOptions } from "./options.ts";
import { claimEpoch, fenceWal, listWal, replay } from "./recovery.ts";
import { contextWithClock, Runtime } from "./runtime.ts";

/** An epoch proof older than this needs a new one before an acknowledgement, in manifest polls. */
const EPOCH_PROOF_POLLS = 2;
/** Quarter of the shortest age at which any collector may delete a fence (300 s), ms. */
const EPOCH_PROOF_MAX_MILLIS = 75_000;

/** The stores of one database, counted and retried. */
export interface Stores {
  readonly main: MeteredStore;
  readonly wal: MeteredStore;
}

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

function assemble(
  runtime: Runtime,
  location: ResolvedLocation,
  options: ResolvedOptions,
  scope: Scope.Closeable,
): Effect.Effect<OpenedEngine, ManifestFault | DbError, Scope.Scope> {
  return Effect.gen(function* () {
    const { root } = location;
    const supervisor = new Supervisor();
    let degraded: (now: boolean) => void = () => {};
    const harden = (store: ObjectStoreShape) => retrying(store, { onDegraded: (now: boolean) => degraded(now) });
    const main = metered(location.store, { component: "db" });
    const wal = options.walStore === undefined
      ? metered(location.store, { component: "wal" })
      : metered(options.walStore, { component: "wal" });
    const store = harden(main);
    const walStore = harden(wal);
    const limited = Effect.provideService(RetryDeadline, options.requestTimeoutMillis);
    const unlimited = Effect.provideService(RetryDeadline, Infinity);

    const versions = new ManifestStore(store, root);
    const stored = yield* limited(claimEpoch(versions, options));
    const external = new ExternalRoots(stored.manifest);
    const tables = new TableStore({
      store,
      root,
      externalRoot: (id) => external.rootOf(id),
      cache: new BlockCache({ blockBytes: options.blockCacheBytes }),
    });
    const state = new WriterState(options, tables, new UlidMint(yield* Ids), () => runtime.now(), stored);
    const manifest = new WriterManifest(versions, stored, (newer) => {
      external.adopt(newer.manifest);
      state.adopt(newer);
    });
    const merge = foldMerge(options.mergeOperator);
    const hasWal = options.walEnabled || stored.manifest.replayAfterWalId > 0 ||
      (yield* limited(listWal(walStore, root, 0))).length > 0;
    // With the WAL off a fence is still needed where there is a WAL: its last writer might acknowledge once more.
    const found = hasWal ? yield* limited(fenceWal(walStore, root, manifest)) : undefined;

    const encoding = {
      blockSizeBytes: options.blockSizeBytes,
      compression: options.compression,
      minFilterKeys: options.minFilterKeys,
      filterBitsPerKey: options.filterBitsPerKey,
    };
    const poller = yield* unlimited(manifestPoller({
      supervisor,
      state,
      manifest,
      intervalMillis: options.manifestPollIntervalMillis,
      idleMillis: options.idlePollMillis,
    }));
    const tablesActor = yield* unlimited(memtableFlusher({
      supervisor,
      state,
      manifest,
      store,
      root,
      encoding,
      merge,
      parallelism: options.l0FlushParallelism,
      flushIntervalMillis: options.walEnabled ? Infinity : options.flushIntervalMillis,
      flushWal: () => walActor?.tell("flush"),
    }));
    const walActor = options.walEnabled
      ? yield* unlimited(walFlusher({
        supervisor,
        state,
        manifest,
        store: walStore,
        root,
        encoding,
        flushIntervalMillis: options.flushIntervalMillis,
        epochProofMillis: Math.min(EPOCH_PROOF_POLLS * options.manifestPollIntervalMillis, EPOCH_PROOF_MAX_MILLIS),
      }))
      : undefined;
    const flushNow = walActor !== undefined ? () => walActor.tell("flush") : () => tablesActor.tell("wanted");

    const engine = new Engine({ runtime, options, supervisor, state, manifest, tables, store, merge, scope, flushNow });
    degraded = (now) => engine.status.setDegraded(now);
    state.hooks = {
      onRows: (full) => {
        if (walActor === undefined) tablesActor.tell("rows");
        else walActor.tell(full ? "flush" : "rows");
        poller.tell("busy");
      },
      onTables: () => {
        tablesActor.tell("tables");
        poller.tell("busy");
      },
      onProgress: () => {
        engine.drainQueue();
        engine.status.changed();
      },
    };
    const replaySpec = { store: walStore, root, manifest, state, l0SstSizeBytes: options.l0SstSizeBytes };
    if (found !== undefined) {
      yield* limited(replay(replaySpec, found.objects));
      state.ledger.stored(found.fenceId, 0);
    }
    return { engine, stores: { main, wal } };
  });
}

/** Which other database a table belongs to, by the manifest's list. */
class ExternalRoots {
  #roots = new Map<Ulid, string>();

  constructor(manifest: Manifest) {
    this.adopt(manifest);
  }

  adopt(manifest: Manifest): void {
    if (manifest.externalDbs.length === 0 && this.#roots.size === 0) return;
    this.#roots = new Map(manifest.externalDbs.flatMap((db) => db.sstIds.map((id) => [id, db.path] as const)));
  }

  rootOf(id: Ulid): string | undefined {
    return this.#roots.get(id);
  }
}
