/**
 * Walks the tables of a run once, from the first row to the last: what merges of whole tables read with.
 *
 * Parts are read in the one order in which they are needed: the index of a table, then windows of its blocks, then the
 * next table. One part beyond the window that the walk is in may be read ahead (`collectAhead`), so a source holds at
 * most two windows and two indexes. Neither is ever decoded as a whole: a block is decoded, and checked, when the walk
 * enters it, and the index is read as far as windows are cut. A table that is no larger than a
 * window comes whole, with one request.
 *
 * Restartable as the cursor contract wants it; only `first`, `next` and seeks forward can be asked for: what lies before
 * the target of a seek is not read unless it is on its way. What a visible range cuts off is passed over at both ends of
 * a table. A damaged part is read once more before the walk throws `DataError`.
 *
 * @module
 */
import { compareBytes, compareSlices } from "../bytes/compare.ts";
import { damageIn, FormatError } from "../errors.ts";
import { blockFormat, decodeBlock } from "../format/block.ts";
import { BlockCursor } from "../format/block_cursor.ts";
import { openSection } from "../format/section.ts";
import { IndexReader } from "../format/sst_tables.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { BlockWindow, findBlock, PassingPart } from "./passing_part.ts";
import { RowFields } from "./row_fields.ts";
import { SECTION_BYTES_MAX, type Table } from "./table.ts";
import type { TableRef } from "./table_ref.ts";

/** Damage is believed when it was read so often. */
const DAMAGES_MAX = 2;
/** Memory that the windows of all sources of a merge may take together, bytes. */
const HELD_BYTES_MAX: number = 64 * 1024 * 1024;
const WINDOW_BYTES_MIN: number = 64 * 1024;
const WINDOW_BYTES_MAX: number = 2 * 1024 * 1024;

/** Bytes of each window for a merge of `sources` sources. */
export function windowBytes(sources: number): number {
  const share = Math.floor(HELD_BYTES_MAX / (2 * Math.max(1, sources)));
  return Math.min(WINDOW_BYTES_MAX, Math.max(WINDOW_BYTES_MIN, share));
}

/** A cursor that passes through tables once. */
export class PassingCursor extends RowFields implements Cursor {
  /** Bytes of the blocks of all tables. */
  readonly totalBytes: number;
  readonly #refs: ReadonlyArray<TableRef>;
  readonly #windowBytes: number;
  readonly #before: number[] = [];
  readonly #block: BlockCursor = new BlockCursor();

  // Where the walk is.
  #window: BlockWindow | undefined = undefined;
  #blockAt = 0;
  /** Rows at or above this key end the table; undefined when none are. */
  #clipEnd: Uint8Array | undefined = undefined;
  /** Rows below this key are passed over until one at or above it is met; undefined when no seek is under way. */
  #target: Uint8Array | undefined = undefined;
  /** The walk stands behind the rows of its block. */
  #isCrossing = false;
  /** What it waits for. */
  #need: PassingPart | undefined = undefined;

  // What comes behind the window.
  #next: PassingPart | undefined = undefined;
  #planTable = 0;
  #planIndex: IndexReader | undefined = undefined;
  #planBlock = 0;
  #planLast = 0;
  /** The table of the plan, if it was read whole. */
  #whole: Uint8Array | undefined = undefined;

  /**
   * @param refs the tables, ascending, not overlapping but for versions of a key that two neighbours share
   * @param windowBytes see {@linkcode windowBytes}; rounded up to whole blocks
   */
  constructor(refs: ReadonlyArray<TableRef>, windowBytes: number) {
    super();
    this.#refs = refs;
    this.#windowBytes = windowBytes;
    let bytes = 0;
    for (const { table } of refs) {
      this.#before.push(bytes);
      bytes += table.info.filterOffset;
    }
    this.totalBytes = bytes;
  }

  /** Bytes of the blocks that the walk has left behind, about. */
  get walkedBytes(): number {
    const window = this.#window;
    const isPlanned = this.#planTable === this.#refs.length && this.#next === undefined;
    if (window === undefined) return isPlanned ? this.totalBytes : 0;
    return this.#before[window.at]! + window.offsets[this.#blockAt - window.first]!;
  }

  /** Makes the walk begin at `key`, or behind all rows when that is undefined. Before the first move only. */
  startAt(key: Uint8Array | undefined): void {
    this.#target = key;
    if (key === undefined) this.#planTable = this.#refs.length;
  }

  first(): Move {
    return this.#enterNext();
  }

