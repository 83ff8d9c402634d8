/**
 * What the log of a steady stream of writes costs, and the looks at the manifest that prove who the writer is.
 *
 * Group commit as `tasks/wal_flusher.ts` does it: what somebody waits for goes at once, or with the next object while
 * one is on its way; what nobody waits for goes when the interval since its first row is over.
 *
 * @module
 */
import { FRESH_MILLIS } from "../state/numbered_versions.ts";

/** An epoch proof older than this, in manifest polls, is renewed before an acknowledgement; and its most, ms. */
const PROOF_POLLS = 2;
const PROOF_MAX_MILLIS = 75_000;

/** A stream of writes and how it is stored. */
export interface LogWorld {
  /** Writes a millisecond, above 0, evenly spaced. */
  readonly writesPerMilli: number;
  readonly isAwaited: boolean;
  readonly putMillis: number;
  /** Infinity = only when a memtable is full. */
  readonly flushIntervalMillis: number;
  /** Infinity = no ceiling. */
  readonly maxWalPutsPerSecond: number;
  readonly manifestPollIntervalMillis: number;
  /** Time between two versions of the manifest that this process makes, ms; Infinity = none. */
  readonly commitMillis: number;
}

/** Time between two objects of the log, ms; Infinity when only full memtables make them. */
export function logPeriod(world: LogWorld): number {
  const { isAwaited, putMillis, flushIntervalMillis, maxWalPutsPerSecond } = world;
  const gap = 1000 / maxWalPutsPerSecond;
  const between = 1 / world.writesPerMilli;
  if (isAwaited) return Math.max(between, putMillis, gap);
  // The first row after the interval begins the next one; one that came while the object was on its way waits for that.
  const untilNextRow = Math.max(1, Math.ceil(flushIntervalMillis / between - 1e-9)) * between;
  return Math.max(untilNextRow, flushIntervalMillis + putMillis, gap);
}

/** Looks at the manifest in a millisecond, and whether they are listings. */
export function manifestLooks(
  world: LogWorld,
  periodMillis: number,
): { readonly perMilli: number; readonly isList: boolean } {
  const { isAwaited, putMillis, flushIntervalMillis, manifestPollIntervalMillis: poll, commitMillis } = world;
  const period = Math.min(periodMillis, commitMillis);
  // Rows wait for so long of each period: only then does the poller look.
  // Under a ceiling rows gather for the whole time.
  const isGathering = 1000 / world.maxWalPutsPerSecond >= period;
  const waiting = isGathering ? 1 : Math.min(1, (isAwaited ? putMillis : flushIntervalMillis + putMillis) / period);
  const attempt = poll + (1 - waiting) * period / 2;
  const proof = Math.min(PROOF_POLLS * poll, PROOF_MAX_MILLIS);
  const byProof = period * (Math.floor(proof / period) + 1);
  // Each attempt of the poller meets rows that wait, or the proof comes first.
  const attempts = Math.floor(byProof / attempt);
  const missed = (1 - waiting) ** attempts;
  const untilMet = waiting === 0 ? attempts * attempt : attempt * (1 - missed) / waiting;
  const interval = untilMet + missed * (byProof - attempts * attempt);
  // A version of one's own is a look as well.
  return { perMilli: Math.max(0, 1 / interval - 1 / commitMillis), isList: interval >= FRESH_MILLIS };
}
