/**
 * Range requests for parts of tables: how wanted parts are put together, and how answers become parts.
 *
 * Requests are joined where that costs few bytes, never beyond a bound. Decoding throws `FormatError`: the caller names
 * the table, and may read once more before it believes the damage.
 *
 * @module
 */
import { Effect } from "effect";
import type { OneShot } from "../env/one_shot.ts";
import { DataError, type StoreError } from "../errors.ts";
import { type Block, blockFormat, decodeBlock } from "../format/block.ts";
import { BloomFilter } from "../format/bloom.ts";
import { checkRangeInfo, decodeRangeSection } from "../format/range_section.ts";
import { openSection } from "../format/section.ts";
import { decodeIndex } from "../format/sst_tables.ts";
import { RangeSet } from "./range_set.ts";
import { FILTER_SLOT, RANGE_SLOT, SECTION_BYTES_MAX, type Table, TableIndex } from "./table.ts";
import { type HeldParts, pinsMuch, slotName, type TableNeed } from "./table_parts.ts";
import type { ObjectStoreShape, ReadHint } from "../store/object_store.ts";

/** Parts with at most so many bytes between them are read with one request. */
const GAP_BYTES_MAX = 8_192;
/** Longest range that joining parts may grow to, bytes. */
const REQUEST_BYTES_MAX: number = 8 * 1024 * 1024;

/** What a table is read as. */
export type Part = Block | TableIndex | BloomFilter | RangeSet;

/** A part that a reader wants or that lies on the way. */
export interface Piece {
  readonly slot: number;
  readonly offset: number;
  readonly length: number;
  readonly flight: Flight;
}

/** A read under way, shared by all who want the part. */
export interface Flight {
  readonly key: string;
  readonly done: OneShot<DataError | StoreError>;
  part: Part | undefined;
  /** The reader that ran it went away. */
  abandoned: boolean;
  /** Readers of the fetch that made it; those who join get the part when they wake. */
  readonly holders: Set<HeldParts>;
  /** Nobody waits for it who has a deadline. */
  readonly isBackground: boolean;
}

/** One range request. */
export interface PartRequest {
  readonly table: Table;
  readonly index: TableIndex | undefined;
  readonly pieces: Piece[];
  readonly whole: boolean;
}

/** What one fetch wants of one table. */
export interface WantedPieces {
  /** The table's index, once a block is wanted. */
  index: TableIndex | undefined;
  readonly pieces: Piece[];
  /** Bring everything from the first block to the index. */
  whole: boolean;
}

/** How a fetch treats what it reads. */
export interface FetchOptions {
  /** Whether blocks enter the cache. Indexes and filters always do. */
  readonly cache: boolean;
  /** At least so many bytes ahead of each sequential need. */
  readonly readAheadBytes?: number;
  /** Who asks, for the counts. Default "get". Who inspects counts as no read, and is not brought small tables whole. */
  readonly purpose?: "get" | "scan" | "preload" | "inspect";
}

/** What one `fetch` has to do itself and what others are doing already. */
export interface FetchPlan {
  readonly isBackground: boolean;
  readonly own: Flight[];
  readonly requests: PartRequest[];
  readonly joined: Array<{ readonly need: TableNeed; readonly flight: Flight }>;
}

/** Reads a range of a table; a table that is gone or too short is a `DataError`, a body that was cut on its way is not. */
export function readRange(
  store: ObjectStoreShape,
  path: string,
  offset: number,
  length: number,
  section: string,
  hint?: ReadHint,
): Effect.Effect<Uint8Array, DataError | StoreError> {
  return Effect.mapError(store.getRange(path, { offset, length }, hint), (error) => {
    if (error.retryable || (error.reason !== "not-found" && error.reason !== "short-read")) return error;
    const reason = error.reason === "not-found" ? "missing-object" : "truncated";
    return new DataError({ object: path, section, offset, reason, cause: error });
  });
}

/** Cuts the wanted parts of a table into range requests: neighbours together. */
export function cutRequests(
  into: PartRequest[],
  table: Table,
  wanted: WantedPieces,
): void {
  const { pieces, index, whole } = wanted;
  pieces.sort((a, b) => a.offset - b.offset);
  let current: Piece[] = [];
  let start = 0;
  let end = 0;
  for (const piece of pieces) {
    const pieceEnd = piece.offset + piece.length;
    const joins = whole || (piece.offset - end <= GAP_BYTES_MAX && pieceEnd - start <= REQUEST_BYTES_MAX);
    if (current.length > 0 && joins) {
      current.push(piece);
    } else {
      current = [piece];
      start = piece.offset;
      into.push({ table, index, pieces: current, whole });
    }
    end = pieceEnd;
  }
}

/** Reads one part from its section's bytes. */
export function decodePart(table: Table, slot: number, bytes: Uint8Array): Part {
  const { info } = table;
  const section = slotName(slot);
  if (slot >= 0) return decodeBlock(bytes, info.compression, blockFormat(table.formatVersion), section);
  // A slice of a larger answer is copied: an index keeps views of its bytes for as long as it lives.
  const own = pinsMuch(bytes) ? new Uint8Array(bytes) : bytes;
  const payload = openSection(own, info.compression, section, SECTION_BYTES_MAX);
  if (slot === FILTER_SLOT) return BloomFilter.decode(payload, info.filterFormat);
  if (slot === RANGE_SLOT) {
    const ranges = decodeRangeSection(payload);
    checkRangeInfo(info.rangeDeletes!, ranges);
    return RangeSet.of(ranges);
  }
  const { offsets, firstKeys } = decodeIndex(payload);
  return new TableIndex(offsets, firstKeys, info.filterOffset);
}

export function supply(held: HeldParts, table: Table, slot: number, part: Part): void {
  if (part instanceof TableIndex) held.supplyIndex(table, part);
  else if (part instanceof BloomFilter) held.supplyFilter(table, part);
  else if (part instanceof RangeSet) held.supplyRanges(table, part);
  else held.supplyBlock(table, slot, part);
}

export function failAll(pieces: ReadonlyArray<Piece>, error: DataError | StoreError): void {
  for (const piece of pieces) piece.flight.done.fail(error);
}
