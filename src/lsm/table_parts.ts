/**
 * What a pending read asks for, and where the answer goes.
 *
 * A {@linkcode TableNeed} names one part of a table (index, filter or block) and carries a {@linkcode HeldParts}: the
 * asker's own place for parts. Whatever is fetched is put there, whether or not it also enters the cache, so that the
 * retried move finds it: eviction can slow a read down but never make it loop. The asker lets go of what it passed.
 *
 * A part that is found in the cache counts as a hit, except when the asker has just had it fetched: that was the miss.
 *
 * @module
 */
import type { Block } from "../format/block.ts";
import type { BloomFilter } from "../format/bloom.ts";
import { RANGE_SECTION } from "../format/range_section.ts";
import type { Need } from "./cursor.ts";
import type { RangeSet } from "./range_set.ts";
import { INDEX_SLOT, RANGE_SLOT, type Table, type TableIndex } from "./table.ts";

/** Stands for all that is not held, so that a reader who finds everything in the cache makes no map; never written. */
const NONE: Map<never, never> = new Map<never, never>();

/** Parts of tables that one reader holds until it has used them. */
export class HeldParts {
  #indexes: Map<Table, TableIndex> = NONE;
  #filters: Map<Table, BloomFilter> = NONE;
  #ranges: Map<Table, RangeSet> = NONE;
  #blocks: Map<Table, Map<number, Block>> = NONE;
  readonly #isCounting: boolean;
  /** @internal Sum of the held blocks' bytes. */
  heldBytes = 0;

  /** @param isCounting whether hits are counted here; the synchronous lookup counts its own */
  constructor(isCounting: boolean = true) {
    this.#isCounting = isCounting;
  }

  /** The index, held or cached. */
  index(table: Table): TableIndex | undefined {
    const cached = table.index;
    if (cached !== undefined) {
      table.indexTouched = true;
      if (this.#isCounting && !this.#indexes.has(table)) table.counters.indexHits++;
      return cached;
    }
    return this.#indexes.get(table);
  }

  /** The filter, held or cached. */
  filter(table: Table): BloomFilter | undefined {
    const cached = table.filter;
    if (cached !== undefined) {
      table.filterTouched = true;
      if (this.#isCounting && !this.#filters.has(table)) table.counters.filterHits++;
      return cached;
    }
    return this.#filters.get(table);
  }

  /** The range tombstones, held or cached. */
  ranges(table: Table): RangeSet | undefined {
    const cached = table.ranges;
    if (cached !== undefined) {
      table.rangesTouched = true;
      return cached;
    }
    return this.#ranges.get(table);
  }

  /** Block `n`, held or cached. */
  block(table: Table, n: number): Block | undefined {
    const cached = table.blocks[n];
    if (cached !== undefined) {
      table.touched[n] = 1;
      if (this.#isCounting && this.#blocks.get(table)?.has(n) !== true) table.counters.blockHits++;
      return cached;
    }
    return this.#blocks.get(table)?.get(n);
  }

  /** Whether block `n` is held or cached, without counting as a use. */
  hasBlock(table: Table, n: number): boolean {
    return table.blocks[n] !== undefined || this.#blocks.get(table)?.get(n) !== undefined;
  }

  supplyIndex(table: Table, index: TableIndex): void {
    if (this.#indexes === NONE) this.#indexes = new Map();
    this.#indexes.set(table, index);
  }

  supplyFilter(table: Table, filter: BloomFilter): void {
    if (this.#filters === NONE) this.#filters = new Map();
    this.#filters.set(table, filter);
  }

  supplyRanges(table: Table, ranges: RangeSet): void {
    if (this.#ranges === NONE) this.#ranges = new Map();
    this.#ranges.set(table, ranges);
  }

  supplyBlock(table: Table, n: number, block: Block): void {
    let blocks = this.#blocks.get(table);
    if (blocks === undefined) {
      blocks = new Map();
      if (this.#blocks === NONE) this.#blocks = new Map();
      this.#blocks.set(table, blocks);
    }
    if (blocks.has(n)) return;
    blocks.set(n, block);
    this.heldBytes += block.data.length;
  }

  /** Lets go of block `n`. */
  releaseBlock(table: Table, n: number): void {
    const blocks = this.#blocks.get(table);
    const block = blocks?.get(n);
    if (block === undefined) return;
    blocks!.delete(n);
    this.heldBytes -= block.data.length;
  }

  /** Lets go of everything but `table`'s index and blocks. */
  keepOnly(table: Table): void {
    for (const other of this.#indexes.keys()) if (other !== table) this.#indexes.delete(other);
    for (const other of this.#filters.keys()) if (other !== table) this.#filters.delete(other);
    for (const [other, blocks] of this.#blocks) {
      if (other === table) continue;
      for (const block of blocks.values()) this.heldBytes -= block.data.length;
      this.#blocks.delete(other);
    }
  }

  /** Lets go of `table`'s blocks outside `low..high` (inclusive). */
  keepBlocks(table: Table, low: number, high: number): void {
    const blocks = this.#blocks.get(table);
    if (blocks === undefined) return;
    for (const n of blocks.keys()) if (n < low || n > high) this.releaseBlock(table, n);
  }

  /** Lets go of everything. */
  clear(): void {
    this.#indexes.clear();
    this.#filters.clear();
    this.#ranges.clear();
    this.#blocks.clear();
    this.heldBytes = 0;
  }
}

/** How far a sequential reader wants to read ahead of a block it needs. */
export interface ReadAhead {
  /** Bytes wanted in all, the needed block included; rounded up to whole blocks. */
  readonly windowBytes: number;
  /** 1 towards higher block numbers, -1 towards lower ones. */
  readonly direction: 1 | -1;
  /** Last block that the reader can use. */
  readonly lastBlock: number;
}

/** One part of one table, wanted by one reader. */
export class TableNeed implements Need {
  readonly key: string;
  readonly table: Table;
  /** `INDEX_SLOT`, `FILTER_SLOT`, `RANGE_SLOT` or a block number. */
  readonly slot: number;
  /** Where to put it. */
  readonly held: HeldParts;
  /** The table's index; always there for blocks. */
  readonly index: TableIndex | undefined;
  readonly ahead: ReadAhead | undefined;

  constructor(
    table: Table,
    slot: number,
    held: HeldParts,
    index?: TableIndex,
    ahead?: ReadAhead,
  ) {
    this.key = slotKey(table, slot);
    this.table = table;
    this.slot = slot;
    this.held = held;
    this.index = index;
    this.ahead = ahead;
  }
}

/** Identity of a part for single flight. */
export function slotKey(table: Table, slot: number): string {
  return `${table.path}:${slot}`;
}

/** Name of a part in errors. */
export function slotName(slot: number): string {
  return slot >= 0 ? `block ${slot}` : slot === INDEX_SLOT ? "index" : slot === RANGE_SLOT ? RANGE_SECTION : "filter";
}

/** A copy of a block that shares no memory with the request that brought it. */
export function ownBlock(block: Block): Block {
  return { ...block, data: new Uint8Array(block.data) };
}

/** Whether `view` keeps much more memory alive than it shows. */
export function pinsMuch(view: Uint8Array): boolean {
  return view.buffer.byteLength > 2 * view.length + 1024;
}
