/**
 * Calls on a stored database, for the Promise face: its checkpoints and its sequence samples, without a writer.
 *
 * Nothing here fences anybody, so all of it may run beside a live writer, from another machine too. A database that is
 * a clone not finished yet is refused with `DataError` "not-initialized".
 *
 * @module
 */
import { Effect } from "effect";
import { adminCall, type AdminOptions } from "./admin.ts";
import type {
  Checkpoint,
  CheckpointDeletion,
  CheckpointFilter,
  CheckpointLifetime,
  CheckpointOptions,
  Rounding,
} from "./admin_api.ts";
import { badOption } from "./call_options.ts";
import {
  checkedCheckpoint,
  checkedFilter,
  checkedId,
  checkedNewLifetime,
  checkedRemoval,
  CHECKPOINT_FIELDS,
  commitCheckpoint,
  commitRefresh,
  DELETION_FIELDS,
  FILTER_FIELDS,
  LIFETIME_FIELDS,
  selected,
} from "./checkpoints.ts";
import type { Location } from "./location.ts";
import { checkSeqLookup, checkTimeLookup, samplesOf, seqAt, timeOf } from "./sequence_time.ts";

/**
 * The checkpoints of a database, oldest first; those that have ended are listed until they are collected.
 *
 * @throws InvalidArgument "missing-database" where there is none; Unavailable when the store does not answer
 */
export function listCheckpoints(
  location: Location,
  options: CheckpointFilter & AdminOptions = {},
): Promise<readonly Checkpoint[]> {
  return adminCall(
    location,
    options,
    FILTER_FIELDS,
    checkedFilter,
    ({ handle }, name) => Effect.succeed(selected(handle.current.checkpoints, name)),
  );
}

/**
 * Makes a checkpoint from outside: it pins the newest stored manifest. Of the log it holds what that manifest knows of:
 * all of it after a clean close; of a writer that is open or crashed, what was stored when it last committed. To pin
 * everything durable of an open database, ask its writer (`db.checkpoint()`).
 *
 * @param options as for `db.checkpoint`; `scope` is "durable" here
 * @throws InvalidArgument "checkpoint-missing" for a source that is gone or has ended
 */
export function createCheckpoint(
  location: Location,
  options: CheckpointOptions & AdminOptions = {},
): Promise<Checkpoint> {
  const check = (given: CheckpointOptions) => {
    if (given.scope === "all") throw badOption("scope", '"durable": only the open writer can flush what it holds');
    return checkedCheckpoint(given);
  };
  return adminCall(
    location,
    options,
    CHECKPOINT_FIELDS,
    check,
    ({ handle }, checked) => commitCheckpoint(handle, checked, "admin"),
  );
}

/**
 * Moves the end of a checkpoint.
 *
 * @param options `lifetimeMillis` has to be given; null = it does not end by itself
 * @throws InvalidArgument "checkpoint-missing" when it is gone or has ended
 */
export function refreshCheckpoint(
  location: Location,
  id: string,
  options: CheckpointLifetime & AdminOptions,
): Promise<Checkpoint> {
  const check = (given: CheckpointLifetime) => ({ id: checkedId(id), lifetimeMillis: checkedNewLifetime(given) });
  return adminCall(
    location,
    options ?? {},
    LIFETIME_FIELDS,
    check,
    ({ handle }, checked) => commitRefresh(handle, checked.id, checked.lifetimeMillis),
  );
}

/**
 * Lets go of what a checkpoint pins; one that is not there is no error.
 *
 * @throws InvalidArgument "checkpoint-kept" for one that a clone needs, unless `force` is set
 */
export function deleteCheckpoint(
  location: Location,
  id: string,
  options: CheckpointDeletion & AdminOptions = {},
): Promise<void> {
  return adminCall(
    location,
    options,
    DELETION_FIELDS,
    (given) => checkedRemoval(id, given),
    ({ handle }, removal) => Effect.asVoid(handle.commit(removal, "admin")),
  );
}

/**
 * When a sequence number was written, as `db.timeOfSeq` tells it; here only rows in tables have samples.
 *
 * @returns ms since 1970, whole seconds; undefined when there is no sample on that side
 */
export function timeOfSeq(
  location: Location,
  seq: number,
  round: Rounding,
  options: AdminOptions = {},
): Promise<number | undefined> {
  return adminCall(
    location,
    options,
    [],
    () => checkSeqLookup(seq, round),
    ({ handle }) => Effect.sync(() => timeOf(samplesOf(handle.current), seq, round)),
  );
}

/**
 * Which sequence number was newest at a time (ms since 1970), as `db.seqAtTime` tells it; here only rows in tables have
 * samples.
 */
export function seqAtTime(
  location: Location,
  millis: number,
  round: Rounding,
  options: AdminOptions = {},
): Promise<number | undefined> {
  return adminCall(
    location,
    options,
    [],
    () => checkTimeLookup(millis, round),
    ({ handle }) => Effect.sync(() => seqAt(samplesOf(handle.current), millis, round)),
  );
}
