/**
 * The public shape of cursors.
 *
 * @module
 */
import type { Bytes, Entry } from "./api.ts";

/**
 * A two-way iterator over the rows of a range at one moment. Close it: it holds back the removal of old versions.
 *
 * It stands before the first row, on a row, or after the last one. Each move resolves to the row that the cursor stands
 * on afterwards, or to undefined when it left the range; one step the other way then comes back to the row at that end.
 * A fresh cursor goes with `next` to the first row and with `prev` to the last.
 *
 * Moves that are not waited for are made one after another, in the order of the calls. A move that is refused, or
 * aborted by its signal, leaves the cursor where it was. After an error of the store, of stored data or of the merge
 * operator every later move fails with the same error: open another cursor.
 */
export interface Cursor extends AsyncDisposable {
  /** To the first row of the range. */
  first(): Promise<Entry | undefined>;
  /** To the last row of the range. */
  last(): Promise<Entry | undefined>;
  /** To the next row; before the first row: to the first. Stays after the last. */
  next(): Promise<Entry | undefined>;
  /** To the row before; after the last row: to the last. Stays before the first. */
  prev(): Promise<Entry | undefined>;
  /** To the row with the smallest key at or after `key`. A key below the range means its start. */
  seekGE(key: Bytes): Promise<Entry | undefined>;
  /** To the row with the largest key before `key`. A key above the range means its end. */
  seekLT(key: Bytes): Promise<Entry | undefined>;
  /** The row that the last finished move answered; undefined on a fresh or closed cursor, and outside the range. */
  readonly current: Entry | undefined;
  /** Frees what the cursor holds. Moves afterwards fail with `Closed`, a second close too; disposing is silent. */
  close(): Promise<void>;
}
