/**
 * A compactor without a writer: beside one in another process, from cron, or in a function that runs for a minute.
 *
 * It takes the compactor's epoch when it starts, so a compactor that works there already stops; the writer is never
 * concerned. It never takes rows from a WAL: what is compacted is what the writer has flushed to tables.
 *
 * @module
 */
import { Context, Effect, Exit, Scope } from "effect";
import { Closed, type DbError, InvalidArgument, Unavailable } from "../errors.ts";
import { EngineCounters } from "../env/counters.ts";
import { Ids, UlidMint } from "../env/ids.ts";
import { ExternalRoots } from "../lsm/external_roots.ts";
import { foldMerge } from "../lsm/merge_operator.ts";
import { KnownTables } from "../lsm/table_facts.ts";
import { ManifestHandle } from "../state/manifest_handle.ts";
import { ManifestStore, type StoredManifest } from "../state/manifest_store.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import type { Compactor } from "../../tasks/compactor.ts";
import { Supervisor } from "../../tasks/supervisor.ts";
import type { KeyRange } from "./api.ts";
import { compactionKeys, progressOf, startCompactor } from "./compaction.ts";
import { type CompactorOptions, forStandalone, threadRefusal } from "./compactor_options.ts";
import { CostLedger, costReport } from "./cost.ts";
import type { OpenCostReport } from "./cost_api.ts";
import { idleCompactor } from "./cost_idle.ts";
import { withDbErrors } from "./failures.ts";
import { type Location, placeAdvice, releaseWithScope, type ResolvedLocation, resolveLocation } from "./location.ts";
import { type OpenOptions, type ResolvedOptions, resolveOptions } from "./options.ts";
import { surfaced } from "./reads.ts";
import { notInitialized } from "./recovery.ts";
import { closeWithin, contextWithClock, Runtime } from "./runtime.ts";
import type { CompactReport, StandaloneCompactor, StandaloneStatus } from "./standalone_api.ts";
import { stackStores, type Stores, type StoreTrouble } from "./stores.ts";

export type { CompactReport, StandaloneCompactor, StandaloneStatus } from "./standalone_api.ts";

/**
 * Settings of a compactor without a writer: how tables are written, and when. Without `compression` they keep the codec
 * of what they are made from.
 */
export interface StandaloneCompactorOptions extends
  CompactorOptions,
  Pick<
    OpenOptions,
    | "blockSizeBytes"
    | "compression"
    | "minFilterKeys"
    | "filterBitsPerKey"
    | "mergeOperator"
    | "requestTimeoutMillis"
    | "clock"
  > {
  /** Time between looks for new tables, ms, 1 or more. Default 5000. */
  readonly pollIntervalMillis?: number;
}

/** Options that are the compactor's. */
const OWN_FIELDS: ReadonlySet<string> = new Set<keyof CompactorOptions>([
  "scheduler",
  "minCompactionSources",
  "maxCompactionSources",
  "includeSizeThreshold",
  "levelBaseBytes",
  "levelMultiplier",
  "maxSstBytes",
  "maxConcurrentCompactions",
  "thread",
]);
/** Options that say how tables are written, and the like; those of `open` with the same names. */
const SHARED_FIELDS: ReadonlySet<string> = new Set<
  Exclude<keyof StandaloneCompactorOptions, keyof CompactorOptions | "pollIntervalMillis">
>([
  "blockSizeBytes",
  "compression",
  "minFilterKeys",
  "filterBitsPerKey",
  "mergeOperator",
  "requestTimeoutMillis",
  "clock",
]);
/** Default of `pollIntervalMillis`. */
const POLL_INTERVAL_MILLIS = 5000;

/**
 * Starts a compactor on an existing database, in the place of one that works there.
 *
 * @throws InvalidArgument for a bad location or option, or when there is no database; Unavailable; DataError
 */
export function openCompactor(location: Location, options?: StandaloneCompactorOptions): Promise<StandaloneCompactor> {
  return start(location, options, Infinity);
}

/** @param patienceMillis how long a request of a job may be repeated; undefined = as long as any other */
function start(
  location: Location,
  options: StandaloneCompactorOptions | undefined,
  patienceMillis: number | undefined,
): Promise<StandaloneCompactor> {
  return new Runtime(Context.empty()).promise(surfaced(Effect.gen(function* () {
    const { settings, pollIntervalMillis } = resolve(options);
    const place = yield* resolveLocation(location);
    const refusal = threadRefusal(settings, place.folder);
    if (refusal !== undefined) {
      yield* place.release ?? Effect.void;
      return yield* forStandalone(refusal);
    }
    const context = contextWithClock(settings.clock);
    const patience = patienceMillis ?? settings.requestTimeoutMillis;
    const namesCodec = options?.compression !== undefined;
    const begun = begin(place, settings, { pollIntervalMillis, patience, namesCodec }, new Runtime(context));
    return yield* Effect.provideContext(begun, context);
  })));
}

