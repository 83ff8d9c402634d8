/**
 * The gate: what keeps engines out that do not know range tombstones.
 *
 * While a database may hold range tombstones its manifests list the feature `range-deletes` and carry a version that
 * only we know: official engines refuse such a database as a whole, instead of reading rows that are deleted. The
 * writer alone raises the gate and takes it back; whoever else commits carries it over.
 *
 * Invariants: G1 nothing that holds a range tombstone is stored for others to find, neither a log object nor a table in
 * a manifest, before a gated manifest of the writer's own epoch is stored; G2 a manifest without the gate is committed
 * only when no table that it names, no log object above its replay boundary and no memtable holds a range tombstone;
 * G3 only the writer changes the features.
 *
 * @module
 */
import { type Manifest, RANGE_DELETES } from "../format/types.ts";
import type { ManifestEdit } from "./manifest_edits.ts";

/** Whether a manifest says that its database may hold range tombstones. */
export function isGated({ features }: Manifest): boolean {
  return features !== undefined && features.includes(RANGE_DELETES);
}

/** Whether a manifest names a table with range tombstones. */
export function namesRanges({ l0, compacted }: Manifest): boolean {
  return l0.some((view) => view.info.rangeDeletes !== undefined) ||
    compacted.some((run) => run.ssts.some((view) => view.info.rangeDeletes !== undefined));
}

/** The manifest with the gate, or without; itself when that is so already. */
export function withGate(manifest: Manifest, gated: boolean): Manifest {
  if (isGated(manifest) === gated) return manifest;
  const { features = [], ...rest } = manifest;
  const others = features.filter((name) => name !== RANGE_DELETES);
  const next = gated ? [...others, RANGE_DELETES] : others;
  return next.length === 0 ? rest : { ...rest, features: next };
}

/** Raises the gate; nothing to do when it is raised. */
export const raiseGate: ManifestEdit = (current) => isGated(current) ? undefined : withGate(current, true);

/** Changes nothing by itself: the commit gives the gate back when nothing needs it any more. */
export const settleGate: ManifestEdit = (current) => current;

/** Whether two manifests list the same features. */
export function sameFeatures({ features: a = [] }: Manifest, { features: b = [] }: Manifest): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}
