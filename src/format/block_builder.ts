/**
 * Builds the payload of one version 2 data block.
 *
 * Payload: `row*`, `u16be restart_offset` for every 16th row, `u16be` count of restarts. A row is
 * `varint shared, varint unshared, varint value_len, key_suffix, value, u64be seq, u8 flags, [i64be expire_ts],
 * [i64be create_ts]`, where `shared` counts the bytes in common with the previous row's key and is 0 at a restart.
 *
 * Invariants: rows and restarts are placed as the official writer places them, so equal rows give equal bytes. The
 * caller keeps the order; the builder is used again for the next block and keeps its buffers.
 *
 * @module
 */
import { ByteWriter } from "../bytes/byte_writer.ts";
import { commonPrefixLength } from "../bytes/compare.ts";
import { MAX_VARINT_BYTES, varintLength, writeVarint } from "../bytes/varint.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_TOMBSTONE, KIND_FLAGS, NO_EXPIRY, NO_TICK } from "./types.ts";

/** A restart every so many rows. */
export const RESTART_INTERVAL = 16;

const TWO_32 = 0x100000000;

/** Copies `source[from..end)` to `at` and returns where that ends. A loop beats `set` up to about 40 bytes. */
function copyInto(bytes: Uint8Array, at: number, source: Uint8Array, from: number, end: number): number {
  const length = end - from;
  if (length > 40) bytes.set(from === 0 && end === source.length ? source : source.subarray(from, end), at);
  else for (let i = 0; i < length; i++) bytes[at + i] = source[from + i]!;
  return at + length;
}

/** Writes an integer within ±(2 ** 53 - 1) as 8 bytes big-endian and returns where they end. */
function writeInt64(bytes: Uint8Array, at: number, value: number): number {
  const high = Math.floor(value / TWO_32);
  const low = (value - high * TWO_32) | 0;
  bytes[at] = high >> 24;
  bytes[at + 1] = high >> 16;
  bytes[at + 2] = high >> 8;
  bytes[at + 3] = high;
  bytes[at + 4] = low >> 24;
  bytes[at + 5] = low >> 16;
  bytes[at + 6] = low >> 8;
  bytes[at + 7] = low;
  return at + 8;
}

/** Collects rows of one block after the other. */
export class BlockBuilder {
  /** The rows written so far; {@linkcode BlockBuilder.finish} adds the restarts. */
  readonly rows: ByteWriter;
  /** Rows in the current block. */
  rowCount: number;
  /** Last key added, `[0, lastKeyLength)`; survives {@linkcode BlockBuilder.reset}. */
  lastKey: Uint8Array;
  lastKeyLength: number;
  /** Bytes that the last key shared with the one before it, across blocks too. */
  lastCommon: number;
  /** @internal */
  restarts: Uint16Array;
  /** @internal */
  restartCount: number;

  constructor() {
    this.rows = new ByteWriter(4096 + 256);
    this.rowCount = 0;
    this.lastKey = new Uint8Array(64);
    this.lastKeyLength = 0;
    this.lastCommon = 0;
    this.restarts = new Uint16Array(16);
    this.restartCount = 0;
  }

  /** Size of the payload if the block ended here, in bytes. */
  get sizeBytes(): number {
    return this.rows.length + 2 * this.restartCount + 2;
  }

  /** Bytes that `key[start..end)` has in common with the last key. */
  commonWithLast(key: Uint8Array, start: number, end: number): number {
    return commonPrefixLength(key, start, end, this.lastKey, 0, this.lastKeyLength);
  }

  /**
   * Whether a row may join the current block: always the first one, otherwise when the payload stays within
   * `blockSizeBytes`.
   *
   * @param common {@linkcode BlockBuilder.commonWithLast} of the row's key
   * @param valueLength 0 for a tombstone
   */
  fits(
    blockSizeBytes: number,
    common: number,
    keyLength: number,
    valueLength: number,
    createTs: number,
    expireTs: number,
  ): boolean {
    if (this.rowCount === 0) return true;
    const restart = this.rowCount % RESTART_INTERVAL === 0;
    const shared = restart ? 0 : common;
    const unshared = keyLength - shared;
    const row = varintLength(shared) + varintLength(unshared) + varintLength(valueLength) + unshared + valueLength + 9 +
      (createTs === NO_TICK ? 0 : 8) + (expireTs === NO_EXPIRY ? 0 : 8);
    // A restart offset has 16 bits, whatever the block size.
    if (restart && this.rows.length > 0xffff) return false;
    return this.sizeBytes + (restart ? 2 : 0) + row <= blockSizeBytes;
  }

  /**
   * Adds a row. Of `flags` only the kinds of row count; the others follow from the times. A tombstone's value is
   * not stored.
   *
   * @param common {@linkcode BlockBuilder.commonWithLast} of the key
   */
  add(
    common: number,
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const rows = this.rows;
    const restart = this.rowCount % RESTART_INTERVAL === 0;
    if (restart) this.addRestart(rows.length);
    const shared = restart ? 0 : common;
    const keyLength = keyEnd - keyStart;
    const valueLength = (flags & FLAG_TOMBSTONE) !== 0 ? 0 : valueEnd - valueStart;
    // Room for the whole row at once: three lengths, key, value, and the longest trailer.
    rows.reserve(3 * MAX_VARINT_BYTES + keyLength + valueLength + 25);
    const bytes = rows.bytes;
    let at = writeVarint(bytes, rows.length, shared);
    at = writeVarint(bytes, at, keyLength - shared);
    at = writeVarint(bytes, at, valueLength);
    at = copyInto(bytes, at, keyBytes, keyStart + shared, keyEnd);
    at = copyInto(bytes, at, valueBytes, valueStart, valueStart + valueLength);
    at = writeInt64(bytes, at, seq);
    const expires = expireTs !== NO_EXPIRY;
    const created = createTs !== NO_TICK;
    bytes[at++] = (flags & KIND_FLAGS) | (expires ? FLAG_EXPIRE : 0) | (created ? FLAG_CREATE : 0);
    if (expires) at = writeInt64(bytes, at, expireTs);
    if (created) at = writeInt64(bytes, at, createTs);
    rows.length = at;
    this.rowCount++;
    this.keepKey(common, keyBytes, keyStart, keyLength);
  }

  /** Appends the restarts: `rows.bytes[0..rows.length)` is the payload afterwards. */
  finish(): void {
    for (let i = 0; i < this.restartCount; i++) this.rows.u16(this.restarts[i]!);
    this.rows.u16(this.restartCount);
  }

  /** Begins the next block. */
  reset(): void {
    this.rows.clear();
    this.rowCount = 0;
    this.restartCount = 0;
  }

  /** @internal */
  addRestart(offset: number): void {
    if (this.restartCount === this.restarts.length) {
      const grown = new Uint16Array(this.restarts.length * 2);
      grown.set(this.restarts);
      this.restarts = grown;
    }
    this.restarts[this.restartCount++] = offset;
  }

  /** @internal */
  keepKey(common: number, keyBytes: Uint8Array, keyStart: number, keyLength: number): void {
    if (keyLength > this.lastKey.length) {
      const grown = new Uint8Array(Math.max(keyLength, this.lastKey.length * 2));
      grown.set(this.lastKey.subarray(0, common));
      this.lastKey = grown;
    }
    const last = this.lastKey;
    for (let i = common; i < keyLength; i++) last[i] = keyBytes[keyStart + i]!;
    this.lastKeyLength = keyLength;
    this.lastCommon = common;
  }
}
