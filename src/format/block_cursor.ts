/**
 * Walks the rows of one decoded block in both directions, both row versions, without allocating per row.
 *
 * The engine's hottest code: plain fields, one hidden class, keys restored in a buffer that is used again. A cursor
 * stands on a row or nowhere; a move that answers false leaves it nowhere, and then only positioning moves may follow.
 *
 * Forward, a row is decoded on top of the previous key. Backward, the interval between two restarts is scanned once
 * into small tables of lengths; each step then restores only the key bytes that the two rows do not share. A seek
 * compares restart keys in place, then skips rows by the length of their match with the target and restores one key.
 *
 * Invariants: no read outside the block whatever its bytes; every row read or skipped has its lengths, flags and times
 * checked; an interval's rows end exactly where the next restart begins. Unsorted rows give misplaced seeks, no unsafe ones.
 *
 * @module
 */
import { keyWord } from "../bytes/compare.ts";
import type { Block } from "./block.ts";
import { IntervalTable } from "./block_interval.ts";
import {
  badFlags,
  badRow,
  compareRestart,
  keyBuffer,
  MAX_KEY_BYTES,
  RANGE_TRAILER_BYTES,
  readEnd,
  rowTime,
  rowVarint,
  TRAILER_BYTES,
} from "./block_row.ts";
import { compareRowV1, firstKeyLengthV1, readRowV1 } from "./block_row_v1.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK, RANGE_FORMAT } from "./types.ts";

const TWO_32 = 0x100000000;
const EMPTY: Uint8Array = new Uint8Array(8);
const NO_RESTARTS: Uint16Array = new Uint16Array(0);

/** A cursor over the rows of one block at a time. Fields are the current row, as in the cursor contract. */
export class BlockCursor {
  /** The current user key is `keyBytes[0..keyEnd)`; the buffer may be replaced by a move. */
  keyBytes: Uint8Array = keyBuffer();
  /** Always 0. */
  keyStart: number = 0;
  keyEnd: number = 0;
  /** First and second four key bytes as order-preserving int32, see `keyWord`. */
  keyHi: number = 0;
  keyLo: number = 0;
  seq: number = 0;
  flags: number = 0;
  /** ms since 1970; NO_TICK when the row has none. */
  createTs: number = NO_TICK;
  /** ms since 1970; NO_EXPIRY when the row has none. */
  expireTs: number = NO_EXPIRY;
  /** The value is `valueBytes[valueStart..valueEnd)`, a view into the block; empty for tombstones. */
  valueBytes: Uint8Array = EMPTY;
  valueStart: number = 0;
  valueEnd: number = 0;

  /** @internal */ section: string = "block";
  /** @internal */ version: number = 2;
  /** @internal Which flags are allowed, and how long they make a trailer. */
  trailers: Uint8Array = TRAILER_BYTES;
  /** @internal */ rowsEnd: number = 0;
  /** @internal */ restarts: Uint16Array = NO_RESTARTS;
  /** @internal Restart whose interval holds the current row; in version 1 the row's index. */
  restartIndex: number = 0;
  /** @internal Offset where the next interval begins. */
  nextRestart: number = 0;
  /** @internal Index of the current row in its interval. */
  rowInInterval: number = 0;
  /** @internal Offset after the current row. */
  rowEnd: number = 0;
  /** @internal */ interval: IntervalTable = new IntervalTable();
  /** @internal Version 1: length of the block's first key, which later keys share a part of. */
  firstKeyLength: number = 0;

  /** Puts the cursor on `block`, at no row. */
  reset(block: Block): void {
    this.valueBytes = block.data;
    this.section = block.section;
    this.version = block.version;
    this.trailers = block.version === RANGE_FORMAT ? RANGE_TRAILER_BYTES : TRAILER_BYTES;
    this.rowsEnd = block.rowsEnd;
    this.restarts = block.restarts;
    this.interval.restart = -1;
    this.restartIndex = 0;
    this.nextRestart = block.rowsEnd;
    this.rowEnd = block.rowsEnd;
    this.rowInInterval = 0;
    this.keyEnd = 0;
    if (block.version === 1) {
      this.firstKeyLength = firstKeyLengthV1(block.data, block.rowsEnd, block.section);
    }
  }

