/**
 * A two-way walk over the visible rows of a key range in one captured view.
 *
 * It stands before the first row, on a row, or after the last one. Going on in the direction of the last move steps the
 * sources; every other move positions them anew by a user key, of which an own copy is kept, so a turn can neither skip
 * nor repeat a row whatever was written meanwhile. Rows that are deleted, hidden by range tombstones or expired are
 * passed over in both directions, merges are folded in both. The bounds clamp every move.
 *
 * The driver begins a move; on PENDING it fetches what `collectNeeds` names and calls `resume`. A move that is begun
 * while another one is pending takes its place: until a move has its answer, the cursor stands where it stood.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { Entry } from "../db/api.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { type ScanRange, successor } from "./key_range.ts";
import type { LsmView } from "./lsm_view.ts";
import { ResultSlab } from "./result_slab.ts";
import { type HalfOpenRange, RowResolver } from "./row_resolver.ts";
import { halfOpen, mergeSources, openSources } from "./row_scan.ts";
import type { ReadSpec } from "./version_fold.ts";

/** To the first row. */
export const TO_FIRST = 1;
/** To the last row. */
export const TO_LAST = 2;
/** To the next row; from before the first row, to the first. */
export const TO_NEXT = 3;
/** To the row before; from after the last row, to the last. */
export const TO_PREV = 4;
/** To the first row at or after a key. */
export const TO_GE = 5;
/** To the last row before a key. */
export const TO_LT = 6;
/** A move of a cursor; the last two need a key. */
export type CursorTask = 1 | 2 | 3 | 4 | 5 | 6;

/** Before the first row for `next`, after the last for `prev`. */
const FRESH = 0;
const BEFORE = 1;
const ON_ROW = 2;
const AFTER = 3;
type Place = 0 | 1 | 2 | 3;

/** Bytes of the first request of a walk: neighbours of what was sought come along. */
const FIRST_WINDOW_BYTES = 32_768;
const EMPTY = new Uint8Array(0);

/** Where a cursor stands; a cursor over a newer view can begin there. */
export interface CursorPlace {
  readonly place: Place;
  /** The key of the row it stands on. */
  readonly key: Uint8Array;
}

/** How to walk. */
export interface RowCursorOptions {
  /** Where results are copied to. Default: an own one. */
  readonly slab?: ResultSlab | undefined;
  /** Where to begin. Default: fresh. */
  readonly at?: CursorPlace | undefined;
  /** Whether `looked` is asked after each move. */
  readonly traces?: boolean | undefined;
}

/** The rows of a range, in both directions. */
export class RowCursor {
  /** The row that the cursor stands on. */
  entry: Entry | undefined = undefined;
  /** The bounds of the walk. */
  readonly bounds: HalfOpenRange;
  readonly #source: Cursor;
  readonly #resolver: RowResolver;
  #place: Place = FRESH;
  /** Copy of the key that the cursor stands on: `#key[0..#keyEnd)`. */
  #key: Uint8Array = EMPTY;
  #keyEnd = 0;
  /** 1 or -1 when the sources can be stepped on in that direction. */
  #heading: -1 | 0 | 1 = 0;
  /** Direction of the move under way or made last. */
  #forward = true;
  readonly #traces: boolean;
  /** Where the last move began to look, in its direction; undefined when it looked at nothing, or nobody asks. */
  #origin: { readonly key: Uint8Array | undefined } | undefined = undefined;

