/**
 * One SST as readers know it: where its parts lie, and those parts that are in memory.
 *
 * A cached part hangs directly on its table (`blocks[n]`, `index`, `filter`, `ranges`): a cache hit is an array access,
 * without hashing. The cache (`block_cache.ts`) owns these slots: it alone fills and empties them. Readers take the
 * reference they found and may keep it; parts are immutable, so eviction never disturbs a reader.
 *
 * Block keys of the index are lower bounds: the first is empty, a later one is at most the block's first key and
 * greater than, or for a key that continues over the border equal to, the last key of the block before.
 *
 * @module
 */
import { commonPrefixLength, compareBytes, compareSlices, keyWord } from "../bytes/compare.ts";
import { EngineCounters } from "../env/counters.ts";
import { FormatError } from "../errors.ts";
import type { Block } from "../format/block.ts";
import type { BloomFilter } from "../format/bloom.ts";
import type { SstInfo, TableFormat, Ulid } from "../format/types.ts";
import type { RangeSet } from "./range_set.ts";

/** Slot number of a table's index; blocks have their number, from 0. */
export const INDEX_SLOT = -1;
/** Slot number of a table's filter. */
export const FILTER_SLOT = -2;
/** Slot number of a table's range tombstones. */
export const RANGE_SLOT = -3;

/** Largest index or filter section that is read, bytes: what a damaged length may cost at most. */
export const SECTION_BYTES_MAX: number = 512 * 1024 * 1024;

/** The block index of one table, ready for searches. */
export class TableIndex {
  /** Offset of each block in the object, and the end of the last one; length is `count` + 1. */
  readonly offsets: Float64Array;
  /** Lower bound of each block's keys. */
  readonly firstKeys: ReadonlyArray<Uint8Array>;
  /** Number of blocks. */
  readonly count: number;
  /** Memory it occupies, in bytes (an estimate). */
  readonly sizeBytes: number;
  /** Leading bytes that all `firstKeys` but the first have in common. */
  readonly #skip: number;
  /** Key words behind the common bytes, of block 1 and later (position 0 unused). */
  readonly #hi: Int32Array;
  readonly #lo: Int32Array;

  /**
   * @param dataEnd offset where the last block ends
   * @throws FormatError when blocks do not follow each other or keys are out of order
   */
  constructor(offsets: ReadonlyArray<number>, firstKeys: ReadonlyArray<Uint8Array>, dataEnd: number) {
    const count = offsets.length;
    if (firstKeys.length !== count) throw new FormatError("index", 0, "malformed", "offsets and keys differ in number");
    this.count = count;
    this.firstKeys = firstKeys;
    this.offsets = new Float64Array(count + 1);
    this.#hi = new Int32Array(count);
    this.#lo = new Int32Array(count);
    this.#skip = count < 3 ? 0 : commonPrefix(firstKeys[1]!, firstKeys[count - 1]!);
    let bytes = 64 + 60 * count;
    for (let n = 0; n < count; n++) {
      const offset = offsets[n]!;
      const end = n + 1 < count ? offsets[n + 1]! : dataEnd;
      if (!(offset >= 0 && offset < end)) {
        throw new FormatError("index", 0, "malformed", `block ${n} would reach from ${offset} to ${end}`);
      }
      const key = firstKeys[n]!;
      if (n > 0 && compareBytes(firstKeys[n - 1]!, key) > 0) {
        throw new FormatError("index", 0, "malformed", `the key of block ${n} is below that of block ${n - 1}`);
      }
      this.offsets[n] = offset;
      this.#hi[n] = keyWord(key, this.#skip, key.length);
      this.#lo[n] = keyWord(key, this.#skip + 4, key.length);
      bytes += key.length;
    }
    this.offsets[count] = dataEnd;
    this.sizeBytes = bytes;
  }

