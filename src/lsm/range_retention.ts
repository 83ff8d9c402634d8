/**
 * What a flush or a compaction keeps of range tombstones, and how it parts them among the tables that it writes.
 *
 * Reads at every protected sequence number must give the same answer before and after. A compaction knows the oldest of
 * them, `minSeq`: of the tombstones over a key all above it stay, since a snapshot may lie between any two of them, and
 * of those at or below it the newest, which every read that can exist sees. A flush knows the others too and keeps the
 * newest of each stripe between two of them, so that old snapshots do not pile up what overlaps. The newest at or below
 * `minSeq` goes too where nothing older than the sources can hold a row.
 *
 * Invariants: T4 no tombstone covers what none of its sources covered; T5 one goes only where nothing older can hold a
 * row and every protected read sees it.
 *
 * A tombstone that is cut stays cut: pieces are joined only when all of them come from sources of the same work. All
 * functions are pure; tombstones go in in any order and come out as a table keeps them (see `range_section.ts`).
 *
 * @module
 */
import { compareBytes, compareSlices } from "../bytes/compare.ts";
import type { RangeTombstone } from "../format/types.ts";
import { successor } from "./key_range.ts";
import { joinFragments, RangeSet } from "./range_set.ts";
import type { RowView } from "./row_fields.ts";
import { groupOverlapping, type KeySpan } from "./table_span.ts";

/** Bytes that a tombstone takes in a table beside its keys, about. */
const FRAGMENT_EXTRA = 20;

/** The stripe of a number: between two numbers of one stripe there is no read that must not change. */
export type StripeOf = (seq: number) => number;

/**
 * Stripes when every read at `bound` and above is protected, and below it those at `snapshots` alone.
 *
 * @param snapshots ascending
 */
export function stripesAbove(bound: number, snapshots: ReadonlyArray<number> = []): StripeOf {
  return (seq) => {
    if (seq > bound) return seq;
    let low = 0;
    let high = snapshots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (snapshots[middle]! < seq) low = middle + 1;
      else high = middle;
    }
    return Math.min(snapshots[low] ?? bound, bound);
  };
}

/** The fragments of `tombstones`, of each only the newest number of every stripe; neighbours that are alike are joined. */
export function prunedFragments(tombstones: ReadonlyArray<RangeTombstone>, stripeOf: StripeOf): RangeTombstone[] {
  const stripes = new Map<number, RangeTombstone[]>();
  for (const tombstone of tombstones) {
    const stripe = stripeOf(tombstone.seq);
    const others = stripes.get(stripe);
    if (others === undefined) stripes.set(stripe, [tombstone]);
    else others.push(tombstone);
  }
  const kept = [...stripes.values()].map((ones) => stripes.size > 1 && ones.length === 1 ? ones : newestOnly(ones));
  // Of one stripe they are fragments already.
  return joinFragments(kept.length === 1 ? kept[0]! : RangeSet.of(kept.flat()).fragments());
}

/** The fragments of `tombstones`, each with its newest number alone. */
function newestOnly(tombstones: ReadonlyArray<RangeTombstone>): RangeTombstone[] {
  const times = new Map<number, number>();
  for (const { seq, createTs } of tombstones) times.set(seq, createTs);
  const set = RangeSet.of(tombstones);
  return Array.from({ length: set.count }, (_, i) => {
    const seq = set.seqAt(i, Infinity);
    return { start: set.start(i), end: set.end(i), seq, createTs: times.get(seq)! };
  });
}

/**
 * What is left of `fragments` when tombstones of at most `minSeq` are kept only over keys that something older may hold.
 *
 * @param inUse where something older than the sources may lie, in any order
 */
export function elidedFragments(
  fragments: ReadonlyArray<RangeTombstone>,
  minSeq: number,
  inUse: ReadonlyArray<KeySpan>,
): RangeTombstone[] {
  return elidedWithin(fragments, minSeq, groupOverlapping(inUse));
}

/** The same for spans that ascend and do not overlap. */
export function elidedWithin(
  fragments: ReadonlyArray<RangeTombstone>,
  minSeq: number,
  spans: ReadonlyArray<KeySpan>,
): RangeTombstone[] {
  const kept: RangeTombstone[] = [];
  for (const fragment of fragments) {
    if (fragment.seq > minSeq) kept.push(fragment);
    else addInside(kept, fragment, spans);
  }
  return kept.length === fragments.length && kept.every((one, i) => one === fragments[i])
    ? kept
    : joinFragments(RangeSet.of(kept).fragments());
}

/** Adds the parts of `fragment` that lie in `spans`, which ascend; the fragment itself when it lies in one of them. */
function addInside(into: RangeTombstone[], fragment: RangeTombstone, spans: ReadonlyArray<KeySpan>): void {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const end = endOf(spans[middle]!);
    if (end !== undefined && compareBytes(end, fragment.start) <= 0) low = middle + 1;
    else high = middle;
  }
  for (; low < spans.length && isBelow(spans[low]!.first, fragment.end); low++) {
    const piece = clippedTo(fragment, spans[low]!.first, endOf(spans[low]!));
    if (piece !== undefined) into.push(piece);
  }
}

