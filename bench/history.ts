/**
 * The record of measurements: one JSON line per run below `bench/history`, and the newest of each kind for the report.
 *
 * Lines are only comparable on one machine; each says which it was, how loaded, and what exactly was measured.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { repositoryPath } from "../tests/support/shared.ts";
import type { PeerRun } from "./peers.ts";
import type { RuntimeBinary } from "./programs.ts";
import type { Summary } from "./statistics.ts";

/** What it was measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  /** Load average of the minute before the run. */
  readonly load: number;
}

/** What every line says. */
export interface Circumstances {
  readonly date: string;
  /** Commit of the checkout; ends in "+" when product files differed from it. */
  readonly commit: string;
  readonly machine: Machine;
  /** Versions by runtime. */
  readonly runtimes: Readonly<Record<string, string>>;
}

/** A figure of the micro benches on one runtime. */
export interface MicroCase {
  readonly group: string;
  readonly name: string;
  readonly unit: string;
  /** By runtime. */
  readonly values: Readonly<Record<string, Summary>>;
}

/** Micro benches and whole-engine workloads. */
export interface MicroLine extends Circumstances {
  readonly kind: "micro";
  readonly rounds: number;
  readonly cases: readonly MicroCase[];
}

/** A comparison with other stores. */
export interface PeersLine extends Circumstances {
  readonly kind: "peers";
  /** Versions by package. */
  readonly peers: Readonly<Record<string, string>>;
  readonly runs: readonly PeerRun[];
}

/** One run. */
export type HistoryLine = MicroLine | PeersLine;

const FOLDER = repositoryPath("bench/history");

/** Looks at the machine, the checkout and the clock. */
export function circumstances(runtimes: readonly RuntimeBinary[]): Circumstances {
  const git = (...args: string[]) =>
    spawnSync("git", args, { cwd: repositoryPath("."), encoding: "utf8" }).stdout?.trim() ?? "";
  const changed = git("status", "--porcelain", "--", "mod.ts", "src", "tasks") !== "";
  return {
    date: new Date().toISOString().slice(0, 16) + "Z",
    commit: `${git("rev-parse", "--short", "HEAD") || "unknown"}${changed ? "+" : ""}`,
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${type()} ${release()}`,
      load: Number(loadavg()[0]!.toFixed(2)),
    },
    runtimes: Object.fromEntries(runtimes.map(({ name, version }) => [name, version])),
  };
}

/** Appends a run to its file. */
export function record(line: HistoryLine): void {
  mkdirSync(FOLDER, { recursive: true });
  appendFileSync(join(FOLDER, `${line.kind}.jsonl`), `${JSON.stringify(line)}\n`);
}

/** All runs of a kind, oldest first. */
function lines<K extends HistoryLine["kind"]>(kind: K): Extract<HistoryLine, { kind: K }>[] {
  const file = join(FOLDER, `${kind}.jsonl`);
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** The newest run of a kind, or undefined. */
export function newest<K extends HistoryLine["kind"]>(kind: K): Extract<HistoryLine, { kind: K }> | undefined {
  return lines(kind).at(-1);
}

/** The newest line with requests on S3 that were counted, or undefined. */
export function newestCounts(): PeersLine | undefined {
  return lines("peers").findLast(({ runs }) => runs.some(({ settings }) => settings.run === "s3cost"));
}
