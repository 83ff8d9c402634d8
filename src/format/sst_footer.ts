/**
 * How a table is entered from its end: footer, info section, and the checks that its offsets stay inside the file.
 *
 * Footer: the last 10 bytes, `u64be info_offset, u16be version`. The info runs from there to the footer, with a
 * checksum, never compressed. Version 1 or 2 selects the row format; 0x8001 is 2 with range tombstones.
 *
 * Invariants: a layout that passes `checkLayout` has its sections in file order, inside the file, without overlap; an
 * index that passes `checkIndex` gives every block a length that is inside the data part.
 *
 * @module
 */
import { FormatError } from "../errors.ts";
import { BloomFilter } from "./bloom.ts";
import { checkRangeInfo, decodeRangeSection, RANGE_SECTION } from "./range_section.ts";
import { openSection } from "./section.ts";
import { checkRows, type SstContents, wrong } from "./sst_check.ts";
import { FOOTER_BYTES } from "./sst_output.ts";
import { decodeIndex, decodeSstInfo, decodeStats, type SstIndex } from "./sst_tables.ts";
import { RANGE_FORMAT, type RangeTombstone, type SstInfo, type TableFormat } from "./types.ts";

export type { SstContents } from "./sst_check.ts";
export { FOOTER_BYTES } from "./sst_output.ts";

/** What the footer says. */
export interface SstFooter {
  /** Byte offset of the info section; it ends {@linkcode FOOTER_BYTES} before the end of the file. */
  readonly infoOffset: number;
  /** Row and block format. */
  readonly version: TableFormat;
}

/**
 * Reads the footer.
 *
 * @param tail the last bytes of the file, at least {@linkcode FOOTER_BYTES}; may be the whole file
 * @param fileSize size of the file in bytes
 * @throws FormatError "truncated", "unsupported-version" or "malformed"; offsets count from the start of the file
 */
export function decodeFooter(tail: Uint8Array, fileSize: number): SstFooter {
  const start = tail.length - FOOTER_BYTES;
  if (start < 0 || fileSize <= FOOTER_BYTES || fileSize < tail.length) {
    throw new FormatError("footer", 0, "truncated", `file of ${fileSize} bytes, ${tail.length} at hand`);
  }
  const version = (tail[start + 8]! << 8) | tail[start + 9]!;
  if (version !== 1 && version !== 2 && version !== RANGE_FORMAT) {
    const detail = `table version ${version}, known are 1, 2 and ${RANGE_FORMAT}`;
    throw new FormatError("footer", fileSize - 2, "unsupported-version", detail);
  }
  let infoOffset = 0;
  for (let i = start; i < start + 8; i++) infoOffset = infoOffset * 256 + tail[i]!;
  if (infoOffset >= fileSize - FOOTER_BYTES) {
    const detail = `info at ${infoOffset} in a file of ${fileSize} bytes`;
    throw new FormatError("footer", fileSize - FOOTER_BYTES, "malformed", detail);
  }
  return { infoOffset, version };
}

/**
 * Reads the info section.
 *
 * @param bytes from the footer's `infoOffset` to the footer
 * @param infoOffset when given, the sections must lie before it; see {@linkcode checkLayout}
 * @throws FormatError
 */
export function decodeInfoSection(bytes: Uint8Array, infoOffset?: number): SstInfo {
  const info = decodeSstInfo(openSection(bytes, 0, "info"));
  if (infoOffset !== undefined) checkLayout(info, infoOffset);
  return info;
}

/**
 * Refuses a table description whose sections are out of order, overlap, or pass `end` (the info's offset, or the
 * file's size when only that is known).
 *
 * @throws FormatError "malformed"
 */
export function checkLayout(info: SstInfo, end: number): void {
  const filterEnd = info.filterOffset + info.filterLen;
  const indexEnd = info.indexOffset + info.indexLen;
  const hasStats = info.statsLen > 0;
  const statsEnd = hasStats ? info.statsOffset + info.statsLen : indexEnd;
  const ranges = info.rangeDeletes;
  const fits = filterEnd <= info.indexOffset && indexEnd <= end &&
    (!hasStats || (info.statsOffset >= indexEnd && statsEnd <= end)) &&
    (ranges === undefined || (ranges.offset >= statsEnd && ranges.offset + ranges.length <= end));
  if (fits) return;
  const detail = `filter ${info.filterOffset}+${info.filterLen}, index ${info.indexOffset}+${info.indexLen}, ` +
    `stats ${info.statsOffset}+${info.statsLen}, ranges ${ranges?.offset}+${ranges?.length}, end ${end}`;
  throw new FormatError("info", 0, "malformed", detail);
}

