/**
 * What a compaction may do, and what it leaves behind: the checks of a specification, the layout after it, and the
 * specifications that are not a scheduler's.
 *
 * L0 leaves only as its oldest part (K-16); sources are neighbours in age, and the result takes the place
 * of the oldest of them; of a partial job's tables, none passes an older table that it overlaps. So for every key,
 * newer places keep newer versions.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import type { CompactionRecord, Manifest, SortedRun, SstInfo, SstView, Ulid } from "../format/types.ts";
import type { CompactionPlan, CompactionSpec } from "./compaction_job.ts";
import { closeDownwards, reaches, spanOf, spansOfRun, spansOverlap, type TableSpan } from "./table_span.ts";

/** L0 tables of one job at most, so that its memory stays bounded. */
export const L0_SOURCES_MAX = 64;

/**
 * What is wrong with `spec` on `manifest` beside the jobs of `active` (without itself); undefined when nothing is. The
 * text is the end of a sentence: "… is not possible: <text>".
 */
export function validateSpec(
  manifest: Manifest,
  spec: CompactionSpec,
  active: ReadonlyArray<CompactionSpec>,
): string | undefined {
  return wrongSources(manifest, spec) ?? wrongDestination(manifest, spec, active) ?? wrongConflict(spec, active) ??
    wrongTables(manifest, spec);
}

function wrongSources(manifest: Manifest, spec: CompactionSpec): string | undefined {
  const { l0ViewIds, runIds } = spec;
  const { l0, compacted } = manifest;
  if (l0ViewIds.length === 0 && runIds.length === 0) return "it has no sources";
  const known = new Set(l0.map((view) => view.viewId));
  for (const id of l0ViewIds) if (!known.has(id)) return `L0 has no table ${id}`;
  for (const id of runIds) if (!compacted.some((run) => run.id === id)) return `there is no run ${id}`;
  if (!isOldestPart(l0, l0ViewIds)) return "its L0 tables are not the oldest part of L0, newest first";
  if (runIds.length === 0) return undefined;
  const start = compacted.findIndex((run) => run.id === runIds[0]);
  if (runIds.some((id, i) => compacted[start + i]?.id !== id)) return "its runs are not neighbours, newest first";
  if (l0ViewIds.length > 0 && start > 0) return `it has L0 tables, but not run ${compacted[0]!.id}, the newest`;
  return undefined;
}

/** Whether `ids` name the last tables of `l0`, in order. */
function isOldestPart(l0: ReadonlyArray<SstView>, ids: ReadonlyArray<Ulid>): boolean {
  const newer = l0.length - ids.length;
  return newer >= 0 && ids.every((id, i) => l0[newer + i]!.viewId === id);
}

function wrongDestination(
  manifest: Manifest,
  { runIds, destination }: CompactionSpec,
  active: ReadonlyArray<CompactionSpec>,
): string | undefined {
  if (!Number.isInteger(destination) || destination < 0) return `its destination is ${destination}, not a run id`;
  if (runIds.length > 0) {
    const lowest = runIds[runIds.length - 1]!;
    return destination === lowest ? undefined : `its destination is ${destination}, not ${lowest}, its lowest run`;
  }
  const highest = active.reduce(
    (max, other) => Math.max(max, other.destination, ...other.runIds),
    manifest.compacted[0]?.id ?? -1,
  );
  return destination > highest ? undefined : `its destination is ${destination}, but there is a run ${highest}`;
}

function wrongConflict(spec: CompactionSpec, active: ReadonlyArray<CompactionSpec>): string | undefined {
  for (const other of active) {
    const table = other.l0ViewIds.find((id) => spec.l0ViewIds.includes(id));
    if (table !== undefined) return `another compaction works on L0 table ${table}`;
    const run = other.runIds.find((id) => spec.runIds.includes(id));
    if (run !== undefined) return `another compaction works on run ${run}`;
    if (other.destination === spec.destination) return `another compaction makes run ${spec.destination}`;
  }
  return undefined;
}

