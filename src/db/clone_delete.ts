/**
 * Deleting a clone, so that the databases it refers to need not keep anything for it any more.
 *
 * ```text
 * 1  its manifest: not initialized, marked as being deleted, the next writer epoch: a writer that commits is fenced, and
 *    nobody opens it any more
 * 2  a fence above its log, so that nobody who has it open stores there any more
 * 3  its final checkpoints in the external databases
 * 4  its objects, but the fence and the marked manifest, which tells what is still to do
 * 5  the tombstone, one version above: numbers and epochs go on from it when something is made here again
 * ```
 *
 * Repeating it after a crash goes on where it stopped. Foreign names in its folders are left alone. The marked manifest,
 * the tombstone and the fence stay for good (`tombstone.ts` says why).
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
  walPath,
} from "../format/paths.ts";
import { encodeEmptySst } from "../format/sst_builder.ts";
import type { Manifest } from "../format/types.ts";
import { checkpointRecord, isExpired, isForClone } from "../state/checkpoint_edits.ts";
import { deleteCheckpointIn } from "../state/external_dbs.ts";
import type { ManifestFault } from "../state/manifest_handle.ts";
import type { ManifestStore, StoredManifest } from "../state/manifest_store.ts";
import { listAll } from "../store/list_all.ts";
import { deleteAll, type ObjectStoreShape } from "../store/object_store.ts";
import { isBeingDeleted, MARK_DELETING, tombstoneOf } from "../state/tombstone.ts";
import type { AdminAccess } from "./admin.ts";
import { beforeAttempt } from "./clone_attempts.ts";
import { listWal, type WalObject } from "./recovery.ts";

/** How often others may come first, with the mark, the fence or the tombstone. */
const RACES_MAX = 16;

/** What the deletion of a clone did. */
export interface DeletedClone {
  /** Databases that keep nothing for it any more. */
  readonly released: readonly string[];
  /** Number of objects that were deleted. Three small ones stay, so that the place is never taken for the old clone. */
  readonly objects: number;
}

/** Deletes the clone behind `access`, which was opened with `unfinished`. */
export function removeClone(access: AdminAccess): Effect.Effect<DeletedClone, DbError | ManifestFault> {
  const { store, root, handle } = access;
  return Effect.gen(function* () {
    const { versions } = handle;
    const marked = yield* mark(versions, handle.stored, access.name);
    const fences = yield* fence(store, root, marked.manifest, access.name);
    const { externals } = yield* beforeAttempt(versions, marked.id);
    for (const { path, finalCheckpointId } of [...marked.manifest.externalDbs, ...externals]) {
      if (finalCheckpointId !== undefined) yield* deleteCheckpointIn(store, path, finalCheckpointId);
    }
    const kept = new Set([...fences.map((id) => walPath(root, id)), versions.pathOf(marked.id)]);
    let objects = 0;
    for (const folder of [WAL_DIR, COMPACTED_DIR, COMPACTIONS_DIR]) {
      objects += yield* deleteIn(store, folderPath(root, folder), (path) => !kept.has(path));
    }
    for (const kind of ["manifest", "compactions"]) yield* store.delete(boundaryPath(root, kind));
    objects += yield* deleteIn(
      store,
      folderPath(root, MANIFEST_DIR),
      (path) => !kept.has(path) && parseNumberedName(path)! < marked.id,
    );
    yield* bury(versions, marked, fences.at(-1)!, access.name);
    return { released: marked.manifest.externalDbs.map((db) => db.path), objects };
  });
}

/** Step 2; answers the fences at the end of the log, ascending: one of an attempt before may be what stops somebody. */
function fence(
  store: ObjectStoreShape,
  root: string,
  { replayAfterWalId }: Manifest,
  name: string,
): Effect.Effect<readonly number[], StoreError | Unavailable> {
  return Effect.gen(function* () {
    const body = encodeEmptySst();
    for (let race = 0; race < RACES_MAX; race++) {
      const log: WalObject[] = yield* listWal(store, root, 0);
      const id = (log.at(-1)?.id ?? replayAfterWalId) + 1;
      if ((yield* store.putIfAbsent(walPath(root, id), body)) === "exists") continue;
      const fences = [id];
      while (log.at(-1)?.size === body.length) fences.unshift(log.pop()!.id);
      return fences;
    }
    return yield* contended(name);
  });
}

/** Step 5. */
function bury(
  versions: ManifestStore,
  marked: StoredManifest,
  fenceId: number,
  name: string,
): Effect.Effect<void, ManifestFault | Unavailable> {
  return Effect.gen(function* () {
    let stored = marked;
    for (let race = 0; race < RACES_MAX; race++) {
      const answer = yield* versions.createNext(stored, tombstoneOf(stored.id + 1, stored.manifest, fenceId));
      if (answer !== "exists") return;
      stored = yield* versions.newerThan(stored);
      // Another deletion was faster, and something new may be here by now.
      if (!isBeingDeleted(stored.manifest)) return;
    }
    return yield* contended(name);
  });
}

function contended(name: string): Unavailable {
  return new Unavailable({
    reason: "contended",
    message: `Cannot delete the clone in ${name}: others changed it ${RACES_MAX} times meanwhile. Try again`,
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
      if (isBeingDeleted(stored.manifest)) return stored;
      const nowMillis = Math.floor(yield* Clock.currentTimeMillis);
      const problem = whyKept(stored.manifest, name, nowMillis);
      if (problem !== undefined) return yield* problem;
      const made = { id: mintUuid(yield* Ids), nowMillis, lifetimeMillis: Infinity, name: MARK_DELETING };
      const answer = yield* versions.createNext(stored, {
        ...stored.manifest,
        initialized: false,
        writerEpoch: stored.manifest.writerEpoch + 1,
        compactorEpoch: stored.manifest.compactorEpoch + 1,
        checkpoints: [...stored.manifest.checkpoints, checkpointRecord(made, stored.id + 1)],
      });
      stored = answer === "exists" ? yield* versions.newerThan(stored) : answer;
    }
    return yield* contended(name);
  });
}

/** Why this is no clone to delete, or undefined. */
function whyKept(manifest: Manifest, name: string, nowMillis: number): InvalidArgument | undefined {
  if (manifest.externalDbs.length === 0) {
    const clones = manifest.checkpoints.filter(isForClone).map((one) => `${one.id} ("${one.name}")`);
    if (clones.length > 0) {
      return refusal(
        "not-a-clone",
        `${name} refers to no other database, but clones read its tables, for which it keeps ${clones.join(", ")}. ` +
          "Delete those clones with deleteClone first; its objects are needed until then",
      );
    }
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
    yield* deleteAll(store, paths);
    return paths.length;
  });
}
