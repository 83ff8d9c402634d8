/**
 * One look at the store by a reader: new WAL objects, the newest manifest, its checkpoint.
 *
 * The order is WAL objects first, then the manifest, then what was read is shown. It decides what may be believed: an
 * object above the replay boundary of a manifest that was read after it cannot be a zombie's stray, since no collector
 * had deleted anything there yet; what lies at or below that boundary is not looked at, its rows are in tables
 * (`wal_ahead.ts`). An id that is missing above the boundary was not written yet; one at or below it was collected, and
 * the look goes on behind the boundary.
 *
 * A managed reader puts its checkpoint on the version first and shows that version's tables then, so that they cannot
 * vanish in between. A follower writes nothing.
 *
 * An idle look costs two requests: the next WAL object and the next manifest, both missing.
 *
 * @module
 */
import { Effect } from "effect";
import { type DataError, Unavailable } from "../errors.ts";
import { walPath } from "../format/paths.ts";
import { WalRows } from "../format/wal_sst.ts";
import type { ExternalRoots } from "../lsm/external_roots.ts";
import type { Memtable } from "../lsm/memtable.ts";
import { decode } from "../lsm/read_error.ts";
import type { ManifestHandle } from "../state/manifest_handle.ts";
import { unlessDeleted } from "../state/checkpoint_edits.ts";
import type { StoredManifest } from "../state/manifest_store.ts";
import { type ReaderPins, sameTables } from "../state/reader_pins.ts";
import { type ReaderState, RowsAfter } from "../state/reader_state.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { notInitialized } from "./recovery.ts";
import { fetchWalAhead, readWal, type WalBatch, type WalBody } from "./wal_ahead.ts";
import { WalReplay } from "./wal_rows.ts";

/** Batches of one look, at most: a writer that never rests must not keep those who wait for the look. */
const BATCHES_MAX = 64;
/** Commits of one look, at most: each further one means that a lost answer made the one before useless. */
const COMMITS_MAX = 4;
/** Rows copied in one go when a memtable is cut down to what is not in tables. */
const ROWS_PER_SLICE = 4096;

const NO_LOG: WalBatch = { bodies: [], missing: Infinity };

/** What a look works with. */
export interface FollowSpec {
  readonly root: string;
  readonly handle: ManifestHandle;
  readonly state: ReaderState;
  readonly external: ExternalRoots;
  /** Where the log is; undefined when it is not to be read. */
  readonly wal: ObjectStoreShape | undefined;
  /** The reader's checkpoints; undefined for one that never writes. */
  readonly pins: ReaderPins | undefined;
  /** Wall time, ms. */
  readonly now: () => number;
}

/** Whether a look met the end of the log, or there is more to do at once. */
export type LookResult = "done" | "more";

/** Looks once; the state then shows everything that was durable when it began, unless it answers "more". */
export function look(spec: FollowSpec): Effect.Effect<LookResult, unknown> {
  return Effect.gen(function* () {
    const { state } = spec;
    for (let batches = 0; batches < BATCHES_MAX; batches++) {
      const batch = yield* fetchLog(spec);
      yield* catchUp(spec);
      yield* replayBatch(spec, batch);
      if (batch.missing !== undefined && batch.missing > state.walId) return "done";
    }
    return "more";
  });
}

/** The first look, on a state whose manifest (and checkpoint) is fresh: without news in the log nothing is read twice. */
export function firstLook(spec: FollowSpec): Effect.Effect<LookResult, unknown> {
  return Effect.gen(function* () {
    const batch = yield* fetchLog(spec);
    if (batch.bodies.length === 0) return "done";
    yield* catchUp(spec);
    yield* replayBatch(spec, batch);
    return batch.missing !== undefined && batch.missing > spec.state.walId ? "done" : yield* look(spec);
  });
}

function fetchLog({ wal, root, state }: FollowSpec): Effect.Effect<WalBatch, unknown> {
  return wal === undefined ? Effect.succeed(NO_LOG) : fetchWalAhead(wal, root, state.walId + 1);
}

