/**
 * Taking a database over: the manifest, the writer epoch, the WAL fence, the replay.
 *
 * The order is K-2's: bump the epoch, list the WAL, fence the next id, read the manifest again, replay exactly the ids
 * between the replay boundary and the fence. Each of them must exist. What is replayed is durable by definition.
 *
 * Invariants: F3 the fence lies above the replay boundary of a manifest read after the fence was stored; R1 memtables
 * are cut only between batches, inside a WAL object only when it is larger than memory should hold or has more range
 * tombstones than a memtable takes (K-6); R2 a replay never goes past the fence.
 *
 * @module
 */
import { Effect } from "effect";
import { type Closed, DataError, InvalidArgument, type StoreError, Unavailable } from "../errors.ts";
import { folderPath, parseNumberedName, WAL_DIR, walPath } from "../format/paths.ts";
import { RANGE_FORMAT } from "../format/types.ts";
import { encodeEmptySst } from "../format/sst_builder.ts";
import { WalRows } from "../format/wal_sst.ts";
import { Memtable } from "../lsm/memtable.ts";
import { isFull } from "../lsm/memtable_limits.ts";
import { decode } from "../lsm/read_error.ts";
import { claimWriterEpoch, emptyManifest } from "../state/manifest_edits.ts";
import type { ManifestStore, StoredManifest } from "../state/manifest_store.ts";
import type { ManifestFault, ManifestHandle } from "../state/manifest_handle.ts";
import type { WriterState } from "../state/writer_state.ts";
import { listAll } from "../store/list_all.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { ResolvedOptions } from "./options.ts";
import { firstMissing, walGap, type WalObject, WalReplay } from "./wal_rows.ts";

export type { WalObject } from "./wal_rows.ts";

/** How often an opener may lose a race for the epoch or the fence before it gives up. */
const RACES_MAX = 64;
/** WAL objects fetched ahead of the replay. */
const FETCH_AHEAD_OBJECTS = 32;
/** Bytes of WAL objects fetched ahead of the replay, at most (one object is always allowed). */
const FETCH_AHEAD_BYTES = 64 * 1024 * 1024;
/** Sequence numbers, ids and epochs must leave this much room below 2 ** 53 - 1. */
const HEADROOM = 2 ** 40;

const CHECK_PLACE = "Check the location, or leave that option out";

/**
 * Reads or creates the manifest and claims the next writer epoch. Nothing else is written before all checks passed.
 *
 * @param place what messages call the location
 */
export function claimEpoch(
  versions: ManifestStore,
  options: ResolvedOptions,
  place: string,
): Effect.Effect<StoredManifest, ManifestFault | InvalidArgument | Unavailable> {
  return Effect.gen(function* () {
    let stored = yield* versions.newest;
    if (stored === undefined && !options.create) {
      return yield* refused("missing-database", `there is none in ${place}, and create is false. ${CHECK_PLACE}`);
    }
    if (stored !== undefined && options.errorIfExists) {
      return yield* refused("database-exists", `there is one in ${place}, and errorIfExists is true. ${CHECK_PLACE}`);
    }
    for (let race = 0; race < RACES_MAX; race++) {
      if (stored === undefined) {
        const created = yield* versions.createNext(undefined, emptyManifest(options.walStore !== undefined));
        stored = created === "exists" ? yield* versions.newest : created;
        continue;
      }
      yield* checkUsable(versions, stored, options);
      const answer: StoredManifest | "exists" = yield* versions.createNext(stored, claimWriterEpoch(stored.manifest));
      if (answer !== "exists") return answer;
      stored = yield* versions.newerThan(stored);
    }
    return yield* contended("writer epoch");
  });
}

