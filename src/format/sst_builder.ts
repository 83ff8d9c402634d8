/**
 * Builds a compacted table (level 0 or sorted run) from rows in internal order, byte-like the official writer.
 *
 * Blocks are cut before the row that would make them larger than the block size. The index gives each block a lower
 * bound: nothing for the first one, then the shortest prefix of its first key that is greater than the last key
 * before it (the whole key when both are equal). Filter from `minFilterKeys` rows on; stats always.
 *
 * Ending a table costs work for all its rows and blocks at once (filter, index, stats); `finishStep` does it in slices.
 *
 * Invariants: rows come in internal order (key ascending, sequence number descending) and the builder refuses others
 * as a defect; every table that leaves has first and last entry unless it is empty.
 *
 * @module
 */
import { joinChunks } from "../bytes/chunks.ts";
import { compareBytes } from "../bytes/compare.ts";
import { BlockBuilder } from "./block_builder.ts";
import { BloomBuilder } from "./bloom.ts";
import { encodeRangeSection, rangeSectionOf } from "./range_section.ts";
import { type SstOptions, SstOutput } from "./sst_output.ts";
import { IndexEncoder, type SstIndex, type SstStats, StatsEncoder } from "./sst_tables.ts";
import {
  FLAG_MERGE,
  FLAG_TOMBSTONE,
  NO_EXPIRY,
  RANGE_FORMAT,
  type RangeSection,
  type RangeTombstone,
  type SstInfo,
} from "./types.ts";

export type { SstOptions } from "./sst_output.ts";

/** A finished table. */
export interface BuiltSst {
  /** The file's bytes in order, without the chunks that were taken before. */
  readonly chunks: Uint8Array[];
  /** Size of the whole file in bytes. */
  readonly sizeBytes: number;
  readonly info: SstInfo;
  readonly stats: SstStats;
  readonly index: SstIndex;
  /** Payload of the filter section, as `BloomFilter.decode` takes it; undefined when the table has none. */
  readonly filter: Uint8Array | undefined;
  /** Whether all rows are values that never expire: neither tombstones, of ranges neither, nor operands. */
  readonly isPlain: boolean;
}

/** Offsets and lengths in the file. */
interface SectionPlaces {
  filterOffset: number;
  filterLen: number;
  indexOffset: number;
  indexLen: number;
  statsOffset: number;
  statsLen: number;
}

/** Numbers of rows by kind. */
interface RowSums {
  numPuts: number;
  numDeletes: number;
  numMerges: number;
}

interface BlockCounts {
  puts: number;
  deletes: number;
  merges: number;
}

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What is left to do when the last row is in. */
const ROWS = 0;
const FILTER = 1;
const INDEX = 2;
const STATS = 3;
const ENDED = 4;

/** Takes rows in internal order and makes a table of them. Used once. */
export class SstBuilder {
  /** Rows added. */
  rows: number = 0;
  /** @internal */ readonly options: SstOptions;
  /** @internal Whether the table may get a filter. */ readonly hashes: boolean;
  /** @internal */ readonly output: SstOutput;
  /** @internal */ readonly block: BlockBuilder = new BlockBuilder();
  /** @internal */ readonly bloom: BloomBuilder = new BloomBuilder();
  /** @internal */ readonly offsets: number[] = [];
  /** @internal */ readonly firstKeys: Uint8Array[] = [];
  /** @internal */ readonly blockStats: BlockCounts[] = [];
  /** @internal */ counts: BlockCounts = { puts: 0, deletes: 0, merges: 0 };
  /** @internal Bound of the block that is being filled. */
  blockBound: Uint8Array = NO_BYTES;
  /** @internal */ firstEntry: Uint8Array | undefined = undefined;
  /** @internal */ lastSeq: number = 0;
  /** @internal */ rawKeySize: number = 0;
  /** @internal */ rawValueSize: number = 0;
  /** Whether all rows so far are values that never expire: neither tombstones nor operands. */
  isPlain: boolean = true;
  /** @internal Rows of the blocks that are sealed. */
  readonly sums: RowSums = { numPuts: 0, numDeletes: 0, numMerges: 0 };
  /** @internal */ readonly indexEncoder: IndexEncoder = new IndexEncoder();
  /** @internal */ readonly statsEncoder: StatsEncoder = new StatsEncoder();
  /** @internal */ stage: 0 | 1 | 2 | 3 | 4 = ROWS;
  /** @internal */ filter: Uint8Array | undefined = undefined;
  /** @internal */ ranges: ReadonlyArray<RangeTombstone> = [];
  /** @internal Where the sections behind the rows lie. */
  readonly places: SectionPlaces = {
    filterOffset: 0,
    filterLen: 0,
    indexOffset: 0,
    indexLen: 0,
    statsOffset: 0,
    statsLen: 0,
  };
  /** @internal */ built: BuiltSst | undefined = undefined;

