/**
 * About how much a range of keys holds: from what is in memory, tables' infos, indexes and statistics. No data is read.
 *
 * Sources are gone through from the newest to the oldest. What range tombstones of newer sources cover is left out of
 * older ones, down to parts of blocks; rows of a memtable are judged by its own tombstones too. A table that lies wholly
 * inside the range costs nothing but, once, its statistics; one at an edge its index.
 *
 * Invariants: at most {@linkcode REQUESTS_MAX} requests are made, the largest tables first. What they do not reach is
 * estimated: a table without its index as one block, one without statistics by the others' average row; tombstones that
 * were not read hide nothing. Where a table may have a row, at least its average one is told.
 *
 * @module
 */
import { Effect } from "effect";
import { compareSlices } from "../bytes/compare.ts";
import type { SizeEstimate } from "../db/api.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE } from "../format/types.ts";
import { END } from "./cursor.ts";
import type { ScanRange } from "./key_range.ts";
import type { LsmView } from "./lsm_view.ts";
import type { Memtable } from "./memtable.ts";
import {
  contains,
  defragmented,
  intersectionOf,
  type KeySpan,
  rowBounds,
  shareInside,
  spanOfRange,
  spansBetween,
  spansInside,
  tablesInside,
  unionOfSpans,
  visiblePart,
} from "./range_estimate.ts";
import { newestOver } from "./range_set.ts";
import { INDEX_SLOT, RANGE_SLOT } from "./table.ts";
import { HeldParts } from "./table_parts.ts";
import type { TableRef } from "./table_ref.ts";
import type { InspectFault, TableStatistics } from "./table_statistics.ts";
import { tableBytes } from "./table_stats.ts";

/** Sections of range tombstones, indexes and statistics that one estimate reads, each at most. */
const RANGES_MAX = 64;
const INDEXES_MAX = 128;
const COUNTS_MAX = 64;
/** Requests of one estimate, at most. */
export const REQUESTS_MAX: number = RANGES_MAX + INDEXES_MAX + COUNTS_MAX;
/** Rows of one memtable that are looked at; up to so many they are counted exactly. */
const SAMPLE_ROWS = 2048;
/** Average size of a row when nothing is known about any, bytes. */
const UNKNOWN_ROW_BYTES = 64;

/** A table that reaches into the range. */
interface Piece {
  readonly ref: TableRef;
  /** The keys that its rows can have, visible or not. */
  readonly bounds: KeySpan;
  /** What of it counts, ascending, inside its visible bounds. */
  readonly spans: ReadonlyArray<KeySpan>;
  readonly isWhole: boolean;
}

/** About how much `view` holds in `range`. */
export function estimateSize(
  statistics: TableStatistics,
  view: LsmView,
  range: ScanRange,
): Effect.Effect<SizeEstimate, InspectFault> {
  return Effect.gen(function* () {
    statistics.retain(view);
    const span = spanOfRange(range);
    const inside = [...view.l0.map((ref) => [ref]), ...view.runs.map((run) => run.tables)].map((tables) => {
      const [from, stop] = tablesInside(tables, span);
      return tables.slice(from, stop);
    });
    const held = new HeldParts(false);
    const ranged = inside.flat().filter(({ table }) => table.hasRanges);
    yield* statistics.fetch(unlessKnown(ranged, ({ table }) => table.ranges, RANGES_MAX), RANGE_SLOT, held);
    let covered: ReadonlyArray<KeySpan> = [];
    const size = { bytes: 0, entries: 0 };
    for (const memtable of view.memtables) {
      addMemtable(size, memtable, spansBetween(covered, span));
      for (const set of memtable.ranges.sets) covered = unionOfSpans(covered, spansInside(defragmented(set), span));
      yield* Effect.yieldNow;
    }
    const pieces: Piece[] = [];
    for (const tables of inside) {
      for (const ref of tables) addPiece(pieces, ref, span, covered);
      for (const { table, first, clipEnd } of tables) {
        const set = held.ranges(table)?.clipped(first, clipEnd);
        if (set !== undefined) covered = unionOfSpans(covered, spansInside(defragmented(set), span));
      }
      yield* Effect.yieldNow;
    }
    yield* addTables(size, statistics, pieces, held);
    return { bytes: Math.ceil(size.bytes), entries: Math.ceil(size.entries) };
  });
}

/** Those of `refs` of which something is not known, the largest first, at most `max`. */
function unlessKnown(
  refs: ReadonlyArray<TableRef>,
  known: (ref: TableRef) => unknown,
  max: number,
): ReadonlyArray<TableRef> {
  return refs.filter((ref) => known(ref) === undefined)
    .sort((a, b) => tableBytes(b.table.info) - tableBytes(a.table.info)).slice(0, max);
}

