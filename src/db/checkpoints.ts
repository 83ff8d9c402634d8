/**
 * Checkpoints: making, listing, refreshing and deleting them, by the open writer and from outside.
 *
 * A checkpoint pins the manifest version that contains it, and with it every table that version names and the log
 * between its replay boundary and the newest WAL id it knows. Only the writer knows how far the log is stored: its
 * commits say so, so that its checkpoints hold everything durable. One made from outside holds what the newest version
 * says, which may end before the newest durable rows of a live or crashed writer.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { Ids, mintUuid } from "../env/ids.ts";
import { Closed, type DbError, InvalidArgument } from "../errors.ts";
import type { SequenceTracker } from "../format/sequence_tracker.ts";
import type { CheckpointRecord, Uuid } from "../format/types.ts";
import { isUuid } from "../format/ulid.ts";
import {
  addCheckpoint,
  addCheckpointFrom,
  coveringWal,
  refreshCheckpoint,
  removeCheckpoint,
  removeUnlessKept,
  unlessDeleted,
} from "../state/checkpoint_edits.ts";
import type { ManifestEdit } from "../state/manifest_edits.ts";
import type { ManifestFault, ManifestHandle } from "../state/manifest_handle.ts";
import type { Author } from "../state/manifest_invariants.ts";
import { withDeadline } from "./admin.ts";
import type {
  Checkpoint,
  CheckpointDeletion,
  CheckpointFilter,
  CheckpointLifetime,
  CheckpointOptions,
  Rounding,
} from "./admin_api.ts";
import { badOption, checkFields } from "./call_options.ts";
import type { Engine } from "./engine.ts";
import { surfaced } from "./reads.ts";
import { checkSeqLookup, checkTimeLookup, samplesOf, seqAt, timeOf } from "./sequence_time.ts";

/** Names of {@linkcode CheckpointOptions}. */
export const CHECKPOINT_FIELDS: ReadonlyArray<keyof CheckpointOptions> = ["scope", "lifetimeMillis", "name", "source"];
/** Names of {@linkcode CheckpointFilter}. */
export const FILTER_FIELDS: ReadonlyArray<keyof CheckpointFilter> = ["name"];
/** Names of {@linkcode CheckpointLifetime}. */
export const LIFETIME_FIELDS: ReadonlyArray<keyof CheckpointLifetime> = ["lifetimeMillis"];
/** Names of {@linkcode CheckpointDeletion}. */
export const DELETION_FIELDS: ReadonlyArray<keyof CheckpointDeletion> = ["force"];

/** The stored time of an end has 32 bits of seconds. */
const END_MAX_MILLIS = 0xffffffff * 1000;
const NAME_LENGTH_MAX = 1024;

/** Options of a checkpoint, checked, with the defaults filled in. */
export interface CheckedCheckpoint {
  readonly scope: "all" | "durable" | undefined;
  /** Infinity = does not end by itself. */
  readonly lifetimeMillis: number;
  readonly name: string | undefined;
  readonly source: Uuid | undefined;
}

/** Checks the values of the options, not their names. @throws InvalidArgument reason "options" */
export function checkedCheckpoint(options: CheckpointOptions): CheckedCheckpoint {
  const { scope, name, source } = options;
  if (scope !== undefined && scope !== "all" && scope !== "durable") throw badOption("scope", '"all" or "durable"');
  const lifetimeMillis = checkedLifetime(options);
  if (name !== undefined) checkName(name);
  return { scope, lifetimeMillis, name, source: source === undefined ? undefined : checkedId(source) };
}

/** How long a checkpoint shall live, ms; Infinity = until it is deleted. @throws InvalidArgument reason "options" */
export function checkedLifetime({ lifetimeMillis }: CheckpointOptions): number {
  if (lifetimeMillis === undefined) return Infinity;
  if (typeof lifetimeMillis !== "number" || !(lifetimeMillis >= 1000) || lifetimeMillis > END_MAX_MILLIS) {
    throw badOption(
      "lifetimeMillis",
      `milliseconds from 1000 to ${END_MAX_MILLIS}, or leave it out for a checkpoint that does not end by itself`,
    );
  }
  return lifetimeMillis;
}

