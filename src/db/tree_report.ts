/**
 * What an open database tells about its tree without reading data: the shape with statistics, and estimates of ranges.
 *
 * @module
 */
import { Effect } from "effect";
import type { DbError } from "../errors.ts";
import { buildLevels } from "../lsm/lsm_view.ts";
import type { TableRef } from "../lsm/table_ref.ts";
import { type TableFigures, TableStatistics } from "../lsm/table_statistics.ts";
import { rangeDeletionsOf, tableBytes } from "../lsm/table_stats.ts";
import type { LsmShape, TableShape } from "./api.ts";
import type { Engine } from "./engine.ts";
import { RangeSizes } from "./range_sizes.ts";
import type { Reader } from "./reads.ts";

/** Reports about the tree of one open database. */
export class TreeReport {
  /** Estimates of ranges. */
  readonly sizes: RangeSizes;
  readonly #engine: Engine;

  constructor(engine: Engine, reader: Reader) {
    this.#engine = engine;
    const statistics = new TableStatistics(engine.parts.store, engine.parts.tables);
    this.sizes = new RangeSizes(engine.readHost, reader, statistics, () => engine.assertOpen());
  }

  /** The tree's shape; reads what is not known of its tables. */
  readonly tables: Effect.Effect<LsmShape, DbError> = Effect.suspend(() => this.sizes.onNewest(this.#shape));

  readonly #shape: Effect.Effect<LsmShape, unknown> = Effect.suspend(() => {
    const { state, tables } = this.#engine.parts;
    const { l0, runs } = buildLevels(state.stored.manifest, tables);
    return Effect.map(this.sizes.statistics.figures({ l0, runs }), (figures) => ({
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
