/**
 * What a month of rest asks of the stores: computed from the settings, for one process by itself.
 *
 * A database that nobody writes to or reads asks nothing once it has settled, unless it was told to look for what others
 * do. A look costs what `numbered_versions.ts` makes it cost: one GET of the next version, which is missing, if the last
 * look is less than half a minute old, else one LIST. A store that takes its time makes looks rarer by that time.
 *
 * @module
 */
import { FRESH_MILLIS } from "../state/numbered_versions.ts";
import type { StoreUsage, Usage } from "./cost_api.ts";
import { addUsage, NO_USAGE } from "./price_sheets.ts";

/** A month, ms: 30 days. */
export const MONTH_MILLIS: number = 30 * 86_400_000;

/** Half of the most by which the end of a checkpoint is rounded up, ms. */
const EXPIRY_ROUNDING_MILLIS = 500;

/** So many looks for a newer version, each `intervalMillis` after the one before. */
function looks(count: number, intervalMillis: number): StoreUsage {
  return intervalMillis < FRESH_MILLIS ? { ...NO_USAGE, gets: count } : { ...NO_USAGE, puts: count };
}

/** A writer, with an embedded compactor and collector or without: they rest when it does. */
export function idleWriter({ idlePollMillis }: { readonly idlePollMillis: number }): Usage {
  if (!Number.isFinite(idlePollMillis)) return { main: NO_USAGE };
  return { main: looks(Math.floor(MONTH_MILLIS / idlePollMillis), idlePollMillis) };
}

/** What of a reader's settings costs while nobody writes. */
export interface IdleReaderSettings {
  readonly mode: "managed" | "follow" | "pinned";
  readonly manifestPollIntervalMillis: number;
  /** Only where the mode is "managed". */
  readonly checkpointLifetimeMillis: number;
  readonly skipWalReplay: boolean;
  /** Whether the log has a store of its own. */
  readonly isWalApart: boolean;
}

/**
 * A reader. Each look asks for the next WAL object and the next manifest; a managed one also puts a manifest whenever
 * half of its checkpoint's life is over. The mean size of a manifest is not known here: its bytes are not counted.
 */
export function idleReader(settings: IdleReaderSettings): Usage {
  const { mode, manifestPollIntervalMillis: interval, checkpointLifetimeMillis, skipWalReplay, isWalApart } = settings;
  if (mode === "pinned") return { main: NO_USAGE };
  const count = Math.floor(MONTH_MILLIS / interval);
  const log: StoreUsage = { ...NO_USAGE, gets: skipWalReplay ? 0 : count };
  let main = looks(count, interval);
  if (mode === "managed") {
    const looksPerRenewal = Math.ceil((checkpointLifetimeMillis / 2 + EXPIRY_ROUNDING_MILLIS) / interval);
    main = addUsage(main, { ...NO_USAGE, puts: Math.floor(count / looksPerRenewal) });
  }
  if (!isWalApart) return { main: addUsage(main, log) };
  return skipWalReplay ? { main } : { main, wal: log };
}

/**
 * A compactor without a writer: each poll looks for a newer journal and a newer manifest. Without a journal, which the
 * first compaction makes, it lists for one.
 */
export function idleCompactor(
  { pollIntervalMillis, hasJournal }: { readonly pollIntervalMillis: number; readonly hasJournal: boolean },
): Usage {
  const count = Math.floor(MONTH_MILLIS / pollIntervalMillis);
  const manifest = looks(count, pollIntervalMillis);
  const journal = hasJournal ? manifest : { ...NO_USAGE, puts: count };
  return { main: addUsage(manifest, journal) };
}