  constructor(view: LsmView, range: ScanRange, spec: ReadSpec, options: RowCursorOptions = {}) {
    this.bounds = halfOpen(range);
    const { lower, upper } = this.bounds;
    this.#source = mergeSources(
      openSources(view, this.bounds, spec.maxSeq, { lower, upper, firstWindowBytes: FIRST_WINDOW_BYTES }),
    );
    this.#resolver = new RowResolver(this.#source, this.bounds, spec, options.slab ?? new ResultSlab(), false);
    this.#traces = options.traces === true;
    if (options.at === undefined) return;
    this.#place = options.at.place;
    this.#stand(options.at.key);
  }

  /** Where the cursor stands. */
  get at(): CursorPlace {
    return { place: this.#place, key: this.#key.slice(0, this.#keyEnd) };
  }

  /**
   * Begins a move.
   *
   * @param key where `TO_GE` and `TO_LT` go; not kept when the answer is not PENDING
   * @returns READY when the cursor stands on a row, END when it left the range, PENDING when parts must be fetched first
   */
  move(task: CursorTask, key: Uint8Array = EMPTY): Move {
    this.#origin = undefined;
    switch (task) {
      case TO_FIRST:
        return this.#ascend(undefined);
      case TO_LAST:
        return this.#descend(undefined);
      case TO_GE:
        return this.#seekGE(key);
      case TO_LT:
        return this.#seekLT(key);
      case TO_NEXT:
        return this.#next();
      default:
        return this.#prev();
    }
  }

  /** Goes on with a move that was PENDING. */
  resume(): Move {
    const resolver = this.#resolver;
    const move = resolver.advance();
    if (move === PENDING) return PENDING;
    if (move === END) return this.#leave(this.#forward);
    const entry = resolver.entry!;
    this.entry = entry;
    this.#place = ON_ROW;
    this.#heading = this.#forward ? 1 : -1;
    this.#stand(entry.key);
    resolver.handOver();
    return READY;
  }

  /** What a pending move waits for. */
  collectNeeds(into: Need[]): void {
    this.#source.collectNeeds(into);
  }

  /** Tells the span of keys that the last move looked at: from `lower` to below `upper`, undefined = unbounded. */
  looked(tell: (lower: Uint8Array | undefined, upper: Uint8Array | undefined) => void): void {
    const origin = this.#origin;
    if (origin === undefined) return;
    const found = this.#place === ON_ROW ? this.#key.slice(0, this.#keyEnd) : undefined;
    if (this.#forward) tell(origin.key, found === undefined ? this.bounds.upper : successor(found));
    else tell(found ?? this.bounds.lower, origin.key);
  }

  #next(): Move {
    if (this.#place === AFTER) return END;
    if (this.#place !== ON_ROW) return this.#ascend(undefined);
    if (this.#heading !== 1) return this.#seekGE(successor(this.#key.subarray(0, this.#keyEnd)));
    if (this.#traces) this.#origin = { key: successor(this.#key.subarray(0, this.#keyEnd)) };
    return this.resume();
  }

  #prev(): Move {
    if (this.#place === BEFORE) return END;
    if (this.#place !== ON_ROW) return this.#descend(undefined);
    if (this.#heading !== -1) return this.#seekLT(this.#key.slice(0, this.#keyEnd));
    if (this.#traces) this.#origin = { key: this.#key.slice(0, this.#keyEnd) };
    return this.resume();
  }

  #seekGE(key: Uint8Array): Move {
    const { lower, upper } = this.bounds;
    if (upper !== undefined && compareBytes(key, upper) >= 0) return this.#leave(true);
    return this.#ascend(lower !== undefined && compareBytes(key, lower) <= 0 ? undefined : key);
  }

  #seekLT(key: Uint8Array): Move {
    const { lower, upper } = this.bounds;
    if (lower !== undefined && compareBytes(key, lower) <= 0) return this.#leave(false);
    return this.#descend(upper !== undefined && compareBytes(key, upper) >= 0 ? undefined : key);
  }

  #ascend(from: Uint8Array | undefined): Move {
    this.#forward = true;
    this.#heading = 0;
    if (this.#traces) this.#origin = { key: from ?? this.bounds.lower };
    this.#resolver.ascend(from);
    return this.resume();
  }

  #descend(from: Uint8Array | undefined): Move {
    this.#forward = false;
    this.#heading = 0;
    if (this.#traces) this.#origin = { key: from ?? this.bounds.upper };
    this.#resolver.descend(from);
    return this.resume();
  }

  #leave(forward: boolean): typeof END {
    this.entry = undefined;
    this.#place = forward ? AFTER : BEFORE;
    this.#heading = 0;
    this.#forward = forward;
    this.#keyEnd = 0;
    return END;
  }

  #stand(key: Uint8Array): void {
    const length = key.length;
    if (length > this.#key.length) this.#key = new Uint8Array(2 * length);
    const own = this.#key;
    for (let i = 0; i < length; i++) own[i] = key[i]!;
    this.#keyEnd = length;
  }
}
