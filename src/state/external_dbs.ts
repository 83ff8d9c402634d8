/**
 * Databases that a clone refers to: what a clone begins with, what it still needs of them, and letting go of the rest.
 *
 * Each external database holds a never-ending checkpoint, the final checkpoint, for every clone that refers to it; its
 * id stands in the clone's manifest. As the clone's compactions rewrite tables, fewer of the external ones are
 * needed (K-33). An external database is let go in three steps, each of which may be the last before a crash:
 *
 * ```text
 * 1  the clone's manifest names none of its tables any more      (the entry stays, empty)
 * 2  the final checkpoint is deleted in the external database
 * 3  the clone's manifest drops the empty entry
 * ```
 *
 * So at all times: while a state of the clone that counts (its newest version, those that its checkpoints pin) names a
 * table of an external database, that database has the final checkpoint.
 *
 * @module
 */
import { Effect } from "effect";
import type { ExternalDb, Manifest, Uuid } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { removeCheckpoint } from "./checkpoint_edits.ts";
import type { ManifestEdit } from "./manifest_edits.ts";
import { type ManifestFault, ManifestHandle } from "./manifest_handle.ts";
import { ManifestStore } from "./manifest_store.ts";
import { namedTables } from "./reachable.ts";

/**
 * The first manifest of a clone: the state of `pinned`, with nothing owned, and not usable yet. Inherits the external
 * databases of its parent; the source of each of those is the parent's own final checkpoint there, which outlives the
 * one that the parent was made from.
 *
 * @param source checkpoint of the parent that pins `pinned`
 * @param mint a fresh id for each final checkpoint
 */
export function clonedManifest(pinned: Manifest, parentPath: string, source: Uuid, mint: () => Uuid): Manifest {
  const inherited = pinned.externalDbs.map((db): ExternalDb => ({
    path: db.path,
    sourceCheckpointId: db.finalCheckpointId ?? db.sourceCheckpointId,
    finalCheckpointId: mint(),
    sstIds: db.sstIds,
  }));
  const foreign = new Set(pinned.externalDbs.flatMap((db) => db.sstIds));
  const parent: ExternalDb = {
    path: parentPath,
    sourceCheckpointId: source,
    finalCheckpointId: mint(),
    sstIds: [...namedTables(pinned)].filter((id) => !foreign.has(id)),
  };
  return { ...pinned, initialized: false, checkpoints: [], externalDbs: [...inherited, parent] };
}

/**
 * The external databases with only those of their tables that a state of the clone still names. One without any is
 * listed all the same, empty: its final checkpoint is still to be deleted. Answers the manifest's own list when nothing
 * is to be taken away.
 *
 * @param latest the newest manifest
 * @param checkpointed every manifest that one of its checkpoints pins
 */
function prunedExternals(latest: Manifest, checkpointed: Iterable<Manifest>): ReadonlyArray<ExternalDb> {
  if (latest.externalDbs.every((db) => db.sstIds.length === 0)) return latest.externalDbs;
  const needed = namedTables(latest);
  for (const manifest of checkpointed) for (const id of namedTables(manifest)) needed.add(id);
  let changed = false;
  const pruned = latest.externalDbs.map((db): ExternalDb => {
    const sstIds = db.sstIds.filter((id) => needed.has(id));
    if (sstIds.length === db.sstIds.length) return db;
    changed = true;
    return { ...db, sstIds };
  });
  return changed ? pruned : latest.externalDbs;
}

/** What {@linkcode releaseExternals} did. */
export interface ReleasedExternals {
  /** External tables that no state names any more. */
  readonly tables: number;
  /** Paths of the external databases that were let go. */
  readonly databases: ReadonlyArray<string>;
}

const NOTHING: ReleasedExternals = { tables: 0, databases: [] };
/** How often the state may change while it is looked at. */
const ATTEMPTS_MAX = 8;

/**
 * Lets go of external tables and databases that a clone no longer needs. Makes no request when it refers to none.
 * Repeating it after a crash or a failure goes on where it stopped. Fails, having let go of nothing it should not, when
 * a checkpointed manifest cannot be read.
 *
 * @param store the store of the clone and of the databases it refers to
 * @param handle on the clone's manifest; its newest known version is taken for the newest
 */
export function releaseExternals(
  store: ObjectStoreShape,
  handle: ManifestHandle,
): Effect.Effect<ReleasedExternals, ManifestFault> {
  return Effect.suspend(() => {
    const { externalDbs, initialized } = handle.current;
    return externalDbs.length === 0 || !initialized ? Effect.succeed(NOTHING) : release(store, handle);
  });
}

function release(
  store: ObjectStoreShape,
  handle: ManifestHandle,
): Effect.Effect<ReleasedExternals, ManifestFault> {
  return Effect.gen(function* () {
    const tables = yield* prune(handle);
    const empty = handle.current.externalDbs.filter((db) => db.sstIds.length === 0);
    for (const db of empty) {
      // No later state names its tables again: new checkpoints pin new versions, or what an older one pins.
      if (db.finalCheckpointId !== undefined) yield* deleteCheckpointIn(store, db.path, db.finalCheckpointId);
    }
    if (empty.length > 0) yield* handle.commit(dropEmpty(empty), "admin");
    return { tables, databases: empty.map((db) => db.path) };
  });
}

/** Step 1; answers how many tables were taken off the lists. */
function prune(handle: ManifestHandle): Effect.Effect<number, ManifestFault> {
  return Effect.gen(function* () {
    const known = new Map<number, Manifest>();
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const pinned = handle.current.checkpoints.map((one) => one.manifestId);
      for (const id of new Set(pinned)) {
        if (!known.has(id)) known.set(id, (yield* handle.versions.read(id)).manifest);
      }
      let unread = false;
      let tables = 0;
      const edit: ManifestEdit = (current) => {
        // The copy may be fresher than the one looked at: it may pin versions that were not read.
        unread = current.checkpoints.some((one) => !known.has(one.manifestId));
        if (unread) return undefined;
        const externalDbs = prunedExternals(current, current.checkpoints.map((one) => known.get(one.manifestId)!));
        tables = tableCount(current.externalDbs) - tableCount(externalDbs);
        return externalDbs === current.externalDbs ? undefined : { ...current, externalDbs };
      };
      yield* handle.commit(edit, "admin");
      if (!unread) return tables;
    }
    return 0;
  });
}

function tableCount(externalDbs: ReadonlyArray<ExternalDb>): number {
  return externalDbs.reduce((sum, db) => sum + db.sstIds.length, 0);
}

/** Step 3: drops the entries whose final checkpoints were deleted. */
function dropEmpty(gone: ReadonlyArray<ExternalDb>): ManifestEdit {
  const finals = new Set(gone.map((db) => db.finalCheckpointId));
  return (current) => {
    const externalDbs = current.externalDbs.filter((db) => db.sstIds.length > 0 || !finals.has(db.finalCheckpointId));
    return externalDbs.length === current.externalDbs.length ? undefined : { ...current, externalDbs };
  };
}

/** Deletes a checkpoint of another database; one that is gone, with its database or alone, is no error. */
export function deleteCheckpointIn(
  store: ObjectStoreShape,
  path: string,
  id: Uuid,
): Effect.Effect<void, ManifestFault> {
  const versions = new ManifestStore(store, path);
  return Effect.flatMap(versions.newest, (stored) => {
    if (stored === undefined) return Effect.void;
    return Effect.asVoid(new ManifestHandle(versions, stored, false).commit(removeCheckpoint(id), "admin"));
  });
}
