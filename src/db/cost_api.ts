/**
 * The public shapes of what a database costs: prices as data, requests and bytes as counted, dollars from both.
 *
 * Sizes are bytes, times milliseconds, prices dollars; a month has 30 days.
 *
 * @module
 */

/** What an object store charges. Give one of your own wherever a sheet is taken. */
export interface PriceSheet {
  /** Name of the store and price class. */
  readonly name: string;
  /** Where and when the prices were read. */
  readonly source: string;
  /** Dollars per 1000 PUT, COPY, POST or LIST requests. */
  readonly putPer1000: number;
  /** Dollars per 1000 GET or HEAD requests. */
  readonly getPer1000: number;
  /** Dollars per GB of bodies written. Default 0. */
  readonly uploadPerGb?: number;
  /** Dollars per GB of bodies read. Default 0. */
  readonly downloadPerGb?: number;
  /** Dollars per GB that is stored for a month. Default 0. */
  readonly storagePerGbMonth?: number;
  /** Bytes that this store calls a GB. Default 2 ** 30. */
  readonly bytesPerGb?: number;
}

/** What was asked of one store, by what is charged alike. */
export interface StoreUsage {
  /** PUT, COPY, POST, LIST and whatever is not known to be cheaper. */
  readonly puts: number;
  /** GET and HEAD. */
  readonly gets: number;
  /** DELETE and the giving up of uploads. */
  readonly free: number;
  /** Bytes of bodies written. */
  readonly bytesWritten: number;
  /** Bytes of bodies read. */
  readonly bytesRead: number;
}

/** What was asked of the stores of a database. */
export interface Usage {
  /** The store of manifests and tables; of the log too, unless that lives apart. */
  readonly main: StoreUsage;
  /** The store of the log, where the log has one of its own. */
  readonly wal?: StoreUsage;
}

/** Which sheet holds for which store. */
export interface SheetsByStore {
  /** Of manifests and tables. */
  readonly main: PriceSheet;
  /** Of the log, where it lives apart. Default: that of `main`. */
  readonly wal?: PriceSheet;
}

/** Usage and what it would cost if one price sheet held for all of it. */
export interface PricedUsage extends Usage {
  /** Dollars by price sheet name: requests and bytes moved. `dollarsOf` prices two stores by two sheets. */
  readonly dollars: Readonly<Record<string, number>>;
}

/** Requests and bytes by who asked and what was asked. */
export interface Counted {
  /** Requests sent, repetitions included, by component ("db", "wal", "compactor", "gc", "reader", "preload") and kind. */
  readonly requests: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Bytes of the bodies of successful requests, likewise; kinds without bodies are not listed. */
  readonly bytes: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Bytes of bodies read. */
  readonly bytesRead: number;
  /** Bytes of bodies written. */
  readonly bytesWritten: number;
}

/** Requests so far and what they would cost. Reports add up, see `costReport`. */
export interface CostReport extends Counted, PricedUsage {
  /** The part of it that went to the store of the log, where the log has one of its own. */
  readonly walStore?: Counted;
}

/**
 * What a million of an operation cost so far. Absent while there was none of it.
 *
 * Requests are attributed by who made them: a range of a table that a get or a scan had to fetch is theirs, and where
 * several wait for one part it is the first one's. Everything else after the opening (log, tables, manifests,
 * compaction, collection) is there because rows were written, and is theirs, also while it works off what was there
 * before. Statistics of tables, repeated requests, what is preloaded and what readers ask to follow the writer belong
 * to none of them. With a cache on the disk the shares of gets and scans are estimates: what it fetches around a range
 * is divided as their ranges are.
 */
export interface PerMillion {
  /** Point reads, those answered by memory included. */
  readonly gets?: PricedUsage;
  /** Scans, however long. */
  readonly scans?: PricedUsage;
  /** Rows written: puts, deletes and merges, those of a batch one by one. */
  readonly puts?: PricedUsage;
}

/** What something that is open cost so far, and would cost at rest. */
export interface OpenCostReport extends CostReport {
  /** Operations so far, as {@linkcode PerMillion} divides by them. */
  readonly operations: { readonly gets: number; readonly scans: number; readonly puts: number };
  /** What the opening asked; a part of the whole. */
  readonly opening: PricedUsage;
  /** Requests and dollars per million operations, from those after the opening. */
  readonly perMillion: PerMillion;
  /**
   * What 30 days without a write or a read would cost by the settings, once all is settled: for this process alone, with
   * a store that answers at once.
   */
  readonly perMonthIdle: PricedUsage;
  /** Time since the opening ended, ms. */
  readonly openMillis: number;
}
