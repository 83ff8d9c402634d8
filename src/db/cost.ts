/**
 * What a database asked of its stores, and what that costs: sums, and the shares of reads and writes.
 *
 * Reports add up: of several meters, or of several processes that worked on one database. Where the log has a store of
 * its own, what went there is counted once more by itself, so that each store can have its own prices.
 *
 * @module
 */
import type { EngineCounters } from "../env/counters.ts";
import type { MeterReport } from "../store/metered_store.ts";
import type { CostReport, Counted, OpenCostReport, PerMillion, PricedUsage, StoreUsage, Usage } from "./cost_api.ts";
import { addUsage, addUsages, NO_USAGE, storeUsage, withDollars } from "./price_sheets.ts";
import type { Stores } from "./stores.ts";

type Counts = Record<string, Record<string, number>>;
type CountsShape = Counted["requests"];

/** What adds up: the report of a meter, or an earlier sum. */
export interface Summand extends Omit<Counted, "bytes"> {
  /** See {@linkcode Counted}. */
  readonly bytes?: Counted["requests"];
  /** See {@linkcode CostReport}. */
  readonly walStore?: Counted | undefined;
}

/** Adds reports up, those of meters or earlier sums. */
export function costReport(reports: ReadonlyArray<Summand>): CostReport {
  const all = summed(reports);
  const apart = reports.flatMap(({ walStore }) => walStore === undefined ? [] : [walStore]);
  if (apart.length === 0) return { ...all, ...withDollars({ main: storeUsage(all) }) };
  const walStore = summed(apart);
  return { ...all, walStore, ...withDollars(usageOf(all, walStore)) };
}

function summed(reports: ReadonlyArray<Omit<Summand, "walStore">>): Counted {
  const requests: Counts = {};
  const bytes: Counts = {};
  let bytesRead = 0;
  let bytesWritten = 0;
  for (const report of reports) {
    bytesRead += report.bytesRead;
    bytesWritten += report.bytesWritten;
    addCounts(requests, report.requests);
    addCounts(bytes, report.bytes ?? {});
  }
  return { requests, bytes, bytesRead, bytesWritten };
}

function addCounts(sums: Counts, counts: CountsShape): void {
  for (const [component, kinds] of Object.entries(counts)) {
    const sum = sums[component] ??= {};
    for (const [kind, count] of Object.entries(kinds)) sum[kind] = (sum[kind] ?? 0) + count;
  }
}

/** What both stores were asked, given what they were asked together and the store of the log by itself. */
function usageOf(all: Counted, walStore: Counted | undefined): Usage {
  const together = storeUsage(all);
  if (walStore === undefined) return { main: together };
  const wal = storeUsage(walStore);
  return { main: addUsage(together, wal, -1), wal };
}

/** What the meters of a database have counted. */
interface Reading {
  readonly all: MeterReport;
  readonly walStore: MeterReport | undefined;
}

const MILLION = 1e6;
/** How the parts of tables that reads need are asked for. */
const TABLE_READS: ReadonlyArray<string> = ["getRange", "getRanges"];

/** What a ledger is told of the thing that is open. */
export interface LedgerSpec {
  readonly stores: Stores;
  /** Who reads tables for gets and scans: "db", "reader". */
  readonly component: string;
  readonly counters: EngineCounters;
  /** Wall time, ms. */
  readonly now: () => number;
  /** Whether everything that is not a read comes from rows written here. */
  readonly isWriter: boolean;
  /** What a month of rest asks, by the settings. */
  readonly idle: () => Usage;
}

/** The cost of something that is open. Make it when the opening has ended. */
export class CostLedger {
  readonly #spec: LedgerSpec;
  readonly #opening: Reading;
  readonly #openedAt: number;

  constructor(spec: LedgerSpec) {
    this.#spec = spec;
    this.#opening = this.#read();
    this.#openedAt = spec.now();
  }

  /** Everything so far. */
  report(): OpenCostReport {
    const { counters, idle, now } = this.#spec;
    const { all, walStore } = this.#read();
    const { gets, scans, writeOps: puts } = counters;
    const opening = usageOf(this.#opening.all, this.#opening.walStore);
    return {
      ...costReport([{ ...all, walStore: walStore === undefined ? undefined : countedOf(walStore) }]),
      operations: { gets, scans, puts },
      opening: withDollars(opening),
      perMillion: this.#perMillion(all, addUsages(usageOf(all, walStore), opening, -1)),
      perMonthIdle: withDollars(idle()),
      openMillis: Math.max(0, now() - this.#openedAt),
    };
  }

  #perMillion(all: MeterReport, sinceOpening: Usage): PerMillion {
    const { counters, isWriter } = this.#spec;
    const tableReads = this.#tableReads(all);
    // A cache below the tables may have answered some of what they asked for.
    const asked = counters.getRequests + counters.scanRequests;
    const share = asked === 0 ? 0 : Math.min(1, tableReads.gets / asked);
    const askedBytes = counters.getBytes + counters.scanBytes;
    const shareOfBytes = askedBytes === 0 ? 0 : Math.min(1, tableReads.bytesRead / askedBytes);
    const readUsage = (requests: number, bytes: number): Usage => ({
      main: { ...NO_USAGE, gets: requests * share, bytesRead: bytes * shareOfBytes },
    });
    const { gets, scans, writeOps } = counters;
    return {
      ...(gets === 0 ? {} : { gets: perMillion(readUsage(counters.getRequests, counters.getBytes), gets) }),
      ...(scans === 0 ? {} : { scans: perMillion(readUsage(counters.scanRequests, counters.scanBytes), scans) }),
      ...(writeOps === 0 || !isWriter
        ? {}
        : { puts: perMillion(addUsages(sinceOpening, { main: tableReads }, -1), writeOps) }),
    };
  }

  /** What was asked of tables since the opening, repetitions and statistics included. */
  #tableReads(all: MeterReport): StoreUsage {
    const { component } = this.#spec;
    const before = this.#opening.all;
    const sum = (of: CountsShape): number =>
      TABLE_READS.reduce((total, kind) => total + (of[component]?.[kind] ?? 0), 0);
    return {
      ...NO_USAGE,
      gets: sum(all.requests) - sum(before.requests),
      bytesRead: sum(all.bytes) - sum(before.bytes),
    };
  }

  #read(): Reading {
    const { meter, walMeter } = this.#spec.stores;
    return { all: meter.report(), walStore: walMeter?.report() };
  }
}

function countedOf({ requests, bytes, bytesRead, bytesWritten }: MeterReport): Counted {
  return { requests, bytes, bytesRead, bytesWritten };
}

function perMillion(usage: Usage, operations: number): PricedUsage {
  return withDollars(addUsages({ main: NO_USAGE }, usage, MILLION / operations));
}
