/**
 * Sequence numbers and the wall-clock seconds at which they were handed out, sampled at most once a minute.
 *
 * ```text
 * u8 version = 1 | u32 little-endian n | stream of n sequence numbers | stream of n unix seconds
 * stream   u32 n | first value, 64 bits | per further value the change of the difference to the value before:
 *          0 -> 0   ±63 -> 10 + 7 bits   ±255 -> 110 + 9   ±2047 -> 1110 + 12   else 1111 + 32 (two's complement)
 * ```
 *
 * Most significant bit first, each stream zero-padded to a byte. Delta-of-delta coding after the Gorilla paper
 * (Pelkonen et al., VLDB 2015). Invariants: sequence numbers strictly ascend, seconds never descend; a sample that
 * would break this is left out, never an error (K-34), and so is one that 32 bits cannot carry; at most
 * {@linkcode TRACKER_POINTS_MAX} samples are kept.
 *
 * @module
 */
import { ByteWriter } from "../bytes/byte_writer.ts";
import { FormatError } from "../errors.ts";

/** Most samples kept: above it every second one is dropped. */
export const TRACKER_POINTS_MAX = 8192;
/** Least time between two recorded samples, seconds. */
export const TRACKER_SPACING_SECONDS = 60;

/** Most samples that are read: no writer keeps more than 8192. */
const DECODED_POINTS_MAX = 65_536;
const VERSION = 1;
const SECTION = "tracker";
const TWO_32 = 0x100000000;

/** Which neighbour of a value that was not sampled is meant: the sample at or after it, or at or before it. */
export type Rounding = "up" | "down";

/** The samples: `seconds[i]` is when `seqs[i]` was handed out. */
export interface TrackerPoints {
  /** Strictly ascending. */
  readonly seqs: ReadonlyArray<number>;
  /** Unix seconds, never descending. */
  readonly seconds: ReadonlyArray<number>;
}

/** Remembers when sequence numbers were handed out. */
export class SequenceTracker {
  #seqs: number[] = [];
  #seconds: number[] = [];
  /** The first second at which the next sample may be recorded. */
  #nextSeconds = -Infinity;

