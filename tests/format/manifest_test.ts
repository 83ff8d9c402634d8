/** The manifest codec: vectors, odd inputs, round trips, damage. The official files are in `control_files_test.ts`. @module */
import fc from "fast-check";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { type Manifest, NO_TICK } from "../../src/format/types.ts";
import { assert, describe, it } from "../support/suite.ts";
import { MANIFEST } from "./control_arbitraries.ts";
import { assertRefused, everyByteChange, everyTruncation } from "./damage.ts";
import { byte, bytes, flatBytes, type FlatFields, identity, int, long, short, table, tables } from "./flat_bytes.ts";

const SEED = 20266;

const FIRST_MANIFEST = Uint8Array.from(
  `0001 28000000 2400 2000 0000 0000 0700 0000 0000 0000 0000 0000 0800 0c00 1800 1000 0000 0000 0000 1400
   24000000 000000 01 34000000 2c000000 24000000 0c000000 0000000000000080
   0d000000 01 00000000 00000000 00000000 000000 00000000 00000000 00000000`.replaceAll(/\s/g, "").match(/../g)!,
  (pair) => Number.parseInt(pair, 16),
);

const EMPTY: Manifest = {
  initialized: true,
  writerEpoch: 0,
  compactorEpoch: 0,
  replayAfterWalId: 0,
  walIdLastSeen: 0,
  lastCompactedL0: undefined,
  l0: [],
  compacted: [],
  lastL0ClockTick: NO_TICK,
  checkpoints: [],
  lastL0Seq: 0,
  walObjectStoreUri: undefined,
  recentSnapshotMinSeq: 0,
  sequenceTracker: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  externalDbs: [],
};

const SST = identity(0x01a1fcecc375de1dn, 0xa27a7fa88674a6dfn);
const SST_TEXT = "01M7YESGVNVRET4YKZN23799PZ";
const VIEW_ID = identity(0x01a1fcecc375de1dn, 5n);
const INFO: FlatFields = { 0: bytes("a"), 1: long(10), 2: long(20), 3: long(10), 7: bytes("z") };
const ENTRY: FlatFields = { 0: table(SST), 1: table(INFO), 3: short(2) };
const UNBOUNDED: FlatFields = { 1: byte(1) };

function version1(fields: FlatFields = {}): Uint8Array {
  return flatBytes({ 8: tables(), 9: tables(), 11: tables(), ...fields }, [0, 1]);
}

function version2(fields: FlatFields = {}): Uint8Array {
  return flatBytes({ 8: tables(), 9: tables(), 10: tables(), 12: tables(), ...fields }, [0, 2]);
}

const V2_INPUT = version2({
  2: byte(1),
  3: long(7),
  7: table(VIEW_ID),
  8: tables({ 0: table(SST), 1: table(INFO), 2: short(2) }, { 0: table(identity(1n, 1n)), 1: table(INFO) }),
  9: tables({ 0: table(VIEW_ID), 1: table(SST) }),
  10: tables({
    0: int(4),
    1: tables({
      0: table(identity(2n, 2n)),
      1: table(identity(1n, 1n)),
      2: table({ 0: table({ 0: bytes("c"), 1: byte(2) }), 1: table({ 0: bytes("x"), 1: byte(3) }) }),
    }),
  }),
  11: long(-5n & 0xffffffffffffffffn),
  13: long(99),
  14: long(98),
  15: bytes(Uint8Array.of(9)),
});

