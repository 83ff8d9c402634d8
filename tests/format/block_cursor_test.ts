/** BlockCursor against an array of rows: every move, both versions, blocks of our own and of foreign writers. @module */
import fc from "fast-check";
import { compareBytes, keyWord } from "../../src/bytes/compare.ts";
import { type Block, BlockBuilder, blockBytes, parseBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import { assert, describe, it } from "../support/suite.ts";
import { anyKey, blockV1, foreignBlockV2, readAsV1, type Row, row, rowAt, sortedRows } from "./row_samples.ts";

const SEED = 20271;

function ownBlock(rows: readonly Row[]): Block {
  const builder = new BlockBuilder();
  for (const r of rows) {
    const common = builder.commonWithLast(r.key, 0, r.key.length);
    builder.add(common, r.key, 0, r.key.length, r.seq, r.flags, r.createTs, r.expireTs, r.value, 0, r.value.length);
  }
  builder.finish();
  return parseBlock(builder.rows.toBytes(), 2, "block 0");
}

const anyBlock: fc.Arbitrary<{ rows: Row[]; block: Block }> = fc.tuple(
  sortedRows(80),
  fc.constantFrom("own", "foreign", "v1"),
  fc.uint8Array({ minLength: 1, maxLength: 40 }),
).map(([rows, kind, draws]) => {
  // Restart offsets have 16 bits: keep every row but the last below 64 KiB.
  let room = 60_000;
  const kept = rows.filter((r) => (room -= r.key.length + r.value.length + 40) > 0);
  if (kind === "own") return { rows: kept, block: ownBlock(kept) };
  if (kind === "v1") return { rows: kept.map(readAsV1), block: parseBlock(blockV1(kept), 1, "block 0") };
  return { rows: kept, block: parseBlock(foreignBlockV2(kept, (i) => draws[i % draws.length]!), 2, "block 0") };
});

function assertOn(cursor: BlockCursor, rows: readonly Row[], index: number): void {
  const expected = rows[index]!;
  assert.deepEqual(rowAt(cursor), expected);
  assert.equal(cursor.keyStart, 0);
  assert.equal(cursor.keyHi, keyWord(expected.key, 0, expected.key.length));
  assert.equal(cursor.keyLo, keyWord(expected.key, 4, expected.key.length));
}

function firstAtOrAfter(rows: readonly Row[], key: Uint8Array): number {
  const index = rows.findIndex((r) => compareBytes(r.key, key) >= 0);
  return index < 0 ? rows.length : index;
}

describe("format/block_cursor", () => {
  it(`next and prev visit every row in order and end (seed ${SEED})`, () => {
    fc.assert(
      fc.property(anyBlock, ({ rows, block }) => {
        const cursor = new BlockCursor();
        cursor.reset(block);
        let count = 0;
        for (let on = cursor.first(); on; on = cursor.next()) assertOn(cursor, rows, count++);
        assert.equal(count, rows.length);
        for (let on = cursor.last(); on; on = cursor.prev()) assertOn(cursor, rows, --count);
        assert.equal(count, 0);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it(`seekGE and seekLT land where a linear search does, for present, absent and prefix keys (seed ${SEED})`, () => {
    fc.assert(
      fc.property(anyBlock, fc.array(anyKey, { maxLength: 20, size: "max" }), ({ rows, block }, others) => {
        const cursor = new BlockCursor();
        cursor.reset(block);
        const near = rows.flatMap(({ key }) => [key, key.subarray(0, key.length - 1), Uint8Array.of(...key, 0)]);
        for (const key of [...near, ...others, new Uint8Array(0)]) {
          const index = firstAtOrAfter(rows, key);
          assert.equal(cursor.seekGE(key), index < rows.length);
          if (index < rows.length) assertOn(cursor, rows, index);
          assert.equal(cursor.seekLT(key), index > 0);
          if (index > 0) assertOn(cursor, rows, index - 1);
        }
      }),
      { seed: SEED, numRuns: 150 },
    );
  });

  it(`any sequence of moves, on one cursor over several blocks, agrees with an index into the array (seed ${SEED})`, () => {
    const move = fc.tuple(fc.constantFrom("next", "prev", "next", "prev", "first", "last", "ge", "lt"), fc.nat());
    fc.assert(
      fc.property(
        fc.array(anyBlock, { minLength: 1, maxLength: 3, size: "max" }),
        fc.array(move, { maxLength: 120, size: "max" }),
        (all, moves) => {
          const cursor = new BlockCursor();
          for (const { rows, block } of all) {
            cursor.reset(block);
            let at = -1;
            for (const [name, draw] of moves) {
              const key = rows[draw % rows.length]!.key;
              let on: boolean;
              if (name === "first" || at < 0) [on, at] = [cursor.first(), 0];
              else if (name === "last") [on, at] = [cursor.last(), rows.length - 1];
              else if (name === "next") [on, at] = [cursor.next(), at + 1];
              else if (name === "prev") [on, at] = [cursor.prev(), at - 1];
              else if (name === "ge") [on, at] = [cursor.seekGE(key), firstAtOrAfter(rows, key)];
              else [on, at] = [cursor.seekLT(key), firstAtOrAfter(rows, key) - 1];
              assert.equal(on, at >= 0 && at < rows.length);
              if (on) assertOn(cursor, rows, at);
              else at = -1;
            }
          }
        },
      ),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("rows of one key are newest first, also when they cross restarts", () => {
    const key = Uint8Array.of(107);
    const rows = Array.from({ length: 40 }, (_, i) => row(key, 100 - i, 0, Uint8Array.of(i)));
    const cursor = new BlockCursor();
    cursor.reset(ownBlock([row(Uint8Array.of(106), 7, 0, key), ...rows, row(Uint8Array.of(108), 7, 0, key)]));
    assert.equal(cursor.seekGE(key), true);
    assert.equal(cursor.seq, 100);
    assert.equal(cursor.seekLT(Uint8Array.of(107, 0)), true);
    assert.equal(cursor.seq, 61);
  });

  it("keys of 65535 bytes and values of 70000 bytes are read in place", () => {
    const long = new Uint8Array(65_535).fill(1);
    const other = long.slice();
    other[65_534] = 2;
    const rows = [row(long, 1, 0, new Uint8Array(3)), row(other, 2, 0, new Uint8Array(70_000).fill(9))];
    const cursor = new BlockCursor();
    cursor.reset(ownBlock(rows));
    for (const move of ["first", "next"] as const) assert.equal(cursor[move](), true);
    assertOn(cursor, rows, 1);
    assert.equal(cursor.prev(), true);
    assertOn(cursor, rows, 0);
    assert.equal(cursor.seekGE(other), true);
    assertOn(cursor, rows, 1);
  });

  it("a cleared or new cursor has no rows", () => {
    const cursor = new BlockCursor();
    const key = Uint8Array.of(1);
    const empty = () => [cursor.first(), cursor.last(), cursor.next(), cursor.seekGE(key), cursor.seekLT(key)];
    assert.deepEqual(empty(), [false, false, false, false, false]);
    cursor.reset(ownBlock([row(key, 1, 0, key)]));
    cursor.clear();
    assert.deepEqual(empty(), [false, false, false, false, false]);
  });

  it("blockBytes charges data and restarts", () => {
    const block = ownBlock([row(Uint8Array.of(1), 1, 0, new Uint8Array(1000))]);
    assert.ok(blockBytes(block) > 1000 && blockBytes(block) < 1500);
  });
});