/** First key behind a span; undefined = there is none. */
function endOf({ end, endInclusive }: KeySpan): Uint8Array | undefined {
  return end === undefined || !endInclusive ? end : successor(end);
}

function isBelow(key: Uint8Array, end: Uint8Array | undefined): boolean {
  return end === undefined || compareBytes(key, end) < 0;
}

/** The part of a tombstone in `[lower, upper)`; itself when it lies inside, undefined when nothing does. */
export function clippedTo(
  tombstone: RangeTombstone,
  lower: Uint8Array | undefined,
  upper: Uint8Array | undefined,
): RangeTombstone | undefined {
  const { start, end } = tombstone;
  const isCutBelow = lower !== undefined && compareBytes(start, lower) < 0;
  const isCutAbove = upper !== undefined && !(end !== undefined && compareBytes(end, upper) <= 0);
  if (!isCutBelow && !isCutAbove) return tombstone;
  const [from, to] = [isCutBelow ? lower : start, isCutAbove ? upper : end];
  return isBelow(from, to) ? { ...tombstone, start: from, end: to } : undefined;
}

/** What a flush, or a compaction (in slices: `range_slices.ts`), writes of the tombstones of its sources: pruned, and elided where nothing older is. */
export function retainedRanges(
  tombstones: ReadonlyArray<RangeTombstone>,
  minSeq: number,
  inUse: ReadonlyArray<KeySpan>,
  stripeOf: StripeOf = stripesAbove(minSeq),
): RangeTombstone[] {
  if (inUse.length === 0) return prunedFragments(tombstones.filter(({ seq }) => seq > minSeq), stripeOf);
  return elidedFragments(prunedFragments(tombstones, stripeOf), minSeq, inUse);
}

/** All keys there are. */
export const ALL_KEYS: KeySpan = { first: new Uint8Array(0), end: undefined, endInclusive: false };

/** Hands fragments to the tables of one walk, in the order of their keys. A fragment that a table's end cuts goes on. */
export class RangeCutter {
  readonly #fragments: ReadonlyArray<RangeTombstone>;
  #at = 0;
  #taken: RangeTombstone[] = [];
  /**
   * Bytes of the fragments of the current table, about, without what the end of the one before cut. That counted where it
   * was taken: a table that is full of it from its beginning would end with its first row, and so would the next one.
   */
  bytes: number = 0;
  /** Where the next fragment begins that no table has yet; undefined when there is none. */
  nextStart: Uint8Array | undefined;

  /** @param fragments as a table keeps them */
  constructor(fragments: ReadonlyArray<RangeTombstone>) {
    this.#fragments = fragments;
    this.nextStart = fragments[0]?.start;
  }

  /** Whether the current table has fragments. */
  get hasTaken(): boolean {
    return this.#taken.length > 0;
  }

  /** Whether the current table has a fragment that begins below the key of `row`. */
  hasTakenBelow({ keyBytes, keyStart, keyEnd }: RowView): boolean {
    const first = this.#taken[0]?.start;
    return first !== undefined && compareSlices(first, 0, first.length, keyBytes, keyStart, keyEnd) < 0;
  }

  /** Whether the next fragment begins below the key of `row`, or at it: then both belong into one table. */
  isNextBelow({ keyBytes, keyStart, keyEnd }: RowView): boolean {
    const next = this.nextStart;
    return next !== undefined && compareSlices(next, 0, next.length, keyBytes, keyStart, keyEnd) <= 0;
  }

  /** Gives the current table the next fragment, with all its numbers. */
  take(): void {
    const start = this.nextStart;
    if (start === undefined) return;
    const fragments = this.#fragments;
    while (this.#at < fragments.length && compareBytes(fragments[this.#at]!.start, start) === 0) {
      const fragment = fragments[this.#at++]!;
      this.#taken.push(fragment);
      this.bytes += fragment.start.length + (fragment.end?.length ?? 0) + FRAGMENT_EXTRA;
    }
    this.nextStart = fragments[this.#at]?.start;
  }

  /**
   * Ends the current table before `key`; undefined: behind everything that was taken.
   *
   * @returns the table's fragments; what of them lies at or behind `key` is the next table's
   */
  cut(key?: Uint8Array | undefined): RangeTombstone[] {
    const taken = this.#taken;
    this.#taken = [];
    this.bytes = 0;
    if (key === undefined) return taken;
    const left: RangeTombstone[] = [];
    for (const fragment of taken) {
      const [before, behind] = [clippedTo(fragment, undefined, key), clippedTo(fragment, key, undefined)];
      if (before !== undefined) left.push(before);
      if (behind !== undefined) this.#taken.push(behind);
    }
    return left;
  }
}
