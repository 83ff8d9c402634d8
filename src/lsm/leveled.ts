/**
 * The leveled scheduler: few runs, each larger than the one above it by a factor, so that a read asks few tables and
 * little space is lost to old versions.
 *
 * A level is a position: the newest run is the top. A run has a target by its position; the lowest takes whatever comes.
 * L0 is merged into those tables of the top run that it overlaps. A run above its target gives one table at a time to
 * the run below, the one that overlaps least there for its size; one that overlaps nothing just moves. A new run is put
 * on top when the lowest has outgrown the targets of so few runs, or when L0 has grown while the top run was busy. Where
 * there are more runs than the data ask for (another scheduler's, or most of the data was deleted), neighbours are merged.
 *
 * Rest: every job takes L0 tables away, or else a run, or else moves tables down.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import type { Manifest, SortedRun, SstView, Ulid } from "../format/types.ts";
import type { CompactionLimits, CompactionScheduler, CompactionSpec } from "./compaction_job.ts";
import { isWorthFilling } from "./compaction_plan.ts";
import { fillPlaces, type JobPicker, L0_SOURCES_MAX } from "./compaction_rules.ts";
import {
  bytesOfRun,
  bytesOfViews,
  closeDownwards,
  groupOverlapping,
  type KeySpan,
  reaches,
  spanOf,
  spansOfRun,
  type TableSpan,
} from "./table_span.ts";
import { tableBytes } from "./table_stats.ts";

/** Settings of {@linkcode leveled}. */
export interface LeveledOptions {
  /** Fewest L0 tables that are compacted. At least 1, default 4. */
  readonly minL0Sources?: number | undefined;
  /** Target of the top run, bytes. At least 1, default 256 MiB. */
  readonly baseBytes?: number | undefined;
  /** How many times as large each run may be as the one above it. At least 2, default 10. */
  readonly multiplier?: number | undefined;
}

/** So many runs more than needed wait until every run is within its target. */
const SPARE_MAX = 1;

/** One L0 table less than so many times those that are compacted, and L0 waits for nobody: a writer may soon have to. */
const PRESSING = 2;

interface Rules {
  readonly minL0: number;
  readonly baseBytes: number;
  readonly multiplier: number;
}

/**
 * A scheduler for databases that are read more than written.
 *
 * @throws InvalidArgument with reason "options"
 */
export function leveled(options: LeveledOptions = {}): CompactionScheduler {
  const { minL0Sources: minL0 = 4, baseBytes = 256 * 1024 * 1024, multiplier = 10 } = options;
  const refuse = (message: string): never => {
    throw new InvalidArgument({ reason: "options", message });
  };
  if (!Number.isInteger(minL0) || minL0 < 1) refuse(`minL0Sources is ${minL0}, not a whole number of at least 1`);
  if (!(baseBytes >= 1 && baseBytes < Infinity)) refuse(`baseBytes is ${baseBytes}, not a number of at least 1`);
  if (!(multiplier >= 2 && multiplier < Infinity)) refuse(`multiplier is ${multiplier}, not a number of at least 2`);
  return {
    name: "leveled",
    minL0Sources: minL0,
    wholeRuns: false,
    propose: (manifest, active, limits) => {
      const levels = new Levels(manifest, limits, { minL0, baseBytes, multiplier });
      return fillPlaces(levels, active, limits.maxConcurrent);
    },
  };
}

/** The runs as levels, and what is being compacted. */
class Levels implements JobPicker {
  readonly #manifest: Manifest;
  readonly #runs: ReadonlyArray<SortedRun>;
  readonly #limits: CompactionLimits;
  readonly #rules: Rules;
  /** Bytes of each run, from the top. */
  readonly #sizes: ReadonlyArray<number>;
  readonly #busyRuns = new Set<number>();
  #isL0Busy = false;
  /** Jobs that merge whole neighbours. */
  #vanishing = 0;

  constructor(manifest: Manifest, limits: CompactionLimits, rules: Rules) {
    this.#manifest = manifest;
    this.#runs = manifest.compacted;
    this.#limits = limits;
    this.#rules = rules;
    this.#sizes = manifest.compacted.map(bytesOfRun);
  }

  /** Keeps the sources and the destination of `spec` from further jobs. */
  occupy(spec: CompactionSpec): void {
    if (spec.l0ViewIds.length > 0) this.#isL0Busy = true;
    for (const id of spec.runIds) this.#busyRuns.add(id);
    if (spec.tables === undefined && spec.runIds.length > 1) this.#vanishing += spec.runIds.length - 1;
  }

