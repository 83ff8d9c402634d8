/**
 * Steps of a cursor per second through the Promise face, each awaited: in both directions, back and forth, and seeks;
 * over one table, a memtable, seven sources, and a table of which a range delete hides half. Beside them the rows per
 * second of a scan over the same rows, taken one by one.
 *
 * Run with `deno run -A bench/cursor_bench.ts` (or Bun, Node). Blocks are in the cache. Figures are medians of five
 * rounds; M/s counts moves. `PHYLLITE_BENCH_SCALE` scales the size (1 = 200,000 rows).
 *
 * @module
 */
import process from "node:process";
import { type Cursor, type Db, open, WriteBatch } from "../mod.ts";
import { memoryStore } from "../src/testing.ts";
import type { Figure } from "./micro.ts";
import { keyOf, makeValues, mix } from "./rows.ts";
import { median } from "./statistics.ts";

const SCALE = Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1);
const ROWS = Math.max(2000, 200_000 * SCALE);
const ROUNDS = 5;
const VALUES = makeValues(100);

/** What the rows lie in. */
type Place = "one table" | "memtable" | "7 sources" | "one table, half of it deleted by a range";

async function load(db: Db, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at += 1000) {
    const batch = new WriteBatch();
    for (let i = at; i < Math.min(to, at + 1000); i++) batch.put(keyOf(mix(i) % 1e9), VALUES[i & 63]!);
    await db.write(batch, { durable: false });
  }
}

async function opened(place: Place): Promise<Db> {
  const db = await open({ store: memoryStore(), path: "" }, {
    compactor: false,
    garbageCollector: false,
    l0SstSizeBytes: 1 << 28,
    maxUnflushedBytes: 1 << 30,
  });
  const parts = place === "7 sources" ? 7 : 1;
  for (let part = 0; part < parts; part++) {
    await load(db, Math.floor((ROWS * part) / parts), Math.floor((ROWS * (part + 1)) / parts));
    if (place !== "memtable" && part < 6) await db.flush({ kind: "memtable" });
  }
  if (place.includes("deleted")) {
    const rows = await db.scan({}, { limit: ROWS }).toArray();
    const [from, to] = [rows[Math.floor(rows.length / 4)]!, rows[Math.floor((3 * rows.length) / 4)]!];
    await db.deleteRange({ gte: from.key, lt: to.key }, { durable: false });
    await db.flush({ kind: "memtable" });
  }
  return db;
}

/** Millions of moves per second; the first round fills the cache and does not count. */
async function rate(body: () => Promise<number>): Promise<number> {
  const figures: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    const moves = await body();
    if (round > 0) figures.push(moves / (performance.now() - start) / 1000);
  }
  return median(figures);
}

async function withCursor(db: Db, body: (cursor: Cursor) => Promise<number>): Promise<number> {
  const cursor = await db.cursor();
  try {
    return await body(cursor);
  } finally {
    await cursor.close();
  }
}

function forwards(db: Db): Promise<number> {
  return withCursor(db, async (cursor) => {
    let moves = 0;
    while (await cursor.next() !== undefined) moves++;
    return moves;
  });
}

function backwards(db: Db): Promise<number> {
  return withCursor(db, async (cursor) => {
    let moves = 0;
    while (await cursor.prev() !== undefined) moves++;
    return moves;
  });
}

/** Every move turns: each positions the sources anew. */
function turns(db: Db): Promise<number> {
  const many = Math.ceil(ROWS / 20);
  return withCursor(db, async (cursor) => {
    await cursor.seekGE(keyOf(500_000_000));
    for (let i = 0; i < many; i++) await (i % 2 === 0 ? cursor.next() : cursor.prev());
    return many;
  });
}

function seeks(db: Db): Promise<number> {
  const many = Math.ceil(ROWS / 20);
  return withCursor(db, async (cursor) => {
    for (let i = 0; i < many; i++) {
      const key = keyOf(mix(i + ROWS) % 1e9);
      await (i % 2 === 0 ? cursor.seekGE(key) : cursor.seekLT(key));
    }
    return many;
  });
}

async function scanned(db: Db): Promise<number> {
  let rows = 0;
  for await (const row of db.scan({}, { cacheBlocks: true })) rows += row.seq > 0 ? 1 : 0;
  return rows;
}

/** Measures everything. */
export async function run(): Promise<Figure[]> {
  const figures: Figure[] = [];
  const places: Place[] = ["one table", "memtable", "7 sources", "one table, half of it deleted by a range"];
  for (const place of places) {
    const db = await opened(place);
    const note = async (what: string, body: (db: Db) => Promise<number>) => {
      figures.push({ name: `cursor: ${what}, ${place}`, value: await rate(() => body(db)), unit: "M/s" });
    };
    await note("next", forwards);
    await note("prev", backwards);
    await note("next and prev in turn", turns);
    await note("seeks", seeks);
    await note("(scan row by row)", scanned);
    await db.close();
  }
  return figures;
}

if (import.meta.main) {
  for (const { name, value, unit } of await run()) {
    console.log(`${name.padEnd(70)} ${value.toFixed(3).padStart(9)} ${unit}`);
  }
}
