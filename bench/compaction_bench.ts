/**
 * How fast tables are merged: eight overlapping tables of 16 MiB into one run, with rows of 16 + 100 and 16 + 1008
 * bytes, from and to memory and the local disk. The longest time that others of the thread had to wait meanwhile is
 * seen by a loop that does nothing but come back.
 *
 * Run with `deno run -A bench/compaction_bench.ts` (or Bun, Node). Best of three rounds; MB/s counts what is read.
 *
 * @module
 */
import { Effect } from "effect";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { joinChunks } from "../src/bytes/chunks.ts";
import { tablePath } from "../src/format/paths.ts";
import { SstBuilder } from "../src/format/sst_builder.ts";
import { FLAG_CREATE, NO_EXPIRY, NO_TICK, type SstView } from "../src/format/types.ts";
import { BlockCache } from "../src/lsm/block_cache.ts";
import type { CompactionPlan } from "../src/lsm/compaction_job.ts";
import { TableStore } from "../src/lsm/table_store.ts";
import { faultyStore } from "../src/store/faulty_store.ts";
import { fileStore } from "../src/store/file_store.ts";
import { memoryStore } from "../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../src/store/object_store.ts";
import { type CompactionOutput, runCompaction } from "../tasks/compaction_worker.ts";
import type { Figure } from "./micro.ts";

const SOURCES = 8;
const TABLE_BYTES = Math.round(16 * 1024 * 1024 * Number(process.env["PHYLLITE_BENCH_SCALE"] ?? 1));
const KEY_BYTES = 16;
const ROUNDS = 3;
const CREATED = 1_795_244_737_377;
const ENCODING = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 } as const;

/** Random keys of one table in order, one after the other: 48 random bits, and a number that tells tables apart. */
function makeKeys(count: number, salt: number): Uint8Array {
  let state = 0x2545f491 + Math.imul(salt + 1, 0x9e3779b1);
  const random = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const heads = new Float64Array(count).map(() => random() * 65_536 + (random() >>> 16)).sort();
  const keys = new Uint8Array(count * KEY_BYTES).fill(salt);
  const view = new DataView(keys.buffer);
  heads.forEach((head, i) => {
    view.setUint32(i * KEY_BYTES, Math.floor(head / 65_536));
    view.setUint16(i * KEY_BYTES + 4, head % 65_536);
    view.setUint32(i * KEY_BYTES + 6, i);
  });
  return keys;
}

/** Stores the sources; answers one view for each. */
async function makeSources(store: ObjectStoreShape, valueBytes: number): Promise<SstView[]> {
  const value = Uint8Array.from({ length: valueBytes }, (_, i) => (i * 31) & 0xff);
  const rows = Math.floor(TABLE_BYTES / (KEY_BYTES + valueBytes));
  const views: SstView[] = [];
  for (let source = 0; source < SOURCES; source++) {
    const builder = new SstBuilder(ENCODING, TABLE_BYTES * 1.2);
    const keys = makeKeys(rows, source);
    for (let at = 0; at < keys.length; at += KEY_BYTES) {
      builder.add(keys, at, at + KEY_BYTES, SOURCES - source, FLAG_CREATE, CREATED, NO_EXPIRY, value, 0, valueBytes);
    }
    const built = builder.finish();
    const id = String(source).padStart(26, "0");
    await Effect.runPromise(store.put(tablePath("", id), joinChunks(built.chunks)));
    views.push({ viewId: id, sstId: id, info: built.info, visibleRange: undefined, formatVersion: 2 });
  }
  return views;
}

/** Comes back as often as it can; answers the longest time between two turns, ms. */
function watchTurns(): () => number {
  let longest = 0;
  let last = performance.now();
  let isOn = true;
  const turn = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (isOn) setImmediate(turn);
  };
  setImmediate(turn);
  return () => {
    isOn = false;
    return longest;
  };
}

interface Measured {
  readonly megabytesPerSecond: number;
  readonly longestMillis: number;
}

async function mergeOnce(store: ObjectStoreShape, views: SstView[], round: number): Promise<Measured> {
  const tables = new TableStore({ store, root: "", cache: new BlockCache({ blockBytes: 0, metaBytes: 0 }) });
  const bytes = views.reduce((sum, { info }) => sum + info.statsOffset + info.statsLen, 0);
  const plan: CompactionPlan = {
    spec: { l0ViewIds: [], runIds: [], destination: 0, effort: "rewrite" },
    segments: [{ kind: "merge", sources: views.map((view) => [view]), bytes }],
    isLastRun: true,
    olderSpans: [],
    minSeq: Number.MAX_SAFE_INTEGER,
    tick: NO_TICK,
    mergeBytes: bytes,
    moveBytes: 0,
  };
  let ids = 1000 * (round + 1);
  const spec = {
    store,
    tables,
    root: "",
    encoding: ENCODING,
    merge: undefined,
    mintTableId: () => String(ids++).padStart(26, "0"),
    maxSstBytes: 256 * 1024 * 1024,
  };
  const longest = watchTurns();
  const started = performance.now();
  const outputs = (await Effect.runPromise(runCompaction(spec, plan, { bytesIn: 0, bytesOut: 0 }))).flat();
  const millis = performance.now() - started;
  const longestMillis = longest();
  check(outputs, bytes);
  for (const { view } of outputs) await Effect.runPromise(store.delete(tablePath("", view.sstId)));
  return { megabytesPerSecond: bytes / 1e3 / millis, longestMillis };
}

function check(outputs: readonly CompactionOutput[], bytes: number): void {
  const out = outputs.reduce((sum, output) => sum + output.bytes, 0);
  if (Math.abs(out / bytes - 1) > 0.05) throw new Error(`${out} bytes made of ${bytes}`);
}

async function figuresOf(name: string, store: ObjectStoreShape, valueBytes: number): Promise<Figure[]> {
  const views = await makeSources(store, valueBytes);
  let best = 0;
  let longest = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const measured = await mergeOnce(store, views, round);
    best = Math.max(best, measured.megabytesPerSecond);
    longest = Math.min(longest, measured.longestMillis);
  }
  return [
    { name: `compaction: ${name}, rows of ${KEY_BYTES + valueBytes} B`, value: best, unit: "MB/s" },
    { name: `compaction: ${name}, rows of ${KEY_BYTES + valueBytes} B: longest turn`, value: longest, unit: "ms" },
  ];
}

/** All figures of this file. */
export async function run(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const valueBytes of [100, 1008]) {
    figures.push(...await figuresOf("memory", memoryStore(), valueBytes));
    const slow = faultyStore(memoryStore(), {});
    slow.controls.setLatency(15);
    figures.push(...await figuresOf("15 ms a request", slow, valueBytes));
    const folder = mkdtempSync(join(tmpdir(), "phyllite-compaction-"));
    try {
      figures.push(...await figuresOf("file", fileStore(folder), valueBytes));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return figures;
}

if (import.meta.main) {
  for (const { name, value, unit } of await run()) {
    console.log(`${name.padEnd(64)} ${value.toFixed(2).padStart(9)} ${unit}`);
  }
}
