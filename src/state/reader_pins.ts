/**
 * The checkpoints of one managed reader: what is to be changed about them in a manifest, and what came of it.
 *
 * All decisions are made inside the edit, on the freshest copy: whether the own checkpoint is still there, whether the
 * tables or the manifest's features are others than those shown (a checkpoint of the time when the database held range
 * tombstones keeps SlateDB's readers and collectors out of what they could read since), whether half of the lifetime
 * has passed (measured against the end that is stored, not against what this process believes it asked for). One commit
 * does everything: adds a checkpoint on the newest version, takes away those nobody needs, moves the end of those that
 * somebody still reads.
 *
 * Invariants: a checkpoint that this reader may have made, also one whose commit's answer was lost, is taken away by
 * the next commit or by the close; nothing is committed unless tables or features changed, the checkpoint lapsed, or
 * half of its lifetime passed (K-31).
 *
 * @module
 */
import type { CheckpointRecord, Manifest, SstView, Uuid } from "../format/types.ts";
import { checkpointRecord, isExpired } from "./checkpoint_edits.ts";
import type { ManifestEdit } from "./manifest_edits.ts";
import type { StoredManifest } from "./manifest_store.ts";
import { sameFeatures } from "./range_gate.ts";

/** What a commit has to know about the reader. */
export interface PinRequest {
  /** The version whose tables the reader shows; undefined at the start. */
  readonly shown: Manifest | undefined;
  /** Own checkpoints whose tables somebody still reads. */
  readonly held: ReadonlyArray<Uuid>;
  /** ms since 1970. */
  readonly nowMillis: number;
}

/** The checkpoints of one reader. */
export class ReaderPins {
  readonly #mint: () => Uuid;
  readonly #lifetimeMillis: number;
  /** Every checkpoint of this reader that may stand in a manifest, `#fresh` included. */
  #own: Set<Uuid>;
  /** The id that the next checkpoint gets. */
  #fresh: Uuid;
  /** The checkpoint that keeps the tables shown; undefined before the first, and when it keeps others. */
  current: Uuid | undefined = undefined;

  constructor(mint: () => Uuid, lifetimeMillis: number) {
    this.#mint = mint;
    this.#lifetimeMillis = lifetimeMillis;
    this.#fresh = mint();
    this.#own = new Set([this.#fresh]);
  }

  /** Whatever is due, or nothing. Give the outcome of the commit to {@linkcode settle}. */
  edit({ shown, held, nowMillis }: PinRequest): ManifestEdit {
    return (manifest, id) => {
      if (manifest.checkpoints.some((one) => one.id === this.#fresh)) return undefined;
      const own = manifest.checkpoints.find((one) => one.id === this.current);
      const isAlive = own !== undefined && !isExpired(own, nowMillis);
      const showsSame = shown !== undefined && sameTables(manifest, shown);
      const isReplaced = !isAlive || !showsSame || !sameFeatures(manifest, shown);
      if (!isReplaced && own.expireTimeSeconds * 1000 - nowMillis > this.#lifetimeMillis / 2) return undefined;
      const record = checkpointRecord(
        { id: this.#fresh, nowMillis, lifetimeMillis: this.#lifetimeMillis },
        id + 1,
      );
      const kept = new Set(held);
      if (!isReplaced) kept.add(own.id);
      // What replaces it keeps the same tables.
      else if (showsSame && own !== undefined) kept.delete(own.id);
      const checkpoints = manifest.checkpoints.flatMap((one): CheckpointRecord[] => {
        if (!this.#own.has(one.id)) return [one];
        if (!kept.has(one.id) || isExpired(one, nowMillis)) return [];
        return [{ ...one, expireTimeSeconds: record.expireTimeSeconds }];
      });
      if (isReplaced) checkpoints.push(record);
      return { ...manifest, checkpoints };
    };
  }

  /**
   * Takes note of what a commit of {@linkcode edit} answered. True when the own checkpoint keeps exactly the tables of
   * `stored`, or was left as it is; false when a lost answer made it keep another version: commit once more.
   */
  settle(stored: StoredManifest): boolean {
    const { checkpoints } = stored.manifest;
    const made = checkpoints.find((one) => one.id === this.#fresh);
    const there = new Set(checkpoints.map((one) => one.id));
    this.#own = new Set([...this.#own].filter((id) => there.has(id)));
    if (made === undefined) {
      this.#own.add(this.#fresh);
      return true;
    }
    const isExact = made.manifestId === stored.id;
    this.current = isExact ? made.id : undefined;
    this.#fresh = this.#mint();
    this.#own.add(this.#fresh);
    return isExact;
  }

  /** Takes every checkpoint of this reader away; a database that is being deleted takes them along. */
  readonly removal: ManifestEdit = (manifest) => {
    if (!manifest.initialized) return undefined;
    const checkpoints = manifest.checkpoints.filter((one) => !this.#own.has(one.id));
    return checkpoints.length === manifest.checkpoints.length ? undefined : { ...manifest, checkpoints };
  };
}

/** Whether two versions show the same rows in the same tables. */
export function sameTables(a: Manifest, b: Manifest): boolean {
  return a.lastL0Seq === b.lastL0Seq && a.lastCompactedL0 === b.lastCompactedL0 && sameViews(a.l0, b.l0) &&
    a.compacted.length === b.compacted.length &&
    a.compacted.every((run, i) => run.id === b.compacted[i]!.id && sameViews(run.ssts, b.compacted[i]!.ssts));
}

function sameViews(a: ReadonlyArray<SstView>, b: ReadonlyArray<SstView>): boolean {
  return a.length === b.length &&
    a.every((view, i) => view.viewId === b[i]!.viewId && view.sstId === b[i]!.sstId);
}
