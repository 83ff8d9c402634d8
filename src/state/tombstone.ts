/**
 * What stays where a clone was deleted: a last manifest version, its tombstone.
 *
 * Whoever still has the clone open knows the number of a version and creates the next one. Were the numbers to begin at
 * 1 again, that one would lie above all of a database made at the same place, and replace its state. So the numbers go
 * on: a database made here begins above the tombstone, with epochs that are not lower, and its log above the fence that
 * the deletion left. An old handle meets either the tombstone (not initialized, a greater epoch) or the fence, and stops.
 *
 * Invariant: nothing at or above a tombstone's number, and no fence it names, is deleted by the deletion of a clone.
 *
 * @module
 */
import type { CheckpointRecord, Manifest } from "../format/types.ts";

/** Name of the checkpoint that marks a clone as being deleted. */
export const MARK_DELETING = "phyllite: being deleted";
/** Name of the checkpoint that marks a tombstone. */
const MARK_DELETED = "phyllite: deleted";

/** Whether a clone is being deleted. */
export function isBeingDeleted({ initialized, checkpoints }: Manifest): boolean {
  return !initialized && checkpoints.some((one) => one.name === MARK_DELETING);
}

/**
 * Whether the deletion of a clone was finished with version `id`: there is no database here. The official engine opens
 * such a place as an empty database; what it commits there carries the mark on, but is no tombstone.
 */
export function isTombstone(id: number, { initialized, checkpoints }: Manifest): boolean {
  return !initialized && checkpoints.some((one) => one.name === MARK_DELETED && one.manifestId === id);
}

/**
 * The tombstone of a clone. Nothing is there any more that would need the gate of range deletes: other engines may begin a
 * database of their own at the place.
 *
 * @param id number that the tombstone gets
 * @param marked its last manifest
 * @param fenceId WAL id that nobody who has it open goes past
 */
export function tombstoneOf(id: number, marked: Manifest, fenceId: number): Manifest {
  const { features: _, ...rest } = marked;
  return {
    ...rest,
    initialized: false,
    replayAfterWalId: Math.max(marked.replayAfterWalId, fenceId),
    walIdLastSeen: Math.max(marked.walIdLastSeen, fenceId),
    l0: [],
    compacted: [],
    externalDbs: [],
    checkpoints: marked.checkpoints.flatMap((one): CheckpointRecord[] =>
      one.name === MARK_DELETING ? [{ ...one, name: MARK_DELETED, manifestId: id }] : []
    ),
  };
}

/** The first manifest of a database that is made where `tombstone` stands. A clone's log is moved when it is finished. */
export function succeeding(tombstone: Manifest, first: Manifest): Manifest {
  const next = {
    ...first,
    writerEpoch: Math.max(first.writerEpoch, tombstone.writerEpoch),
    compactorEpoch: Math.max(first.compactorEpoch, tombstone.compactorEpoch),
  };
  return next.initialized ? movedLog(next, tombstone.walIdLastSeen) : next;
}

/** The manifest with its log at ids above `floor`; itself where the log begins there anyway. */
export function movedLog(manifest: Manifest, floor: number): Manifest {
  const by = floor - manifest.replayAfterWalId;
  if (by <= 0) return manifest;
  return {
    ...manifest,
    replayAfterWalId: floor,
    walIdLastSeen: Math.max(manifest.walIdLastSeen, manifest.replayAfterWalId) + by,
  };
}
