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

/** Numbers below the newest that a set remembers what it looks like at. */
const OLDER_VIEWS_MAX = 4;

/** Fragments in ascending order. */
export class RangeSet {
  /** Number of fragments. */
  readonly count: number;
  /** What the fragments were cut from. */
  readonly source: ReadonlyArray<RangeTombstone>;
  readonly #starts: ReadonlyArray<Uint8Array>;
  readonly #ends: ReadonlyArray<Uint8Array | undefined>;
  readonly #newest: ReadonlyArray<number>;
  /** What reads at older numbers see, those asked for last. */
  readonly #older: Map<number, RangeSet> = new Map();

  private constructor(
    source: ReadonlyArray<RangeTombstone>,
    starts: ReadonlyArray<Uint8Array>,
    ends: ReadonlyArray<Uint8Array | undefined>,
    newest: ReadonlyArray<number>,
  ) {
    this.count = starts.length;
    this.source = source;
    this.#starts = starts;
    this.#ends = ends;
    this.#newest = newest;
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
    const add = (start: Uint8Array, end: Uint8Array | undefined, seq: number) => {
      starts.push(start);
      ends.push(end);
      newest.push(seq);
    };
    if (areFragments(tombstones)) {
      tombstones.forEach(({ start, end, seq }, i) => {
        if (i === 0 || compareBytes(tombstones[i - 1]!.start, start) !== 0) add(start, end, seq);
      });
    } else sweep(tombstones, (start, end, active) => add(start, end, active.newest));
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

  /** The newest number of at most `maxSeq` over fragment `i`; {@linkcode NOT_COVERED} when all are newer. */
  seqAt(i: number, maxSeq: number): number {
    const newest = this.#newest[i]!;
    return newest <= maxSeq ? newest : this.#asOf(maxSeq).seqOver(this.#starts[i]!, maxSeq);
  }

  /** The same without the tombstones above `maxSeq`: all numbers over all fragments would be a square of them. */
  #asOf(maxSeq: number): RangeSet {
    let view = this.#older.get(maxSeq);
    if (view === undefined) {
      view = RangeSet.of(this.source.filter(({ seq }) => seq <= maxSeq));
      const [oldest] = this.#older.keys();
      if (this.#older.size === OLDER_VIEWS_MAX) this.#older.delete(oldest!);
      this.#older.set(maxSeq, view);
    }
    return view;
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
    sweep(this.source, (start, end, active) => active.addTo(all, start, end));
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
      for (const one of group) joined.push(one);
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

  /** Adds tombstones. */
  add(tombstones: ReadonlyArray<RangeTombstone>): void {
    if (tombstones.length === 0) return;
    this.count += tombstones.length;
    const sets = [...this.#sets];
    const merged = [...tombstones];
    while (sets.length > 0 && sets.at(-1)!.source.length <= merged.length) {
      for (const tombstone of sets.pop()!.source) merged.push(tombstone);
    }
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

/** Whether tombstones are fragments in order, as a table keeps them. */
function areFragments(tombstones: ReadonlyArray<RangeTombstone>): boolean {
  for (let i = 1; i < tombstones.length; i++) {
    const { start, end, seq } = tombstones[i]!;
    const before = tombstones[i - 1]!;
    if (compareBytes(before.start, start) !== 0) {
      if (before.end === undefined || compareBytes(before.end, start) > 0) return false;
    } else if (before.seq <= seq || !isSameEnd(before.end, end)) return false;
  }
  return true;
}

function isSameEnd(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : compareBytes(a, b) === 0;
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

  addTo(all: RangeTombstone[], start: Uint8Array, end: Uint8Array | undefined): void {
    for (let n = 0; n < this.#seqs.length; n++) {
      all.push({ start, end, seq: this.#seqs[n]!, createTs: this.#createTs[n]! });
    }
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
