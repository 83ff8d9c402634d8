/**
 * What a table says about itself: its size, and its statistics, which are rows by kind and raw sizes.
 *
 * @module
 */
import { Effect } from "effect";
import type { DataError, StoreError } from "../errors.ts";
import { openSection } from "../format/section.ts";
import { decodeStats, type SstStats } from "../format/sst_tables.ts";
import type { SstInfo } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { decode } from "./read_error.ts";
import type { Table } from "./table.ts";
import { readRange } from "./table_request.ts";

/** Statistics larger than this are not believed, bytes. */
const STATS_BYTES_MAX = 64 * 1024 * 1024;

/** Reads the statistics of `table`; undefined when it carries none. A table that is gone is a `DataError`. */
export function readStats(
  store: ObjectStoreShape,
  table: Table,
): Effect.Effect<SstStats | undefined, DataError | StoreError> {
  const { info, path } = table;
  if (info.statsLen === 0) return Effect.succeed(undefined);
  return Effect.flatMap(
    readRange(store, path, info.statsOffset, info.statsLen, "stats"),
    (bytes) =>
      decode(
        path,
        info.statsOffset,
        () => decodeStats(openSection(bytes, info.compression, "stats", STATS_BYTES_MAX)),
      ),
  );
}

/** Bytes of a table's file as far as its description tells: without info section and footer. */
export function tableBytes(info: SstInfo): number {
  const { rangeDeletes } = info;
  if (rangeDeletes !== undefined) return rangeDeletes.offset + rangeDeletes.length;
  return Math.max(info.statsOffset + info.statsLen, info.indexOffset + info.indexLen);
}

/** Rows of a table, of all kinds and versions; range tombstones are no rows. */
export function rowsOf(stats: SstStats): number {
  return stats.numPuts + stats.numDeletes + stats.numMerges;
}

/** Range tombstones of a table: its fragments, one for each number over each. */
export function rangeDeletionsOf(info: SstInfo): number {
  return info.rangeDeletes?.count ?? 0;
}
