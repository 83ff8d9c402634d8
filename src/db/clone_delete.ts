/**
 * Deleting a clone, so that the databases it refers to need not keep anything for it any more.
 *
 * ```text
 * 1  its manifest: not initialized, marked as being deleted, the next writer epoch: a writer that commits is fenced, and
 *    nobody opens it any more
 * 2  its final checkpoints in the external databases
 * 3  its objects; the newest manifest last, since it tells what steps 2 and 3 still have to do
 * ```
 *
 * Repeating it after a crash goes on where it stopped. Foreign names in its folders are left alone.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { Ids, mintUuid } from "../env/ids.ts";
import { type DbError, InvalidArgument, type StoreError, Unavailable } from "../errors.ts";
import {
  boundaryPath,
  COMPACTED_DIR,
  COMPACTIONS_DIR,
  folderPath,
  MANIFEST_DIR,
  parseNumberedName,
  parseTableName,
  WAL_DIR,
} from "../format/paths.ts";
import type { Manifest } from "../format/types.ts";
import { checkpointRecord, isExpired } from "../state/checkpoint_edits.ts";
import { deleteCheckpointIn } from "../state/external_dbs.ts";
import type { ManifestFault } from "../state/manifest_handle.ts";
import type { ManifestStore, StoredManifest } from "../state/manifest_store.ts";
import { listAll } from "../store/list_all.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { AdminAccess } from "./admin.ts";

/** Name of the checkpoint that marks a clone as being deleted. */
const MARK = "phyllite: being deleted";
/** How often others may commit before the mark is set. */
const RACES_MAX = 16;
/** Objects deleted at once. */
const DELETES = 16;

/** What the deletion of a clone did. */
export interface DeletedClone {
  /** Databases that keep nothing for it any more. */
  readonly released: readonly string[];
  /** Number of objects that were deleted. */
  readonly objects: number;
}

/** Deletes the clone behind `access`, which was opened with `unfinished`. */
export function removeClone(access: AdminAccess): Effect.Effect<DeletedClone, DbError | ManifestFault> {
  const { store, root, handle } = access;
  return Effect.gen(function* () {
    const marked = yield* mark(handle.versions, handle.stored, access.name);
    for (const { path, finalCheckpointId } of marked.manifest.externalDbs) {
      if (finalCheckpointId !== undefined) yield* deleteCheckpointIn(store, path, finalCheckpointId);
    }
    let objects = 0;
    for (const folder of [WAL_DIR, COMPACTED_DIR, COMPACTIONS_DIR]) {
      objects += yield* deleteIn(store, folderPath(root, folder), () => true);
    }
    for (const kind of ["manifest", "compactions"]) yield* store.delete(boundaryPath(root, kind));
    const newest = handle.versions.pathOf(marked.id);
    objects += yield* deleteIn(store, folderPath(root, MANIFEST_DIR), (path) => path !== newest);
    yield* store.delete(newest);
    return { released: marked.manifest.externalDbs.map((db) => db.path), objects: objects + 1 };
  });
}

/** Step 1. */
function mark(
  versions: ManifestStore,
  found: StoredManifest,
  name: string,
): Effect.Effect<StoredManifest, DbError | ManifestFault> {
  return Effect.gen(function* () {
    let stored = found;
    for (let race = 0; race < RACES_MAX; race++) {
      if (isMarked(stored.manifest)) return stored;
      const nowMillis = Math.floor(yield* Clock.currentTimeMillis);
      const problem = whyKept(stored.manifest, name, nowMillis);
      if (problem !== undefined) return yield* problem;
      const made = { id: mintUuid(yield* Ids), nowMillis, lifetimeMillis: Infinity, name: MARK };
      const answer = yield* versions.createNext(stored, {
        ...stored.manifest,
        initialized: false,
        writerEpoch: stored.manifest.writerEpoch + 1,
        checkpoints: [...stored.manifest.checkpoints, checkpointRecord(made, stored.id + 1)],
      });
      stored = answer === "exists" ? yield* versions.newerThan(stored) : answer;
    }
    return yield* new Unavailable({
      reason: "contended",
      message: `Cannot delete the clone in ${name}: others changed it ${RACES_MAX} times meanwhile. Try again`,
    });
  });
}

function isMarked(manifest: Manifest): boolean {
  return !manifest.initialized && manifest.checkpoints.some((one) => one.name === MARK);
}

/** Why this is no clone to delete, or undefined. */
function whyKept(manifest: Manifest, name: string, nowMillis: number): InvalidArgument | undefined {
  if (manifest.externalDbs.length === 0) {
    return refusal("not-a-clone", `${name} refers to no other database, so nothing is kept for it: delete its objects`);
  }
  const kept = manifest.checkpoints.filter((one) => one.expireTimeSeconds === 0 && !isExpired(one, nowMillis));
  if (kept.length === 0) return undefined;
  const ids = kept.map((one) => one.name === undefined ? one.id : `${one.id} ("${one.name}")`).join(", ");
  return refusal(
    "checkpoints-left",
    `${name} has checkpoints that do not end: ${ids}. A clone of it may need them; delete that clone, or them, first`,
  );
}

function refusal(reason: string, what: string): InvalidArgument {
  return new InvalidArgument({ reason, message: `Cannot delete the clone: ${what}` });
}

/** Deletes the objects of the database in `folder`; answers how many. */
function deleteIn(
  store: ObjectStoreShape,
  folder: string,
  wanted: (path: string) => boolean,
): Effect.Effect<number, StoreError> {
  return Effect.gen(function* () {
    const paths: string[] = [];
    yield* listAll(store, folder, undefined, ({ path }) => {
      const own = parseNumberedName(path) !== undefined || parseTableName(path) !== undefined;
      if (own && wanted(path) && path.indexOf("/", folder.length) < 0) paths.push(path);
    });
    yield* Effect.forEach(paths, (path) => store.delete(path), { concurrency: DELETES, discard: true });
    return paths.length;
  });
}
