/**
 * Handlers of `range_del`, `iterator` and `iterator_table_filter`: gets and user iterators over given trees.
 *
 * @module
 */
import { type PebbleBlock, type PebbleHandlers, type PebbleSession, valueOf, valuesOf } from "./pebble_files.ts";
import { parseRows } from "./pebble_rows.ts";
import { parseTree, PebbleTree, runIdOf } from "./pebble_tree.ts";
import { compareCounts } from "./table_counts.ts";
import { compactRange, type TreeCompaction } from "./tree_compaction.ts";
import { openTreeCursor } from "./tree_cursor.ts";
import { runOperations, showPair } from "./user_walk.ts";

/** A read that sees everything. */
const NEWEST = Number.MAX_SAFE_INTEGER;

/** Runs the operations of an `iter` block on a tree. */
export function iterate(block: PebbleBlock, tree: PebbleTree): Promise<string> {
  const seq = Number(valueOf(block, "seq") ?? NEWEST);
  const bounds = { lower: valueOf(block, "lower"), upper: valueOf(block, "upper") };
  return runOperations(block.input, bounds, (within) => openTreeCursor(tree, seq, within), showPair);
}

/** The gets of a block. */
async function get(block: PebbleBlock, tree: PebbleTree): Promise<string> {
  const lines: string[] = [];
  for (const key of block.input) {
    const value = await tree.get(key, Number(valueOf(block, "seq")));
    lines.push(value === undefined ? `${key}: pebble: not found` : `${key}:${value}`);
  }
  return lines.join("\n");
}

/** The first of answers that must all be alike. */
function same(...answers: ReadonlyArray<string>): string {
  const wrong = answers.findIndex((answer) => answer !== answers[0]);
  if (wrong > 0) {
    throw new Error(`layout ${wrong} answers otherwise:\n${answers[wrong]}\nthan layout 0:\n${answers[0]}`);
  }
  return answers[0]!;
}

/** Every key and both directions for every read from `minSeq` on: what a compaction must not change. */
async function readEverything(tree: PebbleTree, minSeq: number): Promise<string> {
  const lines: string[] = [];
  for (let seq = minSeq + 1; seq <= 20; seq++) {
    for (const key of "abcdefgh") lines.push(`get ${key} seq=${seq}: ${await tree.get(key, seq)}`);
    const cursor = openTreeCursor(tree, seq, { lower: undefined, upper: undefined });
    for (const step of ["next", "prev"] as const) {
      for (let entry = await cursor[step](); entry !== undefined; entry = await cursor[step]()) {
        lines.push(`${step} seq=${seq}: ${showPair(entry)}`);
      }
    }
  }
  return lines.join("\n");
}

function rangeDel(): PebbleSession {
  let tree = new PebbleTree();
  /** The same tree with its memtables flushed, until something is compacted: reads must not depend on it. */
  let flushed = tree;
  let compaction: TreeCompaction = { maxSstBytes: 1 << 20, minSeq: NEWEST };
  return {
    commands: {
      define: (block) => {
        tree = parseTree(block.input);
        flushed = tree.flushed();
        // A snapshot sees the numbers below its own.
        const oldest = Math.min(NEWEST, ...valuesOf(block, "snapshots").map((seq) => Number(seq) - 1));
        const sizes = valuesOf(block, "target-file-sizes").map(Number);
        compaction = { maxSstBytes: sizes.at(-1) ?? 1 << 20, minSeq: oldest };
        return "";
      },
      get: async (block) => same(await get(block, tree), await get(block, flushed)),
      iter: async (block) => same(await iterate(block, tree), await iterate(block, flushed)),
      compact: async (block) => {
        const [keys, level] = block.args.map(({ key }) => key);
        const [first, last] = keys!.split("-");
        const at = level === undefined ? undefined : Number(level.slice(1));
        const theirs = await readEverything(tree, compaction.minSeq);
        await compactRange(tree, { first: first!, last: last! }, at, compaction);
        flushed = tree;
        return { ours: await readEverything(tree, compaction.minSeq), theirs };
      },
      "wait-pending-table-stats": (block) => {
        const id = tree.ids[Number(block.input[0]) - 4];
        const views = [...tree.manifest.l0, ...tree.manifest.compacted.flatMap(({ ssts }) => ssts)];
        const view = views.find(({ sstId }) => sstId === id);
        if (view === undefined) throw new Error(`there is no table ${block.input[0]}`);
        return compareCounts(block, tree.store, tree.tables.table(view));
      },
    },
  };
}

/** Ways to lay a list of versions out. Reads must not depend on it. */
const LAYOUTS: ReadonlyArray<(lines: ReadonlyArray<string>) => PebbleTree> = [
  (lines) => {
    const tree = new PebbleTree();
    tree.addMemtable(parseRows(lines));
    return tree;
  },
  (lines) => {
    const tree = new PebbleTree();
    tree.addToRun(runIdOf(1), parseRows(lines));
    return tree;
  },
  (lines) => {
    // A source for each sequence number, in turn a table and a memtable.
    const tree = new PebbleTree();
    const { points, ranges } = parseRows(lines);
    const seqs = [...new Set(points.map(({ seq }) => seq))].sort((a, b) => a - b);
    seqs.forEach((seq, i) => {
      const rows = { points: points.filter((row) => row.seq === seq), ranges };
      if (2 * i < seqs.length) tree.addL0(rows);
      else tree.addMemtable(rows);
    });
    return tree;
  },
  (lines) => {
    const tree = new PebbleTree();
    tree.addMemtable(parseRows(lines));
    return tree.flushed();
  },
];

function iterator(): PebbleSession {
  let trees: PebbleTree[] = [];
  return {
    commands: {
      define: (block) => {
        trees = LAYOUTS.map((layOut) => layOut(block.input));
        return "";
      },
      iter: async (block) => {
        const ours = same(...await Promise.all(trees.map((tree) => iterate(block, tree))));
        return block.input.some((line) => line.startsWith("set-bounds"))
          ? { ours, theirs: withoutCounters(block.expected) }
          : ours;
      },
    },
    drop: withoutCounters,
  };
}

/** Expected outputs end with a line of counters. */
function withoutCounters(expected: string): string {
  return expected.split("\n").filter((line) => !line.startsWith("stats:")).join("\n");
}

function tableFilter(): PebbleSession {
  let tree = new PebbleTree();
  return {
    commands: {
      define: (block) => {
        tree = parseTree(block.input);
        return "";
      },
      iter: (block) => iterate(block, tree),
    },
  };
}

/** By file name. */
export const RANGE_DEL_FILES: PebbleHandlers = {
  "range_del": rangeDel,
  "iterator": iterator,
  "iterator_table_filter": tableFilter,
};
