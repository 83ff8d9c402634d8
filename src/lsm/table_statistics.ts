/**
 * Statistics of the tables of an LSM tree, and estimates of what their tombstones make superfluous in older levels.
 *
 * Everything is read when somebody asks, from statistics, range sections and block indexes, never from data, a few
 * tables at a time; a flush does not wait for it. What was found out is remembered per table: counts for at least as long
 * as the tree names the table, an estimate until one of the levels below it changes.
 *
 * Older levels of a table of L0 are all runs, not other L0 tables; of a table of a run, the runs behind it. Rows that
 * tombstones hide in their own table are not counted: only its data would tell whether they are older.
 *
 * @module
 */
import { Effect } from "effect";
import type { DataError, StoreError } from "../errors.ts";
import type { SstStats } from "../format/sst_tables.ts";
import type { Ulid } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { Levels, RunRef } from "./lsm_view.ts";
import {
  addCovered,
  type CoveredTables,
  defragmented,
  type KeySpan,
  overlappedBytes,
  spansInside,
  tableBounds,
  tablesInside,
  visiblePart,
} from "./range_estimate.ts";
import { INDEX_SLOT, RANGE_SLOT } from "./table.ts";
import { HeldParts, TableNeed } from "./table_parts.ts";
import type { TableRef } from "./table_ref.ts";
import { readStats, tableBytes } from "./table_stats.ts";
import type { TableStore } from "./table_store.ts";

/** Tables that are read at once. */
const READS = 8;
/** Spans of tombstones that are looked up between two turns of others. */
const SPANS_PER_TURN = 2048;

/** Rows of a table by kind. */
export interface TableCounts {
  readonly puts: number;
  readonly deletes: number;
  readonly merges: number;
}

/** What a table's tombstones make superfluous in older levels, bytes. */
export interface DeletionEstimates {
  readonly pointBytes: number;
  readonly rangeBytes: number;
}

/** What is known about one table. */
export interface TableFigures extends DeletionEstimates {
  readonly counts: TableCounts;
}

/** Levels below a place in the tree; the same object for as long as none of them changes. */
interface OlderLevels {
  readonly run: RunRef;
  readonly older: OlderLevels | undefined;
}

const NOTHING: TableCounts = { puts: 0, deletes: 0, merges: 0 };

/** How a walk over parts of tables can fail. */
export type InspectFault = DataError | StoreError;

/** Statistics of the tables of one database, remembered. */
export class TableStatistics {
  readonly #store: ObjectStoreShape;
  readonly #tables: TableStore;
  readonly #counts: Map<Ulid, TableCounts> = new Map();
  readonly #estimates: Map<string, { readonly older: OlderLevels | undefined; readonly found: DeletionEstimates }> =
    new Map();
  #older: OlderLevels | undefined = undefined;

  constructor(store: ObjectStoreShape, tables: TableStore) {
    this.#store = store;
    this.#tables = tables;
  }

  /** Rows of a table, if they are known. */
  countsOf(ref: TableRef): TableCounts | undefined {
    return this.#counts.get(ref.table.id);
  }

