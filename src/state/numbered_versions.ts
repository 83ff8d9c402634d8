/**
 * The stored versions of a control object (manifest, compactions): read the newest, read one, create the next.
 *
 * Versions are numbered objects that are never changed. "The next number is free" is proven by a conditional create
 * alone; "there is nothing newer" is proven by a missing next object only while the known one was seen as newest less
 * than 30 s ago, else by a listing (K-38): later versions may exist while the ones in between were collected.
 * No cache ever stands between this module and the store (K-3).
 *
 * A create that came late is verified: by a listing, and against the boundary file that newer engines keep, which
 * declares all ids up to its number dead.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { DataError, FormatError, type StoreError } from "../errors.ts";
import { boundaryPath, folderPath, parseBoundary, parseNumberedName } from "../format/paths.ts";
import { listAll } from "../store/list_all.ts";
import { ifThere } from "../store/if_there.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";

/** How long "seen as newest" stays good evidence: below every collector's minimum age. */
export const FRESH_MILLIS = 30_000;
/** How many ids above the known one are probed before listing. */
const PROBES_MAX = 4;
/** How often a listing may meet a version that is gone when read. */
const LIST_ATTEMPTS_MAX = 8;

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

/** One stored version. */
export interface Version {
  /** Number of the version, from 1. */
  readonly id: number;
  /** When it was last known to be the newest. */
  readonly seenNewestAt: EngineTime;
  /** When this process had created it; undefined when another did. */
  readonly createdAt?: EngineTime;
}

/** What one kind of control object is made of. */
export interface VersionKind<Value, Stored extends Version> {
  /** What errors call it. */
  readonly section: string;
  /** Its folder below the root. */
  readonly folder: string;
  readonly path: (root: string, id: number) => string;
  readonly encode: (value: Value) => Uint8Array;
  /** Throws FormatError. */
  readonly decode: (bytes: Uint8Array) => Value;
  readonly stored: (version: Version, value: Value) => Stored;
  /** For objects that may end and begin anew at the same place. */
  readonly ending?: {
    /** Whether this version says that there is none any more. */
    readonly isEnd: (stored: Stored) => boolean;
    /** What a new one that begins with `first` has to begin with behind `end`. */
    readonly begin: (end: Stored, first: Value) => Value;
  };
}

/** The versions of one control object below one database root. */
export class NumberedVersions<Value, Stored extends Version> {
  readonly #store: ObjectStoreShape;
  readonly #kind: VersionKind<Value, Stored>;
  readonly root: string;
  /** The end that was found where something is to begin. */
  #end: Stored | undefined = undefined;

  constructor(store: ObjectStoreShape, root: string, kind: VersionKind<Value, Stored>) {
    this.#store = store;
    this.#kind = kind;
    this.root = root;
  }

  /** Name of version `id`. */
  pathOf(id: number): string {
    return this.#kind.path(this.root, id);
  }

  /** The end of what was here before, when {@linkcode newest} last answered that there is none. */
  get end(): Stored | undefined {
    return this.#end;
  }

