/**
 * What a write batch holds, and how it becomes rows: at most one per key, in ascending key order.
 *
 * Operations are kept as they come, in append-only arrays, so a capture is a count and a few references and stays true
 * while the batch grows. Resolving changes nothing, so one batch can be written again and again.
 *
 * Folding per key, in order of the operations: a put or a delete makes earlier ones irrelevant; merges after it fold
 * onto it (a delete is the empty base), merges alone fold into one operand. The expiry of a fold is the earliest of
 * its parts (K-23). Without an operator several operations may not fold and are refused (K-24).
 *
 * All rows of a batch have one number, under which its range tombstones hide nothing of the batch. So a deleted range
 * takes the earlier operations on its keys out of the batch, and what stays stands above its tombstone.
 *
 * @module
 */
import { commonPrefixLength, compareSlices, keyWord } from "../bytes/compare.ts";
import { InvalidArgument } from "../errors.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY } from "../format/types.ts";
import type { Memtable } from "../lsm/memtable.ts";
import type { FoldMerge } from "../lsm/merge_operator.ts";
import { RangeSet } from "../lsm/range_set.ts";
import type { KeySpan } from "../state/key_spans.ts";
import type { MergeOperator } from "./api.ts";
import { boundBytes, compareRanges, type DeletedRange, spanOf } from "./deleted_range.ts";

/** A row lives as long as the database's default says; the first of the four kinds kept with an operation. */
export const TTL_DEFAULT = 0;
/** Never expires. */
export const TTL_NONE = 1;
/** So many ms after the write. */
export const TTL_AFTER = 2;
/** At a time, ms since 1970. */
export const TTL_AT = 3;

/** Expiry in ms of a row written at `tick`; NO_EXPIRY for none, also when the sum leaves the range of times. */
export function expiryAt(mode: number, millis: number, tick: number, defaultTtlMillis: number): number {
  if (mode === TTL_AT) return millis;
  if (mode === TTL_NONE) return NO_EXPIRY;
  const at = tick + (mode === TTL_AFTER ? millis : defaultTtlMillis);
  return at > Number.MAX_SAFE_INTEGER ? NO_EXPIRY : at;
}

/** A range that a batch deletes. */
export interface BatchRange extends DeletedRange {
  /** Operations on single keys that were added before it. */
  readonly at: number;
}

/** Operations in append-only arrays: key and value of operation `i` are `bytes[starts[i]..keyEnds[i]..ends[i])`. */
export interface BatchOps {
  readonly bytes: Uint8Array;
  readonly starts: readonly number[];
  readonly keyEnds: readonly number[];
  readonly ends: readonly number[];
  /** 0, FLAG_TOMBSTONE or FLAG_MERGE. */
  readonly kinds: readonly number[];
  readonly ttlModes: readonly number[];
  readonly ttlMillis: readonly number[];
  /** Deleted ranges, in the order of the calls. */
  readonly ranges: readonly BatchRange[];
}

/** One row of a resolved batch. */
export interface BatchRow {
  readonly key: Uint8Array;
  /** 0, FLAG_TOMBSTONE or FLAG_MERGE. */
  readonly flags: number;
  readonly value: Uint8Array;
  /** ms since 1970; NO_EXPIRY when the row does not expire. */
  readonly expireTs: number;
}

const NO_RANGES: readonly BatchRange[] = [];

/** A batch as it was at one moment. */
export class CapturedBatch {
  /** Number of operations on single keys. */
  readonly points: number;
  /** How many of them are merges. */
  readonly merges: number;
  /** Deleted ranges, in the order of the calls. */
  readonly ranges: readonly BatchRange[];
  /** @internal */
  readonly ops: BatchOps;

  constructor(ops: BatchOps, merges: number) {
    this.ops = ops;
    this.points = ops.starts.length;
    this.merges = merges;
    this.ranges = ops.ranges.length === 0 ? NO_RANGES : ops.ranges.slice();
  }

  /** Number of operations, ranges included. */
  get size(): number {
    return this.points + this.ranges.length;
  }

  /** Calls back with the key of each operation on one, in the order of the calls. */
  forEachKey(visit: (bytes: Uint8Array, start: number, end: number) => void): void {
    const { bytes, starts, keyEnds } = this.ops;
    for (let i = 0; i < this.points; i++) visit(bytes, starts[i]!, keyEnds[i]!);
  }

  /** Calls back with each deleted range, in the order of the calls. */
  forEachRange(visit: (range: KeySpan) => void): void {
    for (const range of this.ranges) visit(spanOf(range));
  }

