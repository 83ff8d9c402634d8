/**
 * Encodes a memtable as one table, in slices, so that whoever shares the thread gets a turn in between.
 *
 * A {@linkcode CompactionWriter} over a source that is in memory: it never has to wait, and its rows make one table,
 * or none when nothing is kept.
 *
 * @module
 */
import type { BuiltSst } from "../format/sst_builder.ts";
import { CompactionWriter, ENDED, MORE, TABLE, type TableEncoding, WAITING } from "./compaction_writer.ts";
import type { Cursor, Need } from "./cursor.ts";
import type { RetainedRows, RetentionRules } from "./retention.ts";

export type { TableEncoding } from "./compaction_writer.ts";

/** Encoded bytes after which a slice ends, whatever its number of rows: a few milliseconds of work. */
const SLICE_BYTES: number = 1 << 16;

/** Writes one table. Used once. */
export class TableWriter {
  private readonly writer: CompactionWriter;
  private table: BuiltSst | undefined = undefined;

  /** @param source a cursor whose moves never answer PENDING; nobody else moves it until the table is finished */
  constructor(source: Cursor, encoding: TableEncoding, rules: RetentionRules, expectedBytes: number = 0) {
    this.writer = new CompactionWriter(source, { encoding, rules, maxSstBytes: Infinity });
    this.writer.expectedBytes = expectedBytes;
  }

  /** The rows that enter the table; tells about folds. */
  get retained(): RetainedRows {
    return this.writer.retained;
  }

  /** Rows in the table so far. */
  get rows(): number {
    return this.writer.rows;
  }

  /** Whether all rows of the table are values that never expire: neither tombstones nor operands. */
  get isPlain(): boolean {
    return this.table?.isPlain ?? this.writer.isPlain;
  }

  /**
   * Encodes a slice: up to `maxRows` rows of the source, or `maxBytes` of the table, or a part of the table's end.
   *
   * @returns whether there is more to do
   */
  step(maxRows: number, maxBytes: number = SLICE_BYTES): boolean {
    const step = this.writer.step(maxRows, maxBytes);
    if (step === WAITING) this.refuseWaiting();
    return step === MORE;
  }

  /**
   * Encodes what is left and ends the table.
   *
   * @returns undefined when no row is left of the source
   */
  finish(): BuiltSst | undefined {
    const { writer } = this;
    for (;;) {
      const step = writer.step(Infinity, Infinity);
      if (step === TABLE) this.table = writer.takeTable();
      if (step === ENDED) return this.table;
      if (step === WAITING) this.refuseWaiting();
    }
  }

  private refuseWaiting(): never {
    const needs: Need[] = [];
    this.writer.collectNeeds(needs);
    throw new Error(`a table is written from a source in memory, not one that waits for ${needs[0]?.key}`);
  }
}
