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
  /**
   * How many objects were kept, by reason:
   *
   * - "referenced": the newest manifest names the table
   * - "checkpoint": a version that a checkpoint pins reaches it, or it is that version
   * - "live": opening the database may read the log object, or the next one stands beside it
   * - "young": not older than `minAgeMillis`
   * - "newest-two": one of the two newest versions
   * - "active-compaction": a compaction that has not ended may have made the table
   * - "in-flight": this process is uploading the table, or will
   * - "newest-l0": not older than the newest L0 table, so a writer elsewhere may be about to publish it
   * - "no-l0": L0 is empty, so nothing tells which tables a writer elsewhere may have under way
   * - "fence": a log object without rows, which stops a writer that was taken over
   * - "unreadable": a small log object that cannot be read, so it may be a fence
   * - "boundary": a boundary file says something that this collector does not understand or has not seen
   * - "foreign": the name is not ours
   * - "delete-failed": the store refused to delete it, or so many others that it was not asked; the pass ends then, and
   *   what it has not listed is not counted
   */
  readonly kept: Readonly<Record<GcResource, Readonly<Record<string, number>>>>;
  /** Ids of expired checkpoints that were removed from the manifest. */
  readonly expiredCheckpoints: readonly string[];
  /** Names in the database's folders that are not ours, at most 100 of them; they are never touched. */
  readonly foreign: readonly string[];
  /** Why nothing was deleted, when a safety rule ended the pass. */
  readonly stopped?: string;
}
