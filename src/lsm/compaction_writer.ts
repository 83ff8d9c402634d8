/**
 * Encodes a sorted source as tables, in slices, so that whoever shares the thread gets a turn in between.
 *
 * Retention decides which rows enter (see `retention.ts`). A table ends when it has reached its size, but only between
 * user keys: all versions of a key lie in one table (K-17, K-19). Range tombstones go to the table among whose rows they
 * lie; one that is open where a table ends is cut there, so that no table reaches into the next one. They are read and
 * cached whole, so a table ends when they alone have reached a size of their own; only those over one key stay together
 * whatever they take. What is not kept leaves nothing behind; a table without rows and tombstones is not built at all. The
 * source may have to wait for its blocks; a memtable never does.
 *
 * @module
 */
import { type BuiltSst, SstBuilder, type SstOptions } from "../format/sst_builder.ts";
import type { RangeTombstone } from "../format/types.ts";
import type { Cursor, Need } from "./cursor.ts";
import { END, PENDING } from "./cursor.ts";
import { RangeCutter } from "./range_retention.ts";
import { RetainedRows, type RetentionRules } from "./retention.ts";
import type { RowView } from "./row_fields.ts";

/** How tables are encoded. */
export type TableEncoding = SstOptions;

/** The slice is over, there is more to do. */
export const MORE = 0;
/** The source waits for what `collectNeeds` says. */
export const WAITING = 1;
/** A table is finished: `takeTable` it before the next step. */
export const TABLE = 2;
/** Everything is encoded and taken. */
export const ENDED = 3;
/** How a step ended. */
export type WriterStep = typeof MORE | typeof WAITING | typeof TABLE | typeof ENDED;

/** Rows (or blocks) that the end of a table works on, for each row of a slice: such work is lighter than a row's. */
const CLOSING_FACTOR = 8;

/** What is written, and where tables end. */
export interface CompactionWriterOptions {
  readonly encoding: TableEncoding;
  readonly rules: RetentionRules;
  /** A table ends before the first new key after it has so many bytes of rows; Infinity for one table. */
  readonly maxSstBytes: number;
  /** A table ends also before the first new key after it was given so many bytes of range tombstones; default Infinity. */
  readonly maxRangeBytes?: number | undefined;
  /** Range tombstones that enter the tables, as a table keeps them (see `range_retention.ts`); default none. */
  readonly ranges?: ReadonlyArray<RangeTombstone> | undefined;
}

/** Writes the rows that are kept of a source as tables, one after the other. Used once. */
export class CompactionWriter {
  /** The rows that enter the tables; tells about folds. */
  readonly retained: RetainedRows;
  /** Size of the next table if it is known roughly, bytes, as `SstBuilder` takes it; 0 when it is not. */
  expectedBytes: number = 0;

  private readonly encoding: TableEncoding;
  private readonly maxSstBytes: number;
  private readonly maxRangeBytes: number;
  /** Undefined when there are no range tombstones. */
  private readonly ranges: RangeCutter | undefined;
  /** The table that is being made. */
  private builder: SstBuilder | undefined = undefined;
  /** `retained` stands on a row that no table has yet. */
  private isRowHeld = false;
  /** The current table gets no more rows. */
  private isClosing = false;
  /** Where it ends if something follows. */
  private cutKey: Uint8Array | undefined = undefined;
  private isSourceDone = false;
  private finished: BuiltSst | undefined = undefined;

  /** @param source walked from its first row to its end; nobody else moves it meanwhile */
  constructor(source: Cursor, options: CompactionWriterOptions) {
    this.retained = new RetainedRows(source, options.rules);
    this.encoding = options.encoding;
    this.maxSstBytes = options.maxSstBytes;
    this.maxRangeBytes = options.maxRangeBytes ?? Infinity;
    const { ranges } = options;
    this.ranges = ranges === undefined || ranges.length === 0 ? undefined : new RangeCutter(ranges);
  }

  /** Rows of the current table. */
  get rows(): number {
    return this.builder?.rows ?? 0;
  }

  /** Bytes of the current table so far; 0 between tables. */
  get tableBytes(): number {
    return this.builder?.estimatedBytes ?? 0;
  }

  /** Whether all rows of the current table so far are values that never expire, and it has no range tombstones. */
  get isPlain(): boolean {
    return this.ranges?.hasTaken !== true && (this.builder?.isPlain ?? true);
  }

