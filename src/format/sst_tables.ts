/**
 * The three tables that describe an SST, as FlatBuffers: info, index, statistics.
 *
 * ```text
 * SsTableInfo   0 first_entry [u8]  1 index_offset  2 index_len  3 filter_offset  4 filter_len   (u64)
 *               5 compression_format i8  6 sst_type i8  7 last_entry [u8]  8 stats_offset  9 stats_len
 *               10 filter_format i8 (of later writers: read and carried over; our own tables leave it out)
 *               32 range_del_offset  33 range_del_len  34 num_range_dels (u64)  35 range_del_end [u8]: ours, where a
 *               table has range tombstones; SlateDB never reads such a table
 * SsTableIndex  0 block_meta [ BlockMeta: 0 offset u64  1 first_key [u8] required ] required
 * SstStats      0 num_puts  1 num_deletes  2 num_merges  3 raw_key_size  4 raw_val_size   (u64)
 *               5 block_stats [ BlockStats: 0 num_puts  1 num_deletes  2 num_merges  (u16) ]
 * ```
 *
 * These functions take and give the FlatBuffer alone, without checksum and compression. Offsets and lengths are only
 * checked to be numbers here; whoever knows the file's size checks that they lie inside.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import { addRef, addU16, addU64, Builder, byteVector, finishBuffer } from "./flatbuffer_writer.ts";
import { FlatReader, type FlatTable, type FlatVector } from "./flatbuffer_reader.ts";
import type { CompressionCode, SstInfo } from "./types.ts";

/** Where the blocks of a table begin and which keys they start at; both arrays are as long as there are blocks. */
export interface SstIndex {
  /** Byte offset of each block in the file, strictly ascending. */
  readonly offsets: number[];
  /** A lower bound of each block's keys (WAL: first sequence number, 8 bytes). Views into the decoded bytes. */
  readonly firstKeys: Uint8Array[];
}

/** Row counts of one block, each 0..65535. */
export interface BlockStats {
  readonly puts: number;
  readonly deletes: number;
  readonly merges: number;
}

/** Row counts and sizes of a table; sizes in bytes. */
export interface SstStats {
  readonly numPuts: number;
  readonly numDeletes: number;
  readonly numMerges: number;
  readonly rawKeySize: number;
  readonly rawValueSize: number;
  /** In index order; may be empty in older files. */
  readonly blockStats: ReadonlyArray<BlockStats>;
}

/**
 * Encodes the info table. `filterFormat` 1 is only carried over from tables of later writers (a manifest entry that lost
 * it would have the filter misread); our own tables have 0, which is left out.
 */
export function encodeSstInfo(info: SstInfo): Uint8Array {
  const builder = new Builder(256);
  return finishBuffer(builder, writeSstInfo(builder, info));
}

/**
 * Decodes an info table.
 *
 * @throws FormatError "unsupported-codec", "unsupported-version" (filter format), "malformed", "truncated"
 */
export function decodeSstInfo(bytes: Uint8Array): SstInfo {
  return readSstInfo(new FlatReader(bytes, "info").root());
}

/** Writes the info table into a larger buffer and answers its offset. */
export function writeSstInfo(builder: Builder, info: SstInfo): number {
  const firstEntry = byteVector(builder, info.firstEntry);
  const lastEntry = byteVector(builder, info.lastEntry);
  const ranges = info.rangeDeletes;
  const rangeEnd = byteVector(builder, ranges?.end);
  builder.startObject(ranges === undefined ? 11 : 36);
  if (ranges !== undefined) {
    addU64(builder, 34, ranges.count);
    addU64(builder, 33, ranges.length);
    addU64(builder, 32, ranges.offset);
    addRef(builder, 35, rangeEnd);
  }
  addU64(builder, 9, info.statsLen);
  addU64(builder, 8, info.statsOffset);
  addU64(builder, 4, info.filterLen);
  addU64(builder, 3, info.filterOffset);
  addU64(builder, 2, info.indexLen);
  addU64(builder, 1, info.indexOffset);
  addRef(builder, 7, lastEntry);
  addRef(builder, 0, firstEntry);
  builder.addFieldInt8(10, info.filterFormat, 0);
  builder.addFieldInt8(6, info.sstType, 0);
  builder.addFieldInt8(5, info.compression, 0);
  return builder.endObject();
}

