/**
 * Write batches: operations that take effect together, under one sequence number.
 *
 * Bytes are copied and checked at the call; a refused call leaves the batch as it was. When several operations name one
 * key, the batch acts as if they were done one after the other. A batch is not used up by writing it.
 *
 * @module
 */
import { toBytes } from "../bytes/compare.ts";
import { InvalidArgument, textOf } from "../errors.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE } from "../format/types.ts";
import { copyInto } from "../lsm/arena.ts";
import { assertBytes, assertKeyLength, KEY_BYTES_MAX } from "../lsm/key_range.ts";
import type { Bytes, KeyRange, Ttl, WriteBatchShape } from "./api.ts";
import { type BatchRange, CapturedBatch, expiryAt, TTL_AFTER, TTL_AT, TTL_DEFAULT, TTL_NONE } from "./batch_rows.ts";
import { checkFields } from "./call_options.ts";
import { boundBytes, type DeletedRange, deletedRange } from "./deleted_range.ts";

export type { BatchRange, BatchRow, BatchRows, CapturedBatch } from "./batch_rows.ts";

const VALUE_BYTES_MAX = 4_294_967_295;
const PUT_FIELDS: ReadonlySet<string> = new Set(["ttl"]);
const FIRST_BYTES = 512;
/** Longer strings are encoded to an array of their own first, so that no space for the worst case is reserved. */
const INLINE_STRING_UNITS = 1024;
/** Sequence number and times of a row, for the estimate of its size. */
export const ROW_OVERHEAD_BYTES = 24;

const encoder = new TextEncoder();

function refuse(reason: string, message: string): never {
  throw new InvalidArgument({ reason, message });
}

function assertValueLength(length: number): void {
  if (length > VALUE_BYTES_MAX) {
    refuse("value-too-long", `The value has ${length} bytes; at most ${VALUE_BYTES_MAX} can be stored`);
  }
}

/**
 * The bytes of a value or operand; not a copy when given as bytes.
 *
 * @throws InvalidArgument with reason "not-bytes", "detached" or "value-too-long"
 */
export function valueBytes(value: Bytes): Uint8Array {
  assertBytes(value, "value");
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  assertValueLength(bytes.length);
  return bytes;
}

function ttlMode(ttl: Ttl | undefined): number {
  if (ttl === undefined || ttl === "default") return TTL_DEFAULT;
  if (ttl === "none") return TTL_NONE;
  if (typeof ttl === "object" && ttl !== null) {
    if ("afterMillis" in ttl) return TTL_AFTER;
    if ("atMillis" in ttl) return TTL_AT;
  }
  return refuse("ttl", 'The ttl is none of "default", "none", { afterMillis } and { atMillis }');
}

function ttlMillis(mode: number, ttl: Ttl | undefined): number {
  if (mode === TTL_AFTER) {
    const { afterMillis } = ttl as { readonly afterMillis: unknown };
    if (afterMillis === Infinity || (Number.isInteger(afterMillis) && afterMillis as number >= 0)) {
      return afterMillis as number;
    }
    return refuse("ttl", `ttl.afterMillis is ${textOf(afterMillis)}; it must be a whole number of ms, 0 or more`);
  }
  if (mode === TTL_AT) {
    const { atMillis } = ttl as { readonly atMillis: unknown };
    if (atMillis === Infinity || Number.isSafeInteger(atMillis)) return atMillis as number;
    return refuse("ttl", `ttl.atMillis is ${textOf(atMillis)}; it must be a whole number of ms since 1970`);
  }
  return 0;
}

/**
 * When a row written at `tick` expires: ms since 1970, NO_EXPIRY for never.
 *
 * @param defaultTtlMillis the database's default, Infinity for none
 * @throws InvalidArgument with reason "ttl"
 */
export function expiry(ttl: Ttl | undefined, tick: number, defaultTtlMillis: number): number {
  const mode = ttlMode(ttl);
  return expiryAt(mode, ttlMillis(mode, ttl), tick, defaultTtlMillis);
}

/**
 * Operations to apply atomically with `db.write`.
 *
 * Later operations on a key come after earlier ones: a put or delete makes them irrelevant, merges add to them. When
 * merges of one key differ in `ttl`, or from the put before them, the earliest expiry holds for the result. Merges
 * that have to be folded need the database to have a merge operator. A deleted range takes earlier operations on its
 * keys back, and what the database holds there; operations after it stay.
 *
 * @example
 * ```ts
 * import { WriteBatch } from "@phyllite/db";
 *
 * const batch = new WriteBatch().put("a", "1").put("b", "2", { ttl: { afterMillis: 60_000 } }).delete("c");
 * if (batch.size !== 3) throw new Error("three operations");
 * ```
 */