function checkUsable(
  versions: ManifestStore,
  stored: StoredManifest,
  options: ResolvedOptions,
): Effect.Effect<void, DataError | InvalidArgument> {
  const { manifest } = stored;
  if (!manifest.initialized) return Effect.fail(notInitialized(versions, stored));
  const { writerEpoch, lastL0Seq, replayAfterWalId, walIdLastSeen } = manifest;
  if (Math.max(writerEpoch, lastL0Seq, replayAfterWalId, walIdLastSeen) > Number.MAX_SAFE_INTEGER - HEADROOM) {
    return Effect.fail(
      new DataError({
        object: versions.pathOf(stored.id),
        section: "manifest",
        offset: 0,
        reason: "malformed",
        detail: "a number is too close to 2^53 - 1 to go on from",
      }),
    );
  }
  const separate = manifest.walObjectStoreUri !== undefined;
  if (separate !== (options.walStore !== undefined)) {
    return refused(
      "wal-store",
      separate
        ? "its WAL lives in a separate store; open it with wal: { store }"
        : "its WAL lives beside its tables; open it without wal.store",
    );
  }
  return Effect.void;
}

/** The error of a database that only exists in part. */
export function notInitialized(versions: ManifestStore, stored: StoredManifest): DataError {
  return new DataError({
    object: versions.pathOf(stored.id),
    section: "manifest",
    offset: 0,
    reason: "not-initialized",
    detail: "the clone was not finished; run the clone again",
  });
}

function contended(what: string): Effect.Effect<never, Unavailable> {
  return Effect.fail(
    new Unavailable({
      reason: "contended",
      message:
        `Cannot open the database: lost the race for its ${what} ${RACES_MAX} times. Try again later, and check ` +
        "that not several processes open it in a loop",
    }),
  );
}

function refused(reason: string, what: string): Effect.Effect<never, InvalidArgument> {
  return Effect.fail(new InvalidArgument({ reason, message: `Cannot open the database: ${what}` }));
}

/** Lists the stored WAL objects above `after`, in order of their ids. */
export function listWal(
  store: ObjectStoreShape,
  root: string,
  after: number,
): Effect.Effect<WalObject[], StoreError> {
  const objects: WalObject[] = [];
  return Effect.as(
    listAll(store, folderPath(root, WAL_DIR), walPath(root, after), (object) => {
      const id = parseNumberedName(object.path);
      if (id !== undefined && id > after && object.path === walPath(root, id)) objects.push({ id, size: object.size });
    }),
    objects,
  );
}

/**
 * Refuses a log store of its own that holds nothing, of a database whose manifest tells of log objects not replayed: it
 * is another store than the one that was written to, and everything durable in that one would be lost.
 */
function checkLogStore(
  store: ObjectStoreShape,
  root: string,
  { current: { walObjectStoreUri, walIdLastSeen, replayAfterWalId } }: ManifestHandle,
): Effect.Effect<void, StoreError | InvalidArgument> {
  if (walObjectStoreUri === undefined || walIdLastSeen <= replayAfterWalId) return Effect.void;
  return Effect.flatMap(listWal(store, root, 0), (objects) =>
    objects.length > 0 ? Effect.void : refused(
      "wal-store",
      `the store given for its log holds no log, but its manifest tells of log objects up to ${walIdLastSeen} that are ` +
        `in no table yet (from ${replayAfterWalId + 1} on). Give the store that it was written with`,
    ));
}

/** Stores the fence above everything listed; answers the WAL objects to replay, the fence not among them, and its id. */
export function fenceWal(
  store: ObjectStoreShape,
  root: string,
  manifest: ManifestHandle,
): Effect.Effect<
  { readonly objects: WalObject[]; readonly fenceId: number },
  ManifestFault | Unavailable | InvalidArgument
> {
  return Effect.gen(function* () {
    const fence = encodeEmptySst();
    for (let race = 0; race < RACES_MAX; race++) {
      const boundary = manifest.current.replayAfterWalId;
      const objects = yield* listWal(store, root, boundary);
      if (objects.length === 0) yield* checkLogStore(store, root, manifest);
      let fenceId = (objects.at(-1)?.id ?? boundary) + 1;
      for (let taken = 0; (yield* store.putIfAbsent(walPath(root, fenceId), fence)) === "exists"; taken++) {
        if (taken === RACES_MAX) return yield* contended("log");
        yield* manifest.refresh;
        objects.push({ id: fenceId, size: 0 });
        fenceId++;
      }
      const fresh = yield* manifest.refresh;
      const replayAfter = fresh.manifest.replayAfterWalId;
      if (fenceId > replayAfter) return { objects: objects.filter((object) => object.id > replayAfter), fenceId };
    }
    return yield* contended("log");
  });
}

