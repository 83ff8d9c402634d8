/**
 * Clones: a database that begins as another one's state at a checkpoint, and shares its tables.
 *
 * Steps, each repeatable, so that a clone that was cut short is finished by asking for it again:
 *
 * ```text
 * 1  the clone's first manifest: the pinned state, not initialized; names its external databases
 *    and the ids of the checkpoints that they are to hold for it
 * 2  these final checkpoints, in each external database; they never end
 * 3  copies of the log between the replay boundary and the newest WAL id of the pinned state
 * 4  initialized, its log where the copies are
 * ```
 *
 * Until step 4 no writer opens the clone, and nothing but the steps changes it. A clone made without a checkpoint gets
 * one for 300 s; when that has ended before step 2 was done, the steps begin anew with the parent's newest state: the
 * clone's next version is won first, so that no other process finishes the attempt before, then the final checkpoints of
 * that one are taken back. Where a clone was deleted, numbers and epochs go on from its tombstone, and the copies of the
 * log get ids above the fence that the deletion left.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { Ids, mintUuid } from "../env/ids.ts";
import { DataError, type DbError, InvalidArgument, type StoreError, Unavailable } from "../errors.ts";
import { COMPACTIONS_DIR, folderPath, WAL_DIR, walPath } from "../format/paths.ts";
import type { CheckpointRecord, ExternalDb, Manifest, Uuid } from "../format/types.ts";
import {
  addCheckpoint,
  addCheckpointFrom,
  checkpointMissing,
  isExpired,
  isForClone,
  nameForClone,
} from "../state/checkpoint_edits.ts";
import { clonedManifest, deleteCheckpointIn } from "../state/external_dbs.ts";
import type { ManifestFault, ManifestHandle } from "../state/manifest_handle.ts";
import { ManifestStore, type StoredManifest } from "../state/manifest_store.ts";
import { movedLog, succeeding } from "../state/tombstone.ts";
import { ifThere } from "../store/if_there.ts";
import { openHandle } from "./admin.ts";
import { beforeAttempt } from "./clone_attempts.ts";
import type { ClonePlaces } from "./clone_places.ts";

/** Lifetime of the checkpoint that a clone made without one begins with, ms. */
const EPHEMERAL_MILLIS = 300_000;
/** WAL objects copied at once. */
const COPIES = 8;
/** How often somebody else may change the clone while it is made. */
const ATTEMPTS_MAX = 16;

/** What became of a clone. */
export interface CloneReport {
  /** False when it was finished before. */
  readonly created: boolean;
  /** The checkpoint of the parent that it was made from. */
  readonly sourceCheckpoint: string;
  /** The checkpoint that the parent keeps for it, without an end. */
  readonly finalCheckpoint: string;
  /** WAL objects that were copied. */
  readonly walObjects: number;
}

type CloneFault = DbError | ManifestFault;

/** Makes a clone, or finishes one. Nothing is changed in the parent but its checkpoints. */
export function makeClone(places: ClonePlaces, checkpoint: Uuid | undefined): Effect.Effect<CloneReport, CloneFault> {
  const versions = new ManifestStore(places.store, places.cloneRoot);
  return Effect.gen(function* () {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      let stored = yield* versions.newest;
      if (stored !== undefined) {
        const parent = parentEntry(places, stored);
        if (parent instanceof Error) return yield* parent;
        if (checkpoint !== undefined && parent.sourceCheckpointId !== checkpoint) {
          return yield* differs(places, stored.manifest, "another checkpoint");
        }
        const asked = checkpoint !== undefined;
        if (stored.manifest.initialized) return yield* verified(places, stored.manifest, parent, asked);
      }
      stored ??= yield* begin(places, versions, checkpoint);
      if (stored === undefined) continue;
      const { externals, tombstone } = yield* beforeAttempt(versions, stored.id);
      yield* releaseAttempts(places, externals, stored.manifest);
      if (!(yield* ensureFinals(places, versions, stored, checkpoint))) continue;
      const moved = movedLog(stored.manifest, tombstone?.walIdLastSeen ?? 0);
      const walObjects = yield* copyLog(places, stored.manifest, moved.replayAfterWalId);
      if (yield* finish(versions, stored, moved)) return report(moved, places, true, walObjects);
    }
    return yield* new Unavailable({
      reason: "contended",
      message: `Cannot clone: ${places.cloneName} was changed ${ATTEMPTS_MAX} times meanwhile. See what other ` +
        "process makes or deletes it, then try again",
    });
  });
}