  /** The samples, oldest first. Not a copy: changes with the tracker. */
  get points(): TrackerPoints {
    return { seqs: this.#seqs, seconds: this.#seconds };
  }

  /** Number of samples. */
  get length(): number {
    return this.#seqs.length;
  }

  /**
   * Offers a sample. Kept when it is the first, or both above the last sequence number and at least
   * {@linkcode TRACKER_SPACING_SECONDS} after the last sample; else ignored. Cheap enough for every write.
   *
   * @param seq sequence number, at least 1
   * @param unixSeconds wall clock when it was handed out; a fraction is cut off
   */
  record(seq: number, unixSeconds: number): void {
    if (!(unixSeconds >= this.#nextSeconds)) return;
    const seconds = Math.floor(unixSeconds);
    if (!this.#append(seq, seconds)) return;
    this.#nextSeconds = seconds + TRACKER_SPACING_SECONDS;
    this.#thin();
  }

  /** An empty tracker that keeps this one's distance to the last sample: for the next memtable of a session. */
  successor(): SequenceTracker {
    const next = new SequenceTracker();
    next.#nextSeconds = this.#nextSeconds;
    return next;
  }

  /**
   * Takes over the samples of `other` up to `maxSeq`; those that do not follow the last sample are left out. Samples
   * of one's own above `maxSeq` are dropped first: they belong to writes that were never published.
   *
   * @param maxSeq the largest sequence number that is published
   */
  extend(other: SequenceTracker, maxSeq: number): void {
    this.dropAfter(maxSeq);
    for (let i = 0; i < other.#seqs.length; i++) {
      if (other.#seqs[i]! <= maxSeq) this.#append(other.#seqs[i]!, other.#seconds[i]!);
    }
    this.#thin();
  }

  /** Forgets samples above `maxSeq`. */
  dropAfter(maxSeq: number): void {
    let length = this.#seqs.length;
    while (length > 0 && this.#seqs[length - 1]! > maxSeq) length--;
    this.#seqs.length = length;
    this.#seconds.length = length;
  }

  /** When the nearest sampled number at or after (`up`) or at or before (`down`) `seq` was handed out; unix seconds. */
  findTime(seq: number, rounding: Rounding): number | undefined {
    return this.#seconds[nearest(this.#seqs, seq, rounding)];
  }

  /** The sampled number of the nearest sample at or after (`up`) or at or before (`down`) `unixSeconds`. */
  findSeq(unixSeconds: number, rounding: Rounding): number | undefined {
    return this.#seqs[nearest(this.#seconds, unixSeconds, rounding)];
  }

  /** The stored form. Samples whose distance 32 bits cannot carry are left out. */
  encode(): Uint8Array {
    const { seqs, seconds } = encodable(this.#seqs, this.#seconds);
    const writer = new ByteWriter(32 + seqs.length * 4);
    writer.u8(VERSION);
    const count = seqs.length;
    for (let i = 0; i < 4; i++) writer.u8((count >>> (8 * i)) & 0xff);
    writeStream(writer, seqs);
    writeStream(writer, seconds);
    return writer.toBytes();
  }

  /**
   * Reads the stored form. Samples out of order are left out.
   *
   * @throws FormatError "unsupported-version", "truncated", "too-large" (above 65,536 samples), or "malformed" (counts
   * that differ, numbers beyond 2 ** 53 - 1, bytes left over)
   */
  static decode(bytes: Uint8Array): SequenceTracker {
    if (bytes.length < 5) throw new FormatError(SECTION, bytes.length, "truncated", "the tracker ends early");
    if (bytes[0] !== VERSION) {
      throw new FormatError(SECTION, 0, "unsupported-version", `tracker version ${bytes[0]}, known is ${VERSION}`);
    }
    const count = (bytes[1]! | (bytes[2]! << 8) | (bytes[3]! << 16) | (bytes[4]! << 24)) >>> 0;
    const reader = new BitReader(bytes, 5);
    const seqs = readStream(reader, count, 0);
    const seconds = readStream(reader, count, -Number.MAX_SAFE_INTEGER);
    if (reader.position !== bytes.length) {
      throw new FormatError(SECTION, reader.position, "malformed", `${bytes.length - reader.position} bytes left over`);
    }
    const tracker = new SequenceTracker();
    for (let i = 0; i < seqs.length; i++) tracker.#append(seqs[i]!, seconds[i]!);
    return tracker;
  }

  /** Adds a sample unless it breaks the order. */
  #append(seq: number, seconds: number): boolean {
    if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(seconds) || seq < 0) return false;
    const last = this.#seqs.length - 1;
    if (last >= 0 && (seq <= this.#seqs[last]! || seconds < this.#seconds[last]!)) return false;
    this.#seqs.push(seq);
    this.#seconds.push(seconds);
    return true;
  }

  #thin(): void {
    while (this.#seqs.length > TRACKER_POINTS_MAX) {
      this.#seqs = this.#seqs.filter((_, i) => i % 2 === 0);
      this.#seconds = this.#seconds.filter((_, i) => i % 2 === 0);
    }
  }
}

/** Index of the first element >= value ("up") or the last <= value ("down"); -1 or the length when there is none. */
function nearest(sorted: ReadonlyArray<number>, value: number, rounding: Rounding): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const element = sorted[middle]!;
    if (rounding === "up" ? element < value : element <= value) low = middle + 1;
    else high = middle;
  }
  return rounding === "up" ? low : low - 1;
}

/** The samples that the coding can carry, each measured from the one kept before it. */
function encodable(allSeqs: ReadonlyArray<number>, allSeconds: ReadonlyArray<number>): TrackerPoints {
  const seqs: number[] = [];
  const seconds: number[] = [];
  let seqDelta = 0;
  let secondDelta = 0;
  for (let i = 0; i < allSeqs.length; i++) {
    const last = seqs.length - 1;
    if (last >= 0) {
      const nextSeqDelta = allSeqs[i]! - seqs[last]!;
      const nextSecondDelta = allSeconds[i]! - seconds[last]!;
      if (!isInt32(nextSeqDelta - seqDelta) || !isInt32(nextSecondDelta - secondDelta)) continue;
      seqDelta = nextSeqDelta;
      secondDelta = nextSecondDelta;
    }
    seqs.push(allSeqs[i]!);
    seconds.push(allSeconds[i]!);
  }
  return { seqs, seconds };
}

function isInt32(value: number): boolean {
  return value === (value | 0);
}

function writeStream(writer: ByteWriter, values: ReadonlyArray<number>): void {
  writer.u32(values.length);
  if (values.length === 0) return;
  writer.i64(values[0]!);
  let pending = 0;
  let pendingBits = 0;
  const put = (value: number, bits: number): void => {
    for (let i = bits - 1; i >= 0; i--) {
      pending = (pending << 1) | ((value >>> i) & 1);
      if (++pendingBits === 8) {
        writer.u8(pending);
        pending = 0;
        pendingBits = 0;
      }
    }
  };
  let delta = 0;
  for (let i = 1; i < values.length; i++) {
    const next = values[i]! - values[i - 1]!;
    const change = next - delta;
    const size = Math.abs(change);
    delta = next;
    if (size === 0) put(0, 1);
    else if (size <= 63) put(0b10 << 7 | (change & 0x7f), 9);
    else if (size <= 255) put(0b110 << 9 | (change & 0x1ff), 12);
    else if (size <= 2047) put(0b1110 << 12 | (change & 0xfff), 16);
    else {
      put(0b1111, 4);
      put(change, 32);
    }
  }
  if (pendingBits > 0) writer.u8(pending << (8 - pendingBits));
}

/** Widths of the changes by the number of leading ones. */
const CHANGE_BITS: readonly number[] = [0, 7, 9, 12, 32];

function readStream(reader: BitReader, expected: number, least: number): number[] {
  const at = reader.position;
  const count = reader.bits(32);
  if (count !== expected) {
    throw new FormatError(SECTION, at, "malformed", `a stream of ${count} values where ${expected} are announced`);
  }
  if (count > DECODED_POINTS_MAX) {
    throw new FormatError(SECTION, at, "too-large", `${count} samples, at most ${DECODED_POINTS_MAX} are read`);
  }
  const values: number[] = [];
  if (count === 0) return values;
  const high = reader.bits(32) | 0;
  let value = high * TWO_32 + reader.bits(32);
  let delta = 0;
  for (let i = 0; i < count; i++) {
    if (i > 0) {
      let ones = 0;
      while (ones < 4 && reader.bits(1) === 1) ones++;
      const width = CHANGE_BITS[ones]!;
      if (width > 0) delta += (reader.bits(width) << (32 - width)) >> (32 - width);
      value += delta;
    }
    if (!Number.isSafeInteger(value) || value < least) {
      throw new FormatError(SECTION, reader.position, "malformed", `value ${value} is outside ${least}..2 ** 53 - 1`);
    }
    values.push(value);
  }
  reader.align();
  return values;
}

/** Reads bits, most significant first, from a byte position on. */
class BitReader {
  readonly #bytes: Uint8Array;
  /** The byte of the next bit. */
  position: number;
  #used = 0;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = bytes;
    this.position = position;
  }

  /** The next `count` (1..32) bits as an unsigned number. */
  bits(count: number): number {
    let value = 0;
    for (let left = count; left > 0;) {
      if (this.position >= this.#bytes.length) {
        throw new FormatError(SECTION, this.position, "truncated", "a stream ends early");
      }
      const take = Math.min(8 - this.#used, left);
      const rest = 8 - this.#used - take;
      value = value * 2 ** take + ((this.#bytes[this.position]! >>> rest) & (2 ** take - 1));
      this.#used += take;
      left -= take;
      if (this.#used === 8) {
        this.#used = 0;
        this.position++;
      }
    }
    return value;
  }

  /** Skips to the next byte. */
  align(): void {
    if (this.#used === 0) return;
    this.#used = 0;
    this.position++;
  }
}
