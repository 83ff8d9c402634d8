/**
 * Histories that leave databases of many shapes, written for the common face of both engines.
 *
 * Each is run with ours; the official engine opens the result. The same history run with the official engine must leave
 * the same keys, values and sequence numbers.
 *
 * @module
 */
import type { OpenOptions } from "../../src/db/options.ts";
import { COMPRESSION_NAMES } from "../../src/format/types.ts";
import type { BatchOp, Writer } from "./interop_official.ts";

/** One history. */
export interface Shape {
  readonly name: string;
  readonly merge?: boolean;
  readonly ours?: OpenOptions;
  /** Settings of the official engine that mean the same. */
  readonly official?: Readonly<Record<string, unknown>>;
  readonly walStore?: boolean;
  /** Tables are cut by their size, which the engines estimate differently. */
  readonly cutBySize?: boolean;
  /** False: writes do not wait for durability. */
  readonly durable?: boolean;
  /** Keys that may be absent, to get besides those that are there. */
  readonly probes?: readonly string[];
  /** Writes, and answers the last writer still open. `open` opens the next one. */
  readonly write: (open: () => Promise<Writer>) => Promise<Writer>;
}

/** 2100-01-01 and 2000-01-01, ms. */
const FAR = 4_102_444_800_000;
const PAST = 946_684_800_000;

/** Key number `i`. */
export function keyOf(i: number): string {
  return `key${String(i).padStart(6, "0")}`;
}

/** `length` bytes that look like chance but never change. */
export function noise(length: number, seed: number): Uint8Array {
  let state = (seed * 2654435761) >>> 0 || 1;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 255;
  });
}

/** Puts `count` rows in batches of 50. */
export async function fill(writer: Writer, count: number, valueLength: number, prefix = ""): Promise<void> {
  for (let from = 0; from < count; from += 50) {
    const ops: BatchOp[] = [];
    for (let i = from; i < Math.min(count, from + 50); i++) {
      const value = Buffer.from(noise(valueLength, i + 1)).toString("hex").slice(0, valueLength);
      ops.push({ op: "put", key: prefix + keyOf(i), value });
    }
    await writer.batch(ops);
  }
}

async function fruit(writer: Writer): Promise<void> {
  await writer.put("apple", "red");
  await writer.put("banana", "yellow");
  await writer.put("cherry", "");
  await writer.delete("apple");
}

async function bigValues(writer: Writer): Promise<void> {
  for (const [key, length] of [["a", 10], ["b", 5000], ["c", 70_000], ["d", 4096], ["e", 0]] as const) {
    await writer.put(key, noise(length, length + 1));
  }
  await writer.put(new Uint8Array(65_535).fill(0x71), "longest key");
  for (const tail of ["1", "2"]) await writer.put("p".repeat(300) + tail, tail);
  await writer.put("p".repeat(130), "z");
  for (const key of [[0], [0, 0], [255], [255, 255, 255], [255, 0]]) await writer.put(Uint8Array.from(key), `${key}`);
  for (let i = 0; i < 30; i++) await writer.put(keyOf(i), noise(200 + 40 * i, i + 1));
  await writer.flush("memtable");
}

async function merges(writer: Writer): Promise<void> {
  await writer.put("v", "base");
  await writer.merge("v", "+1");
  await writer.merge("n", "x1");
  await writer.put("d", "gone");
  await writer.delete("d");
  await writer.merge("d", "after");
  await writer.flush("memtable");
  await writer.merge("v", "+2");
  await writer.merge("n", "x2");
  await writer.merge("d", "more");
  await writer.put("p", "plain");
  await writer.merge("e", "");
  await writer.flush("memtable");
  await writer.merge("v", "+3");
  await writer.delete("n");
  await writer.merge("n", "y1");
  await writer.merge("p", "!");
  await writer.batch([
    { op: "merge", key: "bm", value: "1" },
    { op: "merge", key: "bm", value: "2" },
    { op: "put", key: "bp", value: "q" },
    { op: "put", key: "bd", value: "lost" },
    { op: "delete", key: "bd" },
    { op: "merge", key: "bd", value: "kept" },
  ]);
}