  /**
   * @param options see {@linkcode SstOptions}
   * @param expectedBytes size of the file if it is known roughly: up to 64 MiB it is made as one chunk, beyond (Infinity
   * will do) as chunks of 8 MiB
   */
  constructor(options: SstOptions, expectedBytes: number = 0) {
    this.options = options;
    this.output = new SstOutput(expectedBytes);
    this.hashes = options.minFilterKeys !== Infinity;
  }

  /** Bytes of the file if it ended here, without filter, index, stats and info. */
  get estimatedBytes(): number {
    return this.output.sizeBytes + this.block.sizeBytes;
  }

  /** Whether the last row that was added has this key. */
  isLastKey(keyBytes: Uint8Array, keyStart: number, keyEnd: number): boolean {
    const { block, rows } = this;
    const common = block.commonWithLast(keyBytes, keyStart, keyEnd);
    return rows > 0 && common === keyEnd - keyStart && common === block.lastKeyLength;
  }

  /**
   * Adds a row. The bytes are copied.
   *
   * @param flags only tombstone and merge count; the others follow from the times
   * @param createTs ms since 1970, or NO_TICK
   * @param expireTs ms since 1970, or NO_EXPIRY
   */
  add(
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    const block = this.block;
    const keyLength = keyEnd - keyStart;
    const common = block.commonWithLast(keyBytes, keyStart, keyEnd);
    const again = this.rows > 0 && common === keyLength && common === block.lastKeyLength;
    if (this.rows > 0) this.checkOrder(again, common, keyBytes, keyStart, keyLength, seq);
    const valueLength = (flags & FLAG_TOMBSTONE) !== 0 ? 0 : valueEnd - valueStart;
    if (!block.fits(this.options.blockSizeBytes, common, keyLength, valueLength, createTs, expireTs)) {
      this.endBlock();
      this.blockBound = keyBytes.slice(keyStart, again ? keyEnd : keyStart + common + 1);
    }
    block.add(common, keyBytes, keyStart, keyEnd, seq, flags, createTs, expireTs, valueBytes, valueStart, valueEnd);
    if (this.hashes) {
      if (again) this.bloom.addAgain();
      else this.bloom.add(keyBytes, keyStart, keyEnd);
    }
    if (this.rows++ === 0) this.firstEntry = keyBytes.slice(keyStart, keyEnd);
    this.lastSeq = seq;
    this.rawKeySize += keyLength;
    this.rawValueSize += valueLength;
    if (expireTs !== NO_EXPIRY || (flags & (FLAG_TOMBSTONE | FLAG_MERGE)) !== 0) this.isPlain = false;
    if ((flags & FLAG_TOMBSTONE) !== 0) this.counts.deletes++;
    else if ((flags & FLAG_MERGE) !== 0) this.counts.merges++;
    else this.counts.puts++;
  }

  /**
   * Sets the table's range tombstones: fragments in order, see `range_section.ts`. They come after the rows and may
   * cover any of them that have lower numbers.
   */
  setRanges(ranges: ReadonlyArray<RangeTombstone>): void {
    this.ranges = ranges;
    if (ranges.length > 0) this.isPlain = false;
  }

  /** Finished parts of the file, in order, each handed out once. Usable between rows for multipart uploads. */
  takeChunks(): Uint8Array[] {
    return this.output.takeChunks();
  }

  /**
   * Ends the table. Without rows it is the empty table.
   *
   * @throws FormatError "too-large" when its range tombstones take more than readers read; so does `finishStep`
   */
  finish(): BuiltSst {
    while (this.finishStep(Infinity));
    return this.built!;
  }

  /**
   * Does a part of what `finish` does. No row may be added any more.
   *
   * @param maxRows rows to enter into the filter, or blocks into index or stats, at most; a few ten thousand are a
   * millisecond or two. Writing a section is not cut: filter and index of a table of 256 MiB have some megabytes each.
   * @returns whether there is more to do; if not, `finish` answers at once
   */
  finishStep(maxRows: number): boolean {
    while (this.stage !== ENDED) {
      if (!this.finishStage(maxRows)) return true;
      this.stage++;
      if (this.rows > maxRows) break;
    }
    return this.stage !== ENDED;
  }

