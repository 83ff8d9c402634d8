/**
 * Handlers of the files about reading: `range_del`, `iterator`, `merging_iter`, `level_iter` and their relatives.
 *
 * @module
 */
import { INTERNAL_FILES } from "./internal_files.ts";
import type { PebbleHandlers } from "./pebble_files.ts";

/** By file name. `mem_table` has nothing to execute. */
export const READ_FILES: PebbleHandlers = {
  "mem_table": () => ({ commands: {} }),
  ...INTERNAL_FILES,
};