/** Reads an info table out of a larger buffer; keys are copied. */
export function readSstInfo(table: FlatTable): SstInfo {
  const compression = table.i8(5);
  if (compression < 0 || compression > 4) {
    table.fail(`compression format ${compression}, known are 0 to 4`, "unsupported-codec");
  }
  const sstType = table.i8(6);
  if (sstType !== 0 && sstType !== 1) table.fail(`SST type ${sstType}, known are 0 and 1`);
  const filterFormat = table.i8(10);
  if (filterFormat !== 0 && filterFormat !== 1) {
    table.fail(`filter format ${filterFormat}, known are 0 and 1`, "unsupported-version");
  }
  return {
    firstEntry: table.copiedBytes(0),
    lastEntry: table.copiedBytes(7),
    indexOffset: table.u64(1),
    indexLen: table.u64(2),
    filterOffset: table.u64(3),
    filterLen: table.u64(4),
    compression: compression as CompressionCode,
    sstType,
    statsOffset: table.u64(8),
    statsLen: table.u64(9),
    filterFormat,
    ...readRangeSection(table),
  };
}

function readRangeSection(table: FlatTable): Pick<SstInfo, "rangeDeletes"> {
  const [offset, length, count] = [table.u64(32), table.u64(33), table.u64(34)];
  const end = table.copiedBytes(35);
  if (count === 0) {
    return offset + length === 0 && end === undefined ? {} : table.fail("a section of no range tombstones");
  }
  if (length === 0 || end?.length === 0) table.fail(`${count} range tombstones in ${length} bytes`);
  return { rangeDeletes: { offset, length, count, end } };
}

/**
 * Encodes an index.
 *
 * @param offsets byte offset of each block, strictly ascending
 * @param firstKeys as many lower bounds
 */
export function encodeIndex(offsets: ReadonlyArray<number>, firstKeys: ReadonlyArray<Uint8Array>): Uint8Array {
  if (offsets.length !== firstKeys.length) {
    throw new RangeError(`${offsets.length} block offsets with ${firstKeys.length} first keys`);
  }
  const encoder = new IndexEncoder();
  for (let i = 0; i < offsets.length; i++) encoder.add(offsets[i]!, firstKeys[i]!);
  return encoder.finish();
}

/** Encodes an index block by block, so that the one of a large table costs no long turn at its end. */
export class IndexEncoder {
  readonly #builder: Builder = new Builder(1024);
  readonly #list: BlockList = new BlockList(this.#builder);

  /** Adds the next block; arguments as in {@linkcode encodeIndex}. */
  add(offset: number, firstKey: Uint8Array): void {
    const builder = this.#builder;
    const key = builder.createByteVector(firstKey);
    builder.startObject(2);
    addU64(builder, 0, offset);
    addRef(builder, 1, key);
    this.#list.add(builder.endObject());
  }

  /** Closing work for up to `maxBlocks` blocks; true while there is more. No block may be added any more. */
  finishStep(maxBlocks: number): boolean {
    return this.#list.finishStep(maxBlocks);
  }

  /** The index. */
  finish(): Uint8Array {
    const builder = this.#builder;
    const vector = this.#list.finish();
    builder.startObject(1);
    addRef(builder, 0, vector);
    return finishBuffer(builder, builder.endObject());
  }
}

/** A vector of tables, one for each block, that is closed in slices. */
class BlockList {
  readonly #builder: Builder;
  readonly #blocks: number[] = [];
  #left = -1;

  constructor(builder: Builder) {
    this.#builder = builder;
  }

  get isEmpty(): boolean {
    return this.#blocks.length === 0;
  }

  add(block: number): void {
    this.#blocks.push(block);
  }

