/**
 * What must hold between a stored manifest and its successor. Checked before every commit: a broken rule is a defect
 * that stops its author, since a database that guesses on is worse than one that stops.
 *
 * Invariants: M1 numbers never go back; M3 L0 is newest first, the writer only adds at its front and a compactor only
 * removes at its end; M4 run ids strictly descend; M5 every table names its first key; M6 nobody changes what another
 * role owns; G1 a manifest that names range tombstones is gated; G3 only the writer changes the features.
 *
 * @module
 */
import type { Manifest } from "../format/types.ts";
import { isGated, namesRanges, sameFeatures } from "./range_gate.ts";

/**
 * Who makes a commit. The writer owns L0's front, replay boundary and sequence numbers; the compactor the sorted runs
 * and L0's end; "admin" (readers, collectors, clones) checkpoints and external databases, which the others may edit too.
 */
export type Author = "writer" | "compactor" | "admin";

const NUMBERS: ReadonlyArray<keyof Manifest> = [
  "writerEpoch",
  "compactorEpoch",
  "replayAfterWalId",
  "walIdLastSeen",
  "lastL0Seq",
  "lastL0ClockTick",
];
const OF_WRITER: ReadonlyArray<keyof Manifest> = [
  "writerEpoch",
  "replayAfterWalId",
  "walIdLastSeen",
  "lastL0Seq",
  "lastL0ClockTick",
  "recentSnapshotMinSeq",
  "sequenceTracker",
];
const OF_COMPACTOR: ReadonlyArray<keyof Manifest> = ["compactorEpoch", "compacted", "lastCompactedL0"];

/** Throws when `next`, made by `author`, may not follow `current`. */
export function assertSuccessor(current: Manifest, next: Manifest, author: Author): void {
  for (const field of NUMBERS) {
    assertInvariant((next[field] as number) >= (current[field] as number), "M1", `${field} goes back`);
  }
  const foreign = author === "writer"
    ? OF_COMPACTOR
    : author === "compactor"
    ? OF_WRITER
    : [...OF_COMPACTOR, ...OF_WRITER];
  for (const field of foreign) assertInvariant(next[field] === current[field], "M6", `a ${author} changed ${field}`);
  const [longer, shorter] = author === "compactor" ? [current.l0, next.l0] : [next.l0, current.l0];
  const spare = longer.length - shorter.length;
  assertInvariant(author === "admin" ? spare === 0 : spare >= 0, "M3", `a ${author} changed the number of L0 tables`);
  for (let i = 0; i < shorter.length; i++) {
    const at = author === "compactor" ? i : i + spare;
    assertInvariant(longer[at]!.viewId === shorter[i]!.viewId, "M3", `a ${author} changed L0 where it must not`);
  }
  assertInvariant(author === "writer" || sameFeatures(current, next), "G3", `a ${author} changed the features`);
  assertManifest(next);
}

/** Throws when a manifest is not well formed. */
export function assertManifest(manifest: Manifest): void {
  for (let i = 1; i < manifest.compacted.length; i++) {
    assertInvariant(manifest.compacted[i]!.id < manifest.compacted[i - 1]!.id, "M4", "run ids do not descend");
  }
  for (const view of manifest.l0) assertInvariant(view.info.firstEntry !== undefined, "M5", view.sstId);
  const ids = new Set(manifest.l0.map((view) => view.viewId));
  assertInvariant(ids.size === manifest.l0.length, "M3", "an L0 table is named twice");
  assertInvariant(isGated(manifest) || !namesRanges(manifest), "G1", "range tombstones are named without the gate");
}

/** A defect when `condition` is false: `id` is the invariant's id in docs/ARCHITECTURE.md. */
export function assertInvariant(condition: boolean, id: string, detail: string): asserts condition {
  if (!condition) throw new Error(`Invariant ${id} is broken: ${detail}`);
}
