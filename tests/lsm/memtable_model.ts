/**
 * Rows put into memtables and read back, and a sorted array as the model of a memtable.
 *
 * @module
 */
import { compareBytes } from "../../src/bytes/compare.ts";
import { NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { type Cursor, END, keyWord } from "../../src/lsm/cursor.ts";
import type { Memtable } from "../../src/lsm/memtable.ts";
import { assert } from "../support/suite.ts";

export interface Row {
  readonly key: Uint8Array;
  readonly seq: number;
  readonly flags: number;
  readonly value: Uint8Array;
  readonly createTs: number;
  readonly expireTs: number;
}

export const text = new TextEncoder();
export const bytesOf = (value: string): Uint8Array => text.encode(value);
export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function put(
  table: Memtable,
  key: string | Uint8Array,
  seq: number,
  value: string | Uint8Array = "",
  flags: number = 0,
  createTs: number = NO_TICK,
  expireTs: number = NO_EXPIRY,
): void {
  const keyBytes = typeof key === "string" ? bytesOf(key) : key;
  const valueBytes = typeof value === "string" ? bytesOf(value) : value;
  table.insert(keyBytes, 0, keyBytes.length, seq, flags, createTs, expireTs, valueBytes, 0, valueBytes.length);
}

export function rowOf(
  cursor: Omit<Cursor, "first" | "last" | "next" | "prev" | "seekGE" | "seekLT" | "collectNeeds">,
): Row {
  assert.equal(cursor.keyHi, keyWord(cursor.keyBytes, cursor.keyStart, cursor.keyEnd));
  assert.equal(cursor.keyLo, keyWord(cursor.keyBytes, cursor.keyStart + 4, cursor.keyEnd));
  return {
    key: cursor.keyBytes.slice(cursor.keyStart, cursor.keyEnd),
    seq: cursor.seq,
    flags: cursor.flags,
    value: cursor.valueBytes.slice(cursor.valueStart, cursor.valueEnd),
    createTs: cursor.createTs,
    expireTs: cursor.expireTs,
  };
}

export const label = (row: { readonly key: Uint8Array; readonly seq: number }): string =>
  `${new TextDecoder().decode(row.key)}@${row.seq}`;

export function ascending(table: Memtable): Row[] {
  const rows: Row[] = [];
  const cursor = table.cursor();
  for (let move = cursor.first(); move !== END; move = cursor.next()) rows.push(rowOf(cursor));
  return rows;
}

export function descending(table: Memtable): Row[] {
  const rows: Row[] = [];
  const cursor = table.cursor();
  for (let move = cursor.last(); move !== END; move = cursor.prev()) rows.push(rowOf(cursor));
  return rows;
}

export const order = (a: { key: Uint8Array; seq: number }, b: { key: Uint8Array; seq: number }): number =>
  compareBytes(a.key, b.key) || b.seq - a.seq;

/** The same contract over a sorted array, as plainly as possible. */
export class Model {
  rows: Row[] = [];

  insert(row: Row): void {
    this.rows = [...this.rows.filter((other) => order(other, row) !== 0), row].sort(order);
  }

  find(key: Uint8Array, maxSeq: number): Row | undefined {
    return this.rows.find((row) => compareBytes(row.key, key) === 0 && row.seq <= maxSeq);
  }
}