  /** The newest version by listing, or undefined when there is none (any more). */
  readonly newest: Effect.Effect<Stored | undefined, StoreError | DataError> = Effect.suspend(() =>
    Effect.map(this.#listNewest(undefined), (found) => {
      this.#end = found !== undefined && this.#kind.ending?.isEnd(found) === true ? found : undefined;
      return this.#end === undefined ? found : undefined;
    })
  );

  /** One version; fails with `DataError` "missing-object" when it is not there. */
  read(id: number): Effect.Effect<Stored, StoreError | DataError> {
    return Effect.flatMap(
      this.#tryRead(id),
      (found) => found === undefined ? Effect.fail(this.#missing(this.pathOf(id))) : Effect.succeed(found),
    );
  }

  /** The newest version, given a known one: probes the ids above it, or lists. Answers the known one when it still is. */
  newerThan(known: Stored): Effect.Effect<Stored, StoreError | DataError> {
    return Effect.flatMap(
      engineTime,
      (now) =>
        elapsedMillis(known.seenNewestAt, now) < FRESH_MILLIS
          ? this.#probe(known, now)
          : Effect.map(this.#listNewest(known.id), (newer) => newer ?? { ...known, seenNewestAt: now }),
    );
  }

  /**
   * Creates version `base.id + 1` (`base` undefined: the first one, after {@linkcode newest} answered that there is
   * none). "exists" means that somebody else was first, or that this create came too late to trust (K-3): take the newest
   * version and decide anew.
   */
  createNext(base: Stored | undefined, value: Value): Effect.Effect<Stored | "exists", StoreError | DataError> {
    return Effect.suspend(() => {
      const end = base === undefined ? this.#end : undefined;
      return end === undefined
        ? this.#createAfter(base, value)
        : this.#createAfter(end, this.#kind.ending!.begin(end, value));
    });
  }

  #createAfter(base: Stored | undefined, value: Value): Effect.Effect<Stored | "exists", StoreError | DataError> {
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
      const answer = yield* this.#store.putIfAbsent(this.pathOf(id), this.#kind.encode(value));
      if (answer === "exists") return "exists";
      const createdAt = yield* engineTime;
      if (base !== undefined && elapsedMillis(basis, createdAt) >= FRESH_MILLIS) {
        const newer = yield* this.#listNewest(id);
        if (newer !== undefined || id <= (yield* this.#boundary)) return "exists";
      }
      // The put may have taken effect at any moment since it began: no later time is proven.
      return this.#kind.stored({ id, seenNewestAt: started, createdAt }, value);
    });
  }

  /** Greatest id that a newer engine's collector declared dead; 0 when none did. */
  readonly #boundary: Effect.Effect<number, StoreError> = Effect.suspend(() =>
    Effect.map(
      ifThere(this.#store.get(boundaryPath(this.root, this.#kind.section))),
      (bytes) => bytes === undefined ? 0 : parseBoundary(bytes) ?? 0,
    )
  );

  #probe(known: Stored, now: EngineTime): Effect.Effect<Stored, StoreError | DataError> {
    return Effect.gen({ self: this }, function* () {
      let newest: Stored = { ...known, seenNewestAt: now };
      for (let i = 0; i < PROBES_MAX; i++) {
        const next = yield* this.#tryRead(newest.id + 1);
        if (next === undefined) return newest;
        newest = next;
      }
      return (yield* this.#listNewest(newest.id)) ?? newest;
    });
  }

  #tryRead(id: number): Effect.Effect<Stored | undefined, StoreError | DataError> {
    const path = this.pathOf(id);
    return Effect.gen({ self: this }, function* () {
      const seenNewestAt = yield* engineTime;
      const bytes = yield* ifThere(this.#store.get(path));
      if (bytes === undefined) return undefined;
      try {
        return this.#kind.stored({ id, seenNewestAt }, this.#kind.decode(bytes));
      } catch (error) {
        if (error instanceof FormatError) return yield* error.toDataError(path);
        throw error;
      }
    });
  }

  /** The newest version above `after`, or undefined when the listing shows none. */
  #listNewest(after: number | undefined): Effect.Effect<Stored | undefined, StoreError | DataError> {
    const folder = folderPath(this.root, this.#kind.folder);
    return Effect.gen({ self: this }, function* () {
      for (let attempt = 0; attempt < LIST_ATTEMPTS_MAX; attempt++) {
        let greatest = after ?? 0;
        yield* listAll(
          this.#store,
          folder,
          after === undefined ? undefined : this.pathOf(after),
          (object) => {
            const id = parseNumberedName(object.path);
            if (id !== undefined && id > greatest && object.path === this.pathOf(id)) greatest = id;
          },
        );
        if (greatest === (after ?? 0)) return undefined;
        const found = yield* this.#tryRead(greatest);
        if (found !== undefined) return found;
      }
      return yield* this.#missing(
        folder,
        `the newest listed version was gone ${LIST_ATTEMPTS_MAX} times in a row`,
      );
    });
  }

  #missing(object: string, detail?: string): DataError {
    return new DataError({
      object,
      section: this.#kind.section,
      offset: 0,
      reason: "missing-object",
      ...(detail === undefined ? {} : { detail }),
    });
  }
}
