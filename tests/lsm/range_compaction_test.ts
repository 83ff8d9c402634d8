/**
 * Compactions of tables with range tombstones: no protected read changes, nothing is kept that need not be, and nothing
 * is covered that was not.
 *
 * @module
 */
import fc from "fast-check";
import { Effect } from "effect";
import { FLAG_CREATE, type Manifest, NO_EXPIRY, type RangeTombstone, type SstView } from "../../src/format/types.ts";
import { manualL0, manualRuns } from "../../src/lsm/compaction_rules.ts";
import { dropJobs } from "../../src/lsm/dropped_tables.ts";
import { ManualRequest } from "../../src/state/compactor_state.ts";
import { sliced } from "../../tasks/sliced.ts";
import { assert, describe, it } from "../support/suite.ts";
import { RangeTree, type TreeJob } from "./range_tree.ts";
import { Dice, type ModelRow } from "./read_world.ts";

const SEED = 20261121;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytes = (text: string): Uint8Array => encoder.encode(text);

/** "a-c@5": from a to before c with number 5; "-@5": all keys. */
function ranges(text: string): RangeTombstone[] {
  return text.split(" ").filter((part) => part !== "").map((part) => {
    const [, start, end, seq] = /^(\w*)-(\w*)@(\d+)$/.exec(part)!;
    return { start: bytes(start!), end: end === "" ? undefined : bytes(end!), seq: Number(seq), createTs: 1000 };
  });
}

/** "a@5": a value of key a with number 5. */
function rows(text: string): ModelRow[] {
  return text.split(" ").filter((part) => part !== "").map((part) => {
    const [key, seq] = part.split("@");
    const times = { flags: FLAG_CREATE, createTs: 1000, expireTs: NO_EXPIRY };
    return { key: bytes(key!), seq: Number(seq), ...times, value: bytes(part) };
  });
}

function textOf(tombstones: ReadonlyArray<RangeTombstone>): string {
  const key = (of: Uint8Array): string => decoder.decode(of).replaceAll("\0", "0");
  return tombstones.map(({ start, end, seq }) => `${key(start)}-${end === undefined ? "" : key(end)}@${seq}`).join(" ");
}

/** A tree of tables of such rows and tombstones, oldest first; what is written in brackets goes into a run at once. */
function treeOf(tables: ReadonlyArray<string>, maxSstBytes = 1 << 20, protectedFrom = Infinity): RangeTree {
  const tree = new RangeTree(new Dice(1), maxSstBytes);
  for (const table of tables) {
    const isRun = table.startsWith("[");
    const parts = table.replaceAll(/[\[\]]/g, "").split(" ");
    const tombstones = ranges(parts.filter((part) => part.includes("-")).join(" "));
    tree.put(rows(parts.filter((part) => !part.includes("-")).join(" ")), tombstones, protectedFrom);
    if (isRun) tree.compact({ ...manualL0(tree.manifest, -1)!, effort: "move" });
  }
  return tree;
}

/** Layout: tables as "first..last tombstones". */
function layout(tree: RangeTree): string {
  const table = (view: SstView): string => {
    const { firstEntry, lastEntry } = view.info;
    const own = textOf(tree.rangesOf(view));
    const last = lastEntry === undefined ? "" : decoder.decode(lastEntry);
    return `${decoder.decode(firstEntry)}..${last}${own === "" ? "" : ` ${own}`}`;
  };
  const { l0, compacted } = tree.manifest;
  return [`L0: ${l0.map(table).join(", ")}`, ...compacted.map(({ ssts }) => ssts.map(table).join(", "))].join(" | ");
}

const droppable = (tree: RangeTree): string =>
  Effect.runSync(tree.drops.find(tree.manifest)).map(({ l0ViewIds, runIds, tables }) =>
    l0ViewIds.length > 0 ? `L0 ${l0ViewIds.length}` : `run ${runIds} ${tables!.size}`
  ).join(", ");

function dropAll(tree: RangeTree): void {
  for (const spec of Effect.runSync(tree.drops.find(tree.manifest))) tree.compact(spec);
}