  /**
   * Decides the rows. Everything that can be refused is refused here.
   *
   * @param tick creation time of the rows, ms; counts towards their expiry
   * @param defaultTtlMillis Infinity for none
   * @param fold the operator in its one shape; undefined when there is none here
   * @param operator the database's setting: undefined refuses every merge
   * @throws InvalidArgument with reason "merge-operator-missing" or "merge-operator-failed"
   */
  plan(
    tick: number,
    defaultTtlMillis: number,
    fold: FoldMerge | undefined,
    operator: MergeOperator | "elsewhere" | undefined,
  ): BatchRows {
    if (this.merges > 0 && operator === undefined) throw missingOperator("it holds merges");
    return new BatchRows(this.ops, this.points, this.ranges, tick, defaultTtlMillis, fold);
  }

  /** As {@linkcode CapturedBatch.plan}, but with every row as an object of its own and without the deleted ranges. */
  resolve(
    tick: number,
    defaultTtlMillis: number,
    fold: FoldMerge | undefined,
    operator: MergeOperator | "elsewhere" | undefined,
  ): BatchRow[] {
    const rows = this.plan(tick, defaultTtlMillis, fold, operator);
    return Array.from({ length: rows.count }, (_, i) => rows.row(i));
  }
}

function missingOperator(what: string): InvalidArgument {
  return new InvalidArgument({
    reason: "merge-operator-missing",
    message: `Cannot write the batch: ${what} and there is no merge operator here. Open the database with one`,
  });
}

/** Rows of a batch, ready to be inserted: the ranges, then rows of keys, ascending by key, no key twice. */
export class BatchRows {
  /** Number of rows of keys. */
  count: number = 0;
  /** Creation time of the rows, ms. */
  readonly tick: number;
  /** Deleted ranges by start, then by end, each once. */
  readonly ranges: readonly DeletedRange[];
  private readonly ops: BatchOps;
  private readonly defaultTtlMillis: number;
  private readonly fold: FoldMerge | undefined;
  /** Per row: the operation that it comes from. */
  private readonly source: Int32Array;
  /** Per row: what it was folded to, if it was. Absent when nothing was. */
  private folded: Array<BatchRow | undefined> | undefined = undefined;

  constructor(
    ops: BatchOps,
    points: number,
    ranges: readonly BatchRange[],
    tick: number,
    defaultTtlMillis: number,
    fold: FoldMerge | undefined,
  ) {
    this.ops = ops;
    this.ranges = ranges.length < 2 ? ranges : eachOnce(ranges);
    this.tick = tick;
    this.defaultTtlMillis = defaultTtlMillis;
    this.fold = fold;
    this.source = sortedOps(ops, points);
    this.keepOnePerKey(points, ranges);
  }

  /** Inserts everything under one sequence number. Cannot fail. Returns its bytes: bounds, keys and values. */
  insertInto(memtable: Memtable, seq: number): number {
    const { bytes, starts, keyEnds, ends, kinds } = this.ops;
    const { source, folded, tick } = this;
    let total = 0;
    memtable.insertRanges(this.ranges.map(({ start, end }) => ({ start, end, seq, createTs: tick })));
    for (const range of this.ranges) total += boundBytes(range);
    for (let i = 0; i < this.count; i++) {
      const row = folded?.[i];
      const op = source[i]!;
      const start = starts[op]!;
      const keyEnd = keyEnds[op]!;
      total += keyEnd - start;
      if (row === undefined) {
        const end = ends[op]!;
        memtable.insert(bytes, start, keyEnd, seq, kinds[op]!, tick, this.expiryOf(op), bytes, keyEnd, end);
        total += end - keyEnd;
      } else {
        const { value } = row;
        memtable.insert(bytes, start, keyEnd, seq, row.flags, tick, row.expireTs, value, 0, value.length);
        total += value.length;
      }
    }
    return total;
  }

  /** Calls back with the key of each row, ascending. */
  forEachKey(visit: (bytes: Uint8Array, start: number, end: number) => void): void {
    const { bytes, starts, keyEnds } = this.ops;
    for (let i = 0; i < this.count; i++) visit(bytes, starts[this.source[i]!]!, keyEnds[this.source[i]!]!);
  }

  /** Calls back with each deleted range. */
  forEachRange(visit: (range: KeySpan) => void): void {
    for (const range of this.ranges) visit(spanOf(range));
  }

  /** Row `i` of {@linkcode BatchRows.count}. Its bytes belong to the batch. */
  row(i: number): BatchRow {
    const row = this.folded?.[i];
    if (row !== undefined) return row;
    const op = this.source[i]!;
    return { key: this.key(op), flags: this.ops.kinds[op]!, value: this.value(op), expireTs: this.expiryOf(op) };
  }

  private key(op: number): Uint8Array {
    return this.ops.bytes.subarray(this.ops.starts[op]!, this.ops.keyEnds[op]!);
  }

  private value(op: number): Uint8Array {
    return this.ops.bytes.subarray(this.ops.keyEnds[op]!, this.ops.ends[op]!);
  }

