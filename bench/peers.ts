/**
 * Runs the side-by-side driver with the official SlateDB binding, classic-level, lmdb and this engine.
 *
 * The driver is the folder `shared/peerbench` beside the checkout (or `PHYLLITE_PEERBENCH`). The peers are installed by
 * npm into a cache folder outside the repository, so that neither lock file nor `node_modules` ever knows of them;
 * `PEER_MODULES` names another folder that has them.
 *
 * @module
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "../tests/support/interop_binding.ts";
import { sharedPath } from "../tests/support/shared.ts";
import type { ForegroundConfig } from "./foreground.ts";
import type { RunName } from "./goals.ts";
import type { LayersConfig } from "./layers.ts";
import { findRuntimes, runArguments, runModule, runProgram, type RuntimeBinary } from "./programs.ts";
import { countOnS3, OURS } from "./s3_cost_run.ts";
import type { CostSize } from "./s3_cost.ts";
import { type CaseResult, casesOf, type Sample } from "./statistics.ts";

/** Packages of the peers and the releases that are measured. */
export const PEER_RELEASES: Readonly<Record<string, string>> = {
  "@slatedb/uniffi": "0.12.1",
  "classic-level": "3.0.0",
  "lmdb": "3.5.6",
};

const ADAPTER = fileURLToPath(new URL("./ours.ts", import.meta.url));

/** A process that waits for the network may take so long, s. */
const SLOW_SECONDS = 600;

/** How much a run of the driver does. */
export interface PeerSettings {
  readonly run: RunName;
  readonly rows: number;
  readonly valueBytes: number;
  readonly rounds: number;
  /** Longest time of one timed case, ms. */
  readonly limitMillis: number;
  readonly replayMB: number;
  /** User bytes that `ingest` and `foreground` write, MB. */
  readonly ingestMB?: number;
  /** Size of a level-0 table in `ingest` and `compact`, MB. */
  readonly l0MB?: number;
  readonly contenders: readonly string[];
  /** Latency of the S3 simulator, ms; the file store when absent. */
  readonly latency?: { readonly getMillis: number; readonly putMillis: number };
  /** How much `s3cost` does. */
  readonly costSize?: CostSize;
}

/** What a run of the driver measured. */
export interface PeerRun {
  readonly settings: PeerSettings;
  /** Cases by runtime and metric. */
  readonly cases: Readonly<Record<string, Readonly<Record<string, CaseResult>>>>;
  /** Processes that failed, in words. */
  readonly failures: readonly string[];
  /** When it was measured and how loaded the machine was, of a run that an earlier line recorded. */
  readonly measured?: { readonly date: string; readonly load: number };
}

/** Where the driver is, or undefined. */
export function findDriver(): string | undefined {
  const given = process.env["PHYLLITE_PEERBENCH"];
  return given === undefined ? sharedPath("peerbench/bench.mjs") : join(given, "bench.mjs");
}

