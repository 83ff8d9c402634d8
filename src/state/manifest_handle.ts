/**
 * A process's own copy of the manifest and the only way it commits changes: one at a time, on the freshest version.
 *
 * A commit edits the freshest known version and creates the next number. When that number is taken, somebody else
 * committed first: the newest version is read and the edit is made again on the fresh copy. So whatever an edit checks
 * in the copy it is given (an epoch, a table that must still be there) holds at the moment of the commit.
 *
 * The writer's handle is fenced: a greater writer epoch in any version it meets means that another writer took over, and
 * nothing is ever written after that was seen. Readers, collectors and standalone compactors use unfenced handles.
 *
 * Invariants: F1 after another process has claimed a greater epoch, no commit of the writer before succeeds; G2 what the
 * writer commits has the gate exactly when something needs it, judged on the copy that is committed.
 *
 * @module
 */
import { Effect, Semaphore } from "effect";
import { Closed, DataError, type StoreError } from "../errors.ts";
import { manifestPath } from "../format/paths.ts";
import type { Manifest } from "../format/types.ts";
import { assertSuccessor, type Author } from "./manifest_invariants.ts";
import type { ManifestEdit } from "./manifest_edits.ts";
import { withGate } from "./range_gate.ts";
import type { ManifestStore, StoredManifest } from "./manifest_store.ts";
import { elapsedMillis, engineTime } from "./numbered_versions.ts";

/** Everything a manifest request can fail with; `Closed` only on a fenced handle. */
export type ManifestFault = StoreError | DataError | Closed;

/** The error of a writer that was superseded. */
export function fencedError(found: number, own: number): Closed {
  return new Closed({
    reason: "fenced",
    message: `Closed: another writer took over (epoch ${found}, ours was ${own}). ` +
      "Nothing was written since; open the database again only if this process should be the writer",
  });
}

/** The stored manifest as one process sees and changes it. */
export class ManifestHandle {
  readonly #versions: ManifestStore;
  readonly #lock = Semaphore.makeUnsafe(1);
  readonly #onChange: (stored: StoredManifest) => void;
  readonly #fenced: boolean;
  readonly #needsGate: ((next: Manifest) => boolean) | undefined;
  #stored: StoredManifest;
  /** Writer epoch at the start: on a fenced handle the one this process claimed. */
  readonly epoch: number;

  /**
   * @param stored the version to start from; on a fenced handle the one that claimed the epoch
   * @param fenced whether a greater writer epoch ends this handle
   * @param onChange called with each newer version, before the call that found or made it answers
   * @param needsGate whether the gate must stand when this becomes the newest version; asked about what a writer commits
   */
  constructor(
    versions: ManifestStore,
    stored: StoredManifest,
    fenced: boolean,
    onChange: (stored: StoredManifest) => void = () => {},
    needsGate?: (next: Manifest) => boolean,
  ) {
    this.#versions = versions;
    this.#stored = stored;
    this.#fenced = fenced;
    this.#onChange = onChange;
    this.#needsGate = needsGate;
    this.epoch = stored.manifest.writerEpoch;
  }

  /** The versions below. */
  get versions(): ManifestStore {
    return this.#versions;
  }

  /** The newest version this process knows. */
  get stored(): StoredManifest {
    return this.#stored;
  }

  /** Value of {@linkcode stored}. */
  get current(): Manifest {
    return this.#stored.manifest;
  }

