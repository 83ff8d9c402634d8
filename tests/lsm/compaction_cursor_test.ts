/**
 * The cursor that merges of whole tables read with: the same rows as the one that reads use, every byte once, and the
 * next part on its way before it is needed.
 *
 * @module
 */
import fc from "fast-check";
import { Effect, Fiber } from "effect";
import { compareBytes } from "../../src/bytes/compare.ts";
import { DataError } from "../../src/errors.ts";
import { tablePath } from "../../src/format/paths.ts";
import type { SstView } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "../../src/lsm/cursor.ts";
import { PassingCursor, windowBytes } from "../../src/lsm/passing_cursor.ts";
import { BlockWindow, fetchPart, PassingPart } from "../../src/lsm/passing_part.ts";
import { RunCursor } from "../../src/lsm/run_cursor.ts";
import type { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { key, makeRows, setup } from "./counted_tables.ts";
import { Dice, makeWorld, testUlid, writeTable } from "./read_world.ts";

const SEED = 20_261_122;

function rowText(row: Cursor): string {
  const text = (bytes: Uint8Array): string => [...bytes].join(",");
  const { keyBytes, keyStart, keyEnd, valueBytes, valueStart, valueEnd } = row;
  return `${text(keyBytes.subarray(keyStart, keyEnd))}=${text(valueBytes.subarray(valueStart, valueEnd))}#${row.seq} ` +
    `${row.flags} ${row.createTs} ${row.expireTs} ${row.keyHi} ${row.keyLo}`;
}

/** Walks to the end; `meet` brings what a pending move waits for. */
function walk(cursor: Cursor, meet: (needs: Need[]) => void, each: () => void = () => {}): string[] {
  const rows: string[] = [];
  for (let move = cursor.first(); move !== END;) {
    if (move === READY) {
      rows.push(rowText(cursor));
    } else {
      const needs: Need[] = [];
      cursor.collectNeeds(needs);
      assert.equal(needs.length, 1);
      meet(needs);
    }
    each();
    move = rows.length === 0 ? cursor.first() : cursor.next();
  }
  const none: Need[] = [];
  cursor.collectNeeds(none);
  assert.deepEqual(none, []);
  return rows;
}

function fetchAll(store: ObjectStoreShape, parts: ReadonlyArray<Need>): void {
  for (const part of parts) {
    assert.ok(part instanceof PassingPart);
    Effect.runSync(fetchPart(store, part));
  }
}

describe("PassingCursor", () => {
  it(`PassingCursor shows the rows that RunCursor shows, whatever the windows and clips (seed ${SEED})`, () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000_000 }),
        fc.constantFrom(1, 300, 5000, 1 << 20),
        fc.boolean(),
        (seed, window, isAhead) => {
          const { store, tables, view } = makeWorld(seed, { blockBytes: 0, metaBytes: 0 });
          const runs: ReadonlyArray<ReadonlyArray<TableRef>> = [
            ...view.l0.map((ref) => [ref]),
            ...view.runs.map((run) => run.tables),
          ];
          for (const refs of runs) {
            const expected = walk(new RunCursor(refs), (needs) => {
              Effect.runSync(tables.fetch(needs, { cache: false }));
            });
            const cursor = new PassingCursor(refs, window);
            const ahead: PassingPart[] = [];
            const got = walk(cursor, (needs) => fetchAll(store, needs), () => {
              if (!isAhead) return;
              cursor.collectAhead(ahead);
              fetchAll(store, ahead.splice(0));
              assert.ok(cursor.walkedBytes <= cursor.totalBytes);
            });
            assert.deepEqual(got, expected);
            assert.equal(cursor.walkedBytes, cursor.totalBytes);
          }
        },
      ),
      { seed: SEED, numRuns: 120 },
    );
  });

  it("PassingCursor reads no byte twice and waits once when the next part is read ahead", () => {
    const rows = makeRows(3000, 240);
    const of = setup([rows.slice(0, 1000), rows.slice(1000, 2000), rows.slice(2000)], 0, 0);
    const cursor = new PassingCursor(of.refs, 65_536);
    const ahead: PassingPart[] = [];
    let waits = 0;
    const seen = walk(cursor, (needs) => {
      waits++;
      fetchAll(of.counted.store, needs);
    }, () => {
      cursor.collectAhead(ahead);
      assert.ok(ahead.length <= 1);
      fetchAll(of.counted.store, ahead.splice(0));
    });
    assert.equal(seen.length, 3000);
    assert.equal(waits, 2, "for the first index and the first window");
    const bytes = of.refs.reduce((sum, { table: { info } }) => sum + info.filterOffset + info.indexLen, 0);
    assert.equal(of.counted.bytes, bytes);
    assert.equal(of.counted.requests.length, 3 * (1 + Math.ceil(of.refs[0]!.table.info.filterOffset / 66_000)));
  });

  it("PassingCursor takes a table no larger than a window with one request", () => {
    const of = setup([makeRows(50, 100), makeRows(50, 100)], 0, 0);
    const seen = walk(new PassingCursor(of.refs, 65_536), (needs) => fetchAll(of.counted.store, needs));
    assert.equal(seen.length, 100);
    assert.equal(of.counted.requests.length, 2);
  });

  it("PassingCursor offers one part beyond its window, and none again after that failed", () => {
    const of = setup([makeRows(2000, 240)], 0, 0);
    const cursor = new PassingCursor(of.refs, 65_536);
    const ahead: PassingPart[] = [];
    const offered = (): PassingPart[] => {
      cursor.collectAhead(ahead);
      return ahead.splice(0);
    };
    assert.deepEqual(offered(), [], "before the walk has begun");
    for (let move = cursor.first(); move === PENDING; move = cursor.first()) {
      const needs: Need[] = [];
      cursor.collectNeeds(needs);
      fetchAll(of.memory, needs);
    }
    const [next, ...none] = offered();
    assert.ok(next instanceof BlockWindow && none.length === 0);
    assert.ok(next.first > 10 && next.length >= 65_536 && next.length < 70_000);
    const fiber = Effect.runFork(fetchPart({ ...of.memory, getRange: () => Effect.never }, next));
    assert.deepEqual(offered(), [], "it is on its way");
    Effect.runFork(Fiber.interrupt(fiber));
    fetchAll(of.memory, [next]);
    assert.deepEqual(offered(), [], "it is there");
    while (cursor.walkedBytes < next.offset) assert.equal(cursor.next(), READY);
    const [third] = offered();
    assert.ok(third instanceof BlockWindow && third.first === next.end);
    third.hasFailed = true;
    assert.deepEqual(offered(), []);
    let move = cursor.next();
    while (move === READY) move = cursor.next();
    const needs: Need[] = [];
    cursor.collectNeeds(needs);
    assert.deepEqual([move, needs], [PENDING, [third]]);
  });

  it("fetchPart joins a request under way, and goes on by itself when that failed", async () => {
    const of = setup([makeRows(10, 10)], 0, 0);
    const faulty = faultyStore(of.memory, {
      rules: [{ op: "getRange", nth: 1, fault: { kind: "before" } }],
      latencyMillis: 1,
    });
    const { table } = of.refs[0]!;
    const part = new PassingPart(table, "index", table.info.indexOffset, table.info.indexLen);
    const first = Effect.runPromise(Effect.flip(fetchPart(faulty, part)));
    const others = [0, 1].map(() => Effect.runPromise(fetchPart(faulty, part)));
    assert.equal((await first)._tag, "StoreError");
    await Promise.all(others);
    assert.equal(part.bytes!.length, part.length);
    assert.equal(faulty.controls.requestCount, 2);
  });

  it(`PassingCursor seeks forward to the rows that RunCursor finds, from anywhere (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), fc.constantFrom(1, 300, 5000, 1 << 20), (seed, window) => {
        const { store, view, keys, tables } = makeWorld(seed, { blockBytes: 0, metaBytes: 0 });
        const dice = new Dice(seed);
        const met = (cursor: Cursor, move: () => Move, meet: (needs: Need[]) => void): string => {
          for (;;) {
            const answer = move();
            if (answer !== PENDING) return answer === END ? "end" : rowText(cursor);
            const needs: Need[] = [];
            cursor.collectNeeds(needs);
            meet(needs);
          }
        };
        for (const refs of [...view.l0.map((ref) => [ref]), ...view.runs.map((run) => run.tables)]) {
          const expected = new RunCursor(refs);
          const cursor = new PassingCursor(refs, window);
          const start = dice.chance(40) ? dice.pick(keys) : undefined;
          if (start !== undefined) cursor.startAt(start);
          let last: Uint8Array | undefined;
          for (let step = 0;; step++) {
            const ahead: PassingPart[] = [];
            if (step > 0 && dice.chance(30)) cursor.collectAhead(ahead);
            fetchAll(store, ahead);
            const target = step > 0 && dice.chance(50) ? keys.find((one) => compareBytes(one, last!) > 0) : undefined;
            const jump = target === undefined ? undefined : dice.pick(keys.slice(keys.indexOf(target)));
            const move = (of: Cursor, isFirst: boolean): Move =>
              isFirst ? of.first() : jump === undefined ? of.next() : of.seekGE(jump);
            const want = met(
              expected,
              () => step === 0 && start !== undefined ? expected.seekGE(start) : move(expected, step === 0),
              (needs) => Effect.runSync(tables.fetch(needs, { cache: false })),
            );
            assert.equal(met(cursor, () => move(cursor, step === 0), (needs) => fetchAll(store, needs)), want);
            if (want === "end") break;
            last = expected.keyBytes.slice(expected.keyStart, expected.keyEnd);
          }
          assert.equal(cursor.walkedBytes, cursor.totalBytes);
        }
      }),
      { seed: SEED, numRuns: 150 },
    );
  });

  it("PassingCursor reads nothing of the tables and blocks that it seeks over", () => {
    const rows = makeRows(3000, 240);
    const of = setup([rows.slice(0, 1000), rows.slice(1000, 2000), rows.slice(2000)], 0, 0);
    const cursor = new PassingCursor(of.refs, 65_536);
    cursor.startAt(rows[2500]!.key);
    const needs: Need[] = [];
    while (cursor.first() === PENDING) {
      cursor.collectNeeds(needs);
      fetchAll(of.counted.store, needs.splice(0));
    }
    assert.deepEqual(cursor.keyBytes.slice(cursor.keyStart, cursor.keyEnd), rows[2500]!.key);
    assert.equal(of.counted.requests.length, 2, "an index and a window");
    const nothing = new PassingCursor(of.refs, 65_536);
    nothing.startAt(undefined);
    assert.equal(nothing.first(), END);
    assert.equal(nothing.walkedBytes, nothing.totalBytes);
  });

  it("PassingCursor only goes forward", () => {
    const cursor = new PassingCursor([], 1000);
    for (const move of [() => cursor.last(), () => cursor.prev(), () => cursor.seekLT(key(1))]) {
      assert.throws(move, /only goes forward/);
    }
    assert.equal(cursor.first(), END);
  });

  it("windowBytes bounds what all sources hold together", () => {
    for (const sources of [1, 8, 16, 17, 100, 500]) {
      assert.ok(2 * sources * windowBytes(sources) <= 64 << 20);
      assert.ok(windowBytes(sources) >= 65_536 && windowBytes(sources) <= 2 << 20);
    }
    assert.equal(windowBytes(10_000), 65_536);
  });
});

describe("PassingCursor over damage", () => {
  function damagedRun(spoil: (file: Uint8Array, view: SstView) => void, window: number) {
    const store = memoryStore();
    const view = writeTable(store, "db", testUlid(1), makeRows(400, 100), { blockSizeBytes: 1024 });
    const path = tablePath("db", view.sstId);
    const sound = store.peek(path)!;
    const spoiled = sound.slice();
    spoil(spoiled, view);
    store.plant(path, spoiled);
    const tables = new TableStore({ store, root: "db", cache: new BlockCache({ blockBytes: 0 }) });
    const refs = [{ ...refOf(tables, view) }];
    return { store, path, sound, cursor: new PassingCursor(refs as unknown as TableRef[], window) };
  }
  const refOf = (tables: TableStore, view: SstView) => ({
    table: tables.passingTable(view),
    clipStart: undefined,
    clipEnd: undefined,
  });
  const places: ReadonlyArray<readonly [string, (view: SstView) => number, string]> = [
    ["block", (view) => Math.floor(view.info.filterOffset / 2), "block 20"],
    ["index", (view) => view.info.indexOffset + 9, "index"],
  ];

  for (const [name, place, section] of places) {
    for (const window of [5000, 1 << 20]) {
      it(`PassingCursor reads a damaged ${name} once more, with windows of ${window} bytes`, () => {
        const { store, path, sound, cursor } = damagedRun((file, view) => {
          file[place(view)] = file[place(view)]! ^ 1;
        }, window);
        let meets = 0;
        const rows = walk(cursor, (needs) => {
          fetchAll(store, needs);
          const [part] = needs as PassingPart[];
          if (part!.damages === 0) meets++;
          else store.plant(path, sound);
          // The second answer is sound.
          if (part!.damages > 0) {
            part!.bytes = undefined;
            fetchAll(store, needs);
          }
        });
        assert.equal(rows.length, 400);
        assert.ok(meets > 0);
      });

      it(`PassingCursor says where a ${name} is damaged for good, with windows of ${window} bytes`, () => {
        const { store, path, cursor } = damagedRun((file, view) => {
          file[place(view)] = file[place(view)]! ^ 1;
        }, window);
        let requests = 0;
        try {
          walk(cursor, (needs) => {
            requests++;
            fetchAll(store, needs);
          });
          assert.fail("no error");
        } catch (error) {
          assert.ok(error instanceof DataError, String(error));
          assert.deepEqual([error.object, error.reason], [path, "checksum"]);
          assert.match(error.section, new RegExp(section.replace(/\d+/, "\\d+")));
        }
        // Each part once, and the damaged one twice.
        assert.ok(requests >= 2 && requests <= (window === 5000 ? 8 : 2), `${requests} requests`);
      });
    }
  }
});
