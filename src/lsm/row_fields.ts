/**
 * The row fields of the cursor contract as a class, so that every cursor that copies rows has the same shape.
 *
 * @module
 */
import { NO_EXPIRY, NO_TICK } from "../format/types.ts";

const EMPTY = new Uint8Array(0);

/** Readable row fields; see the cursor contract for their meaning. */
export interface RowView {
  readonly keyBytes: Uint8Array;
  readonly keyStart: number;
  readonly keyEnd: number;
  readonly keyHi: number;
  readonly keyLo: number;
  readonly seq: number;
  readonly flags: number;
  readonly createTs: number;
  readonly expireTs: number;
  readonly valueBytes: Uint8Array;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** One row, by reference to its bytes. */
export class RowFields implements RowView {
  keyBytes: Uint8Array = EMPTY;
  keyStart: number = 0;
  keyEnd: number = 0;
  keyHi: number = 0;
  keyLo: number = 0;
  seq: number = 0;
  flags: number = 0;
  createTs: number = NO_TICK;
  expireTs: number = NO_EXPIRY;
  valueBytes: Uint8Array = EMPTY;
  valueStart: number = 0;
  valueEnd: number = 0;

  /** Takes over the fields of `row`, not its bytes. */
  show(row: RowView): void {
    this.keyBytes = row.keyBytes;
    this.keyStart = row.keyStart;
    this.keyEnd = row.keyEnd;
    this.keyHi = row.keyHi;
    this.keyLo = row.keyLo;
    this.seq = row.seq;
    this.flags = row.flags;
    this.createTs = row.createTs;
    this.expireTs = row.expireTs;
    this.valueBytes = row.valueBytes;
    this.valueStart = row.valueStart;
    this.valueEnd = row.valueEnd;
  }
}