/** What replay works with. */
export interface ReplaySpec {
  readonly store: ObjectStoreShape;
  readonly root: string;
  readonly manifest: ManifestHandle;
  readonly state: WriterState;
  readonly l0SstSizeBytes: number;
  /** How long to wait for room while replaying, ms. */
  readonly requestTimeoutMillis: number;
}

/** Rebuilds the memtables from the WAL objects (ascending); waits for flushes when the memory limit is reached. */
export function replay(
  spec: ReplaySpec,
  objects: ReadonlyArray<WalObject>,
): Effect.Effect<void, ManifestFault | Unavailable> {
  return Effect.gen(function* () {
    yield* checkContiguous(spec, objects);
    let memtable = new Memtable();
    for (let at = 0; at < objects.length;) {
      const group = fetchGroup(objects, at);
      const bodies = yield* Effect.forEach(group, (object) => readWal(spec, object.id), {
        concurrency: FETCH_AHEAD_OBJECTS,
      });
      for (let i = 0; i < group.length; i++) {
        const path = walPath(spec.root, group[i]!.id);
        const rows = yield* decode(path, 0, () => new WalRows(bodies[i]!));
        if (isFull(memtable, spec.l0SstSizeBytes - bodies[i]!.length)) {
          yield* cut(spec, memtable);
          memtable = new Memtable();
        }
        const object = new WalReplay(rows, bodies[i]!, spec.state.stored.manifest);
        while (!(yield* decode(path, 0, () => object.insertInto(memtable)))) {
          yield* cut(spec, memtable);
          memtable = new Memtable();
        }
        spec.state.ledger.stored(group[i]!.id, object.lastSeq, rows.version === RANGE_FORMAT);
        yield* Effect.yieldNow;
      }
      at += group.length;
    }
    spec.state.restoreActive(memtable);
  });
}

/** The next objects to fetch together. */
function fetchGroup(objects: ReadonlyArray<WalObject>, at: number): ReadonlyArray<WalObject> {
  let end = at + 1;
  let bytes = objects[at]!.size;
  while (end < objects.length && end - at < FETCH_AHEAD_OBJECTS) {
    bytes += objects[end]!.size;
    if (bytes > FETCH_AHEAD_BYTES) break;
    end++;
  }
  return objects.slice(at, end);
}

/** Installs a full replayed memtable and freezes it; waits, with a deadline, while too much is in memory. */
function cut(spec: ReplaySpec, memtable: Memtable): Effect.Effect<void, Closed | Unavailable> {
  return Effect.gen(function* () {
    spec.state.restoreActive(memtable);
    spec.state.freeze();
    while (!spec.state.hasRoom && spec.state.frozen.length > 0) {
      const uploaded = spec.state.frozen[0]!.memtable.uploaded.wait as Effect.Effect<void, Closed>;
      yield* Effect.timeoutOrElse(uploaded, {
        duration: spec.requestTimeoutMillis,
        orElse: () => Effect.fail(noRoom(spec.requestTimeoutMillis)),
      });
    }
  });
}

function noRoom(millis: number): Unavailable {
  return new Unavailable({
    reason: "timeout",
    message: `Cannot open the database: its log is larger than maxUnflushedBytes and the object store did not take a ` +
      `table within ${millis} ms (requestTimeoutMillis). Nothing is lost; try again when the store answers`,
  });
}

function checkContiguous(
  spec: ReplaySpec,
  objects: ReadonlyArray<WalObject>,
): Effect.Effect<void, ManifestFault> {
  const hole = firstMissing(objects, spec.manifest.current.replayAfterWalId);
  return hole === undefined ? Effect.void : missing(spec, hole);
}

/** A WAL object that must exist does not: a successor may have collected it, else data is lost. */
function missing(spec: ReplaySpec, id: number): Effect.Effect<never, ManifestFault> {
  return Effect.andThen(spec.manifest.refresh, Effect.fail(walGap(spec.root, id)));
}

function readWal(spec: ReplaySpec, id: number): Effect.Effect<Uint8Array, ManifestFault> {
  return spec.store.get(walPath(spec.root, id)).pipe(
    Effect.catch((error): Effect.Effect<never, ManifestFault> =>
      error.reason === "not-found" ? missing(spec, id) : Effect.fail(error)
    ),
  );
}
