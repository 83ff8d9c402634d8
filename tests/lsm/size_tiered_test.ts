/**
 * The size-tiered scheduler: its rules one by one, and that it comes to rest whatever it meets.
 *
 * @module
 */
import fc from "fast-check";
import { InvalidArgument } from "../../src/errors.ts";
import type { CompactionLimits, CompactionSpec } from "../../src/lsm/compaction_job.ts";
import { sizeTiered } from "../../src/lsm/size_tiered.ts";
import { assert, describe, it } from "../support/suite.ts";
import { manifestOf } from "./compaction_world.ts";
import { anySchedule, ingest, settle } from "./compaction_schedule.ts";

const SEED = 20260302;

/** Proposals as text: "n2 n1 > 5" or "9 8 7 > 7". */
function proposals(
  l0: number,
  sizes: ReadonlyArray<number>,
  options: Parameters<typeof sizeTiered>[0] = {},
  active: ReadonlyArray<CompactionSpec> = [],
  maxConcurrent = 4,
): string[] {
  const tables = Array.from({ length: l0 }, (_, i) => `n${l0 - i} a-z 100`).join(", ");
  const runs = Object.fromEntries(sizes.map((bytes, i) => {
    return [sizes.length - 1 - i, bytes === 0 ? "" : `r${i} a-z ${bytes}`];
  }));
  const limits: CompactionLimits = { maxSstBytes: 1000, maxConcurrent };
  return sizeTiered(options).propose(manifestOf(tables, runs), active, limits)
    .map((spec) => [...spec.l0ViewIds, ...spec.runIds, ">", spec.destination].join(" "));
}

const job = (l0ViewIds: string[], runIds: number[], destination: number): CompactionSpec => ({
  l0ViewIds,
  runIds,
  destination,
  effort: "move",
});

