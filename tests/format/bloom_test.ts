/** Bloom filters: the format's vectors, no false denial, the expected false admissions, and the composite layout. @module */
import fc from "fast-check";
import { toBytes } from "../../src/bytes/compare.ts";
import { BloomBuilder, BloomFilter, probeCount } from "../../src/format/bloom.ts";
import { sipHash13 } from "../../src/bytes/siphash.ts";
import { hex } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20301;

function build(keys: readonly Uint8Array[], bitsPerKey: number): Uint8Array {
  const builder = new BloomBuilder();
  for (const key of keys) builder.add(key, 0, key.length);
  return builder.finish(bitsPerKey);
}

function numbered(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => toBytes(`key${String(i).padStart(6, "0")}`));
}

function composite(filters: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const parts = filters.flatMap(([name, data]) => {
    const length = new Uint8Array(8);
    new DataView(length.buffer).setUint32(4, data.length);
    return [0, name.length, ...toBytes(name), ...length, ...data];
  });
  return Uint8Array.of(0, filters.length, ...parts);
}

describe("format/bloom", () => {
  it("the number of probes is that of the official writer", () => {
    const table = [[0, 0], [1, 0], [2, 1], [7, 4], [10, 6], [20, 13], [100, 69]];
    for (const [bits, probes] of table) assert.equal(probeCount(bits!), probes, `${bits} bits`);
  });

  it("BloomBuilder gives the format's vectors", () => {
    assert.equal(hex(build(["a", "b", "c"].map(toBytes), 10)), "0006b3631d09");
    assert.equal(hex(build(numbered(10), 10)), "00060a70c1897914827869fc94b44e");
    assert.equal(hex(build([], 10)), "0006");
    const bits = build([toBytes("apple")], 104).subarray(2);
    const set = Array.from({ length: 104 }, (_, p) => p).filter((p) => (bits[p >> 3]! & (1 << (p & 7))) !== 0);
    for (const probe of [36, 44, 53, 64, 78, 96]) assert.ok(set.includes(probe), `probe ${probe}`);
  });

  it(`mayContain never denies a key that was added (seed ${SEED})`, () => {
    const keys = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), {
      minLength: 1,
      maxLength: 200,
      size: "max",
    });
    fc.assert(
      fc.property(keys, fc.integer({ min: 0, max: 30 }), (all, bitsPerKey) => {
        const filter = BloomFilter.decode(build(all, bitsPerKey), 0);
        for (const key of all) assert.ok(filter.mayContain(Uint8Array.of(9, ...key, 9), 1, 1 + key.length));
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("mayContain admits about one absent key in a hundred at 10 bits", () => {
    const filter = BloomFilter.decode(build(numbered(10_000), 10), 0);
    let admitted = 0;
    for (let i = 0; i < 20_000; i++) {
      const key = toBytes(`absent${i}`);
      if (filter.mayContain(key, 0, key.length)) admitted++;
    }
    assert.ok(admitted > 50 && admitted < 500, `${admitted} of 20000`);
  });

  it("addAgain counts a row and sets the same bits", () => {
    const builder = new BloomBuilder();
    const key = toBytes("key");
    builder.add(key, 0, key.length);
    builder.addAgain();
    assert.equal(builder.count, 2);
    assert.deepEqual(builder.finish(10), build([key, key], 10));
  });

  it("mayContainHash agrees with mayContain", () => {
    const filter = BloomFilter.decode(build(numbered(100), 10), 0);
    const hash = new Uint32Array(2);
    for (const key of [...numbered(200), toBytes("other")]) {
      sipHash13(key, 0, key.length, hash);
      assert.equal(filter.mayContainHash(hash[0]!, hash[1]!), filter.mayContain(key, 0, key.length));
    }
  });

  it("filters without bits or of an unknown kind answer maybe", () => {
    const key = toBytes("anything");
    for (
      const [payload, format] of [
        [Uint8Array.of(0, 6), 0],
        [composite([]), 1],
        [composite([["other", Uint8Array.of(1, 2, 3)]]), 1],
      ] as const
    ) assert.ok(BloomFilter.decode(payload, format).mayContain(key, 0, key.length));
  });

  it("the bloom filter of a composite block is found among others", () => {
    const bloom = build(numbered(100), 10);
    const payload = composite([["x", Uint8Array.of(1)], ["_bf", bloom], ["_bg", Uint8Array.of(0, 0, 0)]]);
    const filter = BloomFilter.decode(payload, 1);
    assert.deepEqual([filter.probes, filter.bits], [6, bloom.subarray(2)]);
    const absent = Array.from({ length: 100 }, (_, i) => toBytes(`no${i}`));
    assert.ok(absent.some((key) => !filter.mayContain(key, 0, key.length)));
  });

  it("truncated filters are refused", () => {
    assert.throws(() => BloomFilter.decode(Uint8Array.of(0), 0), /filter.*truncated/);
    const payload = composite([["_bf", build(numbered(3), 10)]]);
    for (let length = 0; length < payload.length; length++) {
      assert.throws(() => BloomFilter.decode(payload.subarray(0, length), 1), /filter.*truncated/);
    }
    assert.throws(() => BloomFilter.decode(Uint8Array.of(...payload, 0), 1), /malformed/);
  });
});
