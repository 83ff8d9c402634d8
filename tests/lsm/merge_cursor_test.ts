/**
 * Merge and run cursors against a sorted list of rows: any moves in any order, whatever the cache keeps.
 *
 * @module
 */
import fc from "fast-check";
import { compareBytes } from "../../src/bytes/compare.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "../../src/lsm/cursor.ts";
import { MergeCursor } from "../../src/lsm/merge_cursor.ts";
import { mergeSources, openSources } from "../../src/lsm/row_scan.ts";
import { RunCursor, tableCursor } from "../../src/lsm/run_cursor.ts";
import type { TableStore } from "../../src/lsm/table_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { Dice, internalOrder, makeRows, makeWorld, type ModelRow, now } from "./read_world.ts";

const SEED = 20_260_102;
const RUNS = 120;

function check(name: string, body: (seed: number) => void): void {
  it(`${name} (seed ${SEED})`, () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 1_000_000 }), body), { seed: SEED, numRuns: RUNS });
  });
}

/** Makes a move until it does not wait any more. */
function settle(tables: TableStore, cursor: Cursor, cache: boolean, move: () => Move): Move {
  for (let rounds = 0;; rounds++) {
    const answer = move();
    if (answer !== PENDING) return answer;
    assert.ok(rounds < 100, "a move that never ends");
    const needs: Need[] = [];
    cursor.collectNeeds(needs);
    assert.ok(needs.length > 0, "a pending move that needs nothing");
    now(tables.fetch(needs, { cache }));
  }
}

function rowText(row: ModelRow | undefined): string {
  return row === undefined ? "-" : `${row.key.join(",")}#${row.seq}:${row.flags}:${row.value.join(",")}`;
}

function cursorText(move: Move, cursor: Cursor): string {
  if (move !== READY) return "-";
  const key = cursor.keyBytes.slice(cursor.keyStart, cursor.keyEnd);
  const value = cursor.valueBytes.slice(cursor.valueStart, cursor.valueEnd);
  return `${key.join(",")}#${cursor.seq}:${cursor.flags}:${value.join(",")}`;
}

/** Random moves on `cursor`, which must hold exactly `rows` (in internal order). */
function walk(tables: TableStore, cursor: Cursor, rows: ReadonlyArray<ModelRow>, dice: Dice, steps: number): void {
  const targets = [new Uint8Array(0), Uint8Array.of(0xff, 0xff, 0xff), ...rows.map((row) => row.key)];
  let at = -1;
  for (let step = 0; step < steps; step++) {
    const cache = dice.chance(50);
    const standing = at >= 0 && at < rows.length;
    const kind = standing ? dice.roll(12) : dice.roll(4);
    const chosen = dice.pick(targets);
    const target = dice.chance(30) ? Uint8Array.of(...chosen, 0) : chosen;
    let move: Move;
    if (kind === 0) {
      move = settle(tables, cursor, cache, () => cursor.first());
      at = 0;
    } else if (kind === 1) {
      move = settle(tables, cursor, cache, () => cursor.last());
      at = rows.length - 1;
    } else if (kind === 2) {
      move = settle(tables, cursor, cache, () => cursor.seekGE(target));
      at = rows.findIndex((row) => compareBytes(row.key, target) >= 0);
      if (at < 0) at = rows.length;
    } else if (kind === 3) {
      move = settle(tables, cursor, cache, () => cursor.seekLT(target));
      at = rows.findLastIndex((row) => compareBytes(row.key, target) < 0);
    } else if (kind < 8) {
      move = settle(tables, cursor, cache, () => cursor.next());
      at++;
    } else {
      move = settle(tables, cursor, cache, () => cursor.prev());
      at--;
    }
    assert.equal(cursorText(move, cursor), rowText(rows[at]), `step ${step}, kind ${kind}`);
  }
}

describe("cursors over random databases", () => {
  check("the merge of all sources is the sorted list of rows, walked in any way", (seed) => {
    const world = makeWorld(seed);
    const cursor = mergeSources(openSources(world.view, { lower: undefined, upper: undefined }, Infinity, {}));
    walk(world.tables, cursor, world.rows, new Dice(seed + 1), 60);
  });

  check("RunCursor walks the tables of a run as one list, cut off by visible ranges", (seed) => {
    const world = makeWorld(seed, { seqs: 60 });
    const dice = new Dice(seed + 2);
    for (const run of world.view.runs) {
      const whole = new RunCursor(run.tables, {
        firstWindowBytes: dice.pick([0, 300]),
        readAheadBytes: dice.roll(400),
      });
      const rows: ModelRow[] = [];
      for (const ref of run.tables) {
        const single = tableCursor(ref);
        const own: ModelRow[] = [];
        let move = settle(world.tables, single, false, () => single.first());
        while (move === READY) {
          const key = single.keyBytes.slice(single.keyStart, single.keyEnd);
          const row = world.rows.find((row) => row.seq === single.seq && compareBytes(row.key, key) === 0);
          assert.ok(row !== undefined, "a row that does not exist for the view");
          own.push(row);
          move = settle(world.tables, single, false, () => single.next());
        }
        walk(world.tables, single, own, dice, 15);
        rows.push(...own);
      }
      walk(world.tables, whole, rows, dice, 40);
    }
  });
});

