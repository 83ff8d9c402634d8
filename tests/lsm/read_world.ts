/**
 * Random databases for read tests, and a naive model of what must be read from them.
 *
 * A world is a list of versions with rising sequence numbers, cut into sources the way an engine would: the newest in
 * memtables, then level 0, then runs whose tables are cut between rows, also between versions of one key, as the
 * official compactor does. References may have a visible range. The model knows only the list of rows that exist.
 *
 * @module
 */
import { Effect } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Entry } from "../../src/db/api.ts";
import { tablePath } from "../../src/format/paths.ts";
import { SstBuilder } from "../../src/format/sst_builder.ts";
import {
  type CompressionCode,
  FLAG_CREATE,
  FLAG_EXPIRE,
  FLAG_MERGE,
  FLAG_TOMBSTONE,
  NO_EXPIRY,
  NO_TICK,
  RANGE_FORMAT,
  type RangeTombstone,
  type SstView,
} from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import type { LsmView, RunRef } from "../../src/lsm/lsm_view.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import type { FoldMerge } from "../../src/lsm/merge_operator.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import type { ReadSpec } from "../../src/lsm/version_fold.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";

/** One version of one key. */
export interface ModelRow {
  readonly key: Uint8Array;
  readonly seq: number;
  readonly flags: number;
  readonly createTs: number;
  readonly expireTs: number;
  readonly value: Uint8Array;
}

/** A small generator with a seed: the same numbers on every runtime. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0;
  }

  /** 0..below-1. */
  roll(below: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  }

  chance(percent: number): boolean {
    return this.roll(100) < percent;
  }

  pick<A>(of: ReadonlyArray<A>): A {
    return of[this.roll(of.length)]!;
  }
}

/** Knobs of a world. */
export interface WorldOptions {
  readonly keys?: number;
  readonly seqs?: number;
  readonly clips?: boolean;
  readonly merges?: boolean;
  /** Range tombstones in every source. */
  readonly ranges?: boolean;
  readonly blockBytes?: number;
  readonly metaBytes?: number;
}

/** A database and what it holds. */
export interface World {
  readonly store: MemoryStore;
  readonly tables: TableStore;
  readonly view: LsmView;
  /** Rows that exist for the view, hidden by range tombstones or not, in internal order. */
  readonly rows: ReadonlyArray<ModelRow>;
  /** Range tombstones that exist for the view. */
  readonly ranges: ReadonlyArray<RangeTombstone>;
  readonly keys: ReadonlyArray<Uint8Array>;
  readonly maxSeq: number;
}

const ULID_TAIL = "0000000000000000000000";
/** The digits of a ULID: those of numbers to the base 32, but without I, L, O and U. */
const ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A table id for tests: another one for every number below 2 ** 20, in their order. */
export function testUlid(n: number): string {
  const digits = n.toString(32).replace(/./g, (digit) => ULID_DIGITS[parseInt(digit, 32)]!);
  return (digits.padStart(4, "0") + ULID_TAIL).slice(0, 26);
}

export function internalOrder(a: ModelRow, b: ModelRow): number {
  return compareBytes(a.key, b.key) || b.seq - a.seq;
}

