/**
 * What a compactor is given, and what it tells about itself.
 *
 * @module
 */
import type { Effect } from "effect";
import type { DataError, StoreError, Unavailable } from "../src/errors.ts";
import type { Manifest, Ulid, Uuid } from "../src/format/types.ts";
import type {
  CompactionLimits,
  CompactionPlan,
  CompactionScheduler,
  CompactionSpec,
  TableFacts,
} from "../src/lsm/compaction_job.ts";
import type { CompactionsStore } from "../src/state/compactions_store.ts";
import type { JobCounts, RunningJob } from "../src/state/compactor_state.ts";
import type { ManifestHandle } from "../src/state/manifest_handle.ts";
import type { CompactionOutput } from "./compaction_worker.ts";
import type { Supervisor } from "./supervisor.ts";

/** What a job fails with: the store's error, damage, or that the thread it ran in is lost. */
export type JobFault = StoreError | DataError | Unavailable;

/** Runs one plan; what it made comes by merge segment. Interrupting it leaves only orphans. */
export type JobRunner = (
  plan: CompactionPlan,
  counts: JobCounts,
) => Effect.Effect<ReadonlyArray<ReadonlyArray<CompactionOutput>>, JobFault>;

/** What the compactor works with. */
export interface CompactorSpec {
  readonly supervisor: Supervisor;
  readonly manifest: ManifestHandle;
  readonly versions: CompactionsStore;
  readonly scheduler: CompactionScheduler;
  readonly limits: CompactionLimits;
  readonly facts: TableFacts;
  readonly run: JobRunner;
  /** Jobs that take away tables without reading them, because range tombstones hide all that is in them. */
  readonly drops: (manifest: Manifest) => Effect.Effect<ReadonlyArray<CompactionSpec>>;
  /** Whether nothing is done unless somebody asks for a compaction. */
  readonly isOnRequest: boolean;
  /** A fresh ULID of now, above all that were minted or observed before. */
  readonly mint: () => Ulid;
  readonly observe: (id: Ulid) => void;
  readonly mintCheckpointId: () => Uuid;
  /** Wall clock, ms. */
  readonly now: () => number;
  /**
   * Epoch that was stored when this process began: when it has moved by the first job, another compactor works here and
   * this one stays off. Undefined: take over whoever it is.
   */
  readonly expectedEpoch: number | undefined;
  /** Something of the status changed. */
  readonly onChange: () => void;
  /** Tables may have been stored that no manifest will name. */
  readonly onOrphans: () => void;
  /** A compaction was published: bytes read, bytes written. */
  readonly onPublished: (manifest: Manifest, outputs: ReadonlyArray<CompactionOutput>, counts: JobCounts) => void;
}

/** How the compactor is doing. */
export interface CompactorStatus {
  /** "superseded": another compactor works on this database; "failing": the last job failed, another try follows. */
  readonly phase: "idle" | "running" | "superseded" | "failing";
  readonly running: ReadonlyArray<RunningJob>;
  /** What the last failure was, while failing. */
  readonly trouble: string | undefined;
  /** Why tables that may go unread could not be looked for: they are merged instead. */
  readonly lookTrouble: string | undefined;
  /** Whether it holds its place and a compactions object is there. */
  readonly hasJournal: boolean;
}
