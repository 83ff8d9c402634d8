/**
 * Which parts of tables a merge that reads everything will need next, so that they can come while rows are merged.
 *
 * Each source holds at most two windows of blocks: the one that its cursor walks, and the next one. The next window is
 * asked for when the walk enters the last one at hand; at the end of a table first the index of the next table, then its
 * first window. A cursor that comes to a part that is still on its way waits for that same request (single flight).
 *
 * Invariant: what is asked for lies in the table that the walk is in, or in the next one, whose parts a cursor keeps
 * when it enters it.
 *
 * @module
 */
import type { Need } from "./cursor.ts";
import type { RunCursor } from "./run_cursor.ts";
import { INDEX_SLOT } from "./table.ts";
import { type HeldParts, TableNeed } from "./table_parts.ts";
import type { TableRef } from "./table_ref.ts";

/** Memory that the windows of all sources may take together, bytes. */
const HELD_BYTES_MAX: number = 64 * 1024 * 1024;
const WINDOW_BYTES_MIN: number = 64 * 1024;
const WINDOW_BYTES_MAX: number = 2 * 1024 * 1024;

/** Bytes of each window for a merge of `sources` sources. */
export function windowBytes(sources: number): number {
  const share = Math.floor(HELD_BYTES_MAX / (2 * Math.max(1, sources)));
  return Math.min(WINDOW_BYTES_MAX, Math.max(WINDOW_BYTES_MIN, share));
}

/** What to fetch now for one source; say `landed` afterwards. */
export interface AheadRequest {
  readonly need: TableNeed;
  /** The fetch has ended; after a failure nothing more is read ahead for the source, its cursor asks by itself. */
  readonly landed: (succeeded: boolean) => void;
}

/** Reads ahead for several sources of one merge. */
export class ReadAhead {
  readonly #sources: ReadonlyArray<SourceAhead>;
  readonly #totalBytes: number;

  /**
   * @param cursors forward walks, each with the tables that it goes through
   * @param window bytes of a window, see {@linkcode windowBytes}
   */
  constructor(
    cursors: ReadonlyArray<{ readonly cursor: RunCursor; readonly refs: ReadonlyArray<TableRef> }>,
    window: number,
  ) {
    this.#sources = cursors.map(({ cursor, refs }) => new SourceAhead(cursor, refs, window));
    this.#totalBytes = this.#sources.reduce((sum, source) => sum + source.totalBytes, 0);
  }

  /** Adds to `into` what the cursors wait for. */
  collectNeeds(into: Need[]): void {
    for (const source of this.#sources) source.collectNeeds(into);
  }

  /** What may be fetched now, besides what cursors wait for. */
  take(): AheadRequest[] {
    const requests: AheadRequest[] = [];
    for (const source of this.#sources) {
      const request = source.take();
      if (request !== undefined) requests.push(request);
    }
    return requests;
  }

  /** How much of the sources has been walked, 0..1. */
  get progress(): number {
    let walked = 0;
    for (const source of this.#sources) walked += source.walkedBytes;
    return this.#totalBytes === 0 ? 1 : walked / this.#totalBytes;
  }
}

/** One source. */
class SourceAhead {
  /** Bytes of the blocks of all tables. */
  readonly totalBytes: number;
  readonly #cursor: RunCursor;
  readonly #refs: ReadonlyArray<TableRef>;
  readonly #window: number;
  /** Bytes of the tables before each. */
  readonly #before: number[] = [];
  /** The cursor's own place for parts, known since it first waited. */
  #held: HeldParts | undefined = undefined;
  /** The first block that is not at hand: its table, and its number; -1 is where the table's visible part begins. */
  #table = 0;
  #block = -1;
  /** The last block at hand. */
  #lastTable = 0;
  #lastBlock = -1;
  /** More is asked for when the walk has passed this block. */
  #markTable = 0;
  #markBlock = -1;
  #isFlying = false;
  #isOff = false;

  constructor(cursor: RunCursor, refs: ReadonlyArray<TableRef>, window: number) {
    this.#cursor = cursor;
    this.#refs = refs;
    this.#window = window;
    let bytes = 0;
    for (const { table } of refs) {
      this.#before.push(bytes);
      bytes += table.info.filterOffset;
    }
    this.totalBytes = bytes;
  }

  get walkedBytes(): number {
    const { at, blockAt } = this.#cursor;
    const table = this.#refs[at]?.table;
    if (table === undefined || this.#held === undefined) return 0;
    return this.#before[at]! + (this.#held.index(table)?.offsets[blockAt] ?? 0);
  }

  collectNeeds(into: Need[]): void {
    const count = into.length;
    this.#cursor.collectNeeds(into);
    const need = into[count];
    if (need instanceof TableNeed) this.#held = need.held;
  }

  take(): AheadRequest | undefined {
    const held = this.#held;
    if (held === undefined || this.#isFlying || this.#isOff) return undefined;
    const mark = this.#refs[this.#markTable];
    if (mark !== undefined && held.hasBlock(mark.table, this.#markBlock)) return undefined;
    const need = this.#nextNeed(held);
    if (need === undefined) return undefined;
    this.#isFlying = true;
    return {
      need,
      landed: (succeeded) => {
        this.#isFlying = false;
        if (!succeeded) this.#isOff = true;
      },
    };
  }

  #nextNeed(held: HeldParts): TableNeed | undefined {
    if (this.#cursor.at > this.#table) {
      this.#table = this.#cursor.at;
      this.#block = -1;
    }
    for (; this.#table < this.#refs.length; this.#table++, this.#block = -1) {
      // Not before the walk has entered the table before it.
      if (this.#table > this.#cursor.at + 1) return undefined;
      const ref = this.#refs[this.#table]!;
      const index = held.index(ref.table);
      if (index === undefined) return new TableNeed(ref.table, INDEX_SLOT, held);
      if (this.#block < 0) this.#block = ref.clipStart === undefined ? 0 : index.find(ref.clipStart);
      // The cursor may have fetched by itself.
      if (this.#table === this.#cursor.at) this.#block = Math.max(this.#block, this.#cursor.blockAt);
      const lastBlock = ref.clipEnd === undefined ? index.count - 1 : index.find(ref.clipEnd);
      for (; this.#block <= lastBlock && held.hasBlock(ref.table, this.#block); this.#block++) {
        this.#lastTable = this.#table;
        this.#lastBlock = this.#block;
      }
      if (this.#block > lastBlock) continue;
      this.#markTable = this.#lastTable;
      this.#markBlock = this.#lastBlock;
      const ahead = { windowBytes: this.#window, direction: 1, lastBlock } as const;
      return new TableNeed(ref.table, this.#block, held, index, ahead);
    }
    return undefined;
  }
}
