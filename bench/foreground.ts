/**
 * How long reads take while tables are compacted: one contender in this process, started by the comparison.
 *
 * Gets of keys whose blocks are cached arrive at a steady rate, whatever becomes of those before. Each is timed from
 * the moment it was due, so that a thread that is busy with something else counts as what it is: a wait. Reads whose
 * answer is in memory would else never notice. The platform's timers, a millisecond at best, are part of every figure,
 * of all contenders alike; the same reads without a compaction show how much that is.
 *
 * Three tables are written with compaction off; after a reopen and a pass over the keys, the fourth sets a compaction of
 * all of them off, or small ones after it where four do not. Only reads between two looks that both saw it running count.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";
import type { Contender, Opener } from "./ours.ts";
import { RESULT_MARK } from "./programs.ts";
import { KEY_BYTES, keyOf, makeValues, mix } from "./rows.ts";

/** What to measure. */
export interface ForegroundConfig {
  /** File of the contender's adapter. */
  readonly adapter: string;
  /** Folder for its data. */
  readonly dir: string;
  readonly valueBytes: number;
  /** User bytes in all four tables, MB. */
  readonly megabytes: number;
}

/** Level-0 tables that set a compaction off, in both engines. */
const TABLES = 4;
/** Time between two reads, ms. */
const PERIOD_MILLIS = 1;
const WARM_KEYS = 2000;
/** Time between two looks whether the compaction runs, ms: a look is not free in every engine. */
const LOOK_MILLIS = 100;
const QUIET_MILLIS = 1500;
/** Longest time that a compaction is looked at, ms. */
const PATIENCE_MILLIS = 60_000;
/** Time that a compaction has to begin in before another table is added, ms. */
const BEGIN_MILLIS = 500;
const MORE_TABLES = 8;
const SMALL_ROWS = 1000;
const MEMTABLE_BYTES = 512 * 1024 * 1024;

/** Times of reads, ms. */
interface Times {
  /** From the moment a read was due to its answer. */
  readonly waits: number[];
  /** From its call to its answer. */
  readonly calls: number[];
}

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** Some adapters' own `compacting` tells nothing of the kind. */
const isCompacting = (db: Contender): boolean => (db.metrics()["slatedb.compactor.running_compactions"] ?? 0) > 0;

async function load(db: Contender, from: number, to: number, values: readonly Uint8Array[]): Promise<void> {
  for (let at = from; at < to; at += 1000) {
    const indexes = Array.from({ length: Math.min(1000, to - at) }, (_, j) => at + j);
    await db.batch(indexes.map(keyOf), indexes.map((i) => values[i & 63]!));
  }
}

/** Reads arrive until `goesOn`, asked now and then, says no; what arrived since it last said yes is left out. */
async function readSteadily(db: Contender, keys: readonly Uint8Array[], goesOn: () => boolean): Promise<Times> {
  const counted: Times = { waits: [], calls: [] };
  let recent: Times = { waits: [], calls: [] };
  let inFlight = 0;
  let trouble: unknown = undefined;
  const read = async (due: number, key: Uint8Array, into: Times): Promise<void> => {
    const called = performance.now();
    inFlight++;
    const value = await db.get(key);
    const answered = performance.now();
    inFlight--;
    if (value === undefined) throw new Error("a row is gone");
    into.waits.push(answered - due);
    into.calls.push(answered - called);
  };
  let due = performance.now() + PERIOD_MILLIS;
  let look = due + LOOK_MILLIS;
  for (let i = 0; trouble === undefined;) {
    await sleep(Math.max(0, due - performance.now()));
    for (const now = performance.now(); due <= now; due += PERIOD_MILLIS) {
      read(due, keys[i++ % keys.length]!, recent).catch((error) => trouble = error);
    }
    if (due < look) continue;
    while (inFlight > 0) await sleep(0);
    if (!goesOn()) break;
    counted.waits.push(...recent.waits);
    counted.calls.push(...recent.calls);
    recent = { waits: [], calls: [] };
    // Looking took time, in which nothing was due.
    due = performance.now() + PERIOD_MILLIS;
    look = due + LOOK_MILLIS;
  }
  if (trouble !== undefined) throw trouble;
  return counted;
}

function percentiles(name: string, times: readonly number[]): Record<string, number> {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]! * 1000;
  return { [`${name}_p50us`]: at(0.5), [`${name}_p99us`]: at(0.99), [`${name}_maxus`]: at(1) };
}

/** Waits for the compaction to begin; adds small tables, since engines differ in how many it takes. */
async function begin(db: Contender, from: number, values: readonly Uint8Array[]): Promise<void> {
  for (let table = 0; table < MORE_TABLES; table++) {
    for (const until = performance.now() + BEGIN_MILLIS; performance.now() < until; await sleep(1)) {
      if (isCompacting(db)) return;
    }
    await load(db, from + table * SMALL_ROWS, from + (table + 1) * SMALL_ROWS, values);
    await db.flushMemtable();
  }
  throw new Error("no compaction began");
}

async function measure(config: ForegroundConfig): Promise<Record<string, number>> {
  const adapter = await import(pathToFileURL(config.adapter).href) as { create(): Promise<Opener> };
  const opener = await adapter.create();
  await opener.store({ kind: "file", dir: config.dir });
  const values = makeValues(config.valueBytes);
  const rows = Math.ceil(config.megabytes * 1e6 / (KEY_BYTES + config.valueBytes) / TABLES);
  let db = await opener.open({ fresh: true, path: "foreground", noCompaction: true, l0Bytes: MEMTABLE_BYTES });
  for (let table = 0; table < TABLES - 1; table++) {
    await load(db, table * rows, (table + 1) * rows, values);
    await db.flushMemtable();
  }
  await db.close();
  db = await opener.open({ path: "foreground", compactorPollMs: 100, scheduled: true, l0Bytes: MEMTABLE_BYTES });
  const keys = Array.from({ length: WARM_KEYS }, (_, i) => keyOf(mix(i) % (rows * (TABLES - 1))));
  for (const key of [...keys, ...keys]) await db.get(key);
  const quietUntil = performance.now() + QUIET_MILLIS;
  const quiet = await readSteadily(db, keys, () => performance.now() < quietUntil);
  await load(db, (TABLES - 1) * rows, TABLES * rows, values);
  await db.flushMemtable();
  await begin(db, TABLES * rows, values);
  const patience = performance.now() + PATIENCE_MILLIS;
  const started = performance.now();
  const busy = await readSteadily(db, keys, () => isCompacting(db) && performance.now() < patience);
  const seconds = (performance.now() - started) / 1000;
  await db.close();
  if (busy.waits.length === 0) throw new Error("the compaction was over before anything could be read");
  return {
    ...percentiles("fg_get", busy.waits),
    ...percentiles("fg_call", busy.calls),
    ...percentiles("fg_quiet_get", quiet.waits),
    ...percentiles("fg_quiet_call", quiet.calls),
    fg_compaction_s: seconds,
  };
}

const results = await measure(JSON.parse(process.argv[2]!) as ForegroundConfig);
writeSync(1, `\n${RESULT_MARK}${JSON.stringify(results)}\n`);
process.exit(0);