/**
 * Compacts what is due (or everything, with `full`) and stops: for cron jobs and functions.
 *
 * @returns what was done
 * @throws as {@linkcode openCompactor}; Unavailable "superseded" when another compactor took over meanwhile
 */
export async function compactOnce(
  location: Location,
  options: StandaloneCompactorOptions & { readonly full?: boolean } = {},
): Promise<CompactReport> {
  if (typeof options !== "object" || options === null) throw refused("give an object, or leave them out");
  const { full = false, ...settings } = options;
  if (typeof full !== "boolean") throw refused("full: must be true or false");
  const compactor = await start(location, settings, undefined);
  try {
    await (full ? compactor.compact() : compactor.settled());
    return { ...compactor.status, cost: costReport([compactor.cost()]) };
  } finally {
    await compactor.close();
  }
}

function resolve(
  options: StandaloneCompactorOptions = {},
): { readonly settings: ResolvedOptions; readonly pollIntervalMillis: number } {
  if (typeof options !== "object" || options === null) throw refused("give an object, or leave them out");
  const { pollIntervalMillis = POLL_INTERVAL_MILLIS, ...rest } = options;
  if (!Number.isSafeInteger(pollIntervalMillis) || pollIntervalMillis < 1) {
    throw refused("pollIntervalMillis: must be a whole number of at least 1");
  }
  const compactor: Record<string, unknown> = {};
  const shared: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(rest)) {
    (OWN_FIELDS.has(name) ? compactor : shared)[name] = value;
  }
  const unknown = Object.keys(shared).filter((name) => !SHARED_FIELDS.has(name));
  if (unknown.length > 0) {
    const known = [...OWN_FIELDS, ...SHARED_FIELDS, "pollIntervalMillis"].join(", ");
    throw refused(`unknown option${unknown.length > 1 ? "s" : ""} ${unknown.join(", ")}; known are ${known}`);
  }
  // A compactor holds no writer up, however many tables there are.
  const l0MaxSsts = Number.MAX_SAFE_INTEGER;
  try {
    return { settings: resolveOptions({ ...shared, compactor, l0MaxSsts } as OpenOptions), pollIntervalMillis };
  } catch (error) {
    throw error instanceof InvalidArgument ? forStandalone(error) : error;
  }
}

function refused(what: string): InvalidArgument {
  return new InvalidArgument({ reason: "options", message: `Cannot start the compactor: options: ${what}` });
}

/** What a standalone compactor is told besides the options of tables. */
interface Pacing {
  readonly pollIntervalMillis: number;
  /** How long a request of a job may be repeated, ms. */
  readonly patience: number;
  /** Whether the caller chose a codec. */
  readonly namesCodec: boolean;
}

function begin(
  place: ResolvedLocation,
  options: ResolvedOptions,
  { pollIntervalMillis, patience, namesCodec }: Pacing,
  runtime: Runtime,
): Effect.Effect<StandaloneCompactor, DbError> {
  return Effect.gen(function* () {
    const scope = yield* Scope.make();
    const made = Effect.gen(function* () {
      yield* releaseWithScope(place);
      let onTrouble: (trouble: StoreTrouble) => void = () => {};
      const stores = stackStores(place.store, undefined, (trouble) => onTrouble(trouble), "compactor");
      const versions = new ManifestStore(stores.main, place.root);
      const limited = Effect.provideService(RetryDeadline, options.requestTimeoutMillis);
      const stored = yield* limited(newestOf(versions, place));
      const external = new ExternalRoots(stored.manifest);
      let compactor: Compactor | undefined = undefined;
      const manifest = new ManifestHandle(versions, stored, false, (newer) => {
        external.adopt(newer.manifest);
        compactor?.changed();
      });
      const face = new Standalone(runtime, scope, manifest, options.requestTimeoutMillis);
      onTrouble = ({ degraded }) => face.setDegraded(degraded[0]);
      const mint = new UlidMint(yield* Ids);
      for (const view of stored.manifest.l0) mint.observe(view.sstId);
      compactor = yield* startCompactor({
        runtime,
        supervisor: face.supervisor,
        stores,
        root: place.root,
        folder: place.folder,
        manifest,
        externalRoot: (id) => external.rootOf(id),
        encoding: options,
        keepsCodec: !namesCodec,
        merge: foldMerge(options.mergeOperator),
        mint,
        known: new KnownTables(),
        settings: options.compactor,
        expectedEpoch: undefined,
        onChange: () => face.changed(),
        onOrphans: () => {},
        onPublished: (_manifest, _outputs, counts) => face.publishedOne(counts),
      }).pipe(Effect.provideService(RetryDeadline, patience));
      face.compactor = compactor;
      yield* limited(compactor.claim as Effect.Effect<void, unknown>);
      face.opened(stores, pollIntervalMillis);
      yield* Effect.forever(
        Effect.andThen(Effect.sleep(pollIntervalMillis), compactor.poll),
        { disableYield: true },
      ).pipe(Effect.provideService(RetryDeadline, patience), Effect.forkScoped);
      return face;
    });
    return yield* made.pipe(Scope.provide(scope), Effect.onError(() => Scope.close(scope, Exit.void)));
  }).pipe(withDbErrors) as Effect.Effect<StandaloneCompactor, DbError>;
}

