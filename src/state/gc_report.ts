/**
 * What a garbage collection tells about itself.
 *
 * @module
 */

/** Which collector looked after an object. */
export type GcResource = "manifest" | "wal" | "compacted" | "compactions";

/** What one garbage collection did, or with `dryRun` would have done. */
export interface GcReport {
  /** Whether nothing was deleted and this says what would have been. */
  readonly dryRun: boolean;
  /** Names of the deleted objects. */
  readonly deleted: Readonly<Record<GcResource, readonly string[]>>;
  /** Bytes of the deleted objects. */
  readonly deletedBytes: number;
  /** How many objects were kept, by reason. */
  readonly kept: Readonly<Record<GcResource, Readonly<Record<string, number>>>>;
  /** Ids of expired checkpoints that were removed from the manifest. */
  readonly expiredCheckpoints: readonly string[];
  /** Names in the database's folders that are not ours, at most 100 of them; they are never touched. */
  readonly foreign: readonly string[];
  /** Why nothing was deleted, when a safety rule ended the pass. */
  readonly stopped?: string;
}
