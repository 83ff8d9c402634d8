/**
 * Placeholder until the worker is there.
 *
 * @module
 */
import { Effect } from "effect";
import type { DataError, StoreError } from "../src/errors.ts";
import type { SstView, Ulid } from "../src/format/types.ts";
import type { CompactionPlan } from "../src/lsm/compaction_job.ts";
import type { FoldMerge } from "../src/lsm/merge_operator.ts";
import type { TableStore } from "../src/lsm/table_store.ts";
import type { TableEncoding } from "../src/lsm/table_writer.ts";
import type { ObjectStoreShape } from "../src/store/object_store.ts";

/** What the worker works with. */
export interface CompactionWorkerSpec {
  readonly store: ObjectStoreShape;
  readonly tables: TableStore;
  readonly root: string;
  readonly encoding: TableEncoding;
  readonly merge: FoldMerge | undefined;
  readonly mintTableId: () => Ulid;
  readonly maxSstBytes: number;
}
/** A table that was made. */
export interface CompactionOutput {
  readonly view: SstView;
  readonly bytes: number;
  readonly isPlain: boolean;
}
/** Bytes moved. */
export interface CompactionCounts {
  bytesIn: number;
  bytesOut: number;
}
/** Runs a plan. */
export function runCompaction(
  _spec: CompactionWorkerSpec,
  _plan: CompactionPlan,
  _counts: CompactionCounts,
): Effect.Effect<ReadonlyArray<ReadonlyArray<CompactionOutput>>, StoreError | DataError> {
  return Effect.die("no worker yet");
}
