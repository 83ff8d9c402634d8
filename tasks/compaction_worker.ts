/**
 * Carries out one compaction plan: reads the sources, merges what has to be merged, stores the new tables.
 *
 * Nothing here touches a manifest: a job that fails or is interrupted at any point leaves orphans at most, and the same
 * plan (or a newer one) can be run again from its beginning (K-19). Rows are merged in slices of about a millisecond,
 * with a turn for everybody else in between (K-35), while the next windows of the sources are read and finished
 * tables are stored. Neither blocks nor indexes of the sources enter a cache.
 *
 * Range tombstones of all sources are read before the first row: what all reads see hidden is passed over, with seeks
 * where a newer source hides it. Fragments that are open where a table ends, or where a job begins again, follow from
 * the sources alone.
 *
 * Held in memory, at most: the range tombstones of the sources, 64 MiB of windows and two indexes of each source (see
 * `passing_cursor.ts`), the table that is being made unless it goes up in parts, and as much again of tables on their
 * way.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type StoreError } from "../src/errors.ts";
import { tablePath } from "../src/format/paths.ts";
import { RANGE_FORMAT, type RangeTombstone, type SstView, type Ulid } from "../src/format/types.ts";
import type { CompactionPlan, CompactionSegment } from "../src/lsm/compaction_job.ts";
import { CompactionWriter, ENDED, TABLE, WAITING, type WriterStep } from "../src/lsm/compaction_writer.ts";
import type { Need } from "../src/lsm/cursor.ts";
import { MergeCursor } from "../src/lsm/merge_cursor.ts";
import type { FoldMerge } from "../src/lsm/merge_operator.ts";
import { PassingCursor, windowBytes } from "../src/lsm/passing_cursor.ts";
import { fetchPart, PassingPart } from "../src/lsm/passing_part.ts";
import { fetchSourceRanges, unhidden } from "../src/lsm/passing_ranges.ts";
import type { RangeSet } from "../src/lsm/range_set.ts";
import { coveredInSlices, retainedInSlices } from "../src/lsm/range_slices.ts";
import { TableRef } from "../src/lsm/table_ref.ts";
import { tableBytes } from "../src/lsm/table_stats.ts";
import type { TableStore } from "../src/lsm/table_store.ts";
import type { TableEncoding } from "../src/lsm/table_writer.ts";
import type { ObjectStoreShape } from "../src/store/object_store.ts";
import { SINGLE_PUT_MAX_BYTES } from "../src/store/put_table.ts";
import { sliced } from "./sliced.ts";
import { type TableUpload, TableUploads } from "./table_uploads.ts";

/** Rows of the sources that are merged between two turns of others. */
const ROWS_PER_SLICE = 4096;
/** Bytes that are encoded between two turns of others: about a millisecond of work. */
const BYTES_PER_SLICE = 262_144;
/** Requests at once for what the merge waits for. */
const REQUESTS_MAX = 16;
/** What a table is larger than its rows by, at most, as a fraction: filter, index and stats. */
const EXTRA_FRACTION = 1 / 16;
/** The same for a table without rows, bytes. */
const EXTRA_BYTES = 65_536;
/** Range tombstones of a table at most, where keys allow it, bytes: readers fetch, decode and cache them whole. */
const RANGE_BYTES_MAX = 8 * 1024 * 1024;

/** What the worker works with. */
export interface CompactionWorkerSpec {
  /** Where tables are read and put; retries transient faults. */
  readonly store: ObjectStoreShape;
  /** Knows which object a source is. */
  readonly tables: TableStore;
  /** Root of the database's own tables. */
  readonly root: string;
  readonly encoding: TableEncoding;
  /** Undefined: operands stay as they are. */
  readonly merge: FoldMerge | undefined;
  /** Fresh ids of tables; called when a table is begun. */
  readonly mintTableId: () => Ulid;
  /** Size of rows at which a table is ended, before the next key, bytes. */
  readonly maxSstBytes: number;
  /** Hears why operands were left unfolded. */
  readonly onMergeFailure?: (failure: unknown) => void;
  /** Largest table that is stored by one put, bytes; default 64 MiB. */
  readonly singlePutMaxBytes?: number;
}

/** A table that was made and is stored. */
export interface CompactionOutput {
  readonly view: SstView;
  /** Size of the object. */
  readonly bytes: number;
  /** Whether it holds neither deletes, operands nor expiry. */
  readonly isPlain: boolean;
}

/** How far a job is. */
export interface CompactionCounts {
  /** Bytes of the sources that are merged, at the end the plan's `mergeBytes`. */
  bytesIn: number;
  /** Bytes of the tables made so far, counted as those of the sources: without what ends a file. */
  bytesOut: number;
}