  /** Lets go of the block, so that it can be collected. */
  clear(): void {
    this.valueBytes = EMPTY;
    this.restarts = NO_RESTARTS;
    this.rowsEnd = this.nextRestart = this.rowEnd = 0;
    this.interval.restart = -1;
  }

  /** First row; false only on a cleared cursor. */
  first(): boolean {
    if (this.restarts.length === 0) return false;
    this.enter(0);
    return true;
  }

  /** Last row; false only on a cleared cursor. */
  last(): boolean {
    const index = this.restarts.length - 1;
    if (index < 0) return false;
    this.enterLast(index);
    return true;
  }

  /** Next row in the block's order; false after the last one. */
  next(): boolean {
    const at = this.rowEnd;
    if (at < this.nextRestart) {
      this.rowInInterval++;
      this.readRow(at);
      return true;
    }
    if (at !== this.nextRestart) throw badRow(this.section, at, "row runs over the next restart");
    if (this.restartIndex + 1 >= this.restarts.length) return false;
    this.enter(this.restartIndex + 1);
    return true;
  }

  /** Previous row in the block's order; false before the first one. */
  prev(): boolean {
    const row = this.rowInInterval;
    if (row === 0) {
      if (this.restartIndex === 0) return false;
      this.enterLast(this.restartIndex - 1);
      return true;
    }
    if (this.interval.restart !== this.restartIndex) this.scanInterval(this.restartIndex);
    this.standOn(row - 1, this.interval.shared[row]!);
    return true;
  }

  /** First row of the smallest key at or after `key`; false when all keys are smaller. */
  seekGE(key: Uint8Array): boolean {
    const below = this.restartsBelow(key);
    if (this.version === 1) {
      if (below === this.restarts.length) return false;
      this.enter(below);
      return true;
    }
    if (below === 0) return this.first();
    if (this.skipTo(below - 1, key)) return true;
    // The whole interval is smaller, so the next restart is the first row that is not.
    if (below === this.restarts.length) return false;
    this.enter(below);
    return true;
  }

  /** Last row of the largest key before `key`; false when there is none. */
  seekLT(key: Uint8Array): boolean {
    const below = this.restartsBelow(key);
    if (below === 0) return false;
    if (this.version === 1) {
      this.enter(below - 1);
      return true;
    }
    if (this.interval.restart !== below - 1) this.scanInterval(below - 1);
    this.setInterval(below - 1);
    this.standOn(this.interval.lastBelow(this.valueBytes, key), 0);
    return true;
  }

  /** @internal Makes `index` the current interval. */
  setInterval(index: number): void {
    const restarts = this.restarts;
    this.restartIndex = index;
    this.rowInInterval = 0;
    this.nextRestart = index + 1 < restarts.length ? restarts[index + 1]! : this.rowsEnd;
  }

  /** @internal Stands on the row at restart `index`. */
  enter(index: number): void {
    this.setInterval(index);
    const at = this.restarts[index]!;
    if (this.version === 1) {
      readRowV1(this, at);
    } else {
      // A restart row shares nothing: readRow refuses more shared bytes than the previous key has.
      this.keyEnd = 0;
      this.readRow(at);
    }
  }

  /** @internal Stands on the last row of the interval of restart `index`. */
  enterLast(index: number): void {
    if (this.version === 1) {
      this.enter(index);
      return;
    }
    if (this.interval.restart !== index) this.scanInterval(index);
    this.setInterval(index);
    this.standOn(this.interval.count - 1, 0);
  }

