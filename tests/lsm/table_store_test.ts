/**
 * How many requests reads cost, who shares them, and what damage looks like.
 *
 * @module
 */
import { Effect, Exit, Fiber } from "effect";
import type { Entry } from "../../src/db/api.ts";
import { OneShot } from "../../src/env/one_shot.ts";
import { DataError, StoreError, type StoreErrorReason } from "../../src/errors.ts";
import { tablePath } from "../../src/format/paths.ts";
import { FLAG_CREATE, NO_EXPIRY, type SstView } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { type Need, PENDING } from "../../src/lsm/cursor.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { fetchLookup, fetchLookups } from "../../src/lsm/lookup.ts";
import type { LsmView } from "../../src/lsm/lsm_view.ts";
import { fetchRows, RowScan, type RowScanOptions } from "../../src/lsm/row_scan.ts";
import { RunCursor, tableCursor } from "../../src/lsm/run_cursor.ts";
import { INDEX_SLOT } from "../../src/lsm/table.ts";
import { HeldParts, slotKey } from "../../src/lsm/table_parts.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import type { ReadSpec } from "../../src/lsm/version_fold.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, effectTest, it } from "../support/suite.ts";
import { type ModelRow, now, testUlid, writeTable } from "./read_world.ts";

const SPEC: ReadSpec = { maxSeq: 1e9, nowMillis: -Infinity, mergeOperator: undefined };

interface Counted {
  readonly store: ObjectStoreShape;
  readonly requests: string[];
  bytes: number;
}

/** A store that counts range reads; nothing else may be asked of it. */
function counting(inner: MemoryStore): Counted {
  const counted: Counted = {
    requests: [],
    bytes: 0,
    store: {
      ...inner,
      getRange: (path, range) =>
        Effect.suspend(() => {
          counted.requests.push(`${path.slice(-6)} ${range.offset}+${range.length}`);
          counted.bytes += range.length;
          return inner.getRange(path, range);
        }),
    },
  };
  return counted;
}

function key(n: number): Uint8Array {
  return new TextEncoder().encode(`key${String(n).padStart(8, "0")}`);
}

function makeRows(count: number, valueBytes: number, step = 1): ModelRow[] {
  const value = new Uint8Array(valueBytes).fill(0x76);
  return Array.from({ length: count }, (_, i) => ({
    key: key(i * step),
    seq: i + 1,
    flags: FLAG_CREATE,
    createTs: 5,
    expireTs: NO_EXPIRY,
    value,
  }));
}

interface Setup {
  readonly memory: MemoryStore;
  readonly counted: Counted;
  readonly tables: TableStore;
  readonly views: SstView[];
  readonly refs: TableRef[];
  readonly view: LsmView;
}

/** One table per list of rows, as L0. */
function setup(lists: ReadonlyArray<ModelRow[]>, cacheBytes: number, metaBytes?: number): Setup {
  const memory = memoryStore();
  const counted = counting(memory);
  const cache = new BlockCache({ blockBytes: cacheBytes, ...(metaBytes === undefined ? {} : { metaBytes }) });
  const tables = new TableStore({ store: counted.store, root: "db", cache });
  const views = lists.map((rows, i) => writeTable(memory, "db", testUlid(i + 1), rows, { blockSizeBytes: 4096 }));
  const refs = views.map((view) => new TableRef(tables.table(view), view));
  return { memory, counted, tables, views, refs, view: { memtables: [], l0: refs, runs: [] } };
}

function get(of: Setup, wanted: Uint8Array, cache = true) {
  return fetchLookup(of.tables, of.view, wanted, SPEC, { cache });
}

function scanRows(of: Setup, from: number, count: number, options: RowScanOptions): Entry[] {
  const scan = new RowScan(of.view, { ...FULL_RANGE, start: key(from) }, SPEC, options);
  const rows: Entry[] = [];
  now(fetchRows(of.tables, scan, rows, count, { cache: false }));
  return rows;
}

