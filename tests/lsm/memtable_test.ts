/**
 * The memtable against the format's table of sizes, and against a sorted array as its model.
 *
 * @module
 */
import fc from "fast-check";
import { compareBytes } from "../../src/bytes/compare.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { type Cursor, END, keyWord, READY } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { MAX_REBUILDS } from "../../src/lsm/memtable_tree.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20251121;

interface Row {
  readonly key: Uint8Array;
  readonly seq: number;
  readonly flags: number;
  readonly value: Uint8Array;
  readonly createTs: number;
  readonly expireTs: number;
}

const text = new TextEncoder();
const bytesOf = (value: string): Uint8Array => text.encode(value);
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function put(
  table: Memtable,
  key: string | Uint8Array,
  seq: number,
  value: string | Uint8Array = "",
  flags: number = 0,
  createTs: number = NO_TICK,
  expireTs: number = NO_EXPIRY,
): void {
  const keyBytes = typeof key === "string" ? bytesOf(key) : key;
  const valueBytes = typeof value === "string" ? bytesOf(value) : value;
  table.insert(keyBytes, 0, keyBytes.length, seq, flags, createTs, expireTs, valueBytes, 0, valueBytes.length);
}

function rowOf(cursor: Omit<Cursor, "first" | "last" | "next" | "prev" | "seekGE" | "seekLT" | "collectNeeds">): Row {
  assert.equal(cursor.keyHi, keyWord(cursor.keyBytes, cursor.keyStart, cursor.keyEnd));
  assert.equal(cursor.keyLo, keyWord(cursor.keyBytes, cursor.keyStart + 4, cursor.keyEnd));
  return {
    key: cursor.keyBytes.slice(cursor.keyStart, cursor.keyEnd),
    seq: cursor.seq,
    flags: cursor.flags,
    value: cursor.valueBytes.slice(cursor.valueStart, cursor.valueEnd),
    createTs: cursor.createTs,
    expireTs: cursor.expireTs,
  };
}

const label = (row: { readonly key: Uint8Array; readonly seq: number }): string =>
  `${new TextDecoder().decode(row.key)}@${row.seq}`;

function ascending(table: Memtable): Row[] {
  const rows: Row[] = [];
  const cursor = table.cursor();
  for (let move = cursor.first(); move !== END; move = cursor.next()) rows.push(rowOf(cursor));
  return rows;
}

function descending(table: Memtable): Row[] {
  const rows: Row[] = [];
  const cursor = table.cursor();
  for (let move = cursor.last(); move !== END; move = cursor.prev()) rows.push(rowOf(cursor));
  return rows;
}

const order = (a: { key: Uint8Array; seq: number }, b: { key: Uint8Array; seq: number }): number =>
  compareBytes(a.key, b.key) || b.seq - a.seq;

/** The same contract over a sorted array, as plainly as possible. */
class Model {
  rows: Row[] = [];

  insert(row: Row): void {
    this.rows = [...this.rows.filter((other) => order(other, row) !== 0), row].sort(order);
  }

  find(key: Uint8Array, maxSeq: number): Row | undefined {
    return this.rows.find((row) => compareBytes(row.key, key) === 0 && row.seq <= maxSeq);
  }
}

