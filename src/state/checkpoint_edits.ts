/**
 * What is changed about checkpoints in a manifest, as pure functions over the freshest stored version.
 *
 * A new checkpoint pins the version that contains it, or the version a source checkpoint pins. Times are whole seconds,
 * 0 = never ends. An edit that finds its own result does nothing, so a commit whose answer was lost can be redone.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import type { CheckpointRecord, Manifest, Uuid } from "../format/types.ts";
import type { ManifestEdit } from "./manifest_edits.ts";

/** A checkpoint to make. */
export interface NewCheckpoint {
  readonly id: Uuid;
  /** ms since 1970. */
  readonly nowMillis: number;
  /** Infinity = does not end by itself. */
  readonly lifetimeMillis: number;
  readonly name?: string | undefined;
  /** Version to pin; undefined = the version that contains the checkpoint. */
  readonly manifestId?: number | undefined;
}

/** Whether a checkpoint has ended at `nowMillis`. */
export function isExpired(checkpoint: CheckpointRecord, nowMillis: number): boolean {
  return checkpoint.expireTimeSeconds !== 0 && checkpoint.expireTimeSeconds * 1000 <= nowMillis;
}

/** The record of a checkpoint in version `containedIn`. */
export function checkpointRecord(made: NewCheckpoint, containedIn: number): CheckpointRecord {
  return {
    id: made.id,
    manifestId: made.manifestId ?? containedIn,
    expireTimeSeconds: expiry(made.nowMillis, made.lifetimeMillis),
    createTimeSeconds: Math.floor(made.nowMillis / 1000),
    name: made.name,
    writerEpoch: undefined,
  };
}

/** Adds a checkpoint, and takes `replaced` away in the same version. */
export function addCheckpoint(made: NewCheckpoint, replaced?: Uuid): ManifestEdit {
  return (current, id) => {
    if (current.checkpoints.some((one) => one.id === made.id)) return undefined;
    const others = current.checkpoints.filter((one) => one.id !== replaced);
    return { ...current, checkpoints: [...others, checkpointRecord(made, id + 1)] };
  };
}

/**
 * Adds a checkpoint that pins what `source` pins, which makes it outlive that one. Refuses a source that is gone or has
 * ended. `made.manifestId` has no meaning here.
 */
export function addCheckpointFrom(made: NewCheckpoint, source: Uuid): ManifestEdit<InvalidArgument> {
  return (current, id) => {
    if (current.checkpoints.some((one) => one.id === made.id)) return undefined;
    const found = current.checkpoints.find((one) => one.id === source);
    if (found === undefined || isExpired(found, made.nowMillis)) return checkpointMissing(source, found !== undefined);
    return addCheckpoint({ ...made, manifestId: found.manifestId })(current, id);
  };
}

/** `edit`, on a database that is there: one that is being deleted, or was, keeps nothing for anybody. */
export function unlessDeleted<E extends Error>(edit: ManifestEdit<E>): ManifestEdit<E | InvalidArgument> {
  return (current, id) =>
    current.initialized ? edit(current, id) : new InvalidArgument({
      reason: "clone-deleted",
      message: "Nothing was changed about checkpoints: the database is being deleted, or was deleted meanwhile",
    });
}

/**
 * `edit`, whose version besides says that the log is stored up to `lastWalId`: who reads that version replays so far.
 * Only the writer knows that, so only the writer may say it.
 */
export function coveringWal<E extends Error>(edit: ManifestEdit<E>, lastWalId: () => number): ManifestEdit<E> {
  return (current, id) => {
    const next = edit(current, id);
    if (next === undefined || next instanceof Error) return next;
    return { ...next, walIdLastSeen: Math.max(next.walIdLastSeen, lastWalId()) };
  };
}

/** Moves the end of a checkpoint. Refuses one that is gone or has ended: its objects may be gone too. */
export function refreshCheckpoint(id: Uuid, nowMillis: number, lifetimeMillis: number): ManifestEdit<InvalidArgument> {
  return (current) => {
    const found = current.checkpoints.find((one) => one.id === id);
    if (found === undefined || isExpired(found, nowMillis)) return checkpointMissing(id, found !== undefined);
    const expireTimeSeconds = expiry(nowMillis, lifetimeMillis);
    if (found.expireTimeSeconds === expireTimeSeconds) return undefined;
    return withCheckpoints(current, (one) => one === found ? { ...one, expireTimeSeconds } : one);
  };
}

/** Takes a checkpoint away; one that is not there is no error. */
export function removeCheckpoint(id: Uuid): ManifestEdit {
  return (current) =>
    current.checkpoints.some((one) => one.id === id)
      ? { ...current, checkpoints: current.checkpoints.filter((one) => one.id !== id) }
      : undefined;
}

/** Begin of the name of a checkpoint that a clone needs; the rest is where the clone was made. */
const FOR_CLONE = "clone: ";

/** Name of the checkpoint that a database keeps for the clone at `path`. */
export function nameForClone(path: string): string {
  return FOR_CLONE + path;
}

/** Whether a checkpoint is one that a database keeps for a clone; another one may have got such a name from a person. */
export function isForClone({ expireTimeSeconds, name }: CheckpointRecord): boolean {
  return expireTimeSeconds === 0 && name?.startsWith(FOR_CLONE) === true;
}

/** {@linkcode removeCheckpoint}, which refuses one that is kept for a clone. */
export function removeUnlessKept(id: Uuid): ManifestEdit<InvalidArgument> {
  return (current, at) => {
    const found = current.checkpoints.find((one) => one.id === id);
    if (found === undefined || !isForClone(found)) return removeCheckpoint(id)(current, at);
    return new InvalidArgument({
      reason: "checkpoint-kept",
      message: `Checkpoint ${id} ("${found.name}") keeps what that clone reads: without it the clone loses its data. ` +
        "Delete the clone with deleteClone, which lets it go; or give force: true when the clone is gone",
    });
  };
}

/** Takes every checkpoint away that has ended. */
export function removeExpired(nowMillis: number): ManifestEdit {
  return (current) => {
    const kept = current.checkpoints.filter((one) => !isExpired(one, nowMillis));
    return kept.length === current.checkpoints.length ? undefined : { ...current, checkpoints: kept };
  };
}

/** The error for a checkpoint that is not there (any more). */
export function checkpointMissing(id: Uuid, expired: boolean): InvalidArgument {
  return new InvalidArgument({
    reason: "checkpoint-missing",
    message: `Checkpoint ${id} ${expired ? "has ended" : "does not exist"}; make a new one, or list those there are`,
  });
}

function withCheckpoints(current: Manifest, change: (one: CheckpointRecord) => CheckpointRecord): Manifest {
  return { ...current, checkpoints: current.checkpoints.map(change) };
}

/** End in whole seconds, never before what was asked for. */
function expiry(nowMillis: number, lifetimeMillis: number): number {
  return lifetimeMillis === Infinity ? 0 : Math.ceil((nowMillis + lifetimeMillis) / 1000);
}
