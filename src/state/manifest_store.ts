/**
 * The stored versions of the manifest: read the newest, read one, create the next.
 *
 * Versions are numbered objects that are never changed. "The next number is free" is proven by a conditional create
 * alone; "there is nothing newer" is proven by a missing next object only while the known one was seen as newest less
 * than 30 s ago, else by a listing (K-38): later versions may exist while the ones in between were collected.
 * No cache ever stands between this module and the store (K-3).
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { DataError, FormatError, type StoreError } from "../errors.ts";
import { decodeManifest, encodeManifest } from "../format/manifest_codec.ts";
import { folderPath, MANIFEST_DIR, manifestPath, parseNumberedName } from "../format/paths.ts";
import type { Manifest } from "../format/types.ts";
import { listAll } from "../store/list_all.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";

/** How long "seen as newest" stays good evidence: below every collector's minimum age. */
export const FRESH_MILLIS = 30_000;
/** How many ids above the known one are probed before listing. */
const PROBES_MAX = 4;
/** How often a listing may meet a version that is gone when read. */
const LIST_ATTEMPTS_MAX = 8;

/** One stored version. */
export interface StoredManifest {
  /** Number of the version, from 1. */
  readonly id: number;
  readonly manifest: Manifest;
  /** Engine time (the larger of what wall and monotonic clock say) when it was last known to be the newest. */
  readonly seenNewestAt: EngineTime;
}

/** A reading of both clocks, ms. */
export interface EngineTime {
  readonly wall: number;
  readonly monotonic: number;
}

/** Reads both clocks. */
export const engineTime: Effect.Effect<EngineTime> = Clock.clockWith((clock) =>
  Effect.sync(() => ({
    wall: clock.currentTimeMillisUnsafe(),
    monotonic: Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n),
  }))
);

/**
 * Time passed between two readings, ms: the larger of the two clocks' answers. The monotonic clock stands still while
 * a machine sleeps, the wall clock may be set back.
 */
export function elapsedMillis(from: EngineTime, to: EngineTime): number {
  return Math.max(to.wall - from.wall, to.monotonic - from.monotonic);
}

/** The manifest versions below one database root. */
export class ManifestStore {
  readonly #store: ObjectStoreShape;
  readonly root: string;

  constructor(store: ObjectStoreShape, root: string) {
    this.#store = store;
    this.root = root;
  }

  /** Name of version `id`. */
  pathOf(id: number): string {
    return manifestPath(this.root, id);
  }

  /** The newest version by listing, or undefined when there is none. */
  readonly newest: Effect.Effect<StoredManifest | undefined, StoreError | DataError> = Effect.suspend(() =>
    this.#listNewest(undefined)
  );

  /** One version; fails with `DataError` "missing-object" when it is not there. */
  read(id: number): Effect.Effect<StoredManifest, StoreError | DataError> {
    return Effect.flatMap(this.#tryRead(id), (found) =>
      found === undefined
        ? Effect.fail(
          new DataError({
            object: manifestPath(this.root, id),
            section: "manifest",
            offset: 0,
            reason: "missing-object",
          }),
        )
        : Effect.succeed(found));
  }

  /** The newest version, given a known one: probes the ids above it, or lists. Answers the known one when it still is. */
  newerThan(known: StoredManifest): Effect.Effect<StoredManifest, StoreError | DataError> {
    return Effect.flatMap(
      engineTime,
      (now) =>
        elapsedMillis(known.seenNewestAt, now) < FRESH_MILLIS
          ? this.#probe(known, now)
          : Effect.map(this.#listNewest(known.id), (newer) => newer ?? { ...known, seenNewestAt: now }),
    );
  }

  /**
   * Creates version `base.id + 1` (`base` undefined: version 1). "exists" means that somebody else was first, or that
   * this create came too late to trust (K-3): take the newest version and decide anew.
   */
  createNext(
    base: StoredManifest | undefined,
    manifest: Manifest,
  ): Effect.Effect<StoredManifest | "exists", StoreError | DataError> {
    return Effect.gen({ self: this }, function* () {
      let started = yield* engineTime;
      let basis = base?.seenNewestAt ?? started;
      if (base !== undefined && elapsedMillis(basis, started) >= FRESH_MILLIS) {
        const newest = yield* this.newerThan(base);
        if (newest.id !== base.id) return "exists";
        basis = newest.seenNewestAt;
        started = yield* engineTime;
      }
      const id = (base?.id ?? 0) + 1;
      const answer = yield* this.#store.putIfAbsent(manifestPath(this.root, id), encodeManifest(manifest));
      if (answer === "exists") return "exists";
      const ended = yield* engineTime;
      if (base !== undefined && elapsedMillis(basis, ended) >= FRESH_MILLIS) {
        const newer = yield* this.#listNewest(id);
        if (newer !== undefined) return "exists";
      }
      // The put may have taken effect at any moment since it began: no later time is proven.
      return { id, manifest, seenNewestAt: started };
    });
  }

  #probe(known: StoredManifest, now: EngineTime): Effect.Effect<StoredManifest, StoreError | DataError> {
    return Effect.gen({ self: this }, function* () {
      let newest: StoredManifest = { ...known, seenNewestAt: now };
      for (let i = 0; i < PROBES_MAX; i++) {
        const next = yield* this.#tryRead(newest.id + 1);
        if (next === undefined) return newest;
        newest = next;
      }
      return (yield* this.#listNewest(newest.id)) ?? newest;
    });
  }

  #tryRead(id: number): Effect.Effect<StoredManifest | undefined, StoreError | DataError> {
    const path = manifestPath(this.root, id);
    return Effect.gen({ self: this }, function* () {
      const seenNewestAt = yield* engineTime;
      const bytes = yield* this.#store.get(path).pipe(
        Effect.catch((error) => error.reason === "not-found" ? Effect.succeed(undefined) : Effect.fail(error)),
      );
      if (bytes === undefined) return undefined;
      try {
        return { id, manifest: decodeManifest(bytes).manifest, seenNewestAt };
      } catch (error) {
        if (error instanceof FormatError) return yield* error.toDataError(path);
        throw error;
      }
    });
  }

  /** The newest version above `after`, or undefined when the listing shows none. */
  #listNewest(after: number | undefined): Effect.Effect<StoredManifest | undefined, StoreError | DataError> {
    const folder = folderPath(this.root, MANIFEST_DIR);
    return Effect.gen({ self: this }, function* () {
      for (let attempt = 0; attempt < LIST_ATTEMPTS_MAX; attempt++) {
        let greatest = after ?? 0;
        yield* listAll(
          this.#store,
          folder,
          after === undefined ? undefined : manifestPath(this.root, after),
          (object) => {
            const id = parseNumberedName(object.path);
            if (id !== undefined && id > greatest && object.path === this.pathOf(id)) greatest = id;
          },
        );
        if (greatest === (after ?? 0)) return undefined;
        const found = yield* this.#tryRead(greatest);
        if (found !== undefined) return found;
      }
      return yield* new DataError({
        object: folder,
        section: "manifest",
        offset: 0,
        reason: "missing-object",
        detail: `the newest listed version was gone ${LIST_ATTEMPTS_MAX} times in a row`,
      });
    });
  }
}