  /** Time since the known version was last known to be the newest, ms. */
  readonly sinceObserved: Effect.Effect<number> = Effect.suspend(() =>
    Effect.map(engineTime, (now) => elapsedMillis(this.#stored.seenNewestAt, now))
  );

  /** Makes sure that the known version is the newest; a fenced handle fails when a greater epoch is stored. */
  readonly refresh: Effect.Effect<StoredManifest, ManifestFault> = Effect.suspend(() =>
    this.#lock.withPermit(this.#refresh)
  );

  /**
   * Commits `edit`; answers the version that contains it. Waits for a commit in flight.
   *
   * @param author who edits: what it may change is checked (a broken rule is a defect)
   */
  commit<E extends Error = never>(
    edit: ManifestEdit<E>,
    author: Author = "writer",
  ): Effect.Effect<StoredManifest, ManifestFault | E> {
    return this.#lock.withPermit(Effect.gen({ self: this }, function* () {
      while (true) {
        const base = this.#stored;
        const edited = edit(base.manifest, base.id);
        if (edited === undefined) return base;
        if (edited instanceof Error) return yield* Effect.fail(edited);
        const next = author === "writer" ? this.#gated(edited) : edited;
        if (next === base.manifest) return base;
        assertSuccessor(base.manifest, next, author);
        const answer = yield* this.#versions.createNext(base, next);
        if (answer !== "exists") {
          this.#adopt(answer);
          return answer;
        }
        yield* this.#refreshAfterConflict(base);
      }
    }));
  }

  #gated(edited: Manifest): Manifest {
    return this.#needsGate === undefined ? edited : withGate(edited, this.#needsGate(edited));
  }

  readonly #refresh: Effect.Effect<StoredManifest, ManifestFault> = Effect.suspend(() =>
    Effect.flatMap(this.#versions.newerThan(this.#stored), (newest) => this.#accept(newest))
  );

  /** The id after `base` is taken, so a version that is not newer than `base` would be a lie of the store. */
  #refreshAfterConflict(base: StoredManifest): Effect.Effect<StoredManifest, ManifestFault> {
    return Effect.gen({ self: this }, function* () {
      let newest = yield* this.#versions.newerThan(base);
      if (newest.id === base.id) newest = yield* this.#versions.newerThan({ ...base, seenNewestAt: STALE });
      if (newest.id > base.id) return yield* this.#accept(newest);
      return yield* new DataError({
        object: manifestPath(this.#versions.root, base.id + 1),
        section: "manifest",
        offset: 0,
        reason: "missing-object",
        detail: "the store refuses to create this version and does not list it",
      });
    });
  }

  #accept(newest: StoredManifest): Effect.Effect<StoredManifest, ManifestFault> {
    const found = newest.manifest.writerEpoch;
    if (found > this.epoch && this.#fenced) return Effect.fail(fencedError(found, this.epoch));
    if (found < this.epoch) {
      return Effect.fail(
        new DataError({
          object: manifestPath(this.#versions.root, newest.id),
          section: "manifest",
          offset: 0,
          reason: "malformed",
          detail: `writer epoch ${found} is below ${this.epoch}, which was stored before`,
        }),
      );
    }
    if (newest.manifest.initialized && isOther(this.current, newest.manifest)) {
      return Effect.fail(
        new DataError({
          object: manifestPath(this.#versions.root, newest.id),
          section: "manifest",
          offset: 0,
          reason: "not-initialized",
          detail: "the clone that was here was deleted, and another database made in its place; open that one",
        }),
      );
    }
    this.#adopt(newest);
    return Effect.succeed(newest);
  }

  #adopt(newest: StoredManifest): void {
    const changed = newest.id !== this.#stored.id;
    this.#stored = newest;
    if (changed) this.#onChange(newest);
  }
}

/** Whether `later` is no version of the clone of `known`: rows are never taken back, external databases never added. */
function isOther(known: Manifest, later: Manifest): boolean {
  if (known.externalDbs.length === 0) return false;
  return later.lastL0Seq < known.lastL0Seq ||
    later.externalDbs.some((db) =>
      !known.externalDbs.some((one) =>
        one.path === db.path && one.sourceCheckpointId === db.sourceCheckpointId &&
        one.finalCheckpointId === db.finalCheckpointId
      )
    );
}

/** A reading so old that it proves nothing: forces a listing. */
const STALE = { wall: -Infinity, monotonic: -Infinity };
