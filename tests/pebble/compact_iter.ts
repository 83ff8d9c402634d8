/**
 * Handler of `compact-iter`: what a compaction writes, compared by reads.
 *
 * The input becomes a database in several layouts, each of them compacted by the engine's plan, worker and edit of the
 * manifest, into one table and into tables as small as they get. Reads of the newest state and at every snapshot, gets
 * and scans in both orders, must answer as before. Where upstream may not drop tombstones, an older run with a row for
 * every key lies below, so that what goes too far brings old rows back.
 *
 * @module
 */
import { Effect } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Entry } from "../../src/db/api.ts";
import type { RangeTombstone, SstView } from "../../src/format/types.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { fetchLookups } from "../../src/lsm/lookup.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { fetchRows, RowScan } from "../../src/lsm/row_scan.ts";
import { rangeDeletionsOf, readStats, rowsOf } from "../../src/lsm/table_stats.ts";
import type { ModelRow } from "../lsm/read_world.ts";
import { assert } from "../support/suite.ts";
import { type PebbleBlock, type PebbleSession, valueOf, valuesOf } from "./pebble_files.ts";
import { bytesOf, parseRows, type PebbleRows, pointRow, textOf } from "./pebble_rows.ts";
import { PebbleTree, readBelow } from "./pebble_tree.ts";
import { runJob } from "./tree_compaction.ts";

/** Numbers of the files are raised by this: the older rows have number 1, and our numbers begin with it. */
const RAISED = 2;
/** Run of the older rows. */
const OLDER_RUN = 1;
/** The keys of the file and those that its spans end at, and one behind each. */
const KEYS = [..."abcdefkl"].flatMap((letter) => [letter, `${letter}!`]).map(bytesOf);

/** A way to lay rows out, which makes a valid tree, newer rows in newer sources, and the size at which tables end. */
interface Layout {
  readonly layOut: (tree: PebbleTree, rows: PebbleRows) => void;
  readonly maxSstBytes: number;
}

const LAYOUTS: ReadonlyArray<Layout> = [
  { layOut: (tree, rows) => tree.addL0(rows), maxSstBytes: 1 << 20 },
  { layOut: (tree, rows) => bySeq(rows).forEach((some) => tree.addL0(some)), maxSstBytes: 1 },
  {
    layOut: (tree, rows) => bySeq(rows).forEach((some, i) => tree.addToRun(OLDER_RUN + 1 + i, some)),
    maxSstBytes: 1 << 20,
  },
];

/** Handles `define` and `iter`. */
export function compactIter(): PebbleSession {
  let input: ReadonlyArray<string> = [];
  return {
    commands: {
      define: (block) => {
        input = block.input;
        return "";
      },
      iter: async (block) => {
        // What is no row in any format, and range keys, have no counterpart.
        const rows = raised(parseRows(input.filter((line) => !/^Span:|,INVALID:/.test(line))));
        const [ours, theirs]: [string[], string[]] = [[], []];
        for (const { layOut, maxSstBytes } of LAYOUTS) {
          const tree = new PebbleTree();
          if (!mayElide(block)) tree.addToRun(OLDER_RUN, olderRows());
          layOut(tree, rows);
          theirs.push(await readAll(tree, block));
          const before = await sizeOf(tree);
          await compactAll(tree, rows, block, maxSstBytes);
          ours.push(await readAll(tree, block));
          const after = await sizeOf(tree);
          const limit = RangeSet.of(rows.ranges).fragments().length;
          assert.ok(after.points <= before.points, `${after.points} rows were made of ${before.points}`);
          // Tables that end after every key cut tombstones into more pieces.
          assert.ok(maxSstBytes === 1 || after.ranges <= limit, `${after.ranges} tombstones were made of ${limit}`);
        }
        return { ours: ours.join("\n\n"), theirs: theirs.join("\n\n") };
      },
    },
  };
}