/** How long a checkpoint goes on living, as above; leaving it out does not mean for ever. @throws as above */
export function checkedNewLifetime({ lifetimeMillis }: CheckpointLifetime): number {
  if (lifetimeMillis === null) return Infinity;
  if (lifetimeMillis !== undefined) return checkedLifetime({ lifetimeMillis });
  throw badOption(
    "lifetimeMillis",
    `how long the checkpoint goes on living, milliseconds from 1000 to ${END_MAX_MILLIS}, or null for one that does ` +
      "not end by itself. It cannot be left out",
  );
}

/** What deletes a checkpoint. @throws InvalidArgument reason "options" */
export function checkedRemoval(id: string, { force }: CheckpointDeletion): ManifestEdit<InvalidArgument> {
  if (force !== undefined && typeof force !== "boolean") throw badOption("force", "true or false");
  return force === true ? removeCheckpoint(checkedId(id)) : removeUnlessKept(checkedId(id));
}

/** The filter of a listing. @throws InvalidArgument reason "options" */
export function checkedFilter({ name }: CheckpointFilter): string | undefined {
  if (name !== undefined && typeof name !== "string") throw badOption("name", 'a text; "" for those without a name');
  return name;
}

/** The id of a checkpoint as it is stored. @throws InvalidArgument reason "options" */
export function checkedId(id: string): Uuid {
  const text = typeof id === "string" ? id.toLowerCase() : "";
  if (isUuid(text)) return text;
  throw new InvalidArgument({
    reason: "options",
    message:
      `${JSON.stringify(String(id).slice(0, 60))} is not the id of a checkpoint: give the UUID that its making ` +
      "or the list of checkpoints answered",
  });
}

function checkName(name: string): void {
  const fits = typeof name === "string" && name.length > 0 && name.length <= NAME_LENGTH_MAX && name.isWellFormed();
  if (!fits) throw badOption("name", `a text of 1 to ${NAME_LENGTH_MAX} characters, or leave it out`);
}

/** The public form of a stored checkpoint. */
export function checkpointOf(record: CheckpointRecord): Checkpoint {
  const { id, manifestId, createTimeSeconds, expireTimeSeconds, name } = record;
  return {
    id,
    manifestId,
    createdAt: createTimeSeconds * 1000,
    ...(expireTimeSeconds === 0 ? {} : { expiresAt: expireTimeSeconds * 1000 }),
    ...(name === undefined ? {} : { name }),
  };
}

/** Commits a new checkpoint. */
export function commitCheckpoint(
  handle: ManifestHandle,
  { lifetimeMillis, name, source }: CheckedCheckpoint,
  author: Author,
  lastWalId?: () => number,
): Effect.Effect<Checkpoint, ManifestFault | InvalidArgument> {
  return Effect.gen(function* () {
    const nowMillis = Math.floor(yield* Clock.currentTimeMillis);
    if (lifetimeMillis !== Infinity && nowMillis + lifetimeMillis > END_MAX_MILLIS) {
      return yield* badOption("lifetimeMillis", "a time that ends before February 2106, or leave it out");
    }
    const made = { id: mintUuid(yield* Ids), nowMillis, lifetimeMillis, name };
    const plain: ManifestEdit<InvalidArgument> = source === undefined
      ? addCheckpoint(made)
      : addCheckpointFrom(made, source);
    const edit = unlessDeleted(lastWalId === undefined ? plain : coveringWal(plain, lastWalId));
    const stored = yield* handle.commit(edit, author);
    return checkpointOf(stored.manifest.checkpoints.find((one) => one.id === made.id)!);
  });
}

/** The checkpoints of the newest stored version, in the order of their making; those that have ended among them. */
export function readCheckpoints(
  handle: ManifestHandle,
  name: string | undefined,
): Effect.Effect<ReadonlyArray<Checkpoint>, ManifestFault> {
  return Effect.map(handle.refresh, ({ manifest }) => selected(manifest.checkpoints, name));
}

/** The public form of those with the name; "" = those without one, undefined = all. */
export function selected(
  records: ReadonlyArray<CheckpointRecord>,
  name: string | undefined,
): ReadonlyArray<Checkpoint> {
  return records.filter((one) => name === undefined || (one.name ?? "") === name).map(checkpointOf);
}

