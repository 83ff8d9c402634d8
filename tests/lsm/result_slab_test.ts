/**
 * Copies for callers.
 *
 * @module
 */
import { OWN_BUFFER_BYTES, ResultSlab, SLAB_BYTES } from "../../src/lsm/result_slab.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("ResultSlab", () => {
  const source = Uint8Array.from({ length: 70_000 }, (_, i) => i * 7);

  it("copies what it is given, at every size", () => {
    const slab = new ResultSlab();
    for (const length of [0, 1, 31, 32, 33, 100, 5000, OWN_BUFFER_BYTES, OWN_BUFFER_BYTES + 1, 69_000]) {
      const copy = slab.copy(source, 3, 3 + length);
      assert.deepEqual(copy, source.slice(3, 3 + length));
      assert.notEqual(copy.buffer, source.buffer);
    }
  });

  it("never gives the same memory twice", () => {
    const slab = new ResultSlab();
    const copies = Array.from({ length: 3000 }, (_, i) => slab.copy(source, i, i + 50));
    copies.forEach((copy, i) => assert.deepEqual(copy, source.slice(i, i + 50)));
    assert.equal(new Set(copies.map((copy) => copy.buffer)).size, Math.ceil(3000 / Math.floor(SLAB_BYTES / 50)));
  });

  it("gives large results a buffer of their own", () => {
    const slab = new ResultSlab();
    assert.equal(slab.copy(source, 0, OWN_BUFFER_BYTES + 1).buffer.byteLength, OWN_BUFFER_BYTES + 1);
    assert.equal(slab.copy(source, 0, 10).buffer.byteLength, SLAB_BYTES);
  });
});
