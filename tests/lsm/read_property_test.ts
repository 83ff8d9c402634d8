/**
 * Point lookups and scans against the naive model, over random databases.
 *
 * @module
 */
import fc from "fast-check";
import { Effect } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Entry } from "../../src/db/api.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { PENDING, READY } from "../../src/lsm/cursor.ts";
import { FULL_RANGE, rangeContains, type ScanRange } from "../../src/lsm/key_range.ts";
import { fetchLookup, fetchLookups, FOUND, PointLookup } from "../../src/lsm/lookup.ts";
import { ResultSlab } from "../../src/lsm/result_slab.ts";
import { makeEntry } from "../../src/lsm/row_resolver.ts";
import { fetchRows, RowScan, type RowScanOptions } from "../../src/lsm/row_scan.ts";
import { emptyRow, type FoundRow, type ReadSpec } from "../../src/lsm/version_fold.ts";
import { assert, describe, it } from "../support/suite.ts";
import { concat, Dice, makeWorld, modelGet, modelScan, now, show, type World } from "./read_world.ts";

const SEED = 20_260_101;
const RUNS = 120;

function check(name: string, body: (seed: number) => void): void {
  it(`${name} (seed ${SEED})`, () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 1_000_000 }), body), { seed: SEED, numRuns: RUNS });
  });
}

/** A world of a seed; every other one has range tombstones. */
function anyWorld(seed: number): World {
  return makeWorld(seed, { ranges: seed % 2 === 0 });
}

function anySpec(dice: Dice, world: World): ReadSpec {
  // Often the very moment at which a row expires.
  const expireTs = world.rows.length === 0 ? NO_EXPIRY : dice.pick(world.rows).expireTs;
  const nowMillis = expireTs === NO_EXPIRY ? 1100 + dice.roll(700) : expireTs;
  return {
    maxSeq: dice.chance(40) ? world.maxSeq : dice.roll(world.maxSeq + 1),
    nowMillis: dice.chance(50) ? -Infinity : nowMillis,
    mergeOperator: concat,
  };
}

function entryOf(key: Uint8Array, row: FoundRow | undefined): Entry | undefined {
  return row === undefined ? undefined : makeEntry(key, row.value, row.seq, row.createTs, row.expireTs);
}

function absentKeys(dice: Dice): Uint8Array[] {
  return Array.from({ length: 6 }, () => Uint8Array.from({ length: 1 + dice.roll(9) }, () => dice.roll(256)));
}

/** Takes all rows in batches of random sizes. */
function takeAll(world: World, scan: RowScan, dice: Dice, cache: boolean): Entry[] {
  const all: Entry[] = [];
  for (;;) {
    const batch: Entry[] = [];
    const move = now(fetchRows(world.tables, scan, batch, 1 + dice.roll(7), { cache }));
    all.push(...batch.map((entry) => ({ ...entry, key: entry.key.slice(), value: entry.value.slice() })));
    // A caller may write into what it was given: the scan must not care.
    for (const entry of batch) {
      entry.key.fill(0xee);
      entry.value.fill(0xee);
    }
    if (move !== READY) return all;
  }
}

function anyRange(dice: Dice, world: World): ScanRange {
  if (dice.chance(25)) return FULL_RANGE;
  const pool = [...world.keys, ...absentKeys(dice)];
  const [low, high] = [dice.pick(pool), dice.pick(pool)].sort(compareBytes) as [Uint8Array, Uint8Array];
  return {
    start: dice.chance(20) ? undefined : low,
    startInclusive: dice.chance(60),
    end: dice.chance(20) ? undefined : high,
    endInclusive: dice.chance(50),
  };
}

