import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { type Manifest, RANGE_DELETES, RANGE_FORMAT, type SstInfo } from "../../src/format/types.ts";
import { emptyManifest, protectFrom } from "../../src/state/manifest_edits.ts";
import { assertSuccessor, type Author } from "../../src/state/manifest_invariants.ts";
import { GatedVersions } from "../../src/state/gated_versions.ts";
import { isGated, namesRanges, raiseGate, sameFeatures, settleGate, withGate } from "../../src/state/range_gate.ts";
import { WalLedger } from "../../src/state/wal_ledger.ts";
import { assert, describe, it } from "../support/suite.ts";

const plain: Manifest = { ...emptyManifest(false), lastL0Seq: 9, recentSnapshotMinSeq: 3 };
const gated = withGate(plain, true);
const info: SstInfo = {
  firstEntry: Uint8Array.of(97),
  lastEntry: Uint8Array.of(98),
  indexOffset: 0,
  indexLen: 0,
  filterOffset: 0,
  filterLen: 0,
  compression: 0,
  sstType: 0,
  statsOffset: 0,
  statsLen: 0,
  filterFormat: 0,
};
const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const table = {
  viewId: id,
  sstId: id,
  info: { ...info, rangeDeletes: { offset: 0, length: 9, count: 1, end: undefined } },
  visibleRange: undefined,
  formatVersion: RANGE_FORMAT,
} as const;

describe("range gate", () => {
  it("withGate gives the same manifest when nothing changes, and else one that reads back as it is", () => {
    assert.equal(withGate(plain, false), plain);
    assert.equal(withGate(gated, true), gated);
    assert.equal(decodeManifest(encodeManifest(gated)).version, RANGE_FORMAT);
    assert.deepEqual(decodeManifest(encodeManifest(gated)).manifest.features, [RANGE_DELETES]);
    assert.deepEqual(encodeManifest(withGate(gated, false)), encodeManifest(plain));
    assert.equal(raiseGate(gated, 1), undefined);
    assert.equal(settleGate(gated, 1), gated);
  });

  it("withGate leaves other features in their place", () => {
    const other: Manifest = { ...plain, features: ["x"] };
    assert.deepEqual(withGate(other, true).features, ["x", RANGE_DELETES]);
    assert.equal(withGate(withGate(other, true), false).features?.join(), "x");
    assert.ok(!isGated(other) && !sameFeatures(other, plain) && sameFeatures(gated, { ...gated }));
  });

  it("namesRanges sees tables of L0 and of runs", () => {
    assert.equal(namesRanges(gated), false);
    assert.ok(namesRanges({ ...gated, l0: [table] }));
    assert.ok(namesRanges({ ...gated, compacted: [{ id: 1, ssts: [table] }] }));
  });

  it("G1 a manifest that names range tombstones without the gate is a defect", () => {
    assert.throws(() => assertSuccessor(plain, { ...plain, l0: [table] }, "writer"), /Invariant G1/);
    assertSuccessor(plain, { ...gated, l0: [table] }, "writer");
  });

  it("G3 whoever is not the writer and changes the features is stopped", () => {
    for (const author of ["compactor", "admin"] satisfies Author[]) {
      assert.throws(() => assertSuccessor(plain, gated, author), /Invariant G3/);
      assert.throws(() => assertSuccessor(gated, plain, author), /Invariant G3/);
      assertSuccessor(gated, { ...gated, checkpoints: [] }, author);
    }
    assertSuccessor(gated, plain, "writer");
  });

  it("G2 the ledger knows which log objects above a boundary hold range tombstones, and forgets those below", () => {
    const ledger = new WalLedger(4);
    ledger.stored(5, 10, true);
    ledger.stored(6, 11);
    assert.deepEqual([ledger.holdsRangesAbove(4), ledger.holdsRangesAbove(5)], [true, false]);
    ledger.published(5);
    assert.equal(ledger.holdsRangesAbove(0), false);
  });

  it("protectFrom only raises what the manifest protects, never above its tables", () => {
    assert.equal(protectFrom(() => 3)(plain, 1), undefined);
    assert.equal(protectFrom((otherwise) => otherwise)(plain, 1)?.recentSnapshotMinSeq, 9);
    assert.equal(protectFrom(() => 40)(plain, 1)?.recentSnapshotMinSeq, 9);
    assert.equal(protectFrom(() => 5)(plain, 1)?.recentSnapshotMinSeq, 5);
  });

  it("GatedVersions lists checkpoints whose version is known, for as long as they are there", () => {
    const record = (name: string, manifestId: number) => ({
      id: name,
      manifestId,
      expireTimeSeconds: 0,
      createTimeSeconds: 0,
      name: undefined,
      writerEpoch: undefined,
    });
    const versions = new GatedVersions();
    const checkpoints = [record("a", 1), record("b", 2), record("c", 3)];
    versions.note(1, gated);
    versions.note(2, plain);
    assert.deepEqual(versions.among(checkpoints), ["a"]);
    versions.note(3, gated);
    versions.retain(checkpoints.slice(1), 7);
    assert.deepEqual(versions.among(checkpoints), ["c"]);
  });
});
