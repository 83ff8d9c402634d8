/**
 * How many requests reads cost, and who shares them.
 *
 * @module
 */
import { Effect, Exit, Fiber } from "effect";
import type { Entry } from "../../src/db/api.ts";
import { OneShot } from "../../src/env/one_shot.ts";
import { StoreError } from "../../src/errors.ts";
import type { SstView } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { type Need, PENDING } from "../../src/lsm/cursor.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { fetchLookup, fetchLookups } from "../../src/lsm/lookup.ts";
import type { LsmView } from "../../src/lsm/lsm_view.ts";
import { fetchRows, RowScan } from "../../src/lsm/row_scan.ts";
import { RunCursor, tableCursor } from "../../src/lsm/run_cursor.ts";
import { INDEX_SLOT } from "../../src/lsm/table.ts";
import { HeldParts, slotKey } from "../../src/lsm/table_parts.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";
import { now, testUlid, writeTable } from "./read_world.ts";
import { get, key, makeRows, scanRows, setup, SPEC } from "./counted_tables.ts";

describe("requests", () => {
  it("a lookup in a table that is not cached costs two requests, then one, then none", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    assert.ok(now(get(s, key(11_111))) !== undefined);
    assert.equal(s.counted.requests.length, 2, s.counted.requests.join());
    s.counted.bytes = 0;
    assert.ok(now(get(s, key(3))) !== undefined);
    assert.equal(s.counted.requests.length, 3);
    assert.ok(s.counted.bytes <= 4500, `${s.counted.bytes} bytes`);
    assert.ok(now(get(s, key(4))) !== undefined);
    assert.equal(now(get(s, key(20_001))), undefined);
    assert.equal(s.counted.requests.length, 3);
  });

  it("a small table comes with one request", () => {
    for (const metaBytes of [undefined, 0]) {
      const s = setup([makeRows(300, 100)], 0, metaBytes);
      assert.ok(now(get(s, key(123))) !== undefined);
      assert.equal(s.counted.requests.length, 1, s.counted.requests.join());
    }
  });

  it("lookups cost one request each when every key is read once, the first of a block included", () => {
    const s = setup([makeRows(20_000, 100)], 0);
    now(get(s, key(0)));
    s.counted.requests.length = 0;
    for (let n = 0; n < 1000; n++) now(get(s, key(n)));
    assert.equal(s.counted.requests.length, 1000);
  });

  it("a bloom filter answers for keys that are not there", () => {
    const s = setup([makeRows(20_000, 100, 2)], 1 << 20);
    now(get(s, key(1)));
    s.counted.requests.length = 0;
    for (let n = 1; n < 2000; n += 2) assert.equal(now(get(s, key(n))), undefined);
    assert.ok(s.counted.requests.length < 30, `${s.counted.requests.length} requests for 1000 absent keys`);
  });

  for (const [valueBytes, goal] of [[100, 2], [1024, 3]] as const) {
    it(`a cold scan of 100 rows of ${valueBytes} bytes costs at most ${goal} requests`, () => {
      for (const order of ["ascending", "descending"] as const) {
        const s = setup([makeRows(20_000, valueBytes)], 1 << 20);
        const scan = new RowScan(s.view, FULL_RANGE, SPEC, { expectedRows: 100, order });
        const rows: Entry[] = [];
        now(fetchRows(s.tables, scan, rows, 100, { cache: false }));
        assert.equal(rows.length, 100);
        assert.ok(s.counted.requests.length <= goal, s.counted.requests.join());
      }
    });
  }

  it("a cold scan of 10 rows costs index and one request per table", () => {
    for (let from = 0; from < 60; from++) {
      const s = setup([makeRows(20_000, 100)], 1 << 20);
      assert.equal(scanRows(s, from, 10, { expectedRows: 10 }).length, 10);
      assert.equal(s.counted.requests.length, 2, s.counted.requests.join());
    }
  });

  it("a long scan reads everything once, in requests that grow", () => {
    const s = setup([makeRows(50_000, 100)], 1 << 20);
    assert.equal(scanRows(s, 0, 50_000, {}).length, 50_000);
    const file = s.refs[0]!.table.info.filterOffset;
    assert.ok(s.counted.requests.length <= 10, s.counted.requests.join());
    assert.ok(s.counted.bytes < file + s.refs[0]!.table.info.indexLen + 1, `${s.counted.bytes} bytes`);
  });

  it("readAheadBytes sizes every request, and the end of the range bounds it", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    const range = { ...FULL_RANGE, start: key(100), end: key(200) };
    const scan = new RowScan(s.view, range, SPEC, { readAheadBytes: 1 << 20 });
    const rows: Entry[] = [];
    now(fetchRows(s.tables, scan, rows, 1000, { cache: false }));
    assert.equal(rows.length, 100);
    assert.equal(s.counted.requests.length, 2);
    const blocks = s.counted.bytes - s.refs[0]!.table.info.indexLen;
    assert.ok(blocks < 6 * 4200, `${blocks} bytes of blocks for 100 rows`);
  });

  it("a seek behind a table's last key, and a range that ends before the next table, ask for neither", () => {
    const rows = makeRows(40_000, 100, 2);
    const s = setup([rows.slice(0, 20_000), rows.slice(20_000)], 1 << 20);
    const view: LsmView = { memtables: [], l0: [], runs: [{ id: 1, tables: s.refs }] };
    const read = (start: number, end: number) => {
      s.counted.requests.length = 0;
      const scan = new RowScan(view, { ...FULL_RANGE, start: key(start), end: key(end) }, SPEC);
      const into: Entry[] = [];
      now(fetchRows(s.tables, scan, into, 100, { cache: false }));
      return into.length;
    };
    // Between the tables: the last key of the first is 39998, the first key of the second 40000.
    assert.equal(read(39_990, 39_999), 5);
    assert.ok(s.counted.requests.every((request) => request.startsWith(s.refs[0]!.table.path.slice(-6))));
    const cursor = new RunCursor(s.refs);
    cursor.seekGE(key(39_999));
    const needs: Need[] = [];
    cursor.collectNeeds(needs);
    assert.deepEqual(needs.map((need) => need.key), [slotKey(s.refs[1]!.table, INDEX_SLOT)]);
  });

  it("blocks that are cached split the read-ahead", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    now(get(s, key(150)));
    const index = s.refs[0]!.table.index!;
    const cached = index.find(key(150));
    s.counted.requests.length = 0;
    scanRows(s, 0, 1000, { readAheadBytes: 65_536 });
    const offset = index.offsets[cached]!;
    const covers = s.counted.requests.filter((request) => {
      const [from, length] = request.split(" ")[1]!.split("+").map(Number) as [number, number];
      return from <= offset && offset < from + length;
    });
    assert.deepEqual(covers, []);
  });

  it("fetchLookups puts neighbouring blocks of many keys into one request", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    now(get(s, key(19_000)));
    s.counted.requests.length = 0;
    const keys = Array.from({ length: 100 }, (_, i) => key(1000 + i));
    const rows = now(fetchLookups(s.tables, s.view, keys, SPEC, { cache: true }));
    assert.ok(rows.every((row) => row !== undefined));
    assert.equal(s.counted.requests.length, 1, s.counted.requests.join());
  });

  it("blocks cut from a large answer do not keep it alive in the cache", () => {
    const s = setup([makeRows(20_000, 100)], 16 << 20);
    const scan = new RowScan(s.view, FULL_RANGE, SPEC, { readAheadBytes: 1 << 20 });
    now(fetchRows(s.tables, scan, [], 10, { cache: true }));
    const blocks = s.refs[0]!.table.blocks.filter((block) => block !== undefined);
    assert.ok(blocks.length > 100);
    for (const block of blocks) assert.ok(block.data.buffer.byteLength < 2 * 4096 + 1024);
  });
});

