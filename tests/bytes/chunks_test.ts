/**
 * Joining chunks, and bytes as hex.
 *
 * @module
 */
import { joinChunks } from "../../src/bytes/chunks.ts";
import { toHex } from "../../src/bytes/hex.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("joinChunks", () => {
  it("joinChunks puts chunks one after the other, empty ones too", () => {
    const chunks = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)];
    assert.deepEqual(joinChunks(chunks), Uint8Array.of(1, 2, 3));
    assert.deepEqual(joinChunks([]), new Uint8Array(0));
  });

  it("joinChunks hands a single chunk out as it is", () => {
    const chunk = Uint8Array.of(1, 2);
    assert.equal(joinChunks([chunk]), chunk);
  });
});

describe("toHex", () => {
  it("toHex writes two lower-case digits per byte of a view, and of nothing else", () => {
    assert.equal(toHex(Uint8Array.of(9, 0, 15, 0xab, 9).subarray(1, 4)), "000fab");
    assert.equal(toHex(new Uint8Array(0)), "");
  });
});