describe("point lookup", () => {
  check("fetchLookup answers like the model, whatever the cache keeps", (seed) => {
    const world = anyWorld(seed);
    const dice = new Dice(seed + 1);
    for (const key of [...world.keys, ...absentKeys(dice)]) {
      const spec = anySpec(dice, world);
      const row = now(fetchLookup(world.tables, world.view, key, spec, { cache: dice.chance(50) }));
      assert.equal(show(entryOf(key, row)), show(modelGet(world.rows, key, spec, world.ranges)));
    }
  });

  check("fetchLookups answers many keys like the model", (seed) => {
    const world = anyWorld(seed);
    const dice = new Dice(seed + 2);
    const keys = [...world.keys, ...absentKeys(dice)];
    const spec = anySpec(dice, world);
    const rows = now(fetchLookups(world.tables, world.view, keys, spec, { cache: dice.chance(50) }));
    assert.deepEqual(
      rows.map((row, i) => show(entryOf(keys[i]!, row))),
      keys.map((key) => show(modelGet(world.rows, key, spec, world.ranges))),
    );
  });

  check("tryGet answers from memory like the model, or says that it can not", (seed) => {
    const world = anyWorld(seed);
    const dice = new Dice(seed + 3);
    const lookup = new PointLookup(new ResultSlab());
    for (let round = 0; round < 2; round++) {
      for (const key of [...world.keys, ...absentKeys(dice)]) {
        const spec = anySpec(dice, world);
        const out = emptyRow();
        const answer = lookup.tryGet(world.view, key, spec, out);
        if (answer === PENDING) {
          now(fetchLookup(world.tables, world.view, key, spec, { cache: true }));
          continue;
        }
        const entry = answer === FOUND ? entryOf(key, out) : undefined;
        assert.equal(show(entry), show(modelGet(world.rows, key, spec, world.ranges)));
      }
    }
  });
});

describe("scan", () => {
  check("RowScan answers like the model in both orders", (seed) => {
    const world = anyWorld(seed);
    const dice = new Dice(seed + 4);
    for (let i = 0; i < 4; i++) {
      const spec = anySpec(dice, world);
      const range = anyRange(dice, world);
      const expected = modelScan(world.rows, spec, world.ranges).filter((entry) => rangeContains(range, entry.key)).map(
        show,
      );
      const options: RowScanOptions = {
        expectedRows: dice.pick([undefined, 1, 10]),
        readAheadBytes: dice.pick([undefined, 1, 500]),
      };
      const scan = (order: "ascending" | "descending") =>
        takeAll(world, new RowScan(world.view, range, spec, { ...options, order }), dice, dice.chance(50)).map(show);
      assert.deepEqual(scan("ascending"), expected);
      assert.deepEqual(scan("descending"), expected.toReversed());
    }
  });

  check("RowScan without values answers the same keys", (seed) => {
    const world = anyWorld(seed);
    const dice = new Dice(seed + 5);
    const spec = anySpec(dice, world);
    const expected = modelScan(world.rows, spec, world.ranges).map((entry) =>
      show({ ...entry, value: new Uint8Array(0) })
    );
    for (const order of ["ascending", "descending"] as const) {
      const scan = new RowScan(world.view, FULL_RANGE, spec, { order, keysOnly: true });
      const rows = takeAll(world, scan, dice, true).map(show);
      assert.deepEqual(order === "ascending" ? rows : rows.toReversed(), expected);
    }
  });

  check("RowScan seek goes on at the right row in both orders", (seed) => {
    const world = anyWorld(seed);
    const dice = new Dice(seed + 6);
    for (const order of ["ascending", "descending"] as const) {
      const spec = anySpec(dice, world);
      const range = anyRange(dice, world);
      const sign = order === "ascending" ? 1 : -1;
      const rows = modelScan(world.rows, spec, world.ranges).filter((entry) => rangeContains(range, entry.key));
      if (sign < 0) rows.reverse();
      const scan = new RowScan(world.view, range, spec, { order });
      let last: Uint8Array | undefined;
      let at = 0;
      for (let step = 0; step < 12; step++) {
        if (dice.chance(40)) {
          const target = dice.pick([...world.keys, ...absentKeys(dice)]);
          const legal = rangeContains(range, target) &&
            (last === undefined || sign * compareBytes(target, last) > 0);
          if (!legal) {
            assert.throws(() => scan.seek(target), InvalidArgument);
            continue;
          }
          scan.seek(target);
          at = rows.findIndex((entry) => sign * compareBytes(entry.key, target) >= 0);
          if (at < 0) at = rows.length;
        } else {
          const into: Entry[] = [];
          now(fetchRows(world.tables, scan, into, 1, { cache: dice.chance(50) }));
          assert.equal(show(into[0]), show(rows[at]));
          if (into.length > 0) last = rows[at++]!.key;
        }
      }
    }
  });

  it("RowScan works through several scans at once over the same tables", () => {
    const world = makeWorld(77, { keys: 40, seqs: 200, blockBytes: 900, metaBytes: 0 });
    const spec: ReadSpec = { maxSeq: world.maxSeq, nowMillis: -Infinity, mergeOperator: concat };
    const scans = [0, 1, 2, 3].map((i) =>
      new RowScan(world.view, FULL_RANGE, spec, { order: i % 2 === 0 ? "ascending" : "descending" })
    );
    const answers: Entry[][] = scans.map(() => []);
    const dice = new Dice(5);
    const open = new Set(scans.keys());
    while (open.size > 0) {
      const i = dice.pick([...open]);
      const into: Entry[] = [];
      if (now(fetchRows(world.tables, scans[i]!, into, 2, { cache: i < 2 })) !== READY) open.delete(i);
      answers[i]!.push(...into);
    }
    const expected = modelScan(world.rows, spec, world.ranges).map(show);
    answers.forEach((rows, i) => {
      assert.deepEqual(rows.map(show), i % 2 === 0 ? expected : expected.toReversed());
    });
  });
});

