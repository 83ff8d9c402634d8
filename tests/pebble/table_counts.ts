/**
 * `wait-pending-table-stats`: entries and deletions of a table, range tombstones counted in both.
 *
 * @module
 */
import { Effect } from "effect";
import { rangeDeletionsOf, readStats, rowsOf } from "../../src/lsm/table_stats.ts";
import type { Table } from "../../src/lsm/table.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import type { AdaptedAnswer, PebbleBlock } from "./pebble_files.ts";

/** Compares the two counts of a table with those that a block expects; the rest is about upstream's files. */
export async function compareCounts(block: PebbleBlock, store: ObjectStoreShape, table: Table): Promise<AdaptedAnswer> {
  const stats = await Effect.runPromise(readStats(store, table));
  if (stats === undefined) throw new Error(`table ${table.path} carries no statistics`);
  const ranges = rangeDeletionsOf(table.info);
  const ours = [`num-entries: ${rowsOf(stats) + ranges}`, `num-deletions: ${stats.numDeletes + ranges}`];
  const theirs = block.expected.split("\n").filter((line) => /^num-(entries|deletions):/.test(line));
  return { ours: ours.join("\n"), theirs: theirs.join("\n") };
}
