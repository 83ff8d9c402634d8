/** CRC-32: known values, and the plain version against the built-in one and a bit-by-bit one. @module */
import fc from "fast-check";
import { crc32, crc32Portable } from "../../src/bytes/crc32.ts";
import { toBytes } from "../../src/bytes/compare.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20263;

function bitByBit(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

describe("bytes/crc32", () => {
  it("crc32 gives the published check values", () => {
    for (const sum of [crc32, crc32Portable]) {
      assert.equal(sum(toBytes("123456789"), 0, 9), 0xcbf43926);
      assert.equal(sum(new Uint8Array(0), 0, 0), 0);
      assert.equal(sum(toBytes("a"), 0, 1), 0xe8b7be43);
      assert.equal(sum(new Uint8Array(32), 0, 32), 0x190a55ad);
    }
  });

  it(`crc32 and crc32Portable agree with the bit-by-bit definition on slices (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(9), fc.nat(9), (bytes, skip, drop) => {
        const start = Math.min(skip, bytes.length);
        const end = Math.max(start, bytes.length - drop);
        const expected = bitByBit(bytes.subarray(start, end));
        assert.equal(crc32(bytes, start, end), expected);
        assert.equal(crc32Portable(bytes, start, end), expected);
      }),
      { seed: SEED, numRuns: 1000 },
    );
  });
});
