/**
 * What object stores charge, as data with its source and date, and dollars for counted requests and bytes.
 *
 * List prices without free tiers and volume discounts, in dollars; check them before you rely on them, or give sheets of
 * your own. Traffic out of the region, and what stands between you and the store (NAT, VPC endpoints), come on top.
 *
 * Invariants: an unknown kind of request is priced as the dearest class, never left out.
 *
 * @module
 */
import type { Counted, PricedUsage, PriceSheet, SheetsByStore, StoreUsage, Usage } from "./cost_api.ts";

const GIB = 2 ** 30;

/** Prices of S3 Standard in us-east-1, storage of the first 50 TB. DELETE and DeleteObjects are free. */
export const S3_STANDARD: PriceSheet = {
  name: "S3 Standard",
  source: "aws.amazon.com/s3/pricing, us-east-1, read 2026-11 (storage: from public copies); transfer not included",
  putPer1000: 0.005,
  getPer1000: 0.0004,
  storagePerGbMonth: 0.023,
};

/** Prices of S3 Express One Zone in us-east-1: cheaper requests, but every byte moved is charged. */
export const S3_EXPRESS: PriceSheet = {
  name: "S3 Express One Zone",
  source: "aws.amazon.com/s3/faqs (worked examples, us-east-1), read 2026-11 from a public copy",
  putPer1000: 0.00113,
  getPer1000: 0.00003,
  uploadPerGb: 0.0032,
  downloadPerGb: 0.0006,
  storagePerGbMonth: 0.11,
};

/**
 * Prices of Cloudflare R2, standard storage: class A $4.50, class B $0.36 per million. DeleteObject is free by that page,
 * which does not name DeleteObjects: it is taken as free. Nor does it say what a GB is: 10^9 bytes are taken, the dearer
 * reading.
 */
export const R2: PriceSheet = {
  name: "Cloudflare R2",
  source: "developers.cloudflare.com/r2/pricing, read 2026-11 from its public source; transfer is free",
  putPer1000: 0.0045,
  getPer1000: 0.00036,
  storagePerGbMonth: 0.015,
  bytesPerGb: 1e9,
};

/** All price sheets. */
export const PRICE_SHEETS: ReadonlyArray<PriceSheet> = [S3_STANDARD, S3_EXPRESS, R2];

/** Counted requests: by component, then by kind. */
export type RequestCounts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Requests by what they are charged as. */
export type RequestClasses = Pick<StoreUsage, "puts" | "gets" | "free">;

const GET_KINDS: ReadonlySet<string> = new Set(["get", "getRange", "getRanges", "head"]);
const FREE_KINDS: ReadonlySet<string> = new Set(["delete", "deleteMany", "abort"]);

/** Nothing asked of a store. */
export const NO_USAGE: StoreUsage = { puts: 0, gets: 0, free: 0, bytesWritten: 0, bytesRead: 0 };

/** Sorts requests into the classes that are charged alike. */
export function requestClasses(requests: RequestCounts): RequestClasses {
  let puts = 0;
  let gets = 0;
  let free = 0;
  for (const kinds of Object.values(requests)) {
    for (const [kind, count] of Object.entries(kinds)) {
      if (GET_KINDS.has(kind)) gets += count;
      else if (FREE_KINDS.has(kind)) free += count;
      else puts += count;
    }
  }
  return { puts, gets, free };
}

/** What counted requests and bytes come to on one store. */
export function storeUsage({ requests, bytesRead, bytesWritten }: Omit<Counted, "bytes">): StoreUsage {
  return { ...requestClasses(requests), bytesWritten, bytesRead };
}

/** `a + factor * b`, field by field. */
export function addUsage(a: StoreUsage, b: StoreUsage, factor: number = 1): StoreUsage {
  return {
    puts: a.puts + factor * b.puts,
    gets: a.gets + factor * b.gets,
    free: a.free + factor * b.free,
    bytesWritten: a.bytesWritten + factor * b.bytesWritten,
    bytesRead: a.bytesRead + factor * b.bytesRead,
  };
}

/** `a + factor * b`, store by store. */
export function addUsages(a: Usage, b: Usage, factor: number = 1): Usage {
  const main = addUsage(a.main, b.main, factor);
  if (a.wal === undefined && b.wal === undefined) return { main };
  return { main, wal: addUsage(a.wal ?? NO_USAGE, b.wal ?? NO_USAGE, factor) };
}

/**
 * What the requests would cost, without the bytes that they moved; {@linkcode dollarsOf} counts both.
 *
 * @param requests counts by component and kind, as `cost().requests`
 * @param sheets default: all of {@linkcode PRICE_SHEETS}
 * @returns dollars by the sheet's name
 */
export function priced(
  requests: RequestCounts,
  sheets: ReadonlyArray<PriceSheet> = PRICE_SHEETS,
): Record<string, number> {
  const usage = storeUsage({ requests, bytesRead: 0, bytesWritten: 0 });
  return Object.fromEntries(sheets.map((sheet) => [sheet.name, storeDollars(usage, sheet)]));
}

/** What was asked of one store costs, by its sheet: requests and bytes moved. */
export function storeDollars(usage: StoreUsage, sheet: PriceSheet): number {
  const bytesPerGb = sheet.bytesPerGb ?? GIB;
  return usage.puts / 1000 * sheet.putPer1000 + usage.gets / 1000 * sheet.getPer1000 +
    usage.bytesWritten / bytesPerGb * (sheet.uploadPerGb ?? 0) +
    usage.bytesRead / bytesPerGb * (sheet.downloadPerGb ?? 0);
}

/**
 * Dollars for what was asked of the stores of a database, where each store may have a sheet of its own.
 *
 * @param usage a report of `cost()`, a part of one, or a part of a plan
 * @param sheets one sheet, or that of the main store and that of a log which lives apart
 *
 * @example
 * ```ts ignore
 * dollarsOf(db.cost(), { main: S3_STANDARD, wal: S3_EXPRESS });
 * dollarsOf(db.cost().perMonthIdle, R2);
 * ```
 */
export function dollarsOf(usage: Usage, sheets: PriceSheet | SheetsByStore): number {
  const { main, wal = main }: SheetsByStore = "main" in sheets ? sheets : { main: sheets };
  return storeDollars(usage.main, main) + (usage.wal === undefined ? 0 : storeDollars(usage.wal, wal));
}

/** Usage with what it would cost by each of all sheets, were it the only one. */
export function withDollars(usage: Usage, sheets: ReadonlyArray<PriceSheet> = PRICE_SHEETS): PricedUsage {
  const dollars = Object.fromEntries(sheets.map((sheet) => [sheet.name, dollarsOf(usage, sheet)]));
  return usage.wal === undefined ? { main: usage.main, dollars } : { main: usage.main, wal: usage.wal, dollars };
}

/** Dollars for keeping `bytes` in a store for a month. */
export function storageDollars(bytes: number, sheet: PriceSheet): number {
  return bytes / (sheet.bytesPerGb ?? GIB) * (sheet.storagePerGbMonth ?? 0);
}