  /** @internal Works on the current stage; true when it is done. */
  finishStage(maxRows: number): boolean {
    const { options, places } = this;
    switch (this.stage) {
      case ROWS:
        if (this.block.rowCount > 0) this.endBlock();
        places.filterOffset = this.output.sizeBytes;
        return true;
      case FILTER:
        if (this.rows < options.minFilterKeys) return true;
        if (this.bloom.finishStep(options.filterBitsPerKey, maxRows)) return false;
        this.filter = this.bloom.finish(options.filterBitsPerKey);
        places.filterLen = this.appendPart(this.filter);
        return true;
      case INDEX:
        if (this.indexEncoder.finishStep(maxRows)) return false;
        places.indexOffset = this.output.sizeBytes;
        places.indexLen = this.appendPart(this.indexEncoder.finish());
        return true;
      case STATS:
        if (this.statsEncoder.finishStep(maxRows)) return false;
        places.statsOffset = this.output.sizeBytes;
        places.statsLen = this.appendPart(this.statsEncoder.finish(this.stats()));
        this.complete(this.ranges.length === 0 ? undefined : this.appendRanges());
        return true;
      case ENDED:
        return true;
    }
  }

  /** @internal */
  appendPart(payload: Uint8Array): number {
    return this.output.section(payload, payload.length, this.options.compression);
  }

  /** @internal */
  appendRanges(): RangeSection {
    const offset = this.output.sizeBytes;
    const { maxRangePayloadBytes } = this.options;
    return rangeSectionOf(this.ranges, offset, this.appendPart(encodeRangeSection(this.ranges, maxRangePayloadBytes)));
  }

  /** @internal Writes info and footer. */
  complete(rangeDeletes: RangeSection | undefined): void {
    const { output, places, firstEntry } = this;
    const start = this.ranges[0]?.start;
    const isFirst = start !== undefined && (firstEntry === undefined || compareBytes(start, firstEntry) < 0);
    const info: SstInfo = {
      firstEntry: isFirst ? start : firstEntry,
      lastEntry: this.rows === 0 ? undefined : this.block.lastKey.slice(0, this.block.lastKeyLength),
      ...places,
      compression: this.options.compression,
      sstType: 0,
      filterFormat: 0,
      ...(rangeDeletes === undefined ? {} : { rangeDeletes }),
    };
    output.finish(info, rangeDeletes === undefined ? 2 : RANGE_FORMAT);
    this.built = {
      chunks: output.takeChunks(),
      sizeBytes: output.sizeBytes,
      info,
      stats: this.stats(),
      index: { offsets: this.offsets, firstKeys: this.firstKeys },
      filter: this.filter,
      isPlain: this.isPlain,
    };
  }

  /** @internal Seals the current block. */
  endBlock(): void {
    const block = this.block;
    block.finish();
    this.offsets.push(this.output.sizeBytes);
    this.firstKeys.push(this.blockBound);
    this.indexEncoder.add(this.output.sizeBytes, this.blockBound);
    const { puts, deletes, merges } = this.counts;
    this.blockStats.push(this.counts);
    this.statsEncoder.add(puts, deletes, merges);
    this.sums.numPuts += puts;
    this.sums.numDeletes += deletes;
    this.sums.numMerges += merges;
    this.counts = { puts: 0, deletes: 0, merges: 0 };
    this.output.section(block.rows.bytes, block.rows.length, this.options.compression);
    block.reset();
  }

  /** @internal */
  checkOrder(
    again: boolean,
    common: number,
    keyBytes: Uint8Array,
    keyStart: number,
    keyLength: number,
    seq: number,
  ): void {
    const last = this.block;
    const ascends = again
      ? seq < this.lastSeq
      : common === last.lastKeyLength || (common < keyLength && keyBytes[keyStart + common]! > last.lastKey[common]!);
    if (!ascends) throw new Error(`table row ${this.rows} (seq ${seq}) is not after the row before it`);
  }

  /** @internal */
  stats(): SstStats {
    const { sums, rawKeySize, rawValueSize, blockStats } = this;
    return { ...sums, rawKeySize, rawValueSize, blockStats };
  }
}

/** The empty table that fences older writers when it is put at the next WAL id: 114 bytes, no rows. */
export function encodeEmptySst(): Uint8Array {
  const options: SstOptions = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 };
  return joinChunks(new SstBuilder(options).finish().chunks);
}
