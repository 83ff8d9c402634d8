/**
 * The format's bloom filters over whole user keys: builder and probe.
 *
 * Payload: `u16be num_probes`, then the bits. The hash is SipHash-1-3 of the raw key; its low half gives the first
 * bit, its high half the step, and the step grows by i in round i (enhanced double hashing, Dillinger and Manolios
 * 2004). Bit p is bit `p & 7` of byte `p >> 3`. Every *row* counts, several versions of one key too.
 *
 * Invariants: a filter never denies a key that was added; anything that is not understood (no bits, unknown kind of
 * filter) answers "maybe".
 *
 * @module
 */
import { sipHash13 } from "../bytes/siphash.ts";
import { FormatError } from "../errors.ts";

const TWO_32 = 0x100000000;
const SECTION = "filter";
const NO_BITS: Uint8Array = new Uint8Array(0);
const NO_HASHES: Uint32Array = new Uint32Array(0);

/** Name of the bloom filter in a composite filter block: `_bf`. */
const BLOOM_NAME: readonly number[] = [0x5f, 0x62, 0x66];

/** Bits that each key sets for a number of bits per key, computed in 32-bit floats as the official writer does. */
export function probeCount(bitsPerKey: number): number {
  return Math.trunc(Math.fround(Math.fround(bitsPerKey) * Math.fround(0.69)));
}

/** Hashes in the first part of a builder's list; each further part has twice as many, up to the most. */
const FIRST_PART_HASHES = 256;
/** The most hashes of a part. */
const PART_HASHES_MAX = 1 << 16;

/**
 * Collects key hashes and makes the filter at the end, when the number of rows is known. The hashes lie in parts, so
 * that the list grows without being copied; the filter can be made in slices.
 */
export class BloomBuilder {
  /** Rows added. */
  count: number = 0;
  /** @internal Full parts: low and high half of every hash, in turn. */
  parts: Uint32Array[] = [];
  /** @internal The part that is being filled. */
  part: Uint32Array = new Uint32Array(2 * FIRST_PART_HASHES);
  /** @internal Numbers in `part`. */
  partLength: number = 0;
  /** @internal */
  hash: Uint32Array = new Uint32Array(2);
  /** @internal The filter that is being made. */
  payload: Uint8Array | undefined = undefined;
  /** @internal Where the making stands. */
  partAt: number = 0;
  /** @internal */
  hashAt: number = 0;

  /** Adds the key `bytes[start..end)`. */
  add(bytes: Uint8Array, start: number, end: number): void {
    sipHash13(bytes, start, end, this.hash);
    this.push();
  }

  /** Adds the last key once more (another version of it). */
  addAgain(): void {
    this.push();
  }

  /** The filter's payload. */
  finish(bitsPerKey: number): Uint8Array {
    while (this.finishStep(bitsPerKey, Infinity));
    return this.payload!;
  }

  /**
   * Makes a part of the filter, so that a large one costs no long turn. No row may be added any more.
   *
   * @param maxRows how many rows' bits to set at most
   * @returns whether rows are left; if not, `finish` answers at once
   */
  finishStep(bitsPerKey: number, maxRows: number): boolean {
    const probes = probeCount(bitsPerKey);
    if (this.payload === undefined) {
      this.payload = new Uint8Array(2 + Math.ceil(this.count * bitsPerKey / 8));
      this.payload[0] = probes >>> 8;
      this.payload[1] = probes;
      this.parts.push(this.part.subarray(0, this.partLength));
      this.part = NO_HASHES;
    }
    for (let left = maxRows; this.partAt < this.parts.length;) {
      const part = this.parts[this.partAt]!;
      const end = Math.min(part.length, this.hashAt + 2 * left);
      setBits(this.payload, probes, part, this.hashAt, end);
      left -= (end - this.hashAt) / 2;
      this.hashAt = end;
      if (end < part.length) return true;
      this.parts[this.partAt++] = NO_HASHES;
      this.hashAt = 0;
    }
    return false;
  }

  /** @internal */
  push(): void {
    if (this.partLength === this.part.length) {
      this.parts.push(this.part);
      this.part = new Uint32Array(Math.min(2 * this.part.length, 2 * PART_HASHES_MAX));
      this.partLength = 0;
    }
    const at = this.partLength;
    this.part[at] = this.hash[0]!;
    this.part[at + 1] = this.hash[1]!;
    this.partLength = at + 2;
    this.count++;
  }
}

