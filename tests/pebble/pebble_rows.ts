/**
 * Pebble's notation of rows, tombstones and spans.
 *
 * A row is `key#seq,KIND:value`. Of the kinds, `SINGLEDEL` counts as a tombstone: what sets it apart is a promise of the
 * writer that no reader relies on.
 *
 * @module
 */
import { FLAG_CREATE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, type RangeTombstone } from "../../src/format/types.ts";
import type { RangeSet } from "../../src/lsm/range_set.ts";
import type { RowView } from "../../src/lsm/row_fields.ts";
import { seqsOver } from "../lsm/range_numbers.ts";
import type { ModelRow } from "../lsm/read_world.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Creation time of every row, ms. */
export const CREATED_AT = 1000;

/** Added to the numbers of rows of an uncommitted batch, written `#b1`: they lie above all committed ones. */
const UNCOMMITTED = 2 ** 52;

/** Bytes of a text. */
export function bytesOf(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Text of bytes. */
export function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** Point rows and range tombstones of one source, in the order in which they stand there. */
export interface PebbleRows {
  readonly points: ModelRow[];
  readonly ranges: RangeTombstone[];
}

const FLAGS: Readonly<Record<string, number>> = {
  SET: 0,
  MERGE: FLAG_MERGE,
  DEL: FLAG_TOMBSTONE,
  SINGLEDEL: FLAG_TOMBSTONE,
};

/** A row's flags by the name of its kind. */
export function flagsOf(kind: string): number {
  const flags = FLAGS[kind];
  if (flags === undefined) throw new Error(`no row of ours is a ${kind}`);
  return flags | FLAG_CREATE;
}

/** A point row. */
export function pointRow(key: string, seq: number, kind: string, value: string): ModelRow {
  const flags = flagsOf(kind);
  return { key: bytesOf(key), seq, flags, createTs: CREATED_AT, expireTs: NO_EXPIRY, value: bytesOf(value) };
}

/** A range tombstone. */
export function rangeRow(start: string, end: string, seq: number): RangeTombstone {
  return { start: bytesOf(start), end: bytesOf(end), seq, createTs: CREATED_AT };
}

/** Reads `key#seq,KIND:value` rows that stand in `lines`, one or several a line. */
export function parseRows(lines: ReadonlyArray<string>): PebbleRows {
  const rows: PebbleRows = { points: [], ranges: [] };
  for (const word of lines.flatMap((line) => line.trim().split(/\s+/)).filter((one) => one !== "")) {
    const match = /^(.*?)#(b?\d+),([A-Z]+):(.*)$/.exec(word);
    if (match === null) throw new Error(`not a row: ${word}`);
    const [, key, seq, kind, value] = match as unknown as [string, string, string, string, string];
    const number = seq.startsWith("b") ? UNCOMMITTED + Number(seq.slice(1)) : Number(seq);
    if (kind === "RANGEDEL") rows.ranges.push(rangeRow(key, value, number));
    else rows.points.push(pointRow(key, number, kind, value));
  }
  return rows;
}

/** The key of a row as text. */
export function keyOf(row: RowView): string {
  return textOf(row.keyBytes.subarray(row.keyStart, row.keyEnd));
}

/** The value of a row as text. */
export function valueTextOf(row: RowView): string {
  return textOf(row.valueBytes.subarray(row.valueStart, row.valueEnd));
}

/** `key#seq,KIND:value`. */
export function showRow(row: RowView): string {
  const kind = (row.flags & FLAG_TOMBSTONE) !== 0 ? "DEL" : (row.flags & FLAG_MERGE) !== 0 ? "MERGE" : "SET";
  return `${keyOf(row)}#${row.seq},${kind}:${valueTextOf(row)}`;
}

/** `start-end:{(#seq,RANGEDEL) …}`, a line for each fragment. */
export function showFragments(set: RangeSet): string[] {
  return Array.from({ length: set.count }, (_, i) => {
    const seqs = seqsOver(set, i).map((seq) => `(#${seq},RANGEDEL)`).join(" ");
    return `${textOf(set.start(i))}-${textOf(set.end(i) ?? bytesOf(""))}:{${seqs}}`;
  });
}
