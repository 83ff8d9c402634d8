/**
 * Builds a compacted table (level 0 or sorted run) from rows in internal order, byte-like the official writer.
 *
 * Blocks are cut before the row that would make them larger than the block size. The index gives each block a lower
 * bound: nothing for the first one, then the shortest prefix of its first key that is greater than the last key
 * before it (the whole key when both are equal). Filter from `minFilterKeys` rows on; stats always.
 *
 * Invariants: rows come in internal order (key ascending, sequence number descending) and the builder refuses others
 * as a defect; every table that leaves has first and last entry unless it is empty.
 *
 * @module
 */
import { joinChunks } from "../bytes/chunks.ts";
import { BlockBuilder } from "./block_builder.ts";
import { BloomBuilder } from "./bloom.ts";
import { type SstOptions, SstOutput } from "./sst_output.ts";
import { encodeIndex, encodeStats, type SstIndex, type SstStats } from "./sst_tables.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, type SstInfo } from "./types.ts";

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
}

interface BlockCounts {
  puts: number;
  deletes: number;
  merges: number;
}

const NO_BYTES: Uint8Array = new Uint8Array(0);

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

  /**
   * @param options see {@linkcode SstOptions}
   * @param expectedBytes size of the file if it is known roughly: then it is made as one chunk
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
    if ((flags & FLAG_TOMBSTONE) !== 0) this.counts.deletes++;
    else if ((flags & FLAG_MERGE) !== 0) this.counts.merges++;
    else this.counts.puts++;
  }

  /** Finished parts of the file, in order, each handed out once. Usable between rows for multipart uploads. */
  takeChunks(): Uint8Array[] {
    return this.output.takeChunks();
  }

  /** Ends the table. Without rows it is the empty table. */
  finish(): BuiltSst {
    if (this.block.rowCount > 0) this.endBlock();
    const { output, options } = this;
    const code = options.compression;
    const filterOffset = output.sizeBytes;
    const filter = this.rows >= options.minFilterKeys ? this.bloom.finish(options.filterBitsPerKey) : undefined;
    const filterLen = filter === undefined ? 0 : output.section(filter, filter.length, code);
    const index: SstIndex = { offsets: this.offsets, firstKeys: this.firstKeys };
    const indexPayload = encodeIndex(this.offsets, this.firstKeys);
    const indexOffset = output.sizeBytes;
    const indexLen = output.section(indexPayload, indexPayload.length, code);
    const stats = this.stats();
    const statsPayload = encodeStats(stats);
    const statsOffset = output.sizeBytes;
    const statsLen = output.section(statsPayload, statsPayload.length, code);
    const lastEntry = this.rows === 0 ? undefined : this.block.lastKey.slice(0, this.block.lastKeyLength);
    const info: SstInfo = {
      firstEntry: this.firstEntry,
      lastEntry,
      indexOffset,
      indexLen,
      filterOffset,
      filterLen,
      compression: code,
      sstType: 0,
      statsOffset,
      statsLen,
      filterFormat: 0,
    };
    output.finish(info);
    return { chunks: output.takeChunks(), sizeBytes: output.sizeBytes, info, stats, index, filter };
  }

  /** @internal Seals the current block. */
  endBlock(): void {
    const block = this.block;
    block.finish();
    this.offsets.push(this.output.sizeBytes);
    this.firstKeys.push(this.blockBound);
    this.blockStats.push(this.counts);
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
    let numPuts = 0;
    let numDeletes = 0;
    let numMerges = 0;
    for (const counts of this.blockStats) {
      numPuts += counts.puts;
      numDeletes += counts.deletes;
      numMerges += counts.merges;
    }
    const { rawKeySize, rawValueSize, blockStats } = this;
    return { numPuts, numDeletes, numMerges, rawKeySize, rawValueSize, blockStats };
  }
}

/** The empty table that fences older writers when it is put at the next WAL id: 114 bytes, no rows. */
export function encodeEmptySst(): Uint8Array {
  const options: SstOptions = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 };
  return joinChunks(new SstBuilder(options).finish().chunks);
}