describe("requests", () => {
  it("a lookup in a table that is not cached costs two requests, then one, then none (K5, K6)", () => {
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

  it("a small table comes with one request (K6)", () => {
    for (const metaBytes of [undefined, 0]) {
      const s = setup([makeRows(300, 100)], 0, metaBytes);
      assert.ok(now(get(s, key(123))) !== undefined);
      assert.equal(s.counted.requests.length, 1, s.counted.requests.join());
    }
  });

  it("lookups cost one request each when every key is read once, the first of a block included (K5)", () => {
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
    it(`a cold scan of 100 rows of ${valueBytes} bytes costs at most ${goal} requests (K8)`, () => {
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

  it("a cold scan of 10 rows costs index and one request per table (K9)", () => {
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

  effectTest("fifty readers of one block share its requests (K12)", () =>
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

describe("damage", () => {
  /** Changes one byte of the stored table. */
  function damageAt(s: Setup, offset: number): void {
    const path = tablePath("db", testUlid(1));
    const bytes = s.memory.peek(path)!;
    bytes[offset] = bytes[offset]! ^ 0x40;
    s.memory.plant(path, bytes);
  }

  const failure = (s: Setup, wanted: Uint8Array): unknown => now(Effect.flip(get(s, wanted)));

  const sections: ReadonlyArray<[string, (s: Setup) => number]> = [
    ["index", (s) => s.refs[0]!.table.info.indexOffset],
    ["filter", (s) => s.refs[0]!.table.info.filterOffset],
    ["block 0", () => 0],
  ];
  for (const rows of [300, 20_000]) {
    for (const [section, offsetOf] of sections) {
      if (rows === 300 && section === "filter") continue;
      it(`of the ${section} of a table of ${rows} rows is a DataError that names it`, () => {
        const s = setup([makeRows(rows, 100)], 1 << 20);
        const offset = offsetOf(s);
        damageAt(s, offset + 10);
        const error = failure(s, key(1));
        assert.ok(error instanceof DataError, String(error));
        assert.equal(error.object, tablePath("db", testUlid(1)));
        assert.equal(error.section, section);
        assert.equal(error.reason, "checksum");
        assert.ok(error.offset >= offset && error.offset < offset + 400_000, `offset ${error.offset}`);
      });
    }
  }

  it("on the way is healed by reading again", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    let flips = 0;
    const tables = new TableStore({
      root: "db",
      cache: new BlockCache({ blockBytes: 0 }),
      store: {
        ...s.memory,
        getRange: (path, range) =>
          Effect.map(s.memory.getRange(path, range), (bytes) => {
            if (flips++ % 2 === 0) bytes[9] = bytes[9]! ^ 1;
            return bytes;
          }),
      },
    });
    const view: LsmView = { memtables: [], l0: s.views.map((v) => new TableRef(tables.table(v), v)), runs: [] };
    assert.ok(now(fetchLookup(tables, view, key(77), SPEC, { cache: true })) !== undefined);
    assert.equal(flips, 4);
  });

  it("of one part does not hide the parts that came with it", () => {
    const s = setup([makeRows(300, 100)], 1 << 20);
    damageAt(s, 20);
    assert.ok(now(get(s, key(299))) !== undefined);
    const error = failure(s, key(0));
    assert.ok(error instanceof DataError && error.section === "block 0");
  });

  it("of a row is found by the cursor that reads it", () => {
    const s = setup([makeRows(20_000, 100)], 1 << 20);
    const ref = s.refs[0]!;
    now(get(s, key(1)));
    const block = ref.table.blocks[0]!;
    const flags = block.data.indexOf(FLAG_CREATE, 100);
    block.data[flags] = 0x30;
    const cursor = tableCursor(ref);
    let error: unknown;
    try {
      for (let i = 0, move = cursor.first(); i < 20 && move === 1; i++) move = cursor.next();
    } catch (thrown) {
      error = thrown;
    }
    assert.ok(error instanceof DataError, String(error));
    assert.equal(error.section, "block 0");
    const scan = new RowScan(s.view, FULL_RANGE, SPEC);
    const read = () => now(Effect.flip(fetchRows(s.tables, scan, [], 100, { cache: true })));
    const first = read();
    assert.ok(first instanceof DataError);
    assert.equal(read(), first);
  });

  it("of what the manifest says about sections is a DataError before anything is read", () => {
    const s = setup([makeRows(300, 100)], 1 << 20);
    const view = s.views[0]!;
    for (
      const info of [
        { ...view.info, indexLen: 2 ** 50 },
        { ...view.info, indexLen: 0 },
        { ...view.info, filterOffset: view.info.indexOffset + 1 },
      ]
    ) {
      const tables = new TableStore({ store: s.counted.store, root: "db", cache: s.tables.cache });
      const broken = { ...view, info };
      const lsm: LsmView = { memtables: [], l0: [new TableRef(tables.table(broken), broken)], runs: [] };
      const error = now(Effect.flip(fetchLookup(tables, lsm, key(5), SPEC, { cache: true })));
      assert.ok(error instanceof DataError && error.section === "info", String(error));
    }
    assert.equal(s.counted.requests.length, 0);
  });
});

describe("a store that fails", () => {
  const rows = makeRows(20_000, 100);

  function failing(reason: StoreErrorReason): { readonly error: unknown } {
    const s = setup([rows], 1 << 20);
    const tables = new TableStore({
      root: "db",
      cache: new BlockCache({ blockBytes: 0 }),
      store: {
        ...s.memory,
        getRange: (path) =>
          Effect.fail(new StoreError({ op: "getRange", path, reason, retryable: false, outcome: "none" })),
      },
    });
    const view: LsmView = { memtables: [], l0: s.views.map((v) => new TableRef(tables.table(v), v)), runs: [] };
    return { error: now(Effect.flip(fetchLookup(tables, view, key(1), SPEC, { cache: true }))) };
  }

  it("to find a table is a DataError missing-object with the cause", () => {
    const { error } = failing("not-found");
    assert.ok(error instanceof DataError);
    assert.equal(error.reason, "missing-object");
    assert.equal(error.object, tablePath("db", testUlid(1)));
    assert.ok(error.cause instanceof StoreError && error.cause.reason === "not-found");
  });

  it("to give all bytes of a table is a DataError truncated", () => {
    const { error } = failing("short-read");
    assert.ok(error instanceof DataError && error.reason === "truncated");
  });

  it("to answer is the store's own error", () => {
    const { error } = failing("timeout");
    assert.ok(error instanceof StoreError && error.reason === "timeout");
  });
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
