/**
 * Tables that can go without being read, because range tombstones hide everything that is in them.
 *
 * T5: a table may go when tombstones of strictly newer places (L0 tables in front of it, or runs above its own) that every
 * protected read sees cover all keys from its first to its last row, and its own tombstones. L0 gives its tables away
 * only at its end (K-16), so there a table goes only together with all older ones. Tombstones of tables that go in the
 * same step hide nothing; what covers those covers all that they cover.
 *
 * Pure: `coverersToRead` tells from the manifest alone which tombstones are worth reading, `dropJobs` what follows when
 * they were read. Both yield wherever others may have a turn, and both have a bound: after so many steps
 * ({@linkcode STEPS_MAX}) what is left covers nothing and is not hidden, so that tables stay that could go.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { Manifest, SstView, Ulid } from "../format/types.ts";
import type { CompactionSpec } from "./compaction_job.ts";
import { joinedSpans, type KeySpan as Covered, unionOfSpans } from "./range_estimate.ts";
import { NOT_COVERED, type RangeSet } from "./range_set.ts";
import { groupOverlapping, type KeySpan, overlapsGroups, reaches, spanOf } from "./table_span.ts";

/** Keys that one look compares or moves at most: some tenths of a second of work. */
const STEPS_MAX = 3_000_000;
/** The same between two turns of others: a few milliseconds, or what has to be done at once for one run. */
const STEPS_PER_SLICE = 20_000;
/** What finding a place among sorted keys takes. */
const SEARCH_STEPS = 16;

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

/** The last of the ascending stretches that begins at or before what `isReached` tells of starts. */
function lastReached(
  stretches: ReadonlyArray<Covered>,
  isReached: (start: Uint8Array) => boolean,
): Covered | undefined {
  let low = 0;
  let high = stretches.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isReached(stretches[middle]!.start)) low = middle + 1;
    else high = middle;
  }
  return stretches[low - 1];
}

/** Whether one of the stretches, which ascend and do not touch, holds all of `span`. */
function holds(stretches: ReadonlyArray<Covered>, span: KeySpan): boolean {
  const last = lastReached(stretches, (start) => compareBytes(start, span.first) <= 0);
  if (last?.end === undefined) return last !== undefined;
  if (span.end === undefined) return false;
  const order = compareBytes(span.end, last.end);
  return order < 0 || (order === 0 && !span.endInclusive);
}

/** Whether one of the stretches, which ascend, has a key of `span`. */
function meets(stretches: ReadonlyArray<Covered>, span: KeySpan): boolean {
  const last = lastReached(stretches, (start) => reaches(span, start));
  return last !== undefined && (last.end === undefined || compareBytes(span.first, last.end) < 0);
}

/** What newer places cover, and the tables that do. */
class Coverage {
  #stretches: ReadonlyArray<Covered> = [];
  readonly #by: Array<{ readonly id: Ulid; readonly parts: ReadonlyArray<Covered> }> = [];
  #steps = 0;
  #turnAt = STEPS_PER_SLICE;

  /** Whether others should have a turn now. */
  get isDue(): boolean {
    if (this.#steps < this.#turnAt) return false;
    this.#turnAt = this.#steps + STEPS_PER_SLICE;
    return true;
  }

  /** Adds what the tables of one place cover. */
  add(views: ReadonlyArray<SstView>, coverOf: CoverOf): void {
    const added: Covered[] = [];
    for (const view of views) {
      const parts = this.#steps < STEPS_MAX ? coverOf(view) : [];
      if (parts.length === 0) continue;
      this.#steps += parts.length;
      this.#by.push({ id: view.sstId, parts });
      for (const part of parts) added.push(part);
    }
    if (added.length === 0) return;
    this.#steps += this.#stretches.length;
    this.#stretches = unionOfSpans(
      this.#stretches,
      joinedSpans(added.sort((a, b) => compareBytes(a.start, b.start))),
    );
  }

  /** Whether a table is hidden whole. One that does not name its last row is never known to be. */
  hides(view: SstView): boolean {
    if (this.#stretches.length === 0 || view.info.lastEntry === undefined || this.#steps >= STEPS_MAX) return false;
    this.#steps += SEARCH_STEPS;
    return holds(this.#stretches, spanOf(view));
  }

  /** The tables that cover something of `views`. */
  over(views: ReadonlyArray<SstView>): Set<Ulid> {
    const groups = groupOverlapping(views.map((view) => spanOf(view)));
    const overlaps = (parts: ReadonlyArray<Covered>): boolean => {
      this.#steps += SEARCH_STEPS * Math.min(parts.length, groups.length);
      if (groups.length < parts.length) return groups.some((group) => meets(parts, group));
      return parts.some(({ start, end }) => overlapsGroups(groups, { first: start, end, endInclusive: false }));
    };
    return new Set(this.#by.filter(({ parts }) => overlaps(parts)).map(({ id }) => id));
  }
}

/** The tables (SST ids) whose tombstones have to be read to tell what is hidden; none when nothing can be. */
export function* coverersToRead({ l0, compacted }: Manifest): Generator<void, ReadonlySet<Ulid>> {
  const wanted = new Set<Ulid>();
  const coverage = new Coverage();
  for (const views of [...l0.map((view) => [view]), ...compacted.map(({ ssts }) => ssts)]) {
    const hidden: SstView[] = [];
    for (const view of views) {
      if (coverage.isDue) yield;
      if (coverage.hides(view)) hidden.push(view);
    }
    if (hidden.length > 0) { for (const id of coverage.over(hidden)) wanted.add(id); }
    coverage.add(views, boundsCover);
  }
  return wanted;
}

/**
 * The jobs that take away what is hidden, one for L0 and one for each run.
 *
 * @param newRunId an id above every run, which a job over L0 alone names
 */
export function* dropJobs(
  manifest: Manifest,
  coverOf: CoverOf,
  newRunId: number,
): Generator<void, CompactionSpec[]> {
  const { l0, compacted } = manifest;
  const jobs: CompactionSpec[] = [];
  const coverage = new Coverage();
  // All L0 tables from `kept` on are hidden by those before; what was hidden once stays so.
  let kept = l0.length;
  for (let i = 0; i < kept; i++) {
    if (coverage.isDue) yield;
    while (kept > i && coverage.hides(l0[kept - 1]!)) kept--;
    if (kept > i) coverage.add([l0[i]!], coverOf);
  }
  const oldest = l0.slice(kept);
  if (oldest.length > 0) {
    const l0ViewIds = oldest.map((view) => view.viewId);
    const by = coverage.over(oldest);
    jobs.push({ l0ViewIds, runIds: [], destination: newRunId, effort: "drop", coveredBy: by });
  }
  for (const { id, ssts } of compacted) {
    const hidden = new Set<SstView>();
    for (const view of ssts) {
      if (coverage.isDue) yield;
      if (coverage.hides(view)) hidden.add(view);
    }
    if (hidden.size > 0) {
      const tables = new Set([...hidden].map((view) => view.sstId));
      const by = coverage.over([...hidden]);
      jobs.push({ l0ViewIds: [], runIds: [id], destination: id, tables, effort: "drop", coveredBy: by });
    }
    coverage.add(hidden.size === 0 ? ssts : ssts.filter((view) => !hidden.has(view)), coverOf);
  }
  return jobs;
}
