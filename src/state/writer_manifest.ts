/**
 * The writer's own copy of the manifest and the only way it commits changes: one at a time, under its epoch.
 *
 * A commit edits the freshest known version and creates the next number. When that number is taken, somebody else
 * committed first: the newest version is read, a greater writer epoch means that this writer is fenced, otherwise the
 * edit is made again on the fresh copy. Nothing is ever written after "fenced" was seen.
 *
 * Invariant F1: after another process has claimed a greater epoch, no commit of this one succeeds.
 *
 * @module
 */
import { Effect, Semaphore } from "effect";
import { Closed, DataError, type StoreError } from "../errors.ts";
import { manifestPath } from "../format/paths.ts";
import type { Manifest } from "../format/types.ts";
import { assertSuccessor } from "./manifest_invariants.ts";
import type { ManifestEdit } from "./manifest_edits.ts";
import { elapsedMillis, engineTime, type ManifestStore, type StoredManifest } from "./manifest_store.ts";

/** Everything a manifest request of the writer can fail with. */
export type ManifestFault = StoreError | DataError | Closed;

/** The error of a writer that was superseded. */
export function fencedError(found: number, own: number): Closed {
  return new Closed({
    reason: "fenced",
    message: `Closed: another writer took over (epoch ${found}, ours was ${own}). ` +
      "Nothing was written since; open the database again only if this process should be the writer",
  });
}

/** The stored manifest as the one writer of a database sees and changes it. */
export class WriterManifest {
  readonly #versions: ManifestStore;
  readonly #lock = Semaphore.makeUnsafe(1);
  readonly #onChange: (stored: StoredManifest) => void;
  #stored: StoredManifest;
  /** Epoch this writer claimed. */
  readonly epoch: number;

  /**
   * @param stored the version that claimed the epoch
   * @param onChange called with each newer version, before the call that found or made it answers
   */
  constructor(versions: ManifestStore, stored: StoredManifest, onChange: (stored: StoredManifest) => void) {
    this.#versions = versions;
    this.#stored = stored;
    this.#onChange = onChange;
    this.epoch = stored.manifest.writerEpoch;
  }

  /** The newest version this process knows. */
  get stored(): StoredManifest {
    return this.#stored;
  }

  /** Value of {@linkcode stored}. */
  get current(): Manifest {
    return this.#stored.manifest;
  }

  /** Time since this writer last knew that its epoch is the newest, ms. */
  readonly sinceObserved: Effect.Effect<number> = Effect.suspend(() =>
    Effect.map(engineTime, (now) => elapsedMillis(this.#stored.seenNewestAt, now))
  );

  /** Makes sure that the known version is the newest; fails when a greater epoch is stored. */
  readonly refresh: Effect.Effect<StoredManifest, ManifestFault> = Effect.suspend(() =>
    this.#lock.withPermit(this.#refresh)
  );

  /** Commits `edit`; answers the version that contains it. Waits for a commit in flight. */
  commit(edit: ManifestEdit): Effect.Effect<StoredManifest, ManifestFault> {
    return this.#lock.withPermit(Effect.gen({ self: this }, function* () {
      while (true) {
        const base = this.#stored;
        const next = edit(base.manifest);
        if (next === undefined) return base;
        assertSuccessor(base.manifest, next);
        const answer = yield* this.#versions.createNext(base, next);
        if (answer !== "exists") {
          this.#adopt(answer);
          return answer;
        }
        yield* this.#refreshAfterConflict(base);
      }
    }));
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
    if (found > this.epoch) return Effect.fail(fencedError(found, this.epoch));
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
    this.#adopt(newest);
    return Effect.succeed(newest);
  }

  #adopt(newest: StoredManifest): void {
    const changed = newest.id !== this.#stored.id;
    this.#stored = newest;
    if (changed) this.#onChange(newest);
  }
}

/** A reading so old that it proves nothing: forces a listing. */
const STALE = { wall: -Infinity, monotonic: -Infinity };
