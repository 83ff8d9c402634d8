/** Info, index and statistics of an SST, and the checked FlatBuffers reader below them. @module */
import fc from "fast-check";
import { FormatError } from "../../src/errors.ts";
import { FlatReader } from "../../src/format/flatbuffer_reader.ts";
import {
  decodeIndex,
  decodeSstInfo,
  decodeStats,
  encodeIndex,
  encodeSstInfo,
  encodeStats,
} from "../../src/format/sst_tables.ts";
import { fromHex } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { INFO } from "./control_arbitraries.ts";
import { assertRefused, everyByteChange, everyTruncation } from "./damage.ts";
import { byte, bytes, flatBytes, long, tables } from "./flat_bytes.ts";

const SEED = 20268;

/** The three tables of the official fencing WAL object. */
const EMPTY_INDEX = fromHex("0c000000 0000 0600 0800 0400 06000000 04000000 00000000");
const EMPTY_STATS = fromHex("08000000 0400 0400 04000000");
const FENCE_INFO = fromHex(
  `1c000000 1800 1c00 0000 0000 0400 0000 0000 0000 0000 0000 0c00 1400 18000000
   1c00000000000000 1c00000000000000 1000000000000000`,
);

const STATS = fc.record({
  numPuts: fc.maxSafeNat(),
  numDeletes: fc.maxSafeNat(),
  numMerges: fc.nat(1),
  rawKeySize: fc.maxSafeNat(),
  rawValueSize: fc.maxSafeNat(),
  blockStats: fc.array(
    fc.record({ puts: fc.nat(0xffff), deletes: fc.nat(2), merges: fc.nat(0xffff) }, { noNullPrototype: true }),
    { maxLength: 20 },
  ),
}, { noNullPrototype: true });

