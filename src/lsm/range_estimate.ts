/**
 * Arithmetic over key ranges and tables: how much of a table lies under range tombstones, or inside a range.
 *
 * Pure functions over what a table says about itself: the bounds and sizes in its info, and its block index. Rows are
 * never looked at, so what is told about a part of a block is an estimate.
 *
 * Invariants: lists of spans are ascending, and their spans neither overlap nor touch; a block is counted once however
 * many spans reach into it.
 *
 * @module
 */
import { commonPrefixLength, compareBytes } from "../bytes/compare.ts";
import { type ScanRange, successor } from "./key_range.ts";
import type { RunRef } from "./lsm_view.ts";
import type { RangeSet } from "./range_set.ts";
import type { TableIndex } from "./table.ts";
import { countStartingBelow, type TableRef } from "./table_ref.ts";
import { tableBytes } from "./table_stats.ts";

/** Keys from `start` (empty: the first) to `end`, exclusive (undefined: to the last). */
export interface KeySpan {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
}

const FIRST = new Uint8Array(0);

/** The span of all keys. */
export const ALL_KEYS: KeySpan = { start: FIRST, end: undefined };

/** The keys of a checked range. */
export function spanOfRange({ start, startInclusive, end, endInclusive }: ScanRange): KeySpan {
  return {
    start: start === undefined ? FIRST : startInclusive ? start : successor(start),
    end: end !== undefined && endInclusive ? successor(end) : end,
  };
}

/** Orders ends, of which undefined is the greatest. */
function compareEnds(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  return compareBytes(a, b);
}

/** Whether `span` reaches to a key at or above `key`. */
function endsAbove(span: KeySpan, key: Uint8Array): boolean {
  return span.end === undefined || compareBytes(span.end, key) > 0;
}

/** Joins spans that touch or overlap. @param spans ascending by start */
export function joinedSpans(spans: Iterable<KeySpan>): KeySpan[] {
  const all: KeySpan[] = [];
  let last: KeySpan | undefined;
  for (const span of spans) {
    if (last !== undefined && (last.end === undefined || compareBytes(span.start, last.end) <= 0)) {
      if (compareEnds(span.end, last.end) > 0) last = all[all.length - 1] = { start: last.start, end: span.end };
    } else {
      last = span;
      all.push(span);
    }
  }
  return all;
}

function* fragmentsOf(set: RangeSet): Generator<KeySpan> {
  for (let i = 0; i < set.count; i++) yield { start: set.start(i), end: set.end(i) };
}

/** The keys that the tombstones of a set cover, whatever their numbers: neighbouring fragments are one span. */
export function defragmented(set: RangeSet): KeySpan[] {
  return joinedSpans(fragmentsOf(set));
}

/** What lies in either list. */
export function unionOfSpans(a: ReadonlyArray<KeySpan>, b: ReadonlyArray<KeySpan>): ReadonlyArray<KeySpan> {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  return joinedSpans([...a, ...b].sort((one, other) => compareBytes(one.start, other.start)));
}

/** What both spans have in common; undefined for nothing. */
export function intersectionOf(a: KeySpan, b: KeySpan): KeySpan | undefined {
  const start = compareBytes(a.start, b.start) >= 0 ? a.start : b.start;
  const end = compareEnds(a.end, b.end) <= 0 ? a.end : b.end;
  return end !== undefined && compareBytes(start, end) >= 0 ? undefined : { start, end };
}