describe("memtable numbers", () => {
  it("Memtable size follows the format's table step by step", () => {
    const table = new Memtable();
    const sizes: number[] = [];
    const step = (key: string, seq: number, value: string, flags = 0): void => {
      put(table, key, seq, value, flags);
      sizes.push(table.sizeBytes);
    };
    step("first", 1, "foo");
    step("first", 2, "", FLAG_TOMBSTONE);
    step("abc333", 1, "val1");
    step("def456", 2, "blablabla");
    step("def456", 3, "blabla");
    step("abc333", 4, "", FLAG_TOMBSTONE);
    assert.deepEqual(sizes, [16, 29, 47, 70, 90, 104]);
    assert.equal(table.entryCount, 6);
  });

  it("Memtable size counts each time that is present with 8 bytes", () => {
    const table = new Memtable();
    put(table, "k", 1, "v", 0, 5);
    assert.equal(table.sizeBytes, 18);
    put(table, "k", 2, "v", 0, 5, 9);
    assert.equal(table.sizeBytes, 18 + 26);
    put(table, "k", 3, "v", 0, NO_TICK, 9);
    assert.equal(table.sizeBytes, 18 + 26 + 18);
  });

  it("Memtable sequence numbers and tick are none when empty and extremes afterwards", () => {
    const table = new Memtable();
    assert.deepEqual([table.firstSeq, table.lastSeq, table.lastTick, table.entryCount], [0, 0, NO_TICK, 0]);
    assert.equal(table.estimatedSstBytes, 0);
    put(table, "b", 7, "v", 0, 100);
    put(table, "a", 3, "v", 0, 90);
    put(table, "c", 5, "v");
    assert.deepEqual([table.firstSeq, table.lastSeq, table.lastTick, table.entryCount], [3, 7, 100, 3]);
    assert.ok(table.estimatedSstBytes > table.sizeBytes);
  });

  it("Memtable insert of an existing key and sequence number replaces the row and adjusts the size", () => {
    const table = new Memtable();
    put(table, "k", 1, "long value", 0, 5, 9);
    put(table, "other", 2, "x");
    put(table, "k", 1, "v", FLAG_MERGE);
    assert.equal(table.entryCount, 2);
    assert.equal(table.sizeBytes, 1 + 1 + 8 + 5 + 1 + 8);
    const [row] = ascending(table);
    assert.deepEqual([label(row!), new TextDecoder().decode(row!.value), row!.flags], ["k@1", "v", FLAG_MERGE]);
    assert.deepEqual([row!.createTs, row!.expireTs], [NO_TICK, NO_EXPIRY]);
    put(table, "k", 1, "again", 0, 1, 77);
    assert.deepEqual(ascending(table)[0]!.expireTs, 77);
  });

  it("Memtable flags tell which times are present, whatever the caller set", () => {
    const table = new Memtable();
    put(table, "a", 1, "v", FLAG_CREATE | FLAG_EXPIRE);
    put(table, "b", 2, "value of a tombstone", FLAG_TOMBSTONE, 5);
    put(table, "c", 3, "v", FLAG_MERGE, 5, 6);
    assert.deepEqual(ascending(table).map((row) => [row.flags, row.value.length]), [
      [0, 1],
      [FLAG_TOMBSTONE | FLAG_CREATE, 0],
      [FLAG_MERGE | FLAG_CREATE | FLAG_EXPIRE, 1],
    ]);
  });

  it("Memtable memoryBytes grows with the rows and is small at the start", () => {
    const table = new Memtable();
    assert.ok(table.memoryBytes < 16_384, `${table.memoryBytes}`);
    const value = new Uint8Array(1000);
    for (let i = 0; i < 3000; i++) put(table, `key${i}`, i + 1, value);
    assert.ok(table.memoryBytes > 3_000_000 && table.memoryBytes < 5_000_000, `${table.memoryBytes}`);
  });
});