/** Notes what counts of a table; nothing when newer tombstones cover all of its rows, or it has none. */
function addPiece(into: Piece[], ref: TableRef, span: KeySpan, covered: ReadonlyArray<KeySpan>): void {
  const bounds = rowBounds(ref);
  if (bounds === undefined) return;
  const visible = visiblePart(ref, bounds);
  const part = visible === undefined ? undefined : intersectionOf(visible, span);
  const spans = part === undefined ? [] : spansBetween(covered, part);
  if (spans.length === 0) return;
  into.push({ ref, bounds, spans, isWhole: contains(spans[0]!, bounds) });
}

function addTables(
  size: { bytes: number; entries: number },
  statistics: TableStatistics,
  pieces: ReadonlyArray<Piece>,
  held: HeldParts,
): Effect.Effect<void, InspectFault> {
  return Effect.gen(function* () {
    const refs = pieces.map(({ ref }) => ref);
    const edges = pieces.filter(({ isWhole }) => !isWhole).map(({ ref }) => ref);
    yield* statistics.fetch(unlessKnown(edges, ({ table }) => table.index, INDEXES_MAX), INDEX_SLOT, held);
    yield* statistics.readCounts(unlessKnown(refs, (ref) => statistics.countsOf(ref), COUNTS_MAX));
    const unknown: number[] = [];
    let knownBytes = 0;
    let knownRows = 0;
    let leastBytes = 0;
    for (const { ref, bounds, spans, isWhole } of pieces) {
      const { info } = ref.table;
      const whole = tableBytes(info) - (info.rangeDeletes?.length ?? 0);
      // Wherever there may be something, the answer is not nothing.
      const least = Number.EPSILON;
      const share = isWhole ? 1 : Math.max(least, shareInside(bounds, spans, held.index(ref.table)));
      size.bytes += whole * share;
      const counts = statistics.countsOf(ref);
      if (counts === undefined) {
        unknown.push(whole * share);
        continue;
      }
      const rows = counts.puts + counts.merges;
      size.entries += rows * share;
      knownBytes += whole;
      knownRows += rows;
      if (rows > 0) leastBytes = Math.max(leastBytes, whole / (rows + counts.deletes));
    }
    const rowBytes = knownRows === 0 ? UNKNOWN_ROW_BYTES : knownBytes / knownRows;
    for (const bytes of unknown) size.entries += bytes / rowBytes;
    if (unknown.length > 0) leastBytes = Math.max(leastBytes, rowBytes);
    size.bytes = Math.max(size.bytes, leastBytes);
  });
}

/** Adds what a memtable has in `spans`. */
function addMemtable(
  size: { bytes: number; entries: number },
  memtable: Memtable,
  spans: ReadonlyArray<KeySpan>,
): void {
  const sample = { rows: 0, bytes: 0, entries: 0 };
  const expected = spans.reduce((sum, { start, end }) => sum + memtable.estimateRows(start, end), 0);
  for (const span of spans) if (!sampleRows(sample, memtable, span)) break;
  // A sample that was not cut short is all there is.
  const factor = sample.rows < SAMPLE_ROWS ? 1 : Math.max(1, expected / sample.rows);
  size.bytes += sample.bytes * factor;
  size.entries += sample.entries * factor;
}

/** Looks at the rows of one span; answers false when the sample is full. */
function sampleRows(
  sample: { rows: number; bytes: number; entries: number },
  memtable: Memtable,
  { start, end }: KeySpan,
): boolean {
  const row = memtable.cursor();
  let key = row.keyBytes;
  let [keyStart, keyEnd] = [-1, -1];
  const { sets } = memtable.ranges;
  for (let move = row.seekGE(start); move !== END; move = row.next()) {
    if (end !== undefined && compareSlices(row.keyBytes, row.keyStart, row.keyEnd, end, 0, end.length) >= 0) break;
    if (sample.rows === SAMPLE_ROWS) return false;
    sample.rows++;
    const isOlder = keyStart >= 0 &&
      compareSlices(key, keyStart, keyEnd, row.keyBytes, row.keyStart, row.keyEnd) === 0;
    ({ keyBytes: key, keyStart, keyEnd } = row);
    const hidden = sets.length > 0 && newestOver(sets, key.subarray(keyStart, keyEnd), Infinity) > row.seq;
    if (hidden) continue;
    sample.bytes += row.keyEnd - row.keyStart + row.valueEnd - row.valueStart + 8 +
      ((row.flags & FLAG_CREATE) === 0 ? 0 : 8) + ((row.flags & FLAG_EXPIRE) === 0 ? 0 : 8);
    if (!isOlder && (row.flags & FLAG_TOMBSTONE) === 0) sample.entries++;
  }
  return true;
}
