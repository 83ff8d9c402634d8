/**
 * What object stores charge per request, as data with its source and date, and the sum for counted requests.
 *
 * Only requests are priced: storage, traffic out of the region and S3 Express' fees per gigabyte moved come on top (the
 * `source` says so). Prices are list prices without free tiers, in dollars; check them before you rely on them.
 *
 * Invariants: an unknown kind of request is priced as the dearest class, never left out.
 *
 * @module
 */
import type { PriceSheet } from "./api.ts";

/** Prices of S3 Standard in us-east-1. */
export const S3_STANDARD: PriceSheet = {
  name: "S3 Standard",
  source: "aws.amazon.com/s3/pricing, us-east-1, read 2026-11; storage and transfer not included",
  putPer1000: 0.005,
  getPer1000: 0.0004,
};

/** Prices of S3 Express One Zone in us-east-1. */
export const S3_EXPRESS: PriceSheet = {
  name: "S3 Express One Zone",
  source: "aws.amazon.com/s3/pricing and FAQ, us-east-1, read 2026-11; plus $0.0032 per GB up, $0.0006 per GB down",
  putPer1000: 0.00113,
  getPer1000: 0.00003,
};

/** Prices of Cloudflare R2, standard storage: class A $4.50, class B $0.36 per million. */
export const R2: PriceSheet = {
  name: "Cloudflare R2",
  source: "developers.cloudflare.com/r2/pricing, read 2026-11; storage not included, transfer is free",
  putPer1000: 0.0045,
  getPer1000: 0.00036,
};

/** All price sheets. */
export const PRICE_SHEETS: ReadonlyArray<PriceSheet> = [S3_STANDARD, S3_EXPRESS, R2];

/** Counted requests: by component, then by kind. */
export type RequestCounts = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Requests by what they are charged as. */
export interface RequestClasses {
  /** PUT, COPY, POST, LIST and whatever is not known to be cheaper. */
  readonly puts: number;
  /** GET and HEAD. */
  readonly gets: number;
  /** DELETE. */
  readonly free: number;
}

const GET_KINDS: ReadonlySet<string> = new Set(["get", "getRange", "getRanges", "head"]);
const FREE_KINDS: ReadonlySet<string> = new Set(["delete", "deleteMany", "abort"]);

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

/**
 * What the requests would cost.
 *
 * @param requests counts by component and kind, as `cost().requests`
 * @param sheets default: all of {@linkcode PRICE_SHEETS}
 * @returns dollars by the sheet's name
 */
export function priced(
  requests: RequestCounts,
  sheets: ReadonlyArray<PriceSheet> = PRICE_SHEETS,
): Record<string, number> {
  const { puts, gets } = requestClasses(requests);
  return Object.fromEntries(
    sheets.map((sheet) => [sheet.name, puts / 1000 * sheet.putPer1000 + gets / 1000 * sheet.getPer1000]),
  );
}
