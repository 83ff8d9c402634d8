/**
 * From versions to rows: walks a cursor and answers one row per user key that a read sees.
 *
 * Rows above the read's sequence number are passed over first, so that an older visible version is found behind a newer
 * invisible one. Ascending, the newest visible version of a key comes first and decides at once unless it is an operand.
 * Descending, versions come oldest first: all of a key are seen before its row is known, each one adding to or
 * replacing what the older ones said (K-18). Both orders give the same rows.
 *
 * Restartable: everything that was learned about the current key is kept in fields, and a move that was pending is
 * made again by the next call. The key under resolution is remembered as a copy; handed-out memory is never read again
 * after the caller has it.
 *
 * @module
 */
import { compareSlices, keyWord } from "../bytes/compare.ts";
import type { Entry } from "../db/api.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../format/types.ts";
import { type Cursor, END, type Move, PENDING, READY } from "./cursor.ts";
import type { ResultSlab } from "./result_slab.ts";
import { type ReadSpec, VersionFold } from "./version_fold.ts";

const EMPTY = new Uint8Array(0);

/** Where a walk begins and what ends it: `lower` is inclusive, `upper` exclusive, undefined is unbounded. */
export interface HalfOpenRange {
  readonly lower: Uint8Array | undefined;
  readonly upper: Uint8Array | undefined;
}

/** Makes the public entry of a row. A row without a creation time (older files) gets 0. */
export function makeEntry(key: Uint8Array, value: Uint8Array, seq: number, createTs: number, expireTs: number): Entry {
  const createdAt = createTs === NO_TICK ? 0 : createTs;
  return expireTs === NO_EXPIRY ? { key, value, seq, createdAt } : { key, value, seq, createdAt, expiresAt: expireTs };
}

/** Resolves the rows of a walk, which may turn: each `ascend` or `descend` begins it anew from a key. */
export class RowResolver {
  /** The last row answered. */
  entry: Entry | undefined = undefined;
  readonly #source: Cursor;
  readonly #spec: ReadSpec;
  #ascending = true;
  readonly #slab: ResultSlab;
  readonly #keysOnly: boolean;
  readonly #lower: Uint8Array | undefined;
  readonly #upper: Uint8Array | undefined;
  /** Words of the bounds. */
  readonly #lowerHi: number;
  readonly #lowerLo: number;
  readonly #upperHi: number;
  readonly #upperLo: number;
  readonly #fold: VersionFold = new VersionFold();

  #from: Uint8Array | undefined;
  /** The source must be positioned before it can be stepped. */
  #started = false;
  /** The row under the source was dealt with: move first. */
  #due = true;
  #ended = false;

  /** The key that is being or was last resolved: `#key[0..#keyEnd)`. */
  #key: Uint8Array = EMPTY;
  #keyEnd = -1;
  #keyHi = 0;
  #keyLo = 0;
  /** Memory of `#key` that belongs to this resolver. */
  #scratch: Uint8Array = new Uint8Array(64);
  /** Ascending: operands of the key are being collected. Descending: versions of it are. */
  #collecting = false;
  /** Descending: the answer so far. */
  #baseValue: Uint8Array | undefined = undefined;

  /**
   * Stands before the first row of the range, ready to ascend.
   *
   * @param source the merged rows
   * @param slab where results are copied to; used only inside a call
   * @param keysOnly leaves the values out
   */
  constructor(
    source: Cursor,
    range: HalfOpenRange,
    spec: ReadSpec,
    slab: ResultSlab,
    keysOnly: boolean,
  ) {
    this.#source = source;
    this.#spec = spec;
    this.#slab = slab;
    this.#keysOnly = keysOnly;
    this.#lower = range.lower;
    this.#upper = range.upper;
    const { lower, upper } = range;
    this.#from = lower;
    this.#lowerHi = lower === undefined ? 0 : keyWord(lower, 0, lower.length);
    this.#lowerLo = lower === undefined ? 0 : keyWord(lower, 4, lower.length);
    this.#upperHi = upper === undefined ? 0 : keyWord(upper, 0, upper.length);
    this.#upperLo = upper === undefined ? 0 : keyWord(upper, 4, upper.length);
  }

