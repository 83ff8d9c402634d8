/**
 * The WAL buffer: order, triggers, release, the end by a fatal error, and the object it encodes to.
 *
 * @module
 */
import type { OneShot } from "../../src/env/one_shot.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { WalBuffer, type WalEncoding, WalObjectWriter } from "../../src/state/wal_buffer.ts";
import { assert, describe, it } from "../support/suite.ts";

const ENCODING: WalEncoding = { blockSizeBytes: 4096, compression: 0, minFilterKeys: 1000, filterBitsPerKey: 10 };
const text = new TextEncoder();
const decoder = new TextDecoder();

/** Inserts one row and appends it, as the writer does. */
function write(buffer: WalBuffer, table: Memtable, seq: number, key = `key${seq}`, bytes = 10): OneShot<unknown> {
  const from = table.entryCount;
  const keyBytes = text.encode(key);
  table.insert(keyBytes, 0, keyBytes.length, seq, 0, seq * 10, NO_EXPIRY, keyBytes, 0, keyBytes.length);
  return buffer.append(table, from, table.entryCount, seq, seq * 10, bytes);
}

/** 100 frozen buffers of one row each: sequence numbers and WAL ids 1..100. */
function hundred(): WalBuffer {
  const buffer = new WalBuffer();
  const table = new Memtable();
  for (let seq = 1; seq <= 100; seq++) {
    write(buffer, table, seq);
    buffer.freeze(seq);
  }
  return buffer;
}

describe("WalBuffer append and freeze", () => {
  it("WalBuffer append joins neighbouring rows of one memtable and starts a segment for another", () => {
    const buffer = new WalBuffer();
    const [first, second] = [new Memtable(), new Memtable()];
    assert.ok(buffer.isEmpty);
    write(buffer, first, 4);
    write(buffer, first, 5);
    write(new WalBuffer(), second, 1);
    write(new WalBuffer(), second, 2);
    write(buffer, second, 6);
    write(buffer, second, 7);
    assert.ok(!buffer.isEmpty);
    assert.equal(buffer.estimatedBytes, 40);
    const frozen = buffer.freeze(9)!;
    assert.deepEqual(frozen.segments.map(({ fromRow, toRow }) => [fromRow, toRow]), [[0, 2], [2, 4]]);
    assert.ok(frozen.segments[0]!.memtable === first && frozen.segments[1]!.memtable === second);
    const { id, firstSeq, lastSeq, lastTick, bytes } = frozen;
    assert.deepEqual({ id, firstSeq, lastSeq, lastTick, bytes }, {
      id: 9,
      firstSeq: 4,
      lastSeq: 7,
      lastTick: 70,
      bytes: 40,
    });
  });

  it("WalBuffer freeze of an empty buffer does nothing", () => {
    const buffer = new WalBuffer();
    assert.equal(buffer.freeze(1), undefined);
    assert.equal(buffer.nextToFlush, undefined);
    assert.equal(buffer.pendingDurable, undefined);
    write(buffer, new Memtable(), 1);
    assert.equal(buffer.freeze(1)!.id, 1);
    assert.equal(buffer.freeze(2), undefined);
  });

  it("WalBuffer freeze leaves a frozen buffer untouched by later rows", () => {
    const buffer = new WalBuffer();
    const table = new Memtable();
    write(buffer, table, 1);
    const frozen = buffer.freeze(1)!;
    table.insert(text.encode("k"), 0, 1, 2, 0, NO_TICK, NO_EXPIRY, text.encode("v"), 0, 1);
    buffer.append(table, 1, 2, 2, NO_TICK, 10);
    assert.deepEqual(frozen.segments.map(({ fromRow, toRow }) => [fromRow, toRow]), [[0, 1]]);
    const next = buffer.freeze(2)!;
    assert.deepEqual([next.firstSeq, next.lastSeq, next.lastTick], [2, 2, NO_TICK]);
    assert.deepEqual(next.segments.map(({ fromRow, toRow }) => [fromRow, toRow]), [[1, 2]]);
    assert.equal(buffer.estimatedBytes, 20);
  });

  it("WalBuffer freeze refuses an id that is not above the others", () => {
    const buffer = new WalBuffer();
    const table = new Memtable();
    write(buffer, table, 1);
    buffer.freeze(5);
    write(buffer, table, 2);
    assert.throws(() => buffer.freeze(5), /WAL id 5/);
    buffer.flushed(5);
    assert.throws(() => buffer.freeze(4), /WAL id 4/);
    assert.equal(buffer.freeze(6)!.lastSeq, 2);
  });

  it("WalBuffer needsSizeFlush asks once per buffer", () => {
    const buffer = new WalBuffer();
    const table = new Memtable();
    write(buffer, table, 1);
    assert.ok(!buffer.needsSizeFlush(11));
    write(buffer, table, 2);
    assert.ok(buffer.needsSizeFlush(11));
    assert.ok(!buffer.needsSizeFlush(11));
    write(buffer, table, 3);
    assert.ok(!buffer.needsSizeFlush(11));
    buffer.freeze(1);
    assert.ok(!buffer.needsSizeFlush(11));
    write(buffer, table, 4, "key4", 11);
    assert.ok(buffer.needsSizeFlush(11));
  });
});