describe("sizeTiered", () => {
  it("says its name and its least number of L0 tables, and refuses options that make no sense", () => {
    assert.deepEqual([sizeTiered().name, sizeTiered().minL0Sources, sizeTiered().wholeRuns], ["size-tiered", 4, true]);
    assert.equal(sizeTiered({ minCompactionSources: 2 }).minL0Sources, 2);
    for (
      const options of [
        { minCompactionSources: 1 },
        { minCompactionSources: 2.5 },
        { minCompactionSources: 9 },
        { maxCompactionSources: 3 },
        { maxCompactionSources: Infinity },
        { includeSizeThreshold: 0 },
        { includeSizeThreshold: NaN },
      ]
    ) {
      assert.throws(() => sizeTiered(options), (error: unknown) => {
        return error instanceof InvalidArgument && error.reason === "options";
      });
    }
  });

  it("makes a run on top of the oldest L0 tables, once there are enough", () => {
    assert.deepEqual(proposals(3, []), []);
    assert.deepEqual(proposals(4, []), ["n4 n3 n2 n1 > 0"]);
    assert.deepEqual(proposals(10, [5000, 6000]), ["n8 n7 n6 n5 n4 n3 n2 n1 > 2"]);
  });

  it("takes the newest series of runs of similar size, of it the oldest", () => {
    assert.deepEqual(proposals(0, [10, 10, 10]), []);
    assert.deepEqual(proposals(0, [10, 40, 40, 10]), ["3 2 1 0 > 0"]);
    assert.deepEqual(proposals(0, [10, 41, 40, 10]), []);
    assert.deepEqual(proposals(0, [500, 10, 20, 30, 40, 41, 99]), ["6 5 4 3 2 > 2"]);
    assert.deepEqual(proposals(0, [9, 50, 10, 20, 30, 40, 41, 99]), ["6 5 4 3 2 > 2"]);
    assert.deepEqual(proposals(0, [500, 40, 30, 20, 10, 40, 41], { maxCompactionSources: 4 }), ["4 3 2 1 > 1"]);
    assert.deepEqual(proposals(0, [10, 10], { minCompactionSources: 2 }), ["1 0 > 0"]);
    assert.deepEqual(proposals(0, [10, 21], { minCompactionSources: 2, includeSizeThreshold: 2 }), []);
  });

  it("finds several jobs at once that share nothing", () => {
    const runs = [10, 10, 10, 10, 900, 900, 900, 900, 90000, 90000, 90000, 90000];
    const ofRuns = ["11 10 9 8 > 8", "7 6 5 4 > 4", "3 2 1 0 > 0"];
    assert.deepEqual(proposals(4, runs), ["n4 n3 n2 n1 > 12", ...ofRuns]);
    assert.deepEqual(proposals(4, runs, { maxCompactionSources: 4 }), ofRuns, "then L0 would outrun the first series");
  });

  it("leaves alone what another job reads or makes", () => {
    assert.deepEqual(proposals(5, [], {}, [job(["n1"], [], 0)]), []);
    assert.deepEqual(proposals(4, [900], {}, [job([], [], 1)]), []);
    assert.deepEqual(proposals(0, [9, 9, 9, 9, 9], {}, [job([], [4], 4)]), ["3 2 1 0 > 0"]);
    assert.deepEqual(proposals(0, [9, 9, 9, 9, 9], {}, [job([], [2], 2)]), []);
  });

  it("waits while the run below is the newest of a larger compaction that is due", () => {
    const eight = [400, 400, 400, 400, 400, 400, 400, 400];
    assert.deepEqual(proposals(4, eight, {}, [job([], [0], 0)], 2), [], "L0 would give 400, and 8 such runs are due");
    assert.deepEqual(proposals(4, eight.slice(1), {}, [job([], [0], 0)], 2), ["n4 n3 n2 n1 > 7"]);
    assert.deepEqual(proposals(4, eight.map((n) => n * 4 + 1), {}, [job([], [0], 0)], 2), ["n4 n3 n2 n1 > 8"]);
    assert.deepEqual(proposals(4, eight.map((n) => n * 4), {}, [job([], [0], 0)], 2), [], "4 times is similar");
    assert.deepEqual(proposals(0, Array(16).fill(10)), ["7 6 5 4 3 2 1 0 > 0"]);
  });

  it("K-42 keeps a place for L0, but not from a single job", () => {
    const runs = [1000, 1000, 5000, 5000, 50_000, 50_000];
    const two = { minCompactionSources: 2, maxCompactionSources: 2, includeSizeThreshold: 1 };
    assert.deepEqual(proposals(0, runs, two, [], 3), ["5 4 > 4", "3 2 > 2"]);
    assert.deepEqual(proposals(0, runs, two, [], 1), ["5 4 > 4"]);
    assert.deepEqual(proposals(0, runs, two, [job([], [1, 0], 0), job([], [3, 2], 2)], 3), []);
    assert.deepEqual(proposals(2, runs, two, [job([], [1, 0], 0), job([], [3, 2], 2)], 3), ["n2 n1 > 6"]);
    assert.deepEqual(proposals(2, runs, two, [job([], [1, 0], 0)], 1), []);
  });

  it("takes runs without tables along, and gives them no weight", () => {
    assert.deepEqual(proposals(0, [0, 0, 0, 0]), []);
    assert.deepEqual(proposals(0, [900, 0, 0, 0]), []);
    assert.deepEqual(proposals(0, [0, 10, 0, 40, 30, 0, 20, 0]), ["7 6 5 4 3 2 1 0 > 0"]);
    const much = [0, 1601, 1601, 1601, 1601, 1601, 1601, 1601, 1601];
    assert.equal(proposals(4, much)[0], "n4 n3 n2 n1 > 9", "what lies below the empty one is large");
    assert.deepEqual(proposals(0, [0, 0, 10, 41, 0, 41, 41, 41]), ["4 3 2 1 0 > 0"]);
  });

  it("proposes only what is valid, and comes to rest with little left", () => {
    fc.assert(
      fc.property(anySchedule, fc.integer({ min: 2, max: 4 }), fc.nat(5), (schedule, min, more) => {
        const options = { minCompactionSources: min, maxCompactionSources: min + more };
        const scheduler = sizeTiered(options);
        const { manifest } = settle({
          ...scheduler,
          propose: (...given) => {
            const specs = scheduler.propose(...given);
            for (const { l0ViewIds, runIds } of specs) {
              const full = given[0].compacted.filter(({ id, ssts }) => runIds.includes(id) && ssts.length > 0);
              assert.ok(l0ViewIds.length + full.length >= min && l0ViewIds.length + full.length <= min + more);
            }
            return specs;
          },
        }, schedule);
        assert.ok(manifest.l0.length < min, `${manifest.l0.length} L0 tables are left`);
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("keeps L0 and the number of runs small while writing goes on", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, maxConcurrent) => {
        const most = ingest(sizeTiered(), { seed, maxConcurrent, flushes: 150 });
        assert.ok(most.l0 <= 12, `${most.l0} L0 tables`);
        assert.ok(most.runs <= 24, `${most.runs} runs`);
      }),
      { seed: SEED, numRuns: 8 },
    );
  });
});