/** What of a plan says how tables are merged. */
export type MergePlan = Pick<CompactionPlan, "segments" | "isLastRun" | "olderSpans" | "minSeq" | "tick">;

type MergeSegment = Extract<CompactionSegment, { readonly kind: "merge" }>;

/**
 * Runs a plan.
 *
 * @param counts updated while it runs
 * @returns the tables of each merge segment, in the plan's order, ascending; all of them stored. A segment of which no
 * row is kept has none
 *
 * Fails with `DataError` "missing-object" when a source is gone (the manifest is newer than the plan), with another
 * `DataError` when one is damaged, and with `StoreError` when the store fails for longer than it is retried.
 */
export function runCompaction(
  spec: CompactionWorkerSpec,
  plan: MergePlan,
  counts: CompactionCounts,
): Effect.Effect<ReadonlyArray<ReadonlyArray<CompactionOutput>>, StoreError | DataError> {
  return Effect.scoped(Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const uploads = new TableUploads(spec.store, scope, spec.singlePutMaxBytes ?? SINGLE_PUT_MAX_BYTES);
    const made: CompactionOutput[][] = [];
    for (const segment of plan.segments) {
      if (segment.kind !== "merge") continue;
      const outputs: CompactionOutput[] = [];
      made.push(outputs);
      const sources = segment.sources.map((views) =>
        views.map((view) => new TableRef(spec.tables.passingTable(view), view))
      );
      const ranges = yield* fetchSourceRanges(spec.store, sources);
      const tombstones = ranges === undefined ? undefined : yield* mergedRanges(spec, plan, ranges);
      yield* new SegmentMerge(spec, plan, segment, { sources, tombstones }, uploads, counts, outputs).run;
    }
    yield* uploads.settled;
    return made;
  }));
}

/** What a segment is merged from. */
interface MergeSources {
  readonly sources: ReadonlyArray<ReadonlyArray<TableRef>>;
  /** Undefined when there are none. */
  readonly tombstones: MergeRanges | undefined;
}

/** Range tombstones of a merge. */
interface MergeRanges {
  /** Those of each source. */
  readonly ranges: ReadonlyArray<ReadonlyArray<RangeTombstone>>;
  /** Those that are written. */
  readonly kept: ReadonlyArray<RangeTombstone>;
  /** What all reads see covered; only folds ask for it. */
  readonly barriers: RangeSet | undefined;
}

/** What comes of the range tombstones of the sources. */
function mergedRanges(
  { merge }: CompactionWorkerSpec,
  { minSeq, olderSpans }: MergePlan,
  ranges: MergeRanges["ranges"],
): Effect.Effect<MergeRanges> {
  return Effect.gen(function* () {
    const kept = yield* sliced(retainedInSlices(ranges, minSeq, olderSpans));
    const barriers = merge === undefined ? undefined : yield* sliced(coveredInSlices(ranges, minSeq));
    return { ranges, kept, barriers };
  });
}

/** The writer of a segment's tables, over the rows of `cursors` that stay. */
function writerOf(
  spec: CompactionWorkerSpec,
  plan: MergePlan,
  { sources, tombstones }: MergeSources,
  cursors: ReadonlyArray<PassingCursor>,
): CompactionWriter {
  const { encoding, maxSstBytes, merge } = spec;
  const { minSeq, tick } = plan;
  const rules = { minSeq, tick, dropTombstones: plan.isLastRun, olderSpans: plan.olderSpans, merge };
  if (tombstones === undefined) return new CompactionWriter(new MergeCursor(cursors), { encoding, maxSstBytes, rules });
  const { ranges, kept, barriers } = tombstones;
  const rows = unhidden(cursors, sources.map((refs) => refs[0]!.first), ranges, minSeq);
  return new CompactionWriter(new MergeCursor(rows), {
    encoding,
    maxSstBytes,
    maxRangeBytes: Math.min(maxSstBytes, RANGE_BYTES_MAX),
    rules: { ...rules, barriers },
    ranges: kept,
  });
}

/** The merge of one segment. */
class SegmentMerge {
  readonly #spec: CompactionWorkerSpec;
  readonly #segment: MergeSegment;
  readonly #uploads: TableUploads;
  readonly #counts: CompactionCounts;
  readonly #outputs: CompactionOutput[];
  readonly #writer: CompactionWriter;
  readonly #sources: ReadonlyArray<PassingCursor>;
  readonly #ahead: PassingPart[] = [];
  readonly #inBefore: number;
  #outBefore: number;
  #id: Ulid | undefined = undefined;
  #upload: TableUpload | undefined = undefined;