/** Writes a table with `rows` and answers its reference as a manifest would hold it. */
export function writeTable(
  store: MemoryStore,
  root: string,
  id: string,
  rows: ReadonlyArray<ModelRow>,
  options: {
    readonly blockSizeBytes: number;
    readonly compression?: CompressionCode;
    readonly minFilterKeys?: number;
    readonly visibleRange?: SstView["visibleRange"];
    readonly hideLast?: boolean;
    readonly ranges?: ReadonlyArray<RangeTombstone>;
  },
): SstView {
  const builder = new SstBuilder({
    blockSizeBytes: options.blockSizeBytes,
    compression: options.compression ?? 0,
    minFilterKeys: options.minFilterKeys ?? 0,
    filterBitsPerKey: 10,
  });
  for (const { key, seq, flags, createTs, expireTs, value } of rows) {
    builder.add(key, 0, key.length, seq, flags, createTs, expireTs, value, 0, value.length);
  }
  const ranges = options.ranges ?? [];
  builder.setRanges(ranges);
  const built = builder.finish();
  const body = new Uint8Array(built.sizeBytes);
  let at = 0;
  for (const chunk of built.chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  store.plant(tablePath(root, id), body);
  const info = options.hideLast === true ? { ...built.info, lastEntry: undefined } : built.info;
  const formatVersion = ranges.length > 0 ? RANGE_FORMAT : 2;
  return { viewId: id, sstId: id, info, visibleRange: options.visibleRange, formatVersion };
}

function makeKeys(dice: Dice, count: number): Uint8Array[] {
  const text = new TextEncoder();
  const shapes = [
    () => text.encode(`user${String(dice.roll(60)).padStart(4, "0")}`),
    () => text.encode(`user0000000${dice.roll(30)}`),
    () => Uint8Array.from({ length: 1 + dice.roll(4) }, () => dice.pick([0, 1, 0x61, 0xff])),
    () => text.encode("ab".repeat(dice.roll(12)) + "c"),
    () => Uint8Array.from({ length: 9 + dice.roll(40) }, (_, i) => i < 8 ? 0x70 : dice.roll(3)),
  ];
  const keys = new Map<string, Uint8Array>();
  for (let i = 0; i < count; i++) {
    const key = dice.pick(shapes)();
    keys.set(key.join(","), key);
  }
  return [...keys.values()].sort(compareBytes);
}

function makeRow(dice: Dice, key: Uint8Array, seq: number, merges: boolean): ModelRow {
  const kind = dice.roll(10);
  const createTs = dice.chance(90) ? 1000 + dice.roll(500) : NO_TICK;
  const tombstone = kind < 2;
  const merge = merges && kind > 6;
  const expireTs = !tombstone && dice.chance(25) ? 1200 + dice.roll(600) : NO_EXPIRY;
  const value = tombstone
    ? new Uint8Array(0)
    : Uint8Array.from({ length: dice.chance(5) ? 300 : dice.roll(14) }, () => 97 + (seq % 26));
  const flags = (tombstone ? FLAG_TOMBSTONE : 0) | (merge ? FLAG_MERGE : 0) |
    (createTs === NO_TICK ? 0 : FLAG_CREATE) | (expireTs === NO_EXPIRY ? 0 : FLAG_EXPIRE);
  return { key, seq, flags, createTs, expireTs, value };
}

/** Rows of `seqs` sequence numbers, each a batch of distinct keys. */
export function makeRows(dice: Dice, keys: ReadonlyArray<Uint8Array>, seqs: number, merges: boolean): ModelRow[] {
  const rows: ModelRow[] = [];
  for (let seq = 1; seq <= seqs; seq++) {
    const batch = new Set<Uint8Array>();
    for (let i = dice.roll(4); i >= 0; i--) batch.add(dice.pick(keys));
    for (const key of batch) rows.push(makeRow(dice, key, seq, merges));
  }
  return rows;
}

/** Some range tombstones with numbers up to `seqs`. */
function makeRanges(dice: Dice, keys: ReadonlyArray<Uint8Array>, seqs: number): RangeTombstone[] {
  return Array.from({ length: 1 + dice.roll(12) }, () => {
    const [low, high] = [dice.pick(keys), dice.pick(keys)].sort(compareBytes);
    const start = dice.chance(15) ? new Uint8Array(0) : low!;
    const isEmpty = compareBytes(start, high!) === 0;
    const end = dice.chance(15) ? undefined : isEmpty ? Uint8Array.of(...high!, 0) : high!;
    return { start, end, seq: 1 + dice.roll(seqs), createTs: 1000 };
  });
}

class WorldBuilder {
  readonly store = memoryStore();
  readonly rows: ModelRow[] = [];
  readonly ranges: RangeTombstone[] = [];
  readonly dice: Dice;
  readonly tables: TableStore;
  readonly clips: boolean;
  #ids = 1;

  constructor(dice: Dice, options: WorldOptions) {
    this.dice = dice;
    this.clips = options.clips ?? true;
    const cache = new BlockCache({
      blockBytes: options.blockBytes ?? dice.pick([0, 700, 3000, 1 << 20]),
      metaBytes: options.metaBytes ?? dice.pick([0, 400, 1 << 20]),
    });
    this.tables = new TableStore({ store: this.store, root: "db", cache });
  }

  memtable(rows: ReadonlyArray<ModelRow>, ranges: ReadonlyArray<RangeTombstone>): Memtable {
    const memtable = new Memtable();
    for (const tombstone of ranges) memtable.insertRange(tombstone);
    this.ranges.push(...ranges);
    for (const { key, seq, flags, createTs, expireTs, value } of rows) {
      memtable.insert(key, 0, key.length, seq, flags, createTs, expireTs, value, 0, value.length);
    }
    this.rows.push(...rows);
    return memtable;
  }

  /** A table of rows in internal order. */
  table(rows: ReadonlyArray<ModelRow>, ranges: ReadonlyArray<RangeTombstone>): TableRef {
    const { dice } = this;
    const range = this.clips && rows.length > 0 && dice.chance(25) ? this.#clip(rows) : undefined;
    const view = writeTable(this.store, "db", testUlid(this.#ids++), rows, {
      blockSizeBytes: dice.pick([64, 100, 256, 4096]),
      compression: dice.pick([0, 0, 0, 2]),
      minFilterKeys: dice.pick([0, 0, 1000]),
      visibleRange: range,
      hideLast: dice.chance(20),
      ranges,
    });
    const inside = (key: Uint8Array): boolean => {
      const { start, end } = range!;
      const low = start.key === undefined ? 1 : compareBytes(key, start.key);
      const high = end.key === undefined ? -1 : compareBytes(key, end.key);
      return (low > 0 || (low === 0 && start.inclusive)) && (high < 0 || (high === 0 && end.inclusive));
    };
    this.rows.push(...(range === undefined ? rows : rows.filter((row) => inside(row.key))));
    const ref = new TableRef(this.tables.table(view), view);
    this.ranges.push(...RangeSet.of(ranges).clipped(ref.clipStart, ref.clipEnd).source);
    return ref;
  }

  #clip(rows: ReadonlyArray<ModelRow>): SstView["visibleRange"] {
    const { dice } = this;
    const [low, high] = [dice.pick(rows).key, dice.pick(rows).key].sort(compareBytes);
    return {
      start: dice.chance(30) ? { key: undefined, inclusive: false } : { key: low, inclusive: dice.chance(70) },
      end: dice.chance(30) ? { key: undefined, inclusive: false } : { key: high, inclusive: dice.chance(50) },
    };
  }

  run(id: number, rows: ReadonlyArray<ModelRow>, ranges: ReadonlyArray<RangeTombstone>): RunRef {
    const tables: TableRef[] = [];
    if (rows.length === 0) return { id, tables: [this.table(rows, RangeSet.of(ranges).fragments())] };
    for (let at = 0; at < rows.length;) {
      let end = Math.min(rows.length, at + 1 + this.dice.roll(Math.max(1, Math.ceil(rows.length / 2))));
      // Tables that have range tombstones do not share keys.
      const isSplit = () => compareBytes(rows[end - 1]!.key, rows[end]!.key) === 0;
      while (ranges.length > 0 && end < rows.length && isSplit()) end++;
      const part = RangeSet.of(ranges).clipped(at === 0 ? undefined : rows[at]!.key, rows[end]?.key);
      tables.push(this.table(rows.slice(at, end), part.fragments()));
      at = end;
    }
    return { id, tables };
  }
}