describe("memtable order", () => {
  const sample = (): Memtable => {
    const table = new Memtable();
    for (const [key, seq] of [["abc333", 1], ["abc333", 4], ["first", 2], ["first", 1], ["def456", 3]] as const) {
      put(table, key, seq, `${key}-${seq}`);
    }
    return table;
  };
  const upward = ["abc333@4", "abc333@1", "def456@3", "first@2", "first@1"];

  it("MemtableCursor next goes by key, newest version first", () => {
    assert.deepEqual(ascending(sample()).map(label), upward);
  });

  it("MemtableCursor prev goes exactly against next", () => {
    assert.deepEqual(descending(sample()).map(label), upward.toReversed());
  });

  it("MemtableCursor seeks map every kind of bound", () => {
    const table = sample();
    const cursor = table.cursor();
    const after = (key: string): Uint8Array => bytesOf(`${key}\0`);
    // Included start, excluded start, excluded end (walked backwards), included end.
    const at = (move: number): string => move === END ? "end" : label(rowOf(cursor));
    assert.equal(at(cursor.seekGE(bytesOf("abc333"))), "abc333@4");
    assert.equal(at(cursor.seekGE(after("abc333"))), "def456@3");
    assert.equal(at(cursor.seekLT(bytesOf("def456"))), "abc333@1");
    assert.equal(at(cursor.seekLT(after("def456"))), "def456@3");
    assert.equal(at(cursor.seekGE(bytesOf("a"))), "abc333@4");
    assert.equal(at(cursor.seekGE(bytesOf("g"))), "end");
    assert.equal(at(cursor.seekLT(bytesOf("abc333"))), "end");
    assert.equal(at(cursor.seekLT(bytesOf("zzz"))), "first@1");
  });

  it("Memtable find gives the newest version at or below a sequence number", () => {
    const table = sample();
    const seqAt = (key: string, maxSeq: number): number => {
      const row = table.find(bytesOf(key), maxSeq);
      return row < 0 ? -1 : table.seqOf(row);
    };
    assert.equal(seqAt("abc333", Infinity), 4);
    assert.equal(seqAt("abc333", 4), 4);
    assert.equal(seqAt("abc333", 3), 1);
    assert.equal(seqAt("abc333", 0), -1);
    assert.equal(seqAt("abc33", 9), -1);
    assert.equal(seqAt("abc3333", 9), -1);
    assert.equal(new Memtable().find(bytesOf("a"), 9), -1);
    const newest = table.find(bytesOf("first"), Infinity);
    assert.equal(table.seqOf(table.nextOlder(newest)), 1);
    assert.equal(table.nextOlder(table.nextOlder(newest)), -1);
  });

  it("Memtable row ids follow the order of insertion", () => {
    const table = sample();
    const slot = table.cursor();
    const labels: string[] = [];
    for (let row = 0; row < table.entryCount; row++) {
      table.readRow(row, slot);
      labels.push(label(rowOf(slot)));
    }
    assert.deepEqual(labels, ["abc333@1", "abc333@4", "first@2", "first@1", "def456@3"]);
  });

  it("Memtable filterAfterSeq copies only what is newer", () => {
    const copy = sample().filterAfterSeq(2);
    assert.deepEqual(ascending(copy).map(label), ["abc333@4", "def456@3"]);
    assert.deepEqual([copy.firstSeq, copy.lastSeq, copy.entryCount, copy.sizeBytes], [3, 4, 2, 2 * (6 + 8 + 8)]);
    assert.equal(sample().filterAfterSeq(4).entryCount, 0);
  });
});

