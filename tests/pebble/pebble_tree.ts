/**
 * An LSM tree as a test file gives it: memtables, tables of level 0 and sorted runs, with given sequence numbers.
 *
 * Tables are written by the engine's table builder into a store in memory and named by a manifest; everything is read
 * through the view that the engine makes of that manifest.
 *
 * @module
 */
import { Effect } from "effect";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { tablePath } from "../../src/format/paths.ts";
import type { BuiltSst } from "../../src/format/sst_builder.ts";
import {
  type Manifest,
  NO_TICK,
  RANGE_FORMAT,
  type RangeTombstone,
  type SortedRun,
  type SstView,
} from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { type Cursor, type Move, type Need, PENDING } from "../../src/lsm/cursor.ts";
import { fetchLookup } from "../../src/lsm/lookup.ts";
import { buildLevels, type LsmView } from "../../src/lsm/lsm_view.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { type TableEncoding, TableWriter } from "../../src/lsm/table_writer.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import type { ReadSpec } from "../../src/lsm/version_fold.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import { concat, internalOrder, testUlid, writeTable } from "../lsm/read_world.ts";
import { bytesOf, parseRows, type PebbleRows, textOf } from "./pebble_rows.ts";

/** Root of the database in its store. */
export const ROOT = "db";

/** Blocks hold a row or two, so that even small tables have several. */
const BLOCK_BYTES = 48;

/** How flushes and compactions of a tree encode tables. */
export const ENCODING: TableEncoding = {
  blockSizeBytes: BLOCK_BYTES,
  compression: 0,
  minFilterKeys: 0,
  filterBitsPerKey: 10,
};

/** Levels of the files; the run of level n has id `LEVELS - n`. */
const LEVELS = 7;

/** Run id of a level: level 1 is the newest. */
export function runIdOf(level: number): number {
  return LEVELS - level;
}

/** How tables' key bounds are narrowed. */
export type TableBounds = SstView["visibleRange"];

/** The tree. */
export class PebbleTree {
  readonly store: MemoryStore = memoryStore();
  readonly tables: TableStore;
  manifest: Manifest = emptyManifest(false);
  /** Newest first. */
  memtables: Memtable[] = [];
  /** Table ids in the order in which they were defined; the files number them from 4. */
  readonly ids: string[] = [];

  constructor() {
    this.tables = new TableStore({ store: this.store, root: ROOT, cache: new BlockCache({ blockBytes: 1 << 20 }) });
  }

  /** What a read sees. */
  get view(): LsmView {
    return { memtables: this.memtables, ...buildLevels(this.manifest, this.tables) };
  }

  /** A fresh table id, ascending. */
  mintId(): string {
    return testUlid(this.ids.length + 1000);
  }

  /** Adds a memtable that is newer than all others. */
  addMemtable(rows: PebbleRows): void {
    this.memtables.unshift(memtableOf(rows));
  }

  /** Adds a table of level 0 that is newer than those there. */
  addL0(rows: PebbleRows, bounds?: TableBounds): void {
    this.manifest = { ...this.manifest, l0: [this.write(rows, bounds), ...this.manifest.l0] };
  }

  /** Adds a table behind those of a run; a run that is not there is made. */
  addToRun(id: number, rows: PebbleRows, bounds?: TableBounds): void {
    const view = this.write(rows, bounds);
    const there = this.manifest.compacted.find((run) => run.id === id);
    const run: SortedRun = { id, ssts: [...there?.ssts ?? [], view] };
    const others = this.manifest.compacted.filter((other) => other.id !== id);
    this.manifest = { ...this.manifest, compacted: [...others, run].sort((a, b) => b.id - a.id) };
  }

  /** Writes a table. */
  write({ points, ranges }: PebbleRows, visibleRange?: TableBounds): SstView {
    const id = this.mintId();
    this.ids.push(id);
    return writeTable(this.store, ROOT, id, [...points].sort(internalOrder), {
      blockSizeBytes: BLOCK_BYTES,
      visibleRange,
      ranges: RangeSet.of(ranges).fragments(),
    });
  }

  /** The same with a table of level 0, written as a flush does, in place of each memtable. */
  flushed(): PebbleTree {
    const copy = new PebbleTree();
    for (const path of this.store.objects()) copy.store.plant(path, this.store.peek(path)!);
    copy.ids.push(...this.ids);
    copy.manifest = this.manifest;
    for (const memtable of this.memtables.toReversed()) {
      const rules = { minSeq: 0, tick: NO_TICK, dropTombstones: false, merge: concat };
      const table = new TableWriter(memtable.cursor(), ENCODING, rules, 0, memtable.ranges.all()).finish();
      if (table !== undefined) copy.#addBuilt(table);
    }
    return copy;
  }

  #addBuilt({ chunks, info }: BuiltSst): void {
    const id = this.mintId();
    this.ids.push(id);
    this.store.plant(tablePath(ROOT, id), joinChunks(chunks));
    const formatVersion = info.rangeDeletes === undefined ? 2 : RANGE_FORMAT;
    const view: SstView = { viewId: id, sstId: id, info, visibleRange: undefined, formatVersion };
    this.manifest = { ...this.manifest, l0: [view, ...this.manifest.l0] };
  }

  /** Looks a key up for a read that sees numbers below `seq`. */
  async get(key: string, seq: number): Promise<string | undefined> {
    const lookup = fetchLookup(this.tables, this.view, bytesOf(key), readBelow(seq), { cache: true });
    const row = await Effect.runPromise(lookup);
    return row === undefined ? undefined : textOf(row.value);
  }
}

/** A read that sees numbers below `seq` and folds operands by concatenation. */
export function readBelow(seq: number): ReadSpec {
  return { maxSeq: seq - 1, nowMillis: -Infinity, mergeOperator: concat };
}

/** A memtable of rows. */
export function memtableOf({ points, ranges }: PebbleRows): Memtable {
  const memtable = new Memtable();
  insertInto(memtable, points, ranges);
  return memtable;
}

/** Inserts rows. */
export function insertInto(
  memtable: Memtable,
  points: PebbleRows["points"],
  ranges: ReadonlyArray<RangeTombstone>,
): void {
  for (const { key, seq, flags, createTs, expireTs, value } of points) {
    memtable.insert(key, 0, key.length, seq, flags, createTs, expireTs, value, 0, value.length);
  }
  for (const tombstone of ranges) memtable.insertRange(tombstone);
}

/** Builds a tree of a `define` of `mem`, `L0` … `L6` parts; point rows and tombstones stand indented below. */
export function parseTree(lines: ReadonlyArray<string>): PebbleTree {
  const tree = new PebbleTree();
  let level = "";
  let rows: string[] = [];
  const finish = (): void => {
    if (level === "mem") tree.addMemtable(parseRows(rows));
    else if (level === "L0") tree.addL0(parseRows(rows));
    else if (/^L[1-6]$/.test(level)) tree.addToRun(runIdOf(Number(level.slice(1))), parseRows(rows));
    else if (level !== "") throw new Error(`not a level: ${level}`);
    rows = [];
  };
  for (const line of lines) {
    if (line.startsWith(" ")) {
      rows.push(line);
    } else {
      finish();
      level = line.trim();
    }
  }
  finish();
  return tree;
}

/** Moves a cursor, with I/O where needed. */
export async function settle(tables: TableStore, cursor: Cursor, move: () => Move): Promise<Move> {
  for (;;) {
    const answer = move();
    if (answer !== PENDING) return answer;
    const needs: Need[] = [];
    cursor.collectNeeds(needs);
    if (needs.length > 0) await Effect.runPromise(tables.fetch(needs, { cache: true }));
  }
}