/** Makes a world of a seed. */
export function makeWorld(seed: number, options: WorldOptions = {}): World {
  const dice = new Dice(seed);
  const builder = new WorldBuilder(dice, options);
  const keys = makeKeys(dice, options.keys ?? 3 + dice.roll(40));
  const seqs = options.seqs ?? 10 + dice.roll(120);
  const all = makeRows(dice, keys, seqs, options.merges ?? true);
  const allRanges = options.ranges === true ? makeRanges(dice, keys, seqs) : [];
  const shape = { memtables: 1 + dice.roll(3), l0: dice.roll(5), runs: dice.roll(4) };
  const pieces = shape.memtables + shape.l0 + shape.runs;
  const cuts = Array.from({ length: pieces - 1 }, () => dice.roll(seqs + 1)).sort((a, b) => b - a);
  const memtables: Memtable[] = [];
  const l0: TableRef[] = [];
  const runs: RunRef[] = [];
  let newest = seqs;
  for (let piece = 0; piece < pieces; piece++) {
    const oldest = piece < pieces - 1 ? cuts[piece]! : 0;
    const rows = all.filter((row) => row.seq <= newest && row.seq > oldest).sort(internalOrder);
    const ranges = allRanges.filter(({ seq }) => seq <= newest && seq > oldest);
    newest = oldest;
    if (piece < shape.memtables) memtables.push(builder.memtable(rows, ranges));
    else if (rows.length + ranges.length === 0) continue;
    else if (piece < shape.memtables + shape.l0) l0.push(builder.table(rows, RangeSet.of(ranges).fragments()));
    else runs.push(builder.run(pieces - piece, rows, ranges));
  }
  builder.rows.sort(internalOrder);
  return {
    store: builder.store,
    tables: builder.tables,
    view: { memtables, l0, runs },
    rows: builder.rows,
    ranges: builder.ranges,
    keys,
    maxSeq: seqs,
  };
}

