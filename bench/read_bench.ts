/**
 * How fast the read structures are by themselves: lookups and scans over one table, and over several sources, without
 * the public API around them. Everything is in memory; nothing waits.
 *
 * Run with `deno run -A bench/read_bench.ts` (or Bun, Node). Figures are medians of five rounds; M/s counts operations
 * or rows.
 *
 * @module
 */
import { Effect } from "effect";
import type { Entry } from "../src/db/api.ts";
import { tablePath } from "../src/format/paths.ts";
import { SstBuilder } from "../src/format/sst_builder.ts";
import { FLAG_CREATE, NO_EXPIRY, type SstView } from "../src/format/types.ts";
import { BlockCache } from "../src/lsm/block_cache.ts";
import { READY } from "../src/lsm/cursor.ts";
import { FULL_RANGE, type ScanRange } from "../src/lsm/key_range.ts";
import { fetchLookup, FOUND, PointLookup } from "../src/lsm/lookup.ts";
import type { LsmView } from "../src/lsm/lsm_view.ts";
import { Memtable } from "../src/lsm/memtable.ts";
import { ResultSlab } from "../src/lsm/result_slab.ts";
import { fetchRows, RowScan } from "../src/lsm/row_scan.ts";
import { TableRef } from "../src/lsm/table_ref.ts";
import { TableStore } from "../src/lsm/table_store.ts";
import { emptyRow, type ReadSpec } from "../src/lsm/version_fold.ts";
import { memoryStore } from "../src/store/memory_store.ts";
import type { Figure } from "./micro.ts";
import { median } from "./statistics.ts";

const ROWS = 200_000;
const KEY_BYTES = 16;
const VALUE_BYTES = 100;
const ROUNDS = 5;

/** Random keys: 16 bytes of a multiplicative hash of their number. */
function keyOf(n: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  let x = n + 1;
  for (let i = 0; i < KEY_BYTES; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) >>> 0;
    x = (x ^ (x >>> 12) ^ i) >>> 0;
    key[i] = x >>> 24;
  }
  return key;
}

function byteOrder(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < KEY_BYTES; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** Every `share`-th key goes to source `part`. */
function keysOf(part: number, share: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let n = part; n < ROWS; n += share) keys.push(keyOf(n));
  return keys.sort(byteOrder);
}

function buildTable(store: ReturnType<typeof memoryStore>, id: string, keys: ReadonlyArray<Uint8Array>): SstView {
  const builder = new SstBuilder({ blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 });
  const value = new Uint8Array(VALUE_BYTES).fill(7);
  for (const key of keys) {
    builder.add(key, 0, KEY_BYTES, 1, FLAG_CREATE, 1_700_000_000_000, NO_EXPIRY, value, 0, VALUE_BYTES);
  }
  const built = builder.finish();
  const body = new Uint8Array(built.sizeBytes);
  let at = 0;
  for (const chunk of built.chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  store.plant(tablePath("", id), body);
  return { viewId: id, sstId: id, info: built.info, visibleRange: undefined, formatVersion: 2 };
}

/** Millions per second. */
function rate(count: number, body: () => void): number {
  const figures: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    body();
    if (round > 0) figures.push(count / (performance.now() - start) / 1000);
  }
  return median(figures);
}

const SPEC: ReadSpec = { maxSeq: Number.MAX_SAFE_INTEGER, nowMillis: 1_700_000_000_000, mergeOperator: undefined };

function lookups(view: LsmView, keys: ReadonlyArray<Uint8Array>, expected: number): number {
  const lookup = new PointLookup(new ResultSlab());
  const out = emptyRow();
  return rate(keys.length, () => {
    let found = 0;
    for (const key of keys) if (lookup.tryGet(view, key, SPEC, out) === FOUND) found++;
    if (found !== expected) throw new Error(`${found} keys found, ${expected} expected`);
  });
}

function scanAll(tables: TableStore, view: LsmView, order: "ascending" | "descending"): number {
  return rate(ROWS, () => {
    const scan = new RowScan(view, FULL_RANGE, SPEC, { order });
    let rows = 0;
    for (;;) {
      const batch: Entry[] = [];
      const move = Effect.runSync(fetchRows(tables, scan, batch, 256, { cache: true }));
      rows += batch.length;
      if (move !== READY) break;
    }
    if (rows !== ROWS) throw new Error(`${rows} rows`);
  });
}

