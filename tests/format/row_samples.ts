/**
 * Rows as plain values for the tests of blocks and tables: how to draw them, write them, and read them back.
 *
 * The block writers here are deliberately unlike the product's: they take every freedom that the format leaves to a
 * foreign writer (short shared prefixes, other restart distances, overlong varints, version 1).
 *
 * @module
 */
import fc from "fast-check";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { BlockCursor } from "../../src/format/block_cursor.ts";
import { SstBuilder, type SstOptions } from "../../src/format/sst_builder.ts";
import {
  type CompressionCode,
  FLAG_CREATE,
  FLAG_EXPIRE,
  FLAG_MERGE,
  FLAG_TOMBSTONE,
  NO_EXPIRY,
  NO_TICK,
} from "../../src/format/types.ts";
import { WalSstBuilder } from "../../src/format/wal_sst.ts";

/** One row. `flags` are as stored. */
export interface Row {
  readonly key: Uint8Array;
  readonly seq: number;
  readonly flags: number;
  readonly createTs: number;
  readonly expireTs: number;
  readonly value: Uint8Array;
}

/** The builders' settings with defaults. */
export function options(changes: Partial<SstOptions> = {}): SstOptions {
  return { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10, ...changes };
}

/** A row of a kind, flags made to fit. */
export function row(
  key: Uint8Array,
  seq: number,
  kind: number,
  value: Uint8Array,
  createTs: number = NO_TICK,
  expireTs: number = NO_EXPIRY,
): Row {
  const flags = kind | (createTs === NO_TICK ? 0 : FLAG_CREATE) | (expireTs === NO_EXPIRY ? 0 : FLAG_EXPIRE);
  return { key, seq, flags, createTs, expireTs, value: kind === FLAG_TOMBSTONE ? new Uint8Array(0) : value };
}

/** Internal order: key ascending, sequence number descending. */
export function internalOrder(a: Row, b: Row): number {
  return compareBytes(a.key, b.key) || b.seq - a.seq;
}

/** Keys that share prefixes, repeat, and contain the extreme bytes. */
export const anyKey: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 10 }).map((b) => b.map((x) => x < 128 ? 97 : x)) },
  {
    weight: 3,
    arbitrary: fc.array(fc.constantFrom(0, 97, 98, 255), { minLength: 1, maxLength: 20 }).map((a) =>
      Uint8Array.from(a)
    ),
  },
  { weight: 1, arbitrary: fc.nat(400).map((n) => new Uint8Array(n + 1).fill(97)) },
);

const anyTime = fc.oneof(
  fc.constant(NO_TICK),
  fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
  fc.constantFrom(0, -1, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 2 ** 32, -(2 ** 32)),
);

const anySeq = fc.oneof(fc.nat(50), fc.constantFrom(2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER), fc.nat());

/** Any legal row. */
export const anyRow: fc.Arbitrary<Row> = fc.record({
  key: anyKey,
  seq: anySeq,
  kind: fc.constantFrom(0, 0, 0, FLAG_TOMBSTONE, FLAG_MERGE),
  value: fc.oneof(
    fc.uint8Array({ maxLength: 30 }),
    fc.integer({ min: 100, max: 3000 }).map((n) => new Uint8Array(n).fill(n)),
  ),
  createTs: anyTime,
  expireTs: anyTime,
}).map((r) => row(r.key, r.seq, r.kind, r.value, r.createTs, r.expireTs === NO_TICK ? NO_EXPIRY : r.expireTs));

/** Rows in internal order, no two with the same key and sequence number. */
export function sortedRows(maxLength: number): fc.Arbitrary<Row[]> {
  return fc.array(anyRow, { minLength: 1, maxLength, size: "max" }).map((rows) => {
    const sorted = [...rows].sort(internalOrder);
    return sorted.filter((r, i) => i === 0 || internalOrder(sorted[i - 1]!, r) !== 0);
  });
}

type RowFields = Pick<
  BlockCursor,
  | "keyBytes"
  | "keyStart"
  | "keyEnd"
  | "seq"
  | "flags"
  | "createTs"
  | "expireTs"
  | "valueBytes"
  | "valueStart"
  | "valueEnd"
>;

