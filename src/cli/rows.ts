/**
 * Rows and table descriptions as the commands show them.
 *
 * @module
 */
import type { Entry } from "../db/api.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../format/types.ts";
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

/** What a stored row does. */
function kindOf(flags: number): "put" | "delete" | "merge" {
  return (flags & FLAG_TOMBSTONE) !== 0 ? "delete" : (flags & FLAG_MERGE) !== 0 ? "merge" : "put";
}

/** A stored row, whatever its kind. */
export function storedRowJson(row: RowView): JsonRow {
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
export function storedRowLine(row: RowView): string {
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
