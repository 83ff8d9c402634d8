/**
 * What the engine can do of what op-scripts require, and how many scenarios wait for the rest.
 *
 * A run whose skips differ from `SKIPPED` fails: a new capability empties its entries here, on purpose.
 *
 * @module
 */

/** Capabilities that the engine has. */
export const CAPABILITIES: ReadonlySet<string> = new Set([
  "crash",
  "merge",
  "ttl",
  "ttlReadFilter",
  "clock",
  "fencing",
  "walDisable",
  "compact",
  "gc",
  "plant",
  "reader",
  "checkpoint",
  "transactions",
  "rangeDelete",
]);

/** Per file: scenarios skipped in all, and how many of them wait for each capability (one may wait for several). */
export const SKIPPED: Readonly<
  Record<string, { readonly total: number; readonly by: Readonly<Record<string, number>> }>
> = {
  "aeternusdb-behaviours.json": { total: 0, by: {} },
  "slatedb-behaviours.json": { total: 0, by: {} },
};
