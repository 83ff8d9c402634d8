/**
 * The goals of the engine's speed, as ratios against other stores measured in the same run.
 *
 * A goal counts per runtime and is never averaged: it is met when the median of the in-round ratios reaches it. Node
 * is held to half of each ratio.
 *
 * @module
 */
import type { CaseResult, Ratio } from "./statistics.ts";

/** A contender that goals name. */
export type Peer = "slatedb" | "classic-level" | "lmdb";

/** One comparison that a goal asks for. */
export interface Goal {
  readonly id: string;
  readonly what: string;
  /** Which run of the driver measures it. */
  readonly run: RunName;
  /** The driver's name of the case. */
  readonly metric: string;
  readonly peer: Peer;
  /** Times better than the peer; by runtime where it differs, 0 where only `atMost` is asked for. */
  readonly atLeast: number | Readonly<Record<string, number>>;
  /** The case itself must not exceed this, µs. */
  readonly atMost?: number;
}

/**
 * The runs of the comparison: the driver's main suite, the replay of a log, opening a database of a million rows,
 * sustained ingest, compaction alone with small and with larger rows, reads while tables are compacted, and reads over
 * a memtable, level-0 tables and runs at once. On the S3 simulator: the main suite against answers that take their time,
 * and all requests counted.
 */
export type RunName =
  | "main"
  | "replay"
  | "open"
  | "ingest"
  | "compact"
  | "compact1k"
  | "foreground"
  | "layers"
  | "s3"
  | "s3cost";

/** All runs, in the order of the report. */
export const RUNS: readonly RunName[] = [
  "main",
  "replay",
  "open",
  "ingest",
  "compact",
  "compact1k",
  "foreground",
  "layers",
  "s3",
  "s3cost",
];

/** How long the simulator takes to answer in the run `s3`, ms: about what S3 takes. */
export const S3_LATENCY = { getMillis: 15, putMillis: 30 } as const;

/** The runs of goals that the main suite does not measure. */
const RUN_OF: Readonly<Record<string, RunName>> = {
  O1: "open",
  O3: "replay",
  C1: "compact",
  C2: "compact1k",
  C3: "foreground",
  S4: "layers",
  I1: "ingest",
  O2: "s3",
  R7: "s3",
};

/** What came of a goal on one runtime. */
export interface Verdict {
  readonly needed: number;
  /** Undefined when the case was not measured. */
  readonly ratio: Ratio | undefined;
  readonly met: boolean;
}

const goal = (
  id: string,
  what: string,
  metric: string,
  needs: Partial<Record<Peer, Goal["atLeast"]>>,
  atMost?: number,
  run: RunName = RUN_OF[id] ?? "main",
): Goal[] => {
  return Object.entries(needs).map(([peer, atLeast]) => ({
    id,
    what,
    run,
    metric,
    peer: peer as Peer,
    atLeast,
    ...(atMost === undefined || peer !== "slatedb" ? {} : { atMost }),
  }));
};

const GET_MICROS = S3_LATENCY.getMillis * 1000;
const PUT_MICROS = S3_LATENCY.putMillis * 1000;

