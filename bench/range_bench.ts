/**
 * Range deletes: what one costs whatever it covers, what reads over a range-deleted million cost, and the same work
 * without them: scan and delete on this engine, `clear` on classic-level.
 *
 * Run with `deno run -A bench/range_bench.ts` (or Bun, Node). All three write to folders below one temporary folder,
 * one after the other in the same process; nothing waits for the disk, as classic-level's default is. classic-level is
 * measured when `PEER_MODULES` names the folder above a `node_modules` that has it. `PHYLLITE_BENCH_SCALE` scales the
 * rows (1 = a million).
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Db, open, WriteBatch } from "../mod.ts";
import type { Figure } from "./micro.ts";
import { KEY_BYTES, makeValues, mix } from "./rows.ts";
import { median } from "./statistics.ts";

const SCALE = Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1);
const ROWS = Math.max(4000, Math.round(1_000_000 * SCALE));
const BATCH_ROWS = 1000;
/** Rows that stay, behind those that are deleted. */
const KEPT = 1000;
const GETS = 20_000;
const SCANS = 9;
const VALUES = makeValues(100);

/** What the three ways have in common. */
interface Way {
  readonly name: string;
  /** Deletes that are timed of every size; a delete that finds nothing any more must cost the same then. */
  readonly times: number;
  readonly load: (from: number, to: number) => Promise<unknown>;
  readonly deleteRange: (from: number, to: number) => Promise<unknown>;
  /** Makes what was written part of the tables on disk. */
  readonly settle: () => Promise<unknown>;
  readonly count: () => Promise<number>;
  readonly get: (i: number) => Promise<unknown>;
  readonly close: () => Promise<unknown>;
}

/** Keys in order of `i`. */
function keyAt(i: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  new DataView(key.buffer).setUint32(KEY_BYTES - 4, i);
  return key;
}

async function openOurs(folder: string): Promise<Db> {
  return await open(folder, { garbageCollector: false, maxUnflushedBytes: 1 << 30 });
}

function oursWith(db: Db, name: string, times: number, deleteRange: Way["deleteRange"]): Way {
  return {
    name,
    times,
    deleteRange,
    load: async (from, to) => {
      const batch = new WriteBatch();
      for (let i = from; i < to; i++) batch.put(keyAt(i), VALUES[i & 63]!);
      await db.write(batch, { durable: false });
    },
    settle: () => db.flush({ kind: "memtable" }),
    count: async () => {
      let rows = 0;
      for await (const batch of db.scan().batches(BATCH_ROWS)) rows += batch.length;
      return rows;
    },
    get: (i) => db.get(keyAt(i)),
    close: () => db.close(),
  };
}

async function ours(folder: string): Promise<Way> {
  const db = await openOurs(folder);
  return oursWith(db, "deleteRange", 101, (from, to) => db.deleteRange({ gte: keyAt(from), lt: keyAt(to) }, UNAWAITED));
}

const UNAWAITED = { durable: false } as const;

/** What a user would do without range deletes. */
async function byKeys(folder: string): Promise<Way> {
  const db = await openOurs(folder);
  return oursWith(db, "scan and delete", 1, async (from, to) => {
    const range = { gte: keyAt(from), lt: keyAt(to) };
    for await (const rows of db.scan(range).batches(BATCH_ROWS)) {
      const batch = new WriteBatch();
      for (const { key } of rows) batch.delete(key);
      await db.write(batch, UNAWAITED);
    }
  });
}

/** The part of classic-level that is measured. */
interface ClassicLevel {
  open(): Promise<void>;
  batch(operations: readonly object[]): Promise<void>;
  clear(range: object): Promise<void>;
  compactRange(from: Uint8Array, to: Uint8Array): Promise<void>;
  iterator(): { nextv(many: number): Promise<readonly unknown[]>; close(): Promise<void> };
  get(key: Uint8Array): Promise<unknown>;
  close(): Promise<void>;
}

async function classicLevel(folder: string): Promise<Way | undefined> {
  const modules = process.env["PEER_MODULES"];
  if (modules === undefined || modules === "") return undefined;
  const encodings = { keyEncoding: "view", valueEncoding: "view" };
  const { ClassicLevel } = createRequire(join(modules, "from.js"))("classic-level") as {
    ClassicLevel: new (folder: string, options: object) => ClassicLevel;
  };
  const db = new ClassicLevel(folder, encodings);
  await db.open();
  return {
    name: "classic-level clear",
    times: 1,
    load: (from, to) =>
      db.batch(Array.from({ length: to - from }, (_, i) => {
        return { type: "put", key: keyAt(from + i), value: VALUES[(from + i) & 63]! };
      })),
    deleteRange: (from, to) => db.clear({ gte: keyAt(from), lt: keyAt(to) }),
    settle: () => Promise.resolve(),
    count: async () => {
      const rows = db.iterator();
      let count = 0;
      for (let many = -1; many !== 0; count += many) many = (await rows.nextv(BATCH_ROWS)).length;
      await rows.close();
      return count;
    },
    get: (i) => db.get(keyAt(i)),
    close: () => db.close(),
  };
}

async function millis(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Deletes of one key, of a thousand, and of all but the last thousand; then reads of what is left. */
async function measure(way: Way): Promise<Figure[]> {
  const figures: Figure[] = [];
  const note = (what: string, value: number, unit: string) =>
    figures.push({ name: `${what}, ${way.name}`, value, unit });
  for (let at = 0; at < ROWS; at += BATCH_ROWS) await way.load(at, Math.min(ROWS, at + BATCH_ROWS));
  await way.settle();
  const many = ROWS - KEPT;
  for (
    const [keys, times] of [[1, 101], [Math.min(1000, ROWS >> 3), Math.max(3, way.times)], [many, way.times]] as const
  ) {
    const taken: number[] = [];
    for (let i = 0; i < times; i++) {
      const from = Math.max(0, many - (i + 1) * keys);
      taken.push(await millis(() => way.deleteRange(from, from + keys)));
    }
    note(`delete a range of ${keys} keys`, median(taken) * 1000, "us");
  }
  await way.settle();
  const scans: number[] = [];
  for (let i = 0; i < SCANS; i++) {
    let rows = 0;
    scans.push(await millis(async () => void (rows = await way.count())));
    if (rows !== KEPT) throw new Error(`${way.name}: ${rows} rows are left, not ${KEPT}`);
  }
  note(`scan over ${many} deleted rows to ${KEPT} others`, median(scans), "ms");
  const gets = await millis(async () => {
    for (let i = 0; i < GETS; i++) {
      if (await way.get(mix(i) % many) !== undefined) throw new Error(`${way.name}: a deleted row is there`);
    }
  });
  note("get of a deleted row", GETS / gets, "k/s");
  return figures;
}

/** Measures everything. */
export async function run(): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), "phyllite-ranges-"));
  const figures: Figure[] = [];
  try {
    for (const [i, make] of [ours, byKeys, classicLevel].entries()) {
      const way = await make(join(folder, String(i)));
      if (way === undefined) continue;
      figures.push(...await measure(way));
      await way.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return figures;
}

if (import.meta.main) {
  for (const { name, value, unit } of await run()) {
    console.log(`${name.padEnd(70)} ${value.toFixed(1).padStart(12)} ${unit}`);
  }
}