interface Gate {
  readonly store: ObjectStoreShape;
  readonly waiting: OneShot<StoreError>[];
  reads: number;
}

/** A store whose range reads wait until they are let through or refused. */
function gated(inner: MemoryStore): Gate {
  const gate: Gate = {
    waiting: [],
    reads: 0,
    store: {
      ...inner,
      getRange: (path, range) =>
        Effect.suspend(() => {
          gate.reads++;
          const open = new OneShot<StoreError>();
          gate.waiting.push(open);
          return Effect.andThen(open.wait, inner.getRange(path, range));
        }),
    },
  };
  return gate;
}

describe("single flight", () => {
  const rows = makeRows(20_000, 100);

  function gatedSetup() {
    const memory = memoryStore();
    const gate = gated(memory);
    const tables = new TableStore({ store: gate.store, root: "db", cache: new BlockCache({ blockBytes: 1 << 20 }) });
    const view = writeTable(memory, "db", testUlid(1), rows, { blockSizeBytes: 4096 });
    const lsm: LsmView = { memtables: [], l0: [new TableRef(tables.table(view), view)], runs: [] };
    const read = (n: number, cache = true) => fetchLookup(tables, lsm, key(n), SPEC, { cache });
    const open = Effect.sync(() => {
      for (const shot of gate.waiting.splice(0)) shot.succeed();
    });
    const timeout = { op: "getRange", path: "", reason: "timeout", retryable: true, outcome: "none" } as const;
    const fail = Effect.sync(() => {
      for (const shot of gate.waiting.splice(0)) shot.fail(new StoreError(timeout));
    });
    return { gate, read, open, fail };
  }

  const settle = Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], () => Effect.yieldNow, { discard: true });

  effectTest("fifty readers of one block share its requests", () =>
    Effect.gen(function* () {
      const { gate, read, open } = gatedSetup();
      const fibers = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, i) => i),
        (i) => Effect.forkChild(read(5000 + (i % 2), i % 3 === 0)),
      );
      yield* settle;
      assert.equal(gate.reads, 1);
      yield* open;
      yield* settle;
      assert.equal(gate.reads, 2);
      yield* open;
      const found = yield* Effect.forEach(fibers, Fiber.join);
      assert.ok(found.every((row) => row !== undefined));
      assert.equal(gate.reads, 2);
    }));

  effectTest("another reader takes over when the one that reads is interrupted", () =>
    Effect.gen(function* () {
      const { gate, read, open } = gatedSetup();
      const first = yield* Effect.forkChild(read(1));
      yield* settle;
      const second = yield* Effect.forkChild(read(1));
      yield* settle;
      assert.equal(gate.reads, 1);
      yield* Fiber.interrupt(first);
      yield* settle;
      assert.equal(gate.reads, 2);
      yield* open;
      yield* settle;
      yield* open;
      yield* settle;
      yield* open;
      assert.ok((yield* Fiber.join(second)) !== undefined);
    }));

  effectTest(
    "a request that failed of its asker's deadline is made again for those who had joined it",
    () =>
      Effect.gen(function* () {
        const { gate, read, open, fail } = gatedSetup();
        const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(Effect.exit(read(7))));
        yield* settle;
        assert.equal(gate.reads, 1);
        yield* fail;
        yield* settle;
        assert.equal(gate.reads, 2);
        yield* open;
        yield* settle;
        yield* open;
        const exits = yield* Effect.forEach(fibers, Fiber.join);
        assert.deepEqual(exits.map(Exit.isSuccess), [false, true, true]);
      }),
  );
});

