/**
 * The writer of several tables, and ending tables in slices.
 *
 * @module
 */
import { joinChunks } from "../../src/bytes/chunks.ts";
import { BloomBuilder, BloomFilter } from "../../src/format/bloom.ts";
import { type BuiltSst, SstBuilder } from "../../src/format/sst_builder.ts";
import { readSst } from "../../src/format/sst_footer.ts";
import { FLAG_CREATE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { CompactionWriter, ENDED, MORE, TABLE, WAITING } from "../../src/lsm/compaction_writer.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import type { RetentionRules } from "../../src/lsm/retention.ts";
import { TableWriter } from "../../src/lsm/table_writer.ts";
import { assert, describe, it } from "../support/suite.ts";

const ENCODING = { blockSizeBytes: 1024, compression: 0, minFilterKeys: 10, filterBitsPerKey: 10 } as const;
const KEEP_ALL: RetentionRules = { minSeq: 0, tick: NO_TICK, dropTombstones: false, merge: undefined };
const encoder = new TextEncoder();

function put(table: Memtable, key: string, seq: number, value: string, flags = 0, expireTs = NO_EXPIRY): void {
  const [keyBytes, valueBytes] = [encoder.encode(key), encoder.encode(value)];
  table.insert(keyBytes, 0, keyBytes.length, seq, flags, seq, expireTs, valueBytes, 0, valueBytes.length);
}

/** `versions` versions of each of `keys` keys. */
function versions(keys: number, count: number): Memtable {
  const table = new Memtable();
  let seq = 0;
  for (let key = 0; key < keys; key++) {
    for (let i = 0; i < count; i++) put(table, `key${String(key).padStart(5, "0")}`, ++seq, "v".repeat(100));
  }
  return table;
}

function writeAll(table: Memtable, maxSstBytes: number, maxRows: number, maxBytes: number): BuiltSst[] {
  const writer = new CompactionWriter(table.cursor(), { encoding: ENCODING, rules: KEEP_ALL, maxSstBytes });
  const tables: BuiltSst[] = [];
  for (;;) {
    const step = writer.step(maxRows, maxBytes);
    if (step === ENDED) return tables;
    assert.notEqual(step, WAITING);
    if (step === TABLE) tables.push(writer.takeTable());
  }
}

function file(table: BuiltSst): Uint8Array {
  return joinChunks(table.chunks);
}

describe("CompactionWriter", () => {
  it("CompactionWriter ends tables between keys only, at the first one after their size is reached", () => {
    const tables = writeAll(versions(40, 30), 10_000, Infinity, Infinity);
    const rows = tables.map((table) => readSst(file(table)).rows);
    // 30 versions have about 3.5 kB.
    assert.deepEqual(rows.slice(0, -1), rows.slice(0, -1).map(() => 90));
    assert.equal(rows.reduce((sum, count) => sum + count, 0), 1200);
    const bounds = tables.map(({ info }) =>
      [info.firstEntry, info.lastEntry].map((key) => new TextDecoder().decode(key))
    );
    for (let i = 1; i < bounds.length; i++) assert.ok(bounds[i - 1]![1]! < bounds[i]![0]!);
    assert.equal(writeAll(versions(5, 300), 1, Infinity, Infinity).length, 5);
    assert.equal(writeAll(versions(40, 30), Infinity, Infinity, Infinity).length, 1);
    assert.deepEqual(writeAll(new Memtable(), 1, 10, 10), []);
  });

  it("CompactionWriter makes the same tables whatever the slices", () => {
    const table = versions(60, 5);
    const whole = writeAll(table, 5000, Infinity, Infinity).map(file);
    for (const [rows, bytes] of [[1, Infinity], [7, Infinity], [Infinity, 1], [13, 700]]) {
      assert.deepEqual(writeAll(table, 5000, rows!, bytes!).map(file), whole);
    }
  });

  it("CompactionWriter answers TABLE until the table is taken, and counts the current table only", () => {
    const writer = new CompactionWriter(versions(2, 5).cursor(), {
      encoding: ENCODING,
      rules: KEEP_ALL,
      maxSstBytes: 1,
    });
    assert.throws(() => writer.takeTable(), /no table/);
    assert.equal(writer.tableBytes, 0);
    assert.equal(writer.step(3, Infinity), MORE);
    assert.equal(writer.rows, 3);
    assert.ok(writer.tableBytes > 300);
    while (writer.step(100, Infinity) === MORE);
    assert.equal(writer.step(100, Infinity), TABLE);
    assert.equal(readSst(file(writer.takeTable())).rows, 5);
    assert.deepEqual([writer.rows, writer.tableBytes], [0, 0]);
    assert.equal(writer.step(100, Infinity), TABLE);
    writer.takeTable();
    assert.equal(writer.step(100, Infinity), ENDED);
    assert.equal(writer.step(100, Infinity), ENDED);
  });

  it("TableWriter isPlain tells tables of values that never expire from others", () => {
    const rows: ReadonlyArray<readonly [number, number, boolean]> = [
      [0, NO_EXPIRY, true],
      [FLAG_TOMBSTONE, NO_EXPIRY, false],
      [FLAG_MERGE, NO_EXPIRY, false],
      [0, 1000, false],
    ];
    for (const [flags, expireTs, expected] of rows) {
      const table = new Memtable();
      put(table, "a", 1, "v");
      put(table, "b", 2, flags === FLAG_TOMBSTONE ? "" : "v", flags, expireTs);
      put(table, "c", 3, "v");
      const writer = new TableWriter(table.cursor(), ENCODING, KEEP_ALL);
      const built = writer.finish();
      assert.deepEqual([writer.isPlain, built!.isPlain], [expected, expected]);
    }
    assert.equal(new TableWriter(new Memtable().cursor(), ENCODING, KEEP_ALL).isPlain, true);
  });
});

describe("the end of a table in slices", () => {
  const fill = (rows: number): SstBuilder => {
    const builder = new SstBuilder(ENCODING);
    const value = new Uint8Array(50);
    for (let i = 0; i < rows; i++) {
      const key = encoder.encode(String(i).padStart(8, "0"));
      builder.add(key, 0, key.length, 1, FLAG_CREATE, i, NO_EXPIRY, value, 0, value.length);
    }
    return builder;
  };

  it("SstBuilder finishStep gives the same file in as many steps as it takes", () => {
    for (const rows of [0, 1, 9, 10, 5000]) {
      const whole = fill(rows).finish();
      for (const slice of [1, 100, 4999, 5000, Infinity]) {
        const builder = fill(rows);
        let steps = 1;
        while (builder.finishStep(slice)) steps++;
        const { chunks, ...rest } = builder.finish();
        assert.deepEqual(joinChunks(chunks), joinChunks(whole.chunks));
        assert.deepEqual({ ...rest, chunks: [] }, { ...whole, chunks: [] });
        // 5000 rows in the filter, then some 400 blocks in the index and as many in the stats.
        if (rows === 5000 && slice === 100) assert.ok(steps > 50 && steps < 80, `${steps} steps`);
        if (rows <= slice) assert.equal(steps, 1);
        // A turn after each section of a table that is larger than a slice: rows, filter (two), index, stats.
        if (rows === 5000 && slice === 4999) assert.equal(steps, 5);
      }
    }
  });

  it("SstBuilder makes the same file whatever size was expected", () => {
    const make = (expectedBytes: number): BuiltSst => {
      const builder = new SstBuilder(ENCODING, expectedBytes);
      const value = new Uint8Array(5000).fill(9);
      for (let i = 0; i < 2000; i++) {
        const key = encoder.encode(String(i).padStart(8, "0"));
        builder.add(key, 0, key.length, 1, FLAG_CREATE, i, NO_EXPIRY, value, 0, value.length);
      }
      return builder.finish();
    };
    const whole = make(11_000_000);
    assert.equal(whole.chunks.length, 1);
    const chunks = new Map<number, number>();
    for (const expected of [0, 5000, 3_000_000, whole.sizeBytes - 1, whole.sizeBytes, 1e9, Infinity]) {
      const built = make(expected);
      assert.deepEqual(joinChunks(built.chunks), whole.chunks[0]);
      chunks.set(expected, built.chunks.length);
    }
    // A chunk that is full is ended, not copied into a larger one.
    assert.deepEqual([...chunks.values()], [10, 10, 8, 2, 1, 2, 2]);
  });

  it("BloomBuilder finishStep gives the same filter, over the borders of its parts", () => {
    const hashes = (count: number): BloomBuilder => {
      const builder = new BloomBuilder();
      for (let i = 0; i < count; i++) {
        const key = encoder.encode(`${i}`);
        builder.add(key, 0, key.length);
      }
      return builder;
    };
    for (const count of [0, 255, 256, 257, 1024, 200_000]) {
      const whole = hashes(count).finish(10);
      assert.equal(whole.length, 2 + Math.ceil(count * 10 / 8));
      const sliced = hashes(count);
      let steps = 1;
      while (sliced.finishStep(10, 1000)) steps++;
      assert.ok(steps >= count / 1000, `${steps} steps for ${count} rows`);
      assert.deepEqual(sliced.finish(10), whole);
    }
  });

  it("BloomBuilder takes keys longer than a batch", () => {
    const keys = [3, 8192, 8193, 65_535].map((length) => new Uint8Array(length).fill(length));
    const builder = new BloomBuilder();
    for (const key of keys) builder.add(key, 0, key.length);
    const filter = BloomFilter.decode(builder.finish(10), 0);
    for (const key of keys) assert.ok(filter.mayContain(key, 0, key.length), `${key.length}`);
  });
});
