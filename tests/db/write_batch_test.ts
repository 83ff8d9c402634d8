/**
 * Write batches: what they take, and the rows that they become.
 *
 * @module
 */
import fc from "fast-check";
import { compareBytes } from "../../src/bytes/compare.ts";
import type { Ttl } from "../../src/db/api.ts";
import { type BatchRow, type CapturedBatch, expiry, valueBytes, WriteBatch } from "../../src/db/write_batch.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY } from "../../src/format/types.ts";
import { END } from "../../src/lsm/cursor.ts";
import { Memtable } from "../../src/lsm/memtable.ts";
import { foldMerge } from "../../src/lsm/merge_operator.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20251122;
const TICK = 1000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const concat = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array =>
  Uint8Array.from([...existing ?? [], ...operand]);

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidArgument) return error.reason;
    throw error;
  }
  return "accepted";
}

function resolved(batch: WriteBatch | CapturedBatch, defaultTtl: number = Infinity): BatchRow[] {
  const captured = batch instanceof WriteBatch ? batch.clone() : batch;
  return captured.resolve(TICK, defaultTtl, foldMerge(concat), concat);
}

const KINDS: Record<number, string> = { 0: "put", [FLAG_TOMBSTONE]: "delete", [FLAG_MERGE]: "merge" };

/** One line per row: kind, key, value, expiry if there is one. */
function lines(rows: readonly BatchRow[]): string[] {
  return rows.map(({ key, flags, value, expireTs }) =>
    `${KINDS[flags]} ${decoder.decode(key)}=${decoder.decode(value)}${expireTs === NO_EXPIRY ? "" : ` !${expireTs}`}`
  );
}

describe("WriteBatch arguments", () => {
  const cases: ReadonlyArray<readonly [string, (batch: WriteBatch) => unknown, string]> = [
    ["an empty key", (batch) => batch.put("", "v"), "key-empty"],
    ["an empty key of a delete", (batch) => batch.delete(new Uint8Array(0)), "key-empty"],
    ["a key of 65536 bytes", (batch) => batch.put(new Uint8Array(65_536), "v"), "key-too-long"],
    ["a text key of 65536 bytes", (batch) => batch.put("ä".repeat(32_768), "v"), "key-too-long"],
    ["a key of 65535 bytes", (batch) => batch.put(new Uint8Array(65_535), "v"), "accepted"],
    ["a text key of 65535 bytes", (batch) => batch.put("k".repeat(65_535), "v"), "accepted"],
    ["a number as key", (batch) => batch.put(5 as unknown as string, "v"), "not-bytes"],
    ["null as key", (batch) => batch.delete(null as unknown as string), "not-bytes"],
    ["an array as value", (batch) => batch.put("k", [1, 2] as unknown as string), "not-bytes"],
    ["undefined as operand", (batch) => batch.merge("k", undefined as unknown as string), "not-bytes"],
    ["other typed arrays", (batch) => batch.put("k", new Uint16Array(2) as unknown as Uint8Array), "not-bytes"],
    ["an empty value", (batch) => batch.put("k", new Uint8Array(0)), "accepted"],
    ["an unknown ttl", (batch) => batch.put("k", "v", { ttl: "soon" as Ttl }), "ttl"],
    ["a null ttl", (batch) => batch.put("k", "v", { ttl: null as unknown as Ttl }), "ttl"],
    ["a negative ttl", (batch) => batch.put("k", "v", { ttl: { afterMillis: -1 } }), "ttl"],
    ["a fractional ttl", (batch) => batch.merge("k", "v", { ttl: { afterMillis: 0.5 } }), "ttl"],
    ["no number as ttl", (batch) => batch.put("k", "v", { ttl: { atMillis: NaN } }), "ttl"],
    ["a text as ttl", (batch) => batch.put("k", "v", { ttl: { atMillis: "5" as unknown as number } }), "ttl"],
    ["an endless ttl", (batch) => batch.put("k", "v", { ttl: { afterMillis: Infinity } }), "accepted"],
  ];
  for (const [name, call, reason] of cases) {
    it(`WriteBatch answers ${reason} to ${name}`, () => {
      const batch = new WriteBatch().put("before", "1");
      assert.equal(reasonOf(() => call(batch)), reason);
      assert.equal(batch.size, reason === "accepted" ? 2 : 1);
      if (reason !== "accepted") {
        assert.deepEqual(lines(resolved(batch.put("after", "2"))), ["put after=2", "put before=1"]);
      }
    });
  }

  it("WriteBatch refuses arrays whose buffer was transferred away", () => {
    const gone = new Uint8Array(3);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    assert.equal(reasonOf(() => new WriteBatch().put(gone, "v")), "detached");
    assert.equal(reasonOf(() => new WriteBatch().put("k", gone)), "detached");
    assert.equal(reasonOf(() => valueBytes(gone)), "detached");
  });

  it("WriteBatch refuses values of 4 GiB", () => {
    const huge = new Uint8Array(1);
    Object.defineProperty(huge, "length", { value: 2 ** 32 });
    assert.equal(reasonOf(() => new WriteBatch().put("k", huge)), "value-too-long");
    assert.equal(reasonOf(() => valueBytes(huge)), "value-too-long");
  });

  it("WriteBatch copies bytes at the call", () => {
    const [key, value] = [encoder.encode("key"), encoder.encode("value")];
    const batch = new WriteBatch().put(key, value);
    key.fill(0);
    value.fill(0);
    assert.deepEqual(lines(resolved(batch)), ["put key=value"]);
  });

  it("WriteBatch stores text as UTF-8, of every length and script", () => {
    const texts = ["a", "Grüße", "€", "日本語".repeat(500), "x".repeat(5000), "mixed ascii then ü", "😀", "\ud800"];
    const batch = new WriteBatch();
    for (const [i, one] of texts.entries()) batch.put(`${i}`, one).put(`k${i}${one}`, "v");
    const rows = resolved(batch);
    for (const [i, one] of texts.entries()) {
      assert.deepEqual(rows[i]!.value, encoder.encode(one), one.slice(0, 10));
      assert.ok(rows.some(({ key }) => compareBytes(key, encoder.encode(`k${i}${one}`)) === 0));
    }
  });

  it("WriteBatch size counts operations and estimatedBytes their bytes", () => {
    const batch = new WriteBatch();
    assert.deepEqual([batch.size, batch.estimatedBytes], [0, 0]);
    batch.put("k", "12345").delete("k").merge("key", "1");
    assert.deepEqual([batch.size, batch.estimatedBytes], [3, 6 + 1 + 4 + 3 * 24]);
  });
});

