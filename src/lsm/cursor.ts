/**
 * The cursor contract: how every sorted source of rows (memtable, table, sorted run, merge of them) is walked.
 *
 * A cursor stands on one *row* (one version of a key) or nowhere. Internal order: user key ascending by unsigned
 * bytes, then sequence number descending. `next` follows it, `prev` goes against it. All moves are synchronous and
 * allocate nothing per row. A move that needs a block that is not in memory answers {@linkcode PENDING} and describes
 * what it needs; the driver fetches it, hands it over, and **calls the same move again**: moves are restartable.
 * A pending cursor's row fields are undefined until a move answers something else.
 *
 * The views `keyBytes[keyStart..keyEnd)` and `valueBytes[valueStart..valueEnd)` are valid until the next move.
 *
 * @module
 */

/** The move ended on a row. */
export const READY = 1;
/** The move left the source: no row in that direction. */
export const END = 0;
/** The move needs I/O first; see {@linkcode Cursor.collectNeeds}. */
export const PENDING = 2;
/** Answer of a move. */
export type Move = typeof READY | typeof END | typeof PENDING;

/** A request for bytes that a pending move waits for. Opaque to everybody but the table code that makes and meets it. */
export interface Need {
  /** Identity for single flight: equal keys mean the same bytes. */
  readonly key: string;
}

/** A walk over rows in internal order, in both directions. */
export interface Cursor {
  /** Bytes that hold the current row's user key. */
  keyBytes: Uint8Array;
  keyStart: number;
  keyEnd: number;
  /** First 8 key bytes, zero padded, as two int32 whose signed order is byte order (top bit flipped). */
  keyHi: number;
  keyLo: number;
  /** Sequence number. */
  seq: number;
  /** Row flags as stored (`FLAG_…`); only tombstone and merge matter to readers. */
  flags: number;
  /** Creation time, ms since 1970; NO_TICK when the row has none. */
  createTs: number;
  /** Expiry time, ms since 1970; NO_EXPIRY when the row has none. */
  expireTs: number;
  valueBytes: Uint8Array;
  valueStart: number;
  valueEnd: number;

  /** First row of the source. */
  first(): Move;
  /** Last row of the source. */
  last(): Move;
  /** First row (newest version) of the smallest user key >= `key`. */
  seekGE(key: Uint8Array): Move;
  /** Last row (oldest version) of the largest user key < `key`. */
  seekLT(key: Uint8Array): Move;
  /** Next row in internal order. Only on a row. */
  next(): Move;
  /** Previous row in internal order. Only on a row. */
  prev(): Move;
  /** Adds to `into` what the last move, if it was PENDING, waits for. */
  collectNeeds(into: Need[]): void;
}

export { keyWord } from "../bytes/compare.ts";