function wrongTables(manifest: Manifest, spec: CompactionSpec): string | undefined {
  const { tables, l0ViewIds } = spec;
  if (tables === undefined) return undefined;
  if (tables.size === 0 && l0ViewIds.length === 0) return "it takes no table";
  const runs = manifest.compacted.filter((run) => spec.runIds.includes(run.id));
  const there = new Set(runs.flatMap((run) => run.ssts.map((view) => view.sstId)));
  for (const id of tables) if (!there.has(id)) return `its runs have no table ${id}`;
  const all = closeDownwards(l0SpansOf(manifest, l0ViewIds), runs.map(spansOfRun), tables);
  for (const id of all) if (!tables.has(id)) return `it leaves out table ${id}, which overlaps a table that it takes`;
  return undefined;
}

/** Spans of some L0 tables. */
function l0SpansOf(manifest: Manifest, ids: ReadonlyArray<Ulid>): TableSpan[] {
  const wanted = new Set(ids);
  return manifest.l0.filter((view) => wanted.has(view.viewId)).map((view) => spanOf(view));
}

/**
 * The layout after `plan`, on the freshest manifest; "gone" when a source is not there any more as it was planned, or
 * something has come between the sources since. New L0 tables may have come in front.
 *
 * @param outputs the tables made from each merge segment, in order
 * @throws Error (a defect) when the new run's tables overlap or do not ascend
 */
export function applyCompaction(
  current: Manifest,
  plan: CompactionPlan,
  outputs: ReadonlyArray<ReadonlyArray<SstView>>,
): Manifest | "gone" {
  const { l0ViewIds, destination } = plan.spec;
  if (!isOldestPart(current.l0, l0ViewIds) || isOutOfPlace(current, plan.spec)) return "gone";
  if (!isStillCovered(current, plan.spec)) return "gone";
  const taken = runTablesOf(plan);
  if (!hasExactly(current, plan.spec, taken)) return "gone";

  const sources = new Set(plan.spec.runIds);
  const runs: SortedRun[] = [];
  let untouched: ReadonlyArray<SstView> = [];
  for (const run of current.compacted) {
    const rest = sources.has(run.id) ? run.ssts.filter((view) => !taken.has(view.sstId)) : run.ssts;
    if (run.id === destination) untouched = rest;
    else if (!sources.has(run.id)) runs.push(run);
    else if (rest.length > 0) runs.push({ id: run.id, ssts: rest });
  }
  const ssts = mergeByKey(untouched, madeBy(plan, outputs));
  assertAscending(ssts, new Set(untouched));
  if (ssts.length > 0) {
    const place = runs.findIndex((run) => run.id < destination);
    runs.splice(place < 0 ? runs.length : place, 0, { id: destination, ssts });
  }
  const newer = current.l0.length - l0ViewIds.length;
  return {
    ...current,
    l0: l0ViewIds.length === 0 ? current.l0 : current.l0.slice(0, newer),
    lastCompactedL0: l0ViewIds.length === 0 ? current.lastCompactedL0 : current.l0[newer]!.sstId,
    compacted: runs,
  };
}

/** Whether a source run is missing, or a run that is no source has come between the sources or to the destination. */
function isOutOfPlace(current: Manifest, { l0ViewIds, runIds, destination }: CompactionSpec): boolean {
  const newest = l0ViewIds.length > 0 ? Infinity : runIds[0]!;
  const between = current.compacted.filter((run) => run.id >= destination && run.id <= newest);
  return between.length !== runIds.length || between.some((run, i) => run.id !== runIds[i]);
}