describe("WriteBatch time to live", () => {
  const at = (ttl: Ttl | undefined, defaultTtl = Infinity): number => expiry(ttl, TICK, defaultTtl);

  it("expiry follows the ttl, and the default where none is given", () => {
    assert.equal(at(undefined), NO_EXPIRY);
    assert.equal(at(undefined, 50), 1050);
    assert.equal(at("default", 50), 1050);
    assert.equal(at("none", 50), NO_EXPIRY);
    assert.equal(at({ afterMillis: 7 }, 50), 1007);
    assert.equal(at({ afterMillis: 0 }), 1000);
    assert.equal(at({ atMillis: 3 }, 50), 3);
    assert.equal(at({ atMillis: -3 }), -3);
  });

  it("expiry beyond the range of times means never", () => {
    assert.equal(at({ afterMillis: Number.MAX_SAFE_INTEGER }), NO_EXPIRY);
    assert.equal(at({ afterMillis: Number.MAX_SAFE_INTEGER - TICK }), Number.MAX_SAFE_INTEGER);
    assert.equal(at({ afterMillis: Infinity }), NO_EXPIRY);
    assert.equal(at(undefined, Number.MAX_SAFE_INTEGER), NO_EXPIRY);
  });

  it("WriteBatch gives every row its own expiry and a delete none", () => {
    const batch = new WriteBatch().put("a", "1").put("b", "2", { ttl: { afterMillis: 5 } })
      .merge("c", "3", { ttl: { atMillis: 77 } }).put("d", "4", { ttl: "none" }).delete("e");
    assert.deepEqual(lines(resolved(batch, 100)), [
      "put a=1 !1100",
      "put b=2 !1005",
      "merge c=3 !77",
      "put d=4",
      "delete e=",
    ]);
  });
});

