/** The five codecs: round trips, other encoders' streams, and what a hostile stream may not do. @module */
import fc from "fast-check";
import * as zlib from "node:zlib";
import { FormatError } from "../../src/errors.ts";
import { toBytes } from "../../src/bytes/compare.ts";
import { compress, compressionCode, decompress, isCodecAvailable } from "../../src/format/compression.ts";
import { COMPRESSION_NAMES, type CompressionCode } from "../../src/format/types.ts";
import { zstdContentSize } from "../../src/format/zstd_frame.ts";
import { zstdMissing } from "../support/codecs.ts";
import { assert, describe, it } from "../support/suite.ts";

const SEED = 20281;
const LIMIT = 1 << 24;
const codes = ([0, 1, 2, 3, 4] as CompressionCode[]).filter(isCodecAvailable);

/** Data from incompressible to repetitive, with matches near and far. */
const anyPayload: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 300, size: "max" }),
  fc.array(fc.tuple(fc.constantFrom("apple", "banana", "\0", "key-00000", "x"), fc.nat(60)), {
    maxLength: 60,
    size: "max",
  })
    .map((parts) => toBytes(parts.map(([text, times]) => text.repeat(times)).join(""))),
  fc.tuple(fc.nat(70_000), fc.nat(255)).map(([length, step]) => new Uint8Array(length).map((_, i) => (i * step) >> 6)),
);

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof FormatError) return error.reason;
    throw error;
  }
  return "none";
}