/** Commits a new end of a checkpoint; one that is gone or has ended is refused. */
export function commitRefresh(
  handle: ManifestHandle,
  id: Uuid,
  lifetimeMillis: number,
): Effect.Effect<Checkpoint, ManifestFault | InvalidArgument> {
  return Effect.gen(function* () {
    const nowMillis = Math.floor(yield* Clock.currentTimeMillis);
    if (lifetimeMillis !== Infinity && nowMillis + lifetimeMillis > END_MAX_MILLIS) {
      return yield* badOption("lifetimeMillis", "a time that ends before February 2106, or leave it out");
    }
    const stored = yield* handle.commit(unlessDeleted(refreshCheckpoint(id, nowMillis, lifetimeMillis)), "admin");
    return checkpointOf(stored.manifest.checkpoints.find((one) => one.id === id)!);
  });
}

/** The checkpoints and the sequence samples of an open writer. */
export class WriterCheckpoints {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Flushes what the scope asks for, and pins the result. */
  make(options: CheckpointOptions = {}): Effect.Effect<Checkpoint, DbError> {
    const { manifest, state } = this.#engine.parts;
    return surfaced(Effect.suspend(() => {
      this.#engine.assertOpen();
      checkFields(options, new Set(CHECKPOINT_FIELDS));
      const checked = checkedCheckpoint(options);
      const commit = commitCheckpoint(manifest, checked, "writer", () => state.ledger.lastId);
      if (checked.source !== undefined) return this.#fresh(commit);
      const pin = this.#bounded(commit);
      return checked.scope === "durable" ? pin : Effect.andThen(this.#engine.flush("memtable"), pin);
    }));
  }

  /** All of them, or those with a name. */
  list(filter: CheckpointFilter = {}): Effect.Effect<ReadonlyArray<Checkpoint>, DbError> {
    return surfaced(Effect.suspend(() => {
      this.#engine.assertOpen();
      checkFields(filter, new Set(FILTER_FIELDS));
      return this.#bounded(readCheckpoints(this.#engine.parts.manifest, checkedFilter(filter)));
    }));
  }

  /** Moves the end of one. */
  refresh(id: string, options: CheckpointLifetime): Effect.Effect<Checkpoint, DbError> {
    return surfaced(Effect.suspend(() => {
      this.#engine.assertOpen();
      const given = options ?? {};
      checkFields(given, new Set(LIFETIME_FIELDS));
      return this.#fresh(commitRefresh(this.#engine.parts.manifest, checkedId(id), checkedNewLifetime(given)));
    }));
  }

  /** Takes one away. */
  remove(id: string, options: CheckpointDeletion = {}): Effect.Effect<void, DbError> {
    return surfaced(Effect.suspend(() => {
      this.#engine.assertOpen();
      checkFields(options, new Set(DELETION_FIELDS));
      const edit = checkedRemoval(id, options);
      return this.#fresh(Effect.asVoid(this.#engine.parts.manifest.commit(edit, "admin")));
    }));
  }

  /** When a number was written. */
  timeOfSeq(seq: number, round: Rounding): Effect.Effect<number | undefined, DbError> {
    return surfaced(Effect.sync(() => {
      this.#engine.assertOpen();
      checkSeqLookup(seq, round);
      return timeOf(this.#samples(), seq, round);
    }));
  }

  /** Which number was newest at a time. */
  seqAtTime(millis: number, round: Rounding): Effect.Effect<number | undefined, DbError> {
    return surfaced(Effect.sync(() => {
      this.#engine.assertOpen();
      checkTimeLookup(millis, round);
      return seqAt(this.#samples(), millis, round);
    }));
  }

  #samples(): SequenceTracker {
    const { state } = this.#engine.parts;
    return samplesOf(state.stored.manifest, [...state.frozen.map((table) => table.memtable), state.active]);
  }

  /** On the newest version: what somebody else has made since must not pass for missing. */
  #fresh<A, E>(commit: Effect.Effect<A, E>): Effect.Effect<A, unknown> {
    return this.#bounded(Effect.andThen(this.#engine.parts.manifest.refresh, commit));
  }

  /** With the deadline of calls; a writer that learns here of its successor closes. */
  #bounded<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, unknown> {
    const { options, supervisor } = this.#engine.parts;
    return Effect.tapError(withDeadline(effect, options.requestTimeoutMillis), (error) =>
      Effect.sync(() => {
        if (error instanceof Closed) supervisor.close(error);
      }));
  }
}
