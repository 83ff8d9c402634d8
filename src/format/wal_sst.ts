/**
 * WAL tables: the same container with rows in commit order, and the walk over one at replay.
 *
 * Differences from a compacted table: rows ascend by sequence number (rows of one batch by key); first entry and
 * index keys are sequence numbers as u64be; no last entry, no filter, no stats. A table without blocks is a fence and
 * holds no rows, whatever its type says; a file of zero bytes counts as one too (a put whose body never arrived). A
 * table with range tombstones has the format version that only we know.
 *
 * Invariants: the builder never reorders; the reader accepts rows in any order and gives them as they stand.
 *
 * @module
 */
import { joinChunks } from "../bytes/chunks.ts";
import { FormatError } from "../errors.ts";
import { decodeBlock } from "./block.ts";
import { BlockBuilder } from "./block_builder.ts";
import { BlockCursor } from "./block_cursor.ts";
import { openSection } from "./section.ts";
import { encodeEmptySst } from "./sst_builder.ts";
import { blockEnd, checkIndex, decodeFooter, decodeInfoSection } from "./sst_footer.ts";
import { FOOTER_BYTES, type SstOptions, SstOutput } from "./sst_output.ts";
import { decodeIndex, encodeIndex, type SstIndex } from "./sst_tables.ts";
import { FLAG_RANGE_DELETE, FLAG_TOMBSTONE, RANGE_FORMAT, type SstInfo, type TableFormat } from "./types.ts";

const NO_INDEX: SstIndex = { offsets: [], firstKeys: [] };

