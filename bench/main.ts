/**
 * Measures: parts of the engine, the whole engine, and the engine beside other stores; records and reports.
 *
 * ```text
 * deno run -A bench/main.ts [--peers] [--quick] [--only part,…] [--rounds 3] [--n 200000] [--runtimes deno,bun=PATH,node]
 * ```
 *
 * Every measurement runs in a process of its own, one at a time, rounds over runtimes interleaved. Full runs append a
 * line to `bench/history` and write `bench/README.md`; quick runs only show what they found.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { renderCostTable, withCostTable } from "./cost_report.ts";
import { type RunName, RUNS, S3_LATENCY } from "./goals.ts";
import {
  circumstances,
  type HistoryLine,
  type MicroCase,
  type MicroLine,
  newest,
  newestCounts,
  type PeersLine,
  record,
} from "./history.ts";
import { BENCH_FILES, benchFile, type Figure } from "./micro.ts";
import { findDriver, installPeers, type PeerRun, type PeerSettings, peerVersions, runPeers } from "./peers.ts";
import { findRuntimes, runModule, type RuntimeBinary } from "./programs.ts";
import { renderReport } from "./report.ts";
import { FULL_SIZE, SMALL_SIZE } from "./s3_cost_run.ts";
import { summarise } from "./statistics.ts";
import { repositoryPath } from "../tests/support/shared.ts";

/** What the command line asks for. */
interface Wish {
  readonly runtimes: readonly RuntimeBinary[];
  readonly groups: readonly string[];
  readonly runs: readonly RunName[];
  readonly quick: boolean;
  readonly rounds: number;
  readonly rows: number;
}

/** Rows of the database that goal O1 opens. */
const OPEN_ROWS = 1_000_000;
/** Rows of the database on S3. */
const S3_ROWS = 50_000;

