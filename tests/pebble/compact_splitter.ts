/**
 * Handler of `compact-output_splitter`: where a compaction ends its tables.
 *
 * Upstream also ends them at a limit that it works out from the tables of the level below, and, once they have half their
 * size, at the bounds of these. Our compactor ends tables by their size alone. Those blocks ask to be compared only if it
 * did otherwise, so each of them is compacted above such tables and without them, and shown to end at the same keys.
 *
 * @module
 */
import { assert } from "../support/suite.ts";
import { type PebbleBlock, type PebbleSession, valueOf } from "./pebble_files.ts";
import { type PebbleRows, pointRow, textOf } from "./pebble_rows.ts";
import { PebbleTree } from "./pebble_tree.ts";
import { runJob } from "./tree_compaction.ts";

/** Bytes for one of the file's, so that what blocks add does not matter. */
const SCALE = 1000;
/** Run of the tables below, and of what is made. */
const [BELOW, DESTINATION] = [1, 2];

/** Bounds of a table below. */
interface Bounds {
  readonly first: string;
  readonly last: string;
}

/** Handles `init-grandparents` and `run`. */
export function outputSplitter(): PebbleSession {
  let below: Bounds[] = [];
  return {
    commands: {
      "init-grandparents": ({ input }) => {
        below = input.map((line) => {
          const [, first, last] = /^\d+:\[(\w+)#\d+,SET-(\w+)#\d+,SET\]$/.exec(line.trim())!;
          return { first: first!, last: last! };
        });
        return "";
      },
      run: async (block) => {
        const limit = valueOf(block, "limit-key");
        const bySize = await splitOf(block, []);
        if (limit === undefined && below.length === 0) return bySize;
        const atLimit = limit === undefined ? [] : [{ first: limit, last: `${limit}!` }];
        const above = await splitOf(block, limit === undefined || below.length > 0 ? below : atLimit);
        return { ours: above, theirs: bySize };
      },
    },
  };
}

/** What a compaction of the block's keys above `below` ends its first table at, as the file writes it. */
async function splitOf(block: PebbleBlock, below: ReadonlyArray<Bounds>): Promise<string> {
  const keys = block.input.map((line) => {
    const [key, size] = line.trim().split(" ");
    return { key: key!, size: Number(size) };
  });
  const maxSstBytes = Number(valueOf(block, "target-size")) * SCALE;
  const tree = new PebbleTree();
  for (const { first, last } of below) tree.addToRun(BELOW, rowsOf([first, last], () => 1));
  // A size is what the table has before its key.
  tree.addL0(
    rowsOf(keys.map(({ key }) => key), (i) => ((keys[i + 1]?.size ?? 0) - (i === 0 ? 0 : keys[i]!.size)) * SCALE),
  );
  const l0ViewIds = tree.manifest.l0.map(({ viewId }) => viewId);
  const spec = { l0ViewIds, runIds: [], destination: DESTINATION, effort: "rewrite" as const };
  const [tables] = await runJob(tree, spec, { maxSstBytes, minSeq: 0 });
  assert.equal(textOf(tables![0]!.view.info.firstEntry!), keys[0]!.key);
  const second = tables![1]?.view.info.firstEntry;
  if (second === undefined) return 'split at ""';
  const at = keys.find(({ key }) => key === textOf(second))!;
  return `${at.key} ${at.size}: split at "${at.key}"`;
}

/** Rows in a table's order, the newest version of a key first. */
function rowsOf(keys: ReadonlyArray<string>, bytesOf: (i: number) => number): PebbleRows {
  const points = keys.map((key, i) => pointRow(key, keys.length - i, "SET", "x".repeat(Math.max(1, bytesOf(i)))));
  return { points, ranges: [] };
}