export class WriteBatch implements WriteBatchShape {
  #bytes: Uint8Array = new Uint8Array(FIRST_BYTES);
  #used = 0;
  #starts: number[] = [];
  #keyEnds: number[] = [];
  #ends: number[] = [];
  #kinds: number[] = [];
  #ttlModes: number[] = [];
  #ttlMillis: number[] = [];
  #ranges: BatchRange[] = [];
  #rangeBytes = 0;
  #merges = 0;

  /** Number of operations added. */
  get size(): number {
    return this.#starts.length + this.#ranges.length;
  }

  /** Bytes that the batch would take in memory and in the log, about; counts operations that others override too. */
  get estimatedBytes(): number {
    return this.#used + this.#rangeBytes + this.size * ROW_OVERHEAD_BYTES;
  }

  /**
   * Sets a key to a value.
   *
   * @throws InvalidArgument with reason "key-empty", "key-too-long", "value-too-long", "not-bytes", "detached", "ttl" or
   * "options"
   */
  put(key: Bytes, value: Bytes, options?: { readonly ttl?: Ttl }): this {
    if (options !== undefined) checkFields(options, PUT_FIELDS);
    return this.#add(0, key, value, options?.ttl);
  }

  /**
   * Deletes a key.
   *
   * @throws InvalidArgument with reason "key-empty", "key-too-long", "not-bytes" or "detached"
   */
  delete(key: Bytes): this {
    return this.#add(FLAG_TOMBSTONE, key, "", "none");
  }

  /**
   * Adds a merge operand to a key.
   *
   * @throws InvalidArgument as `put` does
   */
  merge(key: Bytes, operand: Bytes, options?: { readonly ttl?: Ttl }): this {
    if (options !== undefined) checkFields(options, PUT_FIELDS);
    this.#add(FLAG_MERGE, key, operand, options?.ttl);
    this.#merges++;
    return this;
  }

  /**
   * Deletes every key of a range, whatever it holds when the batch is applied. At least one bound has to be given.
   *
   * @throws InvalidArgument with reason "range-unbounded", "range-empty", "key-too-long", "range", "range-field",
   * "not-bytes" or "detached"
   */
  deleteRange(range: KeyRange): this {
    return this.addRange(deletedRange(range));
  }

  /**
   * Deletes a range whose bytes nobody else changes.
   *
   * @internal
   */
  addRange({ start, end }: DeletedRange): this {
    const range = { start, end, at: this.#starts.length };
    this.#ranges.push(range);
    this.#rangeBytes += boundBytes(range);
    return this;
  }

  /**
   * What the batch holds now, untouched by later calls.
   *
   * @internal
   */
  clone(): CapturedBatch {
    const ops = {
      bytes: this.#bytes,
      starts: this.#starts,
      keyEnds: this.#keyEnds,
      ends: this.#ends,
      kinds: this.#kinds,
      ttlModes: this.#ttlModes,
      ttlMillis: this.#ttlMillis,
      ranges: this.#ranges,
    };
    return new CapturedBatch(ops, this.#merges);
  }

  #add(kind: number, key: Bytes, value: Bytes, ttl: Ttl | undefined): this {
    assertBytes(key, "key");
    // A string has at least as many bytes as UTF-16 units: what is too long already is encoded only to be counted.
    assertKeyLength(key.length > KEY_BYTES_MAX ? toBytes(key).length : key.length);
    assertBytes(value, "value");
    assertValueLength(value.length);
    const mode = ttlMode(ttl);
    const millis = ttlMillis(mode, ttl);
    const start = this.#used;
    const keyEnd = this.#append(start, key);
    assertKeyLength(keyEnd - start);
    const end = this.#append(keyEnd, value);
    assertValueLength(end - keyEnd);
    this.#starts.push(start);
    this.#keyEnds.push(keyEnd);
    this.#ends.push(end);
    this.#kinds.push(kind);
    this.#ttlModes.push(mode);
    this.#ttlMillis.push(millis);
    this.#used = end;
    return this;
  }

  /** Copies to `at`, beyond what is in use, and answers where the copy ends. */
  #append(at: number, value: Bytes): number {
    if (typeof value !== "string") {
      this.#reserve(at + value.length);
      copyInto(this.#bytes, at, value, 0, value.length);
      return at + value.length;
    }
    if (value.length > INLINE_STRING_UNITS) return this.#append(at, encoder.encode(value));
    this.#reserve(at + value.length * 3);
    const bytes = this.#bytes;
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit >= 0x80) return at + encoder.encodeInto(value, bytes.subarray(at)).written;
      bytes[at + i] = unit;
    }
    return at + value.length;
  }

  #reserve(length: number): void {
    if (length <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(length, this.#bytes.length * 2));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }
}
