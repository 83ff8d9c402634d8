/**
 * The public shapes of a compactor without a writer.
 *
 * @module
 */
import type { CompactionProgress } from "./admin_api.ts";
import type { KeyRange } from "./api.ts";
import type { CostReport, OpenCostReport } from "./cost_api.ts";

/** How a compactor without a writer is doing. */
export interface StandaloneStatus {
  /** "superseded": another compactor took over and this one has stopped. */
  readonly phase: "idle" | "running" | "superseded" | "failing";
  /** Compactions under way. */
  readonly compactions: readonly CompactionProgress[];
  /** Number of L0 tables. */
  readonly l0Count: number;
  /** Number of sorted runs. */
  readonly runCount: number;
  /** Compactions published so far. */
  readonly published: number;
  /** Bytes that they read. */
  readonly bytesIn: number;
  /** Bytes that they wrote. */
  readonly bytesOut: number;
  /** Why the last compaction failed, while it waits to try again. */
  readonly trouble?: string;
  /** What is wrong with the store, while it has not done what it was asked for 30 s or more. */
  readonly degraded?: string;
}

/** What a compaction from outside did, and what it asked. */
export interface CompactReport extends StandaloneStatus {
  /** Requests of this compaction and what they would cost. */
  readonly cost: CostReport;
}

/** A running compactor without a writer. */
export interface StandaloneCompactor extends AsyncDisposable {
  /** How it is doing, now. */
  readonly status: StandaloneStatus;
  /** Calls back after each change of the status; answers the function that ends it. */
  onStatus(listener: (status: StandaloneStatus) => void): () => void;
  /** Compacts everything, or what overlaps the range, and resolves when done. */
  compact(range?: KeyRange): Promise<void>;
  /** Resolves when nothing is left to compact for now; fails when it was superseded or a compaction failed. */
  settled(): Promise<void>;
  /** Requests so far, what they would cost, and what a month without anything to compact does. */
  cost(): OpenCostReport;
  /** Stops; what it was writing is left to the garbage collector. A second call fails with `Closed`. */
  close(): Promise<void>;
}