  /** Reads the statistics of those tables of which they are not known; a table without any counts as empty. */
  readCounts(refs: ReadonlyArray<TableRef>): Effect.Effect<void, InspectFault> {
    const { counters } = this.#tables;
    return Effect.forEach(refs, ({ table }) => {
      if (this.#counts.has(table.id)) {
        counters.statsHits++;
        return Effect.void;
      }
      counters.statsMisses++;
      return Effect.map(readStats(this.#store, table), (stats) => void this.#counts.set(table.id, countsOf(stats)));
    }, { concurrency: READS, discard: true });
  }

  /** Brings parts of tables into `held`: indexes (`INDEX_SLOT`) or range tombstones (`RANGE_SLOT`). */
  fetch(refs: ReadonlyArray<TableRef>, slot: number, held: HeldParts): Effect.Effect<void, InspectFault> {
    return Effect.forEach(
      refs,
      ({ table }) => this.#tables.fetch([new TableNeed(table, slot, held)], { cache: false, purpose: "inspect" }),
      { concurrency: READS, discard: true },
    );
  }

  /** Everything about every table of `levels`. */
  figures(levels: Levels): Effect.Effect<ReadonlyMap<TableRef, TableFigures>, InspectFault> {
    return Effect.gen({ self: this }, function* () {
      this.retain(levels);
      const refs = [...levels.l0, ...levels.runs.flatMap((run) => run.tables)];
      yield* this.readCounts(refs);
      const below = this.#olderOf(levels.runs);
      const places = [
        ...levels.l0.map((ref) => ({ ref, older: below[0] })),
        ...levels.runs.flatMap((run, i) => run.tables.map((ref) => ({ ref, older: below[i + 1] }))),
      ];
      const figures = new Map<TableRef, TableFigures>();
      yield* Effect.forEach(places, ({ ref, older }) =>
        Effect.map(this.#estimatesOf(ref, older), (found) => {
          figures.set(ref, { counts: this.countsOf(ref) ?? NOTHING, ...found });
        }), { concurrency: READS, discard: true });
      return figures;
    });
  }

  /** Forgets tables that `levels` does not name, once there are more of them than of others. */
  retain({ l0, runs }: Levels): void {
    const count = runs.reduce((sum, run) => sum + run.tables.length, l0.length);
    if (Math.max(this.#counts.size, this.#estimates.size) <= 2 * count) return;
    const refs = [...l0, ...runs.flatMap((run) => run.tables)];
    const ids = new Set(refs.map(({ table }) => table.id));
    for (const id of this.#counts.keys()) if (!ids.has(id)) this.#counts.delete(id);
    const views = new Set(refs.map(({ viewId }) => viewId));
    for (const id of this.#estimates.keys()) if (!views.has(id)) this.#estimates.delete(id);
  }

  /** For each place, newest first: the levels from it on. Ends with undefined, for what has no older level. */
  #olderOf(runs: ReadonlyArray<RunRef>): ReadonlyArray<OlderLevels | undefined> {
    const known: OlderLevels[] = [];
    for (let level = this.#older; level !== undefined; level = level.older) known.push(level);
    const below: Array<OlderLevels | undefined> = [undefined];
    let older: OlderLevels | undefined;
    for (let i = runs.length - 1; i >= 0; i--) {
      const was = known.pop();
      const isSame = was !== undefined && was.older === older && sameRun(was.run, runs[i]!);
      older = isSame ? was : { run: runs[i]!, older };
      below.unshift(older);
    }
    this.#older = older;
    return below;
  }

  #estimatesOf(ref: TableRef, older: OlderLevels | undefined): Effect.Effect<DeletionEstimates, InspectFault> {
    const known = this.#estimates.get(ref.viewId);
    if (known !== undefined && known.older === older) return Effect.succeed(known.found);
    return Effect.map(this.#rangeBytes(ref, older), (rangeBytes) => {
      const found = { pointBytes: this.#pointBytes(ref, older), rangeBytes };
      this.#estimates.set(ref.viewId, { older, found });
      return found;
    });
  }

  /** The size of what the table's range tombstones cover in older levels. */
  #rangeBytes(ref: TableRef, older: OlderLevels | undefined): Effect.Effect<number, InspectFault> {
    if (!ref.table.hasRanges || older === undefined) return Effect.succeed(0);
    return Effect.gen({ self: this }, function* () {
      const held = new HeldParts(false);
      const bounds = visiblePart(ref, tableBounds(ref));
      yield* this.fetch([ref], RANGE_SLOT, held);
      const spans = bounds === undefined ? [] : spansInside(defragmented(held.ranges(ref.table)!), bounds);
      const covered: CoveredTables = { wholeBytes: 0, parts: new Map<TableRef, KeySpan[]>() };
      let turn = 0;
      for (let level: OlderLevels | undefined = older; level !== undefined; level = level.older) {
        for (const span of spans) {
          addCovered(covered, level.run, span);
          if (++turn % SPANS_PER_TURN === 0) yield* Effect.yieldNow;
        }
      }
      let bytes = covered.wholeBytes;
      for (const [part, parts] of covered.parts) {
        yield* this.fetch([part], INDEX_SLOT, held);
        bytes += overlappedBytes(held.index(part.table)!, parts);
        held.clear();
      }
      return bytes;
    });
  }

  /** As many rows of average size as the table deletes, of the older tables that it overlaps. */
  #pointBytes(ref: TableRef, older: OlderLevels | undefined): number {
    const deletes = this.countsOf(ref)?.deletes ?? 0;
    const bounds = deletes === 0 ? undefined : visiblePart(ref, tableBounds(ref));
    if (bounds === undefined) return 0;
    let bytes = 0;
    let rows = 0;
    for (let level = older; level !== undefined; level = level.older) {
      const [from, stop] = tablesInside(level.run.tables, bounds);
      for (let i = from; i < stop; i++) {
        const { puts, deletes, merges } = this.countsOf(level.run.tables[i]!) ?? NOTHING;
        rows += puts + deletes + merges;
        bytes += tableBytes(level.run.tables[i]!.table.info);
      }
    }
    return rows === 0 ? 0 : Math.round(bytes / rows * Math.min(deletes, rows));
  }
}

function countsOf(stats: SstStats | undefined): TableCounts {
  return stats === undefined ? NOTHING : { puts: stats.numPuts, deletes: stats.numDeletes, merges: stats.numMerges };
}

function sameRun(a: RunRef, b: RunRef): boolean {
  return a.id === b.id && a.tables.length === b.tables.length &&
    a.tables.every((ref, i) => ref.viewId === b.tables[i]!.viewId);
}