describe("WriteBatch folding", () => {
  const cases: ReadonlyArray<readonly [string, (batch: WriteBatch) => WriteBatch, readonly string[]]> = [
    ["put twice", (b) => b.put("k", "1").put("k", "2"), ["put k=2"]],
    ["put then delete", (b) => b.put("k", "1").delete("k"), ["delete k="]],
    ["delete then put", (b) => b.delete("k").put("k", "1"), ["put k=1"]],
    ["merge then put", (b) => b.merge("k", "1").put("k", "2"), ["put k=2"]],
    ["merge then delete", (b) => b.merge("k", "1").delete("k"), ["delete k="]],
    ["one merge", (b) => b.merge("k", "1"), ["merge k=1"]],
    ["merges", (b) => b.merge("k", "1").merge("k", "2").merge("k", "3"), ["merge k=123"]],
    ["put then merges", (b) => b.put("k", "0").merge("k", "1").merge("k", "2"), ["put k=012"]],
    ["delete then merges", (b) => b.delete("k").merge("k", "1").merge("k", "2"), ["put k=12"]],
    ["merge, delete, merge", (b) => b.merge("k", "0").delete("k").merge("k", "1"), ["put k=1"]],
    ["put, put, merge", (b) => b.put("k", "0").put("k", "1").merge("k", "2"), ["put k=12"]],
    [
      "keys in between",
      (b) => b.merge("b", "1").put("c", "c").merge("b", "2").put("a", "a").merge("b", "3"),
      ["put a=a", "merge b=123", "put c=c"],
    ],
    [
      "different expiries of merges",
      (b) => b.merge("k", "1", { ttl: { atMillis: 90 } }).merge("k", "2", { ttl: { atMillis: 80 } }).merge("k", "3"),
      ["merge k=123 !80"],
    ],
    [
      "the put's expiry before the merge's",
      (b) => b.put("k", "1", { ttl: { atMillis: 70 } }).merge("k", "2", { ttl: { atMillis: 80 } }),
      ["put k=12 !70"],
    ],
    [
      "the expiry of a put that was overridden",
      (b) => b.put("k", "1", { ttl: { atMillis: 70 } }).delete("k").merge("k", "2", { ttl: { atMillis: 80 } }),
      ["put k=2 !80"],
    ],
  ];
  for (const [name, fill, rows] of cases) {
    it(`WriteBatch folds ${name}`, () => assert.deepEqual(lines(resolved(fill(new WriteBatch()))), rows));
  }

  it("WriteBatch without an operator here stores lone operands and refuses what has to fold", () => {
    const elsewhere = (batch: WriteBatch) => batch.clone().resolve(TICK, Infinity, undefined, "elsewhere");
    assert.deepEqual(lines(elsewhere(new WriteBatch().merge("a", "1").merge("b", "2"))), ["merge a=1", "merge b=2"]);
    assert.deepEqual(lines(elsewhere(new WriteBatch().merge("a", "1").put("a", "2"))), ["put a=2"]);
    const missing = "merge-operator-missing";
    assert.equal(reasonOf(() => elsewhere(new WriteBatch().merge("a", "1").merge("a", "2"))), missing);
    assert.equal(reasonOf(() => elsewhere(new WriteBatch().put("a", "1").merge("a", "2"))), missing);
    assert.equal(reasonOf(() => elsewhere(new WriteBatch().delete("a").merge("a", "2"))), missing);
    const none = (batch: WriteBatch) => batch.clone().resolve(TICK, Infinity, undefined, undefined);
    assert.equal(reasonOf(() => none(new WriteBatch().merge("a", "1"))), missing);
    assert.deepEqual(lines(none(new WriteBatch().put("a", "1"))), ["put a=1"]);
  });

  it("WriteBatch passes on the failure of a merge operator and can be written again", () => {
    let fails = true;
    const operator = (key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
      if (fails) throw new Error("not today");
      return concat(key, existing, operand);
    };
    const batch = new WriteBatch().put("k", "1").merge("k", "2").merge("k", "3");
    const run = () => batch.clone().resolve(TICK, Infinity, foldMerge(operator), operator);
    assert.equal(reasonOf(run), "merge-operator-failed");
    fails = false;
    assert.deepEqual(lines(run()), ["put k=123"]);
  });

  it("WriteBatch is unharmed by an operator that writes into its arguments or answers one array for all", () => {
    const scratch = new Uint8Array(2);
    const operator = (_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
      scratch.set([(existing?.[0] ?? 0) + operand[0]!, 0x2e]);
      existing?.fill(0);
      operand.fill(0);
      return scratch;
    };
    const batch = new WriteBatch().put("a", "0").merge("a", "\x01").put("b", "0").merge("b", "\x02");
    for (let round = 0; round < 2; round++) {
      const rows = batch.clone().resolve(TICK, Infinity, foldMerge(operator), operator);
      assert.deepEqual(lines(rows), ["put a=1.", "put b=2."]);
    }
  });
});

