/**
 * Encodes a sorted source as tables, in slices, so that whoever shares the thread gets a turn in between.
 *
 * Retention decides which rows enter (see `retention.ts`). A table ends when it has reached its size, but only between
 * user keys: all versions of a key lie in one table (K-17, K-19). What is not kept leaves nothing behind; a table
 * without rows is not built at all. The source may have to wait for its blocks; a memtable never does.
 *
 * @module
 */
import { type BuiltSst, SstBuilder, type SstOptions } from "../format/sst_builder.ts";
import type { Cursor, Need } from "./cursor.ts";
import { END, PENDING } from "./cursor.ts";
import { RetainedRows, type RetentionRules } from "./retention.ts";

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
}

/** Writes the rows that are kept of a source as tables, one after the other. Used once. */
export class CompactionWriter {
  /** The rows that enter the tables; tells about folds. */
  readonly retained: RetainedRows;
  /** Size of the next table if it is known roughly, bytes, as `SstBuilder` takes it; 0 when it is not. */
  expectedBytes: number = 0;

  private readonly encoding: TableEncoding;
  private readonly maxSstBytes: number;
  /** The table that is being made. */
  private builder: SstBuilder | undefined = undefined;
  /** `retained` stands on a row that no table has yet. */
  private isRowHeld = false;
  /** The current table gets no more rows. */
  private isClosing = false;
  private isSourceDone = false;
  private finished: BuiltSst | undefined = undefined;

  /** @param source walked from its first row to its end; nobody else moves it meanwhile */
  constructor(source: Cursor, options: CompactionWriterOptions) {
    this.retained = new RetainedRows(source, options.rules);
    this.encoding = options.encoding;
    this.maxSstBytes = options.maxSstBytes;
  }

  /** Rows of the current table. */
  get rows(): number {
    return this.builder?.rows ?? 0;
  }

  /** Bytes of the current table so far; 0 between tables. */
  get tableBytes(): number {
    return this.builder?.estimatedBytes ?? 0;
  }

  /** Whether all rows of the current table so far are values that never expire. */
  get isPlain(): boolean {
    return this.builder?.isPlain ?? true;
  }

  /**
   * Encodes a slice: up to `maxRows` rows of the source, or `maxBytes` of the table, or a part of a table's end.
   *
   * @returns MORE, WAITING, TABLE or ENDED
   */
  step(maxRows: number, maxBytes: number): WriterStep {
    if (this.finished !== undefined) return TABLE;
    if (this.isClosing) return this.close(maxRows);
    if (this.isSourceDone) return ENDED;
    const { retained } = this;
    retained.budget = maxRows;
    const endBytes = this.tableBytes + maxBytes;
    for (;;) {
      if (!this.isRowHeld) {
        const move = retained.next();
        if (move === PENDING) return retained.budget <= 0 ? MORE : WAITING;
        if (move === END) return this.endSource(maxRows);
      }
      const builder = this.builder ??= new SstBuilder(this.encoding, this.expectedBytes);
      const row = retained.row;
      const bytes = builder.estimatedBytes;
      if (bytes >= this.maxSstBytes && builder.rows > 0 && !builder.isLastKey(row.keyBytes, row.keyStart, row.keyEnd)) {
        this.isRowHeld = this.isClosing = true;
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

  private endSource(maxRows: number): WriterStep {
    this.isSourceDone = true;
    if (this.builder === undefined) return ENDED;
    this.isClosing = true;
    return this.close(maxRows);
  }

  private close(maxRows: number): WriterStep {
    const builder = this.builder!;
    if (builder.finishStep(maxRows * CLOSING_FACTOR)) return MORE;
    this.finished = builder.finish();
    return TABLE;
  }
}
