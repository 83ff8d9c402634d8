/**
 * What is wrong with a specification, the layout after a job, and the specifications that are not a scheduler's.
 *
 * @module
 */
import type { Manifest, SstView } from "../../src/format/types.ts";
import type { CompactionLimits, CompactionSpec } from "../../src/lsm/compaction_job.ts";
import { planCompaction } from "../../src/lsm/compaction_plan.ts";
import { applyCompaction, manualL0, manualRuns, specOfEntry, validateSpec } from "../../src/lsm/compaction_rules.ts";
import { assertSuccessor } from "../../src/state/manifest_invariants.ts";
import { assert, describe, it } from "../support/suite.ts";
import { bytesOf, manifestOf, table, tables, textOf } from "./compaction_world.ts";

const LIMITS: CompactionLimits = { maxSstBytes: 160, maxConcurrent: 4 };

function spec(l0ViewIds: string[], runIds: number[], more: Partial<CompactionSpec> = {}): CompactionSpec {
  return { l0ViewIds, runIds, destination: runIds[runIds.length - 1] ?? 10, effort: "move", ...more };
}

describe("validateSpec", () => {
  const manifest = manifestOf("n3 a-z, n2 a-z, n1 a-f", {
    9: "a a-c, b d-f, c g-i",
    7: "d a-e, e f-k",
    4: "f a-b, g c-m, h n-p",
  });
  const problem = (job: CompactionSpec, active: CompactionSpec[] = []) => validateSpec(manifest, job, active);
  const partial = (l0: string[], runs: number[], ...ids: string[]) => problem(spec(l0, runs, { tables: new Set(ids) }));

  it("admits neighbours of any age", () => {
    for (const job of [spec(["n1"], []), spec(["n2", "n1"], [9, 7]), spec([], [7, 4]), spec([], [7])]) {
      assert.equal(problem(job), undefined);
    }
  });

  it("K-16 refuses L0 tables that are not the oldest part, in order", () => {
    for (const ids of [["n3"], ["n3", "n2"], ["n3", "n1"], ["n1", "n2"], ["n1", "n1"], ["n3", "n2", "n1", "n1"]]) {
      assert.match(problem(spec(ids, []))!, /not the oldest part of L0/);
    }
  });

  it("refuses sources that are missing, absent or no neighbours", () => {
    assert.match(problem(spec([], []))!, /no sources/);
    assert.match(problem(spec(["n0"], []))!, /L0 has no table n0/);
    assert.match(problem(spec([], [7, 5]))!, /there is no run 5/);
    assert.match(problem(spec([], [9, 4]))!, /not neighbours/);
    assert.match(problem(spec([], [4, 7]))!, /not neighbours/);
    assert.match(problem(spec([], [7, 7]))!, /not neighbours/);
    assert.match(problem(spec(["n1"], [7]))!, /not run 9, the newest/);
  });

  it("K-26 refuses another destination than the lowest source, or one that is not above every run", () => {
    assert.match(problem(spec([], [9, 7], { destination: 9 }))!, /not 7, its lowest run/);
    assert.match(problem(spec(["n1"], [], { destination: 9 }))!, /there is a run 9/);
    assert.match(problem(spec(["n1"], [], { destination: 0 }))!, /there is a run 9/);
    assert.match(problem(spec(["n1"], [], { destination: 1.5 }))!, /not a run id/);
    assert.match(problem(spec(["n1"], [], { destination: 12 }), [spec([], [9], { destination: 12 })])!, /a run 12/);
    assert.match(problem(spec(["n1"], [], { destination: 12 }), [spec([], [14], { destination: 4 })])!, /a run 14/);
  });

  it("refuses what another compaction works on", () => {
    assert.match(problem(spec(["n2", "n1"], []), [spec(["n1"], [9])])!, /works on L0 table n1/);
    assert.match(problem(spec([], [7, 4]), [spec([], [9, 7])])!, /works on run 7/);
    assert.match(problem(spec([], [4]), [spec([], [3], { destination: 4 })])!, /makes run 4/);
    assert.equal(problem(spec([], [7, 4]), [spec(["n1"], [9])]), undefined);
  });

  it("refuses tables that its runs do not have, and no tables at all", () => {
    assert.match(partial([], [9, 7], "h")!, /no table h/);
    assert.match(partial(["n1"], [], "a")!, /no table a/);
    assert.match(partial([], [9, 7])!, /takes no table/);
  });

  it("refuses to leave out a table that overlaps what goes down, at once or by a chain", () => {
    assert.equal(partial([], [9, 7], "a", "d"), undefined);
    assert.match(partial([], [9, 7], "a")!, /leaves out table d/);
    assert.match(partial([], [9, 7, 4], "a", "d", "f")!, /leaves out table g/);
    assert.equal(partial([], [9, 7, 4], "a", "d", "f", "g"), undefined, "an older table may go down alone");
    assert.match(partial(["n1"], [9], "a")!, /leaves out table b/);
    assert.equal(partial(["n1"], [9], "a", "b"), undefined);
    assert.match(partial(["n2", "n1"], [9], "a", "b")!, /leaves out table c/);
  });

  it("K-17 refuses to part neighbours that meet on one key", () => {
    const meeting = manifestOf("", { 9: "a a-c, b c-f", 7: "c m-n" });
    for (const one of ["a", "b"]) {
      assert.match(validateSpec(meeting, spec([], [9, 7], { tables: new Set([one]) }), [])!, /leaves out/);
    }
    assert.equal(validateSpec(meeting, spec([], [9, 7], { tables: new Set(["a", "b"]) }), []), undefined);
  });

  it("takes a table without a last entry for as long as it can be", () => {
    const views = [table("a", "a", "?", { hasLast: false }), ...tables("b g-h")];
    const open = { ...manifestOf("", { 9: "", 7: "c e-f, d i-k" }) };
    const older = { ...open, compacted: [{ id: 9, ssts: views }, ...open.compacted.slice(1)] };
    const of = (...ids: string[]) => validateSpec(older, spec([], [9, 7], { tables: new Set(ids) }), []);
    assert.match(of("a", "b")!, /leaves out table c/);
    assert.match(of("a", "c")!, /leaves out table b/);
    assert.equal(of("a", "b", "c"), undefined);
    const endless = { ...open, l0: [table("n", "e", "?", { hasLast: false })] };
    assert.match(validateSpec(endless, spec(["n"], [9, 7], { tables: new Set(["c"]) }), [])!, /leaves out table d/);
  });
});

