/** LEB128 numbers: edges, round trips, and everything that must be refused. @module */
import fc from "fast-check";
import { readVarint, varintEnd, varintLength, writeVarint } from "../../src/bytes/varint.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20262;

function read(bytes: number[]): number {
  const all = Uint8Array.from(bytes);
  const end = varintEnd(all, 0, all.length);
  return end < 0 ? end : readVarint(all, 0, end);
}

describe("bytes/varint", () => {
  it("writeVarint and readVarint agree with the bytes of LEB128", () => {
    const table: [number, number[]][] = [
      [0, [0]],
      [1, [1]],
      [127, [0x7f]],
      [128, [0x80, 1]],
      [300, [0xac, 2]],
      [16383, [0xff, 0x7f]],
      [16384, [0x80, 0x80, 1]],
      [2 ** 31, [0x80, 0x80, 0x80, 0x80, 8]],
      [2 ** 32 - 1, [0xff, 0xff, 0xff, 0xff, 0x0f]],
    ];
    for (const [value, bytes] of table) {
      const out = new Uint8Array(8);
      assert.equal(writeVarint(out, 2, value), 2 + bytes.length);
      assert.deepEqual([...out.subarray(2, 2 + bytes.length)], bytes);
      assert.equal(varintLength(value), bytes.length);
      assert.equal(read(bytes), value);
    }
  });

  it("readVarint takes overlong forms and refuses more than 32 bits", () => {
    assert.equal(read([0x81, 0x80, 0x00]), 1);
    assert.equal(read([0xff, 0xff, 0xff, 0xff, 0x1f]), -1);
    assert.equal(read([0x80, 0x80, 0x80, 0x80, 0x10]), -1);
  });

  it("varintEnd refuses numbers that do not end", () => {
    assert.equal(read([]), -1);
    assert.equal(read([0x80]), -1);
    assert.equal(read([0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), -1);
    assert.equal(varintEnd(Uint8Array.of(0x80, 1, 5), 0, 1), -1);
  });

  it(`every 32-bit number comes back, wherever it stands (seed ${SEED})`, () => {
    const value = fc.oneof(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.nat(31).map((bits) => 2 ** bits));
    fc.assert(
      fc.property(value, fc.nat(4), (number, at) => {
        const out = new Uint8Array(12).fill(0xff);
        const end = writeVarint(out, at, number);
        assert.equal(end - at, varintLength(number));
        assert.equal(varintEnd(out, at, out.length), end);
        assert.equal(readVarint(out, at, end), number);
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });
});
