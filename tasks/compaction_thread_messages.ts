/**
 * What a compactor and its thread say to each other, in values that a structured clone carries over whole.
 *
 * Errors cross as their fields, without causes: classes and functions do not cross. Keys are copied out of the buffers
 * that they lie in, because a clone takes the whole buffer along.
 *
 * @module
 */
import { DataError, StoreError, textOf } from "../src/errors.ts";
import type { Bound, SstView, Ulid } from "../src/format/types.ts";
import type { CompactionPlan } from "../src/lsm/compaction_job.ts";
import type { TableEncoding } from "../src/lsm/table_writer.ts";
import type { MeterReport } from "../src/store/metered_store.ts";
import type { DegradedReport } from "../src/store/store_health.ts";
import type { CompactionCounts, CompactionOutput, MergePlan } from "./compaction_worker.ts";

/** A job, with all that is needed to do it elsewhere. */
export interface ThreadJob {
  readonly kind: "job";
  /** The database's folder. */
  readonly folder: string;
  readonly root: string;
  /** Roots of those sources that belong to other databases. */
  readonly externalRoots: ReadonlyMap<Ulid, string>;
  readonly encoding: TableEncoding;
  readonly maxSstBytes: number;
  /** All tables get later ids than this. */
  readonly above: Ulid;
  /** How long a request is repeated, ms; Infinity = for ever. */
  readonly retryMillis: number;
  /** Time limit of a single request, ms. */
  readonly attemptTimeoutMillis: number;
  readonly plan: MergePlan;
}

/** What a thread is told; "stop" gives the job up. */
export type ToThread = ThreadJob | { readonly kind: "stop" };

/** A store's error, as its fields. */
export type StoreFault = { readonly tag: "StoreError" } & Omit<ConstructorParameters<typeof StoreError>[0], "cause">;

/** Why a job failed. */
export type ThreadFault =
  | StoreFault
  | ({ readonly tag: "DataError" } & Omit<ConstructorParameters<typeof DataError>[0], "cause">)
  | { readonly tag: "defect"; readonly text: string };

/** How far a thread is. */
export interface ThreadProgress {
  readonly counts: CompactionCounts;
  /** Everything that this thread asked of the store so far. */
  readonly requests: MeterReport;
}

/** What a thread tells. */
export type FromThread =
  | ({ readonly kind: "progress" } & ThreadProgress)
  | {
    readonly kind: "degraded";
    /** Undefined: the store does what it is asked again. */
    readonly report: (Omit<DegradedReport, "error"> & { readonly error: StoreFault }) | undefined;
  }
  | ({ readonly kind: "made"; readonly outputs: ReadonlyArray<ReadonlyArray<CompactionOutput>> } & ThreadProgress)
  | ({ readonly kind: "failed"; readonly fault: ThreadFault } & ThreadProgress);

/** The part of a plan that a thread works by. What moves is not its business. */
export function mergePlanOf({ segments, isLastRun, olderSpans, minSeq, tick }: CompactionPlan): MergePlan {
  return {
    segments: segments.flatMap((segment) =>
      segment.kind !== "merge"
        ? []
        : [{ ...segment, sources: segment.sources.map((tables) => tables.map(detachedView)) }]
    ),
    isLastRun,
    olderSpans: olderSpans.map(({ first, end, endInclusive }) => ({
      first: new Uint8Array(first),
      end: detached(end),
      endInclusive,
    })),
    minSeq,
    tick,
  };
}

/** The same reference to a table, with keys of its own. */
export function detachedView(view: SstView): SstView {
  const { viewId, sstId, formatVersion, info, visibleRange } = view;
  const { rangeDeletes } = info;
  return {
    viewId,
    sstId,
    formatVersion,
    info: {
      ...info,
      firstEntry: detached(info.firstEntry),
      lastEntry: detached(info.lastEntry),
      ...(rangeDeletes === undefined ? {} : { rangeDeletes: { ...rangeDeletes, end: detached(rangeDeletes.end) } }),
    },
    visibleRange: visibleRange === undefined
      ? undefined
      : { start: detachedBound(visibleRange.start), end: detachedBound(visibleRange.end) },
  };
}

function detachedBound({ key, inclusive }: Bound): Bound {
  return { key: detached(key), inclusive };
}

function detached(key: Uint8Array | undefined): Uint8Array | undefined {
  return key === undefined ? undefined : new Uint8Array(key);
}

/** An error as its fields. */
export function faultOf(error: unknown): ThreadFault {
  if (error instanceof StoreError) return storeFaultOf(error);
  if (error instanceof DataError) {
    const { object, section, offset, reason, detail, oldestSeq } = error;
    return {
      tag: "DataError",
      object,
      section,
      offset,
      reason,
      ...(detail === undefined ? {} : { detail }),
      ...(oldestSeq === undefined ? {} : { oldestSeq }),
    };
  }
  return { tag: "defect", text: textOf(error) };
}

/** A store's error as its fields. */
export function storeFaultOf({ op, path, reason, retryable, outcome, detail }: StoreError): StoreFault {
  return { tag: "StoreError", op, path, reason, retryable, outcome, detail };
}

/** The error that was told; what no store and no stored object is to blame for is an `Error`, a defect. */
export function errorOf(fault: ThreadFault): StoreError | DataError | Error {
  switch (fault.tag) {
    case "StoreError": {
      const { tag: _tag, ...fields } = fault;
      return new StoreError(fields);
    }
    case "DataError": {
      const { tag: _tag, ...fields } = fault;
      return new DataError(fields);
    }
    case "defect":
      return new Error(fault.text);
  }
}
