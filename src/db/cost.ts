/**
 * What a database asked of its stores, and what that would cost.
 *
 * Reports add up: of several meters, or of several processes that worked on one database. Prices are of requests alone.
 *
 * @module
 */
import type { CostReport } from "./api.ts";
import { priced } from "./price_sheets.ts";

/** Adds reports up, those of meters or earlier sums. */
export function costReport(reports: ReadonlyArray<Omit<CostReport, "dollars">>): CostReport {
  const requests: Record<string, Record<string, number>> = {};
  let bytesRead = 0;
  let bytesWritten = 0;
  for (const report of reports) {
    bytesRead += report.bytesRead;
    bytesWritten += report.bytesWritten;
    for (const [component, kinds] of Object.entries(report.requests)) {
      const sums = requests[component] ??= {};
      for (const [kind, count] of Object.entries(kinds)) sums[kind] = (sums[kind] ?? 0) + count;
    }
  }
  return { requests, bytesRead, bytesWritten, dollars: priced(requests) };
}
