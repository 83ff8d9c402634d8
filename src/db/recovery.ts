/**
 * Taking a database over: the manifest, the writer epoch, the WAL fence, the replay.
 *
 * The order is K-2's: bump the epoch, list the WAL, fence the next id, read the manifest again, replay exactly the ids
 * between the replay boundary and the fence. Each of them must exist. What is replayed is durable by definition.
 *
 * Invariants: F3 the fence lies above the replay boundary of a manifest read after the fence was stored; R1 memtables
 * are cut only between WAL objects (K-6); R2 a replay never goes past the fence.
 *
 * @module
 */
import { Effect } from "effect";
import { type Closed, DataError, FormatError, InvalidArgument, type StoreError } from "../errors.ts";
import { folderPath, parseNumberedName, WAL_DIR, walPath } from "../format/paths.ts";
import { encodeEmptySst } from "../format/sst_builder.ts";
import type { Manifest } from "../format/types.ts";
import { WalRows } from "../format/wal_sst.ts";
import { Memtable } from "../lsm/memtable.ts";
import { claimWriterEpoch, emptyManifest } from "../state/manifest_edits.ts";
import type { ManifestStore, StoredManifest } from "../state/manifest_store.ts";
import type { ManifestFault, WriterManifest } from "../state/writer_manifest.ts";
import type { WriterState } from "../state/writer_state.ts";
import { listAll } from "../store/list_all.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { ResolvedOptions } from "./options.ts";

/** How often an opener may lose a race for the epoch or the fence before it gives up. */
const RACES_MAX = 64;
/** WAL objects fetched ahead of the replay. */
const FETCH_AHEAD_OBJECTS = 8;
/** Bytes of WAL objects fetched ahead of the replay, at most (one object is always allowed). */
const FETCH_AHEAD_BYTES = 64 * 1024 * 1024;

/** A stored WAL object, as listed. */
export interface WalObject {
  readonly id: number;
  readonly size: number;
}

