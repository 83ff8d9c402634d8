/**
 * The public shapes of a plan: what a workload would cost under given settings, before anything is built.
 *
 * Sizes are bytes, times milliseconds, prices dollars; a month has 30 days.
 *
 * @module
 */
import type { PricedUsage, PriceSheet } from "./cost_api.ts";
import type { OpenOptions } from "./options.ts";
import type { ReaderOptions } from "./reader_options.ts";

/** The settings of `open` that decide what is asked of a store. Names, limits and defaults are those of `open`. */
export interface PlanSettings extends
  Pick<
    OpenOptions,
    | "flushIntervalMillis"
    | "maxWalPutsPerSecond"
    | "l0SstSizeBytes"
    | "manifestPollIntervalMillis"
    | "idlePollMillis"
    | "minFilterKeys"
    | "filterBitsPerKey"
    | "blockSizeBytes"
    | "blockCacheBytes"
    | "compactor"
    | "garbageCollector"
  > {
  /** The write-ahead log: on (default), off, or in a store of its own. */
  readonly wal?: boolean | "apart";
}

/** A reader in another process. */
export interface PlanReader
  extends Pick<ReaderOptions, "mode" | "manifestPollIntervalMillis" | "checkpointLifetimeMillis" | "skipWalReplay"> {
  /** How many there are of it, 1 or more. Default 1. */
  readonly count?: number;
}

/**
 * What a database would be used for, as an average over the hours in which it is used. Rates, and hours of a day, are 0
 * or at least 1e-9, rates at most 1e9; at most 1 TiB may be written a second.
 */
export interface PlanWorkload {
  /** Rows written a second, evenly spaced, 0 or more. */
  readonly rowsPerSecond: number;
  /** Rows of one write, 1 or more: a batch. Default 1. */
  readonly rowsPerWrite?: number;
  /** Length of a key, 1..65535. Default 16. */
  readonly keyBytes?: number;
  /** Length of a value. Default 100. */
  readonly valueBytes?: number;
  /** What compression leaves of a table's blocks, 0..1. Default 1: none. */
  readonly compressionRatio?: number;
  /** Whether somebody waits for each write to be durable. Default true, as in `put`. */
  readonly durable?: boolean;
  /** How many wait at once, 1 or more: each writes again when its write is durable. Default: as many as it takes. */
  readonly writers?: number;
  /** How long the store takes for a PUT, ms. Default 30. */
  readonly putLatencyMillis?: number;
  /** Whether keys come in any order (default), or each after the one before. */
  readonly keys?: "random" | "ascending";
  /** Number of different keys that are written over and over. Default: every row has a key of its own. */
  readonly distinctKeys?: number;
  /** Rows that are there already, in one sorted run, 1 PiB of keys and values at most. Default 0. */
  readonly existingRows?: number;
  /** Point reads a second of keys that exist. Default 0. */
  readonly pointReadsPerSecond?: number;
  /** Part of them that memory answers, 0..1. Default: what of the tables fits into the block cache. */
  readonly cacheHitRatio?: number;
  /** Scans a second, none of which memory answers. Default 0. */
  readonly scansPerSecond?: number;
  /** Rows of a scan, 1..1e12. Default 100. */
  readonly rowsPerScan?: number;
  /** Hours of a day in which all this goes on, 0..24. The others are rest. Default 24. */
  readonly hoursPerDay?: number;
  /** Readers in other processes that are open all day. Their own reads are not part of the plan. Default: none. */
  readonly readers?: readonly PlanReader[];
}

/** Requests of one kind for one reason. */
export interface PlanPart {
  /** What asks, such as "log" or "compaction". */
  readonly name: string;
  /** How the figures come about, in words and numbers. */
  readonly formula: string;
  /** In a month, with dollars by price sheet name. */
  readonly perMonth: PricedUsage;
  /** Share of the dollars of all requests, 0..1, by price sheet name. */
  readonly share: Readonly<Record<string, number>>;
}

/** What a workload would cost. */
export interface CostPlan {
  /** Everything asked in a month; without storage. */
  readonly perMonth: PricedUsage;
  /** What that is made of, each with its reason. */
  readonly parts: readonly PlanPart[];
  /** What is stored when the month ends, tables and log; what waits to be collected is not in it. */
  readonly stored: {
    readonly bytes: number;
    /** Dollars a month by price sheet name. */
    readonly dollarsPerMonth: Readonly<Record<string, number>>;
  };
  /** Requests and storage together, dollars a month by price sheet name. */
  readonly dollarsPerMonth: Readonly<Record<string, number>>;
  /** Figures that explain the rest. */
  readonly figures: {
    /** Rows really written a second: fewer than asked for when the writers wait too long. */
    readonly rowsPerSecond: number;
    /** Objects of the log a second, while there are writes. */
    readonly walPutsPerSecond: number;
    /** Seconds between two tables of L0, while there are writes. */
    readonly secondsPerTable: number;
    /** Tables of L0 and sorted runs together, at the end: what a scan has to ask. */
    readonly sources: number;
    /** Bytes written to the stores per byte of keys and values. */
    readonly writeAmplification: number;
    /** Part of the point reads that memory answers. */
    readonly cacheHitRatio: number;
  };
  /** What is worth knowing about these figures, a sentence each. */
  readonly facts: readonly string[];
}

/** How a plan is priced. */
export interface PlanOptions {
  /** Each with a name of its own and prices of 0 or more. Default: all of `PRICE_SHEETS`. */
  readonly sheets?: readonly PriceSheet[];
}
