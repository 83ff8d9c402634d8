/**
 * The few writes that the tables of this format need on top of the npm builder.
 *
 * Fields equal to their default are left out, as the official writer does. 64-bit numbers go in as two halves, so no
 * `bigint` is made. A value that the format cannot hold is a bug of the caller and a `RangeError`: nothing is cut off.
 *
 * @module
 */
import { Builder } from "flatbuffers";
import { NO_TICK } from "./types.ts";

export { Builder };

const TWO_32 = 0x100000000;

/** Adds a u64 field, 0..2 ** 53 - 1. */
export function addU64(builder: Builder, slot: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} does not fit slot ${slot} (u64)`);
  if (value !== 0) addHalves(builder, slot, Math.floor(value / TWO_32), value);
}

/** Adds an i64 field: a time within ±(2 ** 53 - 1), or the smallest number for {@linkcode NO_TICK}. */
export function addTick(builder: Builder, slot: number, value: number): void {
  if (value === NO_TICK) return addHalves(builder, slot, -0x80000000, 0);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} does not fit slot ${slot} (i64)`);
  if (value !== 0) addHalves(builder, slot, Math.floor(value / TWO_32), value);
}

/** Adds a u32 field. */
export function addU32(builder: Builder, slot: number, value: number): void {
  requireU32(value);
  builder.addFieldInt32(slot, value | 0, 0);
}

/** Adds a u16 field. */
export function addU16(builder: Builder, slot: number, value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff) {
    throw new RangeError(`${value} does not fit slot ${slot} (u16)`);
  }
  builder.addFieldInt16(slot, value, 0);
}

/** Adds two u64 fields, `slot` and `slot + 1`, from 16 big-endian bytes. */
export function addU128(builder: Builder, slot: number, bytes: Uint8Array): void {
  for (let half = 0; half < 2; half++) {
    const high = word(bytes, half * 8);
    const low = word(bytes, half * 8 + 4);
    if (high !== 0 || low !== 0) addHalves(builder, slot + half, high, low);
  }
}

/** Adds a field that refers to `offset`, or nothing for undefined. */
export function addRef(builder: Builder, slot: number, offset: number | undefined): void {
  if (offset !== undefined) builder.addFieldOffset(slot, offset, 0);
}

/** Writes a vector of tables or strings. */
export function offsetVector(builder: Builder, offsets: ReadonlyArray<number>): number {
  builder.startVector(4, offsets.length, 4);
  for (let i = offsets.length - 1; i >= 0; i--) builder.addOffset(offsets[i]!);
  return builder.endVector();
}

/** Writes a vector of u32. */
export function u32Vector(builder: Builder, values: ReadonlyArray<number>): number {
  builder.startVector(4, values.length, 4);
  for (let i = values.length - 1; i >= 0; i--) {
    requireU32(values[i]!);
    builder.addInt32(values[i]! | 0);
  }
  return builder.endVector();
}

/** Writes a byte vector; undefined stays undefined. */
export function byteVector(builder: Builder, bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined ? undefined : builder.createByteVector(bytes);
}

/** Ends a buffer at its root table and answers a copy of its bytes, after `header` when one is given. */
export function finishBuffer(builder: Builder, root: number, header?: Uint8Array): Uint8Array {
  builder.finish(root);
  const body = builder.asUint8Array();
  const headerLength = header?.length ?? 0;
  const bytes = new Uint8Array(headerLength + body.length);
  if (header !== undefined) bytes.set(header);
  bytes.set(body, headerLength);
  return bytes;
}

function addHalves(builder: Builder, slot: number, high: number, low: number): void {
  builder.prep(8, 0);
  // The builder fills its buffer from the end, so the upper half comes first.
  builder.writeInt32(high | 0);
  builder.writeInt32(low | 0);
  builder.slot(slot);
}

function requireU32(value: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= TWO_32) throw new RangeError(`${value} is not a u32`);
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