describe("applyCompaction", () => {
  const before = manifestOf("n2 a-z, n1 a-f", { 9: "a a-c, b d-f, c g-i", 7: "d a-e, e x-y", 4: "f a-b" });
  const planned = (job: CompactionSpec) => planCompaction(before, job, LIMITS, () => undefined);
  const apply = (job: CompactionSpec, outputs: string[], current: Manifest = before): Manifest | "gone" => {
    const next = applyCompaction(current, planned(job), outputs.map(tables));
    if (next !== "gone") assertSuccessor(current, next, "compactor");
    return next;
  };
  const text = (next: Manifest | "gone") => next === "gone" ? next : textOf(next);

  it("puts a new run on top, behind whatever L0 tables came since", () => {
    const l0 = [...tables("n3 a-b"), ...before.l0];
    const next = apply(spec(["n2", "n1"], []), ["o a-z"], { ...before, l0, lastL0Seq: 900 }) as Manifest;
    assert.equal(textOf(next), "L0: n3 | 10: o | 9: a b c | 7: d e | 4: f");
    assert.deepEqual([next.lastCompactedL0, next.lastL0Seq], ["n2", 900], "the newest of them");
    const moved = apply(spec(["n1"], []), []) as Manifest;
    assert.equal(textOf(moved), "L0: n2 | 10: n1 | 9: a b c | 7: d e | 4: f");
    assert.equal(moved.lastCompactedL0, "n1");
  });

  it("puts the result in the oldest source's place, and leaves the rest alone", () => {
    const next = apply(spec([], [9, 7]), ["o a-f"]) as Manifest;
    assert.equal(textOf(next), "L0: n2 n1 | 7: o c e | 4: f");
    assert.equal(next.lastCompactedL0, before.lastCompactedL0);
  });

  it("leaves tables that were not taken where they are, in order of keys", () => {
    const job = spec(["n1"], [9, 7], { tables: new Set(["a", "b", "d"]) });
    assert.equal(text(apply(job, ["o a-b, p c-f"])), "L0: n2 | 9: c | 7: o p e | 4: f");
    const high = spec([], [9, 7], { tables: new Set(["c"]) });
    assert.equal(text(apply(high, [])), "L0: n2 n1 | 9: a b | 7: d c e | 4: f");
  });

  it("makes no run without tables, and removes emptied ones", () => {
    assert.equal(text(apply(spec(["n2", "n1"], []), [""])), "L0:  | 9: a b c | 7: d e | 4: f");
    assert.equal(text(apply(spec([], [4]), [""])), "L0: n2 n1 | 9: a b c | 7: d e");
    const empty = manifestOf("", { 9: "", 7: "", 4: "f a-b" });
    const plan = planCompaction(empty, spec([], [9, 7]), LIMITS, () => undefined);
    assert.equal(text(applyCompaction(empty, plan, [])), "L0:  | 4: f");
  });

  it("says gone when a source is no longer as it was planned", () => {
    const without = (change: Partial<Manifest>): Manifest => ({ ...before, ...change });
    const [nine, seven, four] = before.compacted;
    const swapped = (ssts: SstView[]) => without({ compacted: [{ id: 9, ssts }, seven!, four!] });
    const all: Array<[CompactionSpec, string[], Manifest]> = [
      [spec(["n1"], []), ["o a-f"], without({ l0: tables("n2 a-z") })],
      [spec(["n1"], []), ["o a-f"], without({ l0: [] })],
      [spec(["n1"], []), ["o a-f"], without({ compacted: [{ id: 10, ssts: tables("x a-b") }, ...before.compacted] })],
      [spec([], [9, 7]), ["o a-f"], without({ compacted: [nine!, four!] })],
      [spec([], [9, 7]), ["o a-f"], without({ compacted: [nine!, { id: 8, ssts: [] }, seven!, four!] })],
      [spec([], [9, 7]), ["o a-f"], swapped(tables("a a-c, b d-f"))],
      [spec([], [9, 7]), ["o a-f"], swapped(tables("a a-c, b d-f, c g-i, q j-k"))],
      [spec(["n2", "n1"], [9]), ["o a-z"], without({ compacted: [{ id: 12, ssts: [] }, ...before.compacted] })],
      [spec([], [9, 7], { tables: new Set(["b", "c", "d"]) }), ["o a-f"], swapped(tables("a a-c, b d-f"))],
    ];
    for (const [job, outputs, current] of all) assert.equal(apply(job, outputs, current), "gone");
    const grown = swapped(tables("a a-c, b d-f, c g-i, q j-k"));
    const some = spec([], [9, 7], { tables: new Set(["a", "b", "d"]) });
    assert.equal(text(apply(some, ["o a-f"], grown)), "L0: n2 n1 | 9: c q | 7: o e | 4: f");
  });

  it("treats outputs that overlap, do not ascend or are too many as a defect", () => {
    const job = spec([], [9, 7]);
    for (const outputs of ["o a-c, p c-f", "o d-f, p a-b", "o a-g", "o a-b, p a-c"]) {
      assert.throws(() => apply(job, [outputs]), /overlapping in one run/);
    }
    assert.throws(() => apply(job, []), /the outputs of 0/);
    assert.throws(() => apply(job, ["o a-f", "p x-y"]), /the outputs of 2/);
  });
});

