/**
 * Which pinned manifest versions carry the gate, as far as this process has met them.
 *
 * A checkpoint of a time with range tombstones stays closed to other engines until it ends, whatever the newest manifest
 * says. Its record does not tell; the pinned version does. Versions are noted when somebody reads or commits them for
 * another reason, so that knowing them costs no request.
 *
 * @module
 */
import type { CheckpointRecord, Manifest, Uuid } from "../format/types.ts";
import { isGated } from "./range_gate.ts";

/** What is known of pinned versions. */
export class GatedVersions {
  #gated = new Map<number, boolean>();

  /** Takes note of a version. */
  note(id: number, manifest: Manifest): void {
    this.#gated.set(id, isGated(manifest));
  }

  /** Forgets versions that no checkpoint pins, but for `newest`. */
  retain(checkpoints: ReadonlyArray<CheckpointRecord>, newest: number): void {
    const pinned = new Set(checkpoints.map((one) => one.manifestId)).add(newest);
    for (const id of this.#gated.keys()) if (!pinned.has(id)) this.#gated.delete(id);
  }

  /** Ids of the checkpoints that are known to pin a gated version. */
  among(checkpoints: ReadonlyArray<CheckpointRecord>): ReadonlyArray<Uuid> {
    return checkpoints.filter((one) => this.#gated.get(one.manifestId) === true).map((one) => one.id);
  }
}
