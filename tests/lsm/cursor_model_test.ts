/**
 * Two-way cursors against the naive model, over random databases and random moves.
 *
 * @module
 */
import fc from "fast-check";
import type { Effect } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Entry } from "../../src/db/api.ts";
import { NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { END, type Need, PENDING, READY } from "../../src/lsm/cursor.ts";
import { FULL_RANGE, rangeContains, type ScanRange } from "../../src/lsm/key_range.ts";
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
import type { ReadSpec } from "../../src/lsm/version_fold.ts";
import { assert, describe, it } from "../support/suite.ts";
import { concat, Dice, makeWorld, modelScan, now, show, type World } from "./read_world.ts";

const SEED = 20_260_401;
const RUNS = 110;
const MOVES = 60;
const NAMES = ["", "first", "last", "next", "prev", "seekGE", "seekLT"];

/** Where the model stands: -1 before the first row, `rows.length` after the last, undefined on a fresh cursor. */
class ModelCursor {
  readonly rows: ReadonlyArray<Entry>;
  at: number | undefined = undefined;

  constructor(rows: ReadonlyArray<Entry>) {
    this.rows = rows;
  }

  move(task: CursorTask, key: Uint8Array): Entry | undefined {
    const count = this.rows.length;
    const at = this.at;
    const below = this.rows.filter((row) => compareBytes(row.key, key) < 0).length;
    this.at = task === TO_FIRST
      ? (count === 0 ? count : 0)
      : task === TO_LAST
      ? count - 1
      : task === TO_NEXT
      ? Math.min(count, (at ?? -1) + 1)
      : task === TO_PREV
      ? Math.max(-1, (at ?? count) - 1)
      : task === TO_GE
      ? below
      : below - 1;
    return this.rows[this.at];
  }
}

/** The span of keys that the model's move says something about, in words of the model's rows. */
interface Looked {
  readonly lower: Uint8Array | undefined;
  readonly upper: Uint8Array | undefined;
}

class Driven {
  readonly world: World;
  readonly dice: Dice;
  cursor: RowCursor;
  looked: Looked | undefined = undefined;
  readonly #range: ScanRange;
  readonly #spec: ReadSpec;

  constructor(world: World, dice: Dice, range: ScanRange, spec: ReadSpec) {
    this.world = world;
    this.dice = dice;
    this.#range = range;
    this.#spec = spec;
    this.cursor = new RowCursor(world.view, range, spec, { traces: true });
  }

  /** Makes a move as an engine would: some are given up while they wait, some meet an exchange of the view. */
  move(task: CursorTask, key: Uint8Array): Entry | undefined {
    const { dice, world } = this;
    const cache = dice.chance(50);
    if (dice.chance(10) && this.cursor.move(dice.pick([1, 2, 3, 4, 5, 6]), dice.pick(world.keys)) !== PENDING) {
      // It was answered: put the cursor back.
      this.reopen();
    }
    const before = this.before;
    let move = this.cursor.move(task, key);
    while (move === PENDING) {
      const needs: Need[] = [];
      this.cursor.collectNeeds(needs);
      if (dice.chance(5)) {
        this.cursor = new RowCursor(world.view, this.#range, this.#spec, { traces: true, at: this.cursor.at });
        assert.equal(`${this.cursor.at.place} ${this.cursor.at.key}`, `${before.place} ${before.key}`);
        move = this.cursor.move(task, key);
        continue;
      }
      now(world.tables.fetch(needs, { cache, purpose: "scan" }) as Effect.Effect<void, never>);
      move = this.cursor.resume();
    }
    this.looked = undefined;
    this.cursor.looked((lower, upper) => this.looked = { lower, upper });
    this.before = this.cursor.at;
    if (move === END) assert.equal(this.cursor.entry, undefined);
    return move === READY ? this.cursor.entry : undefined;
  }

  before: RowCursor["at"] = { place: 0, key: new Uint8Array(0) };

  reopen(): void {
    this.cursor = new RowCursor(this.world.view, this.#range, this.#spec, { traces: true, at: this.before });
  }
}

function anyKey(dice: Dice, world: World): Uint8Array {
  if (dice.chance(70)) return dice.pick(world.keys);
  return Uint8Array.from({ length: 1 + dice.roll(9) }, () => dice.roll(256));
}

function anyRange(dice: Dice, world: World): ScanRange {
  if (dice.chance(40)) return FULL_RANGE;
  const [low, high] = [anyKey(dice, world), anyKey(dice, world)].sort(compareBytes) as [Uint8Array, Uint8Array];
  return {
    start: dice.chance(20) ? undefined : low,
    startInclusive: dice.chance(60),
    end: dice.chance(20) ? undefined : high,
    endInclusive: dice.chance(50),
  };
}

function anySpec(dice: Dice, world: World): ReadSpec {
  return {
    maxSeq: dice.chance(40) ? world.maxSeq : dice.roll(world.maxSeq + 1),
    nowMillis: dice.chance(50) ? -Infinity : 1100 + dice.roll(700),
    mergeOperator: concat,
  };
}

function anyTask(dice: Dice): CursorTask {
  return dice.pick([
    TO_FIRST,
    TO_LAST,
    TO_NEXT,
    TO_NEXT,
    TO_NEXT,
    TO_NEXT,
    TO_PREV,
    TO_PREV,
    TO_PREV,
    TO_PREV,
    TO_GE,
    TO_LT,
  ]);
}

/** A row of its own memory: the caller may write into what it was given. */
function taken(entry: Entry | undefined): string {
  const text = show(entry);
  entry?.key.fill(0xee);
  entry?.value.fill(0xee);
  return text;
}

describe("RowCursor", () => {
  it(`goes like the model through any moves (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const world = makeWorld(seed, { ranges: seed % 3 !== 0 });
        const dice = new Dice(seed + 1);
        const spec = anySpec(dice, world);
        const range = anyRange(dice, world);
        const rows = modelScan(world.rows, spec, world.ranges).filter((row) => rangeContains(range, row.key));
        const model = new ModelCursor(rows);
        const driven = new Driven(world, dice, range, spec);
        const script: string[] = [];
        for (let i = 0; i < MOVES; i++) {
          const task = anyTask(dice);
          const key = anyKey(dice, world);
          const wasAt = model.at;
          script.push(`${NAMES[task]} ${task >= TO_GE ? key.join(",") : ""}`);
          const expected = model.move(task, key);
          same(taken(driven.move(task, key)), show(expected), script);
          checkLooked(driven, model, wasAt, expected, script);
        }
      }),
      { seed: SEED, numRuns: RUNS },
    );
  });

  it("does not see what is written after its moment, while the memtable under it grows", () => {
    const world = makeWorld(5, { keys: 30, seqs: 60, clips: false, ranges: true });
    const spec: ReadSpec = { maxSeq: world.maxSeq, nowMillis: -Infinity, mergeOperator: concat };
    const dice = new Dice(9);
    const driven = new Driven(world, dice, FULL_RANGE, spec);
    const model = new ModelCursor(modelScan(world.rows, spec, world.ranges));
    const memtable = world.view.memtables[0]!;
    for (let i = 1; i <= 600; i++) {
      const key = anyKey(dice, world);
      memtable.insert(key, 0, key.length, world.maxSeq + i, 0, NO_TICK, NO_EXPIRY, key, 0, key.length);
      if (i % 20 === 0) memtable.insertRange({ start: key, end: undefined, seq: world.maxSeq + i, createTs: 0 });
      const task = anyTask(dice);
      const to = anyKey(dice, world);
      const expected = model.move(task, to);
      assert.equal(taken(driven.move(task, to)), show(expected), `move ${i}: ${NAMES[task]}`);
    }
  });
});

/** Fails with the moves made so far. */
function same(actual: string, expected: string, script: ReadonlyArray<string>): void {
  if (actual !== expected) assert.equal(actual, expected, script.join("\n"));
}

/** What the move looked at lies between where it began and its answer, borders included, and holds no other row. */
function checkLooked(
  driven: Driven,
  model: ModelCursor,
  wasAt: number | undefined,
  expected: Entry | undefined,
  script: ReadonlyArray<string>,
): void {
  const { looked } = driven;
  if (looked === undefined) return same(show(expected), "-", script);
  const { lower, upper } = looked;
  const inside = model.rows.filter((row) =>
    (lower === undefined || compareBytes(lower, row.key) <= 0) &&
    (upper === undefined || compareBytes(row.key, upper) < 0)
  );
  same(inside.map(show).join(" "), expected === undefined ? "" : show(expected), script);
  // A step looks at everything between two rows.
  const last = script.at(-1)!;
  const from = wasAt === undefined ? undefined : model.rows[wasAt]?.key;
  if (from === undefined) return;
  if (last.startsWith("next")) same(`${lower}`, `${from},0`, script);
  if (last.startsWith("prev")) same(`${upper}`, `${from}`, script);
}
