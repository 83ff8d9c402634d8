/**
 * Encodes a sorted source as one table, in slices, so that whoever shares the thread gets a turn in between.
 *
 * Retention decides which rows enter (see `retention.ts`). The source is in memory (a memtable): it never has to wait.
 * What is not kept leaves nothing behind; a table without rows is not built at all.
 *
 * @module
 */
import { type BuiltSst, SstBuilder, type SstOptions } from "../format/sst_builder.ts";
import { type Cursor, END, type Need, PENDING } from "./cursor.ts";
import { RetainedRows, type RetentionRules } from "./retention.ts";

/** How tables are encoded. */
export type TableEncoding = SstOptions;

/** Encoded bytes after which a slice ends, whatever its number of rows: a few milliseconds of work. */
const SLICE_BYTES: number = 1 << 16;

/** Writes one table. Used once. */
export class TableWriter {
  /** The rows that enter the table; tells about folds. */
  readonly retained: RetainedRows;
  private readonly builder: SstBuilder;
  private isDone = false;

  /** @param source a cursor whose moves never answer PENDING; nobody else moves it until the table is finished */
  constructor(source: Cursor, encoding: TableEncoding, rules: RetentionRules, expectedBytes: number = 0) {
    this.retained = new RetainedRows(source, rules);
    this.builder = new SstBuilder(encoding, expectedBytes);
  }

  /** Rows in the table so far. */
  get rows(): number {
    return this.builder.rows;
  }

  /**
   * Encodes a slice: up to `maxRows` rows of the source, or `maxBytes` of the table.
   *
   * @returns whether there is more to do
   */
  step(maxRows: number, maxBytes: number = SLICE_BYTES): boolean {
    if (this.isDone) return false;
    const { retained, builder } = this;
    const endBytes = builder.estimatedBytes + maxBytes;
    retained.budget = maxRows;
    for (;;) {
      const move = retained.next();
      if (move === END) {
        this.isDone = true;
        return false;
      }
      if (move === PENDING) {
        assertNoNeeds(retained);
        return true;
      }
      const row = retained.row;
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
      if (builder.estimatedBytes >= endBytes) return true;
    }
  }

  /**
   * Encodes what is left and ends the table.
   *
   * @returns undefined when no row is left of the source
   */
  finish(): BuiltSst | undefined {
    while (this.step(Infinity, Infinity));
    return this.builder.rows === 0 ? undefined : this.builder.finish();
  }
}

function assertNoNeeds(retained: RetainedRows): void {
  const needs: Need[] = [];
  retained.collectNeeds(needs);
  if (needs.length > 0) {
    throw new Error(`a table is written from a source in memory, not one that waits for ${needs[0]!.key}`);
  }
}
