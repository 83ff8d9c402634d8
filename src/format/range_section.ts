/**
 * The range tombstones of a compacted table: a section of their own between stats and info.
 *
 * Payload: `u32be n`, then n version 2 rows as in the WAL (flags 0x14, key = start, value = exclusive end, empty = to the
 * last key), each key a prefix of the one before and a suffix, without restarts. Like any section it is compressed and
 * checksummed; it is read whole.
 *
 * Invariants on both sides: starts ascend; of equal starts the ends are equal and the numbers descend; a piece that
 * begins later begins at or after the end of the one before: the tombstones are fragments.
 *
 * @module
 */
import { ByteWriter } from "../bytes/byte_writer.ts";
import { bytesEqual, compareBytes } from "../bytes/compare.ts";
import { FormatError } from "../errors.ts";
import { BlockBuilder } from "./block_builder.ts";
import { BlockCursor } from "./block_cursor.ts";
import { FLAG_RANGE_DELETE, NO_EXPIRY, RANGE_FORMAT, type RangeSection, type RangeTombstone } from "./types.ts";

/** Name of the section in errors. */
export const RANGE_SECTION = "range tombstones";

/**
 * Largest payload that is written, bytes: half of what readers take, so that whatever compression makes of it can be
 * read.
 */
export const RANGE_PAYLOAD_BYTES_MAX: number = 256 * 1024 * 1024;

const EMPTY: Uint8Array = new Uint8Array(0);
const COUNT_BYTES = 4;
const ONE_RESTART = Uint16Array.of(0);

/**
 * Encodes fragments, in order.
 *
 * @param maxBytes largest payload, bytes
 * @throws FormatError "too-large" when they take more: a table must not be written that nobody could read
 * @throws Error when they are none: a bug of the caller
 */
export function encodeRangeSection(
  tombstones: ReadonlyArray<RangeTombstone>,
  maxBytes: number = RANGE_PAYLOAD_BYTES_MAX,
): Uint8Array {
  const out = new ByteWriter(1024);
  out.u32(tombstones.length);
  const rows = new BlockBuilder();
  let before: RangeTombstone | undefined;
  for (const tombstone of tombstones) {
    const trouble = misplaced(before, tombstone);
    if (trouble !== undefined) throw new Error(`range tombstone with number ${tombstone.seq}: ${trouble}`);
    before = tombstone;
    addRow(rows, tombstone);
    if (COUNT_BYTES + rows.rows.length > maxBytes) {
      const detail =
        `${tombstones.length} pieces of range tombstones take more than ${maxBytes} bytes and would make a ` +
        "table that cannot be read; nothing was published. Release old snapshots, and compact before more ranges that " +
        "overlap are deleted";
      throw new FormatError(RANGE_SECTION, 0, "too-large", detail);
    }
  }
  out.put(rows.rows.bytes, 0, rows.rows.length);
  return out.bytes.slice(0, out.length);
}

/** Adds a row that shares what it can with the one before: only the first is a restart. */
function addRow(rows: BlockBuilder, { start, end = EMPTY, seq, createTs }: RangeTombstone): void {
  const common = rows.commonWithLast(start, 0, start.length);
  if (rows.rowCount > 0) rows.rowCount = 1;
  rows.add(common, start, 0, start.length, seq, FLAG_RANGE_DELETE, createTs, NO_EXPIRY, end, 0, end.length);
}

/**
 * Decodes fragments.
 *
 * @param payload the section's payload; nothing that is answered is a view of it
 * @throws FormatError "truncated" or "malformed"
 */