function seqKey(seq: number): Uint8Array {
  const key = new Uint8Array(8);
  for (let i = 7, rest = seq; i >= 0; i--) {
    key[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return key;
}

/** Takes rows in commit order and makes a WAL table of them. Used once. */
export class WalSstBuilder {
  /** Rows added. */
  rows: number = 0;
  /** @internal */ readonly options: SstOptions;
  /** @internal */ readonly output: SstOutput;
  /** @internal */ readonly block: BlockBuilder = new BlockBuilder();
  /** @internal */ readonly offsets: number[] = [];
  /** @internal */ readonly firstKeys: Uint8Array[] = [];
  /** @internal First sequence number of the current block. */
  blockSeq: number = 0;
  /** @internal Whether a row is a range tombstone. */
  hasRanges: boolean = false;

  /**
   * @param options block size and codec count; WAL tables have no filter
   * @param expectedBytes size of the file if it is known roughly
   */
  constructor(options: SstOptions, expectedBytes: number = 0) {
    this.options = options;
    this.output = new SstOutput(expectedBytes);
  }

  /** Bytes of the file if it ended here, without index and info. */
  get estimatedBytes(): number {
    return this.output.sizeBytes + this.block.sizeBytes;
  }

  /**
   * Adds a row; arguments as in `SstBuilder.add`. The bytes are copied. With the flag of range tombstones the key is the
   * start (may be empty: from the first key on) and the value the exclusive end (empty: to the last key); those of a
   * batch come before its other rows, by start, then end.
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
    const common = block.commonWithLast(keyBytes, keyStart, keyEnd);
    const valueLength = (flags & FLAG_TOMBSTONE) !== 0 ? 0 : valueEnd - valueStart;
    if (!block.fits(this.options.blockSizeBytes, common, keyEnd - keyStart, valueLength, createTs, expireTs)) {
      this.endBlock();
    }
    if (block.rowCount === 0) this.blockSeq = seq;
    if ((flags & FLAG_RANGE_DELETE) !== 0) this.hasRanges = true;
    block.add(common, keyBytes, keyStart, keyEnd, seq, flags, createTs, expireTs, valueBytes, valueStart, valueEnd);
    this.rows++;
  }

  /** The whole file. Without rows it is the empty table. */
  finish(): Uint8Array {
    if (this.rows === 0) return encodeEmptySst();
    this.endBlock();
    const output = this.output;
    const indexOffset = output.sizeBytes;
    const payload = encodeIndex(this.offsets, this.firstKeys);
    const indexLen = output.section(payload, payload.length, this.options.compression);
    const info: SstInfo = {
      firstEntry: this.firstKeys[0],
      lastEntry: undefined,
      indexOffset,
      indexLen,
      filterOffset: indexOffset,
      filterLen: 0,
      compression: this.options.compression,
      sstType: 1,
      statsOffset: 0,
      statsLen: 0,
      filterFormat: 0,
    };
    output.finish(info, this.hasRanges ? RANGE_FORMAT : 2);
    return joinChunks(output.takeChunks());
  }

  /** @internal Seals the current block. */
  endBlock(): void {
    const block = this.block;
    block.finish();
    this.offsets.push(this.output.sizeBytes);
    this.firstKeys.push(seqKey(this.blockSeq));
    this.output.section(block.rows.bytes, block.rows.length, this.options.compression);
    block.reset();
  }
}

/**
 * The rows of a WAL file as they stand. Call {@linkcode WalRows.next} before the first row.
 *
 * Field names are those of the cursor contract; views are valid until the next move.
 */
export class WalRows {
  /** What the table says about itself; undefined for a file of zero bytes. */
  readonly info: SstInfo | undefined;
  /** The cursor that holds the current row. */
  readonly row: BlockCursor = new BlockCursor();
  /** @internal */ readonly file: Uint8Array;
  /** Format of the table; {@linkcode RANGE_FORMAT} when rows may be range tombstones. */
  readonly version: TableFormat;
  /** @internal */ readonly index: SstIndex;
  /** @internal Blocks entered so far. */
  entered: number = 0;

  /**
   * @param file the whole file
   * @throws FormatError when the container is damaged; blocks are checked when they are reached
   */
  constructor(file: Uint8Array) {
    this.file = file;
    this.index = NO_INDEX;
    this.version = 2;
    if (file.length === 0) return;
    const footer = decodeFooter(file, file.length);
    const info = decodeInfoSection(file.subarray(footer.infoOffset, file.length - FOOTER_BYTES), footer.infoOffset);
    const section = file.subarray(info.indexOffset, info.indexOffset + info.indexLen);
    const index = decodeIndex(openSection(section, info.compression, "index"));
    checkIndex(index, info);
    if (index.offsets.length > 0 ? index.offsets[0] !== 0 : info.filterOffset !== 0) {
      throw new FormatError("index", 0, "malformed", "the blocks do not begin at 0");
    }
    this.info = info;
    this.version = footer.version;
    this.index = index;
  }

  /**
   * The next row; false after the last one.
   *
   * @throws FormatError
   */
  next(): boolean {
    if (this.row.next()) return true;
    const block = this.entered;
    const info = this.info;
    if (info === undefined || block >= this.index.offsets.length) return false;
    const bytes = this.file.subarray(this.index.offsets[block]!, blockEnd(this.index, info, block));
    this.row.reset(decodeBlock(bytes, info.compression, this.version, `block ${block}`));
    this.entered++;
    return this.row.first();
  }

  /** Bytes that hold the key, `[keyStart, keyEnd)`. */
  get keyBytes(): Uint8Array {
    return this.row.keyBytes;
  }
  get keyStart(): number {
    return this.row.keyStart;
  }
  get keyEnd(): number {
    return this.row.keyEnd;
  }
  get keyHi(): number {
    return this.row.keyHi;
  }
  get keyLo(): number {
    return this.row.keyLo;
  }
  get seq(): number {
    return this.row.seq;
  }
  get flags(): number {
    return this.row.flags;
  }
  /** ms since 1970, or NO_TICK. */
  get createTs(): number {
    return this.row.createTs;
  }
  /** ms since 1970, or NO_EXPIRY. */
  get expireTs(): number {
    return this.row.expireTs;
  }
  /** Bytes that hold the value, `[valueStart, valueEnd)`; a view into the block. */
  get valueBytes(): Uint8Array {
    return this.row.valueBytes;
  }
  get valueStart(): number {
    return this.row.valueStart;
  }
  get valueEnd(): number {
    return this.row.valueEnd;
  }
}
