/**
 * Range tombstones of the sources of a merge: read once, before its rows, and what of the rows they hide.
 *
 * A row goes when a tombstone that every protected read sees (at most `minSeq`) hides it: one of its own source with a
 * greater number, or any of a newer source. What newer sources cover is passed with seeks, and a table that is wholly
 * covered is not read at all.
 *
 * Visible ranges cut tombstones like rows.
 *
 * @module
 */
import { Effect } from "effect";
import { compareBytes } from "../bytes/compare.ts";
import { damageIn, type DataError, type StoreError } from "../errors.ts";
import type { RangeTombstone } from "../format/types.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { Cursor } from "./cursor.ts";
import { masked } from "./masked_cursor.ts";
import type { PassingCursor } from "./passing_cursor.ts";
import { NOT_COVERED, RangeSet } from "./range_set.ts";
import { type RangeSource, RangeSpan, setRanges } from "./range_source.ts";
import { decode } from "./read_error.ts";
import { RANGE_SLOT, type Table } from "./table.ts";
import { slotName } from "./table_parts.ts";
import type { TableRef } from "./table_ref.ts";
import { decodePart, readRange } from "./table_request.ts";

/** Requests at once. */
const REQUESTS_MAX = 16;

/** The range tombstones of one table; damaged bytes are read once more. */
export function fetchRanges(store: ObjectStoreShape, table: Table): Effect.Effect<RangeSet, DataError | StoreError> {
  return Effect.suspend(() => {
    const places = table.info.rangeDeletes;
    if (places === undefined) return Effect.succeed(RangeSet.none);
    try {
      table.checkInfo();
    } catch (error) {
      return Effect.fail(damageIn(table.path, 0, error));
    }
    const { offset, length } = places;
    const read = (fresh: boolean) =>
      Effect.flatMap(
        readRange(store, table.path, offset, length, slotName(RANGE_SLOT), { knownEnd: table.readEnd, fresh }),
        (bytes) => decode(table.path, offset, () => decodePart(table, RANGE_SLOT, bytes) as RangeSet),
      );
    const again = (error: DataError) => error.reason === "missing-object" ? Effect.fail(error) : read(true);
    return Effect.catchTag(read(false), "DataError", again);
  });
}

/**
 * The range tombstones of each source, as far as they are visible; undefined when no source has any.
 *
 * @param sources tables of each source, newest source first
 */
export function fetchSourceRanges(
  store: ObjectStoreShape,
  sources: ReadonlyArray<ReadonlyArray<TableRef>>,
): Effect.Effect<ReadonlyArray<ReadonlyArray<RangeTombstone>> | undefined, DataError | StoreError> {
  if (!sources.some((refs) => refs.some(({ table }) => table.hasRanges))) return Effect.succeed(undefined);
  return Effect.forEach(sources, (refs) =>
    Effect.map(
      Effect.forEach(
        refs.filter(({ table }) => table.hasRanges),
        (ref) => Effect.map(fetchRanges(store, ref.table), (set) => set.clipped(ref.clipStart, ref.clipEnd).source),
        { concurrency: REQUESTS_MAX },
      ),
      (parts) => parts.flat(),
    ));
}

/**
 * Cursors without the rows that range tombstones of at most `minSeq` hide, in the order of the sources.
 *
 * @param rows cursors that have not been moved, newest source first
 * @param firstKeys where each of them begins, at the earliest
 * @param ranges tombstones of each source
 */
export function unhidden(
  rows: ReadonlyArray<PassingCursor>,
  firstKeys: ReadonlyArray<Uint8Array>,
  ranges: ReadonlyArray<ReadonlyArray<RangeTombstone>>,
  minSeq: number,
): Cursor[] {
  const newer: RangeSource[] = [];
  return rows.map((cursor, i) => {
    const start = firstUncovered(newer, firstKeys[i]!, minSeq);
    if (start !== firstKeys[i]) cursor.startAt(start);
    const own = setRanges([RangeSet.of(ranges[i]!.filter(({ seq }) => seq <= minSeq))]);
    const visible = masked(cursor, newer.slice(), own, minSeq);
    newer.push(...own);
    return visible;
  });
}

/** The first key from `key` on that none of `newer` covers; undefined when there is none. */
function firstUncovered(newer: ReadonlyArray<RangeSource>, key: Uint8Array, minSeq: number): Uint8Array | undefined {
  const span = new RangeSpan();
  let at = key;
  for (let isCovered = true; isCovered;) {
    isCovered = false;
    for (const source of newer) {
      source.spanAt(at, minSeq, true, span);
      if (span.seq === NOT_COVERED) continue;
      if (span.upper === undefined) return undefined;
      if (compareBytes(span.upper, at) <= 0) continue;
      at = span.upper;
      isCovered = true;
    }
  }
  return at;
}
