/**
 * What range tombstones say about the neighbourhood of a key, for walks that pass many keys.
 *
 * A source answers with a span: the keys around the one asked for about which the answer is the same. Walks ask again
 * only when they leave it. Tables' tombstones may have to be fetched first: then the answer is PENDING.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import { type Need, PENDING, READY } from "./cursor.ts";
import { NOT_COVERED, type RangeSet } from "./range_set.ts";
import { RANGE_SLOT, type Table } from "./table.ts";
import { HeldParts, TableNeed } from "./table_parts.ts";
import type { TableRef } from "./table_ref.ts";

/** Fragments that are looked at, at most, to make one span longer. */
const JOINED_MAX = 64;

/** Keys from `lower` (inclusive) to `upper` (exclusive), undefined = unbounded, and what covers them. */
export class RangeSpan {
  lower: Uint8Array | undefined = undefined;
  upper: Uint8Array | undefined = undefined;
  /** Number of the newest visible tombstone; {@linkcode NOT_COVERED} when none covers these keys. */
  seq: number = NOT_COVERED;

  /** Everything, not covered. */
  reset(): void {
    this.lower = this.upper = undefined;
    this.seq = NOT_COVERED;
  }

  /** Whether `key` lies inside. */
  contains(key: Uint8Array): boolean {
    return (this.lower === undefined || compareBytes(this.lower, key) <= 0) &&
      (this.upper === undefined || compareBytes(key, this.upper) < 0);
  }

  /** Keeps what also lies in `other`. */
  intersect(other: RangeSpan): void {
    const { lower, upper } = other;
    if (lower !== undefined && (this.lower === undefined || compareBytes(lower, this.lower) > 0)) this.lower = lower;
    if (upper !== undefined && (this.upper === undefined || compareBytes(upper, this.upper) < 0)) this.upper = upper;
  }
}

/** The range tombstones of one source of rows. */
export interface RangeSource {
  /**
   * Puts what covers `key` for a read at `maxSeq` into `span`.
   *
   * @param joins joins neighbours that are covered by whatever number, so that a walk can pass them in one step; `seq`
   * is then that of one of them
   */
  spanAt(key: Uint8Array, maxSeq: number, joins: boolean, span: RangeSpan): typeof READY | typeof PENDING;
  /** Adds to `into` what the last answer, if it was PENDING, waits for. */
  collectNeeds(into: Need[]): void;
}

/** Tombstones that are in memory. */
export class SetRanges implements RangeSource {
  readonly #set: RangeSet;

  constructor(set: RangeSet) {
    this.#set = set;
  }

  spanAt(key: Uint8Array, maxSeq: number, joins: boolean, span: RangeSpan): typeof READY {
    spanIn(this.#set, key, maxSeq, joins, span);
    return READY;
  }

  collectNeeds(): void {}
}

/** Tombstones of the tables of a run, or of one table of L0. */
export class TableRanges implements RangeSource {
  readonly #refs: ReadonlyArray<TableRef>;
  readonly #held: HeldParts = new HeldParts();
  readonly #clipped: Map<TableRef, RangeSet> = new Map();
  #missing: Table | undefined = undefined;

  /** @param refs ascending; only those that have range tombstones, at least one */
  constructor(refs: ReadonlyArray<TableRef>) {
    this.#refs = refs;
  }

  spanAt(key: Uint8Array, maxSeq: number, joins: boolean, span: RangeSpan): typeof READY | typeof PENDING {
    const refs = this.#refs;
    let low = 0;
    let high = refs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(refs[middle]!.first, key) <= 0) low = middle + 1;
      else high = middle;
    }
    const next = refs[low]?.first;
    if (low === 0) {
      span.reset();
      span.upper = next;
      return READY;
    }
    const ref = refs[low - 1]!;
    const set = this.#rangesOf(ref);
    if (set === undefined) {
      this.#missing = ref.table;
      return PENDING;
    }
    spanIn(set, key, maxSeq, joins, span);
    // Beyond this table another one speaks.
    if (next !== undefined && (span.upper === undefined || compareBytes(next, span.upper) < 0)) span.upper = next;
    if (span.lower === undefined || compareBytes(span.lower, ref.first) < 0) span.lower = ref.first;
    return READY;
  }

  collectNeeds(into: Need[]): void {
    if (this.#missing !== undefined) into.push(new TableNeed(this.#missing, RANGE_SLOT, this.#held));
  }

  #rangesOf(ref: TableRef): RangeSet | undefined {
    const isClipped = ref.clipStart !== undefined || ref.clipEnd !== undefined;
    const known = isClipped ? this.#clipped.get(ref) : undefined;
    if (known !== undefined) return known;
    const whole = this.#held.ranges(ref.table);
    if (whole === undefined || !isClipped) return whole;
    const clipped = whole.clipped(ref.clipStart, ref.clipEnd);
    this.#clipped.set(ref, clipped);
    return clipped;
  }
}

const NO_SOURCES: ReadonlyArray<RangeSource> = [];

/** The sources of the tombstones of the tables `refs`; none when they have no tombstones. */
export function tableRanges(refs: ReadonlyArray<TableRef>): ReadonlyArray<RangeSource> {
  return refs.some(hasRanges) ? [new TableRanges(refs.filter(hasRanges))] : NO_SOURCES;
}

function hasRanges({ table }: TableRef): boolean {
  return table.hasRanges;
}

/** The sources of sets that are in memory; empty sets count as none. */
export function setRanges(sets: ReadonlyArray<RangeSet>): ReadonlyArray<RangeSource> {
  return sets.length === 0 ? NO_SOURCES : sets.filter(({ count }) => count > 0).map((set) => new SetRanges(set));
}

function spanIn(set: RangeSet, key: Uint8Array, maxSeq: number, joins: boolean, span: RangeSpan): void {
  const at = set.find(key);
  const isOver = at < set.count && compareBytes(set.start(at), key) <= 0;
  const seq = isOver ? set.seqAt(at, maxSeq) : NOT_COVERED;
  span.seq = seq;
  if (!isOver) {
    span.lower = at === 0 ? undefined : set.end(at - 1);
    span.upper = at === set.count ? undefined : set.start(at);
    return;
  }
  span.lower = set.start(at);
  span.upper = set.end(at);
  if (!joins) return;
  const isCovered = seq !== NOT_COVERED;
  for (let next = at + 1; next < set.count && next <= at + JOINED_MAX; next++) {
    if (!touch(set, next - 1, next) || (set.seqAt(next, maxSeq) !== NOT_COVERED) !== isCovered) break;
    span.upper = set.end(next);
  }
  for (let before = at - 1; before >= 0 && before >= at - JOINED_MAX; before--) {
    if (!touch(set, before, before + 1) || (set.seqAt(before, maxSeq) !== NOT_COVERED) !== isCovered) break;
    span.lower = set.start(before);
  }
}

/** Whether fragment `b` begins where `a` ends. */
function touch(set: RangeSet, a: number, b: number): boolean {
  const end = set.end(a);
  return end !== undefined && compareBytes(end, set.start(b)) === 0;
}
