/**
 * The rows between two restarts of a version 2 block as tables of lengths and positions.
 *
 * Walking backward needs the rows before the current one, which prefix compression lets one find only from the
 * restart on. One scan fills these tables; then every row of the interval can be entered, and the key of a row is put
 * together from the suffixes of the rows before it, from the back, without restoring those rows' keys.
 *
 * Invariants: every row in the table was checked to lie inside the interval and to share no more than its
 * predecessor's key has; the tables grow with the interval's rows and are used again.
 *
 * @module
 */
import { badFlags, badRow, MAX_KEY_BYTES, readEnd, rowVarint } from "./block_row.ts";

/** Rows that tables are made for first: most intervals have 16. */
const ROWS_MIN = 32;
/** Walks that never turn back need no tables; four arrays each time would cost more than a short scan. */
const NO_ROWS: Int32Array = new Int32Array(0);

/** Positions of the rows of one restart interval. */
export class IntervalTable {
  /** Restart that was scanned, -1 when none. */
  restart: number = -1;
  /** Rows in the interval, at least 1 after a scan. */
  count: number = 0;
  /** Key bytes in common with the row before, as stored. */
  shared: Int32Array = NO_ROWS;
  /** Length of the whole key. */
  keyLength: Int32Array = NO_ROWS;
  /** Where the key's own bytes begin in the block. */
  suffixAt: Int32Array = NO_ROWS;
  /** Where the value ends and the sequence number begins. */
  trailerAt: Int32Array = NO_ROWS;

  /**
   * Scans the rows in `data[start..end)`.
   *
   * @throws FormatError when a row is not legal or the last one does not end at `end`
   */
  scan(
    data: Uint8Array,
    start: number,
    end: number,
    restart: number,
    section: string,
    trailers: Uint8Array,
  ): void {
    this.restart = -1;
    let at = start;
    let row = 0;
    let previousLength = 0;
    while (at < end) {
      const rowStart = at;
      let shared = data[at++]!;
      let unshared = data[at++]!;
      let valueLength = data[at++]!;
      if ((shared | unshared | valueLength) >= 0x80) {
        shared = rowVarint(data, rowStart, end, section);
        unshared = rowVarint(data, readEnd.at, end, section);
        valueLength = rowVarint(data, readEnd.at, end, section);
        at = readEnd.at;
      }
      const keyLength = shared + unshared;
      const trailer = at + unshared + valueLength;
      if (shared > previousLength || keyLength > MAX_KEY_BYTES || trailer + 9 > end) {
        throw badRow(section, rowStart, `${shared} + ${unshared} key bytes, ${valueLength} value bytes do not fit`);
      }
      const flags = data[trailer + 8]!;
      if (trailers[flags] === 0) throw badFlags(section, trailer + 8, flags);
      if (row === this.shared.length) this.grow();
      this.shared[row] = shared;
      this.keyLength[row] = keyLength;
      this.suffixAt[row] = at;
      this.trailerAt[row] = trailer;
      at = trailer + trailers[flags]!;
      previousLength = keyLength;
      row++;
    }
    if (at !== end) throw badRow(section, at, `rows run over the next restart at ${end}`);
    this.count = row;
    this.restart = restart;
  }

  /** Puts the key of `row` into `out`, whose first `kept` bytes are right already. */
  restoreKey(data: Uint8Array, row: number, kept: number, out: Uint8Array): void {
    let end = this.keyLength[row]!;
    for (let i = row; end > kept; i--) {
      const shared = this.shared[i]!;
      const from = shared > kept ? shared : kept;
      if (from >= end) continue;
      const offset = this.suffixAt[i]! - shared;
      if (end - from <= 48) { for (let at = from; at < end; at++) out[at] = data[offset + at]!; }
      else out.set(data.subarray(offset + from, offset + end), from);
      end = from;
    }
  }

  /** The last row whose key is smaller than `key`, given that the first row's is. */
  lastBelow(data: Uint8Array, key: Uint8Array): number {
    let match = 0;
    for (let row = 0; row < this.count; row++) {
      let common = this.shared[row]!;
      // A row that shares more than the match differs from the target where its predecessor does.
      if (common > match) continue;
      const keyLength = this.keyLength[row]!;
      const offset = this.suffixAt[row]! - common;
      const limit = keyLength < key.length ? keyLength : key.length;
      while (common < limit && data[offset + common] === key[common]) common++;
      const below = common < limit ? data[offset + common]! < key[common]! : keyLength < key.length;
      if (!below) return row - 1;
      match = common;
    }
    return this.count - 1;
  }

  /** @internal Makes room for twice as many rows, in one piece of memory. */
  grow(): void {
    const rows = Math.max(ROWS_MIN, this.shared.length * 2);
    const memory = new Int32Array(4 * rows);
    const grown = (from: Int32Array, place: number): Int32Array => {
      const to = memory.subarray(place * rows, (place + 1) * rows);
      to.set(from);
      return to;
    };
    this.shared = grown(this.shared, 0);
    this.keyLength = grown(this.keyLength, 1);
    this.suffixAt = grown(this.suffixAt, 2);
    this.trailerAt = grown(this.trailerAt, 3);
  }
}