/** The current row of a cursor, copied. */
export function rowAt(cursor: RowFields): Row {
  return {
    key: cursor.keyBytes.slice(cursor.keyStart, cursor.keyEnd),
    seq: cursor.seq,
    flags: cursor.flags,
    createTs: cursor.createTs,
    expireTs: cursor.expireTs,
    value: cursor.valueBytes.slice(cursor.valueStart, cursor.valueEnd),
  };
}

/** Calls a builder's `add` for a row. */
export function addRow(builder: Pick<SstBuilder, "add">, r: Row): void {
  builder.add(r.key, 0, r.key.length, r.seq, r.flags, r.createTs, r.expireTs, r.value, 0, r.value.length);
}

/** A compacted table of rows in internal order. */
export function sstOf(rows: readonly Row[], settings: SstOptions = options()): Uint8Array {
  const builder = new SstBuilder(settings);
  for (const r of rows) addRow(builder, r);
  return joinChunks(builder.finish().chunks);
}

/** A WAL table of rows as they come. */
export function walOf(rows: readonly Row[], settings: SstOptions = options()): Uint8Array {
  const builder = new WalSstBuilder(settings);
  for (const r of rows) addRow(builder, r);
  return builder.finish();
}

/** The codes of all codecs, by name. */
export const CODES: readonly CompressionCode[] = [0, 1, 2, 3, 4];

function int64(value: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value));
  return [...bytes];
}

function uint16(value: number): number[] {
  return [value >>> 8, value & 0xff];
}

function trailer(r: Row): number[] {
  return [
    ...int64(r.seq),
    r.flags,
    ...(r.expireTs === NO_EXPIRY ? [] : int64(r.expireTs)),
    ...(r.createTs === NO_TICK ? [] : int64(r.createTs)),
  ];
}

function varint(value: number, overlong: boolean): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return overlong && bytes.length < 4 ? [...bytes, rest | 128, 0] : [...bytes, rest];
}

function commonLength(a: Uint8Array, b: Uint8Array): number {
  let i = 0;
  while (i < a.length && i < b.length && a[i] === b[i]) i++;
  return i;
}

/** A version 2 block payload; `choice(i)` (0..255) draws the writer's freedoms for row i. */
export function foreignBlockV2(rows: readonly Row[], choice: (index: number) => number): Uint8Array {
  const bytes: number[] = [];
  const restarts: number[] = [];
  let previous: Uint8Array = new Uint8Array(0);
  rows.forEach((r, i) => {
    const drawn = choice(i);
    const restart = i === 0 || drawn % 7 === 0;
    if (restart) restarts.push(bytes.length);
    const common = restart ? 0 : commonLength(previous, r.key);
    const shared = drawn % 3 === 0 ? Math.floor(common / 2) : common;
    for (const length of [shared, r.key.length - shared, r.value.length]) {
      bytes.push(...varint(length, drawn % 5 === 0));
    }
    bytes.push(...r.key.subarray(shared), ...r.value, ...trailer(r));
    previous = r.key;
  });
  return Uint8Array.from([...bytes, ...restarts.flatMap(uint16), ...uint16(restarts.length)]);
}

/** A version 1 block payload. Tombstones keep their expiry in it. */
export function blockV1(rows: readonly Row[]): Uint8Array {
  const bytes: number[] = [];
  const offsets: number[] = [];
  const first = rows[0]!.key;
  rows.forEach((r, i) => {
    offsets.push(bytes.length);
    const shared = i === 0 ? 0 : commonLength(first, r.key);
    bytes.push(...uint16(shared), ...uint16(r.key.length - shared), ...r.key.subarray(shared), ...trailer(r));
    if ((r.flags & FLAG_TOMBSTONE) === 0) {
      bytes.push(...uint16(r.value.length >>> 16), ...uint16(r.value.length & 0xffff));
    }
    bytes.push(...r.value);
  });
  return Uint8Array.from([...bytes, ...offsets.flatMap(uint16), ...uint16(offsets.length)]);
}

/** How a version 1 row reads: a tombstone's expiry is dropped. */
export function readAsV1(r: Row): Row {
  if ((r.flags & FLAG_TOMBSTONE) === 0) return r;
  return { ...r, flags: r.flags & ~FLAG_EXPIRE, expireTs: NO_EXPIRY };
}
