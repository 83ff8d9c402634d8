/**
 * `compact a-b [Ln]`: moves the tables of a level that overlap a key range one level down, with the engine's rules, plan,
 * worker and edit of the manifest.
 *
 * A level here is level 0 or a run. Where upstream would move tables to a level that holds nothing they are written
 * again in their run, since a run that is older than all others can not be made.
 *
 * @module
 */
import { Effect } from "effect";
import type { SstView } from "../../src/format/types.ts";
import type { CompactionSpec } from "../../src/lsm/compaction_job.ts";
import { planCompaction } from "../../src/lsm/compaction_plan.ts";
import { applyCompaction, validateSpec } from "../../src/lsm/compaction_rules.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { closeDownwards, spansOfRun } from "../../src/lsm/table_span.ts";
import { type CompactionOutput, type MergePlan, runCompaction } from "../../tasks/compaction_worker.ts";
import { concat } from "../lsm/read_world.ts";
import { bytesOf } from "./pebble_rows.ts";
import { ENCODING, type PebbleTree, ROOT, runIdOf } from "./pebble_tree.ts";

/** Keys from `first` to `last`, both inclusive. */
export interface CompactedKeys {
  readonly first: string;
  readonly last: string;
}

/** What a compaction of the files is told. */
export interface TreeCompaction {
  /** Size at which a table ends, bytes. */
  readonly maxSstBytes: number;
  /** Reads at this sequence number and above must not change. */
  readonly minSeq: number;
}

/** Compacts a range of a level, or of the newest level that overlaps it. Does nothing when no table overlaps. */
export async function compactRange(
  tree: PebbleTree,
  keys: CompactedKeys,
  level: number | undefined,
  options: TreeCompaction,
): Promise<void> {
  const spec = specOf(tree, keys, level);
  if (spec !== undefined) await runJob(tree, spec, options);
}

/** Runs a job as a compactor does: checked, planned, carried out and entered into the manifest. */
export async function runJob(
  tree: PebbleTree,
  spec: CompactionSpec,
  { maxSstBytes, minSeq }: TreeCompaction,
): Promise<ReadonlyArray<ReadonlyArray<CompactionOutput>>> {
  tree.manifest = { ...tree.manifest, recentSnapshotMinSeq: minSeq };
  const wrong = validateSpec(tree.manifest, spec, []);
  if (wrong !== undefined) throw new Error(`the compaction is not possible: ${wrong}`);
  const plan = planCompaction(tree.manifest, spec, { maxSstBytes, maxConcurrent: 1 }, () => undefined);
  const outputs = await runPlan(tree, plan, maxSstBytes);
  const after = applyCompaction(tree.manifest, plan, outputs.map((tables) => tables.map(({ view }) => view)));
  if (after === "gone") throw new Error("the sources of the compaction are gone");
  tree.manifest = after;
  return outputs;
}

/** Makes the tables of a plan. */
export function runPlan(
  tree: PebbleTree,
  plan: MergePlan,
  maxSstBytes: number,
): Promise<ReadonlyArray<ReadonlyArray<CompactionOutput>>> {
  const worker = {
    store: tree.store,
    tables: tree.tables,
    root: ROOT,
    encoding: ENCODING,
    merge: concat,
    mintTableId: () => {
      const id = tree.mintId();
      tree.ids.push(id);
      return id;
    },
    maxSstBytes,
  };
  return Effect.runPromise(runCompaction(worker, plan, { bytesIn: 0, bytesOut: 0 }));
}

function specOf(tree: PebbleTree, keys: CompactedKeys, level: number | undefined): CompactionSpec | undefined {
  const { l0, compacted } = tree.manifest;
  const lower = bytesOf(keys.first);
  const upper = Uint8Array.of(...bytesOf(keys.last), 0);
  const touches = (view: SstView) => new TableRef(tree.tables.table(view), view).overlaps(lower, upper);
  const newest = l0.findIndex(touches);
  if ((level === undefined || level === 0) && newest >= 0) {
    const l0ViewIds = l0.slice(newest).map(({ viewId }) => viewId);
    const highest = compacted[0]?.id ?? -1;
    if (highest < runIdOf(1)) return { l0ViewIds, runIds: [], destination: runIdOf(1), effort: "move" };
    return { l0ViewIds, runIds: [highest], destination: highest, effort: "move" };
  }
  const at = level === undefined
    ? compacted.findIndex(({ ssts }) => ssts.some(touches))
    : compacted.findIndex(({ id }) => id === runIdOf(level));
  if (at < 0) return undefined;
  const runs = compacted.slice(at, at + 2);
  const seeds = runs[0]!.ssts.filter(touches).map(({ sstId }) => sstId);
  if (seeds.length === 0) return undefined;
  const tables = closeDownwards([], runs.map(spansOfRun), seeds);
  const runIds = runs.map(({ id }) => id);
  return { l0ViewIds: [], runIds, destination: runIds.at(-1)!, tables, effort: "move" };
}
