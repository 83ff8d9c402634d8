/**
 * One walk over several sorted sources: the union of their rows in internal order, in both directions.
 *
 * The children stand on their next rows; `#order` lists those that stand on one, sorted. A step advances the child in
 * front and moves it back to its place: usually one comparison, when the same child stays in front. The place is
 * searched from the front for up to ten children, by halving for more, so a step costs O(log n) comparisons and at
 * most n integer moves. Keys are compared by two int32 words first, by bytes only when these are equal.
 *
 * Rows of equal key and sequence number keep the order of the children (newest source first).
 *
 * A change of direction positions every child anew relative to the current row, because children that are not in front
 * stand on the wrong side of it. Restartable everywhere: children that have finished their part of a move are not
 * asked again when the move is retried.
 *
 * @module
 */
import { bytesEqual, compareSlices } from "../bytes/compare.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { successor } from "./key_range.ts";
import { RowFields } from "./row_fields.ts";

/** Up to so many children the place of a row is searched one by one. */
const LINEAR_MAX = 10;

const EMPTY = new Uint8Array(0);

/** What the children are being asked to do. */
const IDLE = 0;
const FIRST = 1;
const LAST = 2;
const SEEK_GE = 3;
const SEEK_LT = 4;
/** Position behind (forward) or before (backward) the row at which the direction changed. */
const TURN_FORWARD = 5;
const TURN_BACKWARD = 6;
/** The child in front moves by one row. */
const STEP = 7;
type Task = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7;

/** Where a child is with its part of a task. */
const TO_SEEK = 0;
const TO_STEP = 1;
const DONE = 2;

/** The union of several cursors. */
export class MergeCursor extends RowFields implements Cursor {
  readonly #children: ReadonlyArray<Cursor>;
  /** Numbers of the children that stand on a row, the one in front first. */
  readonly #order: number[] = [];
  readonly #progress: Uint8Array;
  #task: Task = IDLE;
  #key: Uint8Array = EMPTY;
  #seq = 0;
  #forward = true;

  /**
   * @param children sources, newest first
   */
  constructor(children: ReadonlyArray<Cursor>) {
    super();
    this.#children = children;
    this.#progress = new Uint8Array(children.length);
  }

  first(): Move {
    return this.#position(FIRST, EMPTY, 0);
  }

  last(): Move {
    return this.#position(LAST, EMPTY, 0);
  }

  seekGE(key: Uint8Array): Move {
    return this.#position(SEEK_GE, key, 0);
  }

  seekLT(key: Uint8Array): Move {
    return this.#position(SEEK_LT, key, 0);
  }

