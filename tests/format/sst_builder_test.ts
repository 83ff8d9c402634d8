/** SstBuilder and WalSstBuilder: round trips, cutting, bounds, chunks, and the empty table. @module */
import fc from "fast-check";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { compareBytes, toBytes } from "../../src/bytes/compare.ts";
import { decodeBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import { isCodecAvailable } from "../../src/format/compression.ts";
import { encodeEmptySst, SstBuilder } from "../../src/format/sst_builder.ts";
import { blockEnd, decodeFooter, decodeInfoSection, FOOTER_BYTES, readSst } from "../../src/format/sst_footer.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { zstdMissing } from "../support/codecs.ts";
import { assert, describe, it } from "../support/suite.ts";
import { addRow, anyRow, CODES, options, type Row, row, rowAt, sortedRows, sstOf, walOf } from "./row_samples.ts";

const SEED = 20291;
const anyCode = fc.constantFrom(...CODES.filter(isCodecAvailable));
const anyBlockSize = fc.constantFrom(128, 1024, 4096, 65_536);

function rowsOf(file: Uint8Array): Row[] {
  const walk = new WalRows(file);
  const rows: Row[] = [];
  while (walk.next()) rows.push(rowAt(walk));
  return rows;
}

function numbered(count: number): Row[] {
  return Array.from(
    { length: count },
    (_, i) => row(toBytes(`key${String(i).padStart(6, "0")}`), i + 1, 0, toBytes("v")),
  );
}

describe("format/sst_builder", () => {
  if (zstdMissing !== false) it("zstd", { skip: zstdMissing }, () => {});
  it(`SstBuilder gives back its rows and passes the strict check, any codec, block size and filter (seed ${SEED})`, () => {
    fc.assert(
      fc.property(sortedRows(120), anyCode, anyBlockSize, fc.nat(150), fc.constantFrom(0, 1, 7, 10, 20), (
        rows,
        compression,
        blockSizeBytes,
        minFilterKeys,
        filterBitsPerKey,
      ) => {
        const file = sstOf(rows, options({ compression, blockSizeBytes, minFilterKeys, filterBitsPerKey }));
        const contents = readSst(file);
        assert.deepEqual(rowsOf(file), rows);
        assert.equal(contents.filter !== undefined, rows.length >= minFilterKeys);
        assert.deepEqual(contents.info.firstEntry, rows[0]!.key);
        assert.deepEqual(contents.info.lastEntry, rows.at(-1)!.key);
        assert.equal(contents.stats!.numMerges, rows.filter(({ flags }) => (flags & FLAG_MERGE) !== 0).length);
        assert.equal(contents.stats!.numDeletes, rows.filter(({ flags }) => (flags & FLAG_TOMBSTONE) !== 0).length);
        assert.equal(contents.stats!.rawKeySize, rows.reduce((sum, { key }) => sum + key.length, 0));
        assert.equal(contents.stats!.rawValueSize, rows.reduce((sum, { value }) => sum + value.length, 0));
      }),
      { seed: SEED, numRuns: 150 },
    );
  });

  it(`the index leads every key to the first block that may hold it (seed ${SEED})`, () => {
    fc.assert(
      fc.property(sortedRows(120), (rows) => {
        const file = sstOf(rows, options({ blockSizeBytes: 128 }));
        const { index, info } = readSst(file);
        const cursor = new BlockCursor();
        const firstBlockOf = (key: Uint8Array): number =>
          index.offsets.findIndex((offset, i) => {
            cursor.reset(decodeBlock(file.subarray(offset, blockEnd(index, info, i)), 0, 2, `block ${i}`));
            return cursor.seekGE(key) && compareBytes(rowAt(cursor).key, key) === 0;
          });
        for (const { key } of rows) {
          let block = index.firstKeys.findLastIndex((first) => compareBytes(first, key) <= 0);
          if (block > 0 && compareBytes(index.firstKeys[block]!, key) === 0) {
            while (block > 0 && compareBytes(index.firstKeys[block]!, key) === 0) block--;
          }
          const found = firstBlockOf(key);
          assert.ok(found === block || found === block + 1, `block ${found}, index says ${block}`);
        }
      }),
      { seed: SEED, numRuns: 50 },
    );
  });

  it("a block is cut before the row that would pass the block size, and a large row has its own", () => {
    const small = numbered(3);
    const rows = [
      ...small,
      row(toBytes("key1"), 9, 0, new Uint8Array(10_000)),
      row(toBytes("key2"), 10, 0, toBytes("v")),
    ];
    const { stats, index } = readSst(sstOf(rows, options({ blockSizeBytes: 1024 })));
    assert.deepEqual(stats!.blockStats.map(({ puts }) => puts), [3, 1, 1]);
    assert.deepEqual(index.firstKeys, [new Uint8Array(0), toBytes("key1"), toBytes("key2")]);
  });

  it("block payloads fill the block size exactly but never pass it", () => {
    // Each row is 3 + 9 + 1 + 9 bytes at a restart (22), 3 + 1 + 1 + 9 = 14 after a key that differs in its last byte.
    const rows = numbered(10);
    const exact = 22 + 9 * 14 + 2 + 2;
    assert.equal(readSst(sstOf(rows, options({ blockSizeBytes: exact }))).index.offsets.length, 1);
    assert.equal(readSst(sstOf(rows, options({ blockSizeBytes: exact - 1 }))).index.offsets.length, 2);
  });

  it("index bounds are the shortest prefix above the block before, or the whole key between equal keys", () => {
    const value = new Uint8Array(200);
    const rows = [
      row(toBytes("apple"), 3, 0, value),
      row(toBytes("banana"), 2, 0, value),
      row(toBytes("bandana"), 5, 0, value),
      row(toBytes("bandana"), 4, 0, value),
      row(toBytes("bandanas"), 4, 0, value),
    ];
    const { index } = readSst(sstOf(rows, options({ blockSizeBytes: 128 })));
    assert.deepEqual(index.firstKeys, ["", "b", "band", "bandana", "bandanas"].map(toBytes));
  });

  it("add refuses rows that are not in internal order", () => {
    const wrong: [string, number][][] = [[["b", 1], ["a", 2]], [["a", 1], ["a", 1]], [["a", 1], ["a", 2]], [["ab", 1], [
      "a",
      1,
    ]]];
    for (const pair of wrong) {
      const builder = new SstBuilder(options());
      addRow(builder, row(toBytes(pair[0]![0]), pair[0]![1], 0, toBytes("")));
      assert.throws(
        () => addRow(builder, row(toBytes(pair[1]![0]), pair[1]![1], 0, toBytes(""))),
        /is not after the row/,
      );
    }
  });

  it("takeChunks hands out every finished chunk once, and the rest comes with finish", () => {
    const builder = new SstBuilder(options());
    const value = new Uint8Array(5000).map((_, i) => i);
    const taken: Uint8Array[] = [];
    let estimate = 0;
    for (let i = 0; i < 1000; i++) {
      addRow(builder, row(toBytes(String(i).padStart(5, "0")), 1, 0, value));
      taken.push(...builder.takeChunks());
      assert.ok(builder.estimatedBytes > estimate);
      estimate = builder.estimatedBytes;
    }
    assert.ok(taken.length >= 3);
    assert.ok(taken.every(({ length }) => length >= 1 << 20));
    const built = builder.finish();
    const file = joinChunks([...taken, ...built.chunks]);
    assert.equal(file.length, built.sizeBytes);
    assert.equal(readSst(file).rows, 1000);
    assert.ok(built.info.filterOffset >= estimate - 4096 && built.info.filterOffset < estimate + 100);
  });

  it("the keys given to add may be changed afterwards", () => {
    const builder = new SstBuilder(options());
    const key = toBytes("a");
    addRow(builder, row(key, 1, 0, key));
    key[0] = 98;
    addRow(builder, row(key, 1, 0, key));
    assert.deepEqual(rowsOf(joinChunks(builder.finish().chunks)).map((r) => r.key), ["a", "b"].map(toBytes));
  });

  it("encodeEmptySst is the official fence of 114 bytes, apart from the order of fields", () => {
    const text = "0c000000 0000 0600 0800 0400 06000000 04000000 00000000 177e6f0a" +
      "08000000 0400 0400 04000000 ed606b2a" +
      "1c000000 1800 1c00 0000 0000 0400 0000 0000 0000 0000 0000 0c00 1400" +
      "18000000 1c00000000000000 1c00000000000000 1000000000000000 64413efa 000000000000002c 0002";
    const official = Uint8Array.from(text.replaceAll(" ", "").match(/../g)!.map((pair) => parseInt(pair, 16)));
    const own = encodeEmptySst();
    assert.equal(official.length, 114);
    assert.equal(own.length, 114);
    assert.deepEqual(readSst(own), readSst(official));
    assert.deepEqual(decodeFooter(own, 114), { infoOffset: 0x2c, version: 2 });
    assert.deepEqual(
      decodeInfoSection(own.subarray(0x2c, 114 - FOOTER_BYTES)),
      decodeInfoSection(official.subarray(0x2c, 114 - FOOTER_BYTES)),
    );
  });
});

describe("format/wal_sst", () => {
  it(`WalRows gives the rows back in the order they were added, whatever it is (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 100, size: "max" }), anyCode, anyBlockSize, (
        rows,
        compression,
        blockSizeBytes,
      ) => {
        assert.deepEqual(rowsOf(walOf(rows, options({ compression, blockSizeBytes }))), rows);
      }),
      { seed: SEED, numRuns: 150 },
    );
  });

  it("a WAL table names its rows by sequence number", () => {
    const rows = [row(toBytes("b"), 258, 0, new Uint8Array(150)), row(toBytes("a"), 259, 0, new Uint8Array(150))];
    const { info, index, stats, filter } = readSst(walOf(rows, options({ blockSizeBytes: 200, minFilterKeys: 0 })));
    assert.deepEqual(info.firstEntry, Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 2));
    assert.equal(info.lastEntry, undefined);
    assert.deepEqual(index.firstKeys, [Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 2), Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 3)]);
    assert.deepEqual([stats, filter, info.sstType, info.filterOffset], [undefined, undefined, 1, info.indexOffset]);
  });

  it("WalRows takes a file of zero bytes, a fence, and rows in key order as a table has them", () => {
    assert.deepEqual(rowsOf(new Uint8Array(0)), []);
    assert.deepEqual(rowsOf(encodeEmptySst()), []);
    assert.deepEqual(rowsOf(walOf([])), []);
    const rows = numbered(50);
    assert.deepEqual(rowsOf(sstOf(rows, options({ minFilterKeys: 0 }))), rows);
  });

  it("the one-row WAL file of the format's text is built byte for byte up to its index", () => {
    const one = row(toBytes("apple"), 1, 0, toBytes("red"), 0x1a1fcecc31e, NO_EXPIRY);
    const expected = "0005036170706c65726564000000000000000104000001a1fcecc31e00000001244dc50c";
    const bytes = walOf([one]).subarray(0, 0x24);
    assert.equal(Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""), expected);
  });
});
