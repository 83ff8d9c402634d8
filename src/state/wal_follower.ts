/**
 * Reads the write-ahead log object by object, in order, and goes on as it grows.
 *
 * Near the end a look is one GET of the next id. That nothing stands there means "not yet" as long as the last look
 * that said so is younger than any collector's minimum age: what is created later cannot be collected before. For the
 * same reason an object found then is the writer's own. A look that came too late, and everything that lies further
 * back, is proven by a manifest instead: read after the objects, with a replay boundary below them. Objects at or below
 * the boundary need the proof of `wal_feed.ts`; what was proven is recognized by its checksum when it is given out.
 *
 * Between two objects nothing is held but the position, the names and sizes of the objects that were listed behind it,
 * and at most eight objects or 8 MiB read ahead, whatever is less.
 *
 * @module
 */
import { Effect } from "effect";
import { type DataError, type StoreError, Unavailable } from "../errors.ts";
import { walPath } from "../format/paths.ts";
import { decode } from "../lsm/read_error.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { StoredManifest } from "./manifest_store.ts";
import { elapsedMillis, type EngineTime, engineTime, FRESH_MILLIS } from "./numbered_versions.ts";
import {
  type BacklogEntry,
  checksumOf,
  contiguousFrom,
  factsOf,
  fetchTogether,
  goneError,
  holeError,
  type ListedWal,
  repeatedError,
  type WalFacts,
} from "./wal_feed.ts";
import { type FeedFault, type Fetched, WalReading } from "./wal_reading.ts";

/** Time between looks at the manifest while the log is quiet, ms: rows may be written past it, with the WAL off. */
const MANIFEST_LOOK_MILLIS = 20_000;
/** How often the position is sought again without an object given out. */
const SEARCHES_MAX = 8;

/** What a follower works with. */
export interface WalFollowerSpec {
  readonly root: string;
  /** The newest manifest, checked to be one whose log can be read; reads it again at each call. */
  readonly manifest: Effect.Effect<StoredManifest, FeedFault>;
  /** Where the log lives; retries transient faults. */
  readonly wal: ObjectStoreShape;
  /** The listed WAL objects above an id, ascending. */
  readonly list: (after: number) => Effect.Effect<ReadonlyArray<ListedWal>, StoreError>;
  /** First sequence number wanted; undefined for what is written from now on. */
  readonly fromSeq: number | undefined;
  /** Whether to wait for more at the end. */
  readonly follow: boolean;
  /** Time between looks at the end, ms. */
  readonly pollMillis: number;
}

/** An object with rows, at least one of them wanted. */
export interface FollowedObject {
  readonly id: number;
  readonly body: Uint8Array;
  readonly facts: WalFacts;
  /** Rows below this sequence number are not wanted. */
  readonly fromSeq: number;
}

/** A place in the log. Not for concurrent use. */
export class WalFollower {
  readonly #spec: WalFollowerSpec;
  readonly #reading: WalReading;
  /** First sequence number wanted; NaN until it is known. */
  #fromSeq: number;
  /** Next id to give out; 0 before the first search. */
  #nextId = 0;
  /** Largest sequence number in the log below `#nextId`; undefined when not known. */
  #lastSeq: number | undefined = undefined;
  /** An object without rows was passed since `#lastSeq`. */
  #fencePassed = false;
  /** Objects that are proven and wait to be given out. */
  #ready: Fetched[] = [];
  /** Objects known to be there, from `#nextId` on. */
  #backlog: ReadonlyArray<BacklogEntry> = [];
  #mustSearch = true;
  #searches = 0;
  /** When no object from the end of the backlog on had ever been created. */
  #endSeenAt: EngineTime | undefined = undefined;
  /** Last id of the log when the feed began; what does not follow ends there. */
  #lastIdAtStart = -1;
  /** Missing although a later object was listed. */
  #hole: number | undefined = undefined;
  /** Largest sequence number in tables when the manifest was last read, and when that was. */
  #tablesSeq = 0;
  #manifestSeenAt: EngineTime | undefined = undefined;
  /** The last look found something: more may be there. */
  #isBehind = false;

  constructor(spec: WalFollowerSpec) {
    this.#spec = spec;
    this.#reading = new WalReading(spec.root, spec.wal);
    this.#fromSeq = spec.fromSeq ?? NaN;
  }

