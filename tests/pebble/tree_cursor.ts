/**
 * The engine's two-way cursor over a tree.
 *
 * @module
 */
import { Effect } from "effect";
import type { Entry } from "../../src/db/api.ts";
import { type Move, type Need, PENDING, READY } from "../../src/lsm/cursor.ts";
import {
  type CursorTask,
  RowCursor,
  TO_FIRST,
  TO_GE,
  TO_LAST,
  TO_LT,
  TO_NEXT,
  TO_PREV,
} from "../../src/lsm/row_cursor.ts";
import type { TableStore } from "../../src/lsm/table_store.ts";
import { bytesOf } from "./pebble_rows.ts";
import { type PebbleTree, readBelow } from "./pebble_tree.ts";
import type { TwoWayCursor, WalkBounds } from "./user_walk.ts";

/** A cursor of a read that sees numbers below `seq`. */
export function openTreeCursor(tree: PebbleTree, seq: number, { lower, upper }: WalkBounds): TwoWayCursor {
  const range = {
    start: lower === undefined ? undefined : bytesOf(lower),
    startInclusive: true,
    end: upper === undefined ? undefined : bytesOf(upper),
    endInclusive: false,
  };
  return new TreeCursor(new RowCursor(tree.view, range, readBelow(seq)), tree.tables);
}

/** Fetches what a cursor waits for. */
class TreeCursor implements TwoWayCursor {
  readonly #rows: RowCursor;
  readonly #tables: TableStore;

  constructor(rows: RowCursor, tables: TableStore) {
    this.#rows = rows;
    this.#tables = tables;
  }

  first(): Promise<Entry | undefined> {
    return this.#move(TO_FIRST);
  }

  last(): Promise<Entry | undefined> {
    return this.#move(TO_LAST);
  }

  next(): Promise<Entry | undefined> {
    return this.#move(TO_NEXT);
  }

  prev(): Promise<Entry | undefined> {
    return this.#move(TO_PREV);
  }

  seekGE(key: Uint8Array): Promise<Entry | undefined> {
    return this.#move(TO_GE, key);
  }

  seekLT(key: Uint8Array): Promise<Entry | undefined> {
    return this.#move(TO_LT, key);
  }

  async #move(task: CursorTask, key?: Uint8Array): Promise<Entry | undefined> {
    const rows = this.#rows;
    let move: Move = rows.move(task, key);
    while (move === PENDING) {
      const needs: Need[] = [];
      rows.collectNeeds(needs);
      if (needs.length > 0) await Effect.runPromise(this.#tables.fetch(needs, { cache: true }));
      move = rows.resume();
    }
    return move === READY ? rows.entry : undefined;
  }
}