/** The entry of the parent in the manifest of its clone, or why what is there is none. */
function parentEntry(places: ClonePlaces, stored: StoredManifest): ExternalDb | InvalidArgument {
  const { initialized, externalDbs, checkpoints } = stored.manifest;
  // The database that a clone was made from comes last; those before it are inherited.
  const at = externalDbs.findLastIndex((db) => db.path === places.parentRoot);
  const entry = externalDbs[at];
  if (entry === undefined) {
    return refusal(
      "database-exists",
      `there is a database in ${places.cloneName} that does not refer to the parent: another one, or a clone of it that ` +
        "is finished and needs its parent no longer",
    );
  }
  // A clone has no checkpoints before it is finished: this one is being deleted.
  if (!initialized && checkpoints.length > 0) {
    return refusal("clone-deleted", `the deletion of the clone in ${places.cloneName} was not finished; do that first`);
  }
  if (at < externalDbs.length - 1) return differs(places, stored.manifest, `"${externalDbs.at(-1)!.path}"`);
  return entry;
}

function differs({ cloneName }: ClonePlaces, { initialized }: Manifest, source: string): InvalidArgument {
  return refusal(
    "clone-differs",
    `what is in ${cloneName} was ${initialized ? "made" : "begun"} from ${source}. Delete it with deleteClone first, ` +
      "or give another place",
  );
}

function report(manifest: Manifest, places: ClonePlaces, created: boolean, walObjects: number): CloneReport {
  const entry = manifest.externalDbs.findLast((db) => db.path === places.parentRoot)!;
  return {
    created,
    sourceCheckpoint: entry.sourceCheckpointId,
    finalCheckpoint: entry.finalCheckpointId ?? entry.sourceCheckpointId,
    walObjects,
  };
}

/**
 * A finished clone must still hold on to what it reads.
 *
 * @param asked whether the caller named the checkpoint it was made from
 */
function verified(
  places: ClonePlaces,
  manifest: Manifest,
  parent: ExternalDb,
  asked: boolean,
): Effect.Effect<CloneReport, CloneFault> {
  return Effect.gen(function* () {
    const { current, stored, versions } = yield* openHandle(places.store, parent.path, places.parentName);
    if (parent.finalCheckpointId !== undefined && findCheckpoint(current, parent.finalCheckpointId) === undefined) {
      return yield* new DataError({
        object: versions.pathOf(stored.id),
        section: "manifest",
        offset: 0,
        reason: "checkpoint-missing",
        detail: `the checkpoint ${parent.finalCheckpointId} that its clone needs was deleted; tables may be gone`,
      });
    }
    // What was made from a checkpoint that is kept for another clone was made from that clone, and has let it go since.
    const source = asked ? undefined : findCheckpoint(current, parent.sourceCheckpointId);
    if (source !== undefined && isForClone(source)) return yield* differs(places, manifest, "a clone of the parent");
    return report(manifest, places, false, 0);
  });
}

function findCheckpoint(manifest: Manifest, id: Uuid): CheckpointRecord | undefined {
  return manifest.checkpoints.find((one) => one.id === id);
}

/** Step 1 where there is nothing yet; undefined when somebody else was faster. */
function begin(
  places: ClonePlaces,
  versions: ManifestStore,
  checkpoint: Uuid | undefined,
): Effect.Effect<StoredManifest | undefined, CloneFault> {
  return Effect.gen(function* () {
    const { store, cloneRoot, cloneName } = places;
    // What stands beside a tombstone is below its epochs and its fence, and counts no more.
    for (const folder of versions.end === undefined ? [WAL_DIR, COMPACTIONS_DIR] : []) {
      const { objects } = yield* store.list(folderPath(cloneRoot, folder));
      if (objects.length > 0) {
        return yield* refused("clone-paths", `${cloneName} holds remains of another database: ${objects[0]!.path}`);
      }
    }
    const first = yield* firstManifest(places, checkpoint);
    const created = yield* versions.createNext(undefined, first);
    return created === "exists" ? undefined : created;
  });
}

