/**
 * What one contender asks of S3, counted on the wire: one part of it in this process, against a simulator that no other
 * process talks to. Started by the comparison, and by the test that holds us to the counts.
 *
 * Counts, not times: on a busy machine they stay what they are, except where an engine asks by the clock. A name says
 * what was counted and what it is divided by. Reads of rows count requests for tables only, so that what an engine asks
 * by the clock meanwhile is not taken for their cost.
 *
 * A contender that says itself what it asked is held to it: `miscounted_requests_per_run` is by how many PUT-class,
 * GET-class and LIST requests that differs from what the simulator has seen.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";
import type { Contender, ContenderOptions, Opener } from "./ours.ts";
import { RESULT_MARK } from "./programs.ts";
import { KEY_BYTES, keyOf, makeValues, mix } from "./rows.ts";
import { type Counted, counted, setLatency, type Spent, spent } from "./s3_simulator.ts";

/** What one process measures. `log` leaves a log behind and dies, for `open`. */
export type CostPart = "rest" | "writes" | "capped" | "reads" | "log" | "open";

/** How much is done. */
export interface CostSize {
  /** Rows of 116 bytes that reads find; a tenth as many of 1 KiB. */
  readonly rows: number;
  /** Point reads, of different blocks: at most one for 50 rows. A tenth as many scans. */
  readonly reads: number;
  /** How long rest, and each trickle, are looked at, s. */
  readonly restSeconds: number;
  readonly trickleSeconds: number;
  /** User bytes of the streams of small and of large rows, MB, and how fast they come. */
  readonly smallMB: number;
  readonly smallMBps: number;
  readonly largeMB: number;
  readonly largeMBps: number;
  /** Level-0 tables that they become. */
  readonly smallTables: number;
  readonly largeTables: number;
  /** How long must pass without a compaction until a stream's are over, s: the official compactor looks every 5 s. */
  readonly quietSeconds: number;
  readonly durableWrites: number;
  /** Objects of the log that an opening replays, that of the opening before it included. */
  readonly logObjects: number;
}

/** What to measure. */
export interface S3CostConfig {
  readonly part: CostPart;
  /** File of the contender's adapter. */
  readonly adapter: string;
  readonly endpoint: string;
  /** Where an adapter keeps what it must keep on disk. */
  readonly dir: string;
  readonly size: CostSize;
}

/** Log objects per second of the ceiling. */
export const CEILING = 4;
/** Value sizes that make rows of 116 bytes and of 1 KiB. */
const SMALL_VALUE = 100;
const LARGE_VALUE = 1008;
const BATCH_ROWS = 100;
const QUIET_LIMIT_MILLIS = 60_000;
/** Time in which what a first table sets off is done, ms. */
const SETTLE_MILLIS = 6000;
/** The same for an opening. */
const OPENED_MILLIS = 2000;
const FAST_TRICKLE_MILLIS = 20;
/** Tables that overlap wholly, for scans. */
const RUNS = 4;
const READERS_AT_ONCE = 50;
const LATENCY_MILLIS = 25;

const sleep = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** One part at work: the contender's databases, the simulator, and what came of it. */
class Measurement {
  readonly size: CostSize;
  readonly results: Record<string, number> = {};
  readonly #endpoint: string;
  readonly #opener: Opener;

  constructor(config: S3CostConfig, opener: Opener) {
    this.size = config.size;
    this.#endpoint = config.endpoint;
    this.#opener = opener;
  }

