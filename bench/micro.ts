/**
 * Runs bench files in a process of their own and prints their figures as one marked line; started by `bench/main.ts`.
 *
 * A bench file exports `run()`, which answers figures or a promise of them. Names must be the same in every run, since
 * medians are taken by name.
 *
 * @module
 */
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { RESULT_MARK } from "./programs.ts";

/** One measured figure. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  /** Such as "MB/s", "M/s", "ms"; a unit that names time or requests counts down, others up. */
  readonly unit: string;
}

/** Groups of figures and the files that measure them, in the order of the report. */
export const BENCH_FILES: Readonly<Record<string, string>> = {
  block: "./block_bench.ts",
  memtable: "./memtable_bench.ts",
  read: "./read_bench.ts",
  cursor: "./cursor_bench.ts",
  ranges: "./range_bench.ts",
  transactions: "./transaction_bench.ts",
  compaction: "./compaction_bench.ts",
  cost: "./cost_bench.ts",
  engine: "./engine_bench.ts",
};

/** Where the file of a group is, or undefined when there is none. */
export function benchFile(group: string): URL | undefined {
  const file = BENCH_FILES[group];
  const url = file === undefined ? undefined : new URL(file, import.meta.url);
  return url !== undefined && existsSync(fileURLToPath(url)) ? url : undefined;
}

async function measure(groups: readonly string[]): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const group of groups) {
    const url = benchFile(group);
    if (url === undefined) throw new Error(`no bench file for ${group}`);
    const bench = await import(url.href) as { run(): Figure[] | Promise<Figure[]> };
    figures.push(...await bench.run());
  }
  return figures;
}

if (import.meta.main) {
  const figures = await measure(process.argv.slice(2));
  console.log(`\n${RESULT_MARK}${JSON.stringify(figures)}`);
}