/** Makes the state show the newest manifest version, under a checkpoint of its own where it has any. */
function catchUp(spec: FollowSpec): Effect.Effect<void, unknown> {
  return Effect.gen(function* () {
    const { handle, pins, state } = spec;
    const newest = yield* handle.refresh;
    if (!newest.manifest.initialized) return yield* notInitialized(handle.versions, newest);
    yield* show(spec, pins === undefined ? newest : yield* pin(spec, pins));
    if (pins !== undefined) state.pinnedBy(pins.current);
  });
}

/** Commits what is due about the reader's checkpoints; answers the version that contains the result. */
export function pin(
  { handle, state, now }: Pick<FollowSpec, "handle" | "now"> & { readonly state?: ReaderState | undefined },
  pins: ReaderPins,
): Effect.Effect<StoredManifest, unknown> {
  return Effect.gen(function* () {
    for (let commits = 0; commits < COMMITS_MAX; commits++) {
      const stored = yield* handle.commit(
        unlessDeleted(pins.edit({
          shown: state?.capture.stored.manifest,
          held: state?.heldCheckpoints ?? [],
          nowMillis: now(),
        })),
        "admin",
      );
      if (pins.settle(stored)) return stored;
    }
    return yield* new Unavailable({
      reason: "contended",
      message: `The reader's checkpoint could not be placed in ${COMMITS_MAX} attempts. It is tried again`,
    });
  });
}

/** Swaps the state to a newer version. */
function show(spec: FollowSpec, stored: StoredManifest): Effect.Effect<void, unknown> {
  return Effect.gen(function* () {
    const { state, external } = spec;
    const shown = state.capture.stored;
    if (stored.id === shown.id) return;
    external.adopt(stored.manifest);
    if (sameTables(stored.manifest, shown.manifest)) state.observe(stored);
    else state.adopt(stored, yield* rowsAbove(state.memtables, stored.manifest.lastL0Seq));
  });
}

/** What of the memtables (newest first) is not in tables up to `seq`. */
function rowsAbove(memtables: ReadonlyArray<Memtable>, seq: number): Effect.Effect<Memtable[]> {
  return Effect.gen(function* () {
    const kept: Memtable[] = [];
    for (const memtable of memtables) {
      if (memtable.lastSeq <= seq) continue;
      if (memtable.firstSeq > seq) {
        kept.push(memtable);
        continue;
      }
      const rows = new RowsAfter(memtable, seq);
      while (!rows.step(ROWS_PER_SLICE)) yield* Effect.yieldNow;
      kept.push(rows.copy);
    }
    return kept;
  });
}

/** Inserts what follows on what is shown already. The manifest was read after the batch. */
function replayBatch(spec: FollowSpec, { bodies }: WalBatch): Effect.Effect<void, unknown> {
  return Effect.gen(function* () {
    for (const body of bodies) {
      if (body.id !== spec.state.walId + 1) continue;
      yield* Effect.catch(replayObject(spec, body), (damage) => replayAgain(spec, body.id, damage));
      yield* Effect.yieldNow;
    }
  });
}

/** Inserts the rows of one object; they become visible together. Inserting them a second time does no harm. */
export function replayObject(
  { root, state }: Pick<FollowSpec, "root" | "state">,
  { id, bytes }: WalBody,
): Effect.Effect<void, DataError> {
  return decode(walPath(root, id), 0, () => {
    const object = new WalReplay(new WalRows(bytes), bytes, state.capture.stored.manifest);
    let memtable = state.memtableFor(bytes.length);
    while (!object.insertInto(memtable)) memtable = state.cut();
    state.replayed(id, object.lastSeq);
  });
}

/** Damage is believed when the object is read twice and both times damaged. */
export function replayAgain(
  spec: Pick<FollowSpec, "root" | "state" | "wal">,
  id: number,
  damage: DataError,
): Effect.Effect<void, unknown> {
  return Effect.flatMap(
    readWal(spec.wal!, spec.root, id),
    (bytes) => bytes === undefined ? Effect.fail(damage) : replayObject(spec, { id, bytes }),
  );
}