  /** First block that may hold a row with a key >= `key`: the last one whose bound is below `key`. */
  find(key: Uint8Array): number {
    const length = key.length;
    const count = this.count;
    const skip = this.#skip;
    if (count < 2) return 0;
    const keys = this.firstKeys;
    if (skip > 0) {
      const order = compareSlices(key, 0, Math.min(skip, length), keys[1]!, 0, skip);
      if (order !== 0) return order < 0 ? 0 : count - 1;
    }
    const keyHi = keyWord(key, skip, length);
    const keyLo = keyWord(key, skip + 4, length);
    const his = this.#hi;
    const los = this.#lo;
    let low = 1;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const hi = his[middle]!;
      let below: boolean;
      if (hi !== keyHi) {
        below = hi < keyHi;
      } else {
        const lo = los[middle]!;
        if (lo !== keyLo) {
          below = lo < keyLo;
        } else {
          const bound = keys[middle]!;
          below = compareSlices(bound, skip, bound.length, key, skip, length) < 0;
        }
      }
      if (below) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** Length in bytes of block `n`'s section. */
  blockLength(n: number): number {
    return this.offsets[n + 1]! - this.offsets[n]!;
  }
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  return commonPrefixLength(a, 0, a.length, b, 0, b.length);
}

/** Of tables that belong to no table store. */
const NOT_READ: EngineCounters = new EngineCounters();

/** One SST and its cached parts. */
export class Table {
  readonly id: Ulid;
  /** Name of the object. */
  readonly path: string;
  readonly info: SstInfo;
  /** Block and row format, as the manifest says. */
  readonly formatVersion: TableFormat;
  /** Whether the table has a filter section. */
  readonly hasFilter: boolean;
  /** Whether the table has range tombstones. */
  readonly hasRanges: boolean;
  /** @internal Cached blocks by number; emptied by the cache alone. */
  readonly blocks: Array<Block | undefined> = [];
  /** @internal Set to 1 by every hit, cleared by the cache's hand: second chance. Same positions as `blocks`. */
  touched: Uint8Array = new Uint8Array(0);
  /** @internal */
  index: TableIndex | undefined = undefined;
  /** @internal */
  filter: BloomFilter | undefined = undefined;
  /** @internal */
  ranges: RangeSet | undefined = undefined;
  /** @internal The same bits for index, filter and range tombstones. */
  indexTouched = false;
  /** @internal */
  filterTouched = false;
  /** @internal */
  rangesTouched = false;
  /** @internal Set when no state names the table any more: nothing is cached for it from then on. */
  dropped = false;
  /** @internal Where accesses to its parts are counted. */
  readonly counters: EngineCounters;

  constructor(
    id: Ulid,
    path: string,
    info: SstInfo,
    formatVersion: TableFormat,
    counters: EngineCounters = NOT_READ,
  ) {
    this.counters = counters;
    this.id = id;
    this.path = path;
    this.info = info;
    this.formatVersion = formatVersion;
    this.hasFilter = info.filterLen > 0;
    this.hasRanges = info.rangeDeletes !== undefined;
  }

  /** Where data, filter, index and range tombstones end: what lies behind is not needed for reading. */
  get readEnd(): number {
    const { indexOffset, indexLen, rangeDeletes } = this.info;
    return rangeDeletes === undefined ? indexOffset + indexLen : rangeDeletes.offset + rangeDeletes.length;
  }

  /**
   * Checks what the manifest says about the places of the sections, before a length is trusted.
   *
   * @throws FormatError section "info" when the places make no sense
   */
  checkInfo(): void {
    const { indexOffset, indexLen, filterOffset, filterLen, rangeDeletes } = this.info;
    const ranges = rangeDeletes ?? { offset: indexOffset + indexLen, length: 5 };
    const sane = ranges.offset >= indexOffset + indexLen && ranges.length > 4 && ranges.length <= SECTION_BYTES_MAX &&
      ranges.offset + ranges.length <= Number.MAX_SAFE_INTEGER && filterOffset >= 0 && filterLen >= 0 &&
      filterLen <= SECTION_BYTES_MAX && indexLen > 4 &&
      indexLen <= SECTION_BYTES_MAX && (filterLen === 0 || filterLen > 4) && filterOffset + filterLen <= indexOffset &&
      indexOffset + indexLen <= Number.MAX_SAFE_INTEGER;
    if (!sane) {
      const found = `filter ${filterOffset}+${filterLen}, index ${indexOffset}+${indexLen}, ` +
        `ranges ${rangeDeletes?.offset}+${rangeDeletes?.length}`;
      throw new FormatError("info", 0, "malformed", `sections out of place: ${found}`);
    }
  }
}
