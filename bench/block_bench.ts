/**
 * Speed of the format's inner loops: building and reading blocks, hashes, filters, checksums, codecs.
 *
 * Rows are 16-byte keys with 100-byte values unless a name says otherwise, blocks are 4 KiB. Every figure is the best of several
 * rounds, since the question is what the code can do, not what the machine was busy with.
 *
 * @module
 */
import { joinChunks } from "../src/bytes/chunks.ts";
import { crc32, crc32Portable } from "../src/bytes/crc32.ts";
import { sipHash13 } from "../src/bytes/siphash.ts";
import { type Block, decodeBlock } from "../src/format/block.ts";
import { BlockCursor } from "../src/format/block_cursor.ts";
import { BloomBuilder, BloomFilter } from "../src/format/bloom.ts";
import { compress, decompress } from "../src/format/compression.ts";
import { type BuiltSst, SstBuilder } from "../src/format/sst_builder.ts";
import { blockEnd } from "../src/format/sst_footer.ts";
import { NO_EXPIRY } from "../src/format/types.ts";
import type { Figure } from "./micro.ts";

const ROWS = 50_000;
const KEY_BYTES = 16;
const ROUNDS = 7;
const CREATED = 1_795_244_737_377;

/** Best rate of several rounds: `work` units a second. */
function rate(work: number, round: () => void): number {
  let best = Infinity;
  for (let i = 0; i < ROUNDS; i++) {
    const started = performance.now();
    round();
    best = Math.min(best, performance.now() - started);
  }
  return work / best * 1000;
}

/** Sorted keys, one after the other: 8 digits that differ, 8 that repeat a pattern. */
function makeKeys(): Uint8Array {
  const keys = new Uint8Array(ROWS * KEY_BYTES);
  for (let i = 0; i < ROWS; i++) {
    let mixed = i;
    for (let d = 7; d >= 0; d--) {
      keys[i * KEY_BYTES + d] = 48 + (d < 3 ? 0 : Math.floor(i / 10 ** (7 - d)) % 10);
      mixed = Math.imul(mixed, 1_103_515_245) + 12_345;
      keys[i * KEY_BYTES + 8 + d] = 97 + ((mixed >>> 16) % 26);
    }
  }
  return keys;
}

function makeValues(): Uint8Array {
  const values = new Uint8Array(4096);
  let mixed = 1;
  for (let i = 0; i < values.length; i++) {
    mixed = Math.imul(mixed, 1_103_515_245) + 12_345;
    values[i] = i % 3 === 0 ? 97 + ((mixed >>> 16) % 26) : 120;
  }
  return values;
}

function buildTable(keys: Uint8Array, values: Uint8Array, valueBytes: number, minFilterKeys: number): BuiltSst {
  const options = { blockSizeBytes: 4096, compression: 0 as const, minFilterKeys, filterBitsPerKey: 10 };
  const builder = new SstBuilder(options);
  for (let i = 0; i < ROWS; i++) {
    const from = (i * 7) % 2048;
    const key = i * KEY_BYTES;
    builder.add(keys, key, key + KEY_BYTES, i + 1, 0, CREATED + i, NO_EXPIRY, values, from, from + valueBytes);
  }
  return builder.finish();
}

function blocksOf(table: BuiltSst): Block[] {
  const file = joinChunks(table.chunks);
  return table.index.offsets.map((offset, i) =>
    decodeBlock(file.subarray(offset, blockEnd(table.index, table.info, i)), 0, 2, "block")
  );
}

let sink = 0;

function scan(blocks: readonly Block[], cursor: BlockCursor, forward: boolean): void {
  for (const block of blocks) {
    cursor.reset(block);
    for (let on = forward ? cursor.first() : cursor.last(); on; on = forward ? cursor.next() : cursor.prev()) {
      sink += cursor.keyHi + cursor.keyLo + cursor.valueEnd + cursor.seq;
    }
  }
}

