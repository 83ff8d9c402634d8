/**
 * The size-tiered scheduler: runs of about the same size become one.
 *
 * L0 comes first: once it has enough tables, its oldest ones become a new run on top. Else the newest series of
 * neighbouring runs is taken in which none is much larger than the smallest before it. A merge waits while the run just
 * below it is itself the newest of a series so long that it is due: otherwise small merges would outrun the large one.
 *
 * Runs without tables are taken along, but count neither for the length of a series nor for its smallest size.
 *
 * Rest: every job replaces at least two sources by at most one.
 *
 * @module
 */
import type { Manifest, Ulid } from "../format/types.ts";
import { InvalidArgument } from "../errors.ts";
import type { CompactionScheduler, CompactionSpec } from "./compaction_job.ts";
import { fillPlaces, type JobPicker } from "./compaction_rules.ts";
import { bytesOfRun, bytesOfViews } from "./table_span.ts";

/** Settings of {@linkcode sizeTiered}. */
export interface SizeTieredOptions {
  /** Fewest L0 tables, or runs, that are compacted. At least 2, default 4. */
  readonly minCompactionSources?: number | undefined;
  /** Most of them in one compaction. At least `minCompactionSources`, default 8. */
  readonly maxCompactionSources?: number | undefined;
  /** A run belongs to a series when it is at most this many times as large as the smallest so far. Above 0, default 4. */
  readonly includeSizeThreshold?: number | undefined;
}

interface Rules {
  readonly min: number;
  readonly max: number;
  readonly threshold: number;
}

/**
 * The scheduler of SlateDB 0.12.1.
 *
 * @throws InvalidArgument with reason "options"
 */
export function sizeTiered(options: SizeTieredOptions = {}): CompactionScheduler {
  const { minCompactionSources: min = 4, maxCompactionSources: max = 8, includeSizeThreshold: threshold = 4 } = options;
  const refuse = (message: string): never => {
    throw new InvalidArgument({ reason: "options", message });
  };
  if (!Number.isInteger(min) || min < 2) refuse(`minCompactionSources is ${min}, not a whole number of at least 2`);
  if (!Number.isInteger(max) || max < min) {
    refuse(`maxCompactionSources is ${max}, not a whole number of at least minCompactionSources, ${min}`);
  }
  if (!(threshold > 0)) refuse(`includeSizeThreshold is ${threshold}, not a number above 0`);
  return {
    name: "size-tiered",
    minL0Sources: min,
    wholeRuns: true,
    propose: (manifest, active, limits) =>
      fillPlaces(new Tiers(manifest, { min, max, threshold }), active, limits.maxConcurrent),
  };
}

/** The runs by size, and what is being compacted. */
class Tiers implements JobPicker {
  readonly #manifest: Manifest;
  readonly #rules: Rules;
  /** Bytes of each run, newest first. */
  readonly #sizes: ReadonlyArray<number>;
  /** For each run: how many runs with tables the series has that begins there, whatever else goes on. */
  readonly #lengths: ReadonlyArray<number>;
  readonly #busyTables = new Set<Ulid>();
  readonly #busyRuns = new Set<number>();

  constructor(manifest: Manifest, rules: Rules) {
    this.#manifest = manifest;
    this.#rules = rules;
    this.#sizes = manifest.compacted.map(bytesOfRun);
    this.#lengths = this.#sizes.map((_, i) => this.#countTo(i, this.#seriesFrom(i, () => true)));
  }

  /** Keeps the sources and the destination of `spec` from further jobs. */
  occupy(spec: CompactionSpec): void {
    for (const id of spec.l0ViewIds) this.#busyTables.add(id);
    for (const id of spec.runIds) this.#busyRuns.add(id);
    this.#busyRuns.add(spec.destination);
  }

  /** The oldest L0 tables into a new run. */
  pickL0(): CompactionSpec | undefined {
    const { min, max } = this.#rules;
    const { l0, compacted } = this.#manifest;
    if (l0.length < min) return undefined;
    const views = l0.slice(-max);
    const destination = (compacted[0]?.id ?? -1) + 1;
    if (this.#busyRuns.has(destination) || views.some((view) => this.#busyTables.has(view.viewId))) return undefined;
    if (this.#isOutrun(bytesOfViews(views), 0)) return undefined;
    return { l0ViewIds: views.map((view) => view.viewId), runIds: [], destination, effort: "move" };
  }

  /**
   * The newest series of runs that is long enough. It is never too long: were it, the series that begins at its second
   * run would be due before it, and {@linkcode Tiers.#isOutrun} sees to that.
   */
  pickRuns(): CompactionSpec | undefined {
    const runs = this.#manifest.compacted;
    for (let start = 0; start < runs.length; start++) {
      const end = this.#seriesFrom(start, (next, bytes) => {
        return !this.#busyRuns.has(runs[next]!.id) && !this.#isOutrun(bytes, next + 1);
      });
      if (this.#countTo(start, end) < this.#rules.min) continue;
      const runIds = runs.slice(start, end).map((run) => run.id);
      return { l0ViewIds: [], runIds, destination: runIds[runIds.length - 1]!, effort: "move" };
    }
    return undefined;
  }

  /** How many runs at positions in `[start, end)` have tables. */
  #countTo(start: number, end: number): number {
    return this.#sizes.reduce((count, size, i) => count + (i >= start && i < end && size > 0 ? 1 : 0), 0);
  }

  /** Where the series ends that begins at `start`. `admits` gets each next run, and the bytes including it. */
  #seriesFrom(start: number, admits: (next: number, bytes: number) => boolean): number {
    let smallest = Infinity;
    let bytes = 0;
    for (let i = start; i < this.#sizes.length; i++) {
      const size = this.#sizes[i]!;
      if (size > smallest * this.#rules.threshold || !admits(i, bytes + size)) return i;
      bytes += size;
      if (size > 0) smallest = Math.min(smallest, size);
    }
    return this.#sizes.length;
  }

  /** Whether a result of `bytes` above run `below` would come before a larger compaction that is due there. */
  #isOutrun(bytes: number, below: number): boolean {
    let next = below;
    while (this.#sizes[next] === 0) next++;
    const size = this.#sizes[next];
    return size !== undefined && size <= bytes * this.#rules.threshold && this.#lengths[next]! >= this.#rules.max;
  }
}
