/**
 * Key spans of tables, as far as the manifest tells, and which tables of a layout hang together.
 *
 * Spans are never too small: they begin at the table's first entry even where a visible range cuts more off (readers
 * order a run by first entries), they end at the visible range or at the last entry, and a table that does not name its
 * last entry (older files) reaches to the first entry of the next one of its run, or has no end. Range tombstones belong
 * to a table's span like its rows (T4: no row comes to lie below an older tombstone over it). Ends that lie on one key
 * overlap, since versions of a key may continue in the next table of a run (K-17); where a tombstone ends, it ends before
 * its key.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { SortedRun, SstInfo, SstView, Ulid } from "../format/types.ts";
import { tableBytes } from "./table_stats.ts";

const EMPTY = new Uint8Array(0);

/** A range of keys that is never empty. */
export interface KeySpan {
  /** No row has a smaller key. */
  readonly first: Uint8Array;
  /** No row has a greater key; undefined = there is no end. */
  readonly end: Uint8Array | undefined;
  readonly endInclusive: boolean;
}

/** A table with its span. */
export interface TableSpan extends KeySpan {
  readonly view: SstView;
}

/** The span of a table. `nextFirst` is the first entry of the table after it in its run. */
export function spanOf(view: SstView, nextFirst?: Uint8Array | undefined): TableSpan {
  const first = view.info.firstEntry ?? EMPTY;
  let { end, endInclusive } = endOf(view.info, nextFirst);
  const bound = view.visibleRange?.end;
  if (bound?.key !== undefined) {
    const order = end === undefined ? -1 : compareBytes(bound.key, end);
    if (order < 0 || (order === 0 && !bound.inclusive)) {
      end = bound.key;
      endInclusive = bound.inclusive;
    }
  }
  // A visible range may leave nothing: the table still has its place.
  if (end !== undefined && compareBytes(end, first) <= 0) return { view, first, end: first, endInclusive: true };
  return { view, first, end, endInclusive };
}

/** Where rows and range tombstones end; a table of tombstones only has no last entry. */
function endOf(
  { lastEntry, rangeDeletes }: SstInfo,
  nextFirst: Uint8Array | undefined,
): { end: Uint8Array | undefined; endInclusive: boolean } {
  if (rangeDeletes === undefined) return { end: lastEntry ?? nextFirst, endInclusive: true };
  const { end } = rangeDeletes;
  const isLast = lastEntry === undefined || end === undefined || compareBytes(end, lastEntry) > 0;
  return isLast ? { end, endInclusive: false } : { end: lastEntry, endInclusive: true };
}

/** The spans of a run's tables, in the run's order. */
export function spansOfRun(run: SortedRun): TableSpan[] {
  return run.ssts.map((view, i) => spanOf(view, run.ssts[i + 1]?.info.firstEntry));
}

/** Bytes of all tables of a run, as stored (a visible range is not estimated). */
export function bytesOfRun(run: SortedRun): number {
  return bytesOfViews(run.ssts);
}

/** Bytes of some tables, as stored. */
export function bytesOfViews(views: ReadonlyArray<SstView>): number {
  return views.reduce((sum, view) => sum + tableBytes(view.info), 0);
}

/** Whether `span` goes on at least to `key`. */
export function reaches(span: KeySpan, key: Uint8Array): boolean {
  if (span.end === undefined) return true;
  const order = compareBytes(key, span.end);
  return order < 0 || (order === 0 && span.endInclusive);
}

/** Whether a key can lie in both spans. */
export function spansOverlap(a: KeySpan, b: KeySpan): boolean {
  return reaches(a, b.first) && reaches(b, a.first);
}

/** Whether `a` ends after `b` does. */
function endsLater(a: KeySpan, b: KeySpan): boolean {
  if (b.end === undefined) return false;
  if (a.end === undefined) return true;
  const order = compareBytes(a.end, b.end);
  return order > 0 || (order === 0 && a.endInclusive && !b.endInclusive);
}

/** Spans that hang together, directly or through others. Its own span covers them all without a gap. */
export interface SpanGroup<T extends KeySpan> extends KeySpan {
  /** By first key; of those with the same first key, in the order given. */
  readonly members: ReadonlyArray<T>;
}

/** Parts `spans` into groups that do not overlap each other, ascending. */
export function groupOverlapping<T extends KeySpan>(spans: ReadonlyArray<T>): Array<SpanGroup<T>> {
  const sorted = [...spans].sort((a, b) => compareBytes(a.first, b.first));
  const groups: Array<SpanGroup<T>> = [];
  let members: T[] = [];
  let latest: T | undefined;
  const finish = (): void => {
    if (latest === undefined) return;
    groups.push({ first: members[0]!.first, end: latest.end, endInclusive: latest.endInclusive, members });
  };
  for (const span of sorted) {
    if (latest === undefined || !reaches(latest, span.first)) {
      finish();
      members = [];
      latest = span;
    } else if (endsLater(span, latest)) {
      latest = span;
    }
    members.push(span);
  }
  finish();
  return groups;
}

/** Whether `span` overlaps one of `groups`, which are ascending and do not overlap each other. */
export function overlapsGroups(groups: ReadonlyArray<KeySpan>, span: KeySpan): boolean {
  let low = 0;
  let high = groups.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (reaches(span, groups[middle]!.first)) low = middle + 1;
    else high = middle;
  }
  return low > 0 && reaches(groups[low - 1]!, span.first);
}

/**
 * The tables that have to go down together: `seeds`, and every table of `runs` that overlaps a table that goes down from
 * a newer place or from the same run. Then no version of a key comes to lie below an older one.
 *
 * @param above tables that go down from above all `runs`
 * @param runs spans of the runs from the newest one concerned down to the destination, newest first
 * @param seeds SST ids of tables in `runs`
 */
export function closeDownwards(
  above: ReadonlyArray<KeySpan>,
  runs: ReadonlyArray<ReadonlyArray<TableSpan>>,
  seeds: Iterable<Ulid>,
): ReadonlySet<Ulid> {
  const taken = new Set(seeds);
  // Once over is enough, unless one SST is referred to twice.
  for (let before = -1; before !== taken.size;) {
    before = taken.size;
    const moving: KeySpan[] = [...above];
    for (const run of runs) {
      const groups = groupOverlapping(moving);
      for (const group of groupOverlapping(run)) {
        const taking = group.members.some(({ view }) => taken.has(view.sstId)) || overlapsGroups(groups, group);
        if (!taking) continue;
        for (const span of group.members) {
          taken.add(span.view.sstId);
          moving.push(span);
        }
      }
    }
  }
  return taken;
}