/** How many of `spans` lie wholly below `key`. */
function countBelow(spans: ReadonlyArray<KeySpan>, key: Uint8Array): number {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (endsAbove(spans[middle]!, key)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The parts of `spans` inside `within`. */
export function spansInside(spans: ReadonlyArray<KeySpan>, within: KeySpan): KeySpan[] {
  const parts: KeySpan[] = [];
  for (let i = countBelow(spans, within.start); i < spans.length; i++) {
    const part = intersectionOf(spans[i]!, within);
    if (part === undefined) break;
    parts.push(part);
  }
  return parts;
}

/** The parts of `within` that `spans` leave out. */
export function spansBetween(spans: ReadonlyArray<KeySpan>, within: KeySpan): KeySpan[] {
  const parts: KeySpan[] = [];
  let start = within.start;
  for (const { start: from, end } of spansInside(spans, within)) {
    if (compareBytes(start, from) < 0) parts.push({ start, end: from });
    if (end === undefined) return parts;
    start = end;
  }
  if (endsAbove(within, start)) parts.push({ start, end: within.end });
  return parts;
}

/** The keys that rows and range tombstones of a table can have, visible or not; to the last key if it does not say. */
export function tableBounds(ref: TableRef): KeySpan {
  const { table, firstEntry: start, last, rangeEnd } = ref;
  const rowsEnd = last === undefined ? undefined : successor(last);
  if (!table.hasRanges) return { start, end: rowsEnd };
  return { start, end: last === undefined || compareEnds(rangeEnd, rowsEnd) > 0 ? rangeEnd : rowsEnd };
}

/** The same of its rows alone; undefined when it has none. */
export function rowBounds({ table, firstEntry: start, last }: TableRef): KeySpan | undefined {
  // Blocks come first in a table, the filter follows them.
  if (table.info.filterOffset === 0) return undefined;
  return { start, end: last === undefined ? undefined : successor(last) };
}

/** The part of `bounds` that is visible of a table; undefined for nothing. */
export function visiblePart(ref: TableRef, bounds: KeySpan): KeySpan | undefined {
  return intersectionOf(bounds, { start: ref.first, end: ref.clipEnd });
}

/** Whether `span` contains all of `inner`. */
export function contains(span: KeySpan, { start, end }: KeySpan): boolean {
  return compareBytes(span.start, start) <= 0 && compareEnds(end, span.end) <= 0;
}

/** The tables of a run that may hold something inside `span`: from the first index to before the second. */
export function tablesInside(tables: ReadonlyArray<TableRef>, { start, end }: KeySpan): readonly [number, number] {
  const stop = end === undefined ? tables.length : countStartingBelow(tables, end);
  let from = Math.max(0, Math.min(stop, countStartingBelow(tables, start)) - 1);
  while (from < stop && tables[from]!.endsBefore(start)) from++;
  return [from, stop];
}

/** What spans cover of older tables. */
export interface CoveredTables {
  /** Bytes of the tables that lie wholly inside one span. */
  wholeBytes: number;
  /** The others, with the parts of the spans that reach into them: their indexes tell how much that is. */
  readonly parts: Map<TableRef, KeySpan[]>;
}

/** Adds what `span` covers of the tables of a run. Spans must come in ascending order. */
export function addCovered(into: CoveredTables, run: RunRef, span: KeySpan): void {
  const [from, stop] = tablesInside(run.tables, span);
  for (let i = from; i < stop; i++) {
    const ref = run.tables[i]!;
    const bounds = tableBounds(ref);
    const visible = visiblePart(ref, bounds);
    const part = visible === undefined ? undefined : intersectionOf(visible, span);
    if (part === undefined) continue;
    if (ref.clipStart === undefined && ref.clipEnd === undefined && contains(span, bounds)) {
      into.wholeBytes += tableBytes(ref.table.info);
      continue;
    }
    const parts = into.parts.get(ref);
    if (parts === undefined) into.parts.set(ref, [part]);
    else parts.push(part);
  }
}

/** Bytes of the blocks that `spans` (ascending, inside the table's bounds) reach into, each once. */
export function overlappedBytes(index: TableIndex, spans: ReadonlyArray<KeySpan>): number {
  let bytes = 0;
  let next = 0;
  for (const { start, end } of spans) {
    const before = index.find(start);
    const isBound = before + 1 < index.count && compareBytes(index.firstKeys[before + 1]!, start) === 0;
    const from = Math.max(next, isBound ? before + 1 : before);
    const stop = end === undefined ? index.count : index.count === 0 ? 0 : index.find(end) + 1;
    if (stop <= from) continue;
    bytes += index.offsets[stop]! - index.offsets[from]!;
    next = stop;
  }
  return bytes;
}

/**
 * About what part of a table's data lies inside `spans`, 0 to 1; blocks at their edges are divided as if their keys were
 * spread evenly.
 *
 * @param bounds the keys that the table can have, visible or not
 * @param spans ascending, inside the bounds
 * @param index of the table; undefined when it is not at hand: then the table counts as one block
 */
export function shareInside(bounds: KeySpan, spans: ReadonlyArray<KeySpan>, index: TableIndex | undefined): number {
  let share = 0;
  for (const { start, end } of spans) share += shareBefore(bounds, end, index) - shareBefore(bounds, start, index);
  return Math.min(1, Math.max(0, share));
}

/** About what part of a table's data has keys below `key` (undefined: all). */
function shareBefore(bounds: KeySpan, key: Uint8Array | undefined, index: TableIndex | undefined): number {
  if (key === undefined || !endsAbove(bounds, key)) return 1;
  if (compareBytes(key, bounds.start) <= 0) return 0;
  if (index === undefined || index.count === 0) return betweenKeys(bounds.start, key, bounds.end);
  const block = index.find(key);
  const lower = block === 0 ? bounds.start : index.firstKeys[block]!;
  const upper = block + 1 < index.count ? index.firstKeys[block + 1]! : bounds.end;
  const bytes = index.offsets[block]! + betweenKeys(lower, key, upper) * index.blockLength(block);
  return bytes / index.offsets[index.count]!;
}

/** Where `key` stands between two others, 0 to 1; in the middle when they do not tell. */
function betweenKeys(lower: Uint8Array, key: Uint8Array, upper: Uint8Array | undefined): number {
  if (upper === undefined) return 0.5;
  const skip = commonPrefixLength(lower, 0, lower.length, upper, 0, upper.length);
  const from = leadingBytes(lower, skip);
  const width = leadingBytes(upper, skip) - from;
  if (width <= 0) return 0.5;
  return Math.min(1, Math.max(0, (leadingBytes(key, skip) - from) / width));
}

/** Six bytes from `at` on as a number. */
function leadingBytes(key: Uint8Array, at: number): number {
  let value = 0;
  for (let i = at; i < at + 6; i++) value = value * 256 + (key[i] ?? 0);
  return value;
}
