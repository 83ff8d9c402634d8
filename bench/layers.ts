/**
 * Scans and gets over a whole tree: a memtable, four level-0 tables and two sorted runs. One contender in this process,
 * started by the comparison.
 *
 * The official binding has no call that compacts, and its compactor decides by itself when and what it merges: the same
 * history would give the two engines different trees. Since both read and write the same format, they get the same
 * files instead. This engine builds the tables and the runs once per comparison, with a scheduler that makes a run of
 * every table; each contender opens a copy with compaction off and writes the last seventh of the rows itself, which
 * stays in its memtable. At the end the stored manifest must still name that tree.
 *
 * Every seventh row lies in the same place and keys are in random order, so that each source has its part in each
 * stretch of a scan. As in the driver's main suite, 20,000 gets bring the blocks into the cache first. Unlike there, full
 * scans are repeated and the median counts: a single one would measure how fast a runtime compiles.
 *
 * @module
 */
import { readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { type CompactionScheduler, open, type OpenOptions, WriteBatch } from "../mod.ts";
import { decodeManifest } from "../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName } from "../src/format/paths.ts";
import type { Contender, Opener } from "./ours.ts";
import { RESULT_MARK } from "./programs.ts";
import { keyOf, makeValues, mix } from "./rows.ts";
import { median } from "./statistics.ts";

/** What to do. */
export interface LayersConfig {
  /** File of the contender's adapter; absent: to build the tables and the runs. */
  readonly adapter?: string;
  /** Folder for the data: empty, or a copy of what was built. */
  readonly dir: string;
  readonly valueBytes: number;
  /** Rows in all. */
  readonly rows: number;
  /** Longest time of one timed case, ms. */
  readonly limitMillis: number;
}

/** Path of the database below the folder. */
const PATH = "layers";
const RUNS = 2;
const L0_TABLES = 4;
/** The memtable is one of them. */
const SOURCES = RUNS + L0_TABLES + 1;
const MEMTABLE_BYTES = 512 * 1024 * 1024;
const BATCH_ROWS = 1000;
const SAMPLE_KEYS = 20_000;
const SHORT_SCAN_ROWS = 100;
/** Full scans in each direction, however long they take. */
const SCANS_MIN = 3;
const PATIENCE_MILLIS = 60_000;

/** Makes a run of whatever is in level 0. */
const EVERY_TABLE_A_RUN: CompactionScheduler = {
  name: "every table a run",
  minL0Sources: 1,
  wholeRuns: true,
  propose: ({ l0, compacted }, active) => {
    if (l0.length === 0 || active.length > 0) return [];
    const destination = (compacted[0]?.id ?? -1) + 1;
    return [{ l0ViewIds: l0.map(({ viewId }) => viewId), runIds: [], destination, effort: "rewrite" }];
  },
};

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** Numbers of the rows of source `part`, oldest source first, in batches. */
function* batchesOf(part: number, rows: number): Generator<number[]> {
  for (let at = part; at < rows; at += BATCH_ROWS * SOURCES) {
    const many = Math.min(BATCH_ROWS, Math.ceil((rows - at) / SOURCES));
    yield Array.from({ length: many }, (_, i) => at + i * SOURCES);
  }
}

async function build({ dir, rows, valueBytes }: LayersConfig): Promise<Record<string, number>> {
  const values = makeValues(valueBytes);
  const place = join(dir, PATH);
  const settings: OpenOptions = {
    garbageCollector: false,
    l0SstSizeBytes: MEMTABLE_BYTES,
    maxUnflushedBytes: 4 * MEMTABLE_BYTES,
  };
  let db = await open(place, { ...settings, compactor: { scheduler: EVERY_TABLE_A_RUN } });
  for (let part = 0; part < RUNS + L0_TABLES; part++) {
    if (part === RUNS) {
      await db.close();
      db = await open(place, { ...settings, compactor: false });
    }
    for (const numbers of batchesOf(part, rows)) {
      const batch = new WriteBatch();
      for (const i of numbers) batch.put(keyOf(i), values[i & 63]!);
      await db.write(batch, { durable: false });
    }
    await db.flush({ kind: "memtable" });
    const patience = performance.now() + PATIENCE_MILLIS;
    while (part < RUNS && (await db.tables()).runs.length <= part) {
      if (performance.now() > patience) throw new Error("level 0 did not become a run");
      await sleep(10);
    }
  }
  await db.close();
  assertTree(dir);
  return {};
}

/** The newest stored manifest must name four level-0 tables and two runs. */
function assertTree(dir: string): void {
  const place = join(dir, PATH);
  const numbers = readdirSync(join(place, "manifest")).flatMap((name) => parseNumberedName(name) ?? []);
  const { manifest } = decodeManifest(readFileSync(manifestPath(place, Math.max(...numbers))));
  if (manifest.l0.length === L0_TABLES && manifest.compacted.length === RUNS) return;
  throw new Error(`the tree has ${manifest.l0.length} level-0 tables and ${manifest.compacted.length} runs`);
}

/** Operations one by one until the time is over; answers their times, ms, ascending. */
async function timed(limitMillis: number, most: number, operation: (i: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  const started = performance.now();
  for (let before = started; times.length < most && before - started < limitMillis;) {
    await operation(times.length);
    const now = performance.now();
    times.push(now - before);
    before = now;
  }
  return times.sort((a, b) => a - b);
}

function percentiles(name: string, sorted: readonly number[]): Record<string, number> {
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]! * 1000;
  const millis = sorted.reduce((sum, time) => sum + time, 0);
  return {
    [`${name}_ops`]: sorted.length / millis * 1000,
    [`${name}_p50us`]: at(0.5),
    [`${name}_p99us`]: at(0.99),
  };
}

/** Rows per second of a walk over everything: the median of several. */
async function fullScan(db: Contender, config: LayersConfig, isReverse: boolean): Promise<number> {
  const { rows, limitMillis } = config;
  const rates: number[] = [];
  const until = performance.now() + limitMillis;
  while (rates.length < SCANS_MIN || performance.now() < until) {
    const started = performance.now();
    const found = await db.scan(undefined, undefined, Infinity, isReverse);
    if (found !== rows) throw new Error(`a scan found ${found} of ${rows} rows`);
    rates.push(rows / (performance.now() - started) * 1000);
  }
  return median(rates);
}

async function measure(adapterFile: string, config: LayersConfig): Promise<Record<string, number>> {
  const { dir, rows, valueBytes, limitMillis } = config;
  const adapter = await import(pathToFileURL(adapterFile).href) as { create(): Promise<Opener> };
  const opener = await adapter.create();
  await opener.store({ kind: "file", dir });
  const db = await opener.open({ path: PATH, noCompaction: true, l0Bytes: MEMTABLE_BYTES });
  const values = makeValues(valueBytes);
  for (const numbers of batchesOf(SOURCES - 1, rows)) {
    await db.batch(numbers.map(keyOf), numbers.map((i) => values[i & 63]!));
  }
  const present = Array.from({ length: SAMPLE_KEYS }, (_, i) => keyOf(mix(i) % rows));
  const missing = Array.from({ length: SAMPLE_KEYS }, (_, i) => keyOf(4 * rows + mix(i) % rows));
  for (const key of present) if ((await db.get(key))?.length !== valueBytes) throw new Error("a row is gone");
  const forward = await fullScan(db, config, false);
  const backward = await fullScan(db, config, true);
  const scans = await timed(limitMillis, SAMPLE_KEYS, (i) => {
    return db.scan(present[i % SAMPLE_KEYS]!, undefined, SHORT_SCAN_ROWS, false);
  });
  const gets = await timed(limitMillis, 10 * SAMPLE_KEYS, (i) => db.get(present[i % SAMPLE_KEYS]!));
  const misses = await timed(limitMillis, 10 * SAMPLE_KEYS, (i) => db.get(missing[i % SAMPLE_KEYS]!));
  assertTree(dir);
  await db.close();
  return {
    layers_scan_fwd_entries: forward,
    layers_scan_rev_entries: backward,
    ...percentiles("layers_scan100", scans),
    ...percentiles("layers_get", gets),
    ...percentiles("layers_get_missing", misses),
  };
}

const config = JSON.parse(process.argv[2]!) as LayersConfig;
const results = config.adapter === undefined ? await build(config) : await measure(config.adapter, config);
writeSync(1, `\n${RESULT_MARK}${JSON.stringify(results)}\n`);
process.exit(0);