/** Sets the bits of `hashes[from..to)` in the filter `payload`. */
function setBits(payload: Uint8Array, probes: number, hashes: Uint32Array, from: number, to: number): void {
  const bits = (payload.length - 2) * 8;
  for (let i = from; i < to; i += 2) {
    let bit = hashes[i]! % bits;
    let step = hashes[i + 1]! % bits;
    for (let round = 0; round < probes; round++) {
      step += round;
      if (step >= bits) step %= bits;
      const at = 2 + (bit >>> 3);
      payload[at] = payload[at]! | (1 << (bit & 7));
      bit += step;
      if (bit >= bits) bit -= bits;
    }
  }
}

/** Finds the bloom filter's data in a composite payload; no bytes when it has none. */
function findBloom(payload: Uint8Array): Uint8Array {
  const end = payload.length;
  if (end < 2) throw new FormatError(SECTION, 0, "truncated", `composite of ${end} bytes`);
  const count = (payload[0]! << 8) | payload[1]!;
  let found = NO_BITS;
  let at = 2;
  for (let i = 0; i < count; i++) {
    if (end - at < 2) throw new FormatError(SECTION, at, "truncated", `filter ${i} of ${count} has no name`);
    const nameLength = (payload[at]! << 8) | payload[at + 1]!;
    const nameAt = at + 2;
    const dataAt = nameAt + nameLength + 8;
    if (dataAt > end) throw new FormatError(SECTION, at, "truncated", `filter ${i} of ${count} runs over the end`);
    let length = 0;
    for (let b = dataAt - 8; b < dataAt; b++) length = length * 256 + payload[b]!;
    if (length > end - dataAt) {
      throw new FormatError(SECTION, at, "truncated", `filter ${i} has ${length} bytes of data`);
    }
    const isBloom = nameLength === BLOOM_NAME.length && BLOOM_NAME.every((byte, n) => payload[nameAt + n] === byte);
    if (isBloom) found = payload.subarray(dataAt, dataAt + length);
    at = dataAt + length;
  }
  if (at !== end) throw new FormatError(SECTION, at, "malformed", `${end - at} bytes after the last filter`);
  return found;
}

/** A filter in memory. Immutable. */
export class BloomFilter {
  /** Bits set per key. */
  readonly probes: number;
  /** The bits. */
  readonly bits: Uint8Array;
  /** @internal Number of bits. */
  readonly bitCount: number;
  /** @internal */
  readonly hash: Uint32Array;

  /** Use {@linkcode BloomFilter.decode}. */
  constructor(probes: number, bits: Uint8Array) {
    this.probes = probes;
    this.bits = bits;
    this.bitCount = bits.length * 8;
    this.hash = new Uint32Array(2);
  }

  /**
   * Reads a filter section's payload.
   *
   * @param payload the filter keeps a view of it
   * @param format the table's `filterFormat`: 0 one bloom filter, 1 composite
   * @throws FormatError
   */
  static decode(payload: Uint8Array, format: 0 | 1): BloomFilter {
    const data = format === 1 ? findBloom(payload) : payload;
    if (data === NO_BITS) return new BloomFilter(0, NO_BITS);
    if (data.length < 2) throw new FormatError(SECTION, 0, "truncated", `${data.length} bytes`);
    if (data.length - 2 >= TWO_32 / 8) throw new FormatError(SECTION, 0, "too-large", `${data.length} bytes`);
    return new BloomFilter((data[0]! << 8) | data[1]!, data.subarray(2));
  }

  /** Memory that the filter is charged with, in bytes. */
  get sizeBytes(): number {
    return this.bits.length + 128;
  }

  /** Whether the key `bytes[start..end)` may be in the table; false is certain. */
  mayContain(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.bitCount === 0) return true;
    sipHash13(bytes, start, end, this.hash);
    return this.mayContainHash(this.hash[0]!, this.hash[1]!);
  }

  /** {@linkcode BloomFilter.mayContain} for a key whose SipHash-1-3 is known, as two u32 halves. */
  mayContainHash(low: number, high: number): boolean {
    const count = this.bitCount;
    if (count === 0) return true;
    const bits = this.bits;
    let bit = low % count;
    let step = high % count;
    for (let round = 0; round < this.probes; round++) {
      step += round;
      if (step >= count) step %= count;
      if ((bits[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
      bit += step;
      if (bit >= count) bit -= count;
    }
    return true;
  }
}
