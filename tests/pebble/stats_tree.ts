/**
 * A tree that grows by batches, flushes, compactions and ingested tables, for the files about statistics of tables.
 *
 * Flushes and compactions are the engine's. What our engine lacks is put together from what it has: an ingested table is
 * a new one of level 0, and excising a range leaves of a table the visible ranges on either side, as a clone would have
 * them, each written as a table of its own by the worker of compactions.
 *
 * @module
 */
import type { BoundRange, SstView } from "../../src/format/types.ts";
import { ALL_KEYS } from "../../src/lsm/range_retention.ts";
import { NO_TICK, RANGE_FORMAT } from "../../src/format/types.ts";
import { tablePath } from "../../src/format/paths.ts";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableWriter } from "../../src/lsm/table_writer.ts";
import { concat } from "../lsm/read_world.ts";
import { bytesOf, type PebbleRows, pointRow, rangeRow } from "./pebble_rows.ts";
import { ENCODING, memtableOf, type PebbleTree, ROOT } from "./pebble_tree.ts";
import { runPlan } from "./tree_compaction.ts";

/** First number of a write. */
const FIRST_SEQ = 10;

/** The tree. */
export class StatsTree {
  readonly tree: PebbleTree;
  /** Reads at this number and above are protected. */
  #seq = FIRST_SEQ;
  #batch: PebbleRows = { points: [], ranges: [] };
  readonly #built: Map<string, PebbleRows> = new Map();

  constructor(tree: PebbleTree) {
    this.tree = tree;
  }

  /** All tables, newest first. */
  get views(): SstView[] {
    const { l0, compacted } = this.tree.manifest;
    return [...l0, ...compacted.flatMap(({ ssts }) => ssts)];
  }

  /** Adds operations to the memtable. */
  batch(lines: ReadonlyArray<string>): void {
    const { points, ranges } = this.#rowsOf(lines);
    this.#batch = { points: [...this.#batch.points, ...points], ranges: [...this.#batch.ranges, ...ranges] };
  }

  /** Writes the memtable as a table of level 0; nothing when it is empty. */
  flush(): void {
    const memtable = memtableOf(this.#batch);
    this.#batch = { points: [], ranges: [] };
    const rules = { minSeq: this.#seq, tick: NO_TICK, dropTombstones: false, merge: concat };
    const built = new TableWriter(memtable.cursor(), ENCODING, rules, 0, memtable.ranges.all()).finish();
    if (built === undefined) return;
    const id = this.#mintId();
    this.tree.store.plant(tablePath(ROOT, id), joinChunks(built.chunks));
    const formatVersion = built.info.rangeDeletes === undefined ? 2 : RANGE_FORMAT;
    const view: SstView = { viewId: id, sstId: id, info: built.info, visibleRange: undefined, formatVersion };
    this.tree.manifest = { ...this.tree.manifest, l0: [view, ...this.tree.manifest.l0] };
  }

  /** Keeps the rows of a table that is to be ingested. */
  build(name: string, lines: ReadonlyArray<string>): void {
    this.#built.set(name, this.#rowsOf(lines));
  }

  /** Adds a table that was built, or that consists of `lines`. */
  ingest(name: string, lines: ReadonlyArray<string>): void {
    const rows = lines.length > 0 ? this.#rowsOf(lines) : this.#built.get(name)!;
    if (rows.points.length + rows.ranges.length > 0) this.tree.addL0(rows);
  }

  /** Takes the keys from `start` to before `end` out of all tables. */
  async excise(start: string, end: string): Promise<void> {
    const [from, to] = [bytesOf(start), bytesOf(end)];
    const { l0, compacted } = this.tree.manifest;
    const withoutRange = async (views: ReadonlyArray<SstView>): Promise<SstView[]> => {
      const left: SstView[] = [];
      for (const view of views) left.push(...await this.#pieces(view, from, to));
      return left;
    };
    const runs = [];
    for (const { id, ssts } of compacted) runs.push({ id, ssts: await withoutRange(ssts) });
    this.tree.manifest = { ...this.tree.manifest, l0: await withoutRange(l0), compacted: runs };
  }

  async #pieces(view: SstView, from: Uint8Array, to: Uint8Array): Promise<SstView[]> {
    const { tree } = this;
    if (!new TableRef(tree.tables.table(view), view).overlaps(from, to)) return [view];
    const open = { key: undefined, inclusive: false };
    const ranges: BoundRange[] = [
      { start: open, end: { key: from, inclusive: false } },
      { start: { key: to, inclusive: true }, end: open },
    ];
    const segments = ranges.map((visibleRange) => ({
      kind: "merge" as const,
      sources: [[{ ...view, visibleRange }]],
      bytes: 1,
    }));
    const plan = { segments, isLastRun: false, olderSpans: [ALL_KEYS], minSeq: 0, tick: NO_TICK };
    const outputs = await runPlan(tree, plan, Infinity);
    return outputs.flat().map((output) => output.view);
  }

  #mintId(): string {
    this.tree.ids.push(this.tree.mintId());
    return this.tree.ids.at(-1)!;
  }

  /** Rows of operations, with rising numbers; those on range keys count and leave nothing. */
  #rowsOf(lines: ReadonlyArray<string>): PebbleRows {
    const rows: PebbleRows = { points: [], ranges: [] };
    for (const line of lines) {
      const [operation, key, value] = line.trim().split(/\s+/);
      const seq = this.#seq++;
      if (operation === "set") rows.points.push(pointRow(key!, seq, "SET", expandBytes(value ?? "")));
      else if (operation === "del" || operation === "del-sized") rows.points.push(pointRow(key!, seq, "DEL", ""));
      else if (operation === "del-range") rows.ranges.push(rangeRow(key!, value!, seq));
      else if (!operation!.startsWith("range-key-")) throw new Error(`no operation of a batch: ${line}`);
    }
    return rows;
  }
}

/** `<rand-bytes=n>` as n bytes. */
export function expandBytes(text: string): string {
  return text.replace(/<rand-bytes=(\d+)>/g, (_, count) => "x".repeat(Number(count)));
}
