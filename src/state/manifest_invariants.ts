/**
 * What must hold between a stored manifest and its successor. Checked before every commit: a broken rule is a defect
 * that stops the writer, since a database that guesses on is worse than one that stops.
 *
 * Invariants: M1 numbers never go back; M3 L0 is newest first and a successor only adds at its front;
 * M4 run ids strictly descend; M5 every table names its first key.
 *
 * @module
 */
import type { Manifest } from "../format/types.ts";

/** Throws when `next`, made by a writer, may not follow `current`: a writer leaves alone what compaction owns. */
export function assertSuccessor(current: Manifest, next: Manifest): void {
  const rising: ReadonlyArray<keyof Manifest> = [
    "writerEpoch",
    "compactorEpoch",
    "replayAfterWalId",
    "walIdLastSeen",
    "lastL0Seq",
    "lastL0ClockTick",
  ];
  for (const field of rising) {
    assertInvariant((next[field] as number) >= (current[field] as number), "M1", `${field} goes back`);
  }
  const added = next.l0.length - current.l0.length;
  assertInvariant(added >= 0, "M3", "the writer removed an L0 table");
  for (let i = 0; i < current.l0.length; i++) {
    assertInvariant(next.l0[i + added]!.viewId === current.l0[i]!.viewId, "M3", "the writer reordered L0");
  }
  assertInvariant(next.compacted === current.compacted, "M4", "the writer changed the sorted runs");
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
}

/** A defect when `condition` is false: `id` is the invariant's id in docs/ARCHITECTURE.md. */
export function assertInvariant(condition: boolean, id: string, detail: string): asserts condition {
  if (!condition) throw new Error(`Invariant ${id} is broken: ${detail}`);
}
