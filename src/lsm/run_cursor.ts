/**
 * Walks the tables of a sorted run, one after another, in both directions; a single table is a run of one.
 *
 * Tables are entered lazily: their index is asked for when the walk reaches them. Versions of one key may continue
 * over a border of blocks or tables (K-17); since the walk is by rows, they simply follow each other. What a visible
 * range cuts off is passed over at both ends of a table.
 *
 * Restartable: until a move has succeeded only `#need` and the held parts change, so the same move called again
 * repeats its search with what came in. Held parts are let go of when the walk has passed them.
 *
 * Read-ahead: a seek asks for `firstWindowBytes`; every further request of a sequential walk for four times as much as
 * the one before, up to 2 MiB, and never for blocks outside the bounds that the reader gave.
 *
 * @module
 */
import { compareBytes, compareSlices } from "../bytes/compare.ts";
import { damageIn } from "../errors.ts";
import type { Block } from "../format/block.ts";
import { BlockCursor } from "../format/block_cursor.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { RowFields } from "./row_fields.ts";
import { INDEX_SLOT, type Table, type TableIndex } from "./table.ts";
import { HeldParts, TableNeed } from "./table_parts.ts";
import { countStartingBelow, type TableRef } from "./table_ref.ts";

/** Largest window that a sequential walk grows to by itself, bytes. */
const READ_AHEAD_BYTES_MAX: number = 2 * 1024 * 1024;
/** Factor between the windows of one sequential walk. */
const WINDOW_GROWTH = 4;
/** Smallest window that grows. */
const WINDOW_BYTES_MIN = 4_096;
/** Above this the parts held behind a seek are let go of, bytes. */
const HELD_BYTES_MAX: number = 4 * 1024 * 1024;

/** Block number that stands for "where the visible part of the table begins". */
const FROM_START = -1;
/** Block number that stands for "where the visible part of the table ends". */
const FROM_END = -2;

/** What a run cursor may assume about its reader. */
export interface RunCursorOptions {
  /** The reader wants no row below this key: nothing below is read ahead. */
  readonly lower?: Uint8Array | undefined;
  /** The reader wants no row at or above this key. */
  readonly upper?: Uint8Array | undefined;
  /** Bytes asked for after a seek, rounded up to whole blocks. Default 0: one block. */
  readonly firstWindowBytes?: number | undefined;
  /** Least number of bytes of every request. Default 0. */
  readonly readAheadBytes?: number | undefined;
}

const NO_OPTIONS: RunCursorOptions = {};

/** A cursor over the tables of a run. */
export class RunCursor extends RowFields implements Cursor {
  readonly #refs: ReadonlyArray<TableRef>;
  readonly #options: RunCursorOptions;
  readonly #held: HeldParts = new HeldParts();
  /** @internal */
  readonly block: BlockCursor = new BlockCursor();
  /** @internal Position of the current table in the run. */
  at = 0;
  /** @internal Number of the current block. */
  blockAt = 0;
  /** @internal Visible range of the current table. */
  clipStart: Uint8Array | undefined = undefined;
  /** @internal */
  clipEnd: Uint8Array | undefined = undefined;
  /** @internal 1 or -1 while a step waits for the neighbour of the current block. */
  crossing: -1 | 0 | 1 = 0;
  #window = 0;
  #need: TableNeed | undefined = undefined;

  /**
   * @param refs the tables, ascending, not overlapping but for versions of a key that two neighbours share
   */
  constructor(refs: ReadonlyArray<TableRef>, options: RunCursorOptions = NO_OPTIONS) {
    super();
    this.#refs = refs;
    this.#options = options;
  }

  first(): Move {
    this.#begin();
    return this.#forward(0, FROM_START);
  }

  last(): Move {
    this.#begin();
    return this.#backward(this.#refs.length - 1, FROM_END);
  }