/** Reads or creates the manifest and claims the next writer epoch. Nothing else is written before all checks passed. */
export function claimEpoch(
  versions: ManifestStore,
  options: ResolvedOptions,
): Effect.Effect<StoredManifest, ManifestFault | InvalidArgument> {
  return Effect.gen(function* () {
    let stored = yield* versions.newest;
    if (stored === undefined && !options.create) {
      return yield* refused("missing-database", "there is no database at this location and create is false");
    }
    if (stored !== undefined && options.errorIfExists) {
      return yield* refused("database-exists", "there is a database at this location and errorIfExists is true");
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
    return yield* refused("contended", `lost the race for the writer epoch ${RACES_MAX} times; try again later`);
  });
}

function checkUsable(
  versions: ManifestStore,
  stored: StoredManifest,
  options: ResolvedOptions,
): Effect.Effect<void, DataError | InvalidArgument> {
  const { manifest } = stored;
  if (!manifest.initialized) {
    return Effect.fail(
      new DataError({
        object: versions.pathOf(stored.id),
        section: "manifest",
        offset: 0,
        reason: "not-initialized",
        detail: "the clone was not finished; run the clone again",
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

/** Stores the fence above everything listed; answers the WAL objects to replay, the fence not among them, and its id. */
export function fenceWal(
  store: ObjectStoreShape,
  root: string,
  manifest: WriterManifest,
): Effect.Effect<{ readonly objects: WalObject[]; readonly fenceId: number }, ManifestFault> {
  return Effect.gen(function* () {
    const fence = encodeEmptySst();
    for (let race = 0; race < RACES_MAX; race++) {
      const boundary = manifest.current.replayAfterWalId;
      const objects = yield* listWal(store, root, boundary);
      let fenceId = (objects.at(-1)?.id ?? boundary) + 1;
      while ((yield* store.putIfAbsent(walPath(root, fenceId), fence)) === "exists") {
        yield* manifest.refresh;
        objects.push({ id: fenceId, size: 0 });
        fenceId++;
      }
      const fresh = yield* manifest.refresh;
      const replayAfter = fresh.manifest.replayAfterWalId;
      if (fenceId > replayAfter) return { objects: objects.filter((object) => object.id > replayAfter), fenceId };
    }
    return yield* Effect.die(new Error("the WAL fence lost the race against its own database"));
  });
}

/** What replay works with. */
export interface ReplaySpec {
  readonly store: ObjectStoreShape;
  readonly root: string;
  readonly manifest: WriterManifest;
  readonly state: WriterState;
  readonly l0SstSizeBytes: number;
}

/** Rebuilds the memtables from the WAL objects (ascending); waits for flushes when the memory limit is reached. */
export function replay(
  spec: ReplaySpec,
  objects: ReadonlyArray<WalObject>,
): Effect.Effect<void, ManifestFault> {
  return Effect.gen(function* () {
    yield* checkContiguous(spec, objects);
    let memtable = new Memtable();
    for (let at = 0; at < objects.length;) {
      const group = fetchGroup(objects, at);
      const bodies = yield* Effect.forEach(group, (object) => readWal(spec, object.id), {
        concurrency: FETCH_AHEAD_OBJECTS,
      });
      for (let i = 0; i < group.length; i++) {
        if (memtable.estimatedSstBytes >= spec.l0SstSizeBytes) {
          yield* cut(spec, memtable);
          memtable = new Memtable();
        }
        const lastSeq = yield* replayObject(spec, group[i]!.id, bodies[i]!, memtable);
        spec.state.ledger.stored(group[i]!.id, lastSeq);
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

/** Installs a full replayed memtable and freezes it; waits while too much is in memory. */
function cut(spec: ReplaySpec, memtable: Memtable): Effect.Effect<void, Closed> {
  return Effect.gen(function* () {
    spec.state.restoreActive(memtable);
    spec.state.freeze();
    while (!spec.state.hasRoom && spec.state.frozen.length > 0) {
      yield* spec.state.frozen[0]!.memtable.uploaded.wait as Effect.Effect<void, Closed>;
    }
  });
}

function checkContiguous(
  spec: ReplaySpec,
  objects: ReadonlyArray<WalObject>,
): Effect.Effect<void, ManifestFault> {
  let expected = spec.manifest.current.replayAfterWalId + 1;
  for (const { id } of objects) {
    if (id !== expected) return missing(spec, expected);
    expected++;
  }
  return Effect.void;
}

/** A WAL object that must exist does not: a successor may have collected it, else data is lost. */
function missing(spec: ReplaySpec, id: number): Effect.Effect<never, ManifestFault> {
  return Effect.andThen(
    spec.manifest.refresh,
    Effect.fail(
      new DataError({
        object: walPath(spec.root, id),
        section: "wal",
        offset: 0,
        reason: "wal-gap",
        detail: "the write-ahead log has a hole; writes in it are lost. Restore the object, or read a checkpoint",
      }),
    ),
  );
}

function readWal(spec: ReplaySpec, id: number): Effect.Effect<Uint8Array, ManifestFault> {
  return spec.store.get(walPath(spec.root, id)).pipe(
    Effect.catch((error): Effect.Effect<never, ManifestFault> =>
      error.reason === "not-found" ? missing(spec, id) : Effect.fail(error)
    ),
  );
}

/** Inserts the rows that are not in tables yet; answers the largest sequence number in the object, 0 for none. */
function replayObject(
  spec: ReplaySpec,
  id: number,
  body: Uint8Array,
  memtable: Memtable,
): Effect.Effect<number, DataError> {
  return Effect.try({
    try: () => insertRows(new WalRows(body), memtable, spec.state.stored.manifest),
    catch: (error) => {
      if (error instanceof FormatError) return error.toDataError(walPath(spec.root, id));
      throw error;
    },
  });
}

function insertRows(rows: WalRows, memtable: Memtable, manifest: Manifest): number {
  let lastSeq = 0;
  let tick = manifest.lastL0ClockTick;
  while (rows.next()) {
    lastSeq = Math.max(lastSeq, rows.seq);
    if (rows.seq <= manifest.lastL0Seq) continue;
    tick = Math.max(tick, rows.createTs);
    memtable.insert(
      rows.keyBytes,
      rows.keyStart,
      rows.keyEnd,
      rows.seq,
      rows.flags,
      rows.createTs,
      rows.expireTs,
      rows.valueBytes,
      rows.valueStart,
      rows.valueEnd,
    );
  }
  if (lastSeq > manifest.lastL0Seq && Number.isFinite(tick)) memtable.tracker.record(lastSeq, Math.floor(tick / 1000));
  return lastSeq;
}