  constructor(
    spec: CompactionWorkerSpec,
    plan: MergePlan,
    segment: MergeSegment,
    inputs: MergeSources,
    uploads: TableUploads,
    counts: CompactionCounts,
    outputs: CompactionOutput[],
  ) {
    this.#spec = spec;
    this.#segment = segment;
    this.#uploads = uploads;
    this.#counts = counts;
    this.#outputs = outputs;
    this.#inBefore = counts.bytesIn;
    this.#outBefore = counts.bytesOut;
    const window = windowBytes(segment.sources.length);
    this.#sources = inputs.sources.map((refs) => new PassingCursor(refs, window));
    this.#writer = writerOf(spec, plan, inputs, this.#sources);
  }

  get run(): Effect.Effect<void, StoreError | DataError> {
    return Effect.gen({ self: this }, function* () {
      const writer = this.#writer;
      for (;;) {
        const step = this.#slice();
        if (step instanceof DataError) return yield* Effect.fail(step);
        if (step === ENDED) break;
        if (step === TABLE) yield* this.#finishTable();
        else if (writer.tableBytes > 0) yield* this.#growTable();
        yield* this.#readAhead();
        if (step === WAITING) yield* this.#fetch();
        else yield* Effect.yieldNow;
        if (this.#uploads.failure !== undefined) return yield* Effect.fail(this.#uploads.failure);
      }
      const failure = writer.retained.foldFailure;
      if (failure !== undefined) this.#spec.onMergeFailure?.(failure);
    });
  }

  /** Merges a slice. What it reads may turn out to be damaged. */
  #slice(): WriterStep | DataError {
    const writer = this.#writer;
    if (writer.tableBytes === 0) {
      const expected = this.#expectedBytes();
      // What goes up in parts is made in pieces.
      writer.expectedBytes = expected > this.#uploads.singlePutMaxBytes ? Infinity : expected;
    }
    try {
      const step = writer.step(ROWS_PER_SLICE, BYTES_PER_SLICE);
      for (const source of this.#sources) source.collectAhead(this.#ahead);
      this.#counts.bytesIn = this.#inBefore + Math.floor(this.#segment.bytes * this.#progress);
      this.#counts.bytesOut = this.#outBefore + writer.tableBytes;
      return step;
    } catch (error) {
      if (error instanceof DataError) return error;
      throw error;
    }
  }

  /** About the size of the next table, from what is left of the sources. */
  #expectedBytes(): number {
    const left = this.#segment.bytes * (1 - this.#progress);
    const rows = Math.min(left, this.#spec.maxSstBytes);
    return Math.ceil(rows + rows * EXTRA_FRACTION + EXTRA_BYTES);
  }

  /** How much of the sources has been walked, 0..1. */
  get #progress(): number {
    let walked = 0;
    let total = 0;
    for (const source of this.#sources) {
      walked += source.walkedBytes;
      total += source.totalBytes;
    }
    return total === 0 ? 1 : walked / total;
  }

  #fetch(): Effect.Effect<void, StoreError | DataError> {
    const needs: Need[] = [];
    this.#writer.collectNeeds(needs);
    const parts = needs.filter((need) => need instanceof PassingPart);
    return Effect.forEach(parts, (part) => fetchPart(this.#spec.store, part), {
      concurrency: REQUESTS_MAX,
      discard: true,
    });
  }

  /** Begins to read what the merge comes to next. A failure is seen when it gets there. */
  #readAhead(): Effect.Effect<void> {
    if (this.#ahead.length === 0) return Effect.void;
    const parts = this.#ahead.splice(0);
    return Effect.forEach(
      parts,
      (part) =>
        Effect.catch(fetchPart(this.#spec.store, part), () => Effect.sync(() => void (part.hasFailed = true))).pipe(
          Effect.forkIn(this.#uploads.scope),
        ),
      { discard: true },
    );
  }

  #growTable(): Effect.Effect<void, StoreError> {
    return this.#tableUpload().grow(this.#writer);
  }

  #tableUpload(): TableUpload {
    if (this.#upload === undefined) {
      this.#id = this.#spec.mintTableId();
      this.#upload = this.#uploads.begin(tablePath(this.#spec.root, this.#id), this.#writer.expectedBytes === Infinity);
    }
    return this.#upload;
  }

  #finishTable(): Effect.Effect<void, StoreError> {
    const upload = this.#tableUpload();
    const id = this.#id!;
    const table = this.#writer.takeTable();
    this.#upload = undefined;
    this.#outBefore += tableBytes(table.info);
    this.#counts.bytesOut = this.#outBefore;
    const formatVersion = table.info.rangeDeletes === undefined ? 2 : RANGE_FORMAT;
    const view: SstView = { viewId: id, sstId: id, info: table.info, visibleRange: undefined, formatVersion };
    this.#outputs.push({ view, bytes: table.sizeBytes, isPlain: table.isPlain });
    return upload.finish(table);
  }
}
