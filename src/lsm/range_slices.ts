/**
 * What a compaction keeps of the range tombstones of its sources (see `range_retention.ts`), worked out in slices of the
 * keys: as much as a few thousand tombstones at once, with a turn for others in between.
 *
 * A tombstone that reaches over the end of a slice is cut there, and what is kept of its pieces is joined again: the
 * answer is that of one piece. Of those that reach over an end only what may still matter goes on, so that the work grows
 * with the tombstones that go in and come out.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { RangeTombstone } from "../format/types.ts";
import { clippedTo, elidedWithin, prunedFragments, type StripeOf, stripesAbove } from "./range_retention.ts";
import { joinFragments, RangeSet } from "./range_set.ts";
import { groupOverlapping, type KeySpan } from "./table_span.ts";

/** Tombstones of a slice, about: a few milliseconds of work. */
const PER_SLICE = 2048;

/** Tombstones of one source, ascending by start. */
type Source = ReadonlyArray<RangeTombstone>;

/**
 * Does what `retainedRanges` does for all tombstones of `sources` together.
 *
 * @param sources fragments of each, as tables keep them
 * @param perSlice tombstones of a slice, about
 */
export function retainedInSlices(
  sources: ReadonlyArray<Source>,
  minSeq: number,
  inUse: ReadonlyArray<KeySpan>,
  perSlice: number = PER_SLICE,
): Generator<void, RangeTombstone[]> {
  const stripeOf = stripesAbove(minSeq);
  const spans = groupOverlapping(inUse);
  const own = inUse.length > 0 ? sources : sources.map((source) => source.filter(({ seq }) => seq > minSeq));
  const keep = (fragments: RangeTombstone[]) => inUse.length > 0 ? elidedWithin(fragments, minSeq, spans) : fragments;
  return inSlices(own, stripeOf, keep, perSlice);
}

/** What the tombstones of `sources` of at most `minSeq` cover. */
export function* coveredInSlices(
  sources: ReadonlyArray<Source>,
  minSeq: number,
  perSlice: number = PER_SLICE,
): Generator<void, RangeSet> {
  const own = sources.map((source) => source.filter(({ seq }) => seq <= minSeq));
  return RangeSet.of(yield* inSlices(own, () => minSeq, (fragments) => fragments, perSlice));
}

/** Cuts and prunes tombstones; of each slice what `keep` answers stays. */
function* inSlices(
  sources: ReadonlyArray<Source>,
  stripeOf: StripeOf,
  keep: (fragments: RangeTombstone[]) => RangeTombstone[],
  perSlice: number,
): Generator<void, RangeTombstone[]> {
  const walks = sources.map((source) => new Walk(source));
  const step = Math.max(1, Math.ceil(perSlice / walks.length));
  const kept: RangeTombstone[] = [];
  let open: RangeTombstone[] = [];
  for (;;) {
    const cut = nextCut(walks, step);
    const slice: RangeTombstone[] = [];
    const behind: RangeTombstone[] = [];
    const divide = (tombstone: RangeTombstone): void => {
      const before = clippedTo(tombstone, undefined, cut);
      const rest = cut === undefined ? undefined : clippedTo(tombstone, cut, undefined);
      if (before !== undefined) slice.push(before);
      if (rest !== undefined) behind.push(rest);
    };
    for (const tombstone of open) divide(tombstone);
    for (const walk of walks) walk.takeBelow(cut, divide);
    join(kept, keep(prunedFragments(slice, stripeOf)));
    if (cut === undefined) return kept;
    open = prunedFragments(behind, stripeOf);
    yield;
  }
}

/** Adds fragments that lie behind `kept`, the first of them joined to the last there when they are alike. */
function join(kept: RangeTombstone[], fragments: ReadonlyArray<RangeTombstone>): void {
  let from = kept.length;
  const last = kept.at(-1)?.start;
  while (last !== undefined && from > 0 && compareBytes(kept[from - 1]!.start, last) === 0) from--;
  for (const one of joinFragments([...kept.splice(from), ...fragments])) kept.push(one);
}

/** Where a slice ends, so that some walk goes on by `step` and no other by much more; undefined: with the last key. */
function nextCut(walks: ReadonlyArray<Walk>, step: number): Uint8Array | undefined {
  let cut: Uint8Array | undefined;
  for (const walk of walks) {
    const start = walk.startAfter(step);
    if (start !== undefined && (cut === undefined || compareBytes(start, cut) < 0)) cut = start;
  }
  return cut;
}

/** Goes through the tombstones of one source. */
class Walk {
  readonly #source: Source;
  #at = 0;

  constructor(source: Source) {
    const ascends = source.every(({ start }, i) => i === 0 || compareBytes(source[i - 1]!.start, start) <= 0);
    this.#source = ascends ? source : [...source].sort((a, b) => compareBytes(a.start, b.start));
  }

  /** Where the tombstone `step` places on begins, or the first behind it that begins later than the next one. */
  startAfter(step: number): Uint8Array | undefined {
    const source = this.#source;
    const first = source[this.#at]?.start;
    let low = this.#at + step;
    let high = source.length;
    if (first === undefined || low >= high) return undefined;
    if (compareBytes(source[low]!.start, first) > 0) return source[low]!.start;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(source[middle]!.start, first) > 0) high = middle;
      else low = middle + 1;
    }
    return source[low]?.start;
  }

  /** Takes the tombstones that begin below `cut`; all that are left when it is undefined. */
  takeBelow(cut: Uint8Array | undefined, take: (tombstone: RangeTombstone) => void): void {
    const source = this.#source;
    while (this.#at < source.length && (cut === undefined || compareBytes(source[this.#at]!.start, cut) < 0)) {
      take(source[this.#at++]!);
    }
  }
}
