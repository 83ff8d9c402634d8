/**
 * Plans: what moves, what is merged with what, and that any valid job keeps every row in its order.
 *
 * @module
 */
import fc from "fast-check";
import type { Ulid } from "../../src/format/types.ts";
import type { CompactionLimits, CompactionSpec, TableFacts } from "../../src/lsm/compaction_job.ts";
import { isWorthFilling, planCompaction } from "../../src/lsm/compaction_plan.ts";
import { validateSpec } from "../../src/lsm/compaction_rules.ts";
import { closeDownwards, spanOf, spansOfRun } from "../../src/lsm/table_span.ts";
import { assert, describe, it } from "../support/suite.ts";
import { anyWorld, bytesOf, manifestOf, planText, table, tables, type World } from "./compaction_world.ts";

const SEED = 20260301;
const LIMITS: CompactionLimits = { maxSstBytes: 160, maxConcurrent: 4 };
const PLAIN: TableFacts = () => ({ isPlain: true });
const UNKNOWN: TableFacts = () => undefined;

function spec(l0ViewIds: string[], runIds: number[], more: Partial<CompactionSpec> = {}): CompactionSpec {
  return { l0ViewIds, runIds, destination: runIds[runIds.length - 1] ?? 100, effort: "move", ...more };
}

describe("planCompaction", () => {
  it("merges what overlaps, newest source first, and moves the rest", () => {
    const manifest = manifestOf("new f-g, old a-f", { 7: "m h-k, n s-t", 5: "x k-l, y o-p, z q-s", 1: "below a-z" });
    const plan = planCompaction(manifest, spec(["new", "old"], [7, 5]), LIMITS, UNKNOWN);
    assert.equal(planText(plan), "[new + old + m + x] y [n + z]");
    assert.deepEqual([plan.minSeq, plan.tick, plan.isLastRun], [77, 88, false]);
    assert.deepEqual([plan.mergeBytes, plan.moveBytes], [600, 100]);
  });

  it("K-17 takes two tables that meet on one key as overlapping", () => {
    const manifest = manifestOf("", { 5: "a a-c", 4: "b b-b, c c-f, d f-k, e l-m", 1: "below a-z" });
    const plan = planCompaction(manifest, spec([], [5, 4]), LIMITS, UNKNOWN);
    assert.equal(planText(plan), "[a + b c d] e");
  });

  it("respects the end of a visible range, and orders by first entries", () => {
    const until = (key: string, inclusive: boolean) => ({
      start: { key: undefined, inclusive: false },
      end: { key: bytesOf(key), inclusive },
    });
    const cut = (inclusive: boolean) => {
      const manifest = manifestOf("", { 5: "", 4: "b m-z", 1: "below a-z" });
      const [run, ...others] = manifest.compacted;
      const view = table("a", "a", "p", { visibleRange: until("m", inclusive) });
      return { ...manifest, compacted: [{ ...run!, ssts: [view] }, ...others] };
    };
    assert.equal(planText(planCompaction(cut(false), spec([], [5, 4]), LIMITS, UNKNOWN)), "a b");
    assert.equal(planText(planCompaction(cut(true), spec([], [5, 4]), LIMITS, UNKNOWN)), "[a + b]");
  });

  it("takes a table without a last entry as reaching to the next one, or to the end", () => {
    const manifest = manifestOf("", { 5: "", 4: "c d-e, d h-i, e p-q, f t-u", 1: "below a-z" });
    const ssts = [
      table("a", "b", "?", { hasLast: false }),
      ...tables("b f-g, b2 n-o"),
      table("g", "s", "?", { hasLast: false }),
    ];
    const open = { ...manifest, compacted: [{ id: 5, ssts }, ...manifest.compacted.slice(1)] };
    assert.equal(planText(planCompaction(open, spec([], [5, 4]), LIMITS, UNKNOWN)), "[a b + c] d b2 e [g + f]");
    const endless = {
      ...manifestOf("", { 4: "c d-e", 1: "below a-z" }),
      l0: [table("n", "x", "?", { hasLast: false })],
    };
    assert.equal(planText(planCompaction(endless, spec(["n"], [4]), LIMITS, UNKNOWN)), "c [n]", "it does not move");
  });

  it("moves into the last run only plain tables", () => {
    const manifest = manifestOf("", { 5: "a a-b, c e-f", 4: "b c-d, d g-h" });
    const plainly = (id: Ulid) => ({ isPlain: id === "a" || id === "d" });
    const plan = planCompaction(manifest, spec([], [5, 4]), LIMITS, plainly);
    assert.equal(planText(plan), "a [c + b] d");
    assert.ok(plan.isLastRun);
    assert.equal(planText(planCompaction(manifest, spec([], [5, 4]), LIMITS, UNKNOWN)), "[a c + b d]");
  });

  it("knows whether something lies below, runs without tables aside", () => {
    const last = (l0: string, runs: Record<number, string>, job: CompactionSpec) =>
      planCompaction(manifestOf(l0, runs), job, LIMITS, UNKNOWN).isLastRun;
    assert.ok(last("x a-b", {}, spec(["x"], [])));
    assert.ok(!last("x a-b", { 4: "a a-b" }, spec(["x"], [])));
    assert.ok(last("x a-b", { 4: "" }, spec(["x"], [])));
    assert.ok(!last("", { 5: "a a-b", 4: "b a-b", 3: "c a-b" }, spec([], [5, 4])));
    assert.ok(last("", { 5: "a a-b", 4: "b a-b", 3: "c a-b" }, spec([], [4, 3])));
  });

  it("merges small tables rather than moving them, but lets those of the destination lie", () => {
    const manifest = manifestOf("", { 5: "a a-b 9, c e-f 10", 4: "b c-d 9", 1: "below a-z" });
    assert.equal(planText(planCompaction(manifest, spec([], [5, 4]), LIMITS, UNKNOWN)), "[a + b] c");
    const lone = manifestOf("", { 5: "a a-b 500", 4: "b c-d 9", 1: "below a-z" });
    assert.equal(planText(planCompaction(lone, spec([], [5, 4]), LIMITS, UNKNOWN)), "a b");
  });

  it("fills up small tables of the destination beside a merge, in both directions, up to its own size", () => {
    const runs = { 4: "p a-b 39, q c-d 8, r g-h 19, s i-j 38, t k-l 39, u m-n 40", 1: "below a-z" };
    const manifest = manifestOf("x e-e 5, y e-f 5", runs);
    assert.equal(planText(planCompaction(manifest, spec(["x", "y"], [4]), LIMITS, UNKNOWN)), "p [x + y + q] r s t u");
    const more = manifestOf("x e-e 5, y e-f 14", runs);
    assert.equal(
      planText(planCompaction(more, spec(["x", "y"], [4]), LIMITS, UNKNOWN)),
      "[x + y + p q r s t] u",
      "19 takes 19, and so on until a table is large enough",
    );
    const view = tables("v a-b 40")[0]!;
    assert.ok(!isWorthFilling(view, 1000, LIMITS));
    assert.ok(isWorthFilling(view, 40, { ...LIMITS, maxSstBytes: 161 }));
    assert.ok(!isWorthFilling(view, 39, { ...LIMITS, maxSstBytes: 161 }));
  });

  it("rewrites everything but large plain tables when told so", () => {
    const manifest = manifestOf("", { 5: "a a-b, c e-f", 4: "b c-d 9, d g-h", 1: "below a-z" });
    const rewrite = spec([], [5, 4], { effort: "rewrite" });
    assert.equal(planText(planCompaction(manifest, rewrite, LIMITS, UNKNOWN)), "[a c + b d]");
    assert.equal(planText(planCompaction(manifest, rewrite, LIMITS, PLAIN)), "a [b] c d");
  });

  it("never merges across a table of the destination that stays", () => {
    const manifest = manifestOf("x a-b 5, y k-l 5", { 4: "p e-f, q m-n", 1: "below a-z" });
    const partial = (...ids: string[]) => spec(["x", "y"], [4], { tables: new Set(ids) });
    assert.equal(planText(planCompaction(manifest, partial(), LIMITS, UNKNOWN)), "[x] [y]");
    assert.equal(planText(planCompaction(manifest, partial("p"), LIMITS, UNKNOWN)), "[x] p [y]");
  });

  it("treats what does not fit the manifest as a defect", () => {
    const manifest = manifestOf("x a-m 5", { 4: "p e-f" });
    const plan = (job: CompactionSpec) => () => planCompaction(manifest, job, LIMITS, UNKNOWN);
    assert.throws(plan(spec(["x"], [4], { tables: new Set() })), /overlaps its sources/);
    assert.throws(plan(spec(["y"], [4])), /no table y/);
    assert.throws(plan(spec(["x"], [3])), /no run 3/);
  });
});