/** A cursor over a list, which asks to be called again now and then. */
class ListCursor implements Cursor {
  keyBytes = new Uint8Array(0);
  keyStart = 0;
  keyEnd = 0;
  keyHi = 0;
  keyLo = 0;
  seq = 0;
  flags = 0;
  createTs = 0;
  expireTs = 0;
  valueBytes = new Uint8Array(0);
  valueStart = 0;
  valueEnd = 0;
  readonly #rows: ReadonlyArray<ModelRow>;
  readonly #dice: Dice;
  #at = 0;
  #waited = false;

  constructor(rows: ReadonlyArray<ModelRow>, dice: Dice) {
    this.#rows = rows;
    this.#dice = dice;
  }

  #go(at: number): Move {
    if (!this.#waited && this.#dice.chance(30)) {
      this.#waited = true;
      this.keyBytes = Uint8Array.of(0xde, 0xad);
      this.keyEnd = 2;
      return PENDING;
    }
    this.#waited = false;
    this.#at = at;
    const row = this.#rows[at];
    if (row === undefined) return END;
    const word = (from: number) =>
      ((row.key[from] ?? 0) << 24 | (row.key[from + 1] ?? 0) << 16 | (row.key[from + 2] ?? 0) << 8 |
        (row.key[from + 3] ?? 0)) ^ -0x80000000;
    Object.assign(this, { keyBytes: row.key, keyEnd: row.key.length, keyHi: word(0), keyLo: word(4) });
    Object.assign(this, { seq: row.seq, flags: row.flags, valueBytes: row.value, valueEnd: row.value.length });
    return READY;
  }

  first(): Move {
    return this.#go(0);
  }
  last(): Move {
    return this.#go(this.#rows.length - 1);
  }
  seekGE(key: Uint8Array): Move {
    const at = this.#rows.findIndex((row) => compareBytes(row.key, key) >= 0);
    return this.#go(at < 0 ? this.#rows.length : at);
  }
  seekLT(key: Uint8Array): Move {
    return this.#go(this.#rows.findLastIndex((row) => compareBytes(row.key, key) < 0));
  }
  next(): Move {
    return this.#go(this.#at + 1);
  }
  prev(): Move {
    return this.#go(this.#at - 1);
  }
  collectNeeds(into: Need[]): void {
    into.push({ key: "again" });
  }
}

describe("MergeCursor", () => {
  const noTables = { fetch: () => undefined } as unknown as TableStore;

  check("merges from none up to thirty sources that wait at random", (seed) => {
    const dice = new Dice(seed + 3);
    const keys = Array.from({ length: 20 }, () => Uint8Array.from({ length: 1 + dice.roll(11) }, () => dice.roll(3)));
    const rows = makeRows(dice, keys, 80, true).sort(internalOrder)
      .filter((row, i, all) => i === 0 || internalOrder(all[i - 1]!, row) !== 0);
    const lists: ModelRow[][] = Array.from({ length: dice.pick([1, 2, 5, 10, 11, 30]) }, () => []);
    for (const row of rows) dice.pick(lists).push(row);
    const cursor = new MergeCursor(lists.map((list) => new ListCursor(list, dice)));
    const again = (move: () => Move): Move => {
      for (;;) {
        const answer = move();
        if (answer !== PENDING) return answer;
        const needs: Need[] = [];
        cursor.collectNeeds(needs);
        assert.ok(needs.length > 0);
      }
    };
    const wrapped: Cursor = new Proxy(cursor, {
      get: (target, field) => {
        const value = Reflect.get(target, field, target);
        return typeof value !== "function" ? value : (...given: never[]) => again(() => value.apply(target, given));
      },
    });
    walk(noTables, wrapped, rows, dice, 80);
  });

  it("has no rows without sources", () => {
    const cursor = new MergeCursor([]);
    assert.equal(cursor.first(), END);
    assert.equal(cursor.last(), END);
    assert.equal(cursor.seekGE(new Uint8Array(0)), END);
    assert.equal(cursor.seekLT(Uint8Array.of(1)), END);
  });
});
