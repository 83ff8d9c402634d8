/**
 * The goals of what is asked of S3, as counts, absolute or against SlateDB's in the same run.
 *
 * @module
 */
import { FULL_SIZE, OURS } from "./s3_cost_run.ts";
import type { CaseResult } from "./statistics.ts";

/** One limit that counts must keep. */
export interface CostGoal {
  readonly id: string;
  readonly what: string;
  /** Our count's name. */
  readonly metric: string;
  /** SlateDB's, where it has none of that name. */
  readonly theirs?: string;
  readonly unit: string;
  /** Most that it may be. */
  readonly atMost?: number;
  /** Most that it may be, as a part of SlateDB's. */
  readonly ofTheirs?: number;
}

/** What came of a cost goal. */
export interface CostVerdict {
  readonly ours: number | undefined;
  readonly theirs: number | undefined;
  /** False too when it was not measured. */
  readonly met: boolean;
}

const perMB = { unit: "PUT/MB", ofTheirs: 0.6 };
const writtenTwice = { unit: "bytes written/MB", ofTheirs: 0.9 };

/** All that can be counted on the simulator. K10 is asserted by the tests, on counted stores. */
export const COST_GOALS: readonly CostGoal[] = [
  { id: "K1", what: "rest with compactor and collector", metric: "rest_gets_per_minute", unit: "GET/min", atMost: 2 },
  { id: "K1", what: "the same, listings", metric: "rest_lists_per_minute", unit: "LIST/min", atMost: 0.1 },
  { id: "K2", what: "a row a second, not awaited", metric: "trickle_puts_per_write", unit: "PUT/row", atMost: 1 },
  { id: "K2", what: "50 rows a second, not awaited", metric: "steady_puts_per_second", unit: "PUT/s", atMost: 10 },
  { id: "K3", what: "stream of rows of 116 bytes", metric: "small_puts_per_MB", ...perMB },
  {
    id: "K3",
    what: "the same, ours with `maxWalPutsPerSecond: 4`",
    metric: "capped_puts_per_MB",
    theirs: "small_puts_per_MB",
    ...perMB,
  },
  { id: "K3", what: "stream of rows of 1 KiB", metric: "large_puts_per_MB", ...perMB },
  { id: "K4", what: "stream of rows of 116 bytes", metric: "small_putBytes_per_MB", ...writtenTwice },
  { id: "K4", what: "stream of rows of 1 KiB", metric: "large_putBytes_per_MB", ...writtenTwice },
  { id: "K5", what: "get of a cold block", metric: "cold_gets_per_read", unit: "GET", atMost: 1.02 },
  { id: "K6", what: "get with no cache, one table", metric: "uncached_gets_per_read", unit: "GET", atMost: 2 },
  { id: "K7", what: "first touch, index included", metric: "touched_getBytes_per_read", unit: "bytes", atMost: 5000 },
  { id: "K8", what: "cold scan of 100 rows of 116 bytes", metric: "scan100_gets_per_scan", unit: "GET", atMost: 2 },
  { id: "K8", what: "cold scan of 100 rows of 1 KiB", metric: "scan100of1k_gets_per_scan", unit: "GET", atMost: 3 },
  { id: "K9", what: "cold scan of 10 rows, 4 tables", metric: "scan10of4_gets_per_scan", unit: "GET", atMost: 4.2 },
  { id: "K11", what: "open, nothing in the log", metric: "openClean_requests_per_open", unit: "requests", atMost: 6 },
  {
    id: "K11",
    what: `open, ${FULL_SIZE.logObjects} objects in the log`,
    metric: "openLog_requests_per_open",
    unit: "requests",
    atMost: 6 + FULL_SIZE.logObjects,
  },
  { id: "K12", what: "50 readers of one cold block", metric: "shared_gets_per_block", unit: "GET", atMost: 1 },
  { id: "-", what: "`cost()` beside the wire", metric: "miscounted_requests_per_run", unit: "off by", atMost: 0 },
];

/** Judges one goal by the counts of one runtime. */
export function judgeCost(goal: CostGoal, cases: Readonly<Record<string, CaseResult>> | undefined): CostVerdict {
  const ours = cases?.[goal.metric]?.values[OURS]?.[0];
  const theirs = cases?.[goal.theirs ?? goal.metric]?.values["slatedb"]?.[0];
  const limit = costLimit(goal, theirs);
  return { ours, theirs, met: ours !== undefined && limit !== undefined && ours <= limit };
}

/** What ours may be at most, or undefined when it hangs on a count that is not there. */
export function costLimit({ atMost, ofTheirs }: CostGoal, theirs: number | undefined): number | undefined {
  return atMost ?? (ofTheirs === undefined || theirs === undefined ? undefined : ofTheirs * theirs);
}
