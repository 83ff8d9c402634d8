/**
 * Readers of one checkpoint: which version it pins, the stretch of the log that belongs to it, and whether it is still
 * there.
 *
 * The log of a checkpoint is what lies between the replay boundary and the newest id of its own manifest version, as far
 * as it was stored: an id at the end may have been given to an object that never came (K-9). Anything missing before the
 * last one stored is damage. While the checkpoint stands, no collector deletes any of it.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type InvalidArgument } from "../errors.ts";
import type { Uuid } from "../format/types.ts";
import { checkpointMissing, isExpired } from "../state/checkpoint_edits.ts";
import type { ManifestHandle } from "../state/manifest_handle.ts";
import type { StoredManifest } from "../state/manifest_store.ts";
import { type FollowSpec, replayAgain, replayObject } from "./reader_follow.ts";
import { listWal, notInitialized } from "./recovery.ts";
import { readWal } from "./wal_ahead.ts";
import { firstMissing, walGap } from "./wal_rows.ts";

/** WAL objects fetched at once. */
const WAL_READS = 8;

/** The version that the checkpoint pins. Fails with `InvalidArgument` "checkpoint-missing" when it is gone or has ended. */
export function pinnedVersion(
  handle: ManifestHandle,
  checkpoint: Uuid,
  nowMillis: number,
): Effect.Effect<StoredManifest, unknown> {
  return Effect.gen(function* () {
    const found = standing(handle.stored, checkpoint, nowMillis);
    if (typeof found !== "number") return yield* found;
    const stored = found === handle.stored.id ? handle.stored : yield* handle.versions.read(found);
    return stored.manifest.initialized ? stored : yield* notInitialized(handle.versions, stored);
  });
}

/** Number of the version that a checkpoint pins, or why it does not. */
function standing(newest: StoredManifest, checkpoint: Uuid, nowMillis: number): number | InvalidArgument {
  const found = newest.manifest.checkpoints.find((one) => one.id === checkpoint);
  if (found === undefined || isExpired(found, nowMillis)) return checkpointMissing(checkpoint, found !== undefined);
  return found.manifestId;
}

/** Replays the checkpoint's stretch of the log. */
export function replayPinned(spec: FollowSpec, checkpoint: Uuid): Effect.Effect<void, unknown> {
  return Effect.gen(function* () {
    const { wal, root, state } = spec;
    if (wal === undefined) return;
    const { replayAfterWalId, walIdLastSeen } = state.capture.stored.manifest;
    if (walIdLastSeen <= replayAfterWalId) return;
    const listed = (yield* listWal(wal, root, replayAfterWalId)).filter(({ id }) => id <= walIdLastSeen);
    const hole = firstMissing(listed, replayAfterWalId);
    if (hole !== undefined) return yield* lost(spec, checkpoint, hole);
    for (let at = 0; at < listed.length; at += WAL_READS) {
      const group = listed.slice(at, at + WAL_READS);
      const bodies = yield* Effect.forEach(group, ({ id }) => readWal(wal, root, id), { concurrency: WAL_READS });
      for (let i = 0; i < group.length; i++) {
        const { id } = group[i]!;
        const bytes = bodies[i];
        if (bytes === undefined) return yield* lost(spec, checkpoint, id);
        yield* Effect.catch(replayObject(spec, { id, bytes }), (damage) => replayAgain(spec, id, damage));
        yield* Effect.yieldNow;
      }
    }
    // Only while the checkpoint stands nothing of this can have been collected, and its names taken by others.
    const found = standing(yield* spec.handle.refresh, checkpoint, spec.now());
    if (typeof found !== "number") return yield* found;
  });
}

/** An object that the checkpoint should keep is not there: the checkpoint ended, or the log is damaged. */
function lost(spec: FollowSpec, checkpoint: Uuid, id: number): Effect.Effect<never, unknown> {
  return Effect.gen(function* () {
    const found = standing(yield* spec.handle.refresh, checkpoint, spec.now());
    return yield* typeof found === "number" ? walGap(spec.root, id) : found;
  });
}

/**
 * What a pinned reader does when a table is missing: there is no newer state, but the checkpoint may have ended. Fails
 * with `DataError` "checkpoint-missing" then.
 */
export function refreshPinned(spec: FollowSpec, checkpoint: Uuid): Effect.Effect<StoredManifest, unknown> {
  return Effect.gen(function* () {
    const { handle, state, now } = spec;
    const { stored } = state.capture;
    const found = standing(yield* handle.refresh, checkpoint, now());
    if (typeof found === "number") return stored;
    return yield* new DataError({
      object: handle.versions.pathOf(stored.id),
      section: "manifest",
      offset: 0,
      reason: "checkpoint-missing",
      detail: `checkpoint ${checkpoint} has ended, and what it kept was collected; open a reader of another one`,
      cause: found,
    });
  });
}
