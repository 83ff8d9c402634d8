/**
 * The one manifest version that publishes a compaction: the new layout, and a checkpoint of the version before it, so
 * that readers in the middle of the sources keep them for a while. Also of a job that made nothing and only took tables
 * away.
 *
 * @module
 */
import type { Manifest, SstView, Ulid, Uuid } from "../src/format/types.ts";
import type { CompactionPlan } from "../src/lsm/compaction_job.ts";
import { applyCompaction } from "../src/lsm/compaction_rules.ts";
import { addCheckpoint, removeExpired } from "../src/state/checkpoint_edits.ts";
import { CompactorFenced, SourcesGone } from "../src/state/compaction_faults.ts";

/** Lifetime of the checkpoint that keeps a compaction's sources for readers in the middle of them, ms. */
const SOURCES_LIFETIME_MILLIS = 900_000;
/** Time after its end at which a checkpoint is taken away with a publication, ms: more than clocks differ. */
const EXPIRED_MILLIS = 3_600_000;

/** What is published. */
export interface Publication {
  readonly job: Ulid;
  readonly plan: CompactionPlan;
  /** Tables made from each merge, in the plan's order. */
  readonly views: ReadonlyArray<ReadonlyArray<SstView>>;
  /** Epoch of the compactor that made them. */
  readonly epoch: number;
  /** Id of the checkpoint; one that is there already says that this is published. */
  readonly checkpoint: Uuid;
  /** Wall clock, ms. */
  readonly now: () => number;
}

/**
 * The manifest after `current`, which has number `id`; undefined when this is published already.
 *
 * @returns CompactorFenced when another compactor's epoch is stored, SourcesGone when the sources are not there as planned
 */
export function publication(
  { job, plan, views, epoch, checkpoint, now }: Publication,
): (current: Manifest, id: number) => Manifest | CompactorFenced | SourcesGone | undefined {
  return (current, id) => {
    if (current.checkpoints.some((one) => one.id === checkpoint)) return undefined;
    if (current.compactorEpoch !== epoch) return new CompactorFenced(current.compactorEpoch, epoch);
    const next = applyCompaction(current, plan, views);
    if (next === "gone") return new SourcesGone(`the sources of compaction ${job} are gone`);
    const nowMillis = now();
    // Ended checkpoints would pile up where nobody collects.
    const tidied = removeExpired(nowMillis - EXPIRED_MILLIS)(next, id) ?? next;
    return addCheckpoint({
      id: checkpoint,
      nowMillis,
      lifetimeMillis: SOURCES_LIFETIME_MILLIS,
      manifestId: id,
    })(tidied, id);
  };
}
