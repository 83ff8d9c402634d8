/**
 * Requests of the change feed to the log: single objects, several together, and the two ways to find a place in it.
 *
 * A missing object is an answer here, undefined: whether it is "not yet" or "collected" is for the caller to find out.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type InvalidArgument, type StoreError, type Unavailable } from "../errors.ts";
import { walPath } from "../format/paths.ts";
import { decode } from "../lsm/read_error.ts";
import { ifThere } from "../store/if_there.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import {
  AHEAD_OBJECTS,
  type BacklogEntry,
  checksumOf,
  contiguousTo,
  factsOf,
  fetchTogether,
  goneError,
  HistoryProof,
  type ListedWal,
  type WalFacts,
} from "./wal_feed.ts";

/** What a feed can fail with below the public face. */
export type FeedFault = DataError | StoreError | InvalidArgument | Unavailable;

/** A WAL object as it was read. */
export interface Fetched {
  readonly id: number;
  readonly body: Uint8Array;
}

/** Reads the log of one database. */
export class WalReading {
  readonly #root: string;
  readonly #wal: ObjectStoreShape;

  constructor(root: string, wal: ObjectStoreShape) {
    this.#root = root;
    this.#wal = wal;
  }

  /** An object, undefined when there is none. */
  get(id: number): Effect.Effect<Uint8Array | undefined, StoreError> {
    return ifThere(this.#wal.get(walPath(this.#root, id)));
  }

  /** Several objects in their order; undefined when one of them is missing. */
  together(group: ReadonlyArray<ListedWal>): Effect.Effect<Fetched[] | undefined, StoreError> {
    return Effect.map(
      Effect.forEach(group, ({ id }) => this.get(id), { concurrency: AHEAD_OBJECTS }),
      (bodies) => {
        const found = bodies.flatMap((body, i) => body === undefined ? [] : [{ id: group[i]!.id, body }]);
        return found.length === group.length ? found : undefined;
      },
    );
  }

  /** What an object holds, undefined when there is none. */
  facts(id: number): Effect.Effect<WalFacts | undefined, FeedFault> {
    return Effect.flatMap(
      this.get(id),
      (body): Effect.Effect<WalFacts | undefined, DataError> =>
        body === undefined ? Effect.succeed(undefined) : this.factsOf({ id, body }),
    );
  }

  /** What an object that was read holds. */
  factsOf({ id, body }: Fetched): Effect.Effect<WalFacts, DataError> {
    return decode(walPath(this.#root, id), 0, () => factsOf(body));
  }

  /**
   * Index of the last object that begins at or below `seq`, -1 for none, and the first sequence number of all objects, if
   * they have rows. Undefined when an object was missing.
   */
  lastBeginningBy(
    objects: ReadonlyArray<ListedWal>,
    seq: number,
  ): Effect.Effect<{ readonly at: number; readonly goesOn: number | undefined } | undefined, FeedFault> {
    return Effect.gen({ self: this }, function* () {
      let low = 0;
      let high = objects.length;
      let at = -1;
      let goesOn: number | undefined = undefined;
      // The first object with rows decides whether the log begins early enough; the rest is bisected.
      for (let middle = 0; low < high; middle = (low + high) >>> 1) {
        let probe = middle;
        let firstSeq = 0;
        for (; probe < high && firstSeq === 0; probe++) {
          const asked: Effect.Effect<WalFacts | undefined, FeedFault> = this.facts(objects[probe]!.id);
          const facts = yield* goesOn === undefined ? asked : orBeyond(asked);
          if (facts === undefined) return undefined;
          firstSeq = facts.firstSeq;
        }
        if (firstSeq > 0) goesOn ??= firstSeq;
        if (firstSeq > 0 && firstSeq <= seq) {
          low = probe;
          at = probe - 1;
        } else {
          high = middle;
        }
      }
      return { at, goesOn };
    });
  }

  /**
   * Proves the log from the replay boundary down to the object that holds sequence number `wanted`.
   *
   * @param listed what is stored
   * @param boundary the replay boundary
   * @param passedId everything below this id was given out; 0 when nothing was
   * @param goesOn sequence number with which the log goes on above the boundary
   * @returns the proven objects, ascending; or why there are none; undefined when an object was gone meanwhile
   */
  proveBelow(
    listed: ReadonlyArray<ListedWal>,
    boundary: number,
    passedId: number,
    wanted: number,
    goesOn: number,
  ): Effect.Effect<BacklogEntry[] | DataError | undefined, FeedFault> {
    return Effect.gen({ self: this }, function* () {
      const proof = new HistoryProof(wanted, goesOn - 1);
      const below = contiguousTo(listed, boundary);
      const proven: BacklogEntry[] = [];
      while (proven.length < below.length) {
        const group = fetchTogether(below, proven.length);
        const fetched = yield* this.together(group);
        if (fetched === undefined) return undefined;
        for (let i = 0; i < group.length; i++) {
          const answer = proof.add(yield* this.factsOf(fetched[i]!));
          proven.push({ ...group[i]!, checksum: checksumOf(fetched[i]!.body) });
          if (answer === "found") return proven.reverse();
          if (answer !== "on") return goneError(this.#root, group[i]!.id, answer, wanted, proof.oldest);
        }
      }
      const next = boundary - below.length;
      // Nothing was ever below id 1, and what was given out was whole.
      const cause = next < Math.max(passedId, 1) ? "wal-off" : "collected";
      return goneError(this.#root, next, cause, wanted, proof.oldest);
    });
  }
}

/** Damage behind the place that is looked for is met when its turn comes: what lies before it can still be given out. */
function orBeyond(asked: Effect.Effect<WalFacts | undefined, FeedFault>): typeof asked {
  const beyond: WalFacts = { firstSeq: Infinity, lastSeq: Infinity, ascends: true };
  return Effect.catch(asked, (error) => error instanceof DataError ? Effect.succeed(beyond) : Effect.fail(error));
}