export function decodeRangeSection(payload: Uint8Array): RangeTombstone[] {
  if (payload.length < COUNT_BYTES) throw new FormatError(RANGE_SECTION, 0, "truncated", `${payload.length} bytes`);
  const count = new DataView(payload.buffer, payload.byteOffset).getUint32(0);
  const tombstones: RangeTombstone[] = [];
  const rowBytes = payload.length - COUNT_BYTES;
  // A row has at least 20 bytes: a false count is found before anything is made of it.
  if (count * 20 > rowBytes || (count === 0) !== (rowBytes === 0)) {
    throw new FormatError(RANGE_SECTION, 0, "malformed", `${count} tombstones in ${rowBytes} bytes`);
  }
  if (count === 0) return tombstones;
  const cursor = new BlockCursor();
  // The cursor reads up to four bytes beyond the rows.
  const data = new Uint8Array(rowBytes + COUNT_BYTES);
  data.set(payload.subarray(COUNT_BYTES));
  cursor.reset({ data, rowsEnd: rowBytes, restarts: ONE_RESTART, version: RANGE_FORMAT, section: RANGE_SECTION });
  for (let found = cursor.first(); found; found = cursor.next()) {
    const tombstone = tombstoneOf(cursor);
    const trouble = tombstone === undefined ? "a row of another kind" : misplaced(tombstones.at(-1), tombstone);
    if (tombstone === undefined || trouble !== undefined) {
      throw new FormatError(RANGE_SECTION, COUNT_BYTES + cursor.valueStart, "malformed", trouble!);
    }
    tombstones.push(tombstone);
  }
  if (tombstones.length !== count) {
    throw new FormatError(RANGE_SECTION, 0, "malformed", `${tombstones.length} tombstones, not ${count}`);
  }
  return tombstones;
}

/** The fields of a row that a {@linkcode RangeTombstone} is made from. */
export type RangeRow = Pick<
  BlockCursor,
  "keyBytes" | "keyStart" | "keyEnd" | "seq" | "flags" | "createTs" | "valueBytes" | "valueStart" | "valueEnd"
>;

/** The tombstone that a row is, its bytes copied; undefined for a row of another kind. */
export function tombstoneOf(row: RangeRow): RangeTombstone | undefined {
  if ((row.flags & FLAG_RANGE_DELETE) === 0) return undefined;
  return {
    start: row.keyBytes.slice(row.keyStart, row.keyEnd),
    end: row.valueStart === row.valueEnd ? undefined : row.valueBytes.slice(row.valueStart, row.valueEnd),
    seq: row.seq,
    createTs: row.createTs,
  };
}

/** What is wrong with `tombstone` behind `before`, or by itself. */
function misplaced(before: RangeTombstone | undefined, tombstone: RangeTombstone): string | undefined {
  const { start, end, seq } = tombstone;
  if (end !== undefined && compareBytes(start, end) >= 0) return "it ends where it begins, or before";
  if (before === undefined) return undefined;
  if (bytesEqual(before.start, start)) {
    if (end === undefined || before.end === undefined ? end !== before.end : !bytesEqual(end, before.end)) {
      return "it begins with another one and ends elsewhere";
    }
    return seq < before.seq ? undefined : "its number is not below that of the one before";
  }
  if (before.end === undefined || compareBytes(before.end, start) > 0) return "it begins inside the one before";
  return undefined;
}

/** Refuses tombstones that the info describes otherwise. @throws FormatError "malformed" */
export function checkRangeInfo(info: RangeSection, tombstones: ReadonlyArray<RangeTombstone>): void {
  const end = tombstones.at(-1)?.end;
  const sameEnd = end === undefined || info.end === undefined ? end === info.end : bytesEqual(end, info.end);
  if (info.count === tombstones.length && tombstones.length > 0 && sameEnd) return;
  throw new FormatError(RANGE_SECTION, 0, "malformed", `${tombstones.length} tombstones, the info says otherwise`);
}

/** What a table's info says of the section. */
export function rangeSectionOf(
  tombstones: ReadonlyArray<RangeTombstone>,
  offset: number,
  length: number,
): RangeSection {
  return { offset, length, count: tombstones.length, end: tombstones.at(-1)!.end };
}
