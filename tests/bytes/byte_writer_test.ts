/** Big-endian writes against DataView. @module */
import fc from "fast-check";
import { ByteWriter } from "../../src/bytes/byte_writer.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20265;

describe("bytes/byte_writer", () => {
  it("ByteWriter writes numbers as DataView does, in order", () => {
    const writer = new ByteWriter(1);
    writer.u8(0xfe);
    writer.u16(0xfedc);
    writer.u32(0xfedcba98);
    writer.u64(2 ** 53 - 1);
    writer.i64(-(2 ** 53 - 1));
    writer.i64(-1);
    writer.varint(300);
    writer.putAll(Uint8Array.of(1, 2, 3));
    const expected = new DataView(new ArrayBuffer(36));
    expected.setUint8(0, 0xfe);
    expected.setUint16(1, 0xfedc);
    expected.setUint32(3, 0xfedcba98);
    expected.setBigUint64(7, 2n ** 53n - 1n);
    expected.setBigInt64(15, -(2n ** 53n - 1n));
    expected.setBigInt64(23, -1n);
    const bytes = new Uint8Array(expected.buffer);
    bytes.set([0xac, 2, 1, 2, 3], 31);
    assert.deepEqual(writer.toBytes(), bytes);
    writer.clear();
    assert.equal(writer.length, 0);
  });

  it(`ByteWriter keeps everything while it grows (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), (parts) => {
        const writer = new ByteWriter(0);
        for (const part of parts) writer.put(part, 0, part.length);
        assert.deepEqual([...writer.toBytes()], parts.flatMap((part) => [...part]));
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it(`i64 and u64 agree with BigInt for all safe integers (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const writer = new ByteWriter();
        writer.i64(value);
        writer.u64(Math.abs(value));
        const view = new DataView(writer.toBytes().buffer);
        assert.equal(view.getBigInt64(0), BigInt(value));
        assert.equal(view.getBigUint64(8), BigInt(Math.abs(value)));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });
});
