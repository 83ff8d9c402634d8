/**
 * Encodes a memtable as one table, in slices, so that whoever shares the thread gets a turn in between.
 *
 * A {@linkcode CompactionWriter} over a source that is in memory: it never has to wait, and its rows and range tombstones
 * make one table, or none when nothing is kept. Rows that every read sees hidden are left out.
 *
 * @module
 */
import type { BuiltSst } from "../format/sst_builder.ts";
import type { RangeTombstone } from "../format/types.ts";
import { CompactionWriter, ENDED, MORE, TABLE, type TableEncoding, WAITING } from "./compaction_writer.ts";
import type { Cursor, Need } from "./cursor.ts";
import { masked } from "./masked_cursor.ts";
import { ALL_KEYS, retainedRanges, type StripeOf } from "./range_retention.ts";
import { RangeSet } from "./range_set.ts";
import { setRanges } from "./range_source.ts";
import type { RetainedRows, RetentionRules } from "./retention.ts";

export type { TableEncoding } from "./compaction_writer.ts";

/** Encoded bytes after which a slice ends, whatever its number of rows: a few milliseconds of work. */
const SLICE_BYTES: number = 1 << 16;

/** Writes one table. Used once. */
export class TableWriter {
  private readonly writer: CompactionWriter;
  private table: BuiltSst | undefined = undefined;

  /**
   * @param source a cursor whose moves never wait for anything; nobody else moves it until the table is finished
   * @param expectedBytes see {@linkcode CompactionWriter.expectedBytes}
   * @param ranges the range tombstones of the source, in any order
   * @param stripeOf which of them no protected read tells apart
   */
  constructor(
    source: Cursor,
    encoding: TableEncoding,
    rules: RetentionRules,
    expectedBytes: number = 0,
    ranges: ReadonlyArray<RangeTombstone> = [],
    stripeOf?: StripeOf,
  ) {
    const { minSeq } = rules;
    const barriers = ranges.length === 0 ? undefined : RangeSet.of(ranges.filter(({ seq }) => seq <= minSeq));
    const rows = barriers === undefined ? source : masked(source, [], setRanges([barriers]), minSeq);
    this.writer = new CompactionWriter(rows, {
      encoding,
      rules: { ...rules, barriers },
      maxSstBytes: Infinity,
      ranges: retainedRanges(ranges, minSeq, rules.dropTombstones ? [] : [ALL_KEYS], stripeOf),
    });
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
