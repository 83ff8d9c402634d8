import fc from "fast-check";
import { type OwnSpec, OwnWrites, viewWith } from "../../src/db/own_writes.ts";
import { WriteBatch } from "../../src/db/write_batch.ts";
import type { Entry } from "../../src/db/api.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { NO_EXPIRY } from "../../src/format/types.ts";
import { END } from "../../src/lsm/cursor.ts";
import { FULL_RANGE } from "../../src/lsm/key_range.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { foldMerge } from "../../src/lsm/merge_operator.ts";
import { RowScan } from "../../src/lsm/row_scan.ts";
import { assert, describe, it } from "../support/suite.ts";
import { append, rows } from "./transaction_world.ts";

const merge = foldMerge(append);
const folding = { merge, mergeOperator: append };
const bytes = (value: string) => new TextEncoder().encode(value);

/** Committed rows: one below the bound, one above it that must not be seen. */
function committed(bound: number): Memtable {
  const table = new Memtable();
  for (
    const [key, seq, value] of [["a", bound, "old"], ["a", bound + 1, "later"], ["m", bound, "x"], [
      "z",
      bound + 1,
      "later",
    ]] as const
  ) {
    table.insert(bytes(key), 0, 1, seq, 0, 1, NO_EXPIRY, bytes(value), 0, value.length);
  }
  return table;
}

function read(base: Memtable, spec: OwnSpec, order: "ascending" | "descending" = "ascending"): string {
  const entries: Entry[] = [];
  const scan = new RowScan(viewWith({ memtables: [base], l0: [], runs: [] }, spec), FULL_RANGE, spec, { order });
  assert.equal(scan.fill(entries, Infinity), END);
  return (order === "ascending" ? rows(entries) : rows(entries).reverse()).join(" ");
}

const op = fc.record({
  kind: fc.constantFrom("put" as const, "delete" as const, "merge" as const, "merge" as const, "deleteRange" as const),
  key: fc.constantFrom("a", "b", "m"),
  lasts: fc.boolean(),
  read: fc.boolean(),
});

describe("own writes", () => {
  // The larger the number below them, the fewer steps there are between it and the next.
  for (const bound of [0, 1, 2 ** 33 + 5, 2 ** 49 - 3, 2 ** 49 + 7]) {
    it(`X6 above ${bound} every read sees what was written before it, now and for as long as it goes on`, () => {
      fc.assert(
        fc.property(fc.array(op, { maxLength: 40, size: "max" }), (ops) => {
          const batch = new WriteBatch();
          const own = new OwnWrites(batch, bound, folding);
          const base = committed(bound);
          const model = new Map([["a", "old"], ["m", "x"]]);
          const expected = () => [...model].sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => `${k}=${v}`).join(" ");
          const lasting: Array<readonly [spec: OwnSpec, rows: string]> = [];
          for (const [i, { kind, key, lasts, read: isRead }] of ops.entries()) {
            if (kind === "put") {
              batch.put(key, `${i}.`, { ttl: { afterMillis: 0 } });
              model.set(key, `${i}.`);
            } else if (kind === "delete") {
              batch.delete(key);
              model.delete(key);
            } else if (kind === "deleteRange") {
              batch.deleteRange(key === "m" ? { gte: "b" } : { lte: key });
              for (const one of [...model.keys()]) if (key === "m" ? one >= "b" : one <= key) model.delete(one);
            } else {
              batch.merge(key, `${i}.`);
              model.set(key, `${model.get(key) ?? ""}${i}.`);
            }
            if (!isRead) continue;
            const spec = own.spec({ maxSeq: bound, nowMillis: 1000, mergeOperator: merge }, lasts);
            assert.ok(spec.maxSeq >= bound && spec.maxSeq < bound + 1);
            assert.equal(read(base, spec), expected());
            if (lasts) lasting.push([spec, expected()]);
          }
          for (const [spec, then] of lasting) {
            assert.equal(read(base, spec), then);
            assert.equal(read(base, spec, "descending"), then);
          }
        }),
        { seed: 5, numRuns: 200 },
      );
    });
  }

  it("of a batch without operations are nothing", () => {
    const spec = new OwnWrites(new WriteBatch(), 7, folding).spec(
      { maxSeq: 7, nowMillis: 0, mergeOperator: merge },
      true,
    );
    assert.deepEqual([spec.maxSeq, spec.own], [7, undefined]);
  });

  it("are refused where no number fits between two", () => {
    assert.throws(
      () => new OwnWrites(new WriteBatch(), 2 ** 51, folding),
      (error) => error instanceof InvalidArgument && error.reason === "sequence-numbers",
    );
  });
});