  /** Requests and bytes of `work`. */
  async spentBy(work: () => Promise<unknown>, kind?: "wal" | "compacted"): Promise<Spent> {
    const before = await counted(this.#endpoint);
    await work();
    return spent(before, await counted(this.#endpoint), kind);
  }

  /** Notes requests and bytes per unit. */
  note(name: string, cost: Spent, count: number, unit: string): void {
    for (const [what, sum] of Object.entries(cost)) this.results[`${name}_${what}_per_${unit}`] = sum / count;
  }

  /** Works on a database, and compares what it says it asked with what was seen. */
  async using(options: ContenderOptions, work: (db: Contender) => Promise<void>, opening?: string): Promise<void> {
    const before = await counted(this.#endpoint);
    const db = await this.#opener.open(options);
    if (opening !== undefined) this.note(opening, spent(before, await counted(this.#endpoint)), 1, "open");
    await work(db);
    // The others do not say what they asked in requests of the wire.
    if ("db" in db) this.#compare(before, await counted(this.#endpoint), db);
    await db.close();
  }

  #compare(before: Counted, after: Counted, db: Contender): void {
    const seen = spent(before, after);
    const said = db.requests();
    const wrong = Math.abs(said.put + said.multipart - seen.puts) + Math.abs(said.get + said.head - seen.gets) +
      Math.abs(said.list - seen.lists);
    this.results["miscounted_requests_per_run"] = (this.results["miscounted_requests_per_run"] ?? 0) + wrong;
  }

  latency(millis: number): Promise<void> {
    return setLatency(this.#endpoint, millis, millis);
  }
}

/** Rows by number, in batches that nobody waits to be durable. */
async function load(db: Contender, rows: readonly number[], values: readonly Uint8Array[]): Promise<void> {
  for (let at = 0; at < rows.length; at += BATCH_ROWS) {
    const batch = rows.slice(at, at + BATCH_ROWS);
    await db.batch(batch.map(keyOf), batch.map((row) => values[row & 63]!));
  }
}

const numbers = (count: number, from: number = 0, step: number = 1): number[] =>
  Array.from({ length: count }, (_, i) => from + i * step);

/** Rest, with compactor and collector, and rows that come one by one while nobody waits for them. */
async function measureRest(at: Measurement): Promise<void> {
  const { restSeconds, trickleSeconds } = at.size;
  const values = makeValues(SMALL_VALUE);
  await at.using({ path: "rest" }, async (db) => {
    await load(db, numbers(1000), values);
    await db.flushMemtable();
    await sleep(SETTLE_MILLIS);
    at.note("rest", await at.spentBy(() => sleep(restSeconds * 1000)), restSeconds / 60, "minute");
    const trickle = async (count: number, everyMillis: number) => {
      for (let i = 0, due = performance.now(); i < count; i++, due += everyMillis) {
        await sleep(Math.max(0, due - performance.now()));
        await db.put(keyOf(i), values[0]!);
      }
      await db.flush();
    };
    at.note("trickle", await at.spentBy(() => trickle(trickleSeconds, 1000), "wal"), trickleSeconds, "write");
    const began = performance.now();
    const fast = await at.spentBy(
      () => trickle(trickleSeconds * 1000 / FAST_TRICKLE_MILLIS, FAST_TRICKLE_MILLIS),
      "wal",
    );
    at.note("steady", fast, (performance.now() - began) / 1000, "second");
  });
}

/** How rows come in a stream. */
interface Stream {
  readonly name: string;
  readonly megabytes: number;
  readonly perSecond: number;
  readonly valueBytes: number;
  readonly tables: number;
  readonly options?: ContenderOptions;
}

/** Rows come steadily, no faster than given; then everything is flushed and compacted. */
async function measureStream(at: Measurement, stream: Stream): Promise<void> {
  const { name, megabytes, perSecond, valueBytes, tables, options } = stream;
  const rowBytes = KEY_BYTES + valueBytes;
  const rows = Math.floor(megabytes * 1e6 / rowBytes);
  const values = makeValues(valueBytes);
  const l0Bytes = Math.round(megabytes * 1e6 / tables);
  await at.using({ path: `stream-${name}`, l0Bytes, ...options }, async (db) => {
    const began = performance.now();
    const cost = await at.spentBy(async () => {
      for (let row = 0; row < rows;) {
        const due = Math.min(rows, Math.floor((performance.now() - began) / 1000 * perSecond * 1e6 / rowBytes));
        if (due > row) await load(db, numbers(due - row, row), values);
        row = Math.max(row, due);
        await sleep(5);
      }
      at.results[`${name}_s`] = (performance.now() - began) / 1000;
      await db.flush();
      await db.flushMemtable();
      await settle(db, at.size.quietSeconds);
    });
    at.note(name, cost, rows * rowBytes / 1e6, "MB");
    at.results[`${name}_parts`] = cost.multipart;
  });
}

/** Waits until no compaction has run for a while. */
async function settle(db: Contender, quietSeconds: number): Promise<void> {
  const limit = performance.now() + QUIET_LIMIT_MILLIS;
  let bytes = db.compactedBytes();
  for (let since = performance.now(); performance.now() - since < quietSeconds * 1000 && performance.now() < limit;) {
    await sleep(100);
    if (db.compacting() || db.compactedBytes() !== bytes) since = performance.now();
    bytes = db.compactedBytes();
  }
}

async function measureWrites(at: Measurement): Promise<void> {
  const { largeMB: megabytes, largeMBps: perSecond, largeTables: tables, durableWrites } = at.size;
  await at.using({ path: "durable" }, async (db) => {
    await sleep(OPENED_MILLIS);
    const cost = await at.spentBy(async () => {
      for (const row of numbers(durableWrites)) await db.putDurable(keyOf(row), new Uint8Array(SMALL_VALUE));
    });
    at.note("durable", cost, durableWrites, "write");
  });
  await measureStream(at, { name: "small", ...smallStream(at.size) });
  await measureStream(at, { name: "large", megabytes, perSecond, valueBytes: LARGE_VALUE, tables });
}

function smallStream({ smallMB, smallMBps, smallTables: tables }: CostSize): Omit<Stream, "name"> {
  return { megabytes: smallMB, perSecond: smallMBps, valueBytes: SMALL_VALUE, tables };
}

/** The same stream with a ceiling on log objects. */
function measureCapped(at: Measurement): Promise<void> {
  return measureStream(at, { name: "capped", ...smallStream(at.size), options: { maxWalPutsPerSecond: CEILING } });
}

/** Tables without a log left over: written, flushed, closed. */
async function fill(at: Measurement, path: string, rows: number, valueBytes: number, tables: number): Promise<void> {
  await at.using({ path, noCompaction: true }, async (db) => {
    for (const table of numbers(tables)) {
      await load(db, numbers(Math.floor(rows / tables), table, tables), makeValues(valueBytes));
      await db.flushMemtable();
    }
  });
}

/** Some rows, no two of them in one block, in an order that looks random. */
function rowsApart(rows: number, count: number): number[] {
  const sorted = numbers(rows).sort((a, b) => mix(a + 1) - mix(b + 1));
  return numbers(count).map((i) => sorted[Math.floor(((i * 7919) % count + 0.5) * rows / count)]!);
}

async function measureReads(at: Measurement): Promise<void> {
  const { rows, reads } = at.size;
  const few = Math.ceil(reads / 10);
  const some = (count: number, seed: number, among: number) => numbers(count).map((i) => mix(i + seed) % among);
  const read = async (db: Contender, row: number) => {
    if (await db.get(keyOf(row)) === undefined) throw new Error(`row ${row} is gone`);
  };
  const apart = rowsApart(rows, reads);
  await fill(at, "small", rows, SMALL_VALUE, 1);
  await at.using({ path: "small", noCompaction: true }, async (db) => {
    const first = await at.spentBy(() => read(db, 0), "compacted");
    at.note("first", first, 1, "read");
    const cold = await at.spentBy(async () => {
      for (const row of apart) await read(db, row);
    }, "compacted");
    at.note("cold", cold, apart.length, "read");
    // What the first read brought in for all of them, it brought in for the others.
    at.results["touched_getBytes_per_read"] = (first.getBytes + cold.getBytes) / (apart.length + 1);
  });
  await at.using({ path: "small", noCompaction: true }, async (db) => {
    await read(db, 0);
    await at.latency(LATENCY_MILLIS);
    const row = rows >> 1;
    const shared = await at.spentBy(() => Promise.all(numbers(READERS_AT_ONCE).map(() => read(db, row))), "compacted");
    await at.latency(0);
    at.note("shared", shared, 1, "block");
  });
  await at.using({ path: "small", noCompaction: true, noCache: true }, async (db) => {
    const uncached = await at.spentBy(async () => {
      for (const row of some(few, 2, rows)) await read(db, row);
    }, "compacted");
    at.note("uncached", uncached, few, "read");
  });
  const scans = async (name: string, path: string, among: number, length: number) => {
    await at.using({ path, noCompaction: true, noCache: true }, async (db) => {
      const cost = await at.spentBy(async () => {
        for (const row of some(few, 3, among)) await db.scan(keyOf(row), undefined, length, false);
      }, "compacted");
      at.note(name, cost, few, "scan");
    });
  };
  await scans("scan100", "small", rows, 100);
  await fill(at, "large", rows / 10, LARGE_VALUE, 1);
  await scans("scan100of1k", "large", rows / 10, 100);
  await fill(at, "several", rows / 5, SMALL_VALUE, RUNS);
  await scans("scan10of4", "several", rows / 5, 10);
}

async function leaveLog(at: Measurement): Promise<void> {
  await at.using({ path: "left" }, async (db) => {
    for (const row of numbers(at.size.logObjects - 1)) await db.putDurable(keyOf(row), new Uint8Array(SMALL_VALUE));
    process.kill(process.pid, "SIGKILL");
    await sleep(60_000);
  });
}

async function measureOpenings(at: Measurement): Promise<void> {
  // What is asked once per process is in the first of them.
  await at.using({ path: "new" }, () => Promise.resolve(), "openNew");
  await at.using({ path: "left" }, (db) => db.flushMemtable(), "openLog");
  await at.using({ path: "left" }, () => Promise.resolve(), "openClean");
}

const PARTS: Readonly<Record<CostPart, (at: Measurement) => Promise<void>>> = {
  rest: measureRest,
  writes: measureWrites,
  capped: measureCapped,
  reads: measureReads,
  log: leaveLog,
  open: measureOpenings,
};

const config = JSON.parse(process.argv[2]!) as S3CostConfig;
const adapter = await import(pathToFileURL(config.adapter).href) as { create(): Promise<Opener> };
const opener = await adapter.create();
await opener.store({ kind: "s3", dir: config.dir, endpoint: config.endpoint });
const measurement = new Measurement(config, opener);
await PARTS[config.part](measurement);
writeSync(1, `\n${RESULT_MARK}${JSON.stringify(measurement.results)}\n`);
process.exit(0);