  seekGE(key: Uint8Array): Move {
    this.#begin();
    const refs = this.#refs;
    const t = countStartingBelow(refs, key) - 1;
    if (t < 0) return this.#forward(0, FROM_START);
    const ref = refs[t]!;
    if (ref.endsBefore(key)) return this.#forward(t + 1, FROM_START);
    const index = this.#held.index(ref.table);
    if (index === undefined) return this.#wantIndex(ref.table);
    if (index.count === 0) return this.#forward(t + 1, FROM_START);
    const clip = ref.clipStart;
    const target = clip !== undefined && compareBytes(clip, key) > 0 ? clip : key;
    const n = index.find(target);
    const block = this.#held.block(ref.table, n);
    if (block === undefined) return this.#wantBlock(ref, index, n, 1, this.#firstWindow());
    // All rows of the next block are at or after the target, because its bound is.
    if (!this.#enter(ref, index, n, block, target, 1)) return this.#forward(t, n + 1);
    if (this.#cutOffAbove(ref)) return this.#forward(t + 1, FROM_START);
    return this.#land(t, n, ref, 1, true);
  }

  seekLT(key: Uint8Array): Move {
    this.#begin();
    const refs = this.#refs;
    const t = countStartingBelow(refs, key) - 1;
    if (t < 0) return END;
    const ref = refs[t]!;
    const index = this.#held.index(ref.table);
    if (index === undefined) return this.#wantIndex(ref.table);
    if (index.count === 0) return this.#backward(t - 1, FROM_END);
    const clip = ref.clipEnd;
    const target = clip !== undefined && compareBytes(clip, key) < 0 ? clip : key;
    const n = index.find(target);
    const block = this.#held.block(ref.table, n);
    if (block === undefined) return this.#wantBlock(ref, index, n, -1, this.#firstWindow());
    if (!this.#enter(ref, index, n, block, target, -1)) return this.#backward(t, n - 1);
    if (this.#cutOffBelow(ref)) return this.#backward(t - 1, FROM_END);
    return this.#land(t, n, ref, -1, true);
  }

  next(): Move {
    if (this.crossing === 0) {
      if (this.#step(1)) {
        if (this.clipEnd === undefined || !this.#cutOffAbove(this.#refs[this.at]!)) return READY;
        this.blockAt = Number.MAX_SAFE_INTEGER;
      }
      this.crossing = 1;
    }
    return this.#forward(this.at, this.blockAt + 1);
  }

  prev(): Move {
    if (this.crossing === 0) {
      if (this.#step(-1)) {
        if (this.clipStart === undefined || !this.#cutOffBelow(this.#refs[this.at]!)) return READY;
        this.blockAt = 0;
      }
      this.crossing = -1;
    }
    const n = this.blockAt - 1;
    return n < 0 ? this.#backward(this.at - 1, FROM_END) : this.#backward(this.at, n);
  }

  collectNeeds(into: Need[]): void {
    if (this.#need !== undefined) into.push(this.#need);
  }

  /** Lets go of everything that is held. The cursor may be positioned again. */
  release(): void {
    this.#held.clear();
    this.block.clear();
    this.#need = undefined;
  }

  #begin(): void {
    this.crossing = 0;
    // The retry of a pending move goes on with the window that it asked for.
    if (this.#need === undefined) this.#window = 0;
    this.#need = undefined;
  }

  /** One row on inside the current block. */
  #step(direction: 1 | -1): boolean {
    const block = this.block;
    try {
      if (!(direction === 1 ? block.next() : block.prev())) return false;
    } catch (error) {
      throw this.#damage(this.at, this.blockAt, error);
    }
    this.show(block);
    return true;
  }

  /** Stands on the first visible row in or after block `n` of table `t`. */
  #forward(t: number, n: number): Move {
    const refs = this.#refs;
    for (; t < refs.length; t++, n = FROM_START) {
      const ref = refs[t]!;
      const index = this.#held.index(ref.table);
      if (index === undefined) return this.#wantIndex(ref.table);
      const start = ref.clipStart;
      if (n === FROM_START) n = start === undefined ? 0 : index.find(start);
      for (; n < index.count; n++) {
        const block = this.#held.block(ref.table, n);
        if (block === undefined) return this.#wantBlock(ref, index, n, 1, this.#nextWindow());
        if (!this.#enter(ref, index, n, block, start, 1)) continue;
        if (this.#cutOffAbove(ref)) break;
        return this.#land(t, n, ref, 1, false);
      }
    }
    this.#need = undefined;
    return END;
  }

  /** Stands on the last visible row in or before block `n` of table `t`. */
  #backward(t: number, n: number): Move {
    const refs = this.#refs;
    for (; t >= 0; t--, n = FROM_END) {
      const ref = refs[t]!;
      const index = this.#held.index(ref.table);
      if (index === undefined) return this.#wantIndex(ref.table);
      const end = ref.clipEnd;
      if (n === FROM_END) n = end === undefined || index.count === 0 ? index.count - 1 : index.find(end);
      for (; n >= 0; n--) {
        const block = this.#held.block(ref.table, n);
        if (block === undefined) return this.#wantBlock(ref, index, n, -1, this.#nextWindow());
        if (!this.#enter(ref, index, n, block, end, -1)) continue;
        if (this.#cutOffBelow(ref)) break;
        return this.#land(t, n, ref, -1, false);
      }
    }
    this.#need = undefined;
    return END;
  }

  /** Puts the block cursor on the first row at or after `key` (the last before it); undefined = the block's end. */
  #enter(
    ref: TableRef,
    index: TableIndex,
    n: number,
    block: Block,
    key: Uint8Array | undefined,
    direction: 1 | -1,
  ): boolean {
    const rows = this.block;
    try {
      rows.reset(block);
      if (direction === 1) return key === undefined ? rows.first() : rows.seekGE(key);
      return key === undefined ? rows.last() : rows.seekLT(key);
    } catch (error) {
      throw damageIn(ref.table.path, index.offsets[n]!, error);
    }
  }

  #land(t: number, n: number, ref: TableRef, direction: 1 | -1, sought: boolean): Move {
    const held = this.#held;
    const table = ref.table;
    if (held.heldBytes > 0) {
      if (sought) {
        const spread = held.heldBytes > HELD_BYTES_MAX + 2 * this.#leastWindow() ? 0 : Number.MAX_SAFE_INTEGER;
        held.keepBlocks(table, direction === 1 ? n : n - spread, direction === 1 ? n + spread : n);
      } else {
        held.releaseBlock(table, n - direction);
      }
    }
    if (t !== this.at || sought) held.keepOnly(table);
    this.at = t;
    this.blockAt = n;
    this.clipStart = ref.clipStart;
    this.clipEnd = ref.clipEnd;
    this.crossing = 0;
    this.#need = undefined;
    this.show(this.block);
    return READY;
  }

  /** Whether the block cursor stands behind the visible part of `ref`. */
  #cutOffAbove(ref: TableRef): boolean {
    const end = ref.clipEnd;
    const rows = this.block;
    return end !== undefined && compareSlices(rows.keyBytes, rows.keyStart, rows.keyEnd, end, 0, end.length) >= 0;
  }

  /** Whether the block cursor stands before the visible part of `ref`. */
  #cutOffBelow(ref: TableRef): boolean {
    const start = ref.clipStart;
    const rows = this.block;
    return start !== undefined && compareSlices(rows.keyBytes, rows.keyStart, rows.keyEnd, start, 0, start.length) < 0;
  }

  #wantIndex(table: Table): Move {
    this.#need = new TableNeed(table, INDEX_SLOT, this.#held);
    return PENDING;
  }

  #wantBlock(ref: TableRef, index: TableIndex, n: number, direction: 1 | -1, windowBytes: number): Move {
    const { lower, upper } = this.#options;
    let lastBlock: number;
    if (direction === 1) {
      lastBlock = index.count - 1;
      if (upper !== undefined) lastBlock = Math.min(lastBlock, index.find(upper));
      if (ref.clipEnd !== undefined) lastBlock = Math.min(lastBlock, index.find(ref.clipEnd));
      lastBlock = Math.max(lastBlock, n);
    } else {
      lastBlock = 0;
      if (lower !== undefined) lastBlock = index.find(lower);
      if (ref.clipStart !== undefined) lastBlock = Math.max(lastBlock, index.find(ref.clipStart));
      lastBlock = Math.min(lastBlock, n);
    }
    this.#window = windowBytes;
    this.#need = new TableNeed(ref.table, n, this.#held, index, { windowBytes, direction, lastBlock });
    return PENDING;
  }

  #leastWindow(): number {
    return this.#options.readAheadBytes ?? 0;
  }

  #firstWindow(): number {
    return Math.max(this.#options.firstWindowBytes ?? 0, this.#leastWindow());
  }

  /** The window of a request that goes on where the walk came to. The first of a walk is a seek's. */
  #nextWindow(): number {
    if (this.#window === 0) return Math.max(this.#firstWindow(), 1);
    const grown = Math.max(this.#window, WINDOW_BYTES_MIN) * WINDOW_GROWTH;
    return Math.max(Math.min(grown, READ_AHEAD_BYTES_MAX), this.#leastWindow());
  }

  #damage(t: number, n: number, error: unknown): Error {
    const { table } = this.#refs[t]!;
    return damageIn(table.path, this.#held.index(table)?.offsets[n] ?? 0, error);
  }
}

/** A cursor over one table. */
export function tableCursor(ref: TableRef, options?: RunCursorOptions): RunCursor {
  return new RunCursor([ref], options);
}
