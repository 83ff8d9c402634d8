/**
 * Tables that can go without being read, because range tombstones hide everything that is in them.
 *
 * T5: a table may go when tombstones of strictly newer places (L0 tables in front of it, or runs above its own) that every
 * protected read sees cover all keys from its first to its last row, and its own tombstones. L0 gives its tables away
 * only at its end (K-16), so there a table goes only together with all older ones. Tombstones of tables that go in the
 * same step hide nothing; what covers those covers all that they cover.
 *
 * Pure: `coverersToRead` tells from the manifest alone which tombstones are worth reading, `dropJobs` what follows when
 * they were read.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { Manifest, SstView, Ulid } from "../format/types.ts";
import type { CompactionSpec } from "./compaction_job.ts";
import { joinedSpans, type KeySpan as Covered } from "./range_estimate.ts";
import { NOT_COVERED, type RangeSet } from "./range_set.ts";
import { type KeySpan, reaches, spanOf } from "./table_span.ts";

/** What a table's tombstones cover, ascending; nothing when it has none, or they are not known. */
export type CoverOf = (view: SstView) => ReadonlyArray<Covered>;

/** All that a table's tombstones may cover, from its description alone. */
const boundsCover: CoverOf = ({ info: { firstEntry, rangeDeletes } }) =>
  firstEntry === undefined || rangeDeletes === undefined ? [] : [{ start: firstEntry, end: rangeDeletes.end }];

/** What the tombstones of `set` of at most `maxSeq` cover; neighbours that touch are one. */
export function coveredBy(set: RangeSet, maxSeq: number): Covered[] {
  const parts: Covered[] = [];
  for (let i = 0; i < set.count; i++) {
    if (set.seqAt(i, maxSeq) !== NOT_COVERED) parts.push({ start: set.start(i), end: set.end(i) });
  }
  return joinedSpans(parts);
}

/** Whether one of the stretches, which ascend and do not touch, holds all of `span`. */
function holds(stretches: ReadonlyArray<Covered>, span: KeySpan): boolean {
  let low = 0;
  let high = stretches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(stretches[middle]!.start, span.first) <= 0) low = middle + 1;
    else high = middle;
  }
  const end = stretches[low - 1]?.end;
  if (low === 0 || end === undefined) return low > 0;
  if (span.end === undefined) return false;
  const order = compareBytes(span.end, end);
  return order < 0 || (order === 0 && !span.endInclusive);
}

/** What newer places cover, and the tables that do. */
class Coverage {
  #stretches: Covered[] = [];
  readonly #by: Array<{ readonly id: Ulid; readonly parts: ReadonlyArray<Covered> }> = [];

  add(views: ReadonlyArray<SstView>, coverOf: CoverOf): void {
    const added: Covered[] = [];
    for (const view of views) {
      const parts = coverOf(view);
      if (parts.length === 0) continue;
      this.#by.push({ id: view.sstId, parts });
      added.push(...parts);
    }
    if (added.length > 0) {
      const all = [...this.#stretches, ...added].sort((a, b) => compareBytes(a.start, b.start));
      this.#stretches = joinedSpans(all);
    }
  }

  /** Whether a table is hidden whole. One that does not name its last row is never known to be. */
  hides(view: SstView): boolean {
    return this.#stretches.length > 0 && view.info.lastEntry !== undefined && holds(this.#stretches, spanOf(view));
  }

  /** The tables that cover something of `views`. */
  over(views: ReadonlyArray<SstView>): Set<Ulid> {
    const spans = views.map((view) => spanOf(view));
    const overlaps = ({ start, end }: Covered): boolean =>
      spans.some((span) => reaches(span, start) && (end === undefined || compareBytes(span.first, end) < 0));
    return new Set(this.#by.filter(({ parts }) => parts.some(overlaps)).map(({ id }) => id));
  }
}

/** The tables (SST ids) whose tombstones have to be read to tell what is hidden; none when nothing can be. */
export function coverersToRead({ l0, compacted }: Manifest): ReadonlySet<Ulid> {
  const wanted = new Set<Ulid>();
  const coverage = new Coverage();
  const look = (views: ReadonlyArray<SstView>): void => {
    const hidden = views.filter((view) => coverage.hides(view));
    if (hidden.length > 0) { for (const id of coverage.over(hidden)) wanted.add(id); }
    coverage.add(views, boundsCover);
  };
  for (const view of l0) look([view]);
  for (const { ssts } of compacted) look(ssts);
  return wanted;
}

/**
 * The jobs that take away what is hidden, one for L0 and one for each run.
 *
 * @param newRunId an id above every run, which a job over L0 alone names
 */
export function dropJobs(manifest: Manifest, coverOf: CoverOf, newRunId: number): CompactionSpec[] {
  const { l0, compacted } = manifest;
  const jobs: CompactionSpec[] = [];
  const coverage = new Coverage();
  let kept = l0.length;
  for (let i = 0; i < l0.length; i++) {
    if (i > 0 && l0.slice(i).every((view) => coverage.hides(view))) {
      kept = i;
      break;
    }
    coverage.add([l0[i]!], coverOf);
  }
  const oldest = l0.slice(kept);
  if (oldest.length > 0) {
    const l0ViewIds = oldest.map((view) => view.viewId);
    const by = coverage.over(oldest);
    jobs.push({ l0ViewIds, runIds: [], destination: newRunId, effort: "drop", coveredBy: by });
  }
  for (const { id, ssts } of compacted) {
    const hidden = ssts.filter((view) => coverage.hides(view));
    if (hidden.length > 0) {
      const tables = new Set(hidden.map((view) => view.sstId));
      const by = coverage.over(hidden);
      jobs.push({ l0ViewIds: [], runIds: [id], destination: id, tables, effort: "drop", coveredBy: by });
    }
    coverage.add(hidden.length === 0 ? ssts : ssts.filter((view) => !hidden.includes(view)), coverOf);
  }
  return jobs;
}
