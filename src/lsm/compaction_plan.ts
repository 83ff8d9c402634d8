/**
 * From a specification to a plan: which tables move as they are and which are merged with which.
 *
 * The source tables fall into groups of overlapping key spans. A group of one table may move; all others are merged, and
 * merges that lie side by side become one, so that output tables fill up. A merge never goes across a table that moves
 * or stays, so its outputs overlap neither.
 *
 * Range tombstones belong to a table's span, so a tombstone that a source has over a table of another source makes them
 * one group: nothing moves past it.
 *
 * A moved table keeps its tombstones and expired rows for ever where nothing lies below it, so into the last run only
 * plain tables move. Small tables are merged rather than moved, and those that already lie in the destination are taken
 * into a merge beside them that is no smaller than they are: a run does not fall into ever smaller pieces, and what
 * that rewrites grows with the logarithm of what is merged.
 *
 * @module
 */
import type { Manifest, SstView } from "../format/types.ts";
import type {
  CompactionLimits,
  CompactionPlan,
  CompactionSegment,
  CompactionSpec,
  TableFacts,
} from "./compaction_job.ts";
import { groupOverlapping, type KeySpan, type SpanGroup, spanOf, spansOfRun, type TableSpan } from "./table_span.ts";
import { tableBytes } from "./table_stats.ts";

/** A table smaller than this part of a full one is merged instead of moved. */
const SMALL_PART = 1 / 16;
/** A table of the destination that is smaller than this part of a full one is taken into a merge beside it. */
const FILL_PART = 1 / 4;

/** Whether a table of the destination run, next to a merge of `mergeBytes`, is better merged with it than left alone. */
export function isWorthFilling(view: SstView, mergeBytes: number, limits: CompactionLimits): boolean {
  const bytes = tableBytes(view.info);
  return bytes < limits.maxSstBytes * FILL_PART && bytes <= mergeBytes;
}

/** A table of the sources or of the destination run. */
interface PlannedTable extends TableSpan {
  /** Age of its source, 0 = newest. */
  readonly source: number;
  readonly isTaken: boolean;
  readonly isInDestination: boolean;
}

/** A group of tables with its fate. */
interface Part {
  readonly tables: ReadonlyArray<PlannedTable>;
  readonly bytes: number;
  fate: "merge" | "move" | "untouched";
}

/**
 * How `spec`, which is valid for `manifest`, is carried out.
 *
 * @throws Error (a defect) when it is not valid for `manifest`
 */
export function planCompaction(
  manifest: Manifest,
  spec: CompactionSpec,
  limits: CompactionLimits,
  facts: TableFacts,
): CompactionPlan {
  if (spec.effort === "drop") return dropPlan(manifest, spec);
  const isLastRun = manifest.compacted.every((run) => run.id >= spec.destination || run.ssts.length === 0);
  const isFullOfValues = (view: SstView): boolean => facts(view.sstId)?.isPlain === true;
  const fateOf = ({ view, isInDestination }: PlannedTable): Part["fate"] => {
    if (view.info.lastEntry === undefined) return "merge";
    const isSmall = tableBytes(view.info) < limits.maxSstBytes * SMALL_PART;
    const movable = spec.effort === "rewrite"
      ? !isSmall && isFullOfValues(view)
      : (!isSmall || isInDestination) && (!isLastRun || isFullOfValues(view));
    return movable ? "move" : "merge";
  };
  const parts = groupOverlapping(plannedTables(manifest, spec)).map((group) => partOf(group, fateOf));
  fillUp(parts, limits);
  parts.reverse();
  fillUp(parts, limits);
  parts.reverse();
  const bytesBy = (fate: Part["fate"]): number => parts.reduce((sum, p) => p.fate === fate ? sum + p.bytes : sum, 0);
  return {
    spec,
    segments: segmentsOf(parts),
    isLastRun,
    olderSpans: olderSpansOf(manifest, spec),
    minSeq: manifest.recentSnapshotMinSeq,
    tick: manifest.lastL0ClockTick,
    mergeBytes: bytesBy("merge"),
    moveBytes: bytesBy("move"),
  };
}

/** Spans of what lies below the destination, ascending and apart. */
function olderSpansOf(manifest: Manifest, { destination }: CompactionSpec): KeySpan[] {
  const older = manifest.compacted.filter((run) => run.id < destination).flatMap(spansOfRun);
  return groupOverlapping<KeySpan>(older).map(({ first, end, endInclusive }) => ({ first, end, endInclusive }));
}

