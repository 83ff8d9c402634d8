/**
 * The leveled scheduler: its rules one by one, that it comes to rest, and that writing in any pattern keeps runs few.
 *
 * @module
 */
import fc from "fast-check";
import { InvalidArgument } from "../../src/errors.ts";
import type { CompactionLimits, CompactionSpec } from "../../src/lsm/compaction_job.ts";
import { leveled, type LeveledOptions } from "../../src/lsm/leveled.ts";
import { assert, describe, it } from "../support/suite.ts";
import { anySchedule, ingest, settle } from "./compaction_schedule.ts";
import { assertValid, manifestOf } from "./compaction_world.ts";

const SEED = 20260303;

/** Proposals as text: "n2 n1 5 > 5 {a b}" takes tables a and b of run 5; "9 8 > 8" takes whole runs. */
function proposals(
  l0: string,
  runs: Readonly<Record<number, string>>,
  options: LeveledOptions & { readonly maxConcurrent?: number; readonly maxSstBytes?: number } = {},
  active: ReadonlyArray<CompactionSpec> = [],
): string[] {
  const limits: CompactionLimits = {
    maxSstBytes: options.maxSstBytes ?? 200,
    maxConcurrent: options.maxConcurrent ?? 4,
  };
  const manifest = manifestOf(l0, runs);
  const specs = leveled({ minL0Sources: 2, baseBytes: 1000, multiplier: 10, ...options })
    .propose(manifest, active, limits);
  return specs.map((spec, i) => {
    assertValid(manifest, spec, [...active, ...specs.slice(0, i)]);
    const tables = spec.tables === undefined ? [] : [`{${[...spec.tables].sort().join(" ")}}`];
    return [...spec.l0ViewIds, ...spec.runIds, ">", spec.destination, ...tables].join(" ");
  });
}

const job = (l0ViewIds: string[], runIds: number[], more: Partial<CompactionSpec> = {}): CompactionSpec => ({
  l0ViewIds,
  runIds,
  destination: runIds[runIds.length - 1] ?? 10,
  effort: "move",
  ...more,
});

