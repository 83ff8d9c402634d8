/**
 * Looks for tables that a compactor can take away unread (see `dropped_tables.ts`).
 *
 * A database without range tombstones costs nothing here, and one where their bounds cover no table whole is not read.
 * What was read is kept while it is wanted, and so is the answer while neither tables nor what protected reads see have
 * changed. A job over hidden tables is an advantage, never a duty: when tombstones cannot be read, are more than 16 MiB
 * or 200,000, or hide so many tables that telling which would take longer than some tenths of a second, fewer are found.
 * Others get a turn every few milliseconds meanwhile.
 *
 * @module
 */
import { Effect } from "effect";
import type { Manifest, SstView, Ulid } from "../src/format/types.ts";
import type { CompactionSpec } from "../src/lsm/compaction_job.ts";
import { coveredBy, coverersToRead, type CoverOf, dropJobs } from "../src/lsm/dropped_tables.ts";
import { fetchRanges } from "../src/lsm/passing_ranges.ts";
import type { RangeSet } from "../src/lsm/range_set.ts";
import { TableRef } from "../src/lsm/table_ref.ts";
import type { TableStore } from "../src/lsm/table_store.ts";
import { isGated } from "../src/state/range_gate.ts";
import type { ObjectStoreShape } from "../src/store/object_store.ts";
import { sliced } from "./sliced.ts";

/** Bytes of range tombstones that are kept in memory at most, as stored. */
const HELD_BYTES_MAX = 16 * 1024 * 1024;
/** The same, their number. */
const HELD_COUNT_MAX = 200_000;
/** Requests at once. */
const REQUESTS_MAX = 8;

/** The tombstones of a table. */
interface HeldRanges {
  readonly set: RangeSet;
  /** Greatest number. */
  readonly newest: number;
  /** What is covered of the view that was last asked for, by tombstones of at most `maxSeq`. */
  known: { readonly view: SstView; readonly maxSeq: number; readonly parts: ReturnType<CoverOf> } | undefined;
}

/** The answer to a look. */
interface Found {
  readonly layout: Pick<Manifest, "l0" | "compacted">;
  /** Oldest protected numbers with which it stays the same. */
  readonly from: number;
  readonly to: number;
  readonly jobs: ReadonlyArray<CompactionSpec>;
}

function isSameLayout(a: Found["layout"], b: Found["layout"]): boolean {
  return isSamePlace(a.l0, b.l0) && a.compacted.length === b.compacted.length &&
    a.compacted.every(({ id, ssts }, i) => id === b.compacted[i]!.id && isSamePlace(ssts, b.compacted[i]!.ssts));
}

function isSamePlace(a: ReadonlyArray<SstView>, b: ReadonlyArray<SstView>): boolean {
  return a === b || (a.length === b.length && a.every((view, i) => isSameView(view, b[i]!)));
}

function isSameView(a: SstView, b: SstView): boolean {
  return a === b || (a.viewId === b.viewId && a.sstId === b.sstId && a.visibleRange === b.visibleRange);
}

function heldRanges(set: RangeSet): HeldRanges {
  let newest = 0;
  for (let i = 0; i < set.count; i++) newest = Math.max(newest, set.seqAt(i, Infinity));
  return { set, newest, known: undefined };
}

/** Finds jobs that only take tables away. */
export class TableDrops {
  readonly #store: ObjectStoreShape;
  readonly #tables: TableStore;
  /** By table, whole. */
  #held: ReadonlyMap<Ulid, HeldRanges> = new Map();
  #found: Found | undefined = undefined;

  constructor(store: ObjectStoreShape, tables: TableStore) {
    this.#store = store;
    this.#tables = tables;
  }

  /** The jobs for `manifest`. Whoever starts one gives it a destination that is free by then. */
  find(manifest: Manifest): Effect.Effect<ReadonlyArray<CompactionSpec>> {
    return Effect.gen({ self: this }, function* () {
      if (!isGated(manifest)) return [];
      const { recentSnapshotMinSeq: minSeq, l0, compacted } = manifest;
      const before = this.#found;
      if (
        before !== undefined && isSameLayout(before.layout, manifest) && before.from <= minSeq && minSeq <= before.to
      ) {
        return before.jobs;
      }
      this.#found = undefined;
      const layout = { l0, compacted };
      const wanted = yield* sliced(coverersToRead(manifest));
      if (wanted.size === 0) {
        this.#held = new Map();
        this.#found = { layout, from: 0, to: Infinity, jobs: [] };
        return [];
      }
      const isComplete = yield* this.#load(manifest, wanted);
      const newRunId = (compacted[0]?.id ?? -1) + 1;
      const jobs = yield* sliced(dropJobs(manifest, this.#coverAt(minSeq), newRunId));
      let newest = 0;
      for (const held of this.#held.values()) newest = Math.max(newest, held.newest);
      const bounds = newest <= minSeq ? { from: newest, to: Infinity } : { from: minSeq, to: minSeq };
      if (isComplete) this.#found = { layout, ...bounds, jobs };
      return jobs;
    });
  }

  #coverAt(minSeq: number): CoverOf {
    return (view) => {
      const held = this.#held.get(view.sstId);
      if (held === undefined) return [];
      const maxSeq = held.newest <= minSeq ? Infinity : minSeq;
      const { known, set } = held;
      if (known !== undefined && known.maxSeq === maxSeq && isSameView(known.view, view)) return known.parts;
      const { clipStart, clipEnd } = new TableRef(this.#tables.passingTable(view), view);
      const parts = coveredBy(set.clipped(clipStart, clipEnd), maxSeq);
      held.known = { view, maxSeq, parts };
      return parts;
    };
  }

  /**
   * Reads the tombstones of some tables; fewer when they are many or cannot be read.
   *
   * @returns whether trying again would give no more
   */
  #load(manifest: Manifest, wanted: ReadonlySet<Ulid>): Effect.Effect<boolean> {
    const views = [...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)];
    let [bytes, count] = [0, 0];
    const some = views.filter(({ sstId, info }) => {
      if (!wanted.has(sstId)) return false;
      const { length, count: own } = info.rangeDeletes!;
      if (bytes + length > HELD_BYTES_MAX || count + own > HELD_COUNT_MAX) return false;
      [bytes, count] = [bytes + length, count + own];
      return true;
    });
    const sets = new Map<Ulid, HeldRanges>();
    const loadOne = (view: SstView): Effect.Effect<void> =>
      Effect.map(this.#rangesOf(view), (held) => {
        if (held !== undefined) sets.set(view.sstId, held);
      });
    const loadAll = Effect.forEach(some, loadOne, { concurrency: REQUESTS_MAX, discard: true });
    return Effect.map(loadAll, () => {
      this.#held = sets;
      return some.every(({ sstId }) => sets.has(sstId));
    });
  }

  #rangesOf(view: SstView): Effect.Effect<HeldRanges | undefined> {
    const held = this.#held.get(view.sstId);
    if (held !== undefined) return Effect.succeed(held);
    const reading = Effect.map(fetchRanges(this.#store, this.#tables.passingTable(view)), heldRanges);
    return Effect.orElseSucceed(reading, () => undefined);
  }
}