  /** L0 into the top run, or into a new one. */
  pickL0(): CompactionSpec | undefined {
    const l0 = this.#manifest.l0.slice(-L0_SOURCES_MAX);
    if (l0.length < this.#rules.minL0 || this.#isL0Busy) return undefined;
    const l0ViewIds = l0.map((view) => view.viewId);
    const top = this.#runs[0];
    const isTooFew = this.#runs.length < this.#depthFor(this.#bottomBytes());
    const isTopBusy = top !== undefined && this.#isBusy(0);
    if (isTopBusy && l0.length < PRESSING * this.#rules.minL0 - 1) return undefined;
    if (top === undefined || isTopBusy || (isTooFew && this.#sizes[0]! >= this.#target(0))) {
      return { l0ViewIds, runIds: [], destination: (top?.id ?? -1) + 1, effort: "move" };
    }
    const spans = l0.map((view) => spanOf(view));
    const run = spansOfRun(top);
    const tables = this.#withSmallNeighbours(spans, bytesOfViews(l0), run, closeDownwards(spans, [run], []));
    return { l0ViewIds, runIds: [top.id], destination: top.id, tables, effort: "move" };
  }

  /** Runs only: fewer of them first where there are far too many, else a table where it belongs. */
  pickRuns(): CompactionSpec | undefined {
    const spare = this.#runs.length - this.#vanishing - this.#depthFor(2 * this.#bottomBytes());
    if (spare > SPARE_MAX) return this.#pickNeighbours() ?? this.#pickDown();
    return this.#pickDown() ?? (spare > 0 ? this.#pickNeighbours() : undefined);
  }

  /** One table of the run that exceeds its target most, into the run below. */
  #pickDown(): CompactionSpec | undefined {
    let chosen = -1;
    for (let i = 0; i < this.#runs.length - 1; i++) {
      if (this.#isBusy(i) || this.#isBusy(i + 1) || this.#excess(i) <= 1) continue;
      if (chosen < 0 || this.#excess(i) > this.#excess(chosen)) chosen = i;
    }
    if (chosen < 0) return undefined;
    const [upper, lower] = [this.#runs[chosen]!, this.#runs[chosen + 1]!];
    const [above, below] = [spansOfRun(upper), spansOfRun(lower)];
    const seed = cheapest(above, below);
    if (seed === undefined) return undefined;
    const closed = closeDownwards([], [above, below], [seed.view.sstId]);
    const moving = above.filter(({ view }) => closed.has(view.sstId));
    const tables = this.#withSmallNeighbours(moving, bytesOfViews(moving.map(({ view }) => view)), below, closed);
    return { l0ViewIds: [], runIds: [upper.id, lower.id], destination: lower.id, tables, effort: "move" };
  }

  /** The smallest two neighbours into one. */
  #pickNeighbours(): CompactionSpec | undefined {
    let chosen = -1;
    const both = (i: number): number => this.#sizes[i]! + this.#sizes[i + 1]!;
    for (let i = 0; i < this.#runs.length - 1; i++) {
      if (this.#isBusy(i) || this.#isBusy(i + 1)) continue;
      if (chosen < 0 || both(i) < both(chosen)) chosen = i;
    }
    if (chosen < 0) return undefined;
    const runIds = [this.#runs[chosen]!.id, this.#runs[chosen + 1]!.id];
    return { l0ViewIds: [], runIds, destination: runIds[1]!, effort: "move" };
  }

  #isBusy(position: number): boolean {
    return this.#busyRuns.has(this.#runs[position]!.id);
  }

  /** Bytes that the run at a position should not exceed. */
  #target(position: number): number {
    return this.#rules.baseBytes * this.#rules.multiplier ** position;
  }

  #excess(position: number): number {
    return this.#sizes[position]! / this.#target(position);
  }

  #bottomBytes(): number {
    return this.#sizes[this.#sizes.length - 1] ?? 0;
  }

  /** Fewest runs of which the lowest may have `bytes`. */
  #depthFor(bytes: number): number {
    let depth = 1;
    while (this.#target(depth - 1) < bytes) depth++;
    return depth;
  }

  /**
   * `tables`, and those tables of the destination just beside what is merged into it that are small enough to be filled
   * up on the occasion.
   */
  #withSmallNeighbours(
    moving: ReadonlyArray<TableSpan>,
    movingBytes: number,
    run: ReadonlyArray<TableSpan>,
    tables: ReadonlySet<Ulid>,
  ): ReadonlySet<Ulid> {
    const isTaken = (i: number): boolean => tables.has(run[i]!.view.sstId);
    const hull = groupOverlapping<KeySpan>([...moving, ...run.filter((_, i) => isTaken(i))]);
    const [first, last] = [hull[0]!, hull[hull.length - 1]!];
    let bytes = run.reduce((sum, { view }, i) => isTaken(i) ? sum + tableBytes(view.info) : sum, movingBytes);
    const wider = new Set(tables);
    const take = (i: number): boolean => {
      const view: SstView | undefined = run[i]?.view;
      if (view === undefined || !isWorthFilling(view, bytes, this.#limits)) return false;
      bytes += tableBytes(view.info);
      wider.add(view.sstId);
      return true;
    };
    for (let i = run.findLastIndex((span) => !reaches(span, first.first)); take(i); i--);
    for (let i = run.findIndex((span) => !reaches(last, span.first)); take(i); i++);
    return wider.size === tables.size ? tables : closeDownwards([], [run], wider);
  }
}

/** The table of `above` with the fewest bytes overlapping it in `below` for each byte of its own; the first of equals. */
function cheapest(above: ReadonlyArray<TableSpan>, below: ReadonlyArray<TableSpan>): TableSpan | undefined {
  let best: TableSpan | undefined;
  let bestCost = Infinity;
  let from = 0;
  for (const span of above) {
    while (from < below.length && !reaches(below[from]!, span.first)) from++;
    let overlap = 0;
    for (let i = from; i < below.length && reaches(span, below[i]!.first); i++) {
      overlap += tableBytes(below[i]!.view.info);
    }
    const cost = overlap / Math.max(1, tableBytes(span.view.info));
    if (cost < bestCost) {
      bestCost = cost;
      best = span;
    }
  }
  return best;
}
