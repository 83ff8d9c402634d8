/**
 * What a collection adds up to while it goes from page to page: the report, and when the next one has something to do.
 *
 * @module
 */
import type { GcReport, GcResource } from "./gc_report.ts";
import type { ObjectMeta } from "../store/object_store.ts";
import type { Kept } from "./gc_rules.ts";

/** Foreign names that a report shows at most. */
const FOREIGN_NAMES_MAX = 100;
/** Every kind of object, in the order of a pass. */
export const GC_RESOURCES: readonly GcResource[] = ["wal", "compacted", "manifest", "compactions"];

/** The report in the making. */
export class GcTally {
  /** Earliest time at which something that was kept may go, ms since 1970. */
  dueAt: number = Infinity;
  /** Deletions so far, also those that a dry run only wishes for. */
  deletions: number = 0;
  readonly #deleted: Record<GcResource, string[]> = { manifest: [], wal: [], compacted: [], compactions: [] };
  readonly #kept: Record<GcResource, Record<string, number>> = {
    manifest: {},
    wal: {},
    compacted: {},
    compactions: {},
  };
  readonly #foreign: string[] = [];
  #deletedBytes = 0;

  /** Counts an object that went. */
  deleted(resource: GcResource, { path, size }: ObjectMeta): void {
    this.#deleted[resource].push(path);
    this.#deletedBytes += size;
    this.deletions++;
  }

  /** Counts an object that stays. */
  kept(resource: GcResource, { keep, dueAt }: Kept): void {
    const reasons = this.#kept[resource];
    reasons[keep] = (reasons[keep] ?? 0) + 1;
    if (dueAt < this.dueAt) this.dueAt = dueAt;
  }

  /** How many objects stay for `reason`. */
  count(resource: GcResource, reason: Kept["keep"]): number {
    return this.#kept[resource][reason] ?? 0;
  }

  /** Counts a name that is not ours. */
  foreign(resource: GcResource, path: string): void {
    this.kept(resource, { keep: "foreign", dueAt: Infinity });
    if (this.#foreign.length < FOREIGN_NAMES_MAX) this.#foreign.push(path);
  }

  /** The report. */
  report(dryRun: boolean, expiredCheckpoints: readonly string[], stopped?: string): GcReport {
    return {
      dryRun,
      deleted: this.#deleted,
      deletedBytes: this.#deletedBytes,
      kept: this.#kept,
      expiredCheckpoints,
      foreign: this.#foreign,
      ...(stopped === undefined ? {} : { stopped }),
    };
  }
}
