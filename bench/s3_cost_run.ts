/**
 * Counts what contenders ask of S3, part by part, each in processes and with a simulator of its own.
 *
 * Parts that mostly wait run all at once, ours of one kind too; peers that work hard at the rate at which rows come do
 * so alone. Every contender has the same sizes and rates; how long a stream took is in the results, and tells where one
 * could not follow.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ProgramFailure, runModule, type RuntimeBinary } from "./programs.ts";
import type { CostPart, CostSize, S3CostConfig } from "./s3_cost.ts";
import { startSimulator } from "./s3_simulator.ts";
import type { Sample } from "./statistics.ts";

/** As recorded. */
export const FULL_SIZE: CostSize = {
  rows: 200_000,
  reads: 2000,
  restSeconds: 60,
  trickleSeconds: 20,
  smallMB: 256,
  smallMBps: 4.2,
  largeMB: 256,
  largeMBps: 20,
  smallTables: 16,
  largeTables: 5,
  quietSeconds: 6,
  durableWrites: 60,
  logObjects: 20,
};

/** For a quick look; the counts per unit are rougher. */
export const SMALL_SIZE: CostSize = {
  rows: 20_000,
  reads: 400,
  restSeconds: 6,
  trickleSeconds: 4,
  smallMB: 8,
  smallMBps: 2,
  largeMB: 20,
  largeMBps: 10,
  smallTables: 16,
  largeTables: 5,
  quietSeconds: 6,
  durableWrites: 10,
  logObjects: 5,
};

/** Where to measure, whom, and how much. */
export interface S3CostRun {
  /** Folder of the driver, where the simulator is. */
  readonly driverFolder: string;
  /** Folder above the `node_modules` that holds the peers. */
  readonly peers: string;
  readonly runtimes: readonly RuntimeBinary[];
  /** Adapters by contender. */
  readonly adapters: Readonly<Record<string, string>>;
  readonly size: CostSize;
  /** Everything at once, for who is in a hurry. */
  readonly isHurried?: boolean;
  /** Only these parts. */
  readonly only?: readonly CostPart[];
  readonly tell?: (what: string) => void;
}

/** Our name among the contenders. */
export const OURS = "ours";

const PROGRAM = fileURLToPath(new URL("./s3_cost.ts", import.meta.url));
type Cell = { readonly runtime: RuntimeBinary; readonly contender: string };
type Job = { readonly part: CostPart; readonly cell: Cell };

/** What is done at once, in the order of doing. */
function stagesOf({ isHurried, only }: S3CostRun, cells: readonly Cell[]): Job[][] {
  const wanted = (...parts: CostPart[]) => parts.filter((part) => only === undefined || only.includes(part));
  const jobs = (parts: readonly CostPart[], whose: readonly Cell[]) =>
    parts.flatMap((part) => whose.map((cell) => ({ part, cell })));
  const ours = cells.filter(({ contender }) => contender === OURS);
  const peers = cells.filter(({ contender }) => contender !== OURS);
  const stages = [
    jobs(wanted("rest", "open"), cells),
    jobs(wanted("writes", "capped"), ours),
    ...jobs(wanted("writes"), peers).map((job) => [job]),
    ...jobs(wanted("reads"), cells).map((job) => [job]),
  ];
  return isHurried === true ? [stages.flat()] : stages;
}

/** Runs all parts and answers one sample per contender and runtime, with what it found although something failed. */
export async function countOnS3(run: S3CostRun): Promise<Sample[]> {
  const scratch = mkdtempSync(join(tmpdir(), "phyllite-cost-"));
  const cells = run.runtimes.flatMap((runtime) =>
    Object.keys(run.adapters).map((contender): Cell => ({ runtime, contender }))
  );
  const found = new Map(cells.map((cell) => [cell, { results: {} as Record<string, number>, errors: [] as string[] }]));
  const measure = async ({ part, cell }: Job) => {
    const { results, errors } = found.get(cell)!;
    const name = `${part}-${cell.runtime.name}-${cell.contender}`;
    try {
      add(results, await measurePart(run, part, cell, join(scratch, name)));
      run.tell?.(`s3cost ${name}: ok`);
    } catch (error) {
      errors.push(`${part}: ${error instanceof Error ? error.message : error}`);
      run.tell?.(`s3cost ${name}: ${errors.at(-1)}`);
    }
  };
  try {
    for (const stage of stagesOf(run, cells)) await Promise.all(stage.map(measure));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return [...found].map(([{ runtime, contender }, { results, errors }]) => ({
    suite: "s3cost",
    round: 0,
    runtime: runtime.name,
    contender,
    results,
    ...(errors.length === 0 ? {} : { error: errors.join("; ") }),
  }));
}

/** What is counted in every part adds up; all else has a name of its own. */
function add(results: Record<string, number>, more: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(more)) results[name] = (results[name] ?? 0) + value;
}

async function measurePart(
  run: S3CostRun,
  part: CostPart,
  { runtime, contender }: Cell,
  folder: string,
): Promise<Record<string, number>> {
  mkdirSync(folder);
  const simulator = await startSimulator(run.driverFolder, runtime);
  const child = (what: CostPart) => {
    const { endpoint } = simulator;
    const config: S3CostConfig = {
      part: what,
      adapter: run.adapters[contender]!,
      endpoint,
      dir: join(folder, "data"),
      size: run.size,
    };
    const options = { env: { PEER_MODULES: run.peers }, isApart: true };
    return runModule(runtime, PROGRAM, [JSON.stringify(config)], options) as Promise<Record<string, number>>;
  };
  try {
    if (part === "open") await child("log").catch(mustHaveKilledItself);
    return await child(part);
  } finally {
    simulator.stop();
  }
}

function mustHaveKilledItself(error: unknown): void {
  if (!(error instanceof ProgramFailure && error.message.includes("SIGKILL"))) throw error;
}
