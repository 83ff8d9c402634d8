/**
 * A data block in memory: the payload as stored, and where its rows can be entered.
 *
 * Version 2 (what is written): rows, then restart offsets (u16be each), then their count. Version 1 (older files):
 * rows, then the offset of every row, then their count. Rows themselves are read by `BlockCursor`.
 *
 * Invariants of a decoded block: at least one row; `restarts[0]` is 0; restarts ascend strictly and lie before
 * `rowsEnd`; at least 4 bytes of `data` follow `rowsEnd`. Immutable, shared by the cache and every cursor on it.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { MAX_SECTION_BYTES } from "./compression.ts";
import { openSection } from "./section.ts";
import type { CompressionCode, TableFormat } from "./types.ts";

export { BlockBuilder, RESTART_INTERVAL } from "./block_builder.ts";

/** A decoded data block. */
export interface Block {
  /** The payload, rows first. Values are views of it. */
  readonly data: Uint8Array;
  /** End of the rows in `data`. */
  readonly rowsEnd: number;
  /** Offsets of the restarts (version 2) or of all rows (version 1). */
  readonly restarts: Uint16Array;
  /** Row format; 2 and {@linkcode RANGE_FORMAT} differ only in that the latter's rows may be range tombstones. */
  readonly version: TableFormat;
  /** Name for errors, such as `"block 3"`. */
  readonly section: string;
}

/** Reads a block from its uncompressed payload. See {@linkcode decodeBlock}. */
export function parseBlock(data: Uint8Array, version: TableFormat, section: string): Block {
  const countAt = data.length - 2;
  if (countAt < 0) throw new FormatError(section, 0, "truncated", `${data.length} bytes, shorter than a row count`);
  const count = (data[countAt]! << 8) | data[countAt + 1]!;
  const rowsEnd = countAt - 2 * count;
  if (count === 0 || rowsEnd <= 0) {
    throw new FormatError(section, countAt, "malformed", `${count} row offsets in ${data.length} bytes`);
  }
  const restarts = new Uint16Array(count);
  let previous = -1;
  for (let i = 0, at = rowsEnd; i < count; i++, at += 2) {
    const offset = (data[at]! << 8) | data[at + 1]!;
    if (offset <= previous || offset >= rowsEnd || (i === 0 && offset !== 0)) {
      throw new FormatError(section, at, "malformed", `row offset ${offset} after ${previous}, rows end at ${rowsEnd}`);
    }
    restarts[i] = previous = offset;
  }
  return { data, rowsEnd, restarts, version, section };
}

/**
 * Checks, decompresses and enters a data block. The rows are checked later, when a cursor reads them.
 *
 * @param sectionBytes the block with its checksum; with code 0 the block keeps a view of it
 * @param version the table's format version; see {@linkcode blockFormat}
 * @param section name for errors, such as `"block 3"`
 * @param limitBytes largest accepted payload
 * @throws FormatError
 */
export function decodeBlock(
  sectionBytes: Uint8Array,
  code: CompressionCode,
  version: TableFormat,
  section: string,
  limitBytes: number = MAX_SECTION_BYTES,
): Block {
  return parseBlock(openSection(sectionBytes, code, section, limitBytes), version, section);
}

/** Format of the blocks of a compacted table, which never hold range tombstones themselves. */
export function blockFormat(formatVersion: TableFormat): 1 | 2 {
  return formatVersion === 1 ? 1 : 2;
}

/** Memory that a block is charged with, in bytes. */
export function blockBytes(block: Block): number {
  return block.data.length + block.restarts.byteLength + 256;
}
