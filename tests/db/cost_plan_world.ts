/**
 * Runs what a plan describes, in virtual time, and counts what it asked of its stores.
 *
 * @module
 */
import { open, openReader, WriteBatch } from "../../mod.ts";
import { keyOf } from "../../bench/rows.ts";
import type { PlanSettings, PlanWorkload } from "../../src/db/cost_plan_api.ts";
import type { StoreUsage, Usage } from "../../src/db/cost_api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { addUsages, NO_USAGE } from "../../src/db/price_sheets.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";

/** A case: settings, workload, and for how long it goes on. */
export interface PlanCase {
  readonly settings: PlanSettings;
  readonly workload: PlanWorkload;
  readonly seconds: number;
  /** Whether each write comes at any moment of its share of the time, instead of at its beginning. */
  readonly isUneven?: boolean;
  /** Options of `open` that a plan does not know. */
  readonly options?: OpenOptions;
}

const START_MILLIS = 1_700_000_000_000;
/** Rows that are written together where nobody waits, to save time: far less than an interval's. */
const TICK_MILLIS = 10;

/** Counts what a case really asks, after the opening, without a rest behind it. */
export async function countCase(
  { settings, workload, seconds, options = {}, isUneven = false }: PlanCase,
): Promise<Usage> {
  const { wal = true, ...rest } = settings;
  const clock = virtualClock(START_MILLIS);
  const latencyMillis = workload.putLatencyMillis ?? 30;
  const slow = () => faultyStore(memoryStore(), { latencyMillis });
  const store = slow();
  const log = wal === "apart" ? { wal: { store: slow() } } : { wal };
  const opening = open({ store, path: "" }, { ...options, ...rest, ...log, clock });
  await clock.advance(1000);
  const db = await opening;
  const readers = await Promise.all(
    (workload.readers ?? []).flatMap(({ count = 1, ...reader }) =>
      Array.from({ length: count }, () => {
        const readerOptions = { ...reader, clock, ...(wal === "apart" ? log as { wal: { store: typeof store } } : {}) };
        return openReader({ store, path: "" }, readerOptions);
      })
    ).map(async (reader) => {
      await clock.advance(1000);
      return await reader;
    }),
  );
  const before = [db.cost(), ...readers.map((reader) => reader.cost())];
  await write(db, workload, seconds, isUneven, clock);
  const after = [db.cost(), ...readers.map((reader) => reader.cost())];
  let usage: Usage = { main: NO_USAGE };
  after.forEach((report, i) => usage = addUsages(usage, addUsages(usageOf(report), usageOf(before[i]!), -1)));
  const closing = Promise.all([...readers.map((reader) => reader.close()), db.close()]);
  await clock.advance(10_000);
  await closing;
  return usage;
}

const usageOf = ({ main, wal }: Usage): Usage => wal === undefined ? { main } : { main, wal };

async function write(
  db: Awaited<ReturnType<typeof open>>,
  workload: PlanWorkload,
  seconds: number,
  isUneven: boolean,
  clock: ReturnType<typeof virtualClock>,
): Promise<void> {
  const { rowsPerSecond, rowsPerWrite = 1, valueBytes = 100, durable = true, distinctKeys, keys, rowsPerScan = 100 } =
    workload;
  const value = new Uint8Array(valueBytes).fill(7);
  const keyOfRow = (row: number): Uint8Array => {
    if (keys === "ascending") return ascendingKey(row);
    return keyOf(distinctKeys === undefined ? row : Math.floor(dice(row) * distinctKeys));
  };
  const perWrite = durable || rowsPerSecond < 1000 / TICK_MILLIS * rowsPerWrite
    ? rowsPerWrite
    : rowsPerSecond * TICK_MILLIS / 1000;
  const between = rowsPerSecond === 0 ? Infinity : perWrite / rowsPerSecond * 1000;
  const pending: Promise<unknown>[] = [];
  const timeOf = (write: number) => (write + (isUneven ? dice(write) : 0)) * between;
  let [row, reads, scans, writes, nextWrite] = [0, 0, 0, 0, timeOf(0)];
  for (let millis = 0; millis < seconds * 1000;) {
    for (; nextWrite <= millis; nextWrite = timeOf(++writes)) {
      const batch = new WriteBatch();
      const end = Math.round((writes + 1) * perWrite);
      for (; row < end; row++) batch.put(keyOfRow(row), value);
      if (batch.size > 0) pending.push(db.write(batch, { durable }));
    }
    for (; reads < (workload.pointReadsPerSecond ?? 0) * millis / 1000; reads++) {
      pending.push(db.get(keyOfRow(Math.floor(dice(reads) * row))));
    }
    for (; scans < (workload.scansPerSecond ?? 0) * millis / 1000; scans++) {
      const gte = keyOfRow(Math.floor(dice(scans) * row));
      pending.push(db.scan({ gte }, { limit: rowsPerScan }).toArray());
    }
    const step = Math.min(seconds * 1000 - millis, Math.max(1, Math.min(1000, nextWrite - millis)), readStep(workload));
    await clock.advance(step);
    millis += step;
  }
  await clock.advance(0);
  void Promise.allSettled(pending);
}

function readStep({ pointReadsPerSecond = 0, scansPerSecond = 0 }: PlanWorkload): number {
  return Math.max(1, 1000 / Math.max(1, pointReadsPerSecond, scansPerSecond));
}

/** A number from 0 to below 1 that looks like chance. */
function dice(i: number): number {
  let bits = Math.imul(i + 1, 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 15), 0x85ebca6b);
  return ((bits ^ (bits >>> 13)) >>> 0) / 2 ** 32;
}

function ascendingKey(row: number): Uint8Array {
  const key = new Uint8Array(16);
  new DataView(key.buffer).setUint32(12, row);
  return key;
}

/** Both stores together. */
export function together({ main, wal = NO_USAGE }: Usage): StoreUsage {
  return addUsages({ main }, { main: wal }).main;
}