describe("leveled", () => {
  it("says its name and its least number of L0 tables, and refuses options that make no sense", () => {
    assert.deepEqual([leveled().name, leveled().minL0Sources, leveled().wholeRuns], ["leveled", 4, false]);
    for (
      const options of [
        { minL0Sources: 0 },
        { minL0Sources: 1.5 },
        { baseBytes: 0 },
        { baseBytes: Infinity },
        { multiplier: 1 },
        { multiplier: NaN },
      ]
    ) {
      assert.throws(() => leveled(options), (error: unknown) => {
        return error instanceof InvalidArgument && error.reason === "options";
      });
    }
  });

  it("makes the first run of L0, and merges later L0 tables into what they overlap of it", () => {
    assert.deepEqual(proposals("n1 a-b", {}), []);
    assert.deepEqual(proposals("n2 a-b, n1 c-d", {}), ["n2 n1 > 0"]);
    const run = { 3: "a a-c, b d-f, c g-i, d k-m" };
    assert.deepEqual(proposals("n2 e-e, n1 h-j", run), ["n2 n1 3 > 3 {b c}"]);
    assert.deepEqual(proposals("n2 d-d, n1 x-z", run), ["n2 n1 3 > 3 {b}"]);
    assert.deepEqual(proposals("n2 n-o, n1 x-z", run), ["n2 n1 3 > 3 {}"]);
    assert.deepEqual(proposals("n2 a-z, n1 x-z", { 3: "" }), ["n2 n1 3 > 3 {}"]);
  });

  it("K-17 takes along what continues a key of a table that it takes", () => {
    assert.deepEqual(proposals("n2 e-e, n1 e-e", { 3: "a a-c, b c-f, c f-i, d k-m" }), ["n2 n1 3 > 3 {a b c}"]);
  });

  it("puts a new run on top when the lowest has outgrown the runs there are", () => {
    const l0 = "n2 a-b, n1 c-d";
    assert.deepEqual(proposals(l0, { 3: "a e-f 1000" }), ["n2 n1 3 > 3 {}"]);
    assert.deepEqual(proposals(l0, { 3: "a e-f 1001" }), ["n2 n1 > 4"]);
    const deep = (top: number, bottom: number) => proposals(l0, { 3: `a e-f ${top}`, 2: `b e-f ${bottom}` });
    assert.deepEqual(deep(1000, 10_000), ["n2 n1 3 > 3 {}"], "two runs are right for 10000");
    assert.deepEqual(deep(999, 10_001), ["n2 n1 3 > 3 {}"], "three are due, but the top is not full");
    assert.deepEqual(deep(1000, 10_001), ["n2 n1 > 4"]);
    assert.deepEqual(deep(1000, 100_000).length, 1);
  });

  it("gives the table that overlaps least for its size to the run below", () => {
    const runs = { 8: "a a-c 400, b d-f 400, c g-i 400", 5: "d a-b 900, e e-e 300, f h-h 301, g j-k 9000" };
    assert.deepEqual(proposals("", runs), ["8 5 > 5 {b e}"]);
    const even = { 8: "a a-c 400, b d-f 400, c g-i 400", 5: "d a-b 300, e e-e 300, f h-h 300" };
    assert.deepEqual(proposals("", even), ["8 5 > 5 {a d}"]);
    const free = { 8: "a a-c 400, b d-f 400, c g-i 400", 5: "d a-b 300, e e-e 300, f j-k 9000" };
    assert.deepEqual(proposals("", free), ["8 5 > 5 {c}"], "it just moves");
    const large = { 8: "a a-c 400, b d-f 800", 5: "d a-b 300, e e-e 599, f j-k 9000" };
    assert.deepEqual(proposals("", large), ["8 5 > 5 {b e}"]);
    assert.deepEqual(proposals("", { 8: "a a-c 400, b d-f 600", 5: "c a-z 9000" }), [], "1000 is not too much");
    assert.deepEqual(proposals("", { 8: "a a-c 5000" }), [], "the lowest run takes whatever comes");
  });

  it("begins with the run that exceeds its target most, and works at several places", () => {
    const runs = {
      9: "a a-b 1100",
      8: "b a-b 10100",
      7: "c a-b 900000",
      6: "d a-b 1100000",
      5: "e a-b 100000000",
    };
    assert.deepEqual(proposals("", runs), ["7 6 > 6 {c d}", "9 8 > 8 {a b}"]);
    assert.deepEqual(proposals("", runs, { maxConcurrent: 1 }), ["7 6 > 6 {c d}"]);
    assert.deepEqual(proposals("", runs, { maxConcurrent: 2 }), ["7 6 > 6 {c d}"], "K-42 one place is for L0");
    assert.deepEqual(proposals("", runs, {}, [job([], [8])]), ["7 6 > 6 {c d}"]);
  });

  it("K-42 lets L0 wait for a busy top run only while it is short", () => {
    const runs = { 9: "a a-b 900", 8: "b a-b 9000" };
    const down = job([], [9, 8], { tables: new Set(["a", "b"]) });
    assert.deepEqual(proposals("n2 a-b, n1 a-b", runs, {}, [down]), []);
    assert.deepEqual(proposals("n3 a-b, n2 a-b, n1 a-b", runs, {}, [down]), ["n3 n2 n1 > 10"]);
    assert.deepEqual(proposals("n3 a-b, n2 a-b, n1 a-b", runs, { maxConcurrent: 1 }, [down]), []);
    assert.deepEqual(proposals("n3 a-b, n2 a-b, n1 a-b", runs, {}, [job(["n1"], [])]), []);
  });

  it("takes small tables beside what it merges along, so that they get filled up", () => {
    const tail = (last: number) => ({ 3: `a a-c 200, b d-f 100, c g-g ${last}` });
    assert.deepEqual(proposals("n2 h-h 10, n1 h-j 10", tail(20)), ["n2 n1 3 > 3 {c}"]);
    assert.deepEqual(proposals("n2 h-h 10, n1 h-j 10", tail(21)), ["n2 n1 3 > 3 {}"]);
    assert.deepEqual(proposals("n2 h-h 90, n1 h-j 90", tail(49)), ["n2 n1 3 > 3 {c}"]);
    assert.deepEqual(proposals("n2 h-h 90, n1 h-j 90", tail(50)), ["n2 n1 3 > 3 {}"]);
    const around = { 3: "a a-b 100, b c-d 5, c e-e 9, d g-g 20, e i-i 49, f j-k 40" };
    assert.deepEqual(proposals("n2 f-f 5, n1 f-f 5", around), ["n2 n1 3 > 3 {b c d}"]);
    const down = { 8: "a a-b 600, b h-i 600", 5: "c a-a 9000, d c-d 9000, e f-g 9, f j-k 9" };
    assert.deepEqual(proposals("", down), ["8 5 > 5 {b e f}"]);
  });

  it("merges the smallest neighbours when there are clearly more runs than needed", () => {
    const five = { 9: "a a-b 90", 8: "b a-b 50", 6: "c a-b 50", 5: "d a-b 90", 4: "e a-b 400" };
    assert.deepEqual(proposals("", five), ["8 6 > 6", "5 4 > 4"]);
    assert.deepEqual(proposals("", five, {}, [job([], [8])]), ["6 5 > 5"]);
    assert.deepEqual(proposals("", { 9: "a a-b 90", 4: "b a-b 500" }), ["9 4 > 4"]);
    assert.deepEqual(proposals("", { 9: "a a-b 90", 4: "b a-b 501" }), [], "two are nearly needed");
    assert.deepEqual(proposals("", { 9: "a a-b 90", 8: "", 4: "b a-b 501" }), ["9 8 > 8"]);
    assert.deepEqual(proposals("", { 9: "a a-b 90", 4: "" }), ["9 4 > 4"]);
    const four = { 9: "a a-b 10", 8: "b a-b 10", 7: "c a-b 10", 4: "d a-b 5001" };
    assert.deepEqual(proposals("", four), ["9 8 > 8"], "then they are three");
    const full = { 9: "a a-b 1001", 8: "b a-b 50", 4: "c a-b 501" };
    assert.deepEqual(proposals("", full, { maxConcurrent: 1 }), ["9 8 > 8 {a b}"], "one more than needed has time");
    const fuller = { 9: "a a-b 1001", 8: "b a-b 50", 7: "c a-b 10", 4: "d a-b 501" };
    assert.deepEqual(proposals("", fuller, { maxConcurrent: 1 }), ["8 7 > 7"]);
  });

  it("proposes only what is valid, and comes to rest with little left", () => {
    fc.assert(
      fc.property(anySchedule, fc.integer({ min: 1, max: 4 }), fc.constantFrom(30, 100, 400), (schedule, min, base) => {
        const options = { minL0Sources: min, baseBytes: base, multiplier: 2 };
        const { manifest } = settle(leveled(options), schedule);
        assert.ok(manifest.l0.length < min, `${manifest.l0.length} L0 tables are left`);
        const sizes = manifest.compacted.map(({ ssts }) =>
          ssts.reduce((sum, { info }) => sum + info.indexOffset + 1, 0)
        );
        for (const [i, bytes] of sizes.slice(0, -1).entries()) {
          assert.ok(bytes <= base * 2 ** i, `run ${i} from the top has ${bytes} bytes`);
        }
        assert.ok(sizes.length <= 2 + Math.max(0, Math.ceil(Math.log2((sizes.at(-1) ?? 0) / base))), String(sizes));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("keeps L0 and runs few while writing goes on", () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 4 }), (seed, maxConcurrent) => {
        const scheduler = leveled({ baseBytes: 800, multiplier: 4 });
        const most = ingest(scheduler, { seed, maxConcurrent, flushes: 150 });
        assert.ok(most.l0 <= 8, `${most.l0} L0 tables`);
        assert.ok(most.runs <= 6, `${most.runs} runs`);
      }),
      { seed: SEED, numRuns: 8 },
    );
  });

  it("does not cut a run into ever smaller pieces, nor write a growing end again and again", () => {
    const scheduler = leveled({ baseBytes: 100_000 });
    const options = { seed: SEED, maxConcurrent: 2, flushes: 800, keys: (n: number) => [n] };
    const { tables, bytes, amplification } = ingest(scheduler, options);
    assert.ok(tables <= bytes / 40 + 8, `${tables} tables of at most 200 bytes for ${bytes} bytes`);
    assert.ok(amplification < 5, `each byte was written ${amplification} times`);
  });
});