  /** A delete's time to live is "none". */
  private expiryOf(op: number): number {
    const { ttlModes, ttlMillis } = this.ops;
    return expiryAt(ttlModes[op]!, ttlMillis[op]!, this.tick, this.defaultTtlMillis);
  }

  /** Turns the sorted operations into rows, in place. */
  private keepOnePerKey(size: number, ranges: readonly BatchRange[]): void {
    const { ops, source } = this;
    const discards = discardsOf(ranges);
    for (let from = 0; from < size;) {
      let to = from + 1;
      while (to < size && compareOps(ops, source[from]!, source[to]!) === 0) to++;
      if (discards.count > 0) {
        const first = discards.seqOver(this.key(source[from]!), Infinity);
        while (from < to && source[from]! < first) from++;
        if (from === to) continue;
      }
      const last = source[to - 1]!;
      if (to - from > 1 && ops.kinds[last] === FLAG_MERGE) this.foldKey(from, to);
      source[this.count++] = last;
      from = to;
    }
  }

  /** Folds the operations `from..to` (exclusive) of one key, the last of which is a merge, into the next row. */
  private foldKey(from: number, to: number): void {
    const { kinds } = this.ops;
    const { source } = this;
    let first = to - 1;
    while (first > from && kinds[source[first]!] === FLAG_MERGE) first--;
    const hasBase = kinds[source[first]!] !== FLAG_MERGE;
    if (this.fold === undefined) throw missingOperator("several operations on one key have to be folded");
    const base = hasBase && kinds[source[first]!] !== FLAG_TOMBSTONE ? this.value(source[first]!).slice() : undefined;
    const operands: Uint8Array[] = [];
    let expireTs = NO_EXPIRY;
    for (let i = first; i < to; i++) {
      expireTs = Math.min(expireTs, this.expiryOf(source[i]!));
      if (i > first || !hasBase) operands.push(this.value(source[i]!).slice());
    }
    const key = this.key(source[first]!);
    const value = this.fold(key.slice(), base, operands).slice();
    this.folded ??= [];
    this.folded[this.count] = { key, flags: hasBase ? 0 : FLAG_MERGE, value, expireTs };
  }
}

/** Ranges by start, then by end, each once. */
function eachOnce(ranges: readonly BatchRange[]): readonly DeletedRange[] {
  const sorted = ranges.slice().sort(compareRanges);
  return sorted.filter((range, i) => i === 0 || compareRanges(sorted[i - 1]!, range) !== 0);
}

/** For every key: the number of operations before the last range over it. Those among them on that key count no more. */
export function discardsOf(ranges: readonly BatchRange[]): RangeSet {
  const some = ranges.filter(({ at }) => at > 0);
  return some.length === 0 ? RangeSet.none : RangeSet.of(some.map(({ start, end, at }) => ({
    start,
    end,
    seq: at,
    createTs: 0,
  })));
}

function compareOps(ops: BatchOps, a: number, b: number): number {
  const { bytes, starts, keyEnds } = ops;
  return compareSlices(bytes, starts[a]!, keyEnds[a]!, bytes, starts[b]!, keyEnds[b]!);
}

/** Bits of the operation's number in a packed sort key; above its key word's 32 bits nothing of a double is left. */
const INDEX_SCALE = 2 ** 20;

/** The operations in order of key, those of one key in order of the calls. */
function sortedOps(ops: BatchOps, size: number): Int32Array {
  const order = new Int32Array(size);
  let isSorted = true;
  for (let i = 0; i < size; i++) {
    order[i] = i;
    if (isSorted && i > 0 && compareOps(ops, i - 1, i) > 0) isSorted = false;
  }
  if (isSorted) return order;
  const compare = (a: number, b: number): number => compareOps(ops, a, b) || a - b;
  if (size > INDEX_SCALE) return order.sort(compare);
  // Sorting plain doubles is many times faster than calling back for each comparison.
  const { bytes, starts, keyEnds } = ops;
  let shared = keyEnds[0]! - starts[0]!;
  for (let i = 1; i < size && shared > 0; i++) {
    shared = commonPrefixLength(bytes, starts[0]!, starts[0]! + shared, bytes, starts[i]!, keyEnds[i]!);
  }
  const packed = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    packed[i] = (keyWord(bytes, starts[i]! + shared, keyEnds[i]!) + 0x80000000) * INDEX_SCALE + i;
  }
  packed.sort();
  for (let i = 0; i < size; i++) order[i] = packed[i]! % INDEX_SCALE;
  for (let from = 0; from < size;) {
    const word = Math.floor(packed[from]! / INDEX_SCALE);
    let to = from + 1;
    while (to < size && Math.floor(packed[to]! / INDEX_SCALE) === word) to++;
    if (to - from > 1) order.subarray(from, to).sort(compare);
    from = to;
  }
  return order;
}
