/**
 * Random sources of compactions, and what is in the tables that a compaction makes of them.
 *
 * @module
 */
import { compareBytes } from "../../src/bytes/compare.ts";
import { decodeBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import { tablePath } from "../../src/format/paths.ts";
import { blockEnd, readSst } from "../../src/format/sst_footer.ts";
import type { SstView } from "../../src/format/types.ts";
import type { CompactionPlan, CompactionSegment } from "../../src/lsm/compaction_job.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import { type Dice, internalOrder, makeRows, type ModelRow, testUlid, writeTable } from "../lsm/read_world.ts";

/** Sources of a merge and the rows that exist in them. */
export interface Sources {
  /** Newest first. */
  readonly sources: SstView[][];
  readonly rows: ModelRow[];
  readonly keys: Uint8Array[];
  readonly maxSeq: number;
}

/** A key of a number; neighbours share all but the last byte, some are prefixes of others. */
export function keyOf(n: number): Uint8Array {
  return new TextEncoder().encode(`user00${n % 7}${"x".repeat(n % 3)}`);
}

/** Writes random versions of few keys as several sources: tables of L0, and runs cut anywhere between rows. */
export function makeSources(dice: Dice, store: MemoryStore, root: string = "db"): Sources {
  const keys = Array.from({ length: 1 + dice.roll(6) }, (_, n) => keyOf(n)).sort(compareBytes);
  const maxSeq = 3 + dice.roll(30);
  const all = makeRows(dice, keys, maxSeq, true);
  const count = 1 + dice.roll(5);
  const cuts = Array.from({ length: count - 1 }, () => dice.roll(maxSeq + 1)).sort((a, b) => b - a);
  const sources: SstView[][] = [];
  const rows: ModelRow[] = [];
  let ids = 1;
  let newest = maxSeq;
  for (let i = 0; i < count; i++) {
    const oldest = i < count - 1 ? cuts[i]! : 0;
    const own = all.filter((row) => row.seq <= newest && row.seq > oldest).sort(internalOrder);
    newest = oldest;
    const tables: SstView[] = [];
    for (let at = 0; at < own.length;) {
      const end = dice.chance(50) ? own.length : Math.min(own.length, at + 1 + dice.roll(6));
      const part = own.slice(at, end);
      const visibleRange = dice.chance(15) ? clip(dice, part) : undefined;
      tables.push(writeTable(store, root, testUlid(ids++), part, {
        blockSizeBytes: dice.pick([64, 200, 4096]),
        compression: dice.pick([0, 0, 2]),
        visibleRange,
        hideLast: dice.chance(15),
      }));
      rows.push(...(visibleRange === undefined ? part : part.filter((row) => isInside(row.key, visibleRange))));
      at = end;
    }
    sources.push(tables);
  }
  return { sources, rows: rows.sort(internalOrder), keys, maxSeq };
}

type Range = NonNullable<SstView["visibleRange"]>;

function clip(dice: Dice, rows: readonly ModelRow[]): Range {
  const [low, high] = [dice.pick(rows).key, dice.pick(rows).key].sort(compareBytes);
  return {
    start: dice.chance(30) ? { key: undefined, inclusive: false } : { key: low, inclusive: dice.chance(70) },
    end: dice.chance(30) ? { key: undefined, inclusive: false } : { key: high, inclusive: dice.chance(50) },
  };
}

function isInside(key: Uint8Array, { start, end }: Range): boolean {
  const low = start.key === undefined ? 1 : compareBytes(key, start.key);
  const high = end.key === undefined ? -1 : compareBytes(key, end.key);
  return (low > 0 || (low === 0 && start.inclusive)) && (high < 0 || (high === 0 && end.inclusive));
}

/** Size of the object that a view refers to. */
export function objectBytes(store: MemoryStore, view: SstView, root: string = "db"): number {
  return store.peek(tablePath(root, view.sstId))!.length;
}

/** A plan with nothing to do. */
export const EMPTY_PLAN: CompactionPlan = {
  spec: { l0ViewIds: [], runIds: [], destination: 0, effort: "move" },
  segments: [],
  isLastRun: true,
  olderSpans: [],
  minSeq: 0,
  tick: -Infinity,
  mergeBytes: 0,
  moveBytes: 0,
};

/** A plan of merges of these sources. */
export function planOf(
  store: MemoryStore,
  segments: ReadonlyArray<ReadonlyArray<ReadonlyArray<SstView>>>,
  rules: Partial<Pick<CompactionPlan, "isLastRun" | "olderSpans" | "minSeq" | "tick">> = {},
): CompactionPlan {
  const merges = segments.map((sources): CompactionSegment => ({
    kind: "merge",
    sources,
    bytes: sources.flat().reduce((sum, view) => sum + objectBytes(store, view), 0),
  }));
  return {
    spec: { l0ViewIds: [], runIds: [], destination: 0, effort: "rewrite" },
    segments: merges,
    isLastRun: false,
    olderSpans: [],
    minSeq: Number.MAX_SAFE_INTEGER,
    tick: -Infinity,
    mergeBytes: merges.reduce((sum, merge) => sum + (merge.kind === "merge" ? merge.bytes : 0), 0),
    moveBytes: 0,
    ...rules,
  };
}

/** All rows of a stored table, after the strict check of the whole file. */
export function rowsOf(store: MemoryStore, view: SstView, root: string = "db"): ModelRow[] {
  return rowsIn(store.peek(tablePath(root, view.sstId))!);
}

/** All rows of a table's file, after the strict check of all of it. */
export function rowsIn(file: Uint8Array): ModelRow[] {
  const { info, index } = readSst(file);
  const rows: ModelRow[] = [];
  const cursor = new BlockCursor();
  for (let i = 0; i < index.offsets.length; i++) {
    const section = file.subarray(index.offsets[i]!, blockEnd(index, info, i));
    cursor.reset(decodeBlock(section, info.compression, 2, `block ${i}`));
    for (let more = cursor.first(); more; more = cursor.next()) {
      rows.push({
        key: cursor.keyBytes.slice(0, cursor.keyEnd),
        seq: cursor.seq,
        flags: cursor.flags,
        createTs: cursor.createTs,
        expireTs: cursor.expireTs,
        value: cursor.valueBytes.slice(cursor.valueStart, cursor.valueEnd),
      });
    }
  }
  return rows;
}
