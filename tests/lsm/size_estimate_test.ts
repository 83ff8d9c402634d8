import { Effect } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import { FULL_RANGE, rangeContains, type ScanRange } from "../../src/lsm/key_range.ts";
import { estimateSize } from "../../src/lsm/size_estimate.ts";
import { TableStatistics } from "../../src/lsm/table_statistics.ts";
import { FLAG_TOMBSTONE } from "../../src/format/types.ts";
import { assert, describe, it } from "../support/suite.ts";
import { Dice, makeWorld, modelScan } from "./read_world.ts";

const EVERYTHING = { maxSeq: Infinity, nowMillis: -Infinity, mergeOperator: () => new Uint8Array(0) };

function randomRange(dice: Dice, keys: ReadonlyArray<Uint8Array>): ScanRange {
  const [low, high] = [dice.pick(keys), dice.pick(keys)].sort(compareBytes);
  return {
    start: dice.chance(20) ? undefined : low,
    startInclusive: true,
    end: dice.chance(20) ? undefined : high,
    endInclusive: true,
  };
}

describe("estimateSize", () => {
  it("estimateSize never calls a range empty that has rows, whatever the tree", () => {
    let empty = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const world = makeWorld(seed, { ranges: true, seqs: 40 });
      const statistics = new TableStatistics(world.store, world.tables);
      const rows = modelScan(world.rows, EVERYTHING, world.ranges);
      const dice = new Dice(seed);
      for (let i = 0; i < 12; i++) {
        const range = randomRange(dice, world.keys);
        const { bytes, entries } = Effect.runSync(estimateSize(statistics, world.view, range));
        const inside = rows.filter(({ key }) => rangeContains(range, key)).length;
        assert.ok(bytes >= 0 && Number.isSafeInteger(bytes) && Number.isSafeInteger(entries), `${bytes}, ${entries}`);
        assert.ok(inside === 0 || (bytes > 0 && entries > 0), `seed ${seed}: ${entries} of ${inside} rows`);
        if (bytes === 0) empty++;
      }
    }
    assert.ok(empty > 20, `${empty} ranges were empty`);
  });

  it("estimateSize of everything counts the rows that no newer tombstone covers, table by table", () => {
    for (let seed = 100; seed < 130; seed++) {
      const world = makeWorld(seed, { seqs: 40, clips: false });
      const statistics = new TableStatistics(world.store, world.tables);
      const { entries } = Effect.runSync(estimateSize(statistics, world.view, FULL_RANGE));
      const { memtables } = world.view;
      const inMemory = memtables.reduce((sum, memtable) => sum + memtable.entryCount, 0);
      const written = world.rows.filter(({ flags }) => (flags & FLAG_TOMBSTONE) === 0).length;
      const live = modelScan(world.rows, EVERYTHING).length;
      assert.ok(entries >= live, `seed ${seed}: at least the live rows`);
      assert.ok(entries <= written && entries >= written - inMemory, `seed ${seed}: ${entries} of ${written}`);
    }
  });
});
