/** ULIDs and UUIDs as text and bytes. @module */
import fc from "fast-check";
import {
  isUlid,
  isUuid,
  ulidFromBytes,
  ulidFromParts,
  ulidMillis,
  ulidToBytes,
  uuidFromBytes,
  uuidToBytes,
} from "../../src/format/ulid.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertRefused } from "./damage.ts";

const SEED = 20269;
const TEXT = "01M7YESGVNVRET4YKZN23799PZ";
const HIGH = 0x01a1fcecc375de1dn;
const LOW = 0xa27a7fa88674a6dfn;
const SIXTEEN = fc.uint8Array({ minLength: 16, maxLength: 16 });

function number(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** Base 32 by the definition: 26 digits of the 128-bit number. */
function base32(value: bigint): string {
  let text = "";
  for (let i = 0; i < 26; i++) text = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[Number((value >> BigInt(5 * i)) & 31n)] + text;
  return text;
}

describe("format/ulid", () => {
  it("ulidToBytes and ulidFromBytes agree with an official file name", () => {
    assert.equal(number(ulidToBytes(TEXT)), (HIGH << 64n) | LOW);
    assert.equal(ulidFromBytes(ulidToBytes(TEXT)), TEXT);
    assert.equal(ulidMillis(TEXT), 0x01a1fcecc375);
  });

  it("ulidFromParts puts 48 bits of time before 80 random bits", () => {
    assert.equal(ulidFromParts(0x01a1fcecc375, ulidToBytes(TEXT).subarray(6)), TEXT);
    assert.equal(ulidFromParts(0, new Uint8Array(10)), "0".repeat(26));
    assert.equal(ulidFromParts(2 ** 48 - 1, new Uint8Array(10).fill(255)), "7" + "Z".repeat(25));
    for (const millis of [-1, 2 ** 48, Number.NaN, Infinity]) {
      assert.throws(() => ulidFromParts(millis, new Uint8Array(10)), RangeError);
    }
    assert.throws(() => ulidFromParts(0, new Uint8Array(9)), RangeError);
  });

  it(`ulidFromBytes is the 128-bit number in base 32 and reverses ulidToBytes (seed ${SEED})`, () => {
    fc.assert(
      fc.property(SIXTEEN, (bytes) => {
        const text = ulidFromBytes(bytes);
        assert.equal(text, base32(number(bytes)));
        assert.deepEqual(ulidToBytes(text), bytes);
        assert.equal(ulidMillis(text), Number(number(bytes) >> 80n));
        assert.ok(isUlid(text));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it(`ulid texts order as their numbers (seed ${SEED})`, () => {
    fc.assert(
      fc.property(SIXTEEN, SIXTEEN, fc.nat(16), (a, b, shared) => {
        b.set(a.subarray(0, shared));
        assert.equal(ulidFromBytes(a) < ulidFromBytes(b), number(a) < number(b));
      }),
      { seed: SEED, numRuns: 500 },
    );
  });

  it("isUlid accepts the canonical spelling alone", () => {
    const wrong = ["", TEXT.toLowerCase(), TEXT.slice(1), TEXT + "0", "8" + TEXT.slice(1), TEXT.slice(1) + "I"];
    for (
      const text of [...wrong, `${TEXT}\n`, TEXT.replace("M", "L"), TEXT.replace("M", "U"), TEXT.replace("M", "é")]
    ) {
      assert.equal(isUlid(text), false, JSON.stringify(text));
      assertRefused(() => ulidToBytes(text), "malformed", /not a ULID/);
      assertRefused(() => ulidMillis(text), "malformed");
    }
  });

  it(`uuidFromBytes and uuidToBytes are inverse (seed ${SEED})`, () => {
    const text = "00010203-0405-0607-0809-0a0b0c0d0eff";
    assert.deepEqual([...uuidToBytes(text)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
    fc.assert(
      fc.property(SIXTEEN, (bytes) => {
        assert.deepEqual(uuidToBytes(uuidFromBytes(bytes)), bytes);
      }),
      { seed: SEED, numRuns: 200 },
    );
    for (const wrong of ["", text.toUpperCase(), text.replaceAll("-", ""), text + "0", `{${text}}`]) {
      assert.equal(isUuid(wrong), false, wrong);
      assertRefused(() => uuidToBytes(wrong), "malformed", /not a UUID/);
    }
  });

  it("identities have 16 bytes", () => {
    for (const length of [0, 15, 17]) {
      assert.throws(() => ulidFromBytes(new Uint8Array(length)), RangeError);
      assert.throws(() => uuidFromBytes(new Uint8Array(length)), RangeError);
    }
  });
});
