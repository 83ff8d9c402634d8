/**
 * The composition root of readers, and an open reader below its two faces.
 *
 * Three kinds (decision D13). *Managed*: keeps what it reads by a checkpoint of its own, which it replaces when the
 * tables changed and deletes when it closes. *Follow*: never writes; what is collected under it, it reads from the newer
 * state, or fails typed where that state may lack versions. *Pinned*: shows one checkpoint and stays there.
 *
 * A reader that dies leaves at most a checkpoint that ends by itself.
 *
 * @module
 */
import { Context, Effect, Exit, Scope } from "effect";
import { Ids, mintUuid } from "../env/ids.ts";
import { OneShot } from "../env/one_shot.ts";
import { Closed, DataError, type DbError, InvalidArgument, Unavailable } from "../errors.ts";
import { BlockCache } from "../lsm/block_cache.ts";
import { ExternalRoots } from "../lsm/external_roots.ts";
import { foldMerge } from "../lsm/merge_operator.ts";
import { TableStatistics } from "../lsm/table_statistics.ts";
import { TableStore } from "../lsm/table_store.ts";
import { ManifestHandle } from "../state/manifest_handle.ts";
import { ManifestStore, type StoredManifest } from "../state/manifest_store.ts";
import { ReaderPins } from "../state/reader_pins.ts";
import { ReaderState } from "../state/reader_state.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import { type ReaderPoller, readerPoller } from "../../tasks/reader_poller.ts";
import { Supervisor } from "../../tasks/supervisor.ts";
import type { ReaderStatus } from "./admin_api.ts";
import type { OpenCostReport } from "./api.ts";
import { badOption, checkFields } from "./call_options.ts";
import { CostLedger } from "./cost.ts";
import { idleReader } from "./cost_idle.ts";
import { withDbErrors } from "./failures.ts";
import type { ResolvedLocation } from "./location.ts";
import { Preloader } from "./preload.ts";
import { RangeSizes } from "./range_sizes.ts";
import type { ReadHost } from "./read_host.ts";
import { checkReadable, missingDatabase } from "./reader_checks.ts";
import { firstLook, type FollowSpec, look, pin } from "./reader_follow.ts";
import type { ResolvedReaderOptions } from "./reader_options.ts";
import { pinnedVersion, refreshPinned, replayPinned } from "./reader_pinned.ts";
import { ReaderSnapshot } from "./reader_snapshot.ts";
import { Reader, surfaced } from "./reads.ts";
import { contextWithClock, Runtime } from "./runtime.ts";
import { stackStores, type Stores } from "./stores.ts";
import { cacheWarning, openTableSource, type TableSource } from "./table_source.ts";

/** Longest wait of `waitForSeq` unless the caller says otherwise, ms. */
const WAIT_MILLIS = 30_000;
const WAIT_FIELDS: ReadonlySet<string> = new Set(["timeoutMillis"]);

/** What the composition root puts together. */
interface ReaderParts {
  readonly runtime: Runtime;
  readonly options: ResolvedReaderOptions;
  readonly stores: Stores;
  readonly supervisor: Supervisor;
  readonly source: TableSource;
  readonly tables: TableStore;
  readonly preloader: Preloader;
  readonly spec: FollowSpec;
  readonly scope: Scope.Closeable;
  /** Ends what the location opened: once, when the reader has made its last request. */
  readonly release: Effect.Effect<void>;
}

/** An open reader below its faces. */
export class OpenedReader {
  readonly runtime: Runtime;
  readonly reader: Reader;
  readonly sizes: RangeSizes;
  readonly host: ReadHost;
  readonly #parts: ReaderParts;
  /** Undefined while pinned: there is nothing to look for. */
  #poller: ReaderPoller | undefined = undefined;
  readonly #waiters = new Set<{ readonly seq: number; readonly shown: OneShot }>();
  #costs: CostLedger | undefined = undefined;
  #storeTrouble: string | undefined = undefined;
  #lookTrouble: string | undefined = undefined;

