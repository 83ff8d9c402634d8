/**
 * Handlers of the files about fragments: `keyspan-*`.
 *
 * @module
 */
import type { PebbleHandlers } from "./pebble_files.ts";

/** By file name. */
export const KEYSPAN_FILES: PebbleHandlers = {};
