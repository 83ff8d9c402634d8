/**
 * Tables written from memtables: the same rows, whatever the slices, and only those that retention keeps.
 *
 * @module
 */
import fc from "fast-check";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { decodeBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import type { BuiltSst } from "../../src/format/sst_builder.ts";
import { blockEnd, readSst } from "../../src/format/sst_footer.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { type Cursor, END, PENDING } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import type { RetentionRules } from "../../src/lsm/retention.ts";
import { type TableEncoding, TableWriter } from "../../src/lsm/table_writer.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20251124;
const ENCODING: TableEncoding = { blockSizeBytes: 1024, compression: 0, minFilterKeys: 10, filterBitsPerKey: 10 };
const KEEP_ALL: RetentionRules = { minSeq: 0, tick: NO_TICK, dropTombstones: false, merge: undefined };
const encoder = new TextEncoder();

type RowTuple = readonly [string, number, number, string, number, number];

function tuple(row: Cursor | BlockCursor): RowTuple {
  const text = (bytes: Uint8Array): string => Array.from(bytes).join(",");
  return [
    text(row.keyBytes.subarray(row.keyStart, row.keyEnd)),
    row.seq,
    row.flags,
    text(row.valueBytes.subarray(row.valueStart, row.valueEnd)),
    row.createTs,
    row.expireTs,
  ];
}

function rowsOfTable(built: BuiltSst): RowTuple[] {
  const file = joinChunks(built.chunks);
  assert.equal(file.length, built.sizeBytes);
  const { info, index, rows } = readSst(file);
  const found: RowTuple[] = [];
  const cursor = new BlockCursor();
  for (let i = 0; i < index.offsets.length; i++) {
    const section = file.subarray(index.offsets[i]!, blockEnd(index, info, i));
    cursor.reset(decodeBlock(section, info.compression, 2, `block ${i}`));
    for (let more = cursor.first(); more; more = cursor.next()) found.push(tuple(cursor));
  }
  assert.equal(found.length, rows);
  return found;
}

function rowsOfMemtable(table: Memtable): RowTuple[] {
  const rows: RowTuple[] = [];
  const cursor = table.cursor();
  for (let move = cursor.first(); move !== END; move = cursor.next()) rows.push(tuple(cursor));
  return rows;
}

function put(table: Memtable, key: string, seq: number, value: string, flags = 0): void {
  const [keyBytes, valueBytes] = [encoder.encode(key), encoder.encode(value)];
  table.insert(keyBytes, 0, keyBytes.length, seq, flags, seq, NO_EXPIRY, valueBytes, 0, valueBytes.length);
}

function numbered(count: number): Memtable {
  const table = new Memtable();
  for (let i = 0; i < count; i++) {
    put(table, `key${String((i * 7919) % count).padStart(6, "0")}`, i + 1, "v".repeat(50));
  }
  return table;
}

describe("TableWriter", () => {
  it(`TableWriter writes every row of a memtable with all it carries (seed ${SEED})`, () => {
    const row = fc.record({
      key: fc.uint8Array({ minLength: 1, maxLength: 20 }),
      seq: fc.integer({ min: 1, max: 50 }),
      flags: fc.constantFrom(0, FLAG_TOMBSTONE, FLAG_MERGE),
      value: fc.uint8Array({ maxLength: 200 }),
      createTs: fc.oneof(fc.constant(NO_TICK), fc.integer({ min: 0, max: 2 ** 45 })),
      expireTs: fc.oneof(fc.constant(NO_EXPIRY), fc.integer({ min: 1, max: 2 ** 45 })),
    });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 100, size: "max" }), fc.integer({ min: 1, max: 40 }), (
        rows,
        slice,
      ) => {
        const table = new Memtable();
        for (const { key, seq, flags, value, createTs, expireTs } of rows) {
          table.insert(key, 0, key.length, seq, flags, createTs, expireTs, value, 0, value.length);
        }
        const writer = new TableWriter(table.cursor(), ENCODING, KEEP_ALL);
        while (writer.step(slice));
        const built = writer.finish()!;
        // A barrier of 0 protects all reads; nothing is dropped.
        assert.deepEqual(rowsOfTable(built), rowsOfMemtable(table));
        const keys = rows.map(({ key }) => key).sort(compareBytes);
        assert.deepEqual(built.info.firstEntry, keys[0]);
        assert.deepEqual(built.info.lastEntry, keys.at(-1));
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  it("TableWriter gives the same file whatever the slices", () => {
    const table = numbered(2000);
    const whole = joinChunks(new TableWriter(table.cursor(), ENCODING, KEEP_ALL).finish()!.chunks);
    for (const [rows, bytes] of [[1, Infinity], [7, Infinity], [1999, Infinity], [Infinity, 1], [500, 3000]]) {
      const writer = new TableWriter(table.cursor(), ENCODING, KEEP_ALL);
      let steps = 1;
      while (writer.step(rows!, bytes)) steps++;
      assert.ok(steps > 1);
      assert.equal(writer.rows, 2000);
      assert.deepEqual(joinChunks(writer.finish()!.chunks), whole);
    }
  });

  it("TableWriter ends a slice after its rows or its bytes", () => {
    const writer = new TableWriter(numbered(2000).cursor(), ENCODING, KEEP_ALL);
    assert.ok(writer.step(100));
    assert.equal(writer.rows, 100);
    assert.ok(writer.step(Infinity, 10_000));
    assert.ok(writer.rows > 200 && writer.rows < 300, `${writer.rows}`);
    while (writer.step(100));
    assert.equal(writer.rows, 2000);
    assert.equal(writer.step(100), false);
  });

  it("TableWriter gives way among many versions of one key of which one stays", () => {
    const table = new Memtable();
    for (let seq = 1; seq <= 1000; seq++) put(table, "hot", seq, "v");
    const writer = new TableWriter(table.cursor(), ENCODING, { ...KEEP_ALL, minSeq: Infinity });
    let steps = 0;
    while (writer.step(100)) steps++;
    assert.equal(steps, 10);
    assert.deepEqual(rowsOfTable(writer.finish()!).map(([, seq]) => seq), [1000]);
  });

  it("TableWriter writes what retention keeps and no table when that is nothing", () => {
    const table = new Memtable();
    put(table, "a", 1, "old");
    put(table, "a", 2, "new");
    put(table, "b", 3, "", FLAG_TOMBSTONE);
    const newest = new TableWriter(table.cursor(), ENCODING, { ...KEEP_ALL, minSeq: 9 });
    assert.deepEqual(rowsOfTable(newest.finish()!).map(([, seq]) => seq), [2, 3]);
    const tombstones = new Memtable();
    put(tombstones, "a", 1, "", FLAG_TOMBSTONE);
    const rules: RetentionRules = { ...KEEP_ALL, minSeq: 9, dropTombstones: true };
    assert.equal(new TableWriter(tombstones.cursor(), ENCODING, rules).finish(), undefined);
    assert.equal(new TableWriter(new Memtable().cursor(), ENCODING, KEEP_ALL).finish(), undefined);
  });

  it("TableWriter refuses a source that has to wait", () => {
    const cursor = numbered(1).cursor();
    cursor.first = () => PENDING;
    cursor.collectNeeds = (into) => into.push({ key: "block 7" });
    assert.throws(() => new TableWriter(cursor, ENCODING, KEEP_ALL).finish(), /block 7/);
  });
});