  next(): Move {
    if (!this.#isCrossing) {
      if (this.#step()) return READY;
      this.#isCrossing = true;
    }
    return this.#enterNext();
  }

  last(): never {
    return forwardOnly();
  }

  /** Forward only: `key` is above that of the current row. */
  seekGE(key: Uint8Array): Move {
    if (this.#target === undefined) {
      this.#target = key;
      const window = this.#window;
      if (window !== undefined && !this.#isCrossing) {
        const n = window.find(key);
        if (n <= this.#blockAt && this.#seekInBlock(key)) {
          this.#target = undefined;
          return READY;
        }
        if (n > this.#blockAt) this.#blockAt = Math.min(n, window.end) - 1;
        this.#isCrossing = true;
      }
    }
    return this.#enterNext();
  }

  seekLT(_key: Uint8Array): never {
    return forwardOnly();
  }

  prev(): never {
    return forwardOnly();
  }

  collectNeeds(into: Need[]): void {
    if (this.#need !== undefined) into.push(this.#need);
  }

  /**
   * Adds to `into` the part that may be read now, while the walk goes on, if there is one that nobody reads.
   *
   * @throws DataError when an index is damaged
   */
  collectAhead(into: PassingPart[]): void {
    if (this.#window === undefined || this.#need !== undefined || this.#next?.hasFailed === true) return;
    const part = this.#plan();
    if (part !== undefined && part.bytes === undefined && part.flight === undefined) into.push(part);
  }

  /** One row on inside the current block; false at its end, or where the visible part of the table ends. */
  #step(): boolean {
    const block = this.#block;
    try {
      if (!block.next()) return false;
    } catch (error) {
      throw this.#damage(error);
    }
    return this.#land();
  }

  #seekInBlock(key: Uint8Array): boolean {
    try {
      if (!this.#block.seekGE(key)) return false;
    } catch (error) {
      throw this.#damage(error);
    }
    return this.#land();
  }

  #land(): boolean {
    const block = this.#block;
    const end = this.#clipEnd;
    if (end !== undefined && compareSlices(block.keyBytes, 0, block.keyEnd, end, 0, end.length) >= 0) {
      // Nothing more of this table is visible: no window goes beyond the block where that begins.
      return false;
    }
    this.show(block);
    return true;
  }

  /** Stands on the first visible row behind the current block. */
  #enterNext(): Move {
    for (;;) {
      let window = this.#window;
      if (this.#need !== undefined && this.#need === window) {
        // The same block again, of bytes that were read again.
        if (window.bytes === undefined) return PENDING;
        this.#need = undefined;
      } else if (window !== undefined && this.#blockAt + 1 < window.end) {
        this.#blockAt++;
      } else {
        window = this.#takeWindow();
        if (window === undefined) return this.#need === undefined ? END : PENDING;
      }
      if (!this.#enter(window) || !this.#land()) continue;
      this.#isCrossing = false;
      this.#target = undefined;
      return READY;
    }
  }

  /** The next window, if its bytes are there. The one before is let go of. */
  #takeWindow(): BlockWindow | undefined {
    const part = this.#plan();
    if (part === undefined) {
      this.#window = undefined;
      this.#block.clear();
    }
    this.#need = part?.bytes === undefined ? part : undefined;
    if (!(part instanceof BlockWindow) || this.#need !== undefined) return undefined;
    this.#next = undefined;
    this.#window = part;
    this.#blockAt = this.#target === undefined ? part.first : Math.max(part.first, part.find(this.#target));
    this.#clipEnd = this.#refs[part.at]!.clipEnd;
    return part;
  }

  /** Enters block `#blockAt`; false when nothing in it is visible, or when it has to be read again. */
  #enter(window: BlockWindow): boolean {
    const { table } = window;
    const block = this.#block;
    const n = this.#blockAt;
    try {
      block.reset(
        decodeBlock(window.blockBytes(n), table.info.compression, blockFormat(table.formatVersion), `block ${n}`),
      );
    } catch (error) {
      if (!isWorthReadingAgain(window, error)) throw this.#damage(error);
      this.#need = window;
      return false;
    }
    try {
      const clip = window.first === n ? this.#refs[window.at]!.clipStart : undefined;
      const target = this.#target;
      const start = target === undefined || (clip !== undefined && compareBytes(clip, target) > 0) ? clip : target;
      return start === undefined ? block.first() : block.seekGE(start);
    } catch (error) {
      throw this.#damage(error);
    }
  }

  /** The part behind all that is at hand; undefined when there is none. An index that has come is opened. */
  #plan(): PassingPart | undefined {
    for (;;) {
      const next = this.#next;
      if (next instanceof BlockWindow) {
        if (this.#target === undefined || next.find(this.#target) < next.end) return next;
        this.#next = undefined;
      } else if (this.#planTable === this.#refs.length) {
        return undefined;
      } else if (this.#isPassed(this.#planTable)) {
        this.#endPlan();
      } else if (next !== undefined) {
        if (next.bytes === undefined) return next;
        this.#openIndex(next, next.bytes);
      } else if (this.#planIndex === undefined) {
        this.#next = this.#indexPart();
      } else {
        this.#next = this.#cutWindow(this.#planIndex);
      }
    }
  }

  /** Whether a table has no row that the walk comes to, as far as bounds tell. */
  #isPassed(at: number): boolean {
    const { table, last, clipEnd } = this.#refs[at]!;
    if (table.hasRanges && last === undefined) return true;
    const target = this.#target;
    if (target === undefined) return false;
    const isBelow = (key: Uint8Array | undefined): boolean => key !== undefined && compareBytes(key, target) < 0;
    return isBelow(last) || isBelow(clipEnd) || isBelow(this.#refs[at + 1]?.firstEntry);
  }

  /** Goes on to the next table. */
  #endPlan(): void {
    this.#planTable++;
    this.#next = this.#planIndex = this.#whole = undefined;
  }