/** The state to begin with, as the clone's manifest tells it. */
function firstManifest(places: ClonePlaces, checkpoint: Uuid | undefined): Effect.Effect<Manifest, CloneFault> {
  return Effect.gen(function* () {
    const { store, parentRoot, parentName } = places;
    const parent = yield* openHandle(store, parentRoot, parentName);
    yield* refuseSeparateLog(parent.current);
    const source = yield* sourceOf(parent, checkpoint);
    const pinned = source.manifestId === parent.stored.id
      ? parent.current
      : (yield* parent.versions.read(source.manifestId)).manifest;
    yield* refuseSeparateLog(pinned);
    for (const db of pinned.externalDbs) {
      yield* openHandle(store, db.path, `"${db.path}", which ${parentName} refers to,`);
    }
    const walIdLastSeen = yield* newestLog(places, parent, pinned);
    const ids = yield* Ids;
    return clonedManifest({ ...pinned, walIdLastSeen }, parentRoot, source.id, () => mintUuid(ids));
  });
}

function refuseSeparateLog({ walObjectStoreUri }: Manifest): Effect.Effect<void, InvalidArgument> {
  return walObjectStoreUri === undefined ? Effect.void : refused(
    "wal-store",
    "the parent's log lives in a store of its own, and its manifest does not say in which. Copy the database instead",
  );
}

/** The parent's checkpoint to begin from: the one asked for, or a new one that lives for 300 s. */
function sourceOf(parent: ManifestHandle, id: Uuid | undefined): Effect.Effect<CheckpointRecord, CloneFault> {
  return Effect.gen(function* () {
    const nowMillis = yield* wallMillis;
    if (id !== undefined) {
      const found = findCheckpoint(parent.current, id);
      if (found !== undefined && !isExpired(found, nowMillis)) return found;
      return yield* checkpointMissing(id, found !== undefined);
    }
    const fresh = { id: mintUuid(yield* Ids), nowMillis, lifetimeMillis: EPHEMERAL_MILLIS };
    const stored = yield* parent.commit(addCheckpoint(fresh), "admin");
    return findCheckpoint(stored.manifest, fresh.id)!;
  });
}

/**
 * The newest WAL id of the pinned state that is stored. A manifest may be one ahead of the log (K-9): then that object
 * was never part of the state. One that is missing since it was collected is another matter.
 */
function newestLog(
  { store, parentRoot }: ClonePlaces,
  parent: ManifestHandle,
  { replayAfterWalId, walIdLastSeen }: Manifest,
): Effect.Effect<number, CloneFault> {
  return Effect.gen(function* () {
    if (walIdLastSeen <= replayAfterWalId) return walIdLastSeen;
    const path = walPath(parentRoot, walIdLastSeen);
    if ((yield* ifThere(store.head(path))) !== undefined) return walIdLastSeen;
    const { manifest } = yield* parent.refresh;
    return manifest.replayAfterWalId >= walIdLastSeen ? yield* missingLog(path) : walIdLastSeen - 1;
  });
}

function missingLog(path: string, cause?: unknown): DataError {
  const detail = "the log of the checkpoint is not complete";
  return new DataError({ object: path, section: "wal", offset: 0, reason: "missing-object", detail, cause });
}

/** Step 2. False when the clone's manifest had to be written anew: look again. */
function ensureFinals(
  places: ClonePlaces,
  versions: ManifestStore,
  stored: StoredManifest,
  checkpoint: Uuid | undefined,
): Effect.Effect<boolean, CloneFault> {
  return Effect.gen(function* () {
    for (const db of stored.manifest.externalDbs) {
      const lapsed = yield* ensureFinal(places, db);
      if (lapsed === undefined) continue;
      if (checkpoint !== undefined) return yield* cannotFinish(places, lapsed);
      // Who wins the number decides: another process may have finished the attempt, or begun anew.
      const first = yield* firstManifest(places, undefined);
      yield* versions.createNext(stored, succeeding(stored.manifest, first));
      return false;
    }
    return true;
  });
}

