/**
 * Budgets, second chance and dropping of the block cache.
 *
 * @module
 */
import { type Block, blockBytes, parseBlock } from "../../src/format/block.ts";
import { BloomFilter } from "../../src/format/bloom.ts";
import type { SstInfo } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { Table, TableIndex } from "../../src/lsm/table.ts";
import { HeldParts } from "../../src/lsm/table_parts.ts";
import { assert, describe, it } from "../support/suite.ts";
import { testUlid } from "./read_world.ts";

const INFO: SstInfo = {
  firstEntry: Uint8Array.of(1),
  lastEntry: Uint8Array.of(9),
  indexOffset: 1000,
  indexLen: 100,
  filterOffset: 900,
  filterLen: 100,
  compression: 0,
  sstType: 0,
  statsOffset: 0,
  statsLen: 0,
  filterFormat: 0,
};

/** Payload of one row: shared 0, key of 1 byte, no value, seq and flags. */
const BLOCK: Block = parseBlock(Uint8Array.of(0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1), 2, "block");
const SIZE = blockBytes(BLOCK);

function table(n: number): { readonly table: Table; readonly index: TableIndex } {
  const keys = [new Uint8Array(0), Uint8Array.of(3), Uint8Array.of(5), Uint8Array.of(7)];
  return { table: new Table(testUlid(n), `t${n}`, INFO, 2), index: new TableIndex([0, 17, 34, 51], keys, 900) };
}

describe("BlockCache", () => {
  it("keeps at most its budget and evicts what was not used lately", () => {
    const cache = new BlockCache({ blockBytes: 3 * SIZE });
    const { table: t, index } = table(1);
    const held = new HeldParts();
    for (const n of [0, 1, 2]) cache.putBlock(t, index, n, BLOCK);
    assert.equal(held.block(t, 0), BLOCK);
    assert.equal(held.block(t, 2), BLOCK);
    cache.putBlock(t, index, 3, BLOCK);
    assert.deepEqual(t.blocks.map((block) => block !== undefined), [true, false, true, true]);
    assert.equal(cache.stats.blockBytes, 3 * SIZE);
    assert.equal(cache.stats.blockEvictions, 1);
  });

  it("counts each block once", () => {
    const cache = new BlockCache({ blockBytes: 100 * SIZE });
    const { table: t, index } = table(1);
    cache.putBlock(t, index, 0, BLOCK);
    cache.putBlock(t, index, 0, BLOCK);
    assert.equal(cache.stats.blocks, 1);
    assert.equal(cache.stats.blockBytes, SIZE);
  });

  it("keeps indexes and filters apart from blocks", () => {
    const cache = new BlockCache({ blockBytes: SIZE, metaBytes: 10_000 });
    const { table: t, index } = table(1);
    const filter = BloomFilter.decode(Uint8Array.of(0, 1, 0xff), 0);
    cache.putIndex(t, index);
    cache.putFilter(t, filter);
    for (const n of [0, 1, 2, 3]) cache.putBlock(t, index, n, BLOCK);
    assert.equal(t.index, index);
    assert.equal(t.filter, filter);
    assert.equal(cache.stats.blocks, 1);
    assert.equal(cache.stats.metaEntries, 2);
  });

  it("keeps nothing with a budget of zero", () => {
    const cache = new BlockCache({ blockBytes: 0, metaBytes: 0 });
    const { table: t, index } = table(1);
    cache.putIndex(t, index);
    cache.putBlock(t, index, 0, BLOCK);
    assert.equal(t.index, undefined);
    assert.equal(t.blocks[0], undefined);
    assert.equal(cache.stats.metaBytes + cache.stats.blockBytes, 0);
  });

  it("drop empties a table for good and gives its bytes back", () => {
    const cache = new BlockCache({ blockBytes: 100 * SIZE });
    const a = table(1);
    const b = table(2);
    for (const { table: t, index } of [a, b]) {
      cache.putIndex(t, index);
      for (const n of [0, 1]) cache.putBlock(t, index, n, BLOCK);
    }
    cache.drop(new Set([a.table]));
    assert.equal(a.table.blocks[0], undefined);
    assert.equal(a.table.index, undefined);
    assert.equal(b.table.blocks[0], BLOCK);
    assert.equal(cache.stats.blockBytes, 2 * SIZE);
    assert.equal(cache.stats.metaEntries, 1);
    cache.putBlock(a.table, a.index, 0, BLOCK);
    cache.putIndex(a.table, a.index);
    assert.equal(cache.stats.blocks, 2);
    assert.equal(a.table.index, undefined);
  });

  it("stays within its budget over many tables", () => {
    const cache = new BlockCache({ blockBytes: 10 * SIZE, metaBytes: 3000 });
    const tables = Array.from({ length: 20 }, (_, i) => table(i));
    for (let i = 0; i < 2000; i++) {
      const { table: t, index } = tables[(i * 7) % 20]!;
      if (i % 3 === 0) new HeldParts().block(t, i % 4);
      cache.putBlock(t, index, i % 4, BLOCK);
      cache.putIndex(t, index);
      assert.ok(cache.stats.blockBytes <= 10 * SIZE && cache.stats.metaBytes <= 3000);
    }
    const blocks = tables.reduce(
      (sum, { table: t }) => sum + t.blocks.filter((block) => block !== undefined).length,
      0,
    );
    assert.equal(blocks, cache.stats.blocks);
    assert.equal(blocks, 10);
  });
});
