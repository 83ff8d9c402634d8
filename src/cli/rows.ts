/**
 * Rows and table descriptions as the commands show them.
 *
 * @module
 */
import type { Entry } from "../db/api.ts";
import { type RangeRow, tombstoneOf } from "../format/range_section.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK, type RangeTombstone } from "../format/types.ts";
import type { RowView } from "../lsm/row_fields.ts";
import { type JsonBytes, jsonBytes, lineBytes } from "./bytes_text.ts";
import { timeText } from "./text_layout.ts";

/** A row in JSON. Times in ms since 1970, left out when there are none. */
export interface JsonRow {
  readonly key: JsonBytes;
  readonly value?: JsonBytes | null;
  readonly kind?: "put" | "delete" | "merge";
  readonly seq: number;
  readonly createdAt?: number;
  readonly expiresAt?: number;
}

/** A row that a reader sees. */
export function entryJson(entry: Entry, keysOnly: boolean = false): JsonRow {
  return {
    key: jsonBytes(entry.key),
    ...(keysOnly ? {} : { value: jsonBytes(entry.value) }),
    seq: entry.seq,
    ...(entry.createdAt === NO_TICK ? {} : { createdAt: entry.createdAt }),
    ...(entry.expiresAt === undefined ? {} : { expiresAt: entry.expiresAt }),
  };
}

/** A range tombstone in JSON. */
export interface JsonRange {
  readonly kind: "deleteRange";
  /** From `gte` (empty: the first key) to before `lt` (absent: to the last key). */
  readonly range: { readonly gte: JsonBytes; readonly lt?: JsonBytes };
  readonly seq: number;
  readonly createdAt?: number;
}

/** A range tombstone, of a table, of the log or of the change feed. */
export function rangeJson({ start, end, seq, createTs }: RangeTombstone): JsonRange {
  return {
    kind: "deleteRange",
    range: { gte: jsonBytes(start), ...(end === undefined ? {} : { lt: jsonBytes(end) }) },
    seq,
    ...(createTs === NO_TICK ? {} : { createdAt: createTs }),
  };
}

/** The keys from `start` (empty: the first) to before `end` (undefined: to the last), in words. */
export function rangeText(start: Uint8Array, end: Uint8Array | undefined): string {
  const from = start.length === 0 ? "from the first key" : `from ${lineBytes(start)}`;
  return `${from} ${end === undefined ? "to the last" : `to before ${lineBytes(end)}`}`;
}

/** A range tombstone on one line. */
export function rangeLine({ start, end, seq }: Pick<RangeTombstone, "start" | "end" | "seq">): string {
  return [seq, "deleteRange", rangeText(start, end)].join("\t");
}

/** What a stored row does. */
function kindOf(flags: number): "put" | "delete" | "merge" {
  return (flags & FLAG_TOMBSTONE) !== 0 ? "delete" : (flags & FLAG_MERGE) !== 0 ? "merge" : "put";
}

/** A stored row, whatever its kind; of the log also a range tombstone. */
export function storedRowJson(row: RowView & RangeRow): JsonRow | JsonRange {
  const tombstone = tombstoneOf(row);
  if (tombstone !== undefined) return rangeJson(tombstone);
  const kind = kindOf(row.flags);
  return {
    key: jsonBytes(row.keyBytes.subarray(row.keyStart, row.keyEnd)),
    kind,
    ...(kind === "delete" ? {} : { value: jsonBytes(row.valueBytes.subarray(row.valueStart, row.valueEnd)) }),
    seq: row.seq,
    ...(row.createTs === NO_TICK ? {} : { createdAt: row.createTs }),
    ...(row.expireTs === NO_EXPIRY ? {} : { expiresAt: row.expireTs }),
  };
}

/** A stored row on one line: sequence number, kind, key, value, and its expiry if it has one. */
export function storedRowLine(row: RowView & RangeRow): string {
  const tombstone = tombstoneOf(row);
  if (tombstone !== undefined) return rangeLine(tombstone);
  const kind = kindOf(row.flags);
  const expiry = row.expireTs === NO_EXPIRY ? undefined : timeText(row.expireTs) ?? String(row.expireTs);
  return [
    String(row.seq),
    kind,
    lineBytes(row.keyBytes.subarray(row.keyStart, row.keyEnd)),
    kind === "delete" ? "" : lineBytes(row.valueBytes.subarray(row.valueStart, row.valueEnd)),
    ...(expiry === undefined ? [] : [`expires ${expiry}`]),
  ].join("\t").trimEnd();
}