describe("a valid compaction", () => {
  const anyJob = fc.record({
    world: anyWorld,
    l0: fc.nat(8),
    start: fc.nat(9),
    length: fc.nat(9),
    picks: fc.array(fc.nat(60), { maxLength: 12 }),
    scope: fc.constantFrom("whole", "picked", "closed"),
    effort: fc.constantFrom("move" as const, "rewrite" as const),
    maxSstBytes: fc.constantFrom(20, 60, 200, 2000),
  });

  const specFor = (world: World, job: typeof anyJob extends fc.Arbitrary<infer T> ? T : never): CompactionSpec => {
    const { l0, compacted } = world.manifest;
    const l0ViewIds = l0.slice(Math.max(0, l0.length - job.l0)).map((view) => view.viewId);
    const runs = compacted.slice(l0ViewIds.length > 0 ? 0 : job.start).slice(0, job.length);
    const destination = runs[runs.length - 1]?.id ?? (compacted[0]?.id ?? -1) + 1;
    const base = { l0ViewIds, runIds: runs.map((run) => run.id), destination, effort: job.effort };
    if (job.scope === "whole") return base;
    const all = runs.flatMap((run) => run.ssts.map((view) => view.sstId));
    const picked = new Set(job.picks.filter((n) => n < all.length).map((n) => all[n]!));
    if (job.scope === "picked") return { ...base, tables: picked };
    const above = l0.filter((view) => l0ViewIds.includes(view.viewId)).map((view) => spanOf(view));
    return { ...base, tables: closeDownwards(above, runs.map(spansOfRun), picked) };
  };

  it("keeps every row once, newer versions above older ones, runs ascending", () => {
    const seen = { whole: 0, picked: 0, closed: 0 };
    fc.assert(
      fc.property(anyJob, (job) => {
        const { world } = job;
        const limits = { ...LIMITS, maxSstBytes: job.maxSstBytes };
        const tried = specFor(world, job);
        const problem = validateSpec(world.manifest, tried, []);
        if (job.scope !== "picked" && tried.l0ViewIds.length + tried.runIds.length > 0) {
          if (problem !== "it takes no table") assert.equal(problem, undefined);
        }
        if (problem !== undefined) return;
        seen[job.scope as keyof typeof seen]++;
        assert.equal(world.run(world.plan(tried, limits), limits), "done");
      }),
      { seed: SEED, numRuns: 3000 },
    );
    assert.ok(seen.whole > 500 && seen.picked > 100 && seen.closed > 500, JSON.stringify(seen));
  });
});
