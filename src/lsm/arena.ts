/**
 * Append-only storage of memtable rows: bytes in fixed chunks, facts about each row in flat typed arrays.
 *
 * A row's key and value lie side by side in one chunk; its address is `chunk << 20 | offset` in 32 bits. Chunks are
 * 1 MiB (the first one 64 KiB, so that an idle table is small); a row above 256 KiB gets a chunk of its own, so at most
 * a quarter of a chunk is left over. From the 9th on, chunks are cut from slabs of 33 MiB: C libraries give freed
 * memory of more than 32 MiB back to the system and keep smaller pieces, and the untouched part of a slab takes none.
 * Row ids count up from 0 in order of insertion, and a row that was read keeps its bytes for as long as anybody refers
 * to them: chunks are never written twice.
 *
 * The facts that a point read wants sit in one 32-byte record, half a cache line, instead of one array per field:
 *
 * ```text
 * int32   0 address   1 value length   6 key length | flags << 24   (7 unused)
 * float64 1 sequence number   2 creation time
 * ```
 *
 * Expiry times have an array of their own that exists only once a row has one.
 *
 * @module
 */
import { FLAG_CREATE, FLAG_EXPIRE, KIND_FLAGS, NO_EXPIRY, NO_TICK } from "../format/types.ts";

const CHUNK_BITS = 20;
const CHUNK_BYTES = 1 << CHUNK_BITS;
const OFFSET_MASK = CHUNK_BYTES - 1;
const FIRST_CHUNK_BYTES = 1 << 16;
/** Chunks that are allocated one by one, so that a small table reserves little. */
const SINGLE_CHUNKS = 8;
const SLAB_BYTES = 33 * CHUNK_BYTES;
const LARGEST_SHARED_ROW = 1 << 18;
const MAX_CHUNKS = 1 << (32 - CHUNK_BITS);
const FIRST_ROWS = 128;
const KEY_LENGTH_MASK = 0xffffff;

/** Below this many bytes a byte loop beats a call of `set`. */
const LOOP_BYTES = 24;
/** Below this many bytes a byte loop beats making a view to hand to `set`. */
const LOOP_SLICE_BYTES = 96;

/** Copies `from[start..end)` to `to[at..]`, without allocation unless a large part of a larger array is copied. */
export function copyInto(to: Uint8Array, at: number, from: Uint8Array, start: number, end: number): void {
  const length = end - start;
  if (length < LOOP_BYTES) {
    for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  } else if (length === from.length) {
    to.set(from, at);
  } else if (length < LOOP_SLICE_BYTES) {
    for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
  } else {
    to.set(from.subarray(start, end), at);
  }
}

/** The rows of one memtable in order of insertion. Bytes are copied in; nothing is ever removed. */
export class RowArena {
  /** Number of rows. */
  count: number = 0;
  /** Bytes held, used or not. */
  memoryBytes: number = 0;
  /** @internal */
  chunks: Uint8Array[] = [];
  /** @internal */
  words: Int32Array;
  /** @internal */
  doubles: Float64Array;
  /** @internal */
  expiries: Float64Array | undefined = undefined;
  /** @internal */
  chunk: Uint8Array = new Uint8Array(0);
  /** @internal */
  chunkIndex: number = -1;
  /** @internal */
  used: number = 1;
  /** @internal Where the next chunks are cut from. */
  slab: ArrayBuffer = new ArrayBuffer(0);
  /** @internal */
  slabUsed: number = 0;

  constructor() {
    const record = new ArrayBuffer(FIRST_ROWS * 32);
    this.words = new Int32Array(record);
    this.doubles = new Float64Array(record);
    this.memoryBytes = record.byteLength;
  }

  /**
   * Copies a row in.
   *
   * @param flags only the bits of the row's kind are looked at; the two time bits follow from the times
   * @param createTs ms, NO_TICK for none
   * @param expireTs ms, NO_EXPIRY for none
   * @returns the row's id
   */
  append(
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
  ): number {
    const keyLength = keyEnd - keyStart;
    const valueLength = valueEnd - valueStart;
    const length = keyLength + valueLength;
    let chunk = this.chunk;
    let address: number;
    if (this.used + length <= chunk.length) {
      address = (this.chunkIndex << CHUNK_BITS) | this.used;
      this.used += length;
    } else {
      address = this.#reserveInNewChunk(length);
      chunk = this.chunks[address >>> CHUNK_BITS]!;
    }
    const at = address & OFFSET_MASK;
    copyInto(chunk, at, keyBytes, keyStart, keyEnd);
    copyInto(chunk, at + keyLength, valueBytes, valueStart, valueEnd);

    const row = this.count;
    if (row << 3 === this.words.length) this.#growRecords();
    let stored = flags & KIND_FLAGS;
    if (createTs !== NO_TICK) stored |= FLAG_CREATE;
    if (expireTs !== NO_EXPIRY) {
      stored |= FLAG_EXPIRE;
      this.#setExpiry(row, expireTs);
    }
    const word = row << 3;
    const words = this.words;
    words[word] = address;
    words[word + 1] = valueLength;
    words[word + 6] = keyLength | (stored << 24);
    const double = row << 2;
    this.doubles[double + 1] = seq;
    this.doubles[double + 2] = createTs;
    this.count = row + 1;
    return row;
  }

