/**
 * Handlers of the files about compaction and tables: `compact-*`, `manifest-overlaps`, `compaction_tombstones`,
 * `table_stats`.
 *
 * @module
 */
import type { PebbleHandlers } from "./pebble_files.ts";

/** By file name. */
export const COMPACT_FILES: PebbleHandlers = {};