describe("memtable storage", () => {
  it("Memtable keeps keys and values of every size intact", () => {
    const table = new Memtable();
    const model = new Model();
    const sizes = [0, 1, 23, 24, 25, 95, 96, 97, 4096, 65_535, 65_536, 262_144, 262_145, 1 << 20, 3_000_000];
    let seq = 0;
    for (const keyLength of [1, 8, 30, 65_535]) {
      for (const valueLength of sizes) {
        // Slices of a larger array, as replay hands them over.
        const source = new Uint8Array(keyLength + valueLength + 9);
        seq++;
        for (let i = 0; i < source.length; i++) source[i] = (i * 31 + seq * 7) & 0xff;
        const keyEnd = 3 + keyLength;
        const flags = 0;
        table.insert(source, 3, keyEnd, seq, flags, seq, NO_EXPIRY, source, keyEnd, keyEnd + valueLength);
        const key = source.slice(3, keyEnd);
        const value = source.slice(keyEnd, keyEnd + valueLength);
        model.insert({ key, seq, flags: FLAG_CREATE, value, createTs: seq, expireTs: NO_EXPIRY });
      }
    }
    const rows = ascending(table);
    assert.equal(rows.length, model.rows.length);
    rows.forEach((row, i) => {
      const expected = model.rows[i]!;
      assert.equal(row.seq, expected.seq);
      assert.ok(compareBytes(row.key, expected.key) === 0 && compareBytes(row.value, expected.value) === 0);
    });
  });

  it("Memtable rows above 256 KiB do not waste the chunk in use", () => {
    const table = new Memtable();
    const large = new Uint8Array(1 << 20);
    for (let i = 0; i < 10; i++) {
      put(table, `large${i}`, i + 1, large);
      put(table, `small${i}`, i + 1, "v");
    }
    assert.ok(table.memoryBytes < 10 * large.length + 200_000, `${table.memoryBytes}`);
  });

  it("Memtable keeps every row apart where its chunks share memory", () => {
    const table = new Memtable();
    const value = new Uint8Array(200_000);
    const rows = 230;
    for (let i = 0; i < rows; i++) {
      value.fill(i);
      put(table, `row ${String(i).padStart(3, "0")}`, i + 1, value);
    }
    assert.ok(table.memoryBytes < 60_000_000, `${table.memoryBytes}`);
    ascending(table).forEach((row, i) => {
      assert.equal(row.seq, i + 1);
      assert.ok(row.value.length === value.length && row.value.every((byte) => byte === i), `row ${i}`);
    });
  });

  it("Memtable rows that were read stay as they are while others are inserted and replaced", () => {
    const table = new Memtable();
    put(table, "k", 1, "old");
    const cursor = table.cursor();
    assert.equal(cursor.first(), READY);
    put(table, "k", 1, "new");
    for (let i = 0; i < 2000; i++) put(table, `key ${i}`, i + 2, "v".repeat(100));
    assert.equal(new TextDecoder().decode(rowOf(cursor).value), "old");
  });

  it("Memtable order survives keys that share ever shorter prefixes", () => {
    // Each group shares one byte less with the first, so that the words are taken anew more often than allowed.
    const table = new Memtable();
    const model = new Model();
    const base = "0123456789abcdefghijklmnop";
    let seq = 0;
    for (let shared = base.length; shared >= 0; shared--) {
      for (let i = 0; i < 80; i++) {
        const key = bytesOf(base.slice(0, shared) + String.fromCharCode(0x20 + (i * 37) % 80) + i);
        put(table, key, ++seq, "v");
        model.insert({ key, seq, flags: 0, value: bytesOf("v"), createTs: NO_TICK, expireTs: NO_EXPIRY });
        assert.ok(table.find(key, Infinity) >= 0);
      }
      // The first group makes the tree more than one leaf; from then on each group takes the words anew.
      const rebuilds = base.length - shared;
      assert.equal(table.tree.skip, rebuilds <= MAX_REBUILDS ? shared : 0);
    }
    assert.deepEqual(ascending(table).map(label), model.rows.map(label));
    for (const { key } of model.rows) assert.ok(table.find(key, Infinity) >= 0);
    assert.equal(table.find(bytesOf("zzz"), Infinity), -1);
  });

  it("Memtable leaves out the prefix that all keys share, and still answers for keys without it", () => {
    const table = new Memtable();
    for (let i = 0; i < 500; i++) put(table, `user${String((i * 7919) % 500).padStart(12, "0")}`, i + 1, "v");
    assert.equal(table.tree.skip, 4 + 9);
    const cursor = table.cursor();
    assert.equal(table.find(bytesOf("user"), Infinity), -1);
    assert.equal(table.find(bytesOf("usez"), Infinity), -1);
    assert.equal(cursor.seekGE(bytesOf("use")), READY);
    assert.equal(label(rowOf(cursor)).slice(0, 16), "user000000000000");
    assert.equal(cursor.seekGE(bytesOf("uses")), END);
    assert.equal(cursor.seekLT(bytesOf("user")), END);
    assert.equal(cursor.seekLT(bytesOf("v")), READY);
    assert.equal(label(rowOf(cursor)).slice(0, 16), "user000000000499");
  });

  it("Memtable holds many rows in ascending, descending and mixed order", () => {
    const rank = (i: number, how: string): number => how === "up" ? i : how === "down" ? 9999 - i : (i * 7919) % 10_000;
    for (const how of ["up", "down", "mixed"]) {
      const table = new Memtable();
      for (let i = 0; i < 10_000; i++) put(table, `k${String(rank(i, how)).padStart(5, "0")}`, i + 1, "v");
      const keys = ascending(table).map((row) => new TextDecoder().decode(row.key));
      assert.deepEqual(keys, Array.from({ length: 10_000 }, (_, i) => `k${String(i).padStart(5, "0")}`), how);
      assert.equal(descending(table).length, 10_000);
    }
  });
});