  #indexPart(): PassingPart {
    const { table } = this.#refs[this.#planTable]!;
    try {
      table.checkInfo();
    } catch (error) {
      throw damageIn(table.path, 0, error);
    }
    const { indexOffset, indexLen } = table.info;
    if (table.readEnd <= this.#windowBytes) return new PassingPart(table, "index", 0, table.readEnd);
    return new PassingPart(table, "index", indexOffset, indexLen);
  }

  #openIndex(part: PassingPart, bytes: Uint8Array): void {
    const { table, clipStart, clipEnd } = this.#refs[this.#planTable]!;
    const { info } = table;
    const start = info.indexOffset - part.offset;
    try {
      const section = bytes.subarray(start, start + info.indexLen);
      const index = new IndexReader(openSection(section, info.compression, "index", SECTION_BYTES_MAX));
      this.#planIndex = index;
      this.#planBlock = clipStart === undefined ? 0 : index.find(clipStart);
      this.#planLast = clipEnd === undefined ? index.count - 1 : index.find(clipEnd);
    } catch (error) {
      if (isWorthReadingAgain(part, error)) return;
      throw damageIn(table.path, info.indexOffset, error);
    }
    this.#whole = start > 0 ? bytes : undefined;
    this.#next = undefined;
  }

  /** Cuts the next window of the table of the plan, and goes on to the next table when it was the last. */
  #cutWindow(index: IndexReader): BlockWindow | undefined {
    const { table } = this.#refs[this.#planTable]!;
    const at = this.#planTable;
    const last = this.#planLast;
    const target = this.#target;
    if (target !== undefined) this.#planBlock = Math.max(this.#planBlock, findBlock(table, index, target));
    const first = this.#planBlock;
    let window: BlockWindow | undefined = undefined;
    if (first <= last) {
      const offsets = this.#cutOffsets(table, index);
      window = new BlockWindow(table, at, first, offsets, index);
      this.#planBlock = window.end;
      if (this.#whole !== undefined) {
        window.bytes = this.#whole.subarray(window.offset, window.offset + window.length);
      }
    }
    if (this.#planBlock > last) this.#endPlan();
    return window;
  }

  /** Where the blocks of the next window begin, and where the last one ends. */
  #cutOffsets(table: Table, index: IndexReader): Float64Array {
    const dataEnd = table.info.filterOffset;
    const offsets: number[] = [];
    try {
      let n = this.#planBlock;
      let start = index.offset(n);
      do {
        const end = n + 1 < index.count ? index.offset(n + 1) : dataEnd;
        if (!(end > start && end <= dataEnd)) {
          throw new FormatError("index", 0, "malformed", `block ${n} would reach from ${start} to ${end}`);
        }
        offsets.push(start);
        start = end;
        n++;
      } while (n <= this.#planLast && start - offsets[0]! < this.#windowBytes);
      offsets.push(start);
    } catch (error) {
      throw damageIn(table.path, table.info.indexOffset, error);
    }
    return Float64Array.from(offsets);
  }

  #damage(error: unknown): Error {
    const window = this.#window!;
    return damageIn(window.table.path, window.offsets[this.#blockAt - window.first]!, error);
  }
}

/** Lets go of damaged bytes, unless they came twice. */
function isWorthReadingAgain(part: PassingPart, error: unknown): boolean {
  if (!(error instanceof FormatError) || ++part.damages === DAMAGES_MAX) return false;
  part.bytes = undefined;
  return true;
}

function forwardOnly(): never {
  throw new Error("a passing cursor only goes forward from its first row");
}
