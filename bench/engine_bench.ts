/**
 * Workloads of the whole engine, alone: a mix of reads and writes, opening a large database, replaying a log, and the
 * store requests that operations make.
 *
 * Requests are counted exactly and do not depend on the machine: they may gate, times may not. The size is scaled by
 * `PHYLLITE_BENCH_SCALE` (1 = one million rows, 64 MB of log).
 *
 * @module
 */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Effect, Layer } from "effect";
import { Db, ObjectStore } from "../mod.ts";
import { memoryStore } from "../src/testing.ts";
import { type Contender, type ContenderOptions, create, type Requests, type StoreSpec } from "./ours.ts";
import { EFFECT_PUTS } from "./goals.ts";
import type { Figure } from "./micro.ts";
import { KEY_BYTES, keyOf, makeValues, mix } from "./rows.ts";
import { median } from "./statistics.ts";

const SCALE = Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1);
const VALUE_BYTES = 100;
const ROW_BYTES = KEY_BYTES + VALUE_BYTES;
const VALUES = makeValues(VALUE_BYTES);

async function load(db: Contender, rows: number, from = 0): Promise<void> {
  const step = 1000;
  for (let at = from; at < from + rows; at += step) {
    const many = Math.min(step, from + rows - at);
    const indexes = Array.from({ length: many }, (_, j) => at + j);
    await db.batch(indexes.map(keyOf), indexes.map((i) => VALUES[i & 63]!));
  }
}

async function opened(spec: StoreSpec): Promise<(options: ContenderOptions) => Promise<Contender>> {
  const opener = await create();
  await opener.store(spec);
  return (options) => opener.open(options);
}

/** Half of the rows in tables, half in memory; then 50 % gets, 45 % puts, 5 % scans of 20 rows, one at a time. */
async function mixedWork(folder: string): Promise<Figure[]> {
  const open = await opened({ kind: "file", dir: folder });
  const db = await open({ fresh: true, path: "mix" });
  const rows = Math.max(2000, 100_000 * SCALE);
  await load(db, rows);
  await db.flushMemtable();
  await load(db, rows, rows);
  const operations = Math.max(2000, 200_000 * SCALE);
  const started = performance.now();
  for (let i = 0; i < operations; i++) {
    const turn = i % 20;
    const key = keyOf(mix(i) % (2 * rows));
    if (turn === 7) await db.scan(key, undefined, 20, false);
    else if (turn % 2 === 0) await db.get(key);
    else await db.put(key, VALUES[i & 63]!);
  }
  const seconds = (performance.now() - started) / 1000;
  await db.close();
  return [{ name: "engine: 50 % get, 45 % put, 5 % scan of 20 rows", value: operations / seconds, unit: "op/s" }];
}

/** A clean database of a million rows in several tables, opened several times. */
async function openLarge(folder: string): Promise<Figure[]> {
  const open = await opened({ kind: "file", dir: folder });
  const rows = Math.max(1000, 1_000_000 * SCALE);
  const first = await open({ fresh: true, path: "large" });
  await load(first, rows);
  await first.flushMemtable();
  await first.close();
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const db = await open({ path: "large" });
    times.push(db.openMs);
    await db.close();
  }
  rmSync(join(folder, "large"), { recursive: true, force: true });
  return [{ name: `engine: open, ${rows} rows in tables`, value: median(times), unit: "ms" }];
}

/** What a crash leaves: the folder as it was after the log was written, opened again. */
async function replayLog(folder: string): Promise<Figure[]> {
  const open = await opened({ kind: "file", dir: folder });
  const rows = Math.floor((64e6 * Math.max(SCALE, 0.02)) / ROW_BYTES);
  const first = await open({ fresh: true, path: "log", l0Bytes: 512 << 20 });
  await load(first, rows);
  await first.flush();
  cpSync(join(folder, "log"), join(folder, "crashed"), { recursive: true });
  await first.close();
  const db = await open({ path: "crashed", l0Bytes: 512 << 20 });
  const megabytes = rows * ROW_BYTES / 1e6;
  if ((await db.get(keyOf(rows >> 1))) === undefined) throw new Error("the replay lost a row");
  await db.close();
  rmSync(join(folder, "log"), { recursive: true, force: true });
  rmSync(join(folder, "crashed"), { recursive: true, force: true });
  return [{ name: "engine: replay of the log", value: megabytes / (db.openMs / 1000), unit: "MB/s" }];
}