describe("manual specifications", () => {
  const manifest = manifestOf("n2 a-z, n1 a-f", { 9: "a a-c, b d-f, c g-i", 7: "d a-e, e f-k", 4: "f a-b, g l-m" });

  it("manualL0 takes all of L0 into a run that never was", () => {
    const job = { l0ViewIds: ["n2", "n1"], runIds: [], effort: "rewrite" };
    assert.deepEqual(manualL0(manifest, 3), { ...job, destination: 10 });
    assert.deepEqual(manualL0(manifest, 20), { ...job, destination: 21 });
    assert.equal(manualL0({ ...manifest, compacted: [] }, -1)!.destination, 0);
    assert.equal(manualL0({ ...manifest, l0: [] }, -1), undefined);
  });

  it("manualRuns takes all runs, or the tables of a range with those that go along", () => {
    const job = { l0ViewIds: [], runIds: [9, 7, 4], destination: 4, effort: "rewrite" };
    const of = (lower?: string, upper?: string) => {
      const range = {
        lower: lower === undefined ? undefined : bytesOf(lower),
        upper: upper === undefined ? undefined : bytesOf(upper),
      };
      const found = manualRuns(manifest, range);
      if (found === undefined) return undefined;
      assert.equal(validateSpec(manifest, found, []), undefined);
      return [found.runIds, [...found.tables!].sort().join("")];
    };
    assert.deepEqual(manualRuns(manifest, undefined), job);
    assert.deepEqual(of(), [[9, 7, 4], "abcdefg"]);
    assert.deepEqual(of("d", "e"), [[9, 7, 4], "bdef"], "b takes d and e along, and d takes f");
    assert.deepEqual(of("j"), [[7, 4], "eg"]);
    assert.deepEqual(of("k", "l"), [[7, 4], "e"]);
    assert.deepEqual(of("l", "m"), [[4], "g"]);
    assert.deepEqual(of(undefined, "a"), undefined);
    assert.deepEqual(of("n"), undefined);
    assert.equal(manualRuns({ ...manifest, compacted: [] }, undefined), undefined);
    assert.equal(manualRuns(manifestOf("", { 9: "", 7: "" }), undefined), undefined);
    assert.deepEqual(manualRuns(manifestOf("", { 9: "a a-b" }), undefined)!.runIds, [9]);
  });

  it("K-26 specOfEntry works the destination of a stored entry out anew", () => {
    const entry = (l0ViewIds: string[], sortedRuns: number[]) =>
      specOfEntry({ id: "C", l0ViewIds, sortedRuns, status: "submitted", outputSsts: [] }, manifest, 11);
    assert.deepEqual(entry(["n2", "n1"], []), { l0ViewIds: ["n2", "n1"], runIds: [], destination: 12, effort: "move" });
    assert.deepEqual(entry(["n1"], [4, 9, 7]), spec(["n1"], [9, 7, 4]));
    const fresh = { id: "C", l0ViewIds: ["n1"], sortedRuns: [], status: "submitted" as const, outputSsts: [] };
    assert.equal(specOfEntry(fresh, { ...manifest, compacted: [] }, -1).destination, 0);
    assert.equal(specOfEntry(fresh, manifest, -1).destination, 10);
  });
});
