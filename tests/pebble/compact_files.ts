/**
 * Handlers of the files about compaction and tables: `compact-*`, `manifest-overlaps`, `compaction_tombstones`,
 * `table_stats`.
 *
 * @module
 */
import { compactIter } from "./compact_iter.ts";
import { overlaps } from "./compact_overlaps.ts";
import { outputSplitter } from "./compact_splitter.ts";
import { tableStats } from "./compact_stats.ts";
import { rangeDelCompactor, tombstoneElider } from "./compact_ranges.ts";
import type { PebbleHandlers } from "./pebble_files.ts";

/** By file name. */
export const COMPACT_FILES: PebbleHandlers = {
  "compact-iter": compactIter,
  "compact-output_splitter": outputSplitter,
  "compact-range_del_compactor": rangeDelCompactor,
  "compact-tombstone_elider": tombstoneElider,
  "compaction_tombstones": tableStats,
  "manifest-overlaps": overlaps,
  "table_stats": tableStats,
};
