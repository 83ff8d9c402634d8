/**
 * The growing file of a table that is being built: sections one after the other, cut into chunks.
 *
 * File: `data block* | filter? | index | stats? | range tombstones? | info | u64be info_offset | u16be version`. Chunks
 * are handed out as they fill, so that a large table can be uploaded in parts while it is still being written.
 *
 * Invariants: sections follow each other without gaps; `sizeBytes` is the offset of the next one; chunks in order are
 * the file, and a chunk never changes once it is handed out.
 *
 * @module
 */
import { ByteWriter } from "../bytes/byte_writer.ts";
import { appendSection, CHECKSUM_BYTES } from "./section.ts";
import { encodeSstInfo } from "./sst_tables.ts";
import type { CompressionCode, SstInfo, TableFormat } from "./types.ts";

/** A chunk is handed out when it has at least so many bytes, or when a large section comes that it has no room for. */
const CHUNK_BYTES = 1 << 20;
/** The same for a table that is expected to go to the store in parts. */
const PART_BYTES = 1 << 23;
/** Room for one more section in the buffers of chunks, so that they never grow. */
const SECTION_ROOM = 1 << 17;
const FIRST_CAPACITY = 4096;
/** A table expected to be larger than this goes to the store in parts. */
const WHOLE_MAX_BYTES = 1 << 26;

/** Bytes of the footer: info offset and version. */
export const FOOTER_BYTES = 10;

/** Settings of a table that is being written. */
export interface SstOptions {
  /** Uncompressed size at which a block is cut, 1024..65536. A larger row has a block of its own. */
  readonly blockSizeBytes: number;
  /** Codec of blocks, filter, index and stats. */
  readonly compression: CompressionCode;
  /** Fewest rows for which a filter is written; Infinity means never. */
  readonly minFilterKeys: number;
  /** Size of the filter in bits for each row. */
  readonly filterBitsPerKey: number;
  /** Most that the range tombstones may take, bytes before compression; default 256 MiB, see `range_section.ts`. */
  readonly maxRangePayloadBytes?: number;
}

/** Sections in file order. */
export class SstOutput {
  /** Bytes of the file so far: the offset of the next section. */
  sizeBytes: number = 0;
  /** @internal */
  chunks: Uint8Array[] = [];
  /** @internal */
  current: ByteWriter;
  /** @internal Size at which a chunk is ended. */
  cutBytes: number = CHUNK_BYTES;

  /**
   * @param expectedBytes size of the file if it is known roughly. Up to 64 MiB it is one chunk, made without copying;
   * beyond (Infinity will do) its chunks have 8 MiB
   */
  constructor(expectedBytes: number = 0) {
    if (expectedBytes > WHOLE_MAX_BYTES) this.cutBytes = PART_BYTES;
    else if (expectedBytes > FIRST_CAPACITY) this.cutBytes = Infinity;
    const capacity = expectedBytes > WHOLE_MAX_BYTES ? PART_BYTES + SECTION_ROOM : expectedBytes;
    this.current = new ByteWriter(Math.max(FIRST_CAPACITY, capacity));
  }

  /** Appends a section and returns its length with the checksum. */
  section(payload: Uint8Array, length: number, code: CompressionCode): number {
    this.makeRoom(length + CHECKSUM_BYTES);
    const bytes = appendSection(this.current, payload, length, code);
    this.sizeBytes += bytes;
    if (this.current.length >= this.cutBytes) this.cut(this.cutBytes + SECTION_ROOM);
    return bytes;
  }

  /** Appends info and footer; the file is complete. */
  finish(info: SstInfo, version: TableFormat): void {
    const infoOffset = this.sizeBytes;
    const payload = encodeSstInfo(info);
    this.makeRoom(payload.length + CHECKSUM_BYTES + FOOTER_BYTES);
    this.sizeBytes += appendSection(this.current, payload, payload.length, 0) + FOOTER_BYTES;
    this.current.u64(infoOffset);
    this.current.u16(version);
    this.cut(0);
  }

  /** The chunks that are finished, in order; they are handed out once. */
  takeChunks(): Uint8Array[] {
    const taken = this.chunks;
    this.chunks = [];
    return taken;
  }

  /** @internal Ends a large chunk that has no room for `bytes` more: it is not copied into a larger one. */
  makeRoom(bytes: number): void {
    const { current } = this;
    if (current.length + bytes <= current.bytes.length || current.bytes.length <= CHUNK_BYTES) return;
    if (this.cutBytes === Infinity) this.cutBytes = CHUNK_BYTES;
    this.cut(Math.max(this.cutBytes + SECTION_ROOM, bytes));
  }

  /** @internal Ends the current chunk. */
  cut(nextCapacity: number): void {
    if (this.current.length > 0) this.chunks.push(this.current.bytes.subarray(0, this.current.length));
    this.current = new ByteWriter(nextCapacity);
  }
}