function blockFigures(keys: Uint8Array, values: Uint8Array, valueBytes: number): Figure[] {
  const label = valueBytes === 100 ? "" : ` (${valueBytes} B values)`;
  const megabytes = ROWS * (KEY_BYTES + valueBytes) / 1e6;
  const encode = rate(megabytes, () => sink += buildTable(keys, values, valueBytes, Infinity).sizeBytes);
  const blocks = blocksOf(buildTable(keys, values, valueBytes, Infinity));
  const cursor = new BlockCursor();
  const forward = rate(ROWS / 1e6, () => scan(blocks, cursor, true));
  const backward = rate(ROWS / 1e6, () => scan(blocks, cursor, false));
  const perBlock = Math.floor(ROWS / blocks.length);
  const target = new Uint8Array(KEY_BYTES);
  const seeks = rate(ROWS / 1e6, () => {
    for (let n = 0; n < ROWS; n++) {
      const i = (n * 7919) % ROWS;
      target.set(keys.subarray(i * KEY_BYTES, i * KEY_BYTES + KEY_BYTES));
      cursor.reset(blocks[Math.min(Math.floor(i / perBlock), blocks.length - 1)]!);
      if (cursor.seekGE(target)) sink += cursor.seq;
    }
  });
  return [
    { name: `encode table${label}`, value: encode, unit: "MB/s" },
    { name: `decode rows forward${label}`, value: forward, unit: "M/s" },
    { name: `decode rows backward${label}`, value: backward, unit: "M/s" },
    { name: `seek in block${label}`, value: seeks, unit: "M/s" },
  ];
}

function hashFigures(keys: Uint8Array): Figure[] {
  const out = new Uint32Array(2);
  const sip = rate(ROWS / 1e6, () => {
    for (let i = 0; i < ROWS; i++) sipHash13(keys, i * KEY_BYTES, (i + 1) * KEY_BYTES, out);
  });
  let payload: Uint8Array = new Uint8Array(0);
  const build = rate(ROWS / 1e6, () => {
    const builder = new BloomBuilder();
    for (let i = 0; i < ROWS; i++) builder.add(keys, i * KEY_BYTES, (i + 1) * KEY_BYTES);
    payload = builder.finish(10);
  });
  const filter = BloomFilter.decode(payload, 0);
  const absent = keys.map((byte) => byte ^ 1);
  const probe = rate(ROWS / 1e6, () => {
    for (let i = 0; i < ROWS; i++) sink += filter.mayContain(absent, i * KEY_BYTES, (i + 1) * KEY_BYTES) ? 1 : 0;
  });
  return [
    { name: "sipHash13 of 16 B", value: sip, unit: "M/s" },
    { name: "bloom build", value: build, unit: "M/s" },
    { name: "bloom probe, absent keys", value: probe, unit: "M/s" },
  ];
}

function codecFigures(values: Uint8Array): Figure[] {
  const times = 500;
  const megabytes = times * values.length / 1e6;
  const each = (work: () => number) =>
    rate(megabytes, () => {
      for (let i = 0; i < times; i++) sink += work();
    });
  const figures: Figure[] = [
    { name: "crc32 of 4 KiB", value: each(() => crc32(values, 0, values.length)), unit: "MB/s" },
    { name: "crc32 of 4 KiB, plain", value: each(() => crc32Portable(values, 0, values.length)), unit: "MB/s" },
  ];
  for (const [code, name] of [[3, "lz4"], [1, "snappy"]] as const) {
    const packed = compress(code, values);
    figures.push(
      { name: `${name} compress 4 KiB`, value: each(() => compress(code, values).length), unit: "MB/s" },
      { name: `${name} decompress 4 KiB`, value: each(() => decompress(code, packed, 4096).length), unit: "MB/s" },
    );
  }
  return figures;
}

/** Measures everything; about two seconds. */
export function run(): Figure[] {
  const keys = makeKeys();
  const values = makeValues();
  const figures = [
    ...blockFigures(keys, values, 100),
    ...blockFigures(keys, values, 1024),
    ...hashFigures(keys),
    ...codecFigures(values),
  ];
  if (Number.isNaN(sink)) throw new Error("nothing was measured");
  return figures;
}