describe("merge operands without an operator", () => {
  const world = () => makeWorld(4711, { keys: 12, seqs: 80, clips: false });
  const spec: ReadSpec = { maxSeq: 80, nowMillis: -Infinity, mergeOperator: undefined };

  it("fail the lookups that meet one and no others", () => {
    const { tables, view, rows, keys } = world();
    let refused = 0;
    for (const key of keys) {
      const newest = rows.find((row) => compareBytes(row.key, key) === 0);
      const lookup = Effect.exit(fetchLookup(tables, view, key, spec, { cache: true }));
      const exit = now(lookup);
      const meets = newest !== undefined && (newest.flags & 0x08) !== 0;
      if (meets) refused++;
      assert.equal(exit._tag, meets ? "Failure" : "Success");
      if (meets) assert.match(String(exit), /merge-operator-missing|merge operator/);
    }
    assert.ok(refused > 0 && refused < keys.length, `refused ${refused} of ${keys.length}`);
  });

  it("poison a scan in both orders", () => {
    const { tables, view } = world();
    for (const order of ["ascending", "descending"] as const) {
      const scan = new RowScan(view, FULL_RANGE, spec, { order });
      const read = () => now(Effect.flip(fetchRows(tables, scan, [], 1000, { cache: true })));
      const first = read();
      assert.ok(first instanceof InvalidArgument && first.reason === "merge-operator-missing");
      assert.equal(read(), first);
    }
  });
});

it("tryGet may be called again by the merge operator that it runs", () => {
  const world = makeWorld(4711, { keys: 12, seqs: 80, clips: false, blockBytes: 1 << 20, metaBytes: 1 << 20 });
  const plain: ReadSpec = { maxSeq: 80, nowMillis: -Infinity, mergeOperator: concat };
  now(fetchLookups(world.tables, world.view, world.keys, plain, { cache: true }));
  const lookup = new PointLookup(new ResultSlab());
  const out = emptyRow();
  const nested: ReadSpec = {
    ...plain,
    mergeOperator: (key, base, operands) => {
      for (const other of world.keys) lookup.tryGet(world.view, other, { ...plain, maxSeq: 60 }, out);
      return concat(key, base, operands);
    },
  };
  for (const key of world.keys) {
    const answer = lookup.tryGet(world.view, key, nested, out);
    const entry = answer === FOUND ? entryOf(key, out) : undefined;
    assert.equal(show(entry), show(modelGet(world.rows, key, plain)));
  }
});

it("makeEntry gives rows without times 0 and no expiry", () => {
  const entry = makeEntry(new Uint8Array(1), new Uint8Array(2), 3, NO_TICK, NO_EXPIRY);
  assert.deepEqual(Object.keys(entry), ["key", "value", "seq", "createdAt"]);
  assert.equal(entry.createdAt, 0);
});