  /** Gives `row` the contents of the last row appended, which has the same key and is taken back. */
  replaceByLast(row: number): void {
    const last = --this.count;
    this.words.copyWithin(row << 3, last << 3, (last + 1) << 3);
    if ((this.flagsOf(row) & FLAG_EXPIRE) !== 0) this.#setExpiry(row, this.expiries![last]!);
  }

  /**
   * Reads a little of the rows `ids[from..from + count)`, all at once: scattered rows come from main memory, and loads
   * that do not wait for each other take a fraction of the time that one row after the other would take.
   *
   * @returns a meaningless number
   */
  touch(ids: Int32Array, from: number, count: number): number {
    const { words, chunks } = this;
    let sum = 0;
    for (let i = from; i < from + count; i++) {
      const address = words[ids[i]! << 3]!;
      sum ^= chunks[address >>> CHUNK_BITS]![address & OFFSET_MASK]!;
    }
    return sum;
  }

  /** Chunk that holds the row's key and value. */
  bytesOf(row: number): Uint8Array {
    return this.chunks[this.words[row << 3]! >>> CHUNK_BITS]!;
  }

  /** Where the row's key starts in its chunk. */
  keyStartOf(row: number): number {
    return this.words[row << 3]! & OFFSET_MASK;
  }

  /** Key length in bytes. */
  keyLengthOf(row: number): number {
    return this.words[(row << 3) + 6]! & KEY_LENGTH_MASK;
  }

  /** Value length in bytes; the value starts where the key ends. */
  valueLengthOf(row: number): number {
    return this.words[(row << 3) + 1]! >>> 0;
  }

  /** All four row flags. */
  flagsOf(row: number): number {
    return this.words[(row << 3) + 6]! >>> 24;
  }

  /** Sequence number. */
  seqOf(row: number): number {
    return this.doubles[(row << 2) + 1]!;
  }

  /** Creation time in ms; NO_TICK for none. */
  createTsOf(row: number): number {
    return this.doubles[(row << 2) + 2]!;
  }

  /** Expiry time in ms; NO_EXPIRY for none. */
  expireTsOf(row: number): number {
    return (this.flagsOf(row) & FLAG_EXPIRE) === 0 ? NO_EXPIRY : this.expiries![row]!;
  }

  #setExpiry(row: number, expireTs: number): void {
    let expiries = this.expiries;
    const capacity = this.words.length >>> 3;
    if (expiries === undefined || expiries.length < capacity) {
      const larger = new Float64Array(capacity);
      if (expiries !== undefined) larger.set(expiries);
      this.memoryBytes += larger.byteLength - (expiries?.byteLength ?? 0);
      this.expiries = expiries = larger;
    }
    expiries[row] = expireTs;
  }

  #growRecords(): void {
    const record = new ArrayBuffer(this.words.byteLength * 2);
    const words = new Int32Array(record);
    words.set(this.words);
    this.memoryBytes += record.byteLength - this.words.byteLength;
    this.words = words;
    this.doubles = new Float64Array(record);
  }

  #sharedChunk(index: number): Uint8Array {
    if (index < SINGLE_CHUNKS) return new Uint8Array(CHUNK_BYTES);
    if (this.slabUsed === this.slab.byteLength) {
      this.slab = new ArrayBuffer(SLAB_BYTES);
      this.slabUsed = 0;
    }
    const chunk = new Uint8Array(this.slab, this.slabUsed, CHUNK_BYTES);
    this.slabUsed += CHUNK_BYTES;
    return chunk;
  }

  #reserveInNewChunk(length: number): number {
    const index = this.chunks.length;
    if (index === MAX_CHUNKS) throw new Error("memtable arena is full: it holds 4096 chunks");
    const alone = length > LARGEST_SHARED_ROW;
    const first = this.chunkIndex < 0 && length <= FIRST_CHUNK_BYTES;
    const chunk = alone || first ? new Uint8Array(alone ? length : FIRST_CHUNK_BYTES) : this.#sharedChunk(index);
    this.chunks.push(chunk);
    this.memoryBytes += chunk.length;
    // The chunk in use goes on being filled after a row that stands alone.
    if (!alone) {
      this.chunk = chunk;
      this.chunkIndex = index;
      this.used = length;
    }
    return index << CHUNK_BITS;
  }
}