/** Whether the tables that hide what is dropped are still there, all of them newer than it. */
function isStillCovered(current: Manifest, { l0ViewIds, runIds, coveredBy }: CompactionSpec): boolean {
  if (coveredBy === undefined) return true;
  const newest = l0ViewIds.length > 0 ? Infinity : runIds[0]!;
  const newer = [
    ...current.l0.slice(0, current.l0.length - l0ViewIds.length),
    ...current.compacted.filter((run) => run.id > newest).flatMap((run) => run.ssts),
  ];
  const there = new Set(newer.map((view) => view.sstId));
  return [...coveredBy].every((id) => there.has(id));
}

/** SST ids of the plan's tables that come from runs. */
function runTablesOf(plan: CompactionPlan): ReadonlySet<Ulid> {
  const fromL0 = new Set(plan.spec.l0ViewIds);
  const ids = new Set<Ulid>();
  for (const segment of plan.segments) {
    for (const view of segment.kind === "merge" ? segment.sources.flat() : [segment.view]) {
      if (!fromL0.has(view.viewId)) ids.add(view.sstId);
    }
  }
  return ids;
}

/** Whether the source runs have all the tables `taken`, and for a job over whole runs no others. */
function hasExactly(current: Manifest, spec: CompactionSpec, taken: ReadonlySet<Ulid>): boolean {
  const there = new Set<Ulid>();
  for (const run of current.compacted) {
    if (spec.runIds.includes(run.id)) { for (const view of run.ssts) there.add(view.sstId); }
  }
  for (const id of taken) if (!there.has(id)) return false;
  return spec.tables !== undefined || there.size === taken.size;
}

/** What the plan's segments became, in key order. */
function madeBy(plan: CompactionPlan, outputs: ReadonlyArray<ReadonlyArray<SstView>>): SstView[] {
  const made: SstView[] = [];
  let merges = 0;
  for (const segment of plan.segments) {
    if (segment.kind === "move") made.push(segment.view);
    else if (segment.kind === "merge") made.push(...outputs[merges++] ?? []);
  }
  if (merges !== outputs.length) {
    throw new Error(`A compaction of ${merges} merges was to be published with the outputs of ${outputs.length}`);
  }
  return made;
}

function firstOf(view: SstView): Uint8Array {
  const first = view.info.firstEntry;
  if (first === undefined) throw new Error(`Table ${view.sstId} of a compaction does not name its first entry`);
  return first;
}

/** One ascending list of two. */
function mergeByKey(a: ReadonlyArray<SstView>, b: ReadonlyArray<SstView>): SstView[] {
  const merged: SstView[] = [];
  let j = 0;
  for (const view of a) {
    while (j < b.length && compareBytes(firstOf(b[j]!), firstOf(view)) < 0) merged.push(b[j++]!);
    merged.push(view);
  }
  while (j < b.length) merged.push(b[j++]!);
  return merged;
}

/** Whether a table does not say where it ends. */
function isOpenEnded({ lastEntry, rangeDeletes }: SstInfo): boolean {
  return lastEntry === undefined && rangeDeletes === undefined;
}

/** A defect unless the tables ascend without overlap. Of two that lay there before, nothing is asked. */
function assertAscending(ssts: ReadonlyArray<SstView>, before: ReadonlySet<SstView>): void {
  for (let i = 1; i < ssts.length; i++) {
    const [left, right] = [ssts[i - 1]!, ssts[i]!];
    if (before.has(left) && before.has(right)) continue;
    const first = firstOf(right);
    const ascends = compareBytes(firstOf(left), first) < 0;
    if (ascends && (isOpenEnded(left.info) || !reaches(spanOf(left), first))) continue;
    throw new Error(`A compaction would leave tables ${left.sstId} and ${right.sstId} overlapping in one run`);
  }
}

/** What a scheduler picks jobs from, one after the other. */
export interface JobPicker {
  /** Keeps the sources and the destination of `spec` from further jobs. */
  readonly occupy: (spec: CompactionSpec) => void;
  /** The best job that takes L0 tables. */
  readonly pickL0: () => CompactionSpec | undefined;
  /** The best job over runs alone. */
  readonly pickRuns: () => CompactionSpec | undefined;
}

