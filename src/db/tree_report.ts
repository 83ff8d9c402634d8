/**
 * What an open database tells about its tree without reading data: the shape with statistics, and estimates of ranges.
 *
 * Both work on one version of the tree. A table of it that is gone from the store is no damage before the manifest was
 * read again, as with reads (decision D12).
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type DbError } from "../errors.ts";
import { resolveRange } from "../lsm/key_range.ts";
import { buildLevels } from "../lsm/lsm_view.ts";
import { estimateSize } from "../lsm/size_estimate.ts";
import type { TableRef } from "../lsm/table_ref.ts";
import { type TableFigures, TableStatistics } from "../lsm/table_statistics.ts";
import { rangeDeletionsOf, tableBytes } from "../lsm/table_stats.ts";
import type { KeyRange, LsmShape, SizeEstimate, TableShape } from "./api.ts";
import type { Engine } from "./engine.ts";
import { type Reader, surfaced } from "./reads.ts";

/** How often a report may start over because a table was collected under it. */
const RESTARTS_MAX = 4;

/** Reports about the tree of one open database. */
export class TreeReport {
  readonly #engine: Engine;
  readonly #reader: Reader;
  readonly #statistics: TableStatistics;

  constructor(engine: Engine, reader: Reader) {
    this.#engine = engine;
    this.#reader = reader;
    this.#statistics = new TableStatistics(engine.parts.store, engine.parts.tables);
  }

  /** The tree's shape; reads what is not known of its tables. */
  readonly tables: Effect.Effect<LsmShape, DbError> = Effect.suspend(() => this.#onNewest(this.#shape));

  /** About what a range holds. @returns fails with InvalidArgument for a bad range */
  estimate(range: KeyRange): Effect.Effect<SizeEstimate, DbError> {
    return Effect.suspend(() => {
      const keys = resolveRange(range);
      const { readHost } = this.#engine;
      return this.#onNewest(
        Effect.suspend(() => estimateSize(this.#statistics, readHost.view(this.#reader.spec(undefined)), keys)),
      );
    }).pipe(surfaced);
  }

  #onNewest<A>(report: Effect.Effect<A, unknown>): Effect.Effect<A, DbError> {
    const { state } = this.#engine.parts;
    const attempt = (restarts: number): Effect.Effect<A, unknown> =>
      Effect.suspend(() => {
        const { id } = state.stored;
        return Effect.catch(report, (error) =>
          error instanceof DataError && error.reason === "missing-object" && restarts < RESTARTS_MAX
            ? Effect.andThen(
              this.#reader.newerView(
                () =>
                  state.sequencer.lastSeq,
                error,
                id,
              ),
              attempt(restarts + 1),
            )
            : Effect.fail(error));
      });
    return Effect.suspend(() => {
      this.#engine.assertOpen();
      return this.#reader.bounded(attempt(0));
    }).pipe(surfaced);
  }

  readonly #shape: Effect.Effect<LsmShape, unknown> = Effect.suspend(() => {
    const { state, tables } = this.#engine.parts;
    const { l0, runs } = buildLevels(state.stored.manifest, tables);
    return Effect.map(this.#statistics.figures({ l0, runs }), (figures) => ({
      l0: l0.map((ref) => shapeOf(ref, "L0", figures.get(ref)!)),
      runs: runs.map((run) => ({
        id: run.id,
        tables: run.tables.map((ref) => shapeOf(ref, run.id, figures.get(ref)!)),
      })),
      memtableBytes: state.active.sizeBytes,
      frozenMemtables: state.frozen.length,
    }));
  });
}

function shapeOf({ table }: TableRef, level: "L0" | number, figures: TableFigures): TableShape {
  const { info } = table;
  const { puts, deletes, merges } = figures.counts;
  const entries = puts + deletes + merges;
  const rangeDeletions = rangeDeletionsOf(info);
  return {
    id: table.id,
    bytes: tableBytes(info),
    firstKey: info.firstEntry,
    lastKey: info.lastEntry,
    level,
    formatVersion: table.formatVersion,
    filterPresent: info.filterLen > 0,
    entries,
    pointDeletions: deletes,
    rangeDeletions,
    numEntries: entries + rangeDeletions,
    numDeletions: deletes + rangeDeletions,
    numRangeKeySets: 0,
    pointDeletionsBytesEstimate: figures.pointBytes,
    rangeDeletionsBytesEstimate: figures.rangeBytes,
  };
}
