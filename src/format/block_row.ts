/**
 * What the readers of a block's rows share: limits, number reading, refusals.
 *
 * Version 2 row: `varint shared, varint unshared, varint value_len, key_suffix, value, u64be seq, u8 flags,
 * [i64be expire_ts if 0x02], [i64be create_ts if 0x04]`; called "trailer" is everything from `seq` on.
 *
 * @module
 */
import { keyWord } from "../bytes/compare.ts";
import { readVarint, varintEnd } from "../bytes/varint.ts";
import { FormatError } from "../errors.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_RANGE_DELETE, FLAG_TOMBSTONE } from "./types.ts";

/** Longest key that is read: a user key of 65535 bytes and the zero byte of an exclusive bound. */
export const MAX_KEY_BYTES = 65536;

const KNOWN_FLAGS = FLAG_TOMBSTONE | FLAG_EXPIRE | FLAG_CREATE | FLAG_MERGE;

function makeTrailerBytes(): Uint8Array {
  const bytes = new Uint8Array(256);
  for (let flags = 0; flags <= KNOWN_FLAGS; flags++) {
    const both = (flags & FLAG_TOMBSTONE) !== 0 && (flags & FLAG_MERGE) !== 0;
    if (!both) bytes[flags] = 9 + ((flags & FLAG_EXPIRE) !== 0 ? 8 : 0) + ((flags & FLAG_CREATE) !== 0 ? 8 : 0);
  }
  return bytes;
}

/** Length of a trailer by its flags byte; 0 for flags that are not allowed. */
export const TRAILER_BYTES: Uint8Array = makeTrailerBytes();

/** The same where a row may be a range tombstone, which always has a creation time and nothing else. */
export const RANGE_TRAILER_BYTES: Uint8Array = makeTrailerBytes();
RANGE_TRAILER_BYTES[FLAG_RANGE_DELETE | FLAG_CREATE] = 17;

/** Length of a new {@linkcode keyBuffer}. */
const KEY_BUFFER_BYTES = 128;
const KEY_SLAB_BYTES = 32_768;
let keySlab: Uint8Array = new Uint8Array(0);
let keySlabAt = 0;

/**
 * Memory for the keys of one cursor, for short keys. Cut from a larger piece: some runtimes take half a microsecond for
 * every array with memory of its own, and a scan opens a cursor for each source.
 */
export function keyBuffer(): Uint8Array {
  if (keySlabAt === keySlab.length) {
    keySlab = new Uint8Array(KEY_SLAB_BYTES);
    keySlabAt = 0;
  }
  const from = keySlabAt;
  keySlabAt += KEY_BUFFER_BYTES;
  return keySlab.subarray(from, keySlabAt);
}

/** Where the last number or key read here ended: a second answer without an object. */
export const readEnd: { at: number } = { at: 0 };

/** The error for a row that cannot be. */
export function badRow(section: string, at: number, detail: string): FormatError {
  return new FormatError(section, at, "malformed", detail);
}

/** The error for a flags byte that {@linkcode TRAILER_BYTES} does not allow. */
export function badFlags(section: string, at: number, flags: number): FormatError {
  const known = (flags & ~KNOWN_FLAGS) === 0;
  const detail = known ? "a row is tombstone and merge operand at once" : `row flags ${flags}, known are 0 to 15`;
  return new FormatError(section, at, known ? "malformed" : "unsupported-version", detail);
}

/** Reads the varint at `at`; its end goes to {@linkcode readEnd}. */
export function rowVarint(data: Uint8Array, at: number, rowsEnd: number, section: string): number {
  const end = varintEnd(data, at, rowsEnd);
  const value = end < 0 ? -1 : readVarint(data, at, end);
  if (value < 0) throw badRow(section, at, "length does not end or needs more than 32 bits");
  readEnd.at = end;
  return value;
}

/** The time at `at`, an i64 in ms; beyond ±(2 ** 53 - 1) it is refused. */
export function rowTime(data: Uint8Array, at: number, section: string): number {
  const high = (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
  const low = ((data[at + 4]! << 24) | (data[at + 5]! << 16) | (data[at + 6]! << 8) | data[at + 7]!) >>> 0;
  const time = high * 0x100000000 + low;
  if (time > Number.MAX_SAFE_INTEGER || time < -Number.MAX_SAFE_INTEGER) {
    throw badRow(section, at, "time beyond 2 ** 53 - 1 ms");
  }
  return time;
}

/** Orders the key of the restart row at `at` and `key`, whose first `keyWord` is `word`. */
export function compareRestart(
  data: Uint8Array,
  at: number,
  rowsEnd: number,
  key: Uint8Array,
  word: number,
  section: string,
): number {
  const shared = rowVarint(data, at, rowsEnd, section);
  const length = rowVarint(data, readEnd.at, rowsEnd, section);
  rowVarint(data, readEnd.at, rowsEnd, section);
  const start = readEnd.at;
  if (shared !== 0 || length > MAX_KEY_BYTES || start + length > rowsEnd) {
    throw badRow(section, at, `restart row with ${shared} shared and ${length} own key bytes`);
  }
  const own = keyWord(data, start, start + length);
  if (own !== word) return own < word ? -1 : 1;
  const end = length < key.length ? length : key.length;
  for (let i = 0; i < end; i++) {
    const difference = data[start + i]! - key[i]!;
    if (difference !== 0) return difference;
  }
  return length - key.length;
}
