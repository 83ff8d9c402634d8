/**
 * What a compactor is doing and what it wants to do next. Synchronous; the moving part is `tasks/compactor.ts`.
 *
 * Manual compactions are done one after another, each in up to two steps (L0 into a run, then the runs, K-42). While one
 * waits for its turn nothing new is started; while its runs are merged, L0 goes on being compacted beside it.
 *
 * @module
 */
import { Unavailable } from "../errors.ts";
import { OneShot } from "../env/one_shot.ts";
import type { CompactionLimits, CompactionScheduler, CompactionSpec } from "../lsm/compaction_job.ts";
import {
  type CompactionRange,
  L0_SOURCES_MAX,
  manualL0,
  manualRuns,
  specOfEntry,
  touches,
  validateSpec,
} from "../lsm/compaction_rules.ts";
import { spanOf } from "../lsm/table_span.ts";
import type { CompactionRecord, Manifest, SstView, Ulid } from "../format/types.ts";
import { isActive } from "./compaction_journal.ts";

/** Manual compactions that may wait at once. */
const MANUAL_MAX = 64;

/** Bytes a job has moved so far; updated while it runs. */
export interface JobCounts {
  bytesIn: number;
  bytesOut: number;
}

/** A job under way. */
export interface RunningJob {
  readonly id: Ulid;
  readonly spec: CompactionSpec;
  readonly record: CompactionRecord;
  readonly counts: JobCounts;
  readonly totalBytes: number;
  readonly manual: ManualRequest | undefined;
}

/** A compaction that somebody asked for and waits for. */
export class ManualRequest {
  readonly range: CompactionRange | undefined;
  readonly done: OneShot = new OneShot();
  /** The run that L0 was compacted into last. */
  made: number | undefined = undefined;
  /** Its runs were merged. */
  isDone = false;
  /** The L0 tables that were there when its turn came. */
  #l0: ReadonlySet<Ulid> | undefined = undefined;

  constructor(range: CompactionRange | undefined) {
    this.range = range;
  }

  /** Whether its turn has come. */
  get hasBegun(): boolean {
    return this.#l0 !== undefined;
  }

  /** What is still in L0 of the tables that it is to compact. */
  leftOfL0(manifest: Manifest): ReadonlyArray<SstView> {
    this.#l0 ??= new Set(overlapsL0(manifest, this.range) ? manifest.l0.map((view) => view.viewId) : []);
    return manifest.l0.filter((view) => this.#l0!.has(view.viewId));
  }
}

/** What to start: from an entry of the journal, for a manual request, or as the scheduler proposed. */
export interface NextJob {
  readonly spec: CompactionSpec;
  readonly entry?: CompactionRecord;
  readonly manual?: ManualRequest;
}

/** Jobs under way, requests that wait, entries found. */
export class CompactorState {
  readonly running: Map<Ulid, RunningJob> = new Map();
  readonly #scheduler: CompactionScheduler;
  readonly #limits: CompactionLimits;
  readonly #manual: ManualRequest[] = [];
  /** Done, but not answered yet. */
  #finished: ManualRequest[] = [];
  /** Entries of the journal that wait to be run. */
  #entries: CompactionRecord[] = [];
  /** Highest run id that was ever seen, in manifests and specifications (K-26). */
  #floor = -1;

  constructor(scheduler: CompactionScheduler, limits: CompactionLimits) {
    this.#scheduler = scheduler;
    this.#limits = limits;
  }

  /** Whether somebody waits for a compaction that has not begun. */
  get hasManual(): boolean {
    return this.#manual.length > 0;
  }

  /** Adds a request, or answers one that waits for the same. @throws Unavailable when too many wait. */
  request(range: CompactionRange | undefined): ManualRequest {
    const same = this.#manual.find((one) => !one.hasBegun && one.range === undefined);
    if (same !== undefined && range === undefined) return same;
    if (this.#manual.length >= MANUAL_MAX) {
      throw new Unavailable({
        reason: "busy",
        message: `Cannot compact: ${MANUAL_MAX} compactions wait already. Wait for one of them first`,
      });
    }
    const request = new ManualRequest(range);
    this.#manual.push(request);
    return request;
  }

