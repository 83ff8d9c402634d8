/**
 * Range tombstones of one source, cut into fragments so that a key meets at most one.
 *
 * A {@linkcode RangeSet} is immutable: fragments `[start, end)` that do not overlap, ascending, each with the numbers of
 * all tombstones over it, newest first. A {@linkcode RangeLevels} grows: it keeps sets whose sizes at least double from
 * one to the next, so that an insertion costs a logarithm on average however reads and insertions take turns, and a
 * reader that holds the sets of a moment is not disturbed.
 *
 * Invariants: every tombstone over a key is counted, not only the newest of each start (an older and wider one may cover
 * where a newer one does not, and older reads need the older one); fragments are found by containment, never by their
 * start alone.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { RangeTombstone } from "../format/types.ts";

/** Number of "no tombstone": below every row's. */
export const NOT_COVERED = 0;

/** The numbers and times of the tombstones over a fragment, newest first. */
export interface Cover {
  readonly seqs: ReadonlyArray<number>;
  readonly createTs: ReadonlyArray<number>;
}

/** Fragments in ascending order. */
export class RangeSet {
  /** Number of fragments. */
  readonly count: number;
  /** What the fragments were cut from. */
  readonly source: ReadonlyArray<RangeTombstone>;
  readonly #starts: ReadonlyArray<Uint8Array>;
  readonly #ends: ReadonlyArray<Uint8Array | undefined>;
  readonly #newest: ReadonlyArray<number>;
  #covers: ReadonlyArray<Cover> | undefined;

  private constructor(
    source: ReadonlyArray<RangeTombstone>,
    starts: ReadonlyArray<Uint8Array>,
    ends: ReadonlyArray<Uint8Array | undefined>,
    newest: ReadonlyArray<number>,
    covers?: ReadonlyArray<Cover>,
  ) {
    this.count = starts.length;
    this.source = source;
    this.#starts = starts;
    this.#ends = ends;
    this.#newest = newest;
    this.#covers = covers;
  }

  /** No tombstones. */
  static readonly none: RangeSet = new RangeSet([], [], [], []);

  /**
   * Cuts tombstones, in any order and however they overlap. Those of one number over one key count once, those that end
   * where they begin, or before, not at all.
   */
  static of(tombstones: ReadonlyArray<RangeTombstone>): RangeSet {
    if (tombstones.length === 0) return RangeSet.none;
    if (tombstones.some(coversNothing)) return RangeSet.of(tombstones.filter((one) => !coversNothing(one)));
    const starts: Uint8Array[] = [];
    const ends: Array<Uint8Array | undefined> = [];
    const newest: number[] = [];
    sweep(tombstones, (start, end, active) => {
      starts.push(start);
      ends.push(end);
      newest.push(active.newest);
    });
    return new RangeSet(tombstones, starts, ends, newest);
  }

  /** Where fragment `i` begins. */
  start(i: number): Uint8Array {
    return this.#starts[i]!;
  }

  /** Where fragment `i` ends, exclusive; undefined: with the last key. */
  end(i: number): Uint8Array | undefined {
    return this.#ends[i];
  }

  /**
   * The tombstones over fragment `i`. All covers are made when the first one is asked for, which takes as much memory as
   * the tombstones overlap: what most reads need is the newest number alone.
   */
  cover(i: number): Cover {
    if (this.#covers === undefined) {
      const covers: Cover[] = [];
      sweep(this.source, (_start, _end, active) => void covers.push(active.cover()));
      this.#covers = covers;
    }
    return this.#covers[i]!;
  }

  /** The newest number of at most `maxSeq` over fragment `i`; {@linkcode NOT_COVERED} when all are newer. */
  seqAt(i: number, maxSeq: number): number {
    const newest = this.#newest[i]!;
    if (newest <= maxSeq) return newest;
    const { seqs } = this.cover(i);
    for (let n = 1; n < seqs.length; n++) if (seqs[n]! <= maxSeq) return seqs[n]!;
    return NOT_COVERED;
  }