describe("WriteBatch reuse", () => {
  it("WriteBatch clone is not changed by later operations", () => {
    const batch = new WriteBatch().put("a", "1").merge("b", "2");
    const captured = batch.clone();
    batch.put("a", "changed").delete("b");
    for (let i = 0; i < 500; i++) batch.put(`key${i}`, "value");
    assert.deepEqual(lines(resolved(captured)), ["put a=1", "merge b=2"]);
    assert.deepEqual([captured.size, captured.merges], [2, 1]);
    assert.equal(resolved(batch).length, 502);
  });

  it("BatchRows insertInto writes the same rows as resolve names, each time", () => {
    const batch = new WriteBatch().put("b", "1").merge("b", "2").delete("a").merge("c", "3", { ttl: { atMillis: 9 } });
    const table = new Memtable();
    for (const seq of [7, 8]) {
      const plan = batch.clone().plan(TICK, 500, foldMerge(concat), concat);
      assert.equal(plan.count, 3);
      assert.equal(plan.insertInto(table, seq), 1 + 3 + 2);
    }
    const seen: unknown[] = [];
    const row = table.cursor();
    for (let move = row.first(); move !== END; move = row.next()) {
      const key = decoder.decode(row.keyBytes.subarray(row.keyStart, row.keyEnd));
      const value = decoder.decode(row.valueBytes.subarray(row.valueStart, row.valueEnd));
      seen.push([key, row.seq, row.flags & (FLAG_TOMBSTONE | FLAG_MERGE), value, row.createTs, row.expireTs]);
    }
    assert.deepEqual(
      seen,
      [8, 7].map((seq) => ["a", seq, FLAG_TOMBSTONE, "", TICK, NO_EXPIRY])
        .concat([8, 7].map((seq) => ["b", seq, 0, "12", TICK, 1500]))
        .concat([8, 7].map((seq) => ["c", seq, FLAG_MERGE, "3", TICK, 9])),
    );
  });

  it("WriteBatch sorts many keys whatever their order and common prefix", () => {
    for (const prefix of ["", "common/prefix/"]) {
      for (const step of [1, 4999, 7919]) {
        const batch = new WriteBatch();
        for (let i = 0; i < 5000; i++) batch.put(`${prefix}${String((i * step) % 5000).padStart(9, "0")}`, "v");
        const rows = resolved(batch);
        const expected = Array.from({ length: 5000 }, (_, i) => `${prefix}${String(i).padStart(9, "0")}`);
        assert.deepEqual(rows.map(({ key }) => decoder.decode(key)), expected);
      }
    }
  });
});

describe("WriteBatch against doing one after the other", () => {
  it(`WriteBatch resolve equals the sequential effect on each key (seed ${SEED})`, () => {
    const key = fc.oneof(
      fc.constantFrom("a", "b", "c", "a\0", "prefix-1", "prefix-2", "prefix"),
      fc.string({ minLength: 1, maxLength: 8, unit: "binary" }),
    );
    const op = fc.record({
      kind: fc.constantFrom("put", "delete", "merge"),
      key,
      value: fc.string({ maxLength: 5 }),
      at: fc.option(fc.integer({ min: 1, max: 99 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60, size: "max" }), (ops) => {
        const batch = new WriteBatch();
        const model = new Map<string, { kind: string; value: string; expireTs: number }>();
        for (const { kind, key, value, at } of ops) {
          const ttl: Ttl = at === undefined ? "none" : { atMillis: at };
          const expireTs = at ?? NO_EXPIRY;
          const old = model.get(key);
          if (kind === "put") {
            batch.put(key, value, { ttl });
            model.set(key, { kind, value, expireTs });
          } else if (kind === "delete") {
            batch.delete(key);
            model.set(key, { kind, value: "", expireTs: NO_EXPIRY });
          } else {
            batch.merge(key, value, { ttl });
            model.set(key, {
              kind: old === undefined || old.kind === "merge" ? "merge" : "put",
              value: (old?.value ?? "") + value,
              expireTs: Math.min(expireTs, old?.expireTs ?? NO_EXPIRY),
            });
          }
        }
        const expected = [...model].map(([key, row]) => ({ key: encoder.encode(key), ...row }))
          .sort((a, b) => compareBytes(a.key, b.key));
        const rows = ops.length === 0 ? [] : resolved(batch);
        assert.deepEqual(
          rows.map(({ key, flags, value, expireTs }) => ({
            key: new Uint8Array(key),
            kind: KINDS[flags],
            value: decoder.decode(value),
            expireTs,
          })),
          expected,
        );
      }),
      { seed: SEED, numRuns: 200 },
    );
  });
});
