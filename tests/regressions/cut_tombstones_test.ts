/**
 * Tables that are smaller than a range tombstone: they come to an end, and no key has its place in two of them.
 *
 * @module
 */
import { compareBytes } from "../../src/bytes/compare.ts";
import type { BuiltSst } from "../../src/format/sst_builder.ts";
import { FLAG_CREATE, NO_EXPIRY, NO_TICK, type RangeTombstone } from "../../src/format/types.ts";
import { CompactionWriter, ENDED, TABLE } from "../../src/lsm/compaction_writer.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { Dice } from "../lsm/read_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const KEYS = [..."abcdefgh"].flatMap((letter) => [letter, `${letter}x`]).map(bytesOf);

/** The tables that rows at `keys` and tombstones become, of which each ends when it holds `maxSstBytes`. */
function write(
  keys: ReadonlyArray<Uint8Array>,
  ranges: ReadonlyArray<RangeTombstone>,
  maxSstBytes: number,
): BuiltSst[] {
  const memtable = new Memtable();
  for (const key of keys) memtable.insert(key, 0, key.length, 100, FLAG_CREATE, 1, NO_EXPIRY, key, 0, key.length);
  const writer = new CompactionWriter(memtable.cursor(), {
    encoding: { blockSizeBytes: 4096, compression: 0, minFilterKeys: 0, filterBitsPerKey: 10 },
    rules: { minSeq: 0, tick: NO_TICK, dropTombstones: false, merge: undefined },
    maxSstBytes,
    ranges: RangeSet.of(ranges).fragments(),
  });
  const tables: BuiltSst[] = [];
  for (let step = writer.step(10, 1000); step !== ENDED; step = writer.step(10, 1000)) {
    if (step === TABLE) tables.push(writer.takeTable());
    assert.ok(tables.length <= 3 * KEYS.length, "tables without end");
  }
  return tables;
}

/** Fails unless every table begins behind the one before. */
function assertAscending(tables: ReadonlyArray<BuiltSst>): void {
  for (let i = 1; i < tables.length; i++) {
    const { lastEntry, rangeDeletes } = tables[i - 1]!.info;
    const first = tables[i]!.info.firstEntry!;
    if (lastEntry !== undefined) assert.ok(compareBytes(lastEntry, first) < 0, "a row's key is in two tables");
    if (rangeDeletes === undefined) continue;
    assert.ok(rangeDeletes.end !== undefined && compareBytes(rangeDeletes.end, first) <= 0, "a tombstone reaches over");
  }
}

describe("tables that are smaller than a range tombstone", () => {
  it("end before the next row, with the tombstone that begins at the key of their last one", () => {
    const whole = { start: bytesOf("a"), end: bytesOf("e"), seq: 10, createTs: 1 };
    const tables = write([bytesOf("a"), bytesOf("c")], [whole], 1);
    assertAscending(tables);
    const spans = tables.map(({ info }) =>
      [info.firstEntry, info.lastEntry, info.rangeDeletes?.end].map((key) => new TextDecoder().decode(key)).join(" ")
    );
    assert.deepEqual(spans, ["a a c", "c c e"]);
  });

  it("ascend whatever their size, and hold each row once", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const dice = new Dice(seed);
      const rows = KEYS.filter(() => dice.chance(40));
      const ranges = Array.from({ length: 1 + dice.roll(5) }, (_, i): RangeTombstone => {
        const [from, to] = [dice.roll(KEYS.length), dice.roll(KEYS.length)].sort((a, b) => a - b) as [number, number];
        return { start: KEYS[from]!, end: KEYS[to + 1], seq: 10 + i, createTs: 1 };
      });
      const tables = write(rows, ranges, dice.pick([1, 20, 40, 60, 100, 300]));
      assertAscending(tables);
      assert.equal(tables.reduce((sum, { stats }) => sum + stats.numPuts, 0), rows.length, `seed ${seed}`);
    }
  });
});