describe("format/sst_tables", () => {
  it("decode functions read the tables of the official fencing WAL object", () => {
    assert.deepEqual(decodeIndex(EMPTY_INDEX), { offsets: [], firstKeys: [] });
    assert.deepEqual(decodeStats(EMPTY_STATS), {
      numPuts: 0,
      numDeletes: 0,
      numMerges: 0,
      rawKeySize: 0,
      rawValueSize: 0,
      blockStats: [],
    });
    assert.deepEqual(decodeSstInfo(FENCE_INFO), {
      firstEntry: undefined,
      lastEntry: undefined,
      indexOffset: 0,
      indexLen: 0x1c,
      filterOffset: 0,
      filterLen: 0,
      compression: 0,
      sstType: 0,
      statsOffset: 0x1c,
      statsLen: 0x10,
      filterFormat: 0,
    });
  });

  it("encode functions write tables of an empty SST as small as the official ones", () => {
    assert.ok(encodeIndex([], []).length <= EMPTY_INDEX.length);
    assert.ok(encodeStats(decodeStats(EMPTY_STATS)).length <= EMPTY_STATS.length);
    assert.ok(encodeSstInfo(decodeSstInfo(FENCE_INFO)).length <= FENCE_INFO.length);
  });

  it(`encodeSstInfo and decodeSstInfo are inverse (seed ${SEED})`, () => {
    fc.assert(
      fc.property(INFO, (info) => {
        assert.deepEqual(decodeSstInfo(encodeSstInfo(info)), info);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("encodeSstInfo leaves the filter format out unless it was read from a later writer's table", () => {
    const legacy = decodeSstInfo(FENCE_INFO);
    const hasSlot = (bytes: Uint8Array) => new FlatReader(bytes, "info").root().has(10);
    assert.equal(hasSlot(encodeSstInfo(legacy)), false);
    assert.equal(hasSlot(encodeSstInfo({ ...legacy, filterFormat: 1 })), true);
  });

  it(`encodeIndex and decodeIndex are inverse (seed ${SEED})`, () => {
    const index = fc.array(fc.tuple(fc.nat(100_000), fc.uint8Array({ maxLength: 12 })), { maxLength: 50 });
    fc.assert(
      fc.property(index, (blocks) => {
        let offset = -1;
        const offsets = blocks.map(([length]) => offset += length + 1);
        const firstKeys = blocks.map(([, key]) => key);
        const decoded = decodeIndex(encodeIndex(offsets, firstKeys));
        assert.deepEqual(decoded.offsets, offsets);
        assert.deepEqual(decoded.firstKeys, firstKeys);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("decodeIndex refuses offsets that do not ascend and blocks without a first key", () => {
    const block = (offset: number) => ({ 0: long(offset), 1: bytes("k") });
    assertRefused(() => decodeIndex(flatBytes({ 0: tables(block(5), block(5)) })), "malformed", /not after 5/);
    assertRefused(() => decodeIndex(flatBytes({ 0: tables(block(5), block(4)) })), "malformed", /not after 5/);
    assertRefused(() => decodeIndex(flatBytes({ 0: tables({ 0: long(1) }) })), "malformed", /first_key is missing/);
    assertRefused(() => decodeIndex(flatBytes({ 0: tables(block(-1)) })), "malformed", /2 \*\* 53/);
    assertRefused(() => decodeIndex(flatBytes({})), "malformed", /block_meta is missing/);
    assert.throws(() => encodeIndex([1], []), RangeError);
  });

  it(`encodeStats and decodeStats are inverse (seed ${SEED})`, () => {
    fc.assert(
      fc.property(STATS, (stats) => {
        assert.deepEqual(decodeStats(encodeStats(stats)), stats);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("decodeSstInfo refuses codecs, kinds and filter formats it does not know", () => {
    assertRefused(() => decodeSstInfo(flatBytes({ 5: byte(5) })), "unsupported-codec", /compression format 5/);
    assertRefused(() => decodeSstInfo(flatBytes({ 6: byte(2) })), "malformed", /SST type 2/);
    assertRefused(() => decodeSstInfo(flatBytes({ 10: byte(2) })), "unsupported-version", /filter format 2/);
    assertRefused(() => decodeSstInfo(new Uint8Array(7)), "truncated");
  });

  it("every truncation and byte change of a table gives a value or a FormatError", () => {
    const [info] = fc.sample(INFO, { seed: SEED, numRuns: 1 });
    const keys = ["", "b", "cc"].map((key) => new TextEncoder().encode(key));
    const inputs: ReadonlyArray<readonly [Uint8Array, (bytes: Uint8Array) => unknown]> = [
      [encodeSstInfo(info!), decodeSstInfo],
      [encodeIndex([0, 4000, 8000], keys), decodeIndex],
      [
        encodeStats({ ...decodeStats(EMPTY_STATS), numPuts: 2, blockStats: [{ puts: 2, deletes: 0, merges: 1 }] }),
        decodeStats,
      ],
      [FENCE_INFO, decodeSstInfo],
    ];
    for (const [input, decode] of inputs) {
      const whole = decode(input);
      everyTruncation(input, decode, (value) => {
        assert.deepEqual(value, whole);
        return true;
      });
      assert.ok(everyByteChange(input, 400, decode).refused > 100);
    }
  });
});

describe("format/flatbuffer_reader", () => {
  /** `depth` vectors of `width` offsets each, all of a vector's offsets leading to the one table of the next. */
  function fan(width: number): Uint8Array {
    const leaf = flatBytes({ 0: tables(...new Array(width).fill({})) });
    // All offsets of the vector are turned to its last table.
    const view = new DataView(leaf.buffer);
    const root = view.getUint32(0, true);
    const vector = root + 4 + view.getUint32(root + 4, true);
    const last = vector + 4 * width + view.getUint32(vector + 4 * width, true);
    for (let i = 0; i < width; i++) view.setUint32(vector + 4 + 4 * i, last - (vector + 4 + 4 * i), true);
    return leaf;
  }

  it("FlatReader allows parts that are shared", () => {
    const values = new FlatReader(fan(100), "test").root().tables(0, (table) => table.position);
    assert.equal(new Set(values).size, 1);
    assert.equal(values!.length, 100);
  });

  it("FlatReader stops when overlapping offsets make more work than the buffer is long", () => {
    const input = fan(2000);
    const reader = new FlatReader(input, "test");
    const root = reader.root();
    let visited = 0;
    const again = (): void => {
      root.tables(0, () => {
        visited++;
        again();
      });
    };
    assert.throws(again, FormatError);
    assert.ok(visited < input.length, `visited ${visited} tables of ${input.length} bytes`);
  });

  it("FlatReader refuses counts that the bytes left cannot hold", () => {
    const input = flatBytes({ 0: bytes("abc") });
    for (const count of [4, 5, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const damaged = input.slice();
      new DataView(damaged.buffer).setUint32(damaged.length - 7, count, true);
      assertRefused(() => new FlatReader(damaged, "test").root().bytes(0), "malformed", /vector of/);
    }
  });

  it("FlatReader refuses offsets to nowhere", () => {
    const table = flatBytes({ 0: bytes("abc") });
    const at = table.length - 7 - 4;
    for (const offset of [0, 5, 8, 0x7fffffff, 0xffffffff]) {
      const damaged = table.slice();
      new DataView(damaged.buffer).setUint32(at, offset, true);
      const what = offset === 5 || offset === 8 ? /offset to|vector of/ : /offset to/;
      assertRefused(() => new FlatReader(damaged, "test").root().bytes(0), "malformed", what);
    }
    for (const root of [0, table.length - 3, table.length, 0xffffffff]) {
      const damaged = table.slice();
      new DataView(damaged.buffer).setUint32(0, root, true);
      assertRefused(() => new FlatReader(damaged, "test").root(), "malformed", /offset to/);
    }
  });

  it("FlatReader refuses vtables outside the buffer, also in the header before it", () => {
    const input = flatBytes({ 0: byte(1) }, [4, 0, 4, 0]);
    const root = 4 + new DataView(input.buffer).getUint32(4, true);
    for (const vtable of [-1, 0, 3, input.length - 3, input.length, 2 ** 31 - 1]) {
      const damaged = input.slice();
      new DataView(damaged.buffer).setInt32(root, root - vtable, true);
      assertRefused(() => new FlatReader(damaged, "test", 4).root(), "malformed", /vtable outside/);
    }
  });

  it("FlatReader reports offsets inside the whole object", () => {
    const input = flatBytes({ 0: long(2n ** 60n) }, [9, 9, 9]);
    assert.throws(() => new FlatReader(input, "test", 3).root().u64(0), (error) => {
      assert.ok(error instanceof FormatError);
      assert.equal(error.offset, input.length - 8);
      assert.equal(error.section, "test");
      return true;
    });
  });
});