/** A job that only takes tables away. */
function dropPlan(manifest: Manifest, spec: CompactionSpec): CompactionPlan {
  const fromL0 = new Set(spec.l0ViewIds);
  const fromRuns = manifest.compacted.filter((run) => spec.runIds.includes(run.id)).flatMap((run) => run.ssts);
  const views = [
    ...manifest.l0.filter((view) => fromL0.has(view.viewId)),
    ...fromRuns.filter((view) => spec.tables?.has(view.sstId) === true),
  ];
  return {
    spec,
    segments: views.map((view) => ({ kind: "drop", view })),
    isLastRun: false,
    olderSpans: [],
    minSeq: manifest.recentSnapshotMinSeq,
    tick: manifest.lastL0ClockTick,
    mergeBytes: 0,
    moveBytes: 0,
  };
}

/** The tables of the sources that are taken, and those of the destination run that are not. */
function plannedTables(manifest: Manifest, spec: CompactionSpec): PlannedTable[] {
  const tables: PlannedTable[] = [];
  let source = 0;
  for (const id of spec.l0ViewIds) {
    const view = manifest.l0.find((candidate) => candidate.viewId === id);
    if (view === undefined) throw new Error(`Cannot plan a compaction: L0 has no table ${id}`);
    tables.push({ ...spanOf(view), source: source++, isTaken: true, isInDestination: false });
  }
  for (const id of spec.runIds) {
    const run = manifest.compacted.find((candidate) => candidate.id === id);
    if (run === undefined) throw new Error(`Cannot plan a compaction: there is no run ${id}`);
    const isInDestination = id === spec.destination;
    for (const span of spansOfRun(run)) {
      const isTaken = spec.tables === undefined || spec.tables.has(span.view.sstId);
      if (isTaken || isInDestination) tables.push({ ...span, source, isTaken, isInDestination });
    }
    source++;
  }
  return tables;
}

function partOf(group: SpanGroup<PlannedTable>, fateOf: (table: PlannedTable) => Part["fate"]): Part {
  const tables = group.members;
  const bytes = tables.reduce((sum, { view }) => sum + tableBytes(view.info), 0);
  const taken = tables.filter((table) => table.isTaken).length;
  if (taken === 0) return { tables, bytes, fate: "untouched" };
  if (taken < tables.length) {
    throw new Error("Cannot plan a compaction: a table that overlaps its sources would stay in the destination run");
  }
  return { tables, bytes, fate: tables.length === 1 ? fateOf(tables[0]!) : "merge" };
}

/** Takes small tables of the destination into the merge that comes before them in `parts`. */
function fillUp(parts: ReadonlyArray<Part>, limits: CompactionLimits): void {
  let mergeBytes = 0;
  for (const part of parts) {
    const only = part.tables[0]!;
    if (part.fate === "move" && only.isInDestination && isWorthFilling(only.view, mergeBytes, limits)) {
      part.fate = "merge";
    }
    mergeBytes = part.fate === "merge" ? mergeBytes + part.bytes : 0;
  }
}

function segmentsOf(parts: ReadonlyArray<Part>): CompactionSegment[] {
  const segments: CompactionSegment[] = [];
  let merging: PlannedTable[] = [];
  const finish = (): void => {
    if (merging.length > 0) segments.push(mergeOf(merging));
    merging = [];
  };
  for (const part of parts) {
    if (part.fate === "merge") {
      merging.push(...part.tables);
    } else {
      finish();
      if (part.fate === "move") segments.push({ kind: "move", view: part.tables[0]!.view });
    }
  }
  finish();
  return segments;
}

/** One merge of `tables`, which are by first key: of one source therefore in its own order. */
function mergeOf(tables: ReadonlyArray<PlannedTable>): CompactionSegment {
  const sources = new Map<number, SstView[]>();
  let bytes = 0;
  for (const { source, view } of tables) {
    const views = sources.get(source);
    if (views === undefined) sources.set(source, [view]);
    else views.push(view);
    bytes += tableBytes(view.info);
  }
  const newestFirst = [...sources].sort(([a], [b]) => a - b);
  return { kind: "merge", sources: newestFirst.map(([, views]) => views), bytes };
}

/** Whether a plan does more than to write single tables again of which nothing can go. */
export function isWorthRunning({ spec, segments }: CompactionPlan, facts: TableFacts): boolean {
  if (spec.effort === "drop" || spec.l0ViewIds.length > 0 || spec.runIds.length > 1) return true;
  return segments.some((segment) => {
    if (segment.kind !== "merge") return false;
    const [only, ...others] = segment.sources.flat();
    return others.length > 0 || facts(only!.sstId)?.isPlain !== true;
  });
}
