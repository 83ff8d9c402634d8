/**
 * The change feed: every row of the write-ahead log in the order of writing, followed live.
 *
 * Changes come in order of their sequence numbers; of one batch its range deletes first, in order of their starts, then
 * its rows in order of their keys. An object is checked as a whole before its first row is given out, so an error never
 * cuts a batch. Nothing is written, and nothing is read before the feed is iterated; each iteration is a feed of its
 * own.
 *
 * @module
 */
import { Context, Effect, Option, Stream } from "effect";
import { compareBytes } from "../bytes/compare.ts";
import { DataError, type DbError, InvalidArgument } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import { tombstoneOf } from "../format/range_section.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY } from "../format/types.ts";
import { WalRows } from "../format/wal_sst.ts";
import { ManifestStore, type StoredManifest } from "../state/manifest_store.ts";
import { type FollowedObject, WalFollower } from "../state/wal_follower.ts";
import type { FeedFault } from "../state/wal_reading.ts";
import { metered } from "../store/metered_store.ts";
import { ObjectStore, type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";
import { RetryDeadline, retrying } from "../store/retrying_store.ts";
import { sharedBudget } from "../store/shared_budgets.ts";
import type { Change, ChangesOptions } from "./admin_api.ts";
import { badOption, checkFields } from "./call_options.ts";
import { type Location, placeAdvice, type ResolvedLocation, resolveLocation } from "./location.ts";
import { abortable } from "./promise_reads.ts";
import { surfaced } from "./reads.ts";
import { listWal, notInitialized } from "./recovery.ts";
import { contextWithClock, Runtime } from "./runtime.ts";

/** Rows handed over at a time. */
const ROWS_PER_PULL = 256;
/** How often a collection may take away what a feed of everything there is was about to begin with. */
const MOVES_MAX = 8;
const EMPTY = new Uint8Array(0);
const STREAM_FIELDS: ReadonlySet<string> = new Set([
  "fromSeq",
  "follow",
  "pollIntervalMillis",
  "wal",
  "requestTimeoutMillis",
]);
const FIELDS: ReadonlySet<string> = new Set([...STREAM_FIELDS, "clock", "signal"]);

/**
 * The changes of a database, oldest first: puts, deletes, merge operands and range deletes as they were written, once
 * they are durable.
 *
 * To be complete after a restart, keep `seq` and `isLast` of the last change you have dealt with. Go on from `seq` + 1
 * when it was the last of its number; else from `seq` again: rows of one batch share a number, and those you have dealt
 * with come once more. Where nothing is kept, scan a snapshot or a pinned reader and go on from its `seq` + 1. May run
 * beside a writer, in its process or elsewhere.
 *
 * @param location as for `open`; for a database of this process its own `{ store, path }`
 * @param options where to begin, whether to follow; unknown names are refused
 * @returns the feed. Iterating it fails with DataError reason "gone" when the log no longer reaches back to where it has
 * to begin or go on (`oldestSeq` says from where it does), InvalidArgument when there is no database, Unavailable when
 * the store does not answer, DataError when the log is damaged. After a failure it has ended
 * @throws InvalidArgument for a bad option
 */
export function changes(location: Location, options: ChangesOptions = {}): AsyncIterable<Change> {
  checkOptions(options, FIELDS);
  const settings = { ...options };
  return {
    [Symbol.asyncIterator]: () => {
      const runtime = new Runtime(Context.merge(Context.empty(), contextWithClock(settings.clock)));
      return new ChangeIterator(
        runtime,
        Effect.map(resolveLocation(location), (at) => ({ ...sourceOf(at, settings), release: at.release })),
        settings,
      );
    },
  };
}

/** Settings of {@linkcode changesStream}: those of {@linkcode changes}, and where in the store the database lives. */
export interface EffectChangesOptions extends Omit<ChangesOptions, "clock" | "signal"> {
  /** Root of the database inside the `ObjectStore`; "" (default) is the store's own root. */
  readonly path?: string;
}

/** {@linkcode changes} as a stream over the store service; ends with its scope. */
export function changesStream(options: EffectChangesOptions = {}): Stream.Stream<Change, DbError, ObjectStore> {
  return Stream.unwrap(surfaced(Effect.gen(function* () {
    const { path = "", ...settings } = options;
    checkOptions(settings, STREAM_FIELDS);
    const source = sourceOf({ store: yield* ObjectStore, root: parseRoot(path) }, settings);
    return Stream.paginate(
      undefined,
      () =>
        Effect.map(source.pull, (rows) => [rows, rows.length === 0 ? Option.none() : Option.some(undefined)] as const),
    );
  })));
}

/** Rows in batches of at most 256; an empty one is the end. */
interface ChangeSource {
  readonly pull: Effect.Effect<ReadonlyArray<Change>, DbError>;
  /** Ends what the location opened; nothing when absent. */
  readonly release?: Effect.Effect<void> | undefined;
}

function sourceOf(at: ResolvedLocation, options: ChangesOptions): ChangeSource {
  const { fromSeq, follow = true, pollIntervalMillis = 1000, requestTimeoutMillis = 30_000 } = options;
  const counted = (store: ObjectStoreShape) =>
    retrying(metered(store, { component: "reader" }), {
      attemptTimeoutMillis: requestTimeoutMillis,
      budget: sharedBudget(store),
    });
  const main = counted(at.store);
  const wal = options.wal === undefined ? main : counted(options.wal.store);
  const manifest = readableManifest(new ManifestStore(main, at.root), at.name, options.wal !== undefined);
  const list = (after: number) => listWal(wal, at.root, after);
  const followerFrom = (first: number | undefined) =>
    new WalFollower({ root: at.root, manifest, wal, list, fromSeq: first, follow, pollMillis: pollIntervalMillis });
  let follower = followerFrom(fromSeq ?? (follow ? undefined : 1));
  /** How often the beginning may still be moved to the oldest change there is; only before anything was given out. */
  let moves = fromSeq === undefined && !follow ? MOVES_MAX : 0;
  const next: Effect.Effect<FollowedObject | undefined, FeedFault> = Effect.suspend(() => follower.next).pipe(
    Effect.tap(() => Effect.sync(() => moves = 0)),
    Effect.catch((error) => {
      const oldest = error instanceof DataError && error.reason === "gone" ? error.oldestSeq : undefined;
      if (oldest === undefined || moves-- <= 0) return Effect.fail(error);
      follower = followerFrom(oldest);
      return next;
    }),
  );
  let open: ObjectChanges | undefined = undefined;
  const more: Effect.Effect<ReadonlyArray<Change>, FeedFault> = Effect.suspend(() => {
    const rows = open?.take(ROWS_PER_PULL) ?? [];
    if (rows.length > 0) return Effect.succeed(rows);
    return Effect.flatMap(next, (object) => {
      open = object === undefined ? undefined : new ObjectChanges(object);
      return open === undefined ? Effect.succeed([]) : more;
    });
  });
  return { pull: surfaced(Effect.provideService(more, RetryDeadline, requestTimeoutMillis)) };
}

/** The newest manifest, if its log is where the options say. Remembers the last one, so that most calls make one request. */
function readableManifest(
  versions: ManifestStore,
  place: string = "this location",
  separateWal: boolean,
): Effect.Effect<StoredManifest, FeedFault> {
  let known: StoredManifest | undefined = undefined;
  return Effect.suspend(() => known === undefined ? versions.newest : versions.newerThan(known)).pipe(
    Effect.flatMap((stored): Effect.Effect<StoredManifest, FeedFault> => {
      if (stored === undefined) {
        return Effect.fail(refused("missing-database", `there is none in ${place}. ${placeAdvice(place)}`));
      }
      if (!stored.manifest.initialized) return Effect.fail(notInitialized(versions, stored));
      const separate = stored.manifest.walObjectStoreUri !== undefined;
      if (separate !== separateWal) {
        return Effect.fail(refused(
          "wal-store",
          separate
            ? "its WAL lives in a separate store; give it as wal: { store }"
            : "its WAL lives beside its tables; leave wal out",
        ));
      }
      known = stored;
      return Effect.succeed(stored);
    }),
  );
}

function refused(reason: string, what: string): InvalidArgument {
  return new InvalidArgument({ reason, message: `Cannot read the changes of the database: ${what}` });
}

/** The wanted rows of one object, in order. */
class ObjectChanges {
  readonly #rows: WalRows;
  readonly #fromSeq: number;
  #sorted: Change[] | undefined = undefined;
  #taken = 0;
  /** A row was reached that is not given out yet. */
  #isOnRow = false;

  constructor(object: FollowedObject) {
    this.#rows = new WalRows(object.body);
    this.#fromSeq = object.fromSeq;
    if (object.facts.ascends) return;
    // Older engines wrote the rows of an object in the order of their keys.
    const sorted = this.#read(Infinity).sort((a, b) => a.seq - b.seq || compareBytes(keyOf(a), keyOf(b)));
    this.#sorted = sorted.map((change, i) => ({ ...change, isLast: sorted[i + 1]?.seq !== change.seq }));
  }

  take(max: number): Change[] {
    if (this.#sorted === undefined) return this.#read(max);
    return this.#sorted.slice(this.#taken, this.#taken += max);
  }

  #read(max: number): Change[] {
    const rows = this.#rows;
    const changes: Change[] = [];
    while (changes.length < max && (this.#isOnRow || rows.next())) {
      this.#isOnRow = false;
      if (rows.seq < this.#fromSeq) continue;
      const change = changeOf(rows);
      // A batch is never torn over two objects, so the row that follows in this one decides.
      this.#isOnRow = rows.next();
      change.isLast = !this.#isOnRow || rows.seq !== change.seq;
      changes.push(change);
    }
    return changes;
  }
}

/** A change of which it is not known yet whether it is the last of its number. */
type OpenChange = Change & { isLast: boolean };

/** Where a change stands among those of its batch; older engines, whose rows are sorted by it, know no range deletes. */
function keyOf(change: Change): Uint8Array {
  return change.kind === "deleteRange" ? change.range.gte : change.key;
}

function changeOf(rows: WalRows): OpenChange {
  const { flags, seq, createTs: createdAt, expireTs } = rows;
  const tombstone = tombstoneOf(rows);
  if (tombstone !== undefined) {
    const { start, end } = tombstone;
    const range = end === undefined ? { gte: start } : { gte: start, lt: end };
    return { kind: "deleteRange", range, seq, isLast: false, createdAt };
  }
  const kind = (flags & FLAG_TOMBSTONE) !== 0 ? "delete" : (flags & FLAG_MERGE) !== 0 ? "merge" : "put";
  const key = rows.keyBytes.slice(rows.keyStart, rows.keyEnd);
  const value = kind === "delete" ? EMPTY : rows.valueBytes.slice(rows.valueStart, rows.valueEnd);
  return expireTs === NO_EXPIRY
    ? { kind, key, value, seq, isLast: false, createdAt }
    : { kind, key, value, seq, isLast: false, createdAt, expiresAt: expireTs };
}

/** One run of a feed as promises. Calls of `next` that do not wait for each other are answered in order. */
class ChangeIterator implements AsyncIterator<Change> {
  readonly #runtime: Runtime;
  readonly #start: Effect.Effect<ChangeSource, InvalidArgument>;
  readonly #signal: AbortSignal | undefined;
  readonly #ended: AbortController = new AbortController();
  /** Aborts with the caller's signal, and when the iteration ends. */
  readonly #stop: AbortSignal;
  #source: ChangeSource | undefined = undefined;
  #rows: ReadonlyArray<Change> = [];
  #at = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(runtime: Runtime, start: Effect.Effect<ChangeSource, InvalidArgument>, options: ChangesOptions) {
    this.#runtime = runtime;
    this.#start = start;
    this.#signal = options.signal;
    const ended = this.#ended.signal;
    this.#stop = this.#signal === undefined ? ended : AbortSignal.any([this.#signal, ended]);
  }

  next(): Promise<IteratorResult<Change>> {
    const answer = this.#turn.then(() => this.#next());
    this.#turn = answer.catch(() => {});
    return answer;
  }

  return(): Promise<IteratorResult<Change>> {
    this.#end();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #next(): Promise<IteratorResult<Change>> {
    if (this.#ended.signal.aborted) return { done: true, value: undefined };
    try {
      this.#signal?.throwIfAborted();
      if (this.#at === this.#rows.length) {
        this.#rows = await this.#pull();
        this.#at = 0;
      }
    } catch (error) {
      if (this.#ended.signal.aborted) return { done: true, value: undefined };
      this.#end();
      throw error;
    }
    if (this.#ended.signal.aborted || this.#rows.length === 0) return this.return();
    return { done: false, value: this.#rows[this.#at++]! };
  }

  #pull(): Promise<ReadonlyArray<Change>> {
    const pull = Effect.suspend(() =>
      this.#source?.pull ?? Effect.flatMap(this.#start, (source) => {
        this.#source = source;
        // It ended while its location was being opened.
        if (this.#ended.signal.aborted) this.#release();
        return source.pull;
      })
    );
    return abortable(this.#runtime, pull, this.#stop);
  }

  #end(): void {
    if (!this.#ended.signal.aborted) this.#release();
    this.#ended.abort();
    this.#rows = [];
    this.#at = 0;
  }

  #release(): void {
    const release = this.#source?.release;
    if (release !== undefined) this.#runtime.fork(release);
  }
}

/** @throws InvalidArgument */
function checkOptions(options: ChangesOptions, known: ReadonlySet<string>): void {
  checkFields(options, known);
  const { fromSeq, follow, pollIntervalMillis, requestTimeoutMillis, wal, clock, signal } = options;
  const isCount = (value: unknown): boolean =>
    value === undefined || (Number.isSafeInteger(value) && Number(value) >= 1);
  if (!isCount(fromSeq)) throw badOption("fromSeq", "a whole number of at least 1");
  if (follow !== undefined && typeof follow !== "boolean") throw badOption("follow", "true or false");
  if (!isCount(pollIntervalMillis)) throw badOption("pollIntervalMillis", "whole milliseconds, at least 1");
  if (!isCount(requestTimeoutMillis)) throw badOption("requestTimeoutMillis", "whole milliseconds, at least 1");
  if (wal !== undefined && !has(wal?.store, STORE_OPERATIONS)) throw badOption("wal", "{ store } with an object store");
  if (clock !== undefined && !has(clock, ["currentTimeMillisUnsafe", "sleep"])) throw badOption("clock", "a clock");
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw badOption("signal", "an AbortSignal");
}

function has(value: unknown, methods: ReadonlyArray<string>): boolean {
  return typeof value === "object" && value !== null &&
    methods.every((name) => typeof (value as Record<string, unknown>)[name] === "function");
}
