/**
 * What 256 MB of sustained ingest ask of the store, at full size: PUT-class requests, bytes written and read per user
 * byte. Exact counts in virtual time, the same on every machine; `tests/db/cost_test.ts` asserts a sixteenth of it.
 *
 * The rates and table sizes are those at which SlateDB 0.12.1 was counted: 2.55 PUT-class requests per MB and 4.60 bytes
 * written per user byte with rows of 116 bytes, 0.35 and 3.11 with rows of 1 KiB.
 *
 * @module
 */
import process from "node:process";
import { type Costs, countCosts } from "./cost_workload.ts";
import type { Figure } from "./micro.ts";
import { round } from "./statistics.ts";

const SCALE = Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1);
const MIB = 1024 * 1024;
const MEGABYTES = 256;

async function figuresOf(
  valueBytes: number,
  l0Megabytes: number,
  megabytesPerSecond: number,
  flushIntervalMillis: number,
): Promise<Figure[]> {
  const costs: Costs = await countCosts({
    valueBytes,
    userBytes: MEGABYTES * 1e6 * SCALE,
    bytesPerSecond: megabytesPerSecond * 1e6 * SCALE,
    options: {
      flushIntervalMillis,
      l0SstSizeBytes: Math.round(l0Megabytes * MIB * SCALE),
      compactor: { maxSstBytes: Math.round(256 * MIB * SCALE) },
    },
  });
  const { wal, manifest, compactions, tables } = costs.putsOf;
  const name =
    `cost: rows of ${16 + valueBytes} B, L0 of ${l0Megabytes} MiB, ${megabytesPerSecond} MB/s, flushed every ` +
    `${flushIntervalMillis} ms`;
  const parts = `${wal} log, ${tables} tables, ${manifest + compactions} manifest and compactions`;
  return [
    { name, value: costs.puts / MEGABYTES, unit: `requests per MB (PUT: ${parts})` },
    { name: `${name}: written`, value: round(costs.bytesWritten / costs.userBytes), unit: "bytes per user byte" },
    { name: `${name}: read`, value: round(costs.bytesRead / costs.userBytes), unit: "bytes per user byte" },
  ];
}

/** Measures everything once. */
export async function run(): Promise<Figure[]> {
  return [
    ...await figuresOf(100, 16, 4.2, 100),
    ...await figuresOf(100, 16, 4.2, 250),
    ...await figuresOf(1008, 64, 40, 100),
  ];
}