function newestOf(versions: ManifestStore, place: ResolvedLocation): Effect.Effect<StoredManifest, unknown> {
  return Effect.gen(function* () {
    const stored = yield* versions.newest;
    if (stored === undefined) {
      const { name = "this location" } = place;
      return yield* new InvalidArgument({
        reason: "missing-database",
        message: `Cannot start the compactor: there is no database in ${name}. ${placeAdvice(name)}`,
      });
    }
    if (!stored.manifest.initialized) return yield* notInitialized(versions, stored);
    return stored;
  });
}

/** The Promise face of a compactor without a writer. */
class Standalone implements StandaloneCompactor {
  readonly supervisor: Supervisor = new Supervisor();
  compactor: Compactor | undefined = undefined;
  readonly #runtime: Runtime;
  readonly #scope: Scope.Closeable;
  readonly #manifest: ManifestHandle;
  readonly #closeMillis: number;
  readonly #listeners: Set<(status: StandaloneStatus) => void> = new Set();
  #costs: CostLedger | undefined = undefined;
  #published = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  #degraded: string | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;

  constructor(runtime: Runtime, scope: Scope.Closeable, manifest: ManifestHandle, closeMillis: number) {
    this.#closeMillis = closeMillis;
    this.#runtime = runtime;
    this.#scope = scope;
    this.#manifest = manifest;
  }

  get status(): StandaloneStatus {
    const { phase, trouble } = this.compactor!.status;
    const { l0, compacted } = this.#manifest.current;
    return {
      phase,
      compactions: progressOf(this.compactor!),
      l0Count: l0.length,
      runCount: compacted.length,
      published: this.#published,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      ...(trouble === undefined ? {} : { trouble }),
      ...(this.#degraded === undefined ? {} : { degraded: this.#degraded }),
    };
  }

  onStatus(listener: (status: StandaloneStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The opening has ended: what is asked from now on is not its cost. */
  opened(stores: Stores, pollIntervalMillis: number): void {
    this.#costs = new CostLedger({
      stores,
      component: "compactor",
      counters: new EngineCounters(),
      now: () => this.#runtime.now(),
      isWriter: false,
      idle: () => idleCompactor({ pollIntervalMillis, hasJournal: this.compactor!.status.hasJournal }),
    });
  }

  cost(): OpenCostReport {
    return this.#costs!.report();
  }

  compact(range?: KeyRange): Promise<void> {
    return this.#runtime.promise(surfaced(Effect.suspend(() => {
      this.#assertOpen();
      return this.compactor!.compact(compactionKeys(range));
    })));
  }

  settled(): Promise<void> {
    return this.#runtime.promise(surfaced(Effect.suspend(() => {
      this.#assertOpen();
      return Effect.andThen(
        this.compactor!.atRest,
        Effect.suspend(() => {
          this.#assertOpen();
          const { phase, trouble } = this.compactor!.status;
          if (phase === "superseded") {
            const message = "The compactor stopped: another one took over. Leave the compaction to it";
            return Effect.fail(new Unavailable({ reason: "superseded", message }));
          }
          if (trouble === undefined) return Effect.void;
          return Effect.fail(new Unavailable({ reason: "compaction", message: `A compaction failed: ${trouble}` }));
        }),
      );
    })));
  }

  close(): Promise<void> {
    return this.#closing === undefined ? this.#end() : Promise.reject(closedError());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#closing ?? this.#end();
  }

  #end(): Promise<void> {
    this.#closing = this.#runtime.promise(Effect.suspend(() => {
      this.supervisor.close(closedError());
      // A store that does not answer the end of an upload must not keep the caller; the scope closes behind it.
      return closeWithin(this.#runtime, this.#scope, this.#closeMillis);
    }));
    return this.#closing;
  }

  /** A compaction was published. */
  publishedOne(counts: { readonly bytesIn: number; readonly bytesOut: number }): void {
    this.#published++;
    this.#bytesIn += counts.bytesIn;
    this.#bytesOut += counts.bytesOut;
    // At once, so that a listener sees each compaction by itself.
    this.changed();
  }

  /** The store does not do what it is asked, or does again. */
  setDegraded(trouble: string | undefined): void {
    this.#degraded = trouble;
    this.changed();
  }

  /** Tells the listeners; one that throws harms nobody. */
  changed(): void {
    if (this.compactor === undefined) return;
    for (const listener of [...this.#listeners]) {
      try {
        listener(this.status);
      } catch {
        // The listener's own problem.
      }
    }
  }

  #assertOpen(): void {
    if (this.supervisor.closed !== undefined) throw this.supervisor.closed;
  }
}

function closedError(): Closed {
  return new Closed({ reason: "clean", message: "Closed: the compactor was closed. Open it again to go on" });
}
