/**
 * Rows of version 1 blocks (older files, read only), decoded into a `BlockCursor`.
 *
 * Row: `u16be shared` with the block's *first* key, `u16be unshared`, key suffix, `u64be seq`, `u8 flags`,
 * `[i64be expire_ts]`, `[i64be create_ts]`, then for everything but tombstones `u32be value_len` and the value. Every
 * row has an entry in the offset table, so the cursor treats each as an interval of its own. A tombstone's expiry is
 * read past and dropped.
 *
 * @module
 */
import { keyWord } from "../bytes/compare.ts";
import type { BlockCursor } from "./block_cursor.ts";
import { badRow, MAX_KEY_BYTES } from "./block_row.ts";
import { FLAG_EXPIRE, FLAG_TOMBSTONE, NO_EXPIRY } from "./types.ts";

/** Length of the block's first key, which starts at byte 4. */
export function firstKeyLengthV1(data: Uint8Array, rowsEnd: number, section: string): number {
  const length = (data[2]! << 8) | data[3]!;
  if (data[0] !== 0 || data[1] !== 0 || 4 + length > rowsEnd) {
    throw badRow(section, 0, "the first row shares key bytes or is too long");
  }
  return length;
}

/** Decodes the row at `at`; it must end where the cursor's next interval begins. */
export function readRowV1(cursor: BlockCursor, at: number): void {
  const data = cursor.valueBytes;
  const section = cursor.section;
  const rowEnd = cursor.nextRestart;
  const shared = (data[at]! << 8) | data[at + 1]!;
  const unshared = (data[at + 2]! << 8) | data[at + 3]!;
  const keyEnd = shared + unshared;
  const suffix = at + 4;
  const trailer = suffix + unshared;
  if (trailer + 9 > rowEnd) throw badRow(section, at, "row runs over the next one");
  if (shared > cursor.firstKeyLength || keyEnd > MAX_KEY_BYTES) {
    throw badRow(section, at, `${shared} + ${unshared} key bytes, the first key has ${cursor.firstKeyLength}`);
  }
  if (keyEnd > cursor.keyBytes.length) cursor.growKey(keyEnd, 0);
  const key = cursor.keyBytes;
  for (let i = 0; i < shared; i++) key[i] = data[4 + i]!;
  for (let i = shared, from = suffix; i < keyEnd; i++, from++) key[i] = data[from]!;
  cursor.keyEnd = keyEnd;
  cursor.keyHi = keyWord(key, 0, keyEnd);
  cursor.keyLo = keyWord(key, 4, keyEnd);
  cursor.valueStart = cursor.valueEnd = trailer;
  cursor.readTrailer(trailer);
  if ((cursor.flags & FLAG_TOMBSTONE) !== 0) {
    cursor.expireTs = NO_EXPIRY;
    cursor.flags &= ~FLAG_EXPIRE;
  } else {
    const start = cursor.rowEnd + 4;
    if (start > rowEnd) throw badRow(section, at, "row runs over the next one");
    const high = (data[start - 4]! << 8) | data[start - 3]!;
    cursor.valueStart = start;
    cursor.valueEnd = cursor.rowEnd = start + high * 65536 + ((data[start - 2]! << 8) | data[start - 1]!);
  }
  if (cursor.rowEnd !== rowEnd) throw badRow(section, at, `row ends at ${cursor.rowEnd}, not at ${rowEnd}`);
}

/** Orders the key of row `index` and `key`; the cursor stands on that row afterwards. */
export function compareRowV1(cursor: BlockCursor, index: number, key: Uint8Array): number {
  cursor.enter(index);
  const own = cursor.keyBytes;
  const end = cursor.keyEnd < key.length ? cursor.keyEnd : key.length;
  for (let i = 0; i < end; i++) {
    const difference = own[i]! - key[i]!;
    if (difference !== 0) return difference;
  }
  return cursor.keyEnd - key.length;
}