  /** The next object with wanted rows; undefined at the end of a feed that does not follow. */
  readonly next: Effect.Effect<FollowedObject | undefined, FeedFault> = Effect.suspend(() => this.#advance());

  #advance(): Effect.Effect<FollowedObject | undefined, FeedFault> {
    return Effect.gen({ self: this }, function* () {
      while (true) {
        const fetched = this.#ready.shift();
        if (fetched !== undefined) {
          const object = yield* this.#accept(fetched);
          if (object !== undefined) return object;
        } else if (this.#mustSearch) yield* this.#search;
        else if (this.#backlog.length > 0) yield* this.#fetchBacklog;
        else if (this.#isAtEnd) return undefined;
        else yield* this.#look;
      }
    });
  }

  /** First sequence number that was neither given out nor passed over. */
  get #wanted(): number {
    return this.#lastSeq === undefined ? this.#fromSeq : Math.max(this.#fromSeq, this.#lastSeq + 1);
  }

  /** Whether a feed that does not follow has given out what was there, and nothing went past the log. */
  get #isAtEnd(): boolean {
    return !this.#spec.follow && this.#nextId > this.#lastIdAtStart && this.#tablesSeq < this.#wanted;
  }

  /** Passes over an object, and gives it out when it has wanted rows. */
  #accept({ id, body }: Fetched): Effect.Effect<FollowedObject | undefined, FeedFault> {
    return Effect.gen({ self: this }, function* () {
      const { root } = this.#spec;
      const facts = yield* decode(walPath(root, id), 0, () => factsOf(body));
      const { firstSeq, lastSeq } = facts;
      this.#searches = 0;
      if (lastSeq > 0) {
        const before = this.#lastSeq;
        if (before !== undefined && firstSeq <= before) return yield* repeatedError(root, id, firstSeq, before);
        const skips = before !== undefined && firstSeq > before + 1 && firstSeq > this.#fromSeq;
        if (skips && this.#fencePassed && (yield* this.#readManifest).manifest.lastL0Seq >= firstSeq - 1) {
          return yield* goneError(root, id, "wal-off", this.#wanted, firstSeq);
        }
        this.#lastSeq = lastSeq;
      }
      this.#fencePassed = lastSeq === 0;
      this.#nextId = id + 1;
      return lastSeq < this.#fromSeq || lastSeq === 0 ? undefined : { id, body, facts, fromSeq: this.#fromSeq };
    });
  }

  /** Reads the next objects of the backlog together, and proves them. */
  readonly #fetchBacklog: Effect.Effect<void, FeedFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const group = fetchTogether(this.#backlog);
      const fetched = yield* this.#reading.together(group);
      const live = group.find(({ checksum }) => checksum === undefined);
      const replayAfter = live === undefined ? 0 : (yield* this.#readManifest).manifest.replayAfterWalId;
      const isProven = fetched !== undefined && (live === undefined || replayAfter < live.id) &&
        group.every(({ checksum }, i) => checksum === undefined || checksum === checksumOf(fetched[i]!.body));
      if (!isProven) return this.#searchAgain();
      this.#ready = fetched;
      this.#backlog = this.#backlog.slice(group.length);
    })
  );

  /** One look at the next id, and at the one after it when the last look found something. */
  readonly #look: Effect.Effect<void, FeedFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const begun = yield* engineTime;
      const ids = this.#isBehind ? [this.#nextId, this.#nextId + 1] : [this.#nextId];
      const bodies = yield* Effect.forEach(ids, (id) => this.#reading.get(id), { concurrency: ids.length });
      const ended = yield* engineTime;
      const first = bodies[0];
      const isFresh = isYoung(this.#endSeenAt, ended, FRESH_MILLIS);
      this.#isBehind = first !== undefined;
      if (first !== undefined) {
        if (!isFresh) return this.#searchAgain();
        this.#ready = bodies.flatMap((body, i) => body === undefined ? [] : [{ id: ids[i]!, body }]);
        return;
      }
      const tablesWentPast = this.#tablesSeq >= this.#wanted;
      const isSure = isFresh && !tablesWentPast && this.#hole !== this.#nextId &&
        isYoung(this.#manifestSeenAt, ended, MANIFEST_LOOK_MILLIS);
      if (!isSure) {
        const { replayAfterWalId, lastL0Seq } = (yield* this.#readManifest).manifest;
        if (replayAfterWalId >= this.#nextId) return this.#searchAgain();
        const { root } = this.#spec;
        if (this.#hole === this.#nextId) return yield* holeError(root, this.#nextId);
        if (tablesWentPast) return yield* goneError(root, this.#nextId, "wal-off", this.#wanted, lastL0Seq + 1);
      }
      this.#endSeenAt = begun;
      this.#searches = 0;
      if (this.#tablesSeq < this.#wanted && !this.#isAtEnd) yield* Effect.sleep(this.#spec.pollMillis);
    })
  );

  #searchAgain(): void {
    this.#mustSearch = true;
    this.#backlog = [];
    this.#endSeenAt = undefined;
  }

  /** Finds the object to go on with, and what is known to follow it. */
  readonly #search: Effect.Effect<void, FeedFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      if (this.#searches++ === SEARCHES_MAX) return yield* overtaken();
      const { manifest } = yield* this.#readManifest;
      const begun = yield* engineTime;
      const listed = yield* this.#spec.list(Math.max(this.#nextId, 1) - 1);
      const first = Math.max(manifest.replayAfterWalId + 1, this.#nextId);
      const { objects: live, hole } = contiguousFrom(listed, first);
      const found = yield* Number.isNaN(this.#fromSeq)
        ? this.#startAtEnd(live, first, manifest.lastL0Seq)
        : this.#startAt(listed, live, first, manifest.lastL0Seq);
      const endId = first + live.length;
      const after = (yield* this.#readManifest).manifest;
      if (found !== "found") {
        if (found === undefined) return;
        const hasMoved = after.replayAfterWalId !== manifest.replayAfterWalId || after.lastL0Seq !== manifest.lastL0Seq;
        return hasMoved && this.#searches < SEARCHES_MAX ? undefined : yield* found;
      }
      this.#mustSearch = false;
      this.#hole = hole;
      this.#endSeenAt = after.replayAfterWalId < endId ? begun : undefined;
      if (this.#lastIdAtStart < 0) this.#lastIdAtStart = hole === undefined ? endId - 1 : listed.at(-1)!.id;
    })
  );

  /** Behind everything that is stored. Undefined when an object was gone meanwhile. */
  #startAtEnd(live: ReadonlyArray<ListedWal>, first: number, tablesSeq: number): Search {
    return Effect.gen({ self: this }, function* () {
      let lastSeq = 0;
      for (let i = live.length - 1; i >= 0 && lastSeq === 0; i--) {
        const facts = yield* this.#reading.facts(live[i]!.id);
        if (facts === undefined) return undefined;
        lastSeq = facts.lastSeq;
      }
      this.#lastSeq = Math.max(lastSeq, tablesSeq);
      this.#fromSeq = this.#lastSeq + 1;
      this.#nextId = first + live.length;
      return "found" as const;
    });
  }

  /** At the wanted sequence number: above the replay boundary where the log begins early enough, else below it. */
  #startAt(listed: ReadonlyArray<ListedWal>, live: ReadonlyArray<ListedWal>, first: number, tablesSeq: number): Search {
    return Effect.gen({ self: this }, function* () {
      const wanted = this.#wanted;
      const start = yield* this.#reading.lastBeginningBy(live, wanted);
      if (start === undefined) return undefined;
      const isStart = this.#nextId === 0;
      if (start.at >= 0 || wanted > tablesSeq) {
        const at = isStart ? Math.max(start.at, 0) : 0;
        if (start.at < 0) this.#lastSeq = Math.max(this.#lastSeq ?? 0, tablesSeq);
        if (this.#nextId < first) this.#fencePassed = true;
        this.#nextId = live[at]?.id ?? first;
        this.#backlog = live.slice(at);
        return "found" as const;
      }
      if (!isStart && this.#nextId === first) {
        this.#backlog = live;
        return "found" as const;
      }
      const proven = yield* this.#reading.proveBelow(
        listed,
        first - 1,
        this.#nextId,
        wanted,
        start.goesOn ?? tablesSeq + 1,
      );
      if (!Array.isArray(proven)) return proven;
      this.#nextId = proven[0]!.id;
      this.#backlog = [...proven, ...live];
      return "found" as const;
    });
  }

  /** The newest manifest; its tables are compared with what was given out. */
  readonly #readManifest: Effect.Effect<StoredManifest, FeedFault> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const begun = yield* engineTime;
      const stored = yield* this.#spec.manifest;
      this.#manifestSeenAt = begun;
      this.#tablesSeq = stored.manifest.lastL0Seq;
      return stored;
    })
  );
}

/** What a search comes to: a place, a reason why there is none, or undefined to search again. */
type Search = Effect.Effect<"found" | DataError | undefined, FeedFault>;

function isYoung(since: EngineTime | undefined, now: EngineTime, millis: number): boolean {
  return since !== undefined && elapsedMillis(since, now) < millis;
}

function overtaken(): Effect.Effect<never, Unavailable> {
  return Effect.fail(
    new Unavailable({
      reason: "contended",
      message: "The write-ahead log was collected faster than it could be read. Go on from the last sequence number " +
        "seen + 1, or from a checkpoint",
    }),
  );
}
