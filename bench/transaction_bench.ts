/**
 * Transactions per second: what both isolation levels cost beside plain puts and batches of the same rows.
 *
 * Run with `deno run -A bench/transaction_bench.ts` (or Bun, Node). Everything is in memory and nothing is awaited durable,
 * except where it says so; there 64 transactions are in flight. `PHYLLITE_BENCH_SCALE` scales the numbers
 * (1 = 50,000 transactions).
 *
 * @module
 */
import process from "node:process";
import { type Db, open, type Transaction, WriteBatch } from "../mod.ts";
import { memoryStore } from "../src/testing.ts";
import type { Figure } from "./micro.ts";
import { keyOf, makeValues } from "./rows.ts";
import { median } from "./statistics.ts";

const SCALE = Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1);
const MANY = Math.max(1000, 50_000 * SCALE);
const ROUNDS = 5;
const IN_FLIGHT = 64;
const ROWS = 10_000;
const VALUES = makeValues(100);
const UNAWAITED = { durable: false } as const;

type Work = (db: Db, i: number) => Promise<unknown>;

/** The two rows of one work; neighbours in flight have others. */
function rowsOf(i: number): [Uint8Array, Uint8Array] {
  return [keyOf((2 * i) % ROWS), keyOf((2 * i + 1) % ROWS)];
}

/** Two reads and two writes. */
async function transfer(tx: Transaction, i: number): Promise<void> {
  const [from, to] = rowsOf(i);
  await tx.get(from);
  await tx.get(to);
  await tx.put(from, VALUES[i & 63]!);
  await tx.put(to, VALUES[(i + 1) & 63]!);
}

/** The same rows without the transaction. */
async function readAndWrite(db: Db, i: number): Promise<void> {
  const [from, to] = rowsOf(i);
  await db.get(from);
  await db.get(to);
  await db.write(new WriteBatch().put(from, VALUES[i & 63]!).put(to, VALUES[(i + 1) & 63]!), UNAWAITED);
}

function committed(isolation: "snapshot" | "serializable", durable: boolean): Work {
  return async (db, i) => {
    const tx = await db.begin({ isolation });
    await transfer(tx, i);
    await tx.commit({ durable });
  };
}

/** Works per second, `inFlight` at once. */
async function rate(db: Db, work: Work, many: number, inFlight: number): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < many; i += inFlight) {
    if (inFlight === 1) await work(db, i);
    else await Promise.all(Array.from({ length: inFlight }, (_, lane) => work(db, i + lane)));
  }
  return (many / (performance.now() - started)) * 1000;
}

/** Measures everything. */
export async function run(): Promise<Figure[]> {
  const db = await open({ store: memoryStore(), path: "" }, {
    compactor: false,
    garbageCollector: false,
    flushIntervalMillis: 5,
    maxUnflushedBytes: 1 << 30,
  });
  for (let i = 0; i < ROWS; i++) await db.put(keyOf(i), VALUES[i & 63]!, UNAWAITED);
  const cases: ReadonlyArray<readonly [string, Work, number, number]> = [
    ["two gets and a batch of two puts, no transaction", readAndWrite, MANY, 1],
    ["snapshot: two gets, two puts", committed("snapshot", false), MANY, 1],
    ["serializable: two gets, two puts", committed("serializable", false), MANY, 1],
    [`serializable, durable, ${IN_FLIGHT} in flight`, committed("serializable", true), MANY / 10, IN_FLIGHT],
  ];
  const figures: Figure[] = [];
  for (const [name, work, many, inFlight] of cases) {
    const rates: number[] = [];
    for (let round = 0; round < ROUNDS; round++) rates.push(await rate(db, work, many, inFlight));
    figures.push({ name: `transactions: ${name}`, value: median(rates), unit: "op/s" });
  }
  await db.close();
  return figures;
}

if (import.meta.main) {
  for (const { name, value, unit } of await run()) {
    console.log(`${name.padEnd(70)} ${value.toFixed(0).padStart(9)} ${unit}`);
  }
}