  next(): Move {
    if (this.#task === TURN_FORWARD) return this.#position(TURN_FORWARD, this.#key, this.#seq);
    if (!this.#forward) return this.#turn(TURN_FORWARD);
    return this.#step();
  }

  prev(): Move {
    if (this.#task === TURN_BACKWARD) return this.#position(TURN_BACKWARD, this.#key, this.#seq);
    if (this.#forward) return this.#turn(TURN_BACKWARD);
    return this.#step();
  }

  collectNeeds(into: Need[]): void {
    if (this.#task === STEP) {
      this.#children[this.#order[0]!]!.collectNeeds(into);
    } else if (this.#task !== IDLE) {
      for (let c = 0; c < this.#children.length; c++) {
        if (this.#progress[c] !== DONE) this.#children[c]!.collectNeeds(into);
      }
    }
  }

  /** Moves the child in front by one row in the current direction. */
  #step(): Move {
    const order = this.#order;
    const front = order[0]!;
    const child = this.#children[front]!;
    const move = this.#forward ? child.next() : child.prev();
    if (move === READY) {
      this.#task = IDLE;
      if (order.length > 1) this.#sink(front, child);
      this.show(this.#children[order[0]!]!);
      return READY;
    }
    if (move === PENDING) {
      this.#task = STEP;
      return PENDING;
    }
    this.#task = IDLE;
    order.shift();
    if (order.length === 0) return END;
    this.show(this.#children[order[0]!]!);
    return READY;
  }

  /** Moves `order[0]` back to its place among the others. */
  #sink(front: number, child: Cursor): void {
    const order = this.#order;
    const children = this.#children;
    const count = order.length;
    let place: number;
    if (count <= LINEAR_MAX) {
      place = 1;
      while (place < count && this.#before(children[order[place]!]!, order[place]!, child, front)) place++;
    } else {
      place = this.#placeOf(front, child, 1);
    }
    for (let i = 1; i < place; i++) order[i - 1] = order[i]!;
    order[place - 1] = front;
  }

  /** First position from `low` on whose child does not come before `child`. */
  #placeOf(number: number, child: Cursor, low: number): number {
    const order = this.#order;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#before(this.#children[order[middle]!]!, order[middle]!, child, number)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether the row of `a` comes before that of `b` in the current direction. */
  #before(a: Cursor, aNumber: number, b: Cursor, bNumber: number): boolean {
    return compareRows(a, aNumber, b, bNumber) < 0 === this.#forward;
  }

  #turn(task: Task): Move {
    // The current row is lost as soon as its child moves.
    return this.#position(task, this.keyBytes.slice(this.keyStart, this.keyEnd), this.seq);
  }

  /** Runs a task that concerns all children; goes on with it when it is the one that was pending. */
  #position(task: Task, key: Uint8Array, seq: number): Move {
    const progress = this.#progress;
    if (this.#task !== task || !bytesEqual(this.#key, key)) {
      progress.fill(TO_SEEK);
      this.#order.length = 0;
      this.#task = task;
      this.#key = key;
      this.#seq = seq;
      this.#forward = task === FIRST || task === SEEK_GE || task === TURN_FORWARD;
    }
    let waiting = false;
    for (let c = 0; c < this.#children.length; c++) {
      if (progress[c] === DONE) continue;
      const move = this.#placeChild(c, task);
      if (move === PENDING) waiting = true;
      else progress[c] = DONE;
      if (move === READY) this.#order.splice(this.#placeOf(c, this.#children[c]!, 0), 0, c);
    }
    if (waiting) return PENDING;
    this.#task = IDLE;
    this.#key = EMPTY;
    const front = this.#order[0];
    if (front === undefined) return END;
    this.show(this.#children[front]!);
    return READY;
  }

  /** One child's part of a task. */
  #placeChild(c: number, task: Task): Move {
    const child = this.#children[c]!;
    const progress = this.#progress;
    const key = this.#key;
    if (progress[c] === TO_SEEK) {
      const move = task === FIRST
        ? child.first()
        : task === LAST
        ? child.last()
        : task === SEEK_GE || task === TURN_FORWARD
        ? child.seekGE(key)
        : task === SEEK_LT
        ? child.seekLT(key)
        : child.seekLT(successor(key));
      if (move !== READY || task < TURN_FORWARD) return move;
      progress[c] = TO_STEP;
    } else {
      // The step that was pending.
      const move = task === TURN_FORWARD ? child.next() : child.prev();
      if (move !== READY) return move;
    }
    while (this.#onWrongSide(child, task)) {
      const move = task === TURN_FORWARD ? child.next() : child.prev();
      if (move !== READY) return move;
    }
    return READY;
  }

  /** Whether a child still stands on the row where the direction changed, or on the side the walk came from. */
  #onWrongSide(child: Cursor, task: Task): boolean {
    const key = this.#key;
    if (compareSlices(child.keyBytes, child.keyStart, child.keyEnd, key, 0, key.length) !== 0) return false;
    return task === TURN_FORWARD ? child.seq >= this.#seq : child.seq <= this.#seq;
  }
}

/** Internal order of two rows: key ascending, sequence number descending, newer source first. */
function compareRows(a: Cursor, aNumber: number, b: Cursor, bNumber: number): number {
  if (a.keyHi !== b.keyHi) return a.keyHi < b.keyHi ? -1 : 1;
  if (a.keyLo !== b.keyLo) return a.keyLo < b.keyLo ? -1 : 1;
  const order = compareSlices(a.keyBytes, a.keyStart, a.keyEnd, b.keyBytes, b.keyStart, b.keyEnd);
  if (order !== 0) return order;
  if (a.seq !== b.seq) return a.seq > b.seq ? -1 : 1;
  return aNumber - bNumber;
}