describe("memtable of three levels", () => {
  it("Memtable orders and finds 150,000 scattered rows", () => {
    const table = new Memtable();
    const count = 150_000;
    const key = new Uint8Array(4);
    const view = new DataView(key.buffer);
    const scattered = (i: number): Uint8Array => {
      view.setUint32(0, Math.imul(i + 1, 0x9e3779b1) >>> 0);
      return key;
    };
    for (let i = 0; i < count; i++) put(table, scattered(i), i + 1);
    const cursor = table.cursor();
    let rows = 0;
    let before = -Infinity;
    for (let move = cursor.first(); move !== END; move = cursor.next(), rows++) {
      assert.ok(cursor.keyHi > before);
      before = cursor.keyHi;
    }
    assert.equal(rows, count);
    for (let move = cursor.last(); move !== END; move = cursor.prev()) rows--;
    assert.equal(rows, 0);
    for (let i = 0; i < count; i++) assert.equal(table.find(scattered(i), Infinity), i);
  });
});

const keys = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 12 }),
  fc.uint8Array({ minLength: 1, maxLength: 3 }).map((tail) => Uint8Array.from([9, 9, 9, 9, 9, ...tail])),
  fc.constantFrom(...["a", "a\0", "a\0\0", "aaaaaaaa", "aaaaaaaa\0", "aaaaaaaab", "user0001", "user0002"].map(bytesOf)),
);
const maybeTime = (none: number) => fc.oneof(fc.constant(none), fc.integer({ min: -5, max: 2 ** 45 }));