function parseWish(argv: readonly string[]): Wish {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      peers: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      rounds: { type: "string" },
      n: { type: "string" },
      runtimes: { type: "string", default: "deno,bun" },
    },
  });
  const parts = [...Object.keys(BENCH_FILES), ...RUNS];
  const only = values.only?.split(",");
  const unknown = only?.filter((part) => !parts.includes(part)) ?? [];
  if (unknown.length > 0) throw new Error(`unknown part ${unknown.join(", ")}; known: ${parts.join(", ")}`);
  const wanted = (part: string) => only === undefined || only.includes(part);
  const positive = (name: "rounds" | "n", fallback: number) => {
    const number = Number(values[name] ?? fallback);
    if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${name} takes a whole number from 1 on`);
    return number;
  };
  return {
    runtimes: findRuntimes(values.runtimes, (what) => console.error(what)),
    groups: Object.keys(BENCH_FILES).filter((group) => wanted(group) && benchFile(group) !== undefined),
    // What was asked for first is measured first.
    runs: (only ?? (values.peers ? RUNS : [])).filter((part): part is RunName => RUNS.some((run) => run === part)),
    quick: values.quick,
    rounds: positive("rounds", values.quick ? 1 : 3),
    rows: positive("n", values.quick ? 20_000 : 200_000),
  };
}

async function measureMicro(wish: Wish): Promise<MicroCase[]> {
  if (wish.quick) process.env["PHYLLITE_BENCH_SCALE"] ??= "0.05";
  const file = fileURLToPath(new URL("./micro.ts", import.meta.url));
  // What stands beside range deletes is classic-level's.
  const peers = wish.groups.includes("ranges") ? { PEER_MODULES: await installPeers() } : {};
  const found = new Map<string, { group: string; unit: string; samples: Map<string, number[]> }>();
  for (let round = 0; round < wish.rounds; round++) {
    const order = round % 2 === 0 ? wish.runtimes : wish.runtimes.toReversed();
    for (const group of wish.groups) {
      for (const runtime of order) {
        console.error(`${group} round ${round + 1}/${wish.rounds} ${runtime.name}`);
        let figures: Figure[] = [];
        try {
          figures = await runModule(runtime, file, [group], { env: peers }) as Figure[];
        } catch (error) {
          console.error(`  ${error instanceof Error ? error.message : error}`);
        }
        for (const { name, value, unit } of figures) {
          const known = found.get(name) ?? { group, unit, samples: new Map<string, number[]>() };
          found.set(name, known);
          known.samples.set(runtime.name, [...known.samples.get(runtime.name) ?? [], value]);
        }
      }
    }
  }
  return [...found].map(([name, { group, unit, samples }]) => ({
    group,
    name,
    unit,
    values: Object.fromEntries([...samples].map(([runtime, values]) => [runtime, summarise(values)])),
  }));
}

/** What a run is made of where it is not as in the main suite. */
function settingsOf(run: RunName, wish: Wish): PeerSettings {
  const { rows, rounds, quick } = wish;
  const part = quick ? 8 : 1;
  const common: PeerSettings = {
    run,
    rows,
    rounds,
    valueBytes: 100,
    limitMillis: quick ? 250 : 1500,
    replayMB: 64 / part,
    contenders: ["slatedb", "classic-level"],
  };
  switch (run) {
    case "main":
      return { ...common, contenders: ["slatedb", "classic-level", "lmdb"] };
    case "replay":
      return common;
    case "open":
      return { ...common, rows: quick ? rows : OPEN_ROWS, limitMillis: 60, contenders: ["slatedb"] };
    case "ingest":
      return { ...common, ingestMB: 256 / part, l0MB: 16 / part };
    case "compact":
      return { ...common, l0MB: 8 / part };
    case "compact1k":
      return { ...common, valueBytes: 1008, l0MB: 16 / part };
    case "foreground":
      return { ...common, ingestMB: 176 / part, contenders: ["slatedb"] };
    case "layers":
      return { ...common, contenders: ["slatedb"] };
    case "s3":
      return { ...common, rows: quick ? 5000 : S3_ROWS, latency: S3_LATENCY, contenders: ["slatedb"] };
    case "s3cost": {
      const costSize = quick ? SMALL_SIZE : FULL_SIZE;
      return { ...common, rows: costSize.rows, rounds: 1, costSize, contenders: ["slatedb"] };
    }
  }
}

/** The comparison, or undefined when the driver is not there. */
async function measurePeers(wish: Wish): Promise<Pick<PeersLine, "peers" | "runs"> | undefined> {
  const driver = findDriver();
  if (driver === undefined) {
    console.error("no comparison: the side-by-side driver is not beside the checkout (see bench/README.md)");
    return undefined;
  }
  const peers = await installPeers();
  const runs: PeerRun[] = [];
  for (const run of wish.runs) runs.push(await runPeers(driver, peers, wish.runtimes, settingsOf(run, wish)));
  return { peers: peerVersions(peers), runs };
}

/** Parts that were not measured now keep their newest recorded figures only if nothing else about them changed. */
function merged(line: PeersLine, before: PeersLine | undefined): PeersLine {
  const measured = new Set(line.runs.map(({ settings }) => settings.run));
  const same = before !== undefined && before.commit === line.commit && before.machine.cpu === line.machine.cpu;
  const kept = !same ? [] : before.runs.filter(({ settings }) => !measured.has(settings.run))
    .map((run) => ({ measured: { date: before.date, load: before.machine.load }, ...run }));
  const order = (run: PeerRun) => RUNS.indexOf(run.settings.run);
  return { ...line, runs: [...line.runs, ...kept].sort((a, b) => order(a) - order(b)) };
}

/** The table in the README of the repository; counts stay those of the line that has them. */
function writeCostTable(): void {
  const file = repositoryPath("README.md");
  const before = readFileSync(file, "utf8");
  const after = withCostTable(before, renderCostTable(newestCounts()));
  if (after === undefined) console.error("README.md has no place for the cost table");
  else if (after !== before) {
    writeFileSync(file, after);
    console.log("wrote the cost table of README.md");
  }
}

async function main(argv: readonly string[]): Promise<number> {
  const wish = parseWish(argv);
  if (wish.runtimes.length === 0) throw new Error("no runtime to measure on");
  const about = circumstances(wish.runtimes);
  const lines: HistoryLine[] = [];
  if (wish.groups.length > 0) {
    const cases = await measureMicro(wish);
    lines.push({ kind: "micro", ...about, rounds: wish.rounds, cases });
  }
  const compared = wish.runs.length > 0 ? await measurePeers(wish) : undefined;
  if (compared !== undefined) {
    const line: PeersLine = { kind: "peers", ...about, ...compared };
    lines.push(wish.quick ? line : merged(line, newest("peers")));
  }
  if (!wish.quick) lines.forEach(record);
  const find = <K extends HistoryLine["kind"]>(kind: K) =>
    lines.find((line): line is Extract<HistoryLine, { kind: K }> => line.kind === kind);
  const peers: PeersLine | undefined = find("peers");
  const micro: MicroLine | undefined = find("micro");
  if (wish.quick) console.log(renderReport(peers, micro));
  else {
    writeFileSync(repositoryPath("bench/README.md"), renderReport(peers ?? newest("peers"), micro ?? newest("micro")));
    console.log("wrote bench/README.md");
    writeCostTable();
  }
  return 0;
}

if (import.meta.main) process.exit(await main(process.argv.slice(2)));
