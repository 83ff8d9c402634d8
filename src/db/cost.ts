/**
 * What a database asked of its stores, and what that would cost.
 *
 * @module
 */
import type { MeterReport } from "../store/metered_store.ts";
import type { CostReport } from "./api.ts";
import { priced } from "./price_sheets.ts";

/** Adds the reports of several meters up. */
export function costReport(reports: ReadonlyArray<MeterReport>): CostReport {
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