/** New jobs for the places that `active` leaves free, L0 first; of several places one is kept for L0 (K-42). */
export function fillPlaces(
  picker: JobPicker,
  active: ReadonlyArray<CompactionSpec>,
  maxConcurrent: number,
): CompactionSpec[] {
  for (const spec of active) picker.occupy(spec);
  const picked: CompactionSpec[] = [];
  while (active.length + picked.length < maxConcurrent) {
    const ofRuns = [...active, ...picked].filter((spec) => spec.l0ViewIds.length === 0).length;
    const mayTakeRuns = ofRuns < Math.max(1, maxConcurrent - 1);
    const spec = picker.pickL0() ?? (mayTakeRuns ? picker.pickRuns() : undefined);
    if (spec === undefined) break;
    picker.occupy(spec);
    picked.push(spec);
  }
  return picked;
}

/** The id of a new run on top. */
function newRunId(manifest: Manifest, floorRunId: number): number {
  return Math.max(manifest.compacted[0]?.id ?? -1, floorRunId) + 1;
}

/**
 * All of L0 into a new run, rewritten; undefined when L0 is empty.
 *
 * @param floorRunId highest run id ever seen, in manifests and specifications; -1 for none
 */
export function manualL0(manifest: Manifest, floorRunId: number): CompactionSpec | undefined {
  if (manifest.l0.length === 0) return undefined;
  return {
    l0ViewIds: manifest.l0.map((view) => view.viewId),
    runIds: [],
    destination: newRunId(manifest, floorRunId),
    effort: "rewrite",
  };
}

/** A range of keys to compact: from `lower` to before `upper`; an end that is undefined is open. */
export interface CompactionRange {
  readonly lower?: Uint8Array | undefined;
  /** Exclusive. */
  readonly upper?: Uint8Array | undefined;
}

/**
 * All runs into the lowest one, rewritten; with a range only the tables that overlap it, and those that have to go along.
 * Undefined when there is no such table.
 */
export function manualRuns(manifest: Manifest, range: CompactionRange | undefined): CompactionSpec | undefined {
  const runs = manifest.compacted;
  const lowest = runs[runs.length - 1];
  if (lowest === undefined || runs.every((run) => run.ssts.length === 0)) return undefined;
  const all = runs.map((run) => run.id);
  if (range === undefined) return { l0ViewIds: [], runIds: all, destination: lowest.id, effort: "rewrite" };
  const spans = runs.map(spansOfRun);
  const seeds = spans.flat().filter((span) => touches(span, range)).map(({ view }) => view.sstId);
  if (seeds.length === 0) return undefined;
  const tables = closeDownwards([], spans, seeds);
  const newest = runs.findIndex((run) => run.ssts.some((view) => tables.has(view.sstId)));
  return { l0ViewIds: [], runIds: all.slice(newest), destination: lowest.id, tables, effort: "rewrite" };
}

/** Whether a table can hold a key of the range, or a range tombstone over one. */
export function touches(span: TableSpan, { lower, upper }: CompactionRange): boolean {
  if (lower !== undefined && upper !== undefined) {
    return spansOverlap(span, { first: lower, end: upper, endInclusive: false });
  }
  if (upper !== undefined) return compareBytes(span.first, upper) < 0;
  return lower === undefined || reaches(span, lower);
}

/**
 * The job that a stored entry stands for: over whole sources. The destination is worked out anew, since the entry does
 * not hold that of a job over L0 alone (K-26).
 *
 * @param floorRunId highest run id ever seen, in manifests and specifications; -1 for none
 */
export function specOfEntry(record: CompactionRecord, manifest: Manifest, floorRunId: number): CompactionSpec {
  const runIds = [...record.sortedRuns].sort((a, b) => b - a);
  return {
    l0ViewIds: record.l0ViewIds,
    runIds,
    destination: runIds[runIds.length - 1] ?? newRunId(manifest, floorRunId),
    effort: "move",
  };
}
