/**
 * A growable buffer with big-endian number writes: how every hand-made part of the format is put together.
 *
 * Invariants: `bytes[0..length)` is what was written; the buffer grows by doubling, so `bytes` may change with every
 * write and must not be kept over one. Numbers are checked by the callers; 64-bit ones are JavaScript numbers.
 *
 * @module
 */
import { writeVarint } from "./varint.ts";

const TWO_32 = 0x100000000;

/** Writes bytes one after the other into a buffer that grows. */
export class ByteWriter {
  /** The buffer; only `[0, length)` is written. Replaced when it grows. */
  bytes: Uint8Array;
  /** Bytes written. */
  length: number;

  /** @param capacity first size of the buffer in bytes */
  constructor(capacity: number = 256) {
    this.bytes = new Uint8Array(capacity < 16 ? 16 : capacity);
    this.length = 0;
  }

  /** Makes room for `extra` more bytes. */
  reserve(extra: number): void {
    const needed = this.length + extra;
    if (needed <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  /** Writes one byte. */
  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.length++] = value;
  }

  /** Writes 2 bytes, big-endian. */
  u16(value: number): void {
    this.reserve(2);
    const bytes = this.bytes;
    bytes[this.length] = value >>> 8;
    bytes[this.length + 1] = value;
    this.length += 2;
  }

  /** Writes 4 bytes, big-endian. */
  u32(value: number): void {
    this.reserve(4);
    const bytes = this.bytes;
    const at = this.length;
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
    this.length = at + 4;
  }

  /** Writes 8 bytes, big-endian; `value` is an integer 0..2 ** 53 - 1. */
  u64(value: number): void {
    this.u32(Math.floor(value / TWO_32));
    this.u32(value % TWO_32);
  }

  /** Writes 8 bytes, big-endian two's complement; `value` is an integer within ±(2 ** 53 - 1). */
  i64(value: number): void {
    const high = Math.floor(value / TWO_32);
    this.u32(high | 0);
    this.u32(value - high * TWO_32);
  }

  /** Writes `value` (0..2 ** 32 - 1) as LEB128. */
  varint(value: number): void {
    this.reserve(5);
    this.length = writeVarint(this.bytes, this.length, value);
  }

  /** Writes `source[start..end)`. */
  put(source: Uint8Array, start: number, end: number): void {
    const count = end - start;
    this.reserve(count);
    const bytes = this.bytes;
    const at = this.length;
    // A loop beats `set` with its temporary view up to about 32 bytes.
    if (count <= 32) { for (let i = 0; i < count; i++) bytes[at + i] = source[start + i]!; }
    else bytes.set(source.subarray(start, end), at);
    this.length = at + count;
  }

  /** Writes all of `source`. */
  putAll(source: Uint8Array): void {
    this.put(source, 0, source.length);
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  /** Forgets what was written and keeps the buffer. */
  clear(): void {
    this.length = 0;
  }
}