/** All goals that the driver can measure today. */
export const GOALS: readonly Goal[] = [
  ...goal("P1", "puts one by one", "put_1_ops", { slatedb: 40, "classic-level": 10 }),
  ...goal("P2", "put, 99th percentile", "put_1_p99us", { slatedb: 30, "classic-level": 5 }),
  ...goal("P3", "puts, 64 in flight", "put_1_x64_ops", { slatedb: 20, "classic-level": 3 }),
  ...goal("P4", "batches of 100", "put_batch100_ops", { slatedb: 8, "classic-level": 2 }),
  ...goal("P4", "batches of 1000", "put_batch1000_ops", { slatedb: 8, "classic-level": 2 }),
  ...goal("P6", "durable puts one by one, median", "put_durable_p50us", { slatedb: 30 }, 3000),
  ...goal("P7", "durable puts, 256 in flight", "put_durable_x256_ops", { slatedb: 10, "classic-level": 1 }),
  ...goal("R1", "get from the memtable", "get_mem_ops", { slatedb: 12, "classic-level": 8, lmdb: 0.8 }),
  ...goal("R2", "get from cached blocks", "get_warm_ops", { slatedb: 10, "classic-level": 5, lmdb: 0.5 }),
  ...goal("R3", "get of a missing key, table", "get_missing_warm_ops", { slatedb: 30, lmdb: 2 }),
  ...goal("R4", "synchronous get from cached blocks", "get_warm_sync_ops", { "classic-level": { deno: 2, bun: 1 } }),
  ...goal("R5", "get from cached blocks, 99th percentile", "get_warm_p99us", { slatedb: 5 }),
  ...goal("R6", "get from files, nothing cached, median", "get_nocache_p50us", { slatedb: 5 }, 120),
  ...goal("S1", "full scan forward, table", "scan_fwd_sst_entries", {
    slatedb: 25,
    "classic-level": { deno: 6, bun: 1 },
  }),
  ...goal("S2", "full scan backward, table", "scan_rev_sst_entries", { slatedb: 20, "classic-level": 1 }),
  ...goal("S3", "scan of 100 rows, cached blocks, median", "scan100_sst_p50us", { slatedb: 15 }),
  ...goal("S3", "scan of 100 rows, memtable, median", "scan100_mem_p50us", { slatedb: 8 }),
  ...goal("S4", "full scan forward, memtable + 4 tables + 2 runs", "layers_scan_fwd_entries", { slatedb: 15 }),
  ...goal("S4", "full scan backward, memtable + 4 tables + 2 runs", "layers_scan_rev_entries", { slatedb: 15 }),
  ...goal("S4", "scan of 100 rows, memtable + 4 tables + 2 runs, median", "layers_scan100_p50us", { slatedb: 15 }),
  ...goal("O1", "open a database of 1M rows", "open_ms", { slatedb: 2 }),
  ...goal("O3", "replay of a 64 MB log", "replay_MBps", { slatedb: 2.5, "classic-level": 3 }),
  ...goal("I1", "sustained ingest with compaction", "ingest_user_MBps", { slatedb: 8, "classic-level": 1 }),
  ...goal("C1", "compaction, rows of 116 bytes", "compaction_MBps", { slatedb: 2.5, "classic-level": 1.5 }),
  ...goal("C2", "compaction, rows of 1 KiB", "compaction_MBps", { slatedb: 1.2, "classic-level": 3 }),
  ...goal("C3", "get while compacting, 99th percentile", "fg_get_p99us", { slatedb: 1 }, 5000),
  ...goal("F1", "memtable to table", "flush_memtable_MBps", { slatedb: 2.5 }),
  ...goal("O2", "open on S3", "open_ms", { slatedb: 2.5 }),
  ...goal("R7", "first get of a block on S3, median", "get_cold_p50us", { slatedb: 0 }, 1.1 * GET_MICROS),
  ...goal("R7", "first get of a block on S3, 99th percentile", "get_cold_p99us", { slatedb: 0 }, 2.2 * GET_MICROS),
  ...goal(
    "P6",
    "durable puts one by one on S3, median",
    "put_durable_p50us",
    { slatedb: 2.7 },
    1.25 * PUT_MICROS,
    "s3",
  ),
  ...goal("M1", "resident memory with the rows loaded", "rss_loaded_MB", { slatedb: { deno: 1.5, bun: 1.2 } }),
];

/** Name of the figure of our own workloads that goal P5 is about: the driver knows promises only. */
export const EFFECT_PUTS: string = "engine: put inside a fiber, Effect API";
/** Times SlateDB's single put through its promise API that P5 asks for. */
export const EFFECT_PUTS_RATIO = 25;

/** The ratio that `goal` asks for on `runtime`. */
export function neededRatio(goal: Goal, runtime: string): number {
  if (typeof goal.atLeast === "number") return runtime === "node" ? goal.atLeast / 2 : goal.atLeast;
  return goal.atLeast[runtime] ?? (goal.atLeast["deno"] ?? NaN) / 2;
}

/** What the case itself may be at most on `runtime`, µs; undefined where only the ratio counts. */
export function allowedMicros({ atMost }: Goal, runtime: string): number | undefined {
  return atMost !== undefined && runtime === "node" ? atMost * 2 : atMost;
}

/** Judges one goal by the case measured for it; `ours` is our name among the contenders. */
export function judge(goal: Goal, runtime: string, measured: CaseResult | undefined, ours: string): Verdict {
  const needed = neededRatio(goal, runtime);
  const ratio = measured?.ratios[goal.peer];
  const value = measured?.values[ours]?.[0];
  const limit = allowedMicros(goal, runtime) ?? Infinity;
  return { needed, ratio, met: ratio !== undefined && ratio[0] >= needed && value !== undefined && value <= limit };
}