describe("memtable against a sorted array", () => {
  it(`Memtable find, nextOlder and both walks agree with the model (seed ${SEED})`, () => {
    const row = fc.record({
      key: keys,
      seq: fc.integer({ min: 1, max: 40 }),
      flags: fc.constantFrom(0, FLAG_TOMBSTONE, FLAG_MERGE),
      value: fc.uint8Array({ maxLength: 40 }),
      createTs: maybeTime(NO_TICK),
      expireTs: maybeTime(NO_EXPIRY),
    });
    const probes = fc.array(fc.tuple(keys, fc.integer({ min: 0, max: 42 })), { maxLength: 10 });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 300, size: "max" }), probes, (rows, extra) => {
        const table = new Memtable();
        const model = new Model();
        let size = 0;
        for (const { key, seq, flags, value, createTs, expireTs } of rows) {
          const stored = flags === FLAG_TOMBSTONE ? new Uint8Array(0) : value;
          put(table, key, seq, value, flags, createTs, expireTs);
          const times = (createTs === NO_TICK ? 0 : FLAG_CREATE) | (expireTs === NO_EXPIRY ? 0 : FLAG_EXPIRE);
          model.insert({ key, seq, flags: flags | times, value: stored, createTs, expireTs });
        }
        for (const { key, value, createTs, expireTs } of model.rows) {
          size += key.length + value.length + 8 + (createTs === NO_TICK ? 0 : 8) + (expireTs === NO_EXPIRY ? 0 : 8);
        }
        assert.equal(table.sizeBytes, size);
        assert.equal(table.entryCount, model.rows.length);
        assert.deepEqual(ascending(table), model.rows);
        assert.deepEqual(descending(table), model.rows.toReversed());
        const slot = table.cursor();
        const read = (id: number): Row | undefined => id < 0 ? undefined : (table.readRow(id, slot), rowOf(slot));
        for (const [key, seq] of [...extra, ...rows.map((one) => [one.key, one.seq] as const)]) {
          for (const maxSeq of [seq - 1, seq, Infinity]) {
            const found = table.find(key, maxSeq);
            const expected = model.find(key, maxSeq);
            assert.deepEqual(read(found), expected);
            if (expected !== undefined) {
              assert.deepEqual(read(table.nextOlder(found)), model.find(key, expected.seq - 1));
            }
          }
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  it(`MemtableCursor moves among inserts as a sorted array would (seed ${SEED})`, () => {
    const insert = fc.record({ kind: fc.constant("insert" as const), key: keys, seq: fc.integer({ min: 1, max: 9 }) });
    const burst = fc.record({
      kind: fc.constant("burst" as const),
      start: fc.integer({ min: 0, max: 0xffff }),
      count: fc.integer({ min: 1, max: 150 }),
      step: fc.constantFrom(1, -1, 257),
    });
    const seek = fc.record({ kind: fc.constantFrom("seekGE" as const, "seekLT" as const), key: keys });
    const move = fc.record({
      kind: fc.constantFrom(...["next", "next", "next", "prev", "prev", "first", "last"] as const),
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(insert, burst, seek, move, move), { maxLength: 60, size: "max" }), (ops) => {
        const table = new Memtable();
        const model = new Model();
        const cursor = table.cursor();
        let current: Row | undefined;
        const add = (key: Uint8Array, seq: number): void => {
          put(table, key, seq, hex(key));
          const value = bytesOf(hex(key));
          model.insert({ key, seq, flags: 0, value, createTs: NO_TICK, expireTs: NO_EXPIRY });
        };
        for (const op of ops) {
          if (op.kind === "insert") {
            add(op.key, op.seq);
            continue;
          }
          if (op.kind === "burst") {
            for (let i = 0; i < op.count; i++) {
              const at = (op.start + i * op.step) & 0xffff;
              add(Uint8Array.from([7, 7, at >> 8, at & 0xff]), 1);
            }
            continue;
          }
          if ((op.kind === "next" || op.kind === "prev") && current === undefined) continue;
          const expected = step(model, current, op);
          const answer = op.kind === "seekGE" || op.kind === "seekLT" ? cursor[op.kind](op.key) : cursor[op.kind]();
          assert.equal(answer, expected === undefined ? END : READY);
          if (expected !== undefined) assert.deepEqual(rowOf(cursor), expected);
          current = expected;
        }
      }),
      { seed: SEED, numRuns: 60 },
    );
  });
});

type MoveOp =
  | { readonly kind: "first" | "last" | "next" | "prev" }
  | { readonly kind: "seekGE" | "seekLT"; readonly key: Uint8Array };

function step(model: Model, current: Row | undefined, op: MoveOp): Row | undefined {
  const { rows } = model;
  switch (op.kind) {
    case "first":
      return rows[0];
    case "last":
      return rows.at(-1);
    case "next":
      return rows.find((row) => order(row, current!) > 0);
    case "prev":
      return rows.findLast((row) => order(row, current!) < 0);
    case "seekGE":
      return rows.find((row) => compareBytes(row.key, op.key) >= 0);
    case "seekLT":
      return rows.findLast((row) => compareBytes(row.key, op.key) < 0);
  }
}
