/**
 * The rows of one source that no range tombstone hides.
 *
 * A row is hidden when a visible tombstone of a newer source covers its key (whatever its number: in a well-formed tree
 * everything older is below it), or one of its own source with a greater number. Spans that newer sources cover are
 * passed with one seek of the child; rows that their own source hides are passed one by one, since newer rows of the
 * same source may stand among them.
 *
 * Restartable like every cursor. After {@linkcode HIDDEN_MAX} hidden rows in one move it answers PENDING without a need,
 * so that others get a turn.
 *
 * @module
 */
import { bytesEqual, compareSlices } from "../bytes/compare.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { NOT_COVERED } from "./range_set.ts";
import { type RangeSource, RangeSpan } from "./range_source.ts";
import { RowFields } from "./row_fields.ts";

/** Hidden rows passed in one move. */
export const HIDDEN_MAX = 8192;

const EMPTY = new Uint8Array(0);

/** What the child has to do next. */
const IDLE = 0;
const FIRST = 1;
const LAST = 2;
const SEEK_GE = 3;
const SEEK_LT = 4;
const NEXT = 5;
const PREV = 6;
/** The child stands on a row about which the tombstones have not been asked yet. */
const JUDGE = 7;
type Task = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

/** A cursor that leaves hidden rows out. */
export class MaskedCursor extends RowFields implements Cursor {
  readonly #child: Cursor;
  readonly #newer: ReadonlyArray<RangeSource>;
  readonly #own: ReadonlyArray<RangeSource>;
  readonly #maxSeq: number;
  /** What the caller asked for, while it is pending. */
  #call: Task = IDLE;
  #callKey: Uint8Array = EMPTY;
  /** What is left to do of it. */
  #task: Task = IDLE;
  #taskKey: Uint8Array = EMPTY;
  #forward = true;
  /** The source of tombstones that is waited for. */
  #waiting: RangeSource | undefined = undefined;
  /** Where what follows holds. */
  readonly #span: RangeSpan = new RangeSpan();
  #isKnown = false;
  /** A newer source covers the span. */
  #isShadowed = false;
  readonly #asked: RangeSpan = new RangeSpan();

  /**
   * @param child the rows
   * @param newer tombstones of all newer sources
   * @param own tombstones of the child's source
   * @param maxSeq tombstones above this number are not there
   */
  constructor(
    child: Cursor,
    newer: ReadonlyArray<RangeSource>,
    own: ReadonlyArray<RangeSource>,
    maxSeq: number,
  ) {
    super();
    this.#child = child;
    this.#newer = newer;
    this.#own = own;
    this.#maxSeq = maxSeq;
  }

  first(): Move {
    return this.#run(FIRST, EMPTY, true);
  }

  last(): Move {
    return this.#run(LAST, EMPTY, false);
  }

  seekGE(key: Uint8Array): Move {
    return this.#run(SEEK_GE, key, true);
  }

  seekLT(key: Uint8Array): Move {
    return this.#run(SEEK_LT, key, false);
  }

  next(): Move {
    return this.#run(NEXT, EMPTY, true);
  }

  prev(): Move {
    return this.#run(PREV, EMPTY, false);
  }

  collectNeeds(into: Need[]): void {
    if (this.#waiting !== undefined) this.#waiting.collectNeeds(into);
    else if (this.#task !== JUDGE) this.#child.collectNeeds(into);
  }

  #run(call: Task, key: Uint8Array, forward: boolean): Move {
    if (this.#call !== call || !bytesEqual(this.#callKey, key)) {
      this.#call = this.#task = call;
      this.#callKey = this.#taskKey = key;
      this.#forward = forward;
    }
    for (let hidden = 0; hidden < HIDDEN_MAX; hidden++) {
      if (this.#task !== JUDGE) {
        const move = this.#moveChild();
        if (move === PENDING) return PENDING;
        if (move === END) return this.#settle(END);
        this.#task = JUDGE;
      }
      if (this.#look() === PENDING) return PENDING;
      if (this.#isShadowed) {
        const border = this.#forward ? this.#span.upper : this.#span.lower;
        if (border === undefined) return this.#settle(END);
        this.#task = this.#forward ? SEEK_GE : SEEK_LT;
        this.#taskKey = border;
      } else if (this.#child.seq >= this.#span.seq) {
        this.show(this.#child);
        return this.#settle(READY);
      } else {
        this.#task = this.#forward ? NEXT : PREV;
      }
    }
    return PENDING;
  }

  #settle(move: Move): Move {
    this.#call = this.#task = IDLE;
    this.#callKey = this.#taskKey = EMPTY;
    return move;
  }

  #moveChild(): Move {
    const child = this.#child;
    switch (this.#task) {
      case FIRST:
        return child.first();
      case LAST:
        return child.last();
      case SEEK_GE:
        return child.seekGE(this.#taskKey);
      case SEEK_LT:
        return child.seekLT(this.#taskKey);
      case NEXT:
        return child.next();
      default:
        return child.prev();
    }
  }

  /** Makes `#span` hold for the child's row. */
  #look(): typeof READY | typeof PENDING {
    this.#waiting = undefined;
    if (this.#isKnown && this.#isInside()) return READY;
    this.#isKnown = false;
    const { keyBytes, keyStart, keyEnd } = this.#child;
    const key = keyBytes.slice(keyStart, keyEnd);
    const span = this.#span;
    const asked = this.#asked;
    span.reset();
    this.#isShadowed = false;
    for (const source of this.#newer) {
      if (source.spanAt(key, this.#maxSeq, true, asked) === PENDING) {
        this.#waiting = source;
        return PENDING;
      }
      if (asked.seq !== NOT_COVERED) {
        span.lower = asked.lower;
        span.upper = asked.upper;
        this.#isShadowed = this.#isKnown = true;
        return READY;
      }
      span.intersect(asked);
    }
    let seq = NOT_COVERED;
    for (const source of this.#own) {
      if (source.spanAt(key, this.#maxSeq, false, asked) === PENDING) {
        this.#waiting = source;
        return PENDING;
      }
      seq = Math.max(seq, asked.seq);
      span.intersect(asked);
    }
    span.seq = seq;
    this.#isKnown = true;
    return READY;
  }

  #isInside(): boolean {
    const { lower, upper } = this.#span;
    const { keyBytes, keyStart, keyEnd } = this.#child;
    return (lower === undefined || compareSlices(lower, 0, lower.length, keyBytes, keyStart, keyEnd) <= 0) &&
      (upper === undefined || compareSlices(keyBytes, keyStart, keyEnd, upper, 0, upper.length) < 0);
  }
}

/** A cursor over the rows of `child` that no tombstone hides; `child` itself where there are none. */
export function masked(
  child: Cursor,
  newer: ReadonlyArray<RangeSource>,
  own: ReadonlyArray<RangeSource>,
  maxSeq: number,
): Cursor {
  return newer.length + own.length === 0 ? child : new MaskedCursor(child, newer, own, maxSeq);
}