  /** @internal Decodes the version 2 row at `at` on top of the key in the buffer. */
  readRow(at: number): void {
    const data = this.valueBytes;
    const start = at;
    // `data` goes on for at least 4 bytes after the rows, so the first four bytes can be read before any check.
    let shared = data[at++]!;
    let unshared = data[at++]!;
    let valueLength = data[at++]!;
    if ((shared | unshared | valueLength) >= 0x80) {
      if ((shared | unshared) < 0x80 && data[at]! < 0x80) {
        valueLength = (valueLength & 0x7f) | (data[at++]! << 7);
      } else {
        shared = rowVarint(data, start, this.rowsEnd, this.section);
        unshared = rowVarint(data, readEnd.at, this.rowsEnd, this.section);
        valueLength = rowVarint(data, readEnd.at, this.rowsEnd, this.section);
        at = readEnd.at;
      }
    }
    const keyEnd = shared + unshared;
    const valueStart = at + unshared;
    const trailer = valueStart + valueLength;
    if (trailer + 9 > this.rowsEnd) throw badRow(this.section, start, "row runs over the end of the rows");
    if (shared > this.keyEnd) throw badRow(this.section, start, `${shared} bytes shared with a key of ${this.keyEnd}`);
    if (keyEnd > MAX_KEY_BYTES) throw badRow(this.section, start, `key of ${keyEnd} bytes`);
    if (keyEnd > this.keyBytes.length) this.growKey(keyEnd, shared);
    const key = this.keyBytes;
    if (unshared <= 48) { for (let i = shared, from = at; i < keyEnd; i++, from++) key[i] = data[from]!; }
    else key.set(data.subarray(at, valueStart), shared);
    this.keyEnd = keyEnd;
    if (shared < 8) {
      this.keyHi = keyWord(key, 0, keyEnd);
      this.keyLo = keyWord(key, 4, keyEnd);
    }
    this.valueStart = valueStart;
    this.valueEnd = trailer;
    this.readTrailer(trailer);
  }