/** Whether nothing lies below, so that tombstones may go. */
function mayElide(block: PebbleBlock): boolean {
  return ["elide-tombstones", "is-bottommost-layer"].some((key) => valueOf(block, key) === "true");
}

function raised({ points, ranges }: PebbleRows): PebbleRows {
  const raise = <A extends ModelRow | RangeTombstone>(row: A): A => ({ ...row, seq: row.seq + RAISED });
  return { points: points.map(raise), ranges: ranges.map(raise) };
}

function olderRows(): PebbleRows {
  return { points: KEYS.map((key) => pointRow(textOf(key), 1, "SET", "older")), ranges: [] };
}

/** The rows of each number, oldest first. */
function bySeq({ points, ranges }: PebbleRows): PebbleRows[] {
  const seqs = [...new Set([...points, ...ranges].map(({ seq }) => seq))].sort((a, b) => a - b);
  return seqs.map((seq) => ({
    points: points.filter((row) => row.seq === seq),
    ranges: ranges.filter((row) => row.seq === seq),
  }));
}

/** Compacts everything but the older rows. */
async function compactAll(tree: PebbleTree, rows: PebbleRows, block: PebbleBlock, maxSstBytes: number): Promise<void> {
  const newest = [...rows.points, ...rows.ranges].reduce((max, { seq }) => Math.max(max, seq), 0);
  const oldest = Math.min(newest, ...snapshotsOf(block).map((seq) => seq - 1));
  const l0ViewIds = tree.manifest.l0.map(({ viewId }) => viewId);
  const runIds = tree.manifest.compacted.map(({ id }) => id).filter((id) => id !== OLDER_RUN);
  const destination = runIds.at(-1) ?? OLDER_RUN + 1;
  await runJob(tree, { l0ViewIds, runIds, destination, effort: "rewrite" }, { maxSstBytes, minSeq: oldest });
}

/** The snapshots of a block: they see what is below. */
function snapshotsOf(block: PebbleBlock): number[] {
  return valuesOf(block, "snapshots").map((seq) => Number(seq) + RAISED);
}

/** What reads of the newest state and at each snapshot answer, as text. */
async function readAll(tree: PebbleTree, block: PebbleBlock): Promise<string> {
  const lines: string[] = [];
  for (const seq of [1000, ...snapshotsOf(block)]) {
    const spec = readBelow(seq);
    const { view, tables } = tree;
    const found = await Effect.runPromise(fetchLookups(tables, view, KEYS, spec, { cache: true }));
    const gets = KEYS.flatMap((key, i) => found[i] === undefined ? [] : [show({ key, ...found[i] })]);
    const scans: string[][] = [];
    for (const order of ["ascending", "descending"] as const) {
      const rows: Entry[] = [];
      const scan = new RowScan(view, FULL_RANGE, spec, { order });
      await Effect.runPromise(fetchRows(tables, scan, rows, Infinity, { cache: true }));
      scans.push(rows.sort((a, b) => compareBytes(a.key, b.key)).map(show));
    }
    assert.deepEqual(scans, [gets, gets], "gets and scans answer alike");
    lines.push(`below ${seq}: ${gets.join(" ")}`);
  }
  return lines.join("\n");
}

function show({ key, value, seq }: Pick<Entry, "key" | "value" | "seq">): string {
  return `${textOf(key)}:${textOf(value)}#${seq}`;
}

/** Rows and range tombstones of all tables. */
async function sizeOf(tree: PebbleTree): Promise<{ points: number; ranges: number }> {
  const views: SstView[] = [...tree.manifest.l0, ...tree.manifest.compacted.flatMap(({ ssts }) => ssts)];
  const size = { points: 0, ranges: 0 };
  for (const view of views) {
    const stats = await Effect.runPromise(readStats(tree.store, tree.tables.table(view)));
    size.points += rowsOf(stats!);
    size.ranges += rangeDeletionsOf(view.info);
  }
  return size;
}