async function expiries(writer: Writer): Promise<void> {
  await writer.put("never", "1", "none");
  await writer.put("far", "2", { atMillis: FAR });
  await writer.put("past", "3", { atMillis: PAST });
  await writer.put("default", "5");
  await writer.flush("memtable");
  await writer.put("far2", "6", { atMillis: FAR + 1 });
  await writer.put("never", "hidden once expired", { atMillis: PAST });
  await writer.put("past2", "7", { atMillis: PAST });
}

async function mergedExpiries(writer: Writer): Promise<void> {
  await writer.put("a", "base", { atMillis: FAR });
  await writer.merge("a", "+later", { atMillis: FAR + 5 });
  await writer.merge("a", "+same", { atMillis: FAR });
  await writer.merge("b", "1", "none");
  await writer.merge("b", "2", { atMillis: PAST });
  await writer.flush("memtable");
  await writer.merge("a", "+never", "none");
  await writer.merge("b", "3", { atMillis: FAR });
}

async function deletes(writer: Writer): Promise<void> {
  for (let i = 0; i < 40; i++) await writer.put(keyOf(i), `a${i}`);
  await writer.flush("memtable");
  for (let i = 0; i < 40; i += 3) await writer.delete(keyOf(i));
  for (let i = 1; i < 40; i += 3) await writer.put(keyOf(i), `b${i}`);
  await writer.flush("memtable");
  for (let i = 0; i < 40; i += 6) await writer.put(keyOf(i), `c${i}`);
  await writer.flush("memtable");
  for (let i = 5; i < 40; i += 7) await writer.delete(keyOf(i));
}

async function manyTables(writer: Writer): Promise<void> {
  const dice = noise(1000, 7);
  let at = 0;
  for (let round = 0; round < 13; round++) {
    for (let i = 0; i < 12; i++) {
      const key = keyOf(dice[at++]! % 60);
      if (dice[at++]! % 5 === 0) await writer.delete(key);
      else await writer.put(key, `round ${round}`);
    }
    await writer.flush("memtable");
  }
}

async function versions(writer: Writer): Promise<void> {
  for (let version = 0; version < 4; version++) {
    for (let i = 0; i < 20; i++) {
      if ((i + version) % 5 === 4) await writer.delete(keyOf(i));
      else await writer.put(keyOf(i), `v${version}`);
    }
    await writer.hold();
  }
  await writer.flush("memtable");
}

async function batches(writer: Writer): Promise<void> {
  await writer.batch([
    { op: "put", key: "b", value: "1" },
    { op: "put", key: "a", value: "1" },
    { op: "delete", key: "zz" },
    { op: "put", key: "b", value: "2" },
  ]);
  await writer.batch([{ op: "delete", key: "a" }, { op: "put", key: "c", value: "3" }]);
  await writer.flush("memtable");
  await writer.batch(Array.from({ length: 200 }, (_, i) => ({ op: "put", key: keyOf(i), value: `${i}` })));
}

/** A history by one writer. */
function byOne(script: (writer: Writer) => Promise<void>): Shape["write"] {
  return async (open) => {
    const writer = await open();
    await script(writer);
    return writer;
  };
}

async function fourWriters(open: () => Promise<Writer>): Promise<Writer> {
  let writer = await open();
  for (let turn = 0;; turn++) {
    await writer.put(`by ${turn}`, "mine");
    await writer.put("shared", `by ${turn}`);
    if (turn === 1) await writer.flush("memtable");
    if (turn === 3) return writer;
    // Every other time the next one takes over without a close.
    if (turn % 2 === 0) await writer.close();
    writer = await open();
  }
}