  constructor(parts: ReaderParts) {
    const { runtime, options, spec: { state } } = parts;
    this.#parts = parts;
    this.runtime = runtime;
    this.host = {
      runtime,
      tables: parts.tables,
      merge: foldMerge(options.mergeOperator),
      ttl: options.ttl,
      requestTimeoutMillis: options.requestTimeoutMillis,
      view: () => state.capture.view,
      stored: () => state.capture.stored,
      readTime: (nowMillis) => state.readTime(nowMillis),
      protects: () => false,
      refresh: Effect.suspend(() => this.#refreshed),
      hold: (_seq, former) => {
        former?.release();
        return state.hold(state.capture, false);
      },
    };
    this.reader = new Reader(this.host, {
      maxSeq: () => state.capture.seq,
      assertUsable: () => this.assertOpen(),
    });
    const statistics = new TableStatistics(parts.stores.main, parts.tables);
    this.sizes = new RangeSizes(this.host, this.reader, statistics, () => this.assertOpen());
    state.onChange = ({ seq }) => {
      parts.preloader.changed();
      for (const waiter of this.#waiters) if (waiter.seq <= seq) waiter.shown.succeed();
    };
    parts.supervisor.onClose((error) => {
      for (const waiter of this.#waiters) waiter.shown.fail(error);
      // A reader that is closed by its user has a checkpoint to delete first.
      const last = error.reason === "clean" ? Effect.void : parts.release;
      runtime.fork(Effect.ensuring(Scope.close(parts.scope, Exit.void), last));
    });
  }

  /** Hears how the last look and the store are doing. */
  readonly trouble = {
    store: (trouble: string | undefined): void => void (this.#storeTrouble = trouble),
    look: (trouble: string | undefined): void => void (this.#lookTrouble = trouble),
  };

  /** Starts looking for newer state. */
  follow(poller: ReaderPoller): void {
    this.#poller = poller;
  }

  /** Whether `close` was called or the reader closed by itself. */
  get isClosed(): boolean {
    return this.#parts.supervisor.closed !== undefined;
  }

  /** @throws Closed with the reason, once the reader is closed. */
  assertOpen(): void {
    const { closed } = this.#parts.supervisor;
    if (closed !== undefined) throw closed;
  }

  /** How the reader is doing, now. */
  get status(): ReaderStatus {
    const { spec: { state }, options, supervisor, source: { cache }, preloader } = this.#parts;
    const warnings = [cacheWarning(cache), preloader.trouble].filter((one) => one !== undefined);
    const { stored, seq, generation } = state.capture;
    const checkpointId = options.mode === "pinned" ? options.checkpoint : generation.checkpoint;
    const trouble = this.#lookTrouble ?? this.#storeTrouble;
    const closeReason = supervisor.closed?.reason;
    return {
      seq,
      manifestId: stored.id,
      ...(checkpointId === undefined ? {} : { checkpointId }),
      ...(trouble === undefined ? {} : { trouble }),
      ...(cache === undefined ? {} : { diskCache: cache.figures() }),
      ...(warnings.length === 0 ? {} : { warnings }),
      ...(closeReason === undefined ? {} : { closeReason }),
    };
  }

  /** The opening has ended: what is asked from now on is not its cost. */
  opened(): this {
    const { stores, tables, options, runtime } = this.#parts;
    this.#costs = new CostLedger({
      stores,
      component: "reader",
      counters: tables.counters,
      now: () => runtime.now(),
      isWriter: false,
      idle: () => idleReader({ ...options, isWalApart: options.walStore !== undefined }),
    });
    return this;
  }

  /** Requests made so far, what they would cost, and what operations and rest do. */
  cost(): OpenCostReport {
    return (this.#costs ?? this.opened().#costs!).report();
  }

  /** Takes a view that stays as it is now. @throws Closed */
  snapshot(): ReaderSnapshot {
    this.assertOpen();
    return new ReaderSnapshot(this.#parts.spec.state, this.host, () => this.assertOpen());
  }

  /** Looks now; answers the newest sequence number seen. */
  readonly refresh: Effect.Effect<number, DbError> = Effect.suspend(() => {
    this.assertOpen();
    const { state } = this.#parts.spec;
    const looked = this.#poller === undefined ? Effect.void : this.#poller.refresh;
    return Effect.map(looked, () => state.capture.seq);
  }).pipe(surfaced);

  /** Waits until the reader shows `seq`. */
  waitForSeq(seq: number, options: { readonly timeoutMillis?: number } = {}): Effect.Effect<void, DbError> {
    return surfaced(Effect.suspend(() => {
      checkFields(options, WAIT_FIELDS);
      const { timeoutMillis = WAIT_MILLIS } = options;
      if (!(Number.isSafeInteger(seq) && seq >= 0)) throw badOption("seq", "a sequence number, 0 or more");
      if (!(Number.isSafeInteger(timeoutMillis) && timeoutMillis >= 0)) {
        throw badOption("timeoutMillis", "a whole number of milliseconds, 0 or more");
      }
      this.assertOpen();
      const shown = this.#parts.spec.state.capture.seq;
      if (shown >= seq) return Effect.void;
      if (this.#poller === undefined) return Effect.fail(staysBehind(seq, shown));
      const waiter = { seq, shown: new OneShot() };
      this.#waiters.add(waiter);
      return waiter.shown.wait.pipe(
        Effect.timeoutOrElse({
          duration: timeoutMillis,
          orElse: () => Effect.fail(notShown(seq, this.#parts.spec.state.capture.seq, timeoutMillis)),
        }),
        Effect.ensuring(Effect.sync(() => void this.#waiters.delete(waiter))),
      );
    }));
  }

  /**
   * Ends the reader and deletes its checkpoints. Fails with `Closed` when it is closed already, and with what kept the
   * checkpoint from being deleted: it is closed all the same, and the checkpoint ends by itself.
   */
  readonly close: Effect.Effect<void, DbError> = Effect.suspend(() => {
    const { supervisor, options, spec, release, source: { cache } } = this.#parts;
    if (supervisor.closed !== undefined) return Effect.fail(supervisor.closed);
    supervisor.close(
      new Closed({ reason: "clean", message: "Closed: the reader was closed. Open another one to go on" }),
    );
    const removed = removeCheckpoints(spec, options.requestTimeoutMillis);
    return Effect.ensuring(removed, Effect.andThen(cache?.close ?? Effect.void, release));
  }).pipe(withDbErrors);

  get #refreshed(): Effect.Effect<StoredManifest, unknown> {
    const { options, spec } = this.#parts;
    if (this.#poller === undefined) return refreshPinned(spec, options.checkpoint!);
    return Effect.map(this.#poller.refresh, () => spec.state.capture.stored);
  }
}

function staysBehind(seq: number, shown: number): InvalidArgument {
  return new InvalidArgument({
    reason: "pinned",
    message: `The reader shows a checkpoint with sequence number ${shown} and will never show ${seq}. Open a reader ` +
      "without a checkpoint to follow the database",
  });
}

function notShown(seq: number, shown: number, millis: number): Unavailable {
  return new Unavailable({
    reason: "timeout",
    message:
      `The reader shows sequence number ${shown}, not ${seq}, after ${millis} ms (timeoutMillis). It follows at ` +
      "manifestPollIntervalMillis, and sees a write when it is durable; wait longer, or call refresh()",
  });
}

/** Deletes the reader's checkpoints, with a deadline. */
function removeCheckpoints({ handle, pins }: FollowSpec, millis: number): Effect.Effect<void, unknown> {
  if (pins === undefined) return Effect.void;
  return handle.commit(pins.removal, "admin").pipe(
    Effect.provideService(RetryDeadline, millis),
    Effect.timeoutOrElse({
      duration: millis,
      orElse: () =>
        Effect.fail(
          new Unavailable({
            reason: "timeout",
            message: `The object store did not take the removal of the reader's checkpoint within ${millis} ms ` +
              "(requestTimeoutMillis). The reader is closed; the checkpoint ends by itself",
          }),
        ),
    }),
    Effect.asVoid,
  );
}

/** Opens a reader at a resolved location. */
export function openReaderAt(
  location: ResolvedLocation,
  options: ResolvedReaderOptions,
): Effect.Effect<OpenedReader, DbError> {
  return withDbErrors(Effect.gen(function* () {
    const context = Context.merge(yield* Effect.context<never>(), contextWithClock(options.clock));
    const release = location.release ?? Effect.void;
    const scope = yield* Scope.make();
    const opening = assemble(new Runtime(context), location, options, release, scope).pipe(
      Effect.provideService(RetryDeadline, options.requestTimeoutMillis),
      Effect.onError(() => Scope.close(scope, Exit.void)),
      Effect.onError(() => release),
    );
    return yield* Effect.provideContext(opening, context);
  }));
}

function assemble(
  runtime: Runtime,
  location: ResolvedLocation,
  options: ResolvedReaderOptions,
  release: Effect.Effect<void>,
  scope: Scope.Closeable,
): Effect.Effect<OpenedReader, unknown> {
  return Effect.gen(function* () {
    const { store, root, name = "this location" } = location;
    const hears: { trouble: (trouble: string | undefined) => void } = { trouble: () => {} };
    const stores = stackStores(
      store,
      options.walStore,
      ({ degraded }) => hears.trouble(degraded.length === 0 ? undefined : degraded.join("; ")),
      "reader",
    );
    const source = yield* openTableSource(stores, location, options.diskCache, "Cannot open the reader").pipe(
      Scope.provide(scope),
    );
    const versions = new ManifestStore(stores.main, root);
    const newest = yield* versions.newest;
    if (newest === undefined) return yield* missingDatabase(name);
    yield* checkReadable(versions, newest, options);
    const handle = new ManifestHandle(versions, newest, false);
    const ids = yield* Ids;
    const pins = options.mode === "managed"
      ? new ReaderPins(() => mintUuid(ids), options.checkpointLifetimeMillis)
      : undefined;
    const now = () => runtime.now();
    const stored = options.mode === "pinned"
      ? yield* pinnedVersion(handle, options.checkpoint!, now())
      : pins === undefined
      ? newest
      : yield* pin({ handle, now }, pins);
    const parts = { ...compose(runtime, options, stores, source, root, { stored, handle, pins }), release, scope };
    return yield* start(parts, hears).pipe(
      Effect.tapError((error) =>
        // What the store would not answer is not asked to delete anything: the checkpoint ends by itself.
        error instanceof DataError
          ? Effect.ignore(removeCheckpoints(parts.spec, options.requestTimeoutMillis))
          : Effect.void
      ),
    );
  });
}

function compose(
  runtime: Runtime,
  options: ResolvedReaderOptions,
  stores: Stores,
  source: TableSource,
  root: string,
  start: { readonly stored: StoredManifest; readonly handle: ManifestHandle; readonly pins: ReaderPins | undefined },
): Omit<ReaderParts, "release" | "scope"> {
  const external = new ExternalRoots(start.stored.manifest);
  const tables = new TableStore({
    store: source.store,
    root,
    externalRoot: (id) => external.rootOf(id),
    cache: new BlockCache({ blockBytes: options.blockCacheBytes }),
  });
  const now = () => runtime.now();
  const state = new ReaderState(tables, start.stored, {
    maxMemtableBytes: options.maxMemtableBytes,
    holdIdleMillis: options.checkpointLifetimeMillis,
    now,
  });
  const wal = options.skipWalReplay
    ? undefined
    : options.walStore === undefined
    ? stores.main
    : stores.walFor("reader");
  const spec: FollowSpec = { root, handle: start.handle, state, external, wal, pins: start.pins, now };
  const levels = () => state.capture.view;
  const preloader = new Preloader({ preload: options.preload, tables, levels, cache: source.cache });
  return { runtime, options, stores, source, supervisor: new Supervisor(), tables, preloader, spec };
}

/** Replays the log and starts the poller. */
function start(
  parts: ReaderParts,
  hears: { trouble: (trouble: string | undefined) => void },
): Effect.Effect<OpenedReader, unknown> {
  return Effect.gen(function* () {
    const { spec, options, supervisor, scope, preloader } = parts;
    const opened = new OpenedReader(parts);
    hears.trouble = opened.trouble.store;
    if (options.mode === "pinned") {
      yield* replayPinned(spec, options.checkpoint!);
      yield* Scope.provide(preloader.start, scope);
      return opened.opened();
    }
    spec.state.pinnedBy(spec.pins?.current);
    const first = yield* firstLook(spec);
    const poller = yield* readerPoller({
      supervisor,
      look: Effect.provideService(look(spec), RetryDeadline, options.requestTimeoutMillis),
      intervalMillis: options.manifestPollIntervalMillis,
      onTrouble: opened.trouble.look,
    }, first === "more" ? 0 : options.manifestPollIntervalMillis).pipe(Scope.provide(scope));
    opened.follow(poller);
    yield* Scope.provide(preloader.start, scope);
    return opened.opened();
  });
}