/** Installs the peers unless they are there already (about 160 MB) and answers the folder above `node_modules`. */
export async function installPeers(): Promise<string> {
  const given = process.env["PEER_MODULES"];
  if (given !== undefined && given !== "") return given;
  const packages = Object.entries(PEER_RELEASES).map(([name, version]) => `${name}@${version}`);
  const folder = join(cacheFolder(), `peers-${Object.values(PEER_RELEASES).join("-")}`);
  if (existsSync(join(folder, "node_modules", "lmdb"))) return folder;
  const fresh = `${folder}.new-${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  writeFileSync(join(fresh, "package.json"), '{ "private": true, "type": "module" }\n');
  await runProgram("npm", ["install", "--prefix", fresh, "--no-audit", "--no-fund", "--loglevel=error", ...packages]);
  rmSync(folder, { recursive: true, force: true });
  renameSync(fresh, folder);
  return folder;
}

/** Versions of the installed peers. */
export function peerVersions(folder: string): Record<string, string> {
  return Object.fromEntries(
    Object.keys(PEER_RELEASES).map((name) => {
      const file = join(folder, "node_modules", name, "package.json");
      return [name, (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version];
    }),
  );
}

/** The driver's suite that measures a run of its. */
function suiteOf(run: RunName): string {
  return run === "open" || run === "s3" ? "main" : run === "compact1k" ? "compact" : run;
}

/** Measures one run: by the driver, or by a program of our own with the driver's adapters. */
export function runPeers(
  driver: string,
  peers: string,
  runtimes: readonly RuntimeBinary[],
  settings: PeerSettings,
): Promise<PeerRun> {
  switch (settings.run) {
    case "foreground":
      return runForeground(driver, peers, runtimes, settings);
    case "layers":
      return runLayers(driver, peers, runtimes, settings);
    case "s3cost":
      return runS3Cost(driver, peers, runtimes, settings);
    default:
      return runDriver(driver, peers, runtimes, settings);
  }
}

/** The adapters of a run's contenders, ours included. */
function adaptersOf(driver: string, { contenders }: PeerSettings): Record<string, string> {
  return {
    ...Object.fromEntries(contenders.map((name) => [name, join(dirname(driver), "adapters", `${name}.mjs`)])),
    [OURS]: ADAPTER,
  };
}

/** Counts everything once: a second round would count the same. */
async function runS3Cost(
  driver: string,
  peers: string,
  runtimes: readonly RuntimeBinary[],
  settings: PeerSettings,
): Promise<PeerRun> {
  const samples = await countOnS3({
    driverFolder: dirname(driver),
    peers,
    runtimes,
    adapters: adaptersOf(driver, settings),
    size: settings.costSize!,
    tell: (what) => console.error(what),
  });
  return resultOf(samples, runtimes, settings);
}

function resultOf(samples: readonly Sample[], runtimes: readonly RuntimeBinary[], settings: PeerSettings): PeerRun {
  const suite = suiteOf(settings.run);
  return {
    settings,
    cases: Object.fromEntries(runtimes.map(({ name }) => [name, casesOf(samples, suite, name, OURS)])),
    failures: samples.flatMap(({ runtime, contender, round, error }) =>
      error === undefined ? [] : [`${runtime} ${contender}, round ${round + 1}: ${error.slice(-400)}`]
    ),
  };
}

/** A program of ours that measures one contender in one process, with the driver's adapters. */
interface OwnProgram {
  readonly file: URL;
  /** What it is told; `dir` is a folder for its data, which does not exist yet. */
  readonly configOf: (adapter: string, dir: string) => ForegroundConfig | LayersConfig;
  /** Fills `dir` before each process. */
  readonly fill?: (dir: string) => Promise<void>;
}

function runForeground(
  driver: string,
  peers: string,
  runtimes: readonly RuntimeBinary[],
  settings: PeerSettings,
): Promise<PeerRun> {
  const { valueBytes, ingestMB } = settings;
  return inScratch((scratch) =>
    runOwn(driver, peers, runtimes, settings, scratch, {
      file: new URL("./foreground.ts", import.meta.url),
      configOf: (adapter, dir) => ({ adapter, dir, valueBytes, megabytes: ingestMB! }),
    })
  );
}

/** The tables and runs are built once; each process gets a copy. */
function runLayers(
  driver: string,
  peers: string,
  runtimes: readonly RuntimeBinary[],
  settings: PeerSettings,
): Promise<PeerRun> {
  const { rows, valueBytes, limitMillis } = settings;
  const file = new URL("./layers.ts", import.meta.url);
  return inScratch((scratch) => {
    const built: LayersConfig = { dir: join(scratch, "built"), rows, valueBytes, limitMillis };
    let building: Promise<unknown> | undefined = undefined;
    return runOwn(driver, peers, runtimes, settings, scratch, {
      file,
      configOf: (adapter, dir) => ({ ...built, adapter, dir }),
      fill: async (dir) => {
        building ??= runModule(runtimes[0]!, fileURLToPath(file), [JSON.stringify(built)]);
        await building;
        cpSync(built.dir, dir, { recursive: true });
      },
    });
  });
}

async function inScratch<A>(body: (folder: string) => Promise<A>): Promise<A> {
  const scratch = mkdtempSync(join(tmpdir(), "phyllite-bench-"));
  try {
    return await body(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Each contender in a process of its own per round, order alternating, as the driver does it. */
async function runOwn(
  driver: string,
  peers: string,
  runtimes: readonly RuntimeBinary[],
  settings: PeerSettings,
  scratch: string,
  { file, configOf, fill }: OwnProgram,
): Promise<PeerRun> {
  const { run, rounds } = settings;
  const adapters = adaptersOf(driver, settings);
  const cells = runtimes.flatMap((runtime) => Object.keys(adapters).map((contender) => ({ runtime, contender })));
  const samples: Sample[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const { runtime, contender } of round % 2 === 0 ? cells : cells.toReversed()) {
      const dir = join(scratch, `${contender}-${runtime.name}-${round}`);
      const sample = { suite: run, round, runtime: runtime.name, contender };
      try {
        await fill?.(dir);
        const results = await runModule(runtime, fileURLToPath(file), [
          JSON.stringify(configOf(adapters[contender]!, dir)),
        ], { env: { PEER_MODULES: peers }, isApart: true });
        samples.push({ ...sample, results: results as Record<string, number> });
      } catch (error) {
        samples.push({ ...sample, error: String(error) });
      }
      const said = samples.at(-1)!.error ?? "ok";
      console.error(`${run} round ${round + 1}/${rounds} ${runtime.name} ${contender}: ${said}`);
      rmSync(dir, { recursive: true, force: true });
    }
  }
  return resultOf(samples, runtimes, settings);
}

/**
 * What runs the driver, and with it the simulator: where that takes its time, Node, whose timers are the most exact (an
 * answer due in 15 ms takes a bare client 16.4 ms there, 17.5 ms on Deno).
 */
function hostOf({ latency }: PeerSettings): Pick<RuntimeBinary, "name" | "path"> {
  const here = { name: "deno", path: process.execPath } as const;
  return latency === undefined ? here : findRuntimes("node", (what) => console.error(what))[0] ?? here;
}

/** Runs the driver once and reads its samples. */
async function runDriver(
  driver: string,
  peers: string,
  runtimes: readonly RuntimeBinary[],
  settings: PeerSettings,
): Promise<PeerRun> {
  const scratch = mkdtempSync(join(tmpdir(), "phyllite-bench-"));
  const json = join(scratch, "samples.json");
  const flags: Record<string, string | number> = {
    "suite": suiteOf(settings.run),
    "store": settings.latency === undefined ? "file" : "s3",
    ...(settings.latency === undefined ? {} : {
      "get-ms": settings.latency.getMillis,
      "put-ms": settings.latency.putMillis,
      "timeout-s": SLOW_SECONDS,
    }),
    "n": settings.rows,
    "value": settings.valueBytes,
    "rounds": settings.rounds,
    "limit-ms": settings.limitMillis,
    "replay-mb": settings.replayMB,
    ...(settings.ingestMB === undefined ? {} : { "ingest-mb": settings.ingestMB }),
    ...(settings.l0MB === undefined ? {} : { "l0-mb": settings.l0MB }),
    "contenders": settings.contenders.join(","),
    "ours": ADAPTER,
    "runtimes": runtimes.map(({ name, path }) => `${name}=${path}`).join(","),
    "dir": join(scratch, "data"),
    "json": json,
  };
  try {
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const host = hostOf(settings);
    await runProgram(host.path, [...runArguments(host, driver), ...args], {
      env: {
        PEER_MODULES: peers,
        PHYLLITE_BENCH_SYNC: settings.run === "open" ? "0" : "1",
        NO_COLOR: "1",
      },
      loud: true,
    });
    const { samples } = JSON.parse(readFileSync(json, "utf8")) as { samples: Sample[] };
    return resultOf(samples, runtimes, settings);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