/**
 * Refuses an index whose blocks are out of order or leave the data part `[0, filterOffset)`.
 *
 * @throws FormatError "malformed"
 */
export function checkIndex(index: SstIndex, info: SstInfo): void {
  const { offsets, firstKeys } = index;
  if (offsets.length !== firstKeys.length) {
    throw new FormatError("index", 0, "malformed", `${offsets.length} offsets, ${firstKeys.length} keys`);
  }
  let previous = -1;
  for (let i = 0; i < offsets.length; i++) {
    const offset = offsets[i]!;
    if (offset <= previous || offset >= info.filterOffset) {
      const detail = `block ${i} at ${offset} after ${previous}, data ends at ${info.filterOffset}`;
      throw new FormatError("index", 0, "malformed", detail);
    }
    previous = offset;
  }
}

/** Where block `block` ends, checksum included: the next block's offset or the end of the data part. */
export function blockEnd(index: SstIndex, info: SstInfo, block: number): number {
  return index.offsets[block + 1] ?? info.filterOffset;
}

function checkContiguous(info: SstInfo, infoOffset: number): void {
  if (info.filterOffset + info.filterLen !== info.indexOffset) wrong("info", 0, "gap between filter and index");
  const indexEnd = info.indexOffset + info.indexLen;
  const { rangeDeletes } = info;
  const end = rangeDeletes?.offset ?? infoOffset;
  if (rangeDeletes !== undefined && end + rangeDeletes.length !== infoOffset) {
    wrong("info", 0, "gap between range tombstones and info");
  }
  if (info.statsLen === 0) {
    if (info.statsOffset !== 0) wrong("info", 0, "stats have an offset and no length");
    if (indexEnd !== end) wrong("info", 0, "gap between index and info");
  } else if (info.statsOffset !== indexEnd || info.statsOffset + info.statsLen !== end) {
    wrong("info", 0, "gap around the stats");
  }
}

/** The range tombstones, as the info describes them; only files of the format that has them may. */
function readRanges(
  { rangeDeletes, sstType }: SstInfo,
  version: TableFormat,
  part: (offset: number, length: number, section: string) => Uint8Array,
): RangeTombstone[] {
  if (rangeDeletes === undefined) {
    if (version === RANGE_FORMAT && sstType === 0) wrong("info", 0, "a table for range tombstones has none");
    return [];
  }
  if (version !== RANGE_FORMAT) wrong("info", 0, `range tombstones in a table of version ${version}`);
  const ranges = decodeRangeSection(part(rangeDeletes.offset, rangeDeletes.length, RANGE_SECTION));
  checkRangeInfo(rangeDeletes, ranges);
  return ranges;
}

/**
 * Takes a table file apart and checks everything in it: for tools and tests. The sections must follow each other
 * without gaps. Memory and time grow with the file, not with its claims.
 *
 * @param bytes the whole file
 * @throws FormatError; offsets count inside the section
 */
export function readSst(bytes: Uint8Array): SstContents {
  const { infoOffset, version } = decodeFooter(bytes, bytes.length);
  const info = decodeInfoSection(bytes.subarray(infoOffset, bytes.length - FOOTER_BYTES), infoOffset);
  checkContiguous(info, infoOffset);
  const code = info.compression;
  const part = (offset: number, length: number, section: string): Uint8Array =>
    openSection(bytes.subarray(offset, offset + length), code, section);
  const index = decodeIndex(part(info.indexOffset, info.indexLen, "index"));
  checkIndex(index, info);
  if (index.offsets.length === 0 && info.filterOffset !== 0) wrong("index", 0, "data without blocks");
  const filter = info.filterLen === 0
    ? undefined
    : BloomFilter.decode(part(info.filterOffset, info.filterLen, "filter"), info.filterFormat);
  const stats = info.statsLen === 0 ? undefined : decodeStats(part(info.statsOffset, info.statsLen, "stats"));
  const ranges = readRanges(info, version, part);
  const contents = { info, version, index, filter, stats, ranges };
  return { ...contents, rows: checkRows(bytes, contents) };
}
