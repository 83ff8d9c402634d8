/**
 * The operations of an internal iterator of the files on one of our cursors: every version is a row.
 *
 * A cursor of ours stands on a row or nowhere and knows no bounds; this adds the places before the first and after the
 * last row, and ends where a row lies outside the bounds.
 *
 * @module
 */
import { compareBytes } from "../../src/bytes/compare.ts";
import { type Cursor, END, type Move, READY } from "../../src/lsm/cursor.ts";
import type { TableStore } from "../../src/lsm/table_store.ts";
import { bytesOf } from "./pebble_rows.ts";
import { settle } from "./pebble_tree.ts";

const BEFORE = -1;
const ON_A_ROW = 0;
const AFTER = 1;

/** A cursor within bounds. */
export class InternalWalk {
  readonly cursor: Cursor;
  readonly #tables: TableStore;
  #lower: Uint8Array | undefined = undefined;
  #upper: Uint8Array | undefined = undefined;
  #place: typeof BEFORE | typeof ON_A_ROW | typeof AFTER = BEFORE;

  constructor(cursor: Cursor, tables: TableStore) {
    this.cursor = cursor;
    this.#tables = tables;
  }

  /** Changes the bounds, inclusive and exclusive; undefined = none. The place stays. */
  setBounds(lower: string | undefined, upper: string | undefined): void {
    this.#lower = lower === undefined ? undefined : bytesOf(lower);
    this.#upper = upper === undefined ? undefined : bytesOf(upper);
  }

  /** Executes `first`, `last`, `next`, `prev`, `seek-ge k` or `seek-lt k`; whether it ended on a row. */
  async run(operation: string): Promise<boolean> {
    const [name, word] = operation.split(" ");
    const key = word === undefined ? undefined : bytesOf(word);
    switch (name) {
      case "first":
        return await this.#forward(this.#lower);
      case "last":
        return await this.#backward(this.#upper);
      case "seek-ge":
        return await this.#forward(
          this.#lower !== undefined && compareBytes(key!, this.#lower) < 0 ? this.#lower : key,
        );
      case "seek-lt":
        return await this.#backward(
          this.#upper !== undefined && compareBytes(key!, this.#upper) > 0 ? this.#upper : key,
        );
      case "next":
        if (this.#place === AFTER) return false;
        if (this.#place === BEFORE) return await this.#forward(this.#lower);
        return this.#arrive(await this.#move(() => this.cursor.next()), AFTER);
      case "prev":
        if (this.#place === BEFORE) return false;
        if (this.#place === AFTER) return await this.#backward(this.#upper);
        return this.#arrive(await this.#move(() => this.cursor.prev()), BEFORE);
      default:
        throw new Error(`no operation of an iterator: ${operation}`);
    }
  }

  async #forward(from: Uint8Array | undefined): Promise<boolean> {
    const { cursor } = this;
    return this.#arrive(await this.#move(() => from === undefined ? cursor.first() : cursor.seekGE(from)), AFTER);
  }

  async #backward(from: Uint8Array | undefined): Promise<boolean> {
    const { cursor } = this;
    return this.#arrive(await this.#move(() => from === undefined ? cursor.last() : cursor.seekLT(from)), BEFORE);
  }

  #move(move: () => Move): Promise<Move> {
    return settle(this.#tables, this.cursor, move);
  }

  #arrive(move: Move, end: typeof BEFORE | typeof AFTER): boolean {
    const { keyBytes, keyStart, keyEnd } = this.cursor;
    const key = move === END ? undefined : keyBytes.slice(keyStart, keyEnd);
    const isInside = move === READY && key !== undefined &&
      (this.#lower === undefined || compareBytes(this.#lower, key) <= 0) &&
      (this.#upper === undefined || compareBytes(key, this.#upper) < 0);
    this.#place = isInside ? ON_A_ROW : end;
    return isInside;
  }
}
