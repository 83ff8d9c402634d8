/**
 * When a sequence number was written, and which one was newest at a time, as far as samples were kept.
 *
 * The manifest holds about one sample a minute; an open writer has those of its memtables besides. Answers are those of
 * the nearest sample on the side asked for: up to a minute of writes away, whole seconds.
 *
 * @module
 */
import type { SequenceTracker } from "../format/sequence_tracker.ts";
import type { Manifest } from "../format/types.ts";
import type { Memtable } from "../lsm/memtable.ts";
import { storedTracker } from "../state/manifest_edits.ts";
import type { Rounding } from "./admin_api.ts";
import { badOption } from "./call_options.ts";

/**
 * The samples of a manifest and of memtables that are newer, oldest first. Samples of writes that were never published
 * (K-34) are left out.
 */
export function samplesOf(manifest: Manifest, memtables: Iterable<Memtable> = []): SequenceTracker {
  const samples = storedTracker(manifest);
  samples.dropAfter(manifest.lastL0Seq);
  for (const memtable of memtables) {
    if (memtable.entryCount > 0) samples.extend(memtable.tracker, memtable.lastSeq);
  }
  return samples;
}

/** When the nearest sampled number at or after ("up") or at or before ("down") `seq` was written, ms since 1970. */
export function timeOf(samples: SequenceTracker, seq: number, round: Rounding): number | undefined {
  const seconds = samples.findTime(seq, round);
  return seconds === undefined ? undefined : seconds * 1000;
}

/** The sampled number of the nearest sample at or after ("up") or at or before ("down") a time, ms since 1970. */
export function seqAt(samples: SequenceTracker, millis: number, round: Rounding): number | undefined {
  return samples.findSeq(millis / 1000, round);
}

/** @throws InvalidArgument unless `seq` can be a sequence number and `round` is a direction */
export function checkSeqLookup(seq: number, round: Rounding): void {
  if (!Number.isSafeInteger(seq) || seq < 0) throw badOption("seq", "a sequence number: a whole number from 0");
  checkRounding(round);
}

/** @throws InvalidArgument unless `millis` is a time and `round` is a direction */
export function checkTimeLookup(millis: number, round: Rounding): void {
  if (typeof millis !== "number" || !Number.isFinite(millis)) throw badOption("millis", "milliseconds since 1970");
  checkRounding(round);
}

function checkRounding(round: Rounding): void {
  if (round !== "up" && round !== "down") throw badOption("round", '"up" or "down"');
}
