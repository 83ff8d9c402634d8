/** The memtable: its sizes by the format's table, its order, and how it keeps what it is given. */
import { compareBytes } from "../../src/bytes/compare.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { END, READY } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { MAX_REBUILDS } from "../../src/lsm/memtable_tree.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ascending, bytesOf, descending, label, Model, put, rowOf } from "./memtable_model.ts";

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