/** All histories but those of {@linkcode ENCODINGS}. */
export const SHAPES: readonly Shape[] = [
  { name: "rows in the log alone", probes: ["apple", "absent"], write: byOne(fruit) },
  {
    name: "one table",
    probes: ["apple"],
    write: byOne(async (writer) => {
      await fruit(writer);
      await writer.flush("memtable");
    }),
  },
  { name: "nothing written", write: byOne(() => Promise.resolve()) },
  { name: "deletes over tables and the log", probes: [0, 3, 5, 6].map(keyOf), write: byOne(deletes) },
  { name: "merges over values, deletes and nothing", merge: true, probes: ["d", "e"], write: byOne(merges) },
  { name: "rows that expire", probes: ["past", "past2"], write: byOne(expiries) },
  { name: "merge operands that expire", merge: true, write: byOne(mergedExpiries) },
  {
    name: "a default time to live",
    ours: { defaultTtlMillis: 3_155_760_000_000 },
    official: { default_ttl: 3_155_760_000_000 },
    write: byOne(async (writer) => {
      await expiries(writer);
      await writer.delete("default");
    }),
  },
  { name: "values larger than blocks, longest key", write: byOne(bigValues) },
  {
    name: "13 overlapping tables",
    durable: false,
    probes: Array.from({ length: 60 }, (_, i) => keyOf(i)),
    write: byOne(manyTables),
  },
  { name: "several versions of a key in a table", durable: false, write: byOne(versions) },
  { name: "batches", probes: ["a", "zz"], write: byOne(batches) },
  {
    name: "no log",
    durable: false,
    ours: { wal: false },
    official: { wal_enabled: false },
    probes: ["key000003"],
    write: byOne(async (writer) => {
      for (let i = 0; i < 10; i++) await writer.put(keyOf(i), `${i}`);
      await writer.flush("memtable");
      await writer.delete(keyOf(3));
      await writer.flush("memtable");
    }),
  },
  {
    name: "the log in a store of its own",
    walStore: true,
    write: byOne(async (writer) => {
      for (let i = 0; i < 5; i++) await writer.put(keyOf(i), `${i}`);
      await writer.flush("memtable");
      await writer.put("tail", "1");
    }),
  },
  { name: "four writers in turn, two of them taken over", write: fourWriters },
  {
    name: "tables made by size while writing",
    cutBySize: true,
    durable: false,
    ours: { l0SstSizeBytes: 2000, maxUnflushedBytes: 100_000 },
    official: { l0_sst_size_bytes: 2000 },
    write: byOne(async (writer) => {
      for (let i = 0; i < 300; i++) await writer.put(keyOf(i % 70), `value ${i} ${"x".repeat(i % 40)}`);
      await writer.flush("wal");
    }),
  },
  ...[[0, 10], [1, 10], [1, 20], [10, 3]].map(([minKeys, bits]): Shape => ({
    name: `filters from ${minKeys} rows on with ${bits} bits`,
    ours: { minFilterKeys: minKeys!, filterBitsPerKey: bits! },
    official: { min_filter_keys: minKeys, filter_bits_per_key: bits },
    probes: Array.from({ length: 40 }, (_, i) => `miss${i}`),
    write: byOne(async (writer) => {
      await fill(writer, 257, 8);
      await writer.flush("memtable");
      await fill(writer, 9, 4, "b");
      await writer.put("solo", "1");
      await writer.flush("memtable");
    }),
  })),
];

/** Every codec with every block size. */
export const ENCODINGS: readonly Shape[] = COMPRESSION_NAMES.flatMap((compression) =>
  [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536].map((blockSizeBytes): Shape => ({
    name: `${compression}, blocks of ${blockSizeBytes / 1024} KiB`,
    ours: { compression, blockSizeBytes, minFilterKeys: 1 },
    official: {
      compression_codec: compression === "none" ? null : compression[0]!.toUpperCase() + compression.slice(1),
    },
    durable: false,
    probes: ["absent", keyOf(8)],
    write: byOne(async (writer) => {
      await fill(writer, 300, 60);
      await writer.put("noise", noise(3000, 5));
      await writer.put("zeros", new Uint8Array(9000));
      await writer.flush("memtable");
      await writer.put(keyOf(7), "tail");
      await writer.delete(keyOf(8));
      await writer.flush("wal");
    }),
  }))
);