function shortScans(view: LsmView, keys: ReadonlyArray<Uint8Array>): number {
  const slab = new ResultSlab();
  const scans = 5_000;
  const rated = rate(scans, () => {
    for (let i = 0; i < scans; i++) {
      const range: ScanRange = { ...FULL_RANGE, start: keys[(i * 7919) % keys.length]! };
      const scan = new RowScan(view, range, SPEC, { expectedRows: 100, slab });
      const rows: Entry[] = [];
      if (scan.fill(rows, 100) === READY && rows.length !== 100) throw new Error(`${rows.length} rows`);
    }
  });
  return 1 / rated;
}

function memtableOf(keys: ReadonlyArray<Uint8Array>): Memtable {
  const memtable = new Memtable();
  const value = new Uint8Array(VALUE_BYTES).fill(7);
  for (const key of keys) {
    memtable.insert(key, 0, KEY_BYTES, 2, FLAG_CREATE, 1_700_000_000_000, NO_EXPIRY, value, 0, VALUE_BYTES);
  }
  return memtable;
}

function shuffled(count: number, from: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => keyOf(from + (i * 104_729) % ROWS));
}

/** Measures everything; about ten seconds. */
export function run(): Figure[] {
  const store = memoryStore();
  const tables = new TableStore({ store, root: "", cache: new BlockCache({ blockBytes: 512 * 1024 * 1024 }) });
  let ids = 0;
  const ref = (keys: ReadonlyArray<Uint8Array>): TableRef => {
    const view = buildTable(store, String(++ids).padStart(26, "0"), keys);
    return new TableRef(tables.table(view), view);
  };
  const one: LsmView = { memtables: [], l0: [ref(keysOf(0, 1))], runs: [] };
  const many: LsmView = {
    memtables: [memtableOf(keysOf(0, 7))],
    l0: [1, 2, 3, 4].map((part) => ref(keysOf(part, 7))),
    runs: [5, 6].map((part) => ({ id: 7 - part, tables: [ref(keysOf(part, 7))] })),
  };
  const memory: LsmView = { memtables: [memtableOf(keysOf(0, 1))], l0: [], runs: [] };
  const present = shuffled(100_000, 0);
  const absent = shuffled(100_000, ROWS);
  for (const view of [one, many]) {
    for (let n = 0; n < ROWS; n += 10) {
      Effect.runSync(fetchLookup(tables, view, keyOf(n), SPEC, { cache: true }));
    }
    scanAll(tables, view, "ascending");
  }
  const sorted = keysOf(0, 1).slice(0, ROWS - 1000);
  return [
    { name: "get, one table, warm", unit: "M/s", value: lookups(one, present, present.length) },
    { name: "get missing, one table", unit: "M/s", value: lookups(one, absent, 0) },
    { name: "get, memtable + 4 L0 + 2 runs, warm", unit: "M/s", value: lookups(many, present, present.length) },
    { name: "get missing, memtable + 4 L0 + 2 runs", unit: "M/s", value: lookups(many, absent, 0) },
    { name: "get, memtable", unit: "M/s", value: lookups(memory, present, present.length) },
    { name: "scan all, one table, ascending", unit: "M/s", value: scanAll(tables, one, "ascending") },
    { name: "scan all, one table, descending", unit: "M/s", value: scanAll(tables, one, "descending") },
    { name: "scan all, memtable, ascending", unit: "M/s", value: scanAll(tables, memory, "ascending") },
    { name: "scan all, 7 sources, ascending", unit: "M/s", value: scanAll(tables, many, "ascending") },
    { name: "scan all, 7 sources, descending", unit: "M/s", value: scanAll(tables, many, "descending") },
    { name: "scan of 100 rows, one table, warm", unit: "us", value: shortScans(one, sorted) },
    { name: "scan of 100 rows, memtable", unit: "us", value: shortScans(memory, sorted) },
    { name: "scan of 100 rows, 7 sources, warm", unit: "us", value: shortScans(many, sorted) },
  ];
}

if (import.meta.main) {
  for (const { name, value, unit } of run()) {
    console.log(`${name.padEnd(40)} ${value.toFixed(2).padStart(9)} ${unit}`);
  }
}
