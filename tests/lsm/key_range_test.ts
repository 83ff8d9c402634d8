/**
 * Keys and ranges as callers give them.
 *
 * @module
 */
import type { KeyRange } from "../../src/db/api.ts";
import { InvalidArgument } from "../../src/errors.ts";
import {
  FULL_RANGE,
  keyBytes,
  rangeContains,
  resolveRange,
  type ScanRange,
  successor,
} from "../../src/lsm/key_range.ts";
import { assert, describe, it } from "../support/suite.ts";

const text = (bytes: Uint8Array | undefined) => bytes === undefined ? "" : new TextDecoder("latin1").decode(bytes);

function print(range: ScanRange): string {
  const { start, startInclusive, end, endInclusive } = range;
  return `${startInclusive ? "[" : "("}${text(start)},${text(end)}${endInclusive ? "]" : ")"}`;
}

function refused(reason: string): (error: unknown) => boolean {
  return (error) => error instanceof InvalidArgument && error.reason === reason;
}

describe("resolveRange", () => {
  const cases: ReadonlyArray<[KeyRange | undefined, string]> = [
    [undefined, "[,)"],
    [{}, "[,)"],
    [{ gte: "b", lt: "d" }, "[b,d)"],
    [{ gt: "b", lte: "d" }, "(b,d]"],
    [{ gte: "b", gt: "b" }, "(b,)"],
    [{ gte: "c", gt: "b" }, "[c,)"],
    [{ lte: "c", lt: "c" }, "[,c)"],
    [{ lte: "c", lt: "d" }, "[,c]"],
    [{ prefix: "ab" }, "[ab,ac)"],
    [{ prefix: "" }, "[,)"],
    [{ prefix: "ab", gte: "aa" }, "[ab,ac)"],
    [{ prefix: "ab", gte: "abx", lt: "b" }, "[abx,ac)"],
    [{ prefix: "ab", gt: "ab" }, "(ab,ac)"],
    [{ prefix: "ab", lt: "abm" }, "[ab,abm)"],
    [{ prefix: Uint8Array.of(0xff, 0xff) }, "[\u00ff\u00ff,)"],
    [{ prefix: Uint8Array.of(0x61, 0xff) }, "[a\u00ff,b)"],
    [{ gte: "" }, "[,)"],
    [{ gt: "" }, "[,)"],
    [{ gte: "c", lte: "c" }, "[c,c]"],
    [{ lte: "" }, "[,]"],
  ];
  for (const [range, expected] of cases) {
    it(`resolveRange makes ${expected} of ${JSON.stringify(range)}`, () => {
      assert.equal(print(resolveRange(range)), expected);
    });
  }

  const empty: ReadonlyArray<KeyRange> = [
    { gte: "c", lt: "c" },
    { gt: "c", lte: "c" },
    { gt: "c", lt: "c" },
    { gte: "d", lt: "c" },
    { prefix: "ab", gte: "b" },
    { prefix: "b", lt: "b" },
    { prefix: "b", lt: "a" },
    { lt: "" },
    { prefix: "ab", gte: "ac" },
  ];
  for (const range of empty) {
    it(`resolveRange refuses the empty range ${JSON.stringify(range)}`, () => {
      assert.throws(() => resolveRange(range), refused("range-empty"));
    });
  }

  it("resolveRange refuses unknown fields and bounds that are no keys", () => {
    assert.throws(() => resolveRange({ from: "a" } as KeyRange), refused("range-field"));
    assert.throws(() => resolveRange({ gte: 5 } as unknown as KeyRange), refused("not-bytes"));
  });

  it("resolveRange keeps copies of the bounds", () => {
    const bound = Uint8Array.of(0x62);
    const range = resolveRange({ gte: bound });
    bound[0] = 0x7a;
    assert.equal(print(range), "[b,)");
  });
});

it("rangeContains honours both kinds of bounds", () => {
  const key = (value: string) => new TextEncoder().encode(value);
  const inside = (range: KeyRange) =>
    ["a", "b", "c", "d", "e"].filter((k) => rangeContains(resolveRange(range), key(k)));
  assert.deepEqual(inside({ gte: "b", lt: "d" }), ["b", "c"]);
  assert.deepEqual(inside({ gt: "b", lte: "d" }), ["c", "d"]);
  assert.ok(rangeContains(FULL_RANGE, key("a")));
});

it("keyBytes takes 1 to 65535 bytes or a string", () => {
  const bytes = Uint8Array.of(1, 2);
  assert.equal(keyBytes(bytes), bytes);
  assert.deepEqual([...keyBytes("é")], [0xc3, 0xa9]);
  assert.equal(keyBytes(new Uint8Array(65_535)).length, 65_535);
  assert.throws(() => keyBytes(new Uint8Array(0)), refused("key-empty"));
  assert.throws(() => keyBytes(""), refused("key-empty"));
  assert.throws(() => keyBytes(new Uint8Array(65_536)), refused("key-too-long"));
  const gone = Uint8Array.of(1);
  structuredClone(gone, { transfer: [gone.buffer] });
  assert.throws(() => keyBytes(gone), refused("detached"));
  assert.throws(() => keyBytes(7 as unknown as string), refused("not-bytes"));
});

it("successor is the very next key", () => {
  assert.deepEqual([...successor(Uint8Array.of(1))], [1, 0]);
});