  /** @internal Reads sequence number, flags and times at `at`; the 9 bytes of the first two are inside the rows. */
  readTrailer(at: number): void {
    const data = this.valueBytes;
    const flags = data[at + 8]!;
    const rowEnd = at + this.trailers[flags]!;
    const high = (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
    const low = ((data[at + 4]! << 24) | (data[at + 5]! << 16) | (data[at + 6]! << 8) | data[at + 7]!) >>> 0;
    if (rowEnd === at || rowEnd > this.rowsEnd || high >>> 21 !== 0) this.refuseTrailer(at);
    this.seq = high === 0 ? low : high * TWO_32 + low;
    this.flags = flags;
    this.rowEnd = rowEnd;
    if ((flags & FLAG_TOMBSTONE) !== 0 && this.valueStart !== this.valueEnd) {
      throw badRow(this.section, at, "tombstone with a value");
    }
    at += 9;
    if ((flags & FLAG_EXPIRE) !== 0) {
      this.expireTs = rowTime(data, at, this.section);
      at += 8;
    } else this.expireTs = NO_EXPIRY;
    this.createTs = (flags & FLAG_CREATE) !== 0 ? rowTime(data, at, this.section) : NO_TICK;
  }

  /** @internal Says what is wrong with the trailer at `at`. */
  refuseTrailer(at: number): never {
    const flags = this.valueBytes[at + 8]!;
    if (this.trailers[flags] === 0) throw badFlags(this.section, at + 8, flags);
    if (at + this.trailers[flags]! > this.rowsEnd) throw badRow(this.section, at, "row runs over the end of the rows");
    throw badRow(this.section, at, "sequence number beyond 2 ** 53 - 1");
  }

  /** @internal Makes the key buffer hold `needed` bytes and keeps the first `keep`. */
  growKey(needed: number, keep: number): void {
    const grown = new Uint8Array(Math.min(Math.max(needed, this.keyBytes.length * 2), MAX_KEY_BYTES));
    grown.set(this.keyBytes.subarray(0, keep));
    this.keyBytes = grown;
  }

  /** @internal Fills the interval table with the rows of restart `index`. */
  scanInterval(index: number): void {
    const end = index + 1 < this.restarts.length ? this.restarts[index + 1]! : this.rowsEnd;
    this.interval.scan(this.valueBytes, this.restarts[index]!, end, index, this.section, this.trailers);
  }

  /**
   * @internal Stands on row `row` of the scanned interval, which is the current one. The first `kept` bytes of the
   * key are in the buffer already.
   */
  standOn(row: number, kept: number): void {
    const interval = this.interval;
    const keyEnd = interval.keyLength[row]!;
    if (keyEnd > this.keyBytes.length) this.growKey(keyEnd, kept);
    interval.restoreKey(this.valueBytes, row, kept, this.keyBytes);
    this.keyEnd = keyEnd;
    if (kept < 8) {
      this.keyHi = keyWord(this.keyBytes, 0, keyEnd);
      this.keyLo = keyWord(this.keyBytes, 4, keyEnd);
    }
    this.rowInInterval = row;
    this.valueStart = interval.suffixAt[row]! + keyEnd - interval.shared[row]!;
    this.valueEnd = interval.trailerAt[row]!;
    this.readTrailer(this.valueEnd);
  }

  /** @internal How many restarts (rows in version 1) have keys below `key`. */
  restartsBelow(key: Uint8Array): number {
    let low = 0;
    let high = this.restarts.length;
    const hi = keyWord(key, 0, key.length);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const order = this.version === 1
        ? compareRowV1(this, middle, key)
        : compareRestart(this.valueBytes, this.restarts[middle]!, this.rowsEnd, key, hi, this.section);
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * @internal Stands on the first row of interval `index` whose key is at or after `key`, if there is one. The
   * interval's first key is smaller.
   *
   * `match` is how many bytes the last skipped key shares with the target. A row that shares more with its
   * predecessor is smaller for the same reason; any other one is compared from its own first byte on. The row where
   * this ends therefore shares only bytes that the target has too, and its key is made from those.
   */
  skipTo(index: number, key: Uint8Array): boolean {
    this.setInterval(index);
    const data = this.valueBytes;
    const end = this.nextRestart;
    const section = this.section;
    let at = this.restarts[index]!;
    let match = 0;
    let previousLength = 0;
    for (let row = 0; at < end; row++) {
      const start = at;
      let shared = data[at++]!;
      let unshared = data[at++]!;
      let valueLength = data[at++]!;
      if ((shared | unshared | valueLength) >= 0x80) {
        shared = rowVarint(data, start, end, section);
        unshared = rowVarint(data, readEnd.at, end, section);
        valueLength = rowVarint(data, readEnd.at, end, section);
        at = readEnd.at;
      }
      const keyLength = shared + unshared;
      const trailer = at + unshared + valueLength;
      if (shared > previousLength || keyLength > MAX_KEY_BYTES || trailer + 9 > end) {
        throw badRow(section, start, "lengths do not fit");
      }
      if (shared <= match) {
        const limit = keyLength < key.length ? keyLength : key.length;
        let common = shared;
        for (let from = at; common < limit && data[from] === key[common]; from++) common++;
        const below = common < limit ? data[at + common - shared]! < key[common]! : keyLength < key.length;
        if (!below) {
          this.landOn(start, row, shared, key);
          return true;
        }
        match = common;
      }
      const trailerBytes = this.trailers[data[trailer + 8]!]!;
      if (trailerBytes === 0) throw badFlags(section, trailer + 8, data[trailer + 8]!);
      at = trailer + trailerBytes;
      previousLength = keyLength;
    }
    if (at !== end) throw badRow(section, at, "row runs over the next restart");
    return false;
  }

  /** @internal Decodes the row at `at`, whose `shared` first key bytes are those of `key`. */
  landOn(at: number, row: number, shared: number, key: Uint8Array): void {
    if (shared > this.keyBytes.length) this.growKey(shared, 0);
    const own = this.keyBytes;
    for (let i = 0; i < shared; i++) own[i] = key[i]!;
    this.keyEnd = shared;
    this.rowInInterval = row;
    if (shared >= 8) {
      this.keyHi = keyWord(own, 0, shared);
      this.keyLo = keyWord(own, 4, shared);
    }
    this.readRow(at);
  }
}
