/**
 * Checks every row of a table file against what the rest of the file says: the larger half of `readSst`.
 *
 * Checked: every block's checksum and rows; the order of the rows (compacted) or of their sequence numbers (WAL);
 * index bounds; first and last entry; counts and sizes in the stats; that the filter admits every key. Both row
 * versions.
 *
 * @module
 */
import { bytesEqual, compareBytes, compareSlices } from "../bytes/compare.ts";
import { FormatError } from "../errors.ts";
import { blockFormat, decodeBlock } from "./block.ts";
import { BlockCursor } from "./block_cursor.ts";
import type { BloomFilter } from "./bloom.ts";
import type { SstIndex, SstStats } from "./sst_tables.ts";
import {
  FLAG_MERGE,
  FLAG_RANGE_DELETE,
  FLAG_TOMBSTONE,
  type RangeTombstone,
  type SstInfo,
  type TableFormat,
} from "./types.ts";

/** A table file, taken apart. */
export interface SstContents {
  readonly info: SstInfo;
  readonly version: TableFormat;
  readonly index: SstIndex;
  readonly filter: BloomFilter | undefined;
  readonly stats: SstStats | undefined;
  /** Range tombstones in order of their starts. */
  readonly ranges: ReadonlyArray<RangeTombstone>;
  /** Number of rows. */
  readonly rows: number;
}

/** Throws the error for a table that contradicts itself. */
export function wrong(section: string, at: number, detail: string): never {
  throw new FormatError(section, at, "malformed", detail);
}

/** The row before the current one. */
class RowCheck {
  key: Uint8Array = new Uint8Array(0);
  seq: number = 0;
  isRange: boolean = false;
  rows: number = 0;
  keyBytes: number = 0;
  valueBytes: number = 0;
  puts: number = 0;
  deletes: number = 0;
  merges: number = 0;

  /** Checks the cursor's row against the one before it. */
  take(row: BlockCursor, wal: boolean, filter: BloomFilter | undefined): void {
    const isRange = (row.flags & FLAG_RANGE_DELETE) !== 0;
    if (this.rows > 0) {
      const order = compareSlices(this.key, 0, this.key.length, row.keyBytes, 0, row.keyEnd);
      const ascends = wal
        ? this.seq < row.seq || (this.seq === row.seq && (order < 0 || (this.isRange && !isRange)))
        : order < 0 || (order === 0 && this.seq > row.seq);
      if (!ascends) wrong(row.section, row.rowEnd, `row with seq ${row.seq} after seq ${this.seq} is out of order`);
    }
    if (filter !== undefined && !filter.mayContain(row.keyBytes, 0, row.keyEnd)) {
      wrong("filter", 0, `denies the key of a row in ${row.section}`);
    }
    this.key = row.keyBytes.slice(0, row.keyEnd);
    this.seq = row.seq;
    this.isRange = isRange;
    this.rows++;
    this.keyBytes += row.keyEnd;
    this.valueBytes += row.valueEnd - row.valueStart;
    if ((row.flags & FLAG_TOMBSTONE) !== 0) this.deletes++;
    else if ((row.flags & FLAG_MERGE) !== 0) this.merges++;
    else this.puts++;
  }
}

function seqBytes(seq: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(seq));
  return bytes;
}

function checkBound(contents: Omit<SstContents, "rows">, block: number, check: RowCheck, cursor: BlockCursor): void {
  const bound = contents.index.firstKeys[block]!;
  if (contents.info.sstType === 1) {
    if (!bytesEqual(bound, seqBytes(cursor.seq))) wrong("index", 0, `block ${block} does not begin at its seq`);
    return;
  }
  if (compareSlices(bound, 0, bound.length, cursor.keyBytes, 0, cursor.keyEnd) > 0) {
    wrong("index", 0, `bound of block ${block} is greater than its first key`);
  }
  if (block > 0 && compareSlices(check.key, 0, check.key.length, bound, 0, bound.length) > 0) {
    wrong("index", 0, `bound of block ${block} is not above the block before it`);
  }
}

function checkBlockStats(stats: SstStats, block: number, before: readonly number[], check: RowCheck): void {
  const stored = stats.blockStats[block];
  if (stored === undefined) return;
  // The counts are stored in 16 bits; a block cannot hold as many rows.
  const right = stored.puts === check.puts - before[0]! && stored.deletes === check.deletes - before[1]! &&
    stored.merges === check.merges - before[2]!;
  if (!right) wrong("stats", 0, `counts of block ${block} are wrong`);
}

/**
 * Reads all rows of the table file `bytes`, whose other parts are `contents`.
 *
 * @returns the number of rows
 * @throws FormatError
 */
export function checkRows(bytes: Uint8Array, contents: Omit<SstContents, "rows">): number {
  const { info, index, stats, filter, version } = contents;
  const wal = info.sstType === 1;
  const check = new RowCheck();
  const cursor = new BlockCursor();
  let first: Uint8Array | undefined;
  if (index.offsets.length > 0 && index.offsets[0] !== 0) wrong("index", 0, "the first block is not at 0");
  for (let block = 0; block < index.offsets.length; block++) {
    const end = index.offsets[block + 1] ?? info.filterOffset;
    const section = `block ${block}`;
    const rowFormat = wal ? version : blockFormat(version);
    cursor.reset(decodeBlock(bytes.subarray(index.offsets[block]!, end), info.compression, rowFormat, section));
    const before = [check.puts, check.deletes, check.merges];
    for (let found = cursor.first(); found; found = cursor.next()) {
      if (cursor.restartIndex === 0 && cursor.rowInInterval === 0) {
        checkBound(contents, block, check, cursor);
        if (block === 0) first = wal ? seqBytes(cursor.seq) : cursor.keyBytes.slice(0, cursor.keyEnd);
      }
      check.take(cursor, wal, filter);
    }
    if (stats !== undefined) checkBlockStats(stats, block, before, check);
  }
  const range = contents.ranges[0]?.start;
  if (range !== undefined && (first === undefined || compareBytes(range, first) < 0)) first = range;
  if (first !== undefined && (info.firstEntry === undefined || !bytesEqual(info.firstEntry, first))) {
    wrong("info", 0, "first entry is not the least key or start");
  }
  if (!wal && check.rows === 0 && info.lastEntry !== undefined) wrong("info", 0, "last entry without rows");
  if (!wal && info.lastEntry !== undefined && !bytesEqual(info.lastEntry, check.key)) {
    wrong("info", 0, "last entry is not the last key");
  }
  if (stats !== undefined) checkStats(stats, check, index.offsets.length);
  return check.rows;
}

function checkStats(stats: SstStats, check: RowCheck, blocks: number): void {
  const right = stats.numPuts === check.puts && stats.numDeletes === check.deletes &&
    stats.numMerges === check.merges && stats.rawKeySize === check.keyBytes &&
    stats.rawValueSize === check.valueBytes &&
    (stats.blockStats.length === blocks || stats.blockStats.length === 0);
  if (!right) wrong("stats", 0, "counts or sizes are wrong");
}
