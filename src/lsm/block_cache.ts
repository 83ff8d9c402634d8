/**
 * What stays in memory of the tables: blocks under one byte budget, indexes and filters under another.
 *
 * Two budgets, because one missing index costs every read of its table a request while one missing block costs one
 * read (K-39: metadata is never displaced by data). Each is a CLOCK ring with second chance: a hit sets a bit on the
 * table, the hand takes the bit away and evicts what has none. Nothing is hashed, and a hit touches no list.
 *
 * Invariants: the sum of the sizes of the entries of a ring is `usedBytes` and at most the budget; a slot of a table
 * is filled exactly while a ring has an entry for it. One cache may serve several table stores.
 *
 * @module
 */
import { type Block, blockBytes } from "../format/block.ts";
import type { BloomFilter } from "../format/bloom.ts";
import type { RangeSet } from "./range_set.ts";
import { FILTER_SLOT, INDEX_SLOT, RANGE_SLOT, type Table, type TableIndex } from "./table.ts";

/** Default budget for indexes and filters, bytes. */
const META_CACHE_BYTES: number = 128 * 1024 * 1024;

/** What an index or filter costs beyond its bytes: slot, ring entry, object headers. */
const ENTRY_BYTES = 96;

/** Takes the bit that says whether an entry was used since the hand last passed. */
function takeTouched(table: Table, slot: number): boolean {
  let touched: boolean;
  if (slot >= 0) {
    touched = table.touched[slot] === 1;
    table.touched[slot] = 0;
  } else if (slot === INDEX_SLOT) {
    touched = table.indexTouched;
    table.indexTouched = false;
  } else if (slot === FILTER_SLOT) {
    touched = table.filterTouched;
    table.filterTouched = false;
  } else {
    touched = table.rangesTouched;
    table.rangesTouched = false;
  }
  return touched;
}

function clearSlot(table: Table, slot: number): void {
  if (slot >= 0) table.blocks[slot] = undefined;
  else if (slot === INDEX_SLOT) table.index = undefined;
  else if (slot === FILTER_SLOT) table.filter = undefined;
  else table.ranges = undefined;
}

/** One budget. */
class ClockRing {
  readonly budgetBytes: number;
  usedBytes = 0;
  entries = 0;
  evictions = 0;
  readonly #tables: Array<Table | undefined> = [];
  readonly #slots: number[] = [];
  readonly #sizes: number[] = [];
  readonly #free: number[] = [];
  #hand = 0;

  constructor(budgetBytes: number) {
    this.budgetBytes = budgetBytes;
  }

  /** Makes room and takes the entry in; false when it is larger than the budget. The caller fills the slot then. */
  insert(table: Table, slot: number, size: number): boolean {
    if (size > this.budgetBytes) return false;
    while (this.usedBytes + size > this.budgetBytes) this.#evictOne();
    const at = this.#free.pop() ?? this.#tables.length;
    this.#tables[at] = table;
    this.#slots[at] = slot;
    this.#sizes[at] = size;
    this.usedBytes += size;
    this.entries++;
    return true;
  }

  /** Empties all slots of `tables`. */
  drop(tables: ReadonlySet<Table>): void {
    for (let at = 0; at < this.#tables.length; at++) {
      const table = this.#tables[at];
      if (table !== undefined && tables.has(table)) this.#remove(at, table);
    }
  }

  /** The hand ends at the latest after two turns: the first takes all bits away. */
  #evictOne(): void {
    for (;;) {
      if (this.#hand >= this.#tables.length) this.#hand = 0;
      const at = this.#hand++;
      const table = this.#tables[at];
      if (table === undefined || takeTouched(table, this.#slots[at]!)) continue;
      this.evictions++;
      this.#remove(at, table);
      return;
    }
  }

  #remove(at: number, table: Table): void {
    clearSlot(table, this.#slots[at]!);
    this.#tables[at] = undefined;
    this.usedBytes -= this.#sizes[at]!;
    this.entries--;
    this.#free.push(at);
  }
}

/** Budgets of a cache, bytes; 0 keeps nothing. */
export interface BlockCacheOptions {
  /** For data blocks. */
  readonly blockBytes: number;
  /** For indexes and filters; default {@linkcode META_CACHE_BYTES}. */
  readonly metaBytes?: number;
}

/** How a cache is doing. */
export interface BlockCacheStats {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly blockEvictions: number;
  readonly metaBytes: number;
  readonly metaEntries: number;
  readonly metaEvictions: number;
}

/** The cache of one or several table stores. */
export class BlockCache {
  readonly #data: ClockRing;
  readonly #meta: ClockRing;

  constructor(options: BlockCacheOptions) {
    this.#data = new ClockRing(options.blockBytes);
    this.#meta = new ClockRing(options.metaBytes ?? META_CACHE_BYTES);
  }

  /** Keeps block `n` of `table` if it fits; `index` is the table's. */
  putBlock(table: Table, index: TableIndex, n: number, block: Block): void {
    if (table.dropped || table.blocks[n] !== undefined) return;
    const size = blockBytes(block);
    if (size > this.#data.budgetBytes) return;
    if (table.blocks.length === 0) {
      for (let i = 0; i < index.count; i++) table.blocks.push(undefined);
      table.touched = new Uint8Array(index.count);
    }
    if (this.#data.insert(table, n, size)) table.blocks[n] = block;
  }

  /** Keeps the index of `table` if it fits. */
  putIndex(table: Table, index: TableIndex): void {
    if (table.dropped || table.index !== undefined) return;
    if (this.#meta.insert(table, INDEX_SLOT, index.sizeBytes + ENTRY_BYTES)) table.index = index;
  }

  /** Keeps the filter of `table` if it fits. */
  putFilter(table: Table, filter: BloomFilter): void {
    if (table.dropped || table.filter !== undefined) return;
    if (this.#meta.insert(table, FILTER_SLOT, table.info.filterLen + ENTRY_BYTES)) table.filter = filter;
  }

  /** Keeps the range tombstones of `table` if they fit. */
  putRanges(table: Table, ranges: RangeSet): void {
    if (table.dropped || table.ranges !== undefined) return;
    // Keys and numbers as objects take a multiple of what they take in the file.
    const size = 4 * table.info.rangeDeletes!.length + 64 * ranges.source.length + ENTRY_BYTES;
    if (this.#meta.insert(table, RANGE_SLOT, size)) table.ranges = ranges;
  }

  /** Forgets everything about `tables`, for good. */
  drop(tables: ReadonlySet<Table>): void {
    for (const table of tables) table.dropped = true;
    this.#data.drop(tables);
    this.#meta.drop(tables);
  }

  /** Bytes for indexes and filters that are free, of `share` of their budget. */
  metaRoom(share: number): number {
    return this.#meta.budgetBytes * share - this.#meta.usedBytes;
  }

  /** Figures of the moment. */
  get stats(): BlockCacheStats {
    return {
      blockBytes: this.#data.usedBytes,
      blocks: this.#data.entries,
      blockEvictions: this.#data.evictions,
      metaBytes: this.#meta.usedBytes,
      metaEntries: this.#meta.entries,
      metaEvictions: this.#meta.evictions,
    };
  }
}
