/** SipHash-1-3 with key 0/0: the format's vectors, and a BigInt version written from the definition. @module */
import fc from "fast-check";
import { toBytes } from "../../src/bytes/compare.ts";
import { sipHash13 } from "../../src/bytes/siphash.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20264;
const MASK = (1n << 64n) - 1n;

function byDefinition(bytes: Uint8Array): string {
  const v = [0x736f6d6570736575n, 0x646f72616e646f6dn, 0x6c7967656e657261n, 0x7465646279746573n];
  const turn = (x: bigint, by: bigint) => ((x << by) | (x >> (64n - by))) & MASK;
  const round = () => {
    v[0] = (v[0]! + v[1]!) & MASK;
    v[1] = turn(v[1]!, 13n) ^ v[0];
    v[0] = turn(v[0], 32n);
    v[2] = (v[2]! + v[3]!) & MASK;
    v[3] = turn(v[3]!, 16n) ^ v[2];
    v[0] = (v[0] + v[3]) & MASK;
    v[3] = turn(v[3], 21n) ^ v[0];
    v[2] = (v[2] + v[1]) & MASK;
    v[1] = turn(v[1], 17n) ^ v[2];
    v[2] = turn(v[2], 32n);
  };
  const padded = new Uint8Array((bytes.length >> 3) * 8 + 8);
  padded.set(bytes);
  padded[padded.length - 1] = bytes.length & 0xff;
  for (let at = 0; at < padded.length; at += 8) {
    const word = new DataView(padded.buffer).getBigUint64(at, true);
    v[3] = v[3]! ^ word;
    round();
    v[0] = v[0]! ^ word;
  }
  v[2] = v[2]! ^ 0xffn;
  round();
  round();
  round();
  return (v[0]! ^ v[1]! ^ v[2]! ^ v[3]!).toString(16).padStart(16, "0");
}

function hash(bytes: Uint8Array, start = 0, end = bytes.length): string {
  const out = new Uint32Array(2);
  sipHash13(bytes, start, end, out);
  return out[1]!.toString(16).padStart(8, "0") + out[0]!.toString(16).padStart(8, "0");
}

describe("bytes/siphash", () => {
  it("sipHash13 gives the format's vectors", () => {
    const table: [string, string][] = [
      ["", "d1fba762150c532c"],
      ["a", "407448d2b89b1813"],
      ["apple", "e4305d08716d0e44"],
      ["key000000", "add38e997335cd23"],
      ["0123456789abcdef", "1d42b30f7e060c24"],
    ];
    for (const [text, expected] of table) assert.equal(hash(toBytes(text)), expected, text);
  });

  it(`sipHash13 agrees with 64-bit arithmetic on slices of every length (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(9), (bytes, skip) => {
        const start = Math.min(skip, bytes.length);
        assert.equal(hash(bytes, start), byDefinition(bytes.subarray(start)));
      }),
      { seed: SEED, numRuns: 500 },
    );
    const long = new Uint8Array(70_000).map((_, i) => i * 31);
    assert.equal(hash(long), byDefinition(long));
  });
});