function difference(after: Requests, before: Requests): string {
  const parts = (Object.keys(after) as (keyof Requests)[]).filter((kind) => after[kind] > before[kind])
    .map((kind) => `${after[kind] - before[kind]} ${kind}`);
  return parts.length === 0 ? "none" : parts.join(", ");
}

function total(after: Requests, before: Requests): number {
  return (Object.keys(after) as (keyof Requests)[]).reduce((sum, kind) => sum + after[kind] - before[kind], 0);
}

/** Requests per operation on the memory store. */
async function requests(): Promise<Figure[]> {
  const open = await opened({ kind: "memory", dir: "" });
  const figures: Figure[] = [];
  const nothing: Requests = { get: 0, put: 0, list: 0, head: 0, delete: 0, multipart: 0, other: 0 };
  const count = (what: string, after: Requests, before: Requests, per = 1) => {
    const unit = per === 1 ? `requests (${difference(after, before)})` : "requests each";
    figures.push({ name: `requests: ${what}`, value: total(after, before) / per, unit });
  };
  const during = async (db: Contender, what: string, per: number, work: () => Promise<unknown>) => {
    const before = db.requests();
    await work();
    count(what, db.requests(), before, per);
  };
  const rows = 20_000;
  let db = await open({ fresh: true, path: "counted" });
  count("open a new database", db.requests(), nothing);
  await during(db, "one durable put", 1, () => db.putDurable(keyOf(0), VALUES[0]!));
  await during(
    db,
    "256 durable puts in flight",
    1,
    () => Promise.all(Array.from({ length: 256 }, (_, i) => db.putDurable(keyOf(i), VALUES[i & 63]!))),
  );
  await load(db, rows);
  await during(db, "memtable to table, 2.3 MB", 1, () => db.flushMemtable());
  await during(db, "close with nothing to write", 1, () => db.close());
  db = await open({ path: "counted" });
  count("open a clean database", db.requests(), nothing);
  const reads = 1000;
  await during(db, "first get of a table", 1, () => db.get(keyOf(1)));
  await during(db, "1000 random gets, first touch", reads, async () => {
    for (let i = 0; i < reads; i++) await db.get(keyOf(mix(i) % rows));
  });
  await during(db, "get of a missing key", 1, () => db.get(keyOf(rows * 3)));
  await during(db, "get of a cached block", 1, () => db.get(keyOf(1)));
  await db.close();
  db = await open({ path: "counted", noCache: true });
  await during(db, "get, nothing cached", 1, () => db.get(keyOf(1)));
  await during(db, "scan of 100 rows, nothing cached", 1, () => db.scan(keyOf(2), undefined, 100, false));
  await during(db, "full scan of 20,000 rows, nothing cached", 1, () => db.scan(undefined, undefined, Infinity, false));
  await db.close();
  return figures;
}

/** Puts one by one inside a fiber, through the Effect face. */
async function effectPuts(): Promise<Figure[]> {
  const many = Math.max(2000, 200_000 * SCALE);
  const store = Layer.succeed(ObjectStore, memoryStore());
  const program = Effect.gen(function* () {
    const db = yield* Db;
    const started = performance.now();
    for (let i = 0; i < many; i++) yield* db.put(keyOf(i), VALUES[i & 63]!, { durable: false });
    return (performance.now() - started) / 1000;
  });
  const seconds = await Effect.runPromise(Effect.provide(program, Db.layer().pipe(Layer.provide(store))));
  return [{ name: EFFECT_PUTS, value: many / seconds, unit: "op/s" }];
}

/** Measures everything once. */
export async function run(): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "phyllite-engine-"));
  try {
    return [
      ...await mixedWork(folder),
      ...await effectPuts(),
      ...await openLarge(folder),
      ...await replayLog(folder),
      ...await requests(),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