  /** The first fragment that ends behind `key`: the one that contains it, or the next one; `count` when there is none. */
  find(key: Uint8Array): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const end = this.#ends[middle];
      if (end !== undefined && compareBytes(end, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The newest tombstone of at most `maxSeq` over `key`; {@linkcode NOT_COVERED} when there is none. */
  seqOver(key: Uint8Array, maxSeq: number): number {
    const i = this.find(key);
    if (i === this.count || compareBytes(this.#starts[i]!, key) > 0) return NOT_COVERED;
    return this.seqAt(i, maxSeq);
  }

  /** The fragments as tombstones, by start, then newest first: as a table keeps them. */
  fragments(): RangeTombstone[] {
    const all: RangeTombstone[] = [];
    for (let i = 0; i < this.count; i++) {
      const { seqs, createTs } = this.cover(i);
      const [start, end] = [this.#starts[i]!, this.#ends[i]];
      for (let n = 0; n < seqs.length; n++) all.push({ start, end, seq: seqs[n]!, createTs: createTs[n]! });
    }
    return all;
  }

  /** The part inside `[lower, upper)`; undefined = unbounded. */
  clipped(lower: Uint8Array | undefined, upper: Uint8Array | undefined): RangeSet {
    if (this.count === 0 || (lower === undefined && upper === undefined)) return this;
    return RangeSet.of(this.source.flatMap((tombstone) => {
      const start = lower !== undefined && compareBytes(tombstone.start, lower) < 0 ? lower : tombstone.start;
      const { end } = tombstone;
      const cut = upper !== undefined && (end === undefined || compareBytes(end, upper) > 0) ? upper : end;
      return cut !== undefined && compareBytes(start, cut) >= 0 ? [] : [{ ...tombstone, start, end: cut }];
    }));
  }
}

/** Neighbouring fragments that touch and lie under the same numbers, as one each; in and out as a table keeps them. */
export function joinFragments(fragments: ReadonlyArray<RangeTombstone>): RangeTombstone[] {
  const joined: RangeTombstone[] = [];
  let before: { from: number; to: number } | undefined;
  for (let from = 0; from < fragments.length;) {
    let to = from + 1;
    while (to < fragments.length && compareBytes(fragments[to]!.start, fragments[from]!.start) === 0) to++;
    const group = fragments.slice(from, to);
    const last = before === undefined ? [] : joined.slice(before.from, before.to);
    const end = last[0]?.end;
    const touches = end !== undefined && compareBytes(end, group[0]!.start) === 0;
    if (touches && last.length === group.length && last.every(({ seq }, i) => seq === group[i]!.seq)) {
      for (let i = before!.from; i < before!.to; i++) joined[i] = { ...joined[i]!, end: group[0]!.end };
    } else {
      before = { from: joined.length, to: joined.length + group.length };
      joined.push(...group);
    }
    from = to;
  }
  return joined;
}

/** Tombstones that are added while others read. */
export class RangeLevels {
  #sets: ReadonlyArray<RangeSet> = [];
  /** Tombstones added. */
  count = 0;

  /** The sets as they are now: together they hold every tombstone added so far. */
  get sets(): ReadonlyArray<RangeSet> {
    return this.#sets;
  }

  /** Adds a tombstone. */
  add(tombstone: RangeTombstone): void {
    this.count++;
    const sets = [...this.#sets];
    const merged = [tombstone];
    while (sets.length > 0 && sets.at(-1)!.source.length <= merged.length) merged.push(...sets.pop()!.source);
    sets.push(RangeSet.of(merged));
    this.#sets = sets;
  }

  /** The newest tombstone of at most `maxSeq` over `key`; {@linkcode NOT_COVERED} when there is none. */
  seqOver(key: Uint8Array, maxSeq: number): number {
    return newestOver(this.#sets, key, maxSeq);
  }

  /** All of them, in no order. */
  all(): RangeTombstone[] {
    return this.#sets.flatMap((set) => set.source);
  }
}

/** The newest tombstone of several sets of at most `maxSeq` over `key`; {@linkcode NOT_COVERED} when there is none. */
export function newestOver(sets: ReadonlyArray<RangeSet>, key: Uint8Array, maxSeq: number): number {
  let newest = NOT_COVERED;
  for (let i = 0; i < sets.length; i++) newest = Math.max(newest, sets[i]!.seqOver(key, maxSeq));
  return newest;
}

/** Tells every piece between two neighbouring ends or starts that lies under a tombstone, in ascending order. */
function sweep(
  tombstones: ReadonlyArray<RangeTombstone>,
  tell: (start: Uint8Array, end: Uint8Array | undefined, active: ActiveTombstones) => void,
): void {
  const keys = boundaries(tombstones);
  const entering: RangeTombstone[][] = keys.map(() => []);
  const leaving: RangeTombstone[][] = keys.map(() => []);
  for (const tombstone of tombstones) {
    entering[countBelow(keys, tombstone.start)]!.push(tombstone);
    if (tombstone.end !== undefined) leaving[countBelow(keys, tombstone.end)]!.push(tombstone);
  }
  const active = new ActiveTombstones();
  for (let i = 0; i < keys.length; i++) {
    for (const tombstone of leaving[i]!) active.remove(tombstone);
    for (const tombstone of entering[i]!) active.add(tombstone);
    if (!active.isEmpty) tell(keys[i]!, keys[i + 1], active);
  }
}

/** The tombstones over the place that a sweep has come to. */
class ActiveTombstones {
  readonly #seqs: number[] = [];
  readonly #createTs: number[] = [];
  /** How many tombstones have this number: those of one batch may overlap. */
  readonly #times: number[] = [];

  get isEmpty(): boolean {
    return this.#seqs.length === 0;
  }

  add({ seq, createTs }: RangeTombstone): void {
    const at = this.#at(seq);
    if (this.#seqs[at] === seq) {
      this.#times[at]!++;
      return;
    }
    this.#seqs.splice(at, 0, seq);
    this.#createTs.splice(at, 0, createTs);
    this.#times.splice(at, 0, 1);
  }

  remove({ seq }: RangeTombstone): void {
    const at = this.#at(seq);
    if (--this.#times[at]! > 0) return;
    this.#seqs.splice(at, 1);
    this.#createTs.splice(at, 1);
    this.#times.splice(at, 1);
  }

  get newest(): number {
    return this.#seqs[0]!;
  }

  cover(): Cover {
    return { seqs: [...this.#seqs], createTs: [...this.#createTs] };
  }

  /** Where `seq` stands or belongs: numbers descend. */
  #at(seq: number): number {
    let low = 0;
    let high = this.#seqs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#seqs[middle]! > seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether a tombstone is over no key. */
function coversNothing({ start, end }: RangeTombstone): boolean {
  return end !== undefined && compareBytes(start, end) >= 0;
}

/** All keys at which tombstones begin or end, ascending, each once. */
function boundaries(tombstones: ReadonlyArray<RangeTombstone>): Uint8Array[] {
  const all: Uint8Array[] = [];
  for (const { start, end } of tombstones) {
    all.push(start);
    if (end !== undefined) all.push(end);
  }
  all.sort(compareBytes);
  return all.filter((key, i) => i === 0 || compareBytes(all[i - 1]!, key) !== 0);
}

/** How many of the ascending `keys` are below `key`. */
function countBelow(keys: ReadonlyArray<Uint8Array>, key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