  /** Ascends from the first key at or after `key`, which must not lie below the range; undefined: from its start. */
  ascend(key: Uint8Array | undefined): void {
    this.#begin(true, key ?? this.#lower);
  }

  /** Descends from the last key before `key`, which must not lie above the range; undefined: from its end. */
  descend(key: Uint8Array | undefined): void {
    this.#begin(false, key ?? this.#upper);
  }

  #begin(ascending: boolean, from: Uint8Array | undefined): void {
    this.#ascending = ascending;
    this.#from = from;
    this.#started = false;
    this.#due = true;
    this.#ended = false;
    this.#collecting = false;
    this.#keyEnd = -1;
  }

  /** Answers the next row in `entry`. */
  advance(): Move {
    return this.#ascending ? this.#forward() : this.#backward();
  }

  /** Call when the caller gets what was answered: from then on the memory of the entries belongs to it. */
  handOver(): void {
    if (this.#keyEnd > 0 && this.#key !== this.#scratch) this.#remember(this.#key, 0, this.#keyEnd);
  }

  #forward(): Move {
    const source = this.#source;
    const spec = this.#spec;
    for (;;) {
      if (this.#due) {
        const move = this.#move();
        if (move === PENDING) return PENDING;
        if (move === END) return this.#endForward();
      }
      if (this.#isCurrentKey(source)) {
        this.#due = true;
        if (this.#collecting && this.#fold.take(source, spec, true)) return this.#emitFolded();
        continue;
      }
      // The row stays under the source; it is looked at when the collected key has been answered.
      if (this.#collecting && this.#emitFolded() === READY) return READY;
      if (this.#upper !== undefined && this.#reachedUpper(source, this.#upper)) return this.#endForward();
      this.#due = true;
      if (source.seq > spec.maxSeq) continue;
      const flags = source.flags;
      if ((flags & FLAG_MERGE) !== 0) {
        if (source.expireTs <= spec.nowMillis) continue;
        this.#fold.reset();
        this.#remember(source.keyBytes, source.keyStart, source.keyEnd);
        this.#collecting = true;
        if (this.#fold.take(source, spec, true)) return this.#emitFolded();
        continue;
      }
      if ((flags & FLAG_TOMBSTONE) !== 0 || source.expireTs <= spec.nowMillis) {
        this.#remember(source.keyBytes, source.keyStart, source.keyEnd);
        continue;
      }
      const key = this.#slab.copy(source.keyBytes, source.keyStart, source.keyEnd);
      const value = this.#keysOnly ? EMPTY : this.#slab.copy(source.valueBytes, source.valueStart, source.valueEnd);
      this.#key = key;
      this.#keyEnd = key.length;
      this.#keyHi = source.keyHi;
      this.#keyLo = source.keyLo;
      this.entry = makeEntry(key, value, source.seq, source.createTs, source.expireTs);
      return READY;
    }
  }

  #endForward(): Move {
    this.#due = true;
    this.#ended = true;
    return this.#collecting ? this.#emitFolded() : END;
  }

  #backward(): Move {
    const source = this.#source;
    for (;;) {
      if (this.#due) {
        const move = this.#move();
        if (move === PENDING) return PENDING;
        if (move === END) return this.#endBackward();
      }
      if (!this.#isCurrentKey(source)) {
        if (this.#collecting && this.#emitCollected() === READY) return READY;
        if (this.#lower !== undefined && this.#reachedLower(source, this.#lower)) return this.#endBackward();
        this.#remember(source.keyBytes, source.keyStart, source.keyEnd);
        this.#collecting = true;
        this.#fold.reset();
        this.#baseValue = undefined;
      }
      this.#due = true;
      this.#addNewer(source);
    }
  }

  #endBackward(): Move {
    this.#due = true;
    this.#ended = true;
    return this.#collecting ? this.#emitCollected() : END;
  }

  /** Descending: takes a version that is newer than those taken before. */
  #addNewer(row: Cursor): void {
    const spec = this.#spec;
    if (row.seq > spec.maxSeq) return;
    const fold = this.#fold;
    const isOperand = (row.flags & FLAG_MERGE) !== 0;
    if (!isOperand) {
      // A value or a tombstone: nothing is left of what is older.
      fold.reset();
      this.#baseValue = undefined;
      if (row.expireTs <= spec.nowMillis || (row.flags & FLAG_TOMBSTONE) !== 0) return;
    }
    // An operand that has expired is not taken.
    fold.take(row, spec, true);
    if (!isOperand && !this.#keysOnly) {
      this.#baseValue = this.#slab.copy(row.valueBytes, row.valueStart, row.valueEnd);
      fold.baseBytes = this.#baseValue;
      fold.baseStart = 0;
      fold.baseEnd = this.#baseValue.length;
    }
  }

  /** Moves the source: positions it first if need be. */
  #move(): Move {
    if (this.#ended) return END;
    const source = this.#source;
    let move: Move;
    if (this.#started) {
      move = this.#ascending ? source.next() : source.prev();
    } else if (this.#from === undefined) {
      move = this.#ascending ? source.first() : source.last();
    } else {
      move = this.#ascending ? source.seekGE(this.#from) : source.seekLT(this.#from);
    }
    if (move === READY) {
      this.#started = true;
      this.#due = false;
    }
    return move;
  }

  #isCurrentKey(row: Cursor): boolean {
    return row.keyHi === this.#keyHi && row.keyLo === this.#keyLo && this.#keyEnd >= 0 &&
      compareSlices(row.keyBytes, row.keyStart, row.keyEnd, this.#key, 0, this.#keyEnd) === 0;
  }

  #reachedUpper(row: Cursor, upper: Uint8Array): boolean {
    if (row.keyHi !== this.#upperHi) return row.keyHi > this.#upperHi;
    if (row.keyLo !== this.#upperLo) return row.keyLo > this.#upperLo;
    return compareSlices(row.keyBytes, row.keyStart, row.keyEnd, upper, 0, upper.length) >= 0;
  }

  #reachedLower(row: Cursor, lower: Uint8Array): boolean {
    if (row.keyHi !== this.#lowerHi) return row.keyHi < this.#lowerHi;
    if (row.keyLo !== this.#lowerLo) return row.keyLo < this.#lowerLo;
    return compareSlices(row.keyBytes, row.keyStart, row.keyEnd, lower, 0, lower.length) < 0;
  }

  /** Copies the current key into this resolver's own memory. */
  #remember(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length > this.#scratch.length) this.#scratch = new Uint8Array(2 * length);
    const scratch = this.#scratch;
    for (let i = 0; i < length; i++) scratch[i] = bytes[start + i]!;
    this.#key = scratch;
    this.#keyEnd = length;
    this.#keyHi = keyWord(scratch, 0, length);
    this.#keyLo = keyWord(scratch, 4, length);
  }

  /** Ascending: answers the key whose operands were collected, newest first. */
  #emitFolded(): Move {
    this.#collecting = false;
    const fold = this.#fold;
    const key = this.#slab.copy(this.#key, 0, this.#keyEnd);
    const value = fold.fold(key.slice(), this.#spec.mergeOperator);
    this.entry = makeEntry(key, this.#resultOf(value), fold.seq, fold.createTs, fold.expireTs);
    return READY;
  }

  /** Descending: answers the key whose versions were collected, oldest first; END when it has no row. */
  #emitCollected(): Move {
    this.#collecting = false;
    const fold = this.#fold;
    if (!fold.found) return END;
    const key = this.#slab.copy(this.#key, 0, this.#keyEnd);
    let value = this.#baseValue ?? EMPTY;
    if (fold.operands.length > 0 || fold.operatorMissing) {
      fold.operands.reverse();
      value = this.#resultOf(fold.fold(key.slice(), this.#spec.mergeOperator));
    }
    this.entry = makeEntry(key, value, fold.seq, fold.createTs, fold.expireTs);
    return READY;
  }

  #resultOf(value: Uint8Array): Uint8Array {
    return this.#keysOnly ? EMPTY : this.#slab.copy(value, 0, value.length);
  }
}
