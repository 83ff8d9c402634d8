/** The codec of the compactor's state: vectors, odd inputs, round trips, damage. @module */
import fc from "fast-check";
import { decodeCompactions, destinationRun, encodeCompactions } from "../../src/format/compactions_codec.ts";
import { assert, describe, it } from "../support/suite.ts";
import { COMPACTIONS } from "./control_arbitraries.ts";
import { assertRefused, everyByteChange, everyTruncation } from "./damage.ts";
import { byte, bytes, flatBytes, type FlatFields, identity, long, table, tables, u32s } from "./flat_bytes.ts";

const SEED = 20267;

const WITHOUT_COMPACTIONS = Uint8Array.from(
  "0001100000000000000008001400080004000800000010000000010000000000000000000000000000 00".replaceAll(" ", "")
    .match(/../g)!,
  (pair) => Number.parseInt(pair, 16),
);

function object(...records: FlatFields[]): Uint8Array {
  return flatBytes({ 0: long(3), 1: tables(...records) }, [0, 1]);
}

function record(spec: FlatFields, fields: FlatFields = {}): FlatFields {
  return { 0: table(identity(0n, 1n)), 1: byte(1), 2: table(spec), ...fields };
}

const ID_1 = "00000000000000000000000001";
const ID_2 = "00000000000000000000000002";

describe("format/compactions_codec", () => {
  it("decodeCompactions reads the official object without compactions", () => {
    assert.equal(WITHOUT_COMPACTIONS.length, 42);
    assert.deepEqual(decodeCompactions(WITHOUT_COMPACTIONS), { compactorEpoch: 1, recentCompactions: [] });
  });

  it(`encodeCompactions and decodeCompactions are inverse (seed ${SEED})`, () => {
    fc.assert(
      fc.property(COMPACTIONS, (value) => {
        assert.deepEqual(decodeCompactions(encodeCompactions(value)), value);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  it("decodeCompactions reads the deprecated list of sources only when the newer one is absent", () => {
    const older = tables(identity(0n, 1n));
    const newer = tables(identity(0n, 2n));
    const read = (spec: FlatFields) => decodeCompactions(object(record(spec))).recentCompactions[0]!.l0ViewIds;
    assert.deepEqual(read({ 0: older }), [ID_1]);
    assert.deepEqual(read({ 0: older, 2: newer }), [ID_2]);
    assert.deepEqual(read({ 0: older, 2: tables() }), []);
    assert.deepEqual(read({ 1: u32s(4) }), []);
  });

  it("decodeCompactions takes an unknown status as submitted", () => {
    const read = (status: number) =>
      decodeCompactions(object(record({}, { 3: byte(status) }))).recentCompactions[0]!.status;
    assert.deepEqual([0, 1, 2, 3, 4, 255].map(read), [
      "submitted",
      "running",
      "completed",
      "failed",
      "submitted",
      "submitted",
    ]);
  });

  it("destinationRun is the smallest source run, and 0 without one", () => {
    const at = (sortedRuns: number[]) =>
      destinationRun({ id: ID_1, l0ViewIds: [], sortedRuns, status: "running", outputSsts: [] });
    assert.equal(at([7, 3, 5]), 3);
    assert.equal(at([2 ** 32 - 1]), 2 ** 32 - 1);
    assert.equal(at([]), 0);
  });

  const bad: ReadonlyArray<readonly [string, Uint8Array, string, RegExp]> = [
    ["nothing", new Uint8Array(0), "truncated", /0 bytes/],
    ["version 2", Uint8Array.of(0, 2, 0, 0), "unsupported-version", /version 2, known is 1/],
    ["no list", flatBytes({ 0: long(1) }, [0, 1]), "malformed", /recent_compactions is missing/],
    ["no specification", object({ 0: table(identity(0n, 1n)), 1: byte(1) }), "malformed", /spec is missing/],
    ["no kind of specification", object({ 0: table(identity(0n, 1n)), 2: table({}) }), "malformed", /type 0/],
    ["an unknown kind of specification", object(record({}, { 1: byte(2) })), "malformed", /type 2/],
    ["no id", object({ 1: byte(1), 2: table({}) }), "malformed", /id is missing/],
    ["an output without first key", object(record({}, { 4: tables(output({})) })), "malformed", /first_entry/],
  ];
  for (const [name, input, reason, what] of bad) {
    it(`decodeCompactions refuses ${name}`, () => assertRefused(() => decodeCompactions(input), reason, what));
  }

  it("decodeCompactions gives the value or a FormatError for every truncation and byte change", () => {
    const input = object(
      record({ 1: u32s(4, 2), 2: tables(identity(3n, 4n)) }, { 3: byte(1), 4: tables(output({ 0: bytes("a") })) }),
      record({ 0: tables(identity(5n, 6n)) }),
    );
    const value = decodeCompactions(input);
    const again = encodeCompactions(value);
    for (const each of [input, again]) {
      everyTruncation(each, decodeCompactions, (found) => {
        assert.deepEqual(found, value);
        return true;
      });
      const changed = everyByteChange(each, 128, decodeCompactions);
      assert.ok(changed.refused > 1000 && changed.read > 1000, JSON.stringify(changed));
    }
  });
});

function output(info: FlatFields): FlatFields {
  return { 0: table(identity(8n, 9n)), 1: table(info) };
}
