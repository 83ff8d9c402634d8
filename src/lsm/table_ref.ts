/**
 * A reference to a table from L0 or a sorted run, and what of the table exists for it.
 *
 * A visible range (clones, projections) is turned into a half-open clip: rows below `clipStart` or at and above
 * `clipEnd` do not exist, for point reads, scans and compaction inputs alike (K-17). Versions of one key may continue
 * in the next table of a run, so a key can be in every table whose `firstEntry` equals it and in the one before.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { SstView, Ulid } from "../format/types.ts";
import { successor } from "./key_range.ts";
import type { Table } from "./table.ts";

const EMPTY = new Uint8Array(0);

/** A table of L0 or of a run, clipped. */
export class TableRef {
  readonly table: Table;
  readonly viewId: Ulid;
  /** First key of the table, visible or not; ascending in a run. */
  readonly firstEntry: Uint8Array;
  /** No visible row has a smaller key. */
  readonly first: Uint8Array;
  /** No row has a greater key; undefined when the table does not say (older files, or range tombstones only). */
  readonly last: Uint8Array | undefined;
  /** No range tombstone covers a key at or above; undefined when there are none, or one goes to the last key. */
  readonly rangeEnd: Uint8Array | undefined;
  /** Rows below do not exist; undefined when nothing is cut off. */
  readonly clipStart: Uint8Array | undefined;
  /** Rows at and above do not exist; undefined when nothing is cut off. */
  readonly clipEnd: Uint8Array | undefined;

  constructor(table: Table, view: SstView) {
    this.table = table;
    this.viewId = view.viewId;
    const first = view.info.firstEntry ?? EMPTY;
    this.firstEntry = first;
    this.last = view.info.lastEntry;
    this.rangeEnd = view.info.rangeDeletes?.end;
    const start = view.visibleRange?.start;
    const end = view.visibleRange?.end;
    const clipStart = start?.key === undefined ? undefined : start.inclusive ? start.key : successor(start.key);
    const clipEnd = end?.key === undefined ? undefined : end.inclusive ? successor(end.key) : end.key;
    this.clipStart = clipStart !== undefined && compareBytes(clipStart, first) > 0 ? clipStart : undefined;
    const cutsRows = clipEnd !== undefined && (this.last === undefined || compareBytes(clipEnd, this.last) <= 0);
    const cutsRanges = clipEnd !== undefined && table.hasRanges &&
      (this.rangeEnd === undefined || compareBytes(clipEnd, this.rangeEnd) < 0);
    this.clipEnd = cutsRows || cutsRanges ? clipEnd : undefined;
    this.first = this.clipStart ?? first;
  }

  /** Whether all rows have keys below `key`, and range tombstones end there, as far as the bounds tell. */
  endsBefore(key: Uint8Array): boolean {
    if (this.clipEnd !== undefined && compareBytes(this.clipEnd, key) <= 0) return true;
    if (this.table.hasRanges && (this.rangeEnd === undefined || compareBytes(this.rangeEnd, key) > 0)) return false;
    return this.last !== undefined && compareBytes(this.last, key) < 0;
  }

  /** Whether a row with this key can be here, or a range tombstone over it, as far as the bounds tell. */
  admits(key: Uint8Array): boolean {
    return compareBytes(this.first, key) <= 0 && !this.endsBefore(key);
  }

  /** Whether a row with a key in `[lower, upper)` can be here; undefined = unbounded. */
  overlaps(lower: Uint8Array | undefined, upper: Uint8Array | undefined): boolean {
    if (lower !== undefined && this.endsBefore(lower)) return false;
    return upper === undefined || compareBytes(this.first, upper) < 0;
  }
}

/** How many tables of `refs` (ascending, a sorted run) start below `key`, visible or not. */
export function countStartingBelow(refs: ReadonlyArray<TableRef>, key: Uint8Array): number {
  let low = 0;
  let high = refs.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(refs[middle]!.firstEntry, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
