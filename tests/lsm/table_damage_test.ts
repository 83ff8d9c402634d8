/**
 * What damaged tables and a store that fails look like to reads.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, StoreError, type StoreErrorReason } from "../../src/errors.ts";
import { tablePath } from "../../src/format/paths.ts";
import { FLAG_CREATE } from "../../src/format/types.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { fetchLookup } from "../../src/lsm/lookup.ts";
import type { LsmView } from "../../src/lsm/lsm_view.ts";
import { fetchRows, RowScan } from "../../src/lsm/row_scan.ts";
import { tableCursor } from "../../src/lsm/run_cursor.ts";
import { TableRef } from "../../src/lsm/table_ref.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { now, testUlid } from "./read_world.ts";
import { get, key, makeRows, type Setup, setup, SPEC } from "./counted_tables.ts";

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