describe("format/compression", () => {
  if (zstdMissing !== false) it("zstd", { skip: zstdMissing }, () => {});
  for (const code of codes) {
    const name = COMPRESSION_NAMES[code];
    it(`${name} gives back what was compressed (seed ${SEED})`, () => {
      fc.assert(
        fc.property(anyPayload, (payload) => {
          const packed = compress(code, payload);
          const unpacked = decompress(code, packed, Math.max(payload.length, 1));
          assert.equal(Object.getPrototypeOf(unpacked), Uint8Array.prototype);
          assert.deepEqual(unpacked, payload);
          if (payload.length > 0) {
            assert.equal(reasonOf(() => decompress(code, packed, payload.length - 1)), "too-large");
          }
        }),
        { seed: SEED, numRuns: 300 },
      );
    });

    if (code === 0) continue;

    it(`${name} makes repetitive data small`, () => {
      const payload = toBytes("a value that comes again and again; ".repeat(200));
      assert.ok(compress(code, payload).length < payload.length / 10);
    });

    it(`${name} refuses every truncation of a stream`, () => {
      for (const text of ["", "a", "abcabcabcabcabcabcabcabcabc".repeat(20), "xyz".repeat(3) + "0123456789"]) {
        const packed = compress(code, toBytes(text));
        for (let length = 0; length < packed.length; length++) {
          const reason = reasonOf(() => decompress(code, packed.subarray(0, length), LIMIT));
          assert.ok(reason === "truncated" || reason === "malformed", `${length} of ${packed.length}: ${reason}`);
        }
      }
    });

    it(`${name} answers changed bytes with data or FormatError, within the limit (seed ${SEED})`, () => {
      const change = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(anyPayload, change, (payload, changes) => {
          const packed = Uint8Array.from(compress(code, payload.subarray(0, 3000)));
          for (const [at, byte] of changes) if (packed.length > 0) packed[at % packed.length] = byte;
          let size = 0;
          reasonOf(() => size = decompress(code, packed, 100_000).length);
          assert.ok(size <= 100_000);
        }),
        { seed: SEED, numRuns: 500 },
      );
    });
  }

  it("compressionCode and the names agree", () => {
    assert.deepEqual(COMPRESSION_NAMES.map(compressionCode), [0, 1, 2, 3, 4]);
  });

  it("an unknown code is refused by its number", () => {
    const nine = 9 as CompressionCode;
    assert.throws(() => decompress(nine, new Uint8Array(1), 10, "block 0"), /block 0.*unsupported-codec.*code 9/);
    assert.throws(() => compress(nine, new Uint8Array(1)), /unsupported-codec/);
  });

  it("decompressLz4 reads streams by the format description", () => {
    const table: [string, number[], string][] = [
      ["literals only", [3, 0, 0, 0, 0x30, 97, 98, 99], "abc"],
      ["an overlapping match", [9, 0, 0, 0, 0x14, 97, 1, 0, 0x00], "a".repeat(9)],
      ["a match and last literals", [12, 0, 0, 0, 0x32, 97, 98, 99, 3, 0, 0x30, 120, 121, 122], "abcabcabcxyz"],
      ["long lengths", [40, 1, 0, 0, 0x1f, 97, 1, 0, 255, 45, 0x00], "a".repeat(1 + 319)],
    ];
    for (const [what, bytes, text] of table) {
      const all = Uint8Array.from(bytes);
      all[0] = text.length & 0xff;
      all[1] = text.length >>> 8;
      assert.deepEqual(decompress(3, all, LIMIT), toBytes(text), what);
    }
  });

  it("decompressSnappy reads every kind of element", () => {
    const table: [string, number[], string][] = [
      ["literals", [3, 2 << 2, 97, 98, 99], "abc"],
      ["long literals", [61, 60 << 2, 60, ...new Array(61).fill(97)], "a".repeat(61)],
      ["copy with 1-byte distance", [9, 2 << 2, 97, 98, 99, 1 | (2 << 2), 3], "abcabcabc"],
      ["copy with 2-byte distance", [5, 0 << 2, 97, 2 | (3 << 2), 1, 0], "aaaaa"],
      ["copy with 4-byte distance", [5, 0 << 2, 97, 3 | (3 << 2), 1, 0, 0, 0], "aaaaa"],
    ];
    for (const [what, bytes, text] of table) {
      assert.deepEqual(decompress(1, Uint8Array.from(bytes), LIMIT), toBytes(text), what);
    }
  });

  it("zlib and zstd streams of other levels are read", () => {
    const payload = toBytes("levels ".repeat(500));
    for (const level of [0, 1, 9]) {
      assert.deepEqual(decompress(2, zlib.deflateSync(payload, { level }), LIMIT), payload);
    }
  });

  it("announced sizes that the input cannot produce are refused before anything is allocated", () => {
    const lying: [CompressionCode, number[], string][] = [
      [3, [0xff, 0xff, 0xff, 0x3f, 0x10, 97], "malformed"],
      [3, [0xff, 0xff, 0xff, 0xff, 0x10, 97], "too-large"],
      [1, [0xff, 0xff, 0xff, 0xff, 0x03, 0, 97], "malformed"],
      [1, [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 97], "too-large"],
      [1, [0xff, 0xff, 0xff, 0xff, 0x1f, 0, 97], "malformed"],
    ];
    for (const [code, bytes, reason] of lying) {
      assert.equal(reasonOf(() => decompress(code, Uint8Array.from(bytes), 2 ** 40)), reason, `${code}: ${bytes}`);
    }
  });

  it("bombs stop at the limit", () => {
    const zeros = new Uint8Array(1 << 24);
    for (const code of codes) {
      const packed = Uint8Array.from(compress(code, zeros));
      assert.equal(reasonOf(() => decompress(code, packed, 100_000)), "too-large", COMPRESSION_NAMES[code]);
    }
  });

  it("zstdContentSize walks whole frames only", { skip: zstdMissing }, () => {
    for (const length of [0, 1, 255, 256, 70_000, 300_000]) {
      const frame = Uint8Array.from(compress(4, new Uint8Array(length).map((_, i) => (i * i) >> 5)));
      const size = zstdContentSize(frame, "block 0");
      assert.ok(size === length || size === -1, `${length} read as ${size}`);
      assert.throws(() => zstdContentSize(Uint8Array.of(...frame, 0), "block 0"), /1 bytes after the frame/);
    }
  });
});
