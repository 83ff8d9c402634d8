/**
 * Speed of the memory part: memtable, write batches, WAL objects and table files made of them.
 *
 * Keys have 16 bytes: random bytes, `user` and 12 random digits, or ascending numbers; values have 100 bytes. Keys lie
 * in one large array, so that the figures are about the memtable and not about a million key objects. Best of several
 * rounds, each with a memtable of its own.
 *
 * @module
 */
import process from "node:process";
import { WriteBatch } from "../src/db/write_batch.ts";
import { NO_EXPIRY } from "../src/format/types.ts";
import { END } from "../src/lsm/cursor.ts";
import { Memtable } from "../src/lsm/memtable.ts";
import { TableWriter } from "../src/lsm/table_writer.ts";
import { WalBuffer, WalObjectWriter } from "../src/state/wal_buffer.ts";
import type { Figure } from "./micro.ts";

const ROWS = Math.max(10_000, Math.round(1_000_000 * Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1)));
const TABLE_ROWS = Math.min(ROWS, 500_000);
const KEY_BYTES = 16;
const VALUE = new Uint8Array(100).fill(120);
const CREATED = 1_795_244_737_377;
const ROUNDS = 3;
const ENCODING = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 } as const;

type KeyStyle = "random" | "user" | "ascending";

/** All keys, one after the other; with `salt` 1 keys of which (almost) none is among those with salt 0. */
function makeKeys(style: KeyStyle, salt: number): Uint8Array {
  const keys = new Uint8Array(ROWS * KEY_BYTES);
  let state = 0x2545f491 + salt;
  const random = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  for (let i = 0; i < ROWS; i++) {
    const at = i * KEY_BYTES;
    if (style === "random") {
      for (let j = 0; j < KEY_BYTES; j++) keys[at + j] = random() >>> 8;
      continue;
    }
    keys.set([117, 115, 101, 114], at);
    let rest = style === "user" ? random() * 200 + random() % 200 : i * 2 + salt;
    for (let j = KEY_BYTES - 1; j >= 4; j--, rest = Math.floor(rest / 10)) keys[at + j] = 48 + rest % 10;
  }
  return keys;
}

function fill(keys: Uint8Array, rows: number): Memtable {
  const table = new Memtable();
  for (let i = 0, at = 0; i < rows; i++, at += KEY_BYTES) {
    table.insert(keys, at, at + KEY_BYTES, i + 1, 0, CREATED, NO_EXPIRY, VALUE, 0, VALUE.length);
  }
  return table;
}

/** Seconds of the fastest round. */
function fastest(round: () => void): number {
  let best = Infinity;
  for (let i = 0; i < ROUNDS; i++) {
    const started = performance.now();
    round();
    best = Math.min(best, performance.now() - started);
  }
  return best / 1000;
}

/** How many of the keys are found, looked for in an order of its own. */
function findAll(table: Memtable, keys: Uint8Array): number {
  let found = 0;
  const key = new Uint8Array(KEY_BYTES);
  for (let i = 0, at = 0; i < ROWS; i++) {
    at = (at + 7919 * KEY_BYTES) % keys.length;
    for (let j = 0; j < KEY_BYTES; j++) key[j] = keys[at + j]!;
    if (table.find(key, Infinity) >= 0) found++;
  }
  return found;
}

function walk(table: Memtable): number {
  const cursor = table.cursor();
  let rows = 0;
  for (let move = cursor.first(); move !== END; move = cursor.next()) rows++;
  return rows;
}

function walkBack(table: Memtable): number {
  const cursor = table.cursor();
  let rows = 0;
  for (let move = cursor.last(); move !== END; move = cursor.prev()) rows++;
  return rows;
}

function expectRows(what: string, rows: number, atLeast: number, atMost: number): void {
  if (rows < atLeast || rows > atMost) throw new Error(`${what}: ${rows} rows, ${atLeast}..${atMost} expected`);
}

function memtableFigures(style: KeyStyle): Figure[] {
  const keys = makeKeys(style, 0);
  const others = makeKeys(style, 1);
  const figures: Figure[] = [];
  const add = (name: string, seconds: number): void => {
    figures.push({ name: `memtable: ${name}, ${style} keys`, value: ROWS / seconds / 1e6, unit: "M/s" });
  };
  let table = new Memtable();
  add("put", fastest(() => table = fill(keys, ROWS)));
  expectRows("put", table.entryCount, ROWS, ROWS);
  add("get", fastest(() => expectRows("get", findAll(table, keys), ROWS, ROWS)));
  add("get of a missing key", fastest(() => expectRows("miss", findAll(table, others), 0, ROWS / 100)));
  add("next", fastest(() => expectRows("next", walk(table), ROWS, ROWS)));
  add("prev", fastest(() => expectRows("prev", walkBack(table), ROWS, ROWS)));
  if (style === "random") {
    figures.push({ name: "memtable: memory per row", value: table.memoryBytes / ROWS, unit: "B" });
  }
  return figures;
}

/** Bytes as a user counts them, for `rows` rows. */
const megabytes = (rows: number): number => rows * (KEY_BYTES + VALUE.length) / 1e6;

function fileFigures(): Figure[] {
  const table = fill(makeKeys("random", 0), TABLE_ROWS);
  const rules = { minSeq: Infinity, tick: CREATED, dropTombstones: false, merge: undefined };
  let longest = 0;
  const flush = fastest(() => {
    const writer = new TableWriter(table.cursor(), ENCODING, rules);
    longest = 0;
    for (let more = true; more;) {
      const started = performance.now();
      more = writer.step(4096);
      longest = Math.max(longest, performance.now() - started);
    }
    if (writer.finish()!.info.lastEntry === undefined) throw new Error("an empty table was written");
  });
  const wal = fastest(() => {
    const buffer = new WalBuffer();
    buffer.append(table, 0, TABLE_ROWS, TABLE_ROWS, CREATED, 0);
    if (new WalObjectWriter(buffer.freeze(1)!, ENCODING).finish().length < TABLE_ROWS * 100) {
      throw new Error("a short WAL object");
    }
  });
  return [
    { name: "table from a memtable", value: megabytes(TABLE_ROWS) / flush, unit: "MB/s" },
    { name: "table from a memtable: longest slice", value: longest, unit: "ms" },
    { name: "WAL object from a memtable", value: megabytes(TABLE_ROWS) / wal, unit: "MB/s" },
  ];
}

function batchFigures(size: number): Figure {
  const keys = makeKeys("random", 0);
  const parts = Array.from({ length: 50_000 }, (_, i) => keys.slice(i * KEY_BYTES, (i + 1) * KEY_BYTES));
  const seconds = fastest(() => {
    const table = new Memtable();
    for (let at = 0, seq = 1; at < parts.length; at += size, seq++) {
      const batch = new WriteBatch();
      for (let i = at; i < at + size; i++) batch.put(parts[i]!, VALUE);
      batch.clone().plan(CREATED, Infinity, undefined, undefined).insertInto(table, seq);
    }
    expectRows("batch", table.entryCount, parts.length, parts.length);
  });
  return { name: `batch of ${size}: fill, fold and insert`, value: parts.length / seconds / 1e6, unit: "M rows/s" };
}

/** All figures of this file. */
export function run(): Figure[] {
  const styles: readonly KeyStyle[] = ["random", "user", "ascending"];
  return [...styles.flatMap(memtableFigures), ...fileFigures(), batchFigures(100), batchFigures(1000)];
}

if (import.meta.main) {
  for (const { name, value, unit } of run()) console.log(`${name.padEnd(50)} ${value.toFixed(2).padStart(9)} ${unit}`);
}