describe("compactions of range tombstones", () => {
  it(`compactions of all kinds change no protected read (seed ${SEED})`, () => {
    let dropped = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
        const dice = new Dice(seed);
        const tree = new RangeTree(dice);
        let running: TreeJob[] = [];
        for (let step = 0; step < 14; step++) {
          if (dice.chance(50)) tree.flush();
          if (running.length === 0 && dice.chance(4)) tree.clip();
          const spec = dice.chance(60) ? tree.pick(running.map(({ plan }) => plan.spec)) : undefined;
          if (spec !== undefined) running.push(tree.run(spec));
          if (running.length > 0 && dice.chance(70)) {
            const job = dice.pick(running);
            running = running.filter((one) => one !== job);
            if (tree.publish(job)) tree.check();
          }
        }
        for (const job of running) if (tree.publish(job)) tree.check();
        dropped += tree.dropped;
      }),
      { seed: SEED, numRuns: 100 },
    );
    assert.ok(dropped > 12, `only ${dropped} tables went unread`);
  });

  it("a tombstone is cut where a table ends, and neither half reaches into the other table", () => {
    const tree = treeOf(["a@8 c@9", "a-e@10 a@11 c@12"], 1, 5);
    tree.compact(manualL0(tree.manifest, -1)!);
    assert.equal(layout(tree), "L0:  | a..a a-c@10, c..c c-e@10");
    tree.check();
    const halves = tree.manifest.compacted[0]!.ssts;
    for (const half of halves) {
      // Moving a half deeper takes nothing of the other one along.
      const { destination, runIds } = { destination: 0, runIds: [0] };
      const tables = new Set([half.sstId]);
      tree.compact({ l0ViewIds: [], runIds, destination, tables, effort: "move" });
      tree.check();
    }
  });

  it("T5 a tombstone goes where nothing older is, and stays above what is", () => {
    const tree = treeOf(["[b@1 d@2]", "[f@3 g@4]", "-@5 h@6"]);
    tree.compact(manualL0(tree.manifest, 1)!);
    assert.equal(layout(tree), "L0:  | b..h b-d0@5 f-g0@5 | f..g | b..d");
    tree.check();
    tree.compact(manualRuns(tree.manifest, undefined)!);
    assert.equal(layout(tree), "L0:  | h..h");
    tree.check();
  });

  it("tombstones alone are a table, in several when they are many, and go in the last run", () => {
    const many = Array.from(
      "acegik",
      (letter, i) => `${letter}-${String.fromCharCode(letter.charCodeAt(0) + 1)}@${i + 20}`,
    );
    const tree = treeOf(["[a@1 l@2]", many.join(" ")], 50, 5);
    tree.compact(manualL0(tree.manifest, 0)!);
    assert.equal(layout(tree), "L0:  | a.. a-b@20 c-d@21 e-f@22, g.. g-h@23 i-j@24 k-l@25 | a..l");
    tree.check();
    const last = treeOf(["a@1", "a-c@5"]);
    last.compact(manualL0(last.manifest, -1)!);
    assert.equal(layout(last), "L0: ");
    last.check();
  });

  it("T4 a table does not move past a tombstone over it", () => {
    const tree = treeOf(["[b@1 c@2]", "a-h@5", "c@7"]);
    // Of the three, only their tombstone joins the second and the third.
    tree.compact({ ...manualL0(tree.manifest, 0)!, effort: "move" });
    tree.check();
    tree.compact({ ...manualRuns(tree.manifest, undefined)!, effort: "move" });
    assert.equal(layout(tree), "L0:  | c..c");
    tree.check();
  });

  it("a merge reads nothing of a table that a newer source hides", () => {
    const tree = treeOf(["[b@1 c@2 d@3]", "b-e@5 f@6"]);
    tree.spoil(tree.manifest.compacted[0]!.ssts[0]!);
    tree.compact(manualL0(tree.manifest, 0)!);
    tree.compact(manualRuns(tree.manifest, undefined)!);
    assert.equal(layout(tree), "L0:  | f..f");
    tree.check();
  });

  it("what a visible range cuts off a tombstone hides nothing", () => {
    const tree = treeOf(["[b@1 e@2]", "a-h@5"]);
    const [view] = tree.manifest.l0;
    const visibleRange = { start: { key: bytes("d"), inclusive: false }, end: { key: bytes("f"), inclusive: true } };
    tree.manifest = { ...tree.manifest, l0: [{ ...view!, visibleRange }] };
    tree.ranges = [{ start: bytes("d\0"), end: bytes("f\0"), seq: 5, createTs: 1000 }];
    tree.check();
    tree.compact({ ...manualL0(tree.manifest, 0)!, effort: "move" });
    assert.equal(layout(tree), "L0:  | d\0.. d0-e0@5 | b..e");
    tree.check();
  });
});

