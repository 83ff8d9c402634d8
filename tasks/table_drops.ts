/**
 * Looks for tables that a compactor can take away unread (see `dropped_tables.ts`).
 *
 * A database without range tombstones costs nothing here, and one where their bounds cover no table whole is not read.
 * What was read is kept while the manifest names its table. A job over hidden tables is an advantage, never a duty: when
 * tombstones cannot be read, or are very many, none is found.
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

/** Bytes of range tombstones that are kept in memory at most, as stored. */
const HELD_BYTES_MAX = 16 * 1024 * 1024;
/** Requests at once. */
const REQUESTS_MAX = 8;

/** Finds jobs that only take tables away. */
export class TableDrops {
  readonly #store: ObjectStoreShape;
  readonly #tables: TableStore;
  /** By table, whole. */
  #held: ReadonlyMap<Ulid, RangeSet> = new Map();

  constructor(store: ObjectStoreShape, tables: TableStore) {
    this.#store = store;
    this.#tables = tables;
  }

  /** The jobs for `manifest`. Whoever starts one gives it a destination that is free by then. */
  find(manifest: Manifest): Effect.Effect<ReadonlyArray<CompactionSpec>> {
    return Effect.suspend(() => {
      if (!isGated(manifest)) return Effect.succeed([]);
      const wanted = coverersToRead(manifest);
      if (wanted.size === 0) return Effect.succeed([]);
      const newRunId = (manifest.compacted[0]?.id ?? -1) + 1;
      return Effect.map(this.#load(manifest, wanted), () => dropJobs(manifest, this.#coverIn(manifest), newRunId));
    });
  }

  #coverIn(manifest: Manifest): CoverOf {
    return (view) => {
      const set = this.#held.get(view.sstId);
      if (set === undefined) return [];
      const { clipStart, clipEnd } = new TableRef(this.#tables.passingTable(view), view);
      return coveredBy(set.clipped(clipStart, clipEnd), manifest.recentSnapshotMinSeq);
    };
  }

  /** Reads the tombstones of some tables; fewer when they are many or cannot be read. */
  #load(manifest: Manifest, wanted: ReadonlySet<Ulid>): Effect.Effect<void> {
    const views = [...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)];
    let bytes = 0;
    const some = views.filter((view) => {
      if (!wanted.has(view.sstId)) return false;
      bytes += view.info.rangeDeletes!.length;
      return bytes <= HELD_BYTES_MAX;
    });
    const sets = new Map<Ulid, RangeSet>();
    const loadOne = (view: SstView): Effect.Effect<void> =>
      Effect.map(this.#rangesOf(view), (set) => {
        if (set !== undefined) sets.set(view.sstId, set);
      });
    const loadAll = Effect.forEach(some, loadOne, { concurrency: REQUESTS_MAX, discard: true });
    return Effect.map(loadAll, () => void (this.#held = sets));
  }

  #rangesOf(view: SstView): Effect.Effect<RangeSet | undefined> {
    const held = this.#held.get(view.sstId);
    if (held !== undefined) return Effect.succeed(held);
    return Effect.orElseSucceed(fetchRanges(this.#store, this.#tables.passingTable(view)), () => undefined);
  }
}
