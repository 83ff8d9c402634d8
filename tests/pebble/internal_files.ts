/**
 * Handlers of the files about iterators that list every version: `merging_iter`, `merging_iter_seek`, `level_iter`,
 * `internal_iter_next`, `internal_iter_bounds`.
 *
 * @module
 */
import type { Cursor } from "../../src/lsm/cursor.ts";
import { mergeSources, openSources } from "../../src/lsm/row_scan.ts";
import { InternalWalk } from "./internal_walk.ts";
import { type PebbleBlock, type PebbleHandlers, type PebbleSession, valueOf } from "./pebble_files.ts";
import { bytesOf, keyOf, parseRows, showRow, valueTextOf } from "./pebble_rows.ts";
import { PebbleTree, runIdOf, type TableBounds } from "./pebble_tree.ts";

/** A read that sees everything. */
const NEWEST = Number.MAX_SAFE_INTEGER;

const EVERYTHING = { lower: undefined, upper: undefined };

function cursorOf(tree: PebbleTree): Cursor {
  return mergeSources(openSources(tree.view, EVERYTHING, NEWEST, {}));
}

/** Bounds of `lower=` and `upper=` words. */
function boundsIn(words: ReadonlyArray<string>): [lower: string | undefined, upper: string | undefined] {
  const of = (name: string) => words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  return [of("lower"), of("upper")];
}

/** Runs the operations of an `iter` block; those that print counters are left out with their outputs. */
async function iterate(
  block: PebbleBlock,
  tree: PebbleTree,
  show: (row: Cursor) => string,
): Promise<{ ours: string; theirs: string }> {
  const walk = new InternalWalk(cursorOf(tree), tree.tables);
  walk.setBounds(valueOf(block, "lower"), valueOf(block, "upper"));
  const ours: string[] = [];
  const theirs: string[] = [];
  const expected = block.expected.split("\n");
  for (const operation of block.input) {
    const [name, ...words] = operation.split(" ");
    if (name === "set-bounds") {
      walk.setBounds(...boundsIn(words));
    } else if (name === "stats") {
      expected.shift();
    } else if (name !== "reset-stats") {
      ours.push(await walk.run(operation) ? show(walk.cursor) : ".");
      theirs.push(expected.shift() ?? "nothing");
    }
  }
  return { ours: ours.join("\n"), theirs: [...theirs, ...expected].join("\n") };
}

const verbose = (row: Cursor): string => showRow(row);
const brief = (row: Cursor): string => `${keyOf(row)}:${valueTextOf(row)}`;

function session(define: (block: PebbleBlock) => PebbleTree, show: (row: Cursor) => string): PebbleSession {
  let tree = new PebbleTree();
  return {
    commands: {
      define: (block) => {
        tree = define(block);
        return "";
      },
      iter: (block) => iterate(block, tree, show),
    },
  };
}

/** All versions in one memtable. */
function oneMemtable(block: PebbleBlock): PebbleTree {
  const tree = new PebbleTree();
  tree.addMemtable(parseRows(block.input));
  return tree;
}

/** A line is a source: a table of level 0. Upstream's children are not ordered by age; here later ones are newer. */
function tablePerLine(block: PebbleBlock): PebbleTree {
  const tree = new PebbleTree();
  for (const line of block.input) tree.addL0(parseRows([line]));
  return tree;
}

/** A line is a table of one run. */
function oneRun(block: PebbleBlock): PebbleTree {
  const tree = new PebbleTree();
  for (const line of block.input) tree.addToRun(runIdOf(1), parseRows([line]));
  return tree;
}

/** `L` begins a run, newest first; `number:[smallest-largest]` a table with its bounds; rows stand below. */
function runsOfTables(block: PebbleBlock): PebbleTree {
  const tree = new PebbleTree();
  let level = 0;
  let bounds: TableBounds;
  let rows: string[] = [];
  const finish = (): void => {
    if (bounds !== undefined) tree.addToRun(runIdOf(level), parseRows(rows), bounds);
    bounds = undefined;
    rows = [];
  };
  for (const line of block.input) {
    if (line.startsWith("    ")) {
      rows.push(line);
      continue;
    }
    finish();
    if (line === "L") level++;
    else bounds = boundsOf(line.trim());
  }
  finish();
  return tree;
}

/** Bounds `number:[smallest#seq,KIND-largest#seq,KIND]`; a largest `#inf` is exclusive. */
function boundsOf(text: string): NonNullable<TableBounds> {
  const match = /^\d+:\[(.*?)#\w+,[A-Z]+-(.*?)#(\w+),[A-Z]+\]$/.exec(text);
  if (match === null) throw new Error(`not the bounds of a table: ${text}`);
  const [, smallest, largest, seq] = match as unknown as [string, string, string, string];
  return {
    start: { key: bytesOf(smallest), inclusive: true },
    end: { key: bytesOf(largest), inclusive: seq !== "inf" },
  };
}

/** By file name. */
export const INTERNAL_FILES: PebbleHandlers = {
  "merging_iter": () => session(runsOfTables, verbose),
  "merging_iter_seek": () => session(tablePerLine, brief),
  "level_iter": () => session(oneRun, verbose),
  "internal_iter_next": () => session(oneMemtable, brief),
  "internal_iter_bounds": () => session(oneMemtable, brief),
};