  /**
   * Takes the active entries of a journal over; answers those that cannot be done any more, with their last status, and
   * how many others were not known before.
   *
   * @param isEnded whether an entry has ended here, though the journal does not say so yet
   */
  adopt(
    records: ReadonlyArray<CompactionRecord>,
    manifest: Manifest,
    isEnded: (id: Ulid) => boolean,
  ): { readonly over: CompactionRecord[]; readonly added: number } {
    const over: CompactionRecord[] = [];
    const before = this.#entries.length;
    for (const record of records) {
      if (!isActive(record)) continue;
      const isKnown = this.running.has(record.id) || isEnded(record.id) ||
        this.#entries.some((entry) => entry.id === record.id);
      if (isKnown) continue;
      const spec = specOfEntry(record, manifest, this.#floor);
      const redo = record.status === "submitted" || this.#scheduler.wholeRuns;
      if (redo && validateSpec(manifest, spec, []) === undefined) this.#entries.push(record);
      else over.push({ ...record, status: isDone(record, manifest) ? "completed" : "failed", outputSsts: [] });
    }
    return { over, added: this.#entries.length - before };
  }

  /**
   * The jobs to start now. Requests with nothing (left) to do are answered on the way.
   *
   * @param drops jobs that only take tables away, which come first: what they take away is not merged
   */
  next(
    manifest: Manifest,
    drops: ReadonlyArray<CompactionSpec> = [],
  ): { readonly jobs: NextJob[]; readonly invalid: CompactionRecord[] } {
    const invalid: CompactionRecord[] = [];
    const active = [...this.running.values()].map((job) => job.spec);
    this.#floor = Math.max(
      this.#floor,
      manifest.compacted[0]?.id ?? -1,
      ...active.map((spec) => spec.destination),
    );
    const jobs: NextJob[] = [];
    for (const drop of drops) this.#addValid(jobs, active, manifest, drop);
    const manual = this.#nextManual(manifest);
    if (manual !== undefined) {
      // Above tables that are just going tombstones would be kept, and the request would end with them.
      if (active.some(({ effort }) => effort === "drop")) return { jobs, invalid };
      if (validateSpec(manifest, manual.spec, active) === undefined) return { jobs: [...jobs, manual], invalid };
      // Nothing new that it would have to wait for; L0 goes on while it waits for runs (K-42).
      if (manual.spec.l0ViewIds.length > 0) return { jobs, invalid };
    }
    const isWaiting = manual !== undefined;
    for (const entry of isWaiting ? [] : [...this.#entries]) {
      if (active.length >= this.#limits.maxConcurrent) break;
      const spec = specOfEntry(entry, manifest, this.#floor);
      const problem = validateSpec(manifest, spec, active);
      if (problem !== undefined && validateSpec(manifest, spec, []) === undefined) continue;
      this.#entries = this.#entries.filter((one) => one !== entry);
      if (problem !== undefined) {
        invalid.push({ ...entry, status: isDone(entry, manifest) ? "completed" : "failed", outputSsts: [] });
      } else {
        jobs.push({ spec, entry });
        active.push(spec);
      }
    }
    const proposals = this.#scheduler.propose(manifest, active, this.#limits);
    // L0 that is full and may not go on before some runs are merged must not wait for a manual compaction's turn.
    const isPressed = manifest.l0.length >= this.#scheduler.minL0Sources &&
      !proposals.some((spec) => spec.l0ViewIds.length > 0);
    for (const proposed of proposals) {
      if (isWaiting && proposed.runIds.length > 0 && !isPressed) continue;
      this.#addValid(jobs, active, manifest, proposed);
    }
    return { jobs, invalid };
  }

  /** Adds a job that somebody proposed, if it is possible beside `active`. */
  #addValid(jobs: NextJob[], active: CompactionSpec[], manifest: Manifest, proposed: CompactionSpec): void {
    const spec = this.#aboveFloor(proposed);
    if (validateSpec(manifest, spec, active) !== undefined) return;
    jobs.push({ spec });
    active.push(spec);
  }

  /** A manual job ended well: its request goes on to its next step, or is finished. */
  stepDone(request: ManualRequest, spec: CompactionSpec): void {
    if (spec.l0ViewIds.length > 0) request.made = spec.destination;
    else request.isDone = true;
  }

  /** Answers the requests that are finished, now that the journal says so too. */
  settleFinished(): void {
    const finished = this.#finished;
    this.#finished = [];
    for (const request of finished) request.done.succeed();
  }

  /** Answers a request that failed; it waits no more. */
  fail(request: ManualRequest, error: unknown): void {
    const at = this.#manual.indexOf(request);
    if (at >= 0) this.#manual.splice(at, 1);
    request.done.fail(error);
  }

  /** Answers everybody who waits. */
  failAll(error: unknown): void {
    this.settleFinished();
    for (const request of [...this.#manual]) this.fail(request, error);
  }

  /** The next job for whoever waits longest, unless one of his runs; requests with nothing left to do are finished. */
  #nextManual(manifest: Manifest): NextJob | undefined {
    for (let request = this.#manual[0]; request !== undefined; request = this.#manual[0]) {
      for (const job of this.running.values()) if (job.manual === request) return undefined;
      const l0 = request.leftOfL0(manifest);
      const spec = l0.length > 0 ? oldestL0(manifest, l0, this.#floor) : this.#nextOfRuns(manifest, request);
      if (spec !== undefined) return { spec, manual: request };
      this.#finish(request);
    }
    return undefined;
  }

  #nextOfRuns(manifest: Manifest, request: ManualRequest): CompactionSpec | undefined {
    const [only, ...others] = manifest.compacted;
    const isDone = request.isDone || (only !== undefined && others.length === 0 && only.id === request.made);
    return isDone ? undefined : manualRuns(manifest, request.range);
  }

  #finish(request: ManualRequest): void {
    this.#manual.splice(this.#manual.indexOf(request), 1);
    this.#finished.push(request);
  }

  /** A run of L0 alone never takes an id that was in use before. */
  #aboveFloor(spec: CompactionSpec): CompactionSpec {
    if (spec.runIds.length > 0 || spec.destination > this.#floor) return spec;
    return { ...spec, destination: this.#floor + 1 };
  }
}

/** Whether an entry's work is in the manifest already: nothing of its sources is left where it was. */
function isDone(record: CompactionRecord, manifest: Manifest): boolean {
  const l0 = new Set(manifest.l0.map((view) => view.viewId));
  const runs = new Set(manifest.compacted.map((run) => run.id));
  const [, ...upper] = [...record.sortedRuns].sort((a, b) => a - b);
  return record.l0ViewIds.length + upper.length > 0 && !record.l0ViewIds.some((id) => l0.has(id)) &&
    !upper.some((id) => runs.has(id));
}

/** The oldest of `views`, which are the oldest of L0, into a new run. */
function oldestL0(manifest: Manifest, views: ReadonlyArray<SstView>, floor: number): CompactionSpec | undefined {
  const all = manualL0(manifest, floor);
  if (all === undefined) return undefined;
  return { ...all, l0ViewIds: views.slice(-L0_SOURCES_MAX).map((view) => view.viewId) };
}

function overlapsL0(manifest: Manifest, range: CompactionRange | undefined): boolean {
  if (range === undefined) return manifest.l0.length > 0;
  return manifest.l0.some((view) => touches(spanOf(view), range));
}