describe("format/manifest_codec", () => {
  it("decodeManifest reads the first manifest of every new official database", () => {
    assert.equal(FIRST_MANIFEST.length, 106);
    assert.deepEqual(decodeManifest(FIRST_MANIFEST), { version: 1, manifest: EMPTY });
  });

  it("encodeManifest writes an empty manifest that is as large as the official one", () => {
    const written = encodeManifest(EMPTY);
    assert.equal(written.length, FIRST_MANIFEST.length);
    assert.deepEqual(decodeManifest(written), { version: 1, manifest: EMPTY });
  });

  it(`encodeManifest and decodeManifest are inverse for every field (seed ${SEED})`, () => {
    fc.assert(
      fc.property(MANIFEST, (manifest) => {
        assert.deepEqual(decodeManifest(encodeManifest(manifest)), { version: 1, manifest });
      }),
      { seed: SEED, numRuns: 400 },
    );
  });

  it("decodeManifest answers values that do not change with the bytes", () => {
    const input = encodeManifest({ ...EMPTY, sequenceTracker: Uint8Array.of(1, 2, 3) });
    const { manifest } = decodeManifest(input);
    input.fill(0xee);
    assert.deepEqual(manifest.sequenceTracker, Uint8Array.of(1, 2, 3));
  });

  it("decodeManifest names the version it found and those it knows", () => {
    for (const version of [0, 3, 0x8002, 0xffff]) {
      const input = version1();
      input[0] = version >>> 8;
      input[1] = version;
      assertRefused(
        () => decodeManifest(input),
        "unsupported-version",
        new RegExp(`${version}, known are 1, 2 and 32769`),
      );
    }
  });

  it("decodeManifest calls an empty or very short object truncated", () => {
    for (const length of [0, 1, 2, 9]) {
      assertRefused(() => decodeManifest(version1().slice(0, length)), "truncated");
    }
  });

  it("decodeManifest resolves the views of version 2 and writes them back as version 1", () => {
    const { version, manifest } = decodeManifest(V2_INPUT);
    assert.equal(version, 2);
    assert.equal(manifest.initialized, true);
    assert.equal(manifest.writerEpoch, 7);
    assert.equal(manifest.lastL0ClockTick, -5);
    assert.equal(manifest.lastL0Seq, 99);
    assert.equal(manifest.recentSnapshotMinSeq, 98);
    assert.equal(manifest.walObjectStoreUri, undefined);
    assert.deepEqual(manifest.sequenceTracker, Uint8Array.of(9));
    assert.equal(manifest.l0[0]!.sstId, SST_TEXT);
    assert.notEqual(manifest.l0[0]!.viewId, SST_TEXT);
    assert.equal(manifest.l0[0]!.formatVersion, 2);
    assert.equal(manifest.lastCompactedL0, manifest.l0[0]!.viewId);
    const inRun = manifest.compacted[0]!.ssts[0]!;
    assert.equal(inRun.formatVersion, 1);
    assert.deepEqual(inRun.visibleRange, {
      start: { key: Uint8Array.of(99), inclusive: true },
      end: { key: Uint8Array.of(120), inclusive: false },
    });
    const again = decodeManifest(encodeManifest(manifest));
    assert.equal(again.version, 1);
    assert.equal(again.manifest.lastCompactedL0, SST_TEXT);
    assert.deepEqual(again.manifest.l0, manifest.l0.map((view) => ({ ...view, viewId: view.sstId })));
    assert.deepEqual(again.manifest.compacted[0]!.ssts[0]!.visibleRange, inRun.visibleRange);
  });

  it("decodeManifest refuses a version 2 view of an SST that is not listed", () => {
    const input = version2({ 9: tables({ 0: table(VIEW_ID), 1: table(SST) }) });
    assertRefused(() => decodeManifest(input), "malformed", /which the manifest does not list/);
  });

  it("decodeManifest takes an absent format version as 1 and refuses those it does not know", () => {
    const absent = decodeManifest(version1({ 8: tables({ 0: table(SST), 1: table(INFO) }) }));
    assert.equal(absent.manifest.l0[0]!.formatVersion, 1);
    for (const version of [0, 3, 0x8002]) {
      const input = version1({ 8: tables({ ...ENTRY, 3: short(version) }) });
      assertRefused(
        () => decodeManifest(input),
        "unsupported-version",
        new RegExp(`${version}, known are 1, 2 and 32769`),
      );
    }
  });

  it("decodeManifest ignores slots it does not know and the number inside", () => {
    const { manifest } = decodeManifest(version1({ 0: long(77), 2: byte(1), 31: bytes("later"), 40: long(1) }));
    const expected = { ...EMPTY, lastL0ClockTick: 0, sequenceTracker: undefined };
    assert.deepEqual(manifest, expected);
  });

  it("decodeManifest carries checkpoint metadata over and refuses kinds it would lose", () => {
    const checkpoint = (fields: FlatFields) => version1({ 11: tables({ 0: table(identity(1n, 2n)), ...fields }) });
    const known = decodeManifest(checkpoint({ 4: byte(1), 5: table({ 0: long(12) }), 6: bytes("nightly") })).manifest;
    assert.deepEqual(known.checkpoints, [{
      id: "00000000-0000-0001-0000-000000000002",
      manifestId: 0,
      expireTimeSeconds: 0,
      createTimeSeconds: 0,
      name: "nightly",
      writerEpoch: 12,
    }]);
    assert.deepEqual(decodeManifest(encodeManifest(known)).manifest, known);
    for (const fields of [{ 4: byte(2), 5: table({}) }, { 4: byte(1) }, { 5: table({}) }]) {
      assertRefused(() => decodeManifest(checkpoint(fields)), "malformed", /checkpoint metadata/);
    }
  });

  const bad: ReadonlyArray<readonly [string, Uint8Array, string, RegExp]> = [
    ["no l0", flatBytes({ 9: tables(), 11: tables() }, [0, 1]), "malformed", /l0 is missing/],
    ["no runs", flatBytes({ 8: tables(), 11: tables() }, [0, 1]), "malformed", /compacted is missing/],
    ["no checkpoints", flatBytes({ 8: tables(), 9: tables() }, [0, 1]), "malformed", /checkpoints is missing/],
    ["SST without id", version1({ 8: tables({ 1: table(INFO) }) }), "malformed", /id is missing/],
    ["SST without info", version1({ 8: tables({ 0: table(SST) }) }), "malformed", /info is missing/],
    ["SST without first key", version1({ 8: tables({ ...ENTRY, 1: table({}) }) }), "malformed", /no first_entry/],
    ["codec 9", version1({ 8: tables({ ...ENTRY, 1: table({ ...INFO, 5: byte(9) }) }) }), "unsupported-codec", /9/],
    ["codec -1", version1({ 8: tables({ ...ENTRY, 1: table({ ...INFO, 5: byte(255) }) }) }), "unsupported-codec", /-1/],
    ["SST type 2", version1({ 8: tables({ ...ENTRY, 1: table({ ...INFO, 6: byte(2) }) }) }), "malformed", /type 2/],
    ["filter 2", version1({ 8: tables({ ...ENTRY, 1: table({ ...INFO, 10: byte(2) }) }) }), "unsupported-version", /2/],
    ["run without SSTs", version1({ 9: tables({ 0: int(1) }) }), "malformed", /ssts is missing/],
    ["equal run ids", version1({ 9: tables({ 1: tables() }, { 1: tables() }) }), "malformed", /must descend/],
    ["rising run ids", version1({ 9: tables({ 1: tables() }, { 0: int(1), 1: tables() }) }), "malformed", /descend/],
    ["epoch above 2 ** 53", version1({ 3: long(2n ** 53n) }), "malformed", /2 \*\* 53/],
    ["tick below the limit", version1({ 10: long(1n << 63n | 1n) }), "malformed", /2 \*\* 53/],
    ["path that is not UTF-8", version1({ 13: bytes(Uint8Array.of(0xc3)) }), "malformed", /UTF-8/],
    ["field outside its table", shortTable(), "malformed", /in a table of/],
  ];
  for (const [name, input, reason, what] of bad) {
    it(`decodeManifest refuses: ${name}`, () => assertRefused(() => decodeManifest(input), reason, what));
  }

  it("decodeManifest keeps the bound rules of visible ranges", () => {
    const range = (start: FlatFields, end: FlatFields) =>
      version1({ 8: tables({ ...ENTRY, 2: table({ 0: table(start), 1: table(end) }) }) });
    const key = (type: number): FlatFields => ({ 0: bytes("k"), 1: byte(type) });
    const good = decodeManifest(range(UNBOUNDED, key(2))).manifest.l0[0]!.visibleRange;
    assert.deepEqual(good, {
      start: { key: undefined, inclusive: false },
      end: { key: Uint8Array.of(107), inclusive: true },
    });
    const wrong: ReadonlyArray<readonly [FlatFields, FlatFields]> = [
      [key(3), UNBOUNDED],
      [key(1), UNBOUNDED],
      [key(0), UNBOUNDED],
      [UNBOUNDED, key(1)],
      [UNBOUNDED, key(4)],
      [UNBOUNDED, { 1: byte(2) }],
      [{ 1: byte(3) }, UNBOUNDED],
      [{}, UNBOUNDED],
    ];
    for (const [start, end] of wrong) {
      assertRefused(() => decodeManifest(range(start, end)), "malformed", /bound|begins/);
    }
    const half = version1({ 8: tables({ ...ENTRY, 2: table({ 0: table(UNBOUNDED) }) }) });
    assertRefused(() => decodeManifest(half), "malformed", /end_bound is missing/);
  });

  it("encodeManifest refuses numbers that the format cannot hold", () => {
    for (const writerEpoch of [-1, 0.5, 2 ** 53, Number.NaN]) {
      assert.throws(() => encodeManifest({ ...EMPTY, writerEpoch }), RangeError);
    }
    assert.throws(() => encodeManifest({ ...EMPTY, lastL0ClockTick: 0.5 }), RangeError);
    assert.throws(() => encodeManifest({ ...EMPTY, compacted: [{ id: 2 ** 32, ssts: [] }] }), RangeError);
  });

  it("decodeManifest gives the manifest or a FormatError for every truncation and byte change of version 1", () => {
    const [manifest] = fc.sample(MANIFEST.filter((value) => value.l0.length > 1 && value.compacted.length > 1), {
      seed: SEED,
      numRuns: 1,
    });
    const input = encodeManifest(manifest!);
    const cut = everyTruncation(input, decodeManifest, (value) => sameManifest(value.manifest, manifest!));
    assert.ok(cut.refused > input.length / 2, `${cut.refused} of ${input.length} truncations refused`);
    const changed = everyByteChange(input, 128, decodeManifest);
    assert.ok(changed.refused > 1000 && changed.read > 1000, JSON.stringify(changed));
  });

  it("decodeManifest gives the manifest or a FormatError for every truncation and byte change of version 2", () => {
    const { manifest } = decodeManifest(V2_INPUT);
    everyTruncation(V2_INPUT, decodeManifest, (value) => sameManifest(value.manifest, manifest));
    const changed = everyByteChange(V2_INPUT, 128, decodeManifest);
    assert.ok(changed.refused > 1000 && changed.read > 1000, JSON.stringify(changed));
  });
});

/** A manifest whose root table says that it is 4 bytes long. */
function shortTable(): Uint8Array {
  const input = version1();
  const vtable = 2 + 4;
  input[vtable + 2] = 4;
  return input;
}

function sameManifest(a: Manifest, b: Manifest): boolean {
  assert.deepEqual(a, b);
  return true;
}