function cannotFinish({ cloneName }: ClonePlaces, { reason, message }: InvalidArgument): InvalidArgument {
  return new InvalidArgument({
    reason,
    message: `${message}. The clone in ${cloneName} was begun from it and cannot be finished: delete it with ` +
      "deleteClone, then clone again",
  });
}

/** Lets go of what attempts before `current` had others keep. */
function releaseAttempts(
  { store }: ClonePlaces,
  externals: ReadonlyArray<ExternalDb>,
  current: Manifest,
): Effect.Effect<void, CloneFault> {
  const needed = new Set(current.externalDbs.map((db) => db.finalCheckpointId));
  return Effect.forEach(
    externals,
    ({ path, finalCheckpointId: id }) =>
      id === undefined || needed.has(id) ? Effect.void : deleteCheckpointIn(store, path, id),
    { discard: true },
  );
}

/** Makes the final checkpoint of one external database; answers the error when its source is gone. */
function ensureFinal(places: ClonePlaces, db: ExternalDb): Effect.Effect<InvalidArgument | undefined, CloneFault> {
  return Effect.gen(function* () {
    const { finalCheckpointId: id, sourceCheckpointId, path } = db;
    if (id === undefined) return undefined;
    const name = path === places.parentRoot ? places.parentName : `"${path}"`;
    const handle = yield* openHandle(places.store, path, name);
    const edit = addCheckpointFrom(
      { id, nowMillis: yield* wallMillis, lifetimeMillis: Infinity, name: nameForClone(places.cloneRoot) },
      sourceCheckpointId,
    );
    // Asked of the copy that the commit is based on: a database that is being deleted keeps nothing for anybody.
    const guarded: typeof edit = (current, at) =>
      current.initialized ? edit(current, at) : refusal("clone-deleted", `${name} is being deleted`);
    const attempt = handle.commit(guarded, "admin").pipe(
      Effect.as(undefined),
      Effect.catch((error) =>
        error instanceof InvalidArgument && error.reason === "checkpoint-missing"
          ? Effect.succeed(error)
          : Effect.fail(error)
      ),
    );
    if ((yield* attempt) === undefined) return undefined;
    // The copy may be older than what another process, which finishes the same clone, has had kept since.
    yield* handle.refresh;
    return yield* attempt;
  });
}

/** Step 3: copies the log to ids above `base`; answers how many objects it has. */
function copyLog(places: ClonePlaces, manifest: Manifest, base: number): Effect.Effect<number, CloneFault> {
  const { store, parentRoot, cloneRoot } = places;
  const { replayAfterWalId, walIdLastSeen } = manifest;
  const ids: number[] = [];
  for (let id = replayAfterWalId + 1; id <= walIdLastSeen; id++) ids.push(id);
  const copy = (id: number) =>
    store.copy(walPath(parentRoot, id), walPath(cloneRoot, id - replayAfterWalId + base)).pipe(
      Effect.catch((error): Effect.Effect<never, StoreError | DataError> =>
        Effect.fail(error.reason === "not-found" ? missingLog(walPath(parentRoot, id), error) : error)
      ),
    );
  return Effect.as(Effect.forEach(ids, copy, { concurrency: COPIES, discard: true }), ids.length);
}

/** Step 4. False when the clone's manifest is no longer the one whose log was copied. */
function finish(
  versions: ManifestStore,
  stored: StoredManifest,
  manifest: Manifest,
): Effect.Effect<boolean, CloneFault> {
  return Effect.map(
    versions.createNext(stored, { ...manifest, initialized: true }),
    (created) => created !== "exists",
  );
}

const wallMillis: Effect.Effect<number> = Effect.map(Clock.currentTimeMillis, Math.floor);

/** The error of a clone that cannot be made. */
function refusal(reason: string, what: string): InvalidArgument {
  return new InvalidArgument({ reason, message: `Cannot clone: ${what}` });
}

function refused(reason: string, what: string): Effect.Effect<never, InvalidArgument> {
  return Effect.fail(refusal(reason, what));
}