describe("TableStore", () => {
  it("table answers one object per id, until retain drops it", () => {
    const s = setup([makeRows(300, 10), makeRows(300, 10)], 1 << 20);
    const [a, b] = s.views as [SstView, SstView];
    const tableA = s.tables.table(a);
    assert.equal(s.tables.table({ ...a, viewId: testUlid(9) }), tableA);
    now(get(s, key(1)));
    assert.ok(s.tables.cache.stats.blocks > 0);
    s.tables.retain(new Set([b.sstId]));
    assert.notEqual(s.tables.table(a), tableA);
    assert.equal(tableA.index, undefined);
    // A reader that still holds the old capture goes on.
    assert.ok(now(get(s, key(1))) !== undefined);
  });

  it("tables of another database are read under its root", () => {
    const memory = memoryStore();
    const view = writeTable(memory, "parent", testUlid(1), makeRows(10, 10), { blockSizeBytes: 4096 });
    const tables = new TableStore({
      store: memory,
      root: "clone",
      externalRoot: (id) => id === testUlid(1) ? "parent" : undefined,
      cache: new BlockCache({ blockBytes: 0 }),
    });
    const lsm: LsmView = { memtables: [], l0: [new TableRef(tables.table(view), view)], runs: [] };
    assert.ok(now(fetchLookup(tables, lsm, key(5), SPEC, { cache: true })) !== undefined);
  });

  it("fetch gives a part that two readers want in one call to both", () => {
    const s = setup([makeRows(20_000, 100)], 0, 0);
    const cursors = [tableCursor(s.refs[0]!), tableCursor(s.refs[0]!)];
    for (let rounds = 0; cursors.map((cursor) => cursor.first()).includes(PENDING); rounds++) {
      assert.ok(rounds < 2);
      const needs: Need[] = [];
      for (const cursor of cursors) cursor.collectNeeds(needs);
      now(s.tables.fetch(needs, { cache: true }));
    }
    assert.equal(s.counted.requests.length, 2);
  });

  it("a reader's held parts count every block once and are let go of", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    now(get(s, key(1)));
    const table = s.refs[0]!.table;
    const block = table.blocks[0]!;
    const held = new HeldParts();
    held.supplyBlock(table, 5, block);
    held.supplyBlock(table, 5, block);
    held.supplyBlock(table, 6, block);
    assert.equal(held.heldBytes, 2 * block.data.length);
    held.keepBlocks(table, 6, 7);
    assert.equal(held.block(table, 5), undefined);
    assert.equal(held.block(table, 6), block);
    held.releaseBlock(table, 6);
    held.releaseBlock(table, 6);
    assert.equal(held.heldBytes, 0);
  });

  it("fetch meets needs of several tables with requests in parallel", () => {
    const s = setup([makeRows(20_000, 100), makeRows(20_000, 100)], 1 << 20);
    const needs: Need[] = [];
    for (const ref of s.refs) {
      const cursor = tableCursor(ref);
      cursor.first();
      cursor.collectNeeds(needs);
    }
    now(s.tables.fetch(needs, { cache: true }));
    assert.equal(s.counted.requests.length, 2);
    for (const ref of s.refs) assert.ok(ref.table.index !== undefined);
  });
});