/** What a read must answer about `key`: naive and slow. */
export function modelGet(
  rows: ReadonlyArray<ModelRow>,
  key: Uint8Array,
  spec: ReadSpec,
  ranges: ReadonlyArray<RangeTombstone> = [],
): Entry | undefined {
  const hiddenBelow = ranges.filter(({ start, end, seq }) =>
    seq <= spec.maxSeq && compareBytes(start, key) <= 0 && (end === undefined || compareBytes(key, end) < 0)
  ).reduce((newest, { seq }) => Math.max(newest, seq), 0);
  const isThere = (row: ModelRow) => row.seq <= spec.maxSeq && row.seq >= hiddenBelow;
  const versions = rows.filter((row) => compareBytes(row.key, key) === 0 && isThere(row))
    .sort((a, b) => b.seq - a.seq);
  const used: ModelRow[] = [];
  let base: ModelRow | undefined;
  for (const row of versions) {
    const expired = row.expireTs <= spec.nowMillis;
    if ((row.flags & FLAG_MERGE) !== 0) {
      if (!expired) used.push(row);
      continue;
    }
    if ((row.flags & FLAG_TOMBSTONE) === 0 && !expired) {
      base = row;
      used.push(row);
    }
    break;
  }
  if (used.length === 0) return undefined;
  const parts = used.filter((row) => row !== base).reverse();
  const value = [...(base?.value ?? []), ...parts.flatMap((row) => [...row.value])];
  const expireTs = Math.min(...used.map((row) => row.expireTs));
  const createTs = Math.max(...used.map((row) => row.createTs));
  return {
    key,
    value: Uint8Array.from(value),
    seq: Math.max(...used.map((row) => row.seq)),
    createdAt: createTs === NO_TICK ? 0 : createTs,
    ...(expireTs === NO_EXPIRY ? {} : { expiresAt: expireTs }),
  };
}

/** All rows that a scan of everything must answer, ascending. */
export function modelScan(
  rows: ReadonlyArray<ModelRow>,
  spec: ReadSpec,
  ranges: ReadonlyArray<RangeTombstone> = [],
): Entry[] {
  const keys = new Map<string, Uint8Array>();
  for (const row of rows) keys.set(row.key.join(","), row.key);
  return [...keys.values()].sort(compareBytes).map((key) => modelGet(rows, key, spec, ranges)).filter((row) =>
    row !== undefined
  );
}

/** Entries as text that compares and prints well. */
export function show(entry: Entry | undefined): string {
  if (entry === undefined) return "-";
  const text = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${text(entry.key)}=${text(entry.value)}#${entry.seq}@${entry.createdAt}!${entry.expiresAt ?? ""}`;
}

/** Runs an effect that never waits. */
export function now<A, E>(effect: Effect.Effect<A, E>): A {
  return Effect.runSync(effect);
}

/** A merge operator: concatenation. */
export const concat: FoldMerge = (_key, base, operands) => {
  const bytes = [...(base ?? [])];
  for (const operand of operands) bytes.push(...operand);
  return Uint8Array.from(bytes);
};