  /**
   * Encodes a slice: up to `maxRows` rows of the source, or `maxBytes` of the table, or a part of a table's end.
   *
   * @returns MORE, WAITING, TABLE or ENDED
   */
  step(maxRows: number, maxBytes: number): WriterStep {
    if (this.finished !== undefined) return TABLE;
    if (this.isClosing) return this.close(maxRows);
    if (this.isSourceDone) return this.endSource(maxRows);
    const { retained, ranges } = this;
    retained.budget = maxRows;
    const endBytes = this.tableBytes + maxBytes;
    for (;;) {
      if (!this.isRowHeld) {
        const move = retained.next();
        if (move === PENDING) return retained.budget > 0 && this.isWaiting() ? WAITING : MORE;
        if (move === END) return this.endSource(maxRows);
      }
      const row = retained.row;
      if (ranges !== undefined && ranges.isNextBelow(row) && this.takeRanges(row)) {
        this.isRowHeld = true;
        return this.close(maxRows);
      }
      const builder = this.builder ??= new SstBuilder(this.encoding, this.expectedBytes);
      const bytes = builder.estimatedBytes;
      if (this.isFull(bytes, row) && !builder.isLastKey(row.keyBytes, row.keyStart, row.keyEnd)) {
        this.isRowHeld = true;
        this.endTable(ranges === undefined ? undefined : row.keyBytes.slice(row.keyStart, row.keyEnd));
        return this.close(maxRows);
      }
      builder.add(
        row.keyBytes,
        row.keyStart,
        row.keyEnd,
        row.seq,
        row.flags,
        row.createTs,
        row.expireTs,
        row.valueBytes,
        row.valueStart,
        row.valueEnd,
      );
      this.isRowHeld = false;
      if (bytes >= endBytes) return MORE;
    }
  }

  /** Finished parts of the current table's file, in order, each handed out once. */
  takeChunks(): Uint8Array[] {
    return this.builder?.takeChunks() ?? [];
  }

  /** The table that made `step` answer TABLE. */
  takeTable(): BuiltSst {
    const table = this.finished;
    if (table === undefined) throw new Error("no table is finished");
    this.finished = undefined;
    this.builder = undefined;
    this.isClosing = false;
    return table;
  }

  /** Adds to `into` what the last step, if it was WAITING, waits for. */
  collectNeeds(into: Need[]): void {
    this.retained.collectNeeds(into);
  }

  /** Whether the source waits for something, rather than gives others a turn. */
  private isWaiting(): boolean {
    const needs: Need[] = [];
    this.retained.collectNeeds(needs);
    return needs.length > 0;
  }

  /** Whether the current table, with `bytes` of rows, has enough, and something that stays when it ends before `row`. */
  private isFull(bytes: number, row?: RowView): boolean {
    const { ranges } = this;
    if (ranges === undefined) return bytes >= this.maxSstBytes && this.rows > 0;
    if (bytes + ranges.bytes < this.maxSstBytes && ranges.bytes < this.maxRangeBytes) return false;
    // Tombstones that the end of the table before cut at this very row would all go on: tables without end.
    return this.rows > 0 || (row === undefined ? ranges.hasTaken : ranges.hasTakenBelow(row));
  }

  /**
   * Gives the current table the range tombstones that begin below `row`, or all that are left.
   *
   * @returns whether the table is full before that, and ends
   */
  private takeRanges(row: RowView | undefined): boolean {
    const ranges = this.ranges!;
    for (let next = ranges.nextStart; next !== undefined; next = ranges.nextStart) {
      if (row !== undefined && !ranges.isNextBelow(row)) break;
      // What begins at the key of the last row can not go to another table than that row.
      if (this.isFull(this.tableBytes) && this.builder?.isLastKey(next, 0, next.length) !== true) {
        this.endTable(next);
        return true;
      }
      ranges.take();
    }
    return false;
  }

  /** Nothing more enters the current table; what follows has keys from `cutKey` on. */
  private endTable(cutKey: Uint8Array | undefined): void {
    this.isClosing = true;
    this.cutKey = cutKey;
    this.builder ??= new SstBuilder(this.encoding, this.expectedBytes);
    if (this.ranges !== undefined) this.builder.setRanges(this.ranges.cut(cutKey));
  }

  private endSource(maxRows: number): WriterStep {
    this.isSourceDone = true;
    if (this.ranges !== undefined && this.takeRanges(undefined)) return this.close(maxRows);
    if (this.builder === undefined && this.ranges?.hasTaken !== true) return ENDED;
    this.endTable(undefined);
    return this.close(maxRows);
  }

  private close(maxRows: number): WriterStep {
    const builder = this.builder!;
    if (builder.finishStep(maxRows * CLOSING_FACTOR)) return MORE;
    this.finished = builder.finish();
    return TABLE;
  }
}