describe("tables that go unread", () => {
  const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>, string, number?]> = [
    ["a table of a run below a tombstone of L0", ["[b@1 d@2]", "b-e@5"], "run 0 1"],
    ["no table whose last row is not covered", ["[b@1 d@2]", "b-d@5"], ""],
    ["no table whose first row is not covered", ["[b@1 d@2]", "c-e@5"], ""],
    ["no table between two tombstones", ["[b@1 d@2]", "a-c@5 d-e@6"], ""],
    ["a table below two tombstones that touch, of two tables", ["[b@1 d@2]", "a-c@5", "c-e@6"], "run 0 1"],
    ["no table below a tombstone that some read does not see", ["[b@1 d@2]", "b-e@5 f@6"], "", 4],
    ["no table below a tombstone of its own", ["[b@1 d@2 b-e@3 c@4]"], ""],
    ["no table whose own tombstones reach further", ["[a@1]", "[b@2 b-h@3 d@4]", "b-e@5"], "", 2],
    ["no table of tombstones only", ["[b@1]", "[b-d@3]", "a-h@5"], "run 0 1"],
    ["tables of several runs", ["[b@1 d@2]", "[c@3]", "-@5"], "run 1 1, run 0 1"],
    ["the oldest tables of L0, all at once", ["b@1", "c@2", "-@5", "d@6"], "L0 2"],
    ["no table of L0 above one that stays", ["h@1", "c@2", "b-e@5"], ""],
    ["the oldest of L0 and what lies below", ["[a@1]", "b@2", "-@5"], "L0 1, run 0 1"],
    ["nothing without tombstones", ["[a@1]", "a@2"], ""],
  ];
  for (const [name, tables, expected, protectedFrom] of cases) {
    it(`dropJobs takes away ${name}`, () => {
      const tree = treeOf(tables, 1 << 20, protectedFrom);
      assert.equal(droppable(tree), expected);
      for (const { tables } of Effect.runSync(tree.drops.find(tree.manifest))) {
        const views = tree.manifest.compacted.flatMap((run) => run.ssts).filter(({ sstId }) => tables?.has(sstId));
        for (const view of views) tree.spoil(view);
      }
      dropAll(tree);
      tree.check();
      assert.equal(droppable(tree), "");
    });
  }

  it("dropJobs takes away some tables of a run, and the run with its last", () => {
    const tree = treeOf(["a@1", "c@2", "e@3"], 1);
    tree.compact(manualL0(tree.manifest, -1)!);
    tree.put([], ranges("b-f@5"));
    assert.equal(layout(tree), "L0: b.. b-f@5 | a..a, c..c, e..e");
    dropAll(tree);
    assert.equal(layout(tree), "L0: b.. b-f@5 | a..a");
    tree.check();
    tree.put([], ranges("-@9"));
    dropAll(tree);
    assert.equal(layout(tree), "L0: .. -@9, b.. b-f@5");
    tree.check();
  });

  it("applyCompaction drops nothing when the tombstones over it are gone or not newer any more", () => {
    const tree = treeOf(["[b@1 d@2]", "b-e@5 h@6"]);
    const [spec] = Effect.runSync(tree.drops.find(tree.manifest));
    const job = tree.run(spec!);
    tree.compact({ ...manualL0(tree.manifest, 0)!, effort: "rewrite" });
    assert.equal(tree.publish(job), false);
    dropAll(tree);
    tree.check();
    assert.equal(tree.dropped, 1);
  });

  it("dropJobs never counts the tombstones of a table or run for itself", () => {
    const tree = treeOf(["[b@1 d@2 b-e@3 c@4]", "b@5 c@7 a-e@6"]);
    const cover = (view: SstView) => tree.rangesOf(view);
    const jobs = (manifest: Manifest) => Effect.runSync(sliced(dropJobs(manifest, cover, 1)));
    assert.deepEqual(jobs({ ...tree.manifest, l0: [] }), []);
    assert.deepEqual(jobs({ ...tree.manifest, compacted: [] }), []);
    assert.equal(jobs(tree.manifest).length, 1);
  });

  it("a manual compaction takes L0 tables whose tombstones lie in its range, and no others", () => {
    const { manifest } = treeOf(["a-c@5"]);
    const taken = (of: Manifest, lower: string, upper?: string): number =>
      new ManualRequest({ lower: bytes(lower), upper: upper === undefined ? undefined : bytes(upper) }).leftOfL0(of)
        .length;
    assert.deepEqual([taken(manifest, "b"), taken(manifest, "c"), taken(manifest, "A", "a")], [1, 0, 0]);
    assert.equal(taken(treeOf(["b@6 a-f@5"]).manifest, "e"), 1);
  });

  it("a visible range narrows what a tombstone covers", () => {
    const tree = treeOf(["[b@1 d@2]", "a-h@5"]);
    const [view] = tree.manifest.l0;
    const visibleRange = { start: { key: bytes("c"), inclusive: true }, end: { key: undefined, inclusive: false } };
    tree.manifest = { ...tree.manifest, l0: [{ ...view!, visibleRange }] };
    assert.equal(droppable(tree), "");
  });
});
