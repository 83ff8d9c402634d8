/**
 * Runs schedulers on random layouts: several jobs at once that end in any order, until nothing is proposed any more, or
 * beside a writer that goes on.
 *
 * @module
 */
import fc from "fast-check";
import type { CompactionLimits, CompactionPlan, CompactionScheduler } from "../../src/lsm/compaction_job.ts";
import { assert } from "../support/suite.ts";
import { anyWorld, assertValid, keyOf, ROW_BYTES, World } from "./compaction_world.ts";

/** More jobs than any of these layouts should need. */
const JOBS_MAX = 300;

/** A layout, and in which order its jobs end. */
export interface Schedule {
  readonly world: World;
  readonly limits: CompactionLimits;
  /** Which of the running jobs ends next, in turn. */
  readonly order: ReadonlyArray<number>;
}

/** Any layout with any limits. */
export const anySchedule: fc.Arbitrary<Schedule> = fc.record({
  world: anyWorld,
  limits: fc.record({
    maxSstBytes: fc.constantFrom(20, 60, 200),
    maxConcurrent: fc.integer({ min: 1, max: 4 }),
  }),
  order: fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }),
});

/** Jobs that run beside each other on one layout. */
export class Jobs {
  readonly #scheduler: CompactionScheduler;
  readonly #world: World;
  readonly #limits: CompactionLimits;
  #running: CompactionPlan[] = [];

  constructor(scheduler: CompactionScheduler, world: World, limits: CompactionLimits) {
    this.#scheduler = scheduler;
    this.#world = world;
    this.#limits = limits;
  }

  get running(): number {
    return this.#running.length;
  }

  /** Starts whatever is proposed; everything proposed must be valid and within the limits. */
  start(): void {
    const active = this.#running.map((plan) => plan.spec);
    const { manifest } = this.#world;
    for (const spec of this.#scheduler.propose(manifest, [...active], this.#limits)) {
      assertValid(manifest, spec, active);
      active.push(spec);
      this.#running.push(this.#world.plan(spec, this.#limits));
    }
    const { maxConcurrent } = this.#limits;
    assert.ok(active.length <= maxConcurrent, "more jobs than may run");
    const ofRuns = active.filter((spec) => spec.l0ViewIds.length === 0).length;
    assert.ok(maxConcurrent === 1 || ofRuns < maxConcurrent, "no place is left for L0");
  }

  /** Ends one of the running jobs. */
  finish(which: number): CompactionPlan {
    const [plan] = this.#running.splice(which % this.#running.length, 1);
    assert.equal(this.#world.run(plan!, this.#limits), "done", "no job takes another's sources away");
    return plan!;
  }
}

/** Runs `scheduler` until it rests. */
export function settle(scheduler: CompactionScheduler, { world, limits, order }: Schedule): World {
  const jobs = new Jobs(scheduler, world, limits);
  for (let i = 0; i < JOBS_MAX; i++) {
    jobs.start();
    if (jobs.running === 0) return world;
    jobs.finish(order[i % order.length]!);
  }
  throw new Error(`${scheduler.name} does not come to rest`);
}

/** What was largest while writing went on. */
export interface Peaks {
  readonly l0: number;
  readonly runs: number;
  /** Bytes rewritten for each byte flushed. */
  readonly amplification: number;
  /** Tables of all runs in the end. */
  readonly tables: number;
  /** Bytes of all runs in the end. */
  readonly bytes: number;
}

/** How writing goes on. */
export interface Ingest {
  readonly seed: number;
  readonly maxConcurrent: number;
  readonly flushes: number;
  /** Keys of flush `n`; default: twelve anywhere. */
  readonly keys?: (n: number, random: (below: number) => number) => number[];
}

/** Flushes tables, and ends a job after about each; a table may have to wait for L0 to become shorter (as a writer's does). */
export function ingest(scheduler: CompactionScheduler, options: Ingest): Peaks {
  const world = new World();
  const limits: CompactionLimits = { maxSstBytes: 200, maxConcurrent: options.maxConcurrent };
  const jobs = new Jobs(scheduler, world, limits);
  let state = options.seed >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const keys = options.keys ?? (() => Array.from({ length: 12 }, () => random(1000)));
  const peaks = { l0: 0, runs: 0 };
  let [flushed, merged] = [0, 0];
  const finish = (): void => {
    merged += jobs.finish(random(4)).mergeBytes;
    jobs.start();
  };
  for (let n = 0; n < options.flushes; n++) {
    while (world.manifest.l0.length >= 2 * scheduler.minL0Sources) {
      assert.ok(jobs.running > 0, "L0 is full and nothing is being done");
      finish();
    }
    const some = keys(n, random).map(keyOf);
    world.flush(some);
    flushed += some.length * ROW_BYTES;
    jobs.start();
    peaks.l0 = Math.max(peaks.l0, world.manifest.l0.length);
    peaks.runs = Math.max(peaks.runs, world.manifest.compacted.length);
    if (jobs.running > 0 && random(3) > 0) finish();
  }
  const tables = world.manifest.compacted.reduce((sum, run) => sum + run.ssts.length, 0);
  const bytes = world.sources().slice(world.manifest.l0.length).flat().length * ROW_BYTES;
  return { ...peaks, amplification: merged / flushed, tables, bytes };
}
