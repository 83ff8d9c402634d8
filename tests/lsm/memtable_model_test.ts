/** The memtable against a sorted array as its model. */
import fc from "fast-check";
import { compareBytes } from "../../src/bytes/compare.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { END, READY } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ascending, bytesOf, descending, hex, Model, order, put, type Row, rowOf } from "./memtable_model.ts";

const SEED = 20251121;

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
