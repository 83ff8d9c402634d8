/**
 * Handlers of the files about reading: `range_del`, `iterator`, `merging_iter`, `level_iter` and their relatives.
 *
 * @module
 */
import { API_FILES } from "./api_files.ts";
import { INTERNAL_FILES } from "./internal_files.ts";
import { MEMTABLE_FILES } from "./memtable_files.ts";
import type { PebbleHandlers } from "./pebble_files.ts";
import { RANGE_DEL_FILES } from "./range_del_files.ts";

/** By file name. `mem_table` has nothing to execute. */
export const READ_FILES: PebbleHandlers = {
  "mem_table": () => ({ commands: {} }),
  ...API_FILES,
  ...INTERNAL_FILES,
  ...MEMTABLE_FILES,
  ...RANGE_DEL_FILES,
};