describe("WalBuffer durability", () => {
  it("WalBuffer flushed settles the signals of its rows only, in order", () => {
    const buffer = new WalBuffer();
    const table = new Memtable();
    const first = write(buffer, table, 1);
    assert.equal(first, write(buffer, table, 2));
    assert.equal(buffer.durable, first);
    buffer.freeze(1);
    const second = write(buffer, table, 3);
    assert.notEqual(first, second);
    assert.equal(buffer.pendingDurable, second);
    buffer.freeze(2);
    assert.equal(buffer.pendingDurable, second);
    assert.equal(buffer.nextToFlush!.id, 1);
    assert.throws(() => buffer.flushed(2), /out of order/);
    let seen = -1;
    first.subscribe(() => seen = buffer.durableSeq);
    buffer.flushed(1);
    assert.equal(seen, 2);
    assert.ok(first.succeeded && !second.settled);
    assert.deepEqual([buffer.flushedId, buffer.durableSeq, buffer.nextToFlush!.id], [1, 2, 2]);
    buffer.flushed(2);
    assert.ok(second.succeeded);
    assert.equal(buffer.pendingDurable, undefined);
    assert.throws(() => buffer.flushed(2), /none is next/);
  });

  it("WalBuffer releases 50 of 100 stored buffers when half of the rows are applied", () => {
    const buffer = hundred();
    for (let id = 1; id <= 100; id++) buffer.flushed(id);
    assert.equal(buffer.immutables.length, 100);
    buffer.trackLastAppliedSeq(50);
    assert.equal(buffer.immutables.length, 50);
    assert.equal(buffer.estimatedBytes, 500);
    buffer.trackLastAppliedSeq(40);
    assert.equal(buffer.immutables.length, 50);
  });

  it("WalBuffer keeps 20 of 100 buffers when 80 are durable and 90 applied", () => {
    const buffer = hundred();
    buffer.trackLastAppliedSeq(90);
    assert.equal(buffer.immutables.length, 100);
    for (let id = 1; id <= 80; id++) buffer.flushed(id);
    assert.equal(buffer.immutables.length, 20);
    assert.equal(buffer.immutables[0]!.id, 81);
    assert.equal(buffer.estimatedBytes, 200);
  });

  it("WalBuffer fail answers every waiter, oldest first, and refuses what comes after", () => {
    const buffer = new WalBuffer();
    const table = new Memtable();
    const signals: OneShot<unknown>[] = [];
    for (let seq = 1; seq <= 3; seq++) {
      signals.push(write(buffer, table, seq));
      buffer.freeze(seq);
    }
    signals.push(write(buffer, table, 4));
    buffer.flushed(1);
    const answered: number[] = [];
    signals.forEach((signal, i) => signal.subscribe(() => answered.push(i + 1)));
    const error = new Error("fenced");
    buffer.fail(error);
    buffer.fail(new Error("later"));
    assert.deepEqual(answered, [1, 2, 3, 4]);
    assert.deepEqual(signals.map((signal) => signal.error), [undefined, error, error, error]);
    assert.equal(buffer.fatalError, error);
    assert.throws(() => write(buffer, table, 5), error);
    assert.throws(() => buffer.freeze(9), error);
    assert.ok(buffer.durable.error === error);
  });
});

describe("WalObjectWriter", () => {
  it("WalObjectWriter writes the rows in the order of the log with everything they carry", () => {
    const buffer = new WalBuffer();
    const [first, second] = [new Memtable(), new Memtable()];
    write(buffer, first, 1, "zebra");
    buffer.freeze(1);
    const from = first.entryCount;
    const [a, b, value] = [text.encode("ant"), text.encode("bee"), text.encode("operand")];
    first.insert(a, 0, 3, 2, FLAG_TOMBSTONE, 20, NO_EXPIRY, value, 0, 0);
    first.insert(b, 0, 3, 2, FLAG_MERGE, 20, 99, value, 0, 7);
    buffer.append(first, from, first.entryCount, 2, 20, 50);
    write(buffer, second, 3, "aardvark");
    second.insert(b, 0, 3, 4, 0, NO_TICK, NO_EXPIRY, value, 0, 0);
    buffer.append(second, 1, 2, 4, NO_TICK, 50);
    const rows = new WalRows(new WalObjectWriter(buffer.freeze(2)!, ENCODING).finish());
    const seen: unknown[] = [];
    while (rows.next()) {
      const key = decoder.decode(rows.keyBytes.subarray(rows.keyStart, rows.keyEnd));
      const valueText = decoder.decode(rows.valueBytes.subarray(rows.valueStart, rows.valueEnd));
      seen.push([key, rows.seq, rows.flags & (FLAG_TOMBSTONE | FLAG_MERGE), valueText, rows.createTs, rows.expireTs]);
    }
    assert.deepEqual(seen, [
      ["ant", 2, FLAG_TOMBSTONE, "", 20, NO_EXPIRY],
      ["bee", 2, FLAG_MERGE, "operand", 20, 99],
      ["aardvark", 3, 0, "aardvark", 30, NO_EXPIRY],
      ["bee", 4, 0, "", NO_TICK, NO_EXPIRY],
    ]);
  });
});