  finishStep(maxBlocks: number): boolean {
    const builder = this.#builder;
    const blocks = this.#blocks;
    if (this.#left < 0) {
      builder.startVector(4, blocks.length, 4);
      this.#left = blocks.length;
    }
    // A FlatBuffer is filled from its end: the last block comes first.
    const end = Math.max(0, this.#left - maxBlocks);
    for (let i = this.#left - 1; i >= end; i--) builder.addOffset(blocks[i]!);
    this.#left = end;
    return end > 0;
  }

  /** Offset of the vector. */
  finish(): number {
    while (this.finishStep(Infinity));
    return this.#builder.endVector();
  }
}

/**
 * Decodes an index; the first keys are views into `bytes`.
 *
 * @throws FormatError "malformed" (also when the offsets do not ascend), "truncated"
 */
export function decodeIndex(bytes: Uint8Array): SstIndex {
  const offsets: number[] = [];
  const firstKeys: Uint8Array[] = [];
  new FlatReader(bytes, "index").root().requiredTables(0, "block_meta", (block, i) => {
    const offset = block.u64(0);
    if (i > 0 && offset <= offsets[i - 1]!) block.fail(`block ${i} begins at ${offset}, not after ${offsets[i - 1]}`);
    offsets.push(offset);
    firstKeys.push(block.requiredBytes(1, "first_key"));
  });
  return { offsets, firstKeys };
}

/** An index that is read block by block: for walks that pass through a large table once. */
export class IndexReader {
  /** Number of blocks. */
  readonly count: number;
  readonly #blocks: FlatVector;

  /**
   * @param bytes the FlatBuffer, as {@linkcode decodeIndex} takes it
   * @throws FormatError, like all methods
   */
  constructor(bytes: Uint8Array) {
    this.#blocks = new FlatReader(bytes, "index").root().requiredTableVector(0, "block_meta");
    this.count = this.#blocks.count;
  }

  /** Byte offset of block `i`. */
  offset(i: number): number {
    return this.#blocks.table(i).u64(0);
  }

  /** First block that may hold a row with a key >= `key`: the last one whose bound is below `key`. */
  find(key: Uint8Array): number {
    let low = 1;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const bound = this.#blocks.table(middle).requiredBytes(1, "first_key");
      if (compareBytes(bound, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}

/** Encodes statistics. */
export function encodeStats(stats: SstStats): Uint8Array {
  const encoder = new StatsEncoder();
  for (const { puts, deletes, merges } of stats.blockStats) encoder.add(puts, deletes, merges);
  return encoder.finish(stats);
}

/** Encodes statistics block by block, for the same reason as {@linkcode IndexEncoder}. */
export class StatsEncoder {
  readonly #builder: Builder = new Builder(256);
  readonly #list: BlockList = new BlockList(this.#builder);

  /** Adds the counts of the next block, each 0..65535. */
  add(puts: number, deletes: number, merges: number): void {
    const builder = this.#builder;
    builder.startObject(3);
    addU16(builder, 2, merges);
    addU16(builder, 1, deletes);
    addU16(builder, 0, puts);
    this.#list.add(builder.endObject());
  }

  /** As in {@linkcode IndexEncoder}. */
  finishStep(maxBlocks: number): boolean {
    return !this.#list.isEmpty && this.#list.finishStep(maxBlocks);
  }

  /** The statistics: the blocks that were added, and the sums of `sums`. */
  finish(sums: Omit<SstStats, "blockStats">): Uint8Array {
    const builder = this.#builder;
    const vector = this.#list.isEmpty ? undefined : this.#list.finish();
    builder.startObject(6);
    addU64(builder, 4, sums.rawValueSize);
    addU64(builder, 3, sums.rawKeySize);
    addU64(builder, 2, sums.numMerges);
    addU64(builder, 1, sums.numDeletes);
    addU64(builder, 0, sums.numPuts);
    addRef(builder, 5, vector);
    return finishBuffer(builder, builder.endObject());
  }
}

/**
 * Decodes statistics.
 *
 * @throws FormatError "malformed", "truncated"
 */
export function decodeStats(bytes: Uint8Array): SstStats {
  const table = new FlatReader(bytes, "stats").root();
  return {
    numPuts: table.u64(0),
    numDeletes: table.u64(1),
    numMerges: table.u64(2),
    rawKeySize: table.u64(3),
    rawValueSize: table.u64(4),
    blockStats: table.tables(5, (block) => ({ puts: block.u16(0), deletes: block.u16(1), merges: block.u16(2) })) ?? [],
  };
}
