/** Range tombstones in WAL tables, compacted tables and manifests: round trips, order, damage. @module */
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { compareBytes, toBytes } from "../../src/bytes/compare.ts";
import { FormatError } from "../../src/errors.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { decodeRangeSection, encodeRangeSection, tombstoneOf } from "../../src/format/range_section.ts";
import { SstBuilder } from "../../src/format/sst_builder.ts";
import { decodeFooter, readSst } from "../../src/format/sst_footer.ts";
import { joinChunks } from "../../src/bytes/chunks.ts";
import {
  FLAG_RANGE_DELETE,
  NO_EXPIRY,
  RANGE_DELETES,
  RANGE_FORMAT,
  type RangeTombstone,
} from "../../src/format/types.ts";
import { WalRows, WalSstBuilder } from "../../src/format/wal_sst.ts";
import { RangeSet } from "../../src/lsm/range_set.ts";
import { assert, describe, it } from "../support/suite.ts";
import { MANIFEST } from "./control_arbitraries.ts";
import { everyByteChange, everyTruncation } from "./damage.ts";
import { addRow, CODES, options, type Row, row, rowAt, sortedRows } from "./row_samples.ts";
import { isCodecAvailable } from "../../src/format/compression.ts";

const SEED = 8001;
const EMPTY = new Uint8Array(0);

function tombstone(start: string, end: string | undefined, seq: number): RangeTombstone {
  return { start: toBytes(start), end: end === undefined ? undefined : toBytes(end), seq, createTs: 1000 + seq };
}

const anyKey = fc.uint8Array({ maxLength: 6 });
const anyTombstone: fc.Arbitrary<RangeTombstone> = fc.tuple(anyKey, fc.option(anyKey), fc.integer({ min: 1, max: 50 }))
  .map(([a, b, seq]) => {
    if (b === null || compareBytes(a, b) === 0) return { start: a, end: undefined, seq, createTs: seq };
    const [start, end] = compareBytes(a, b) < 0 ? [a, b] : [b, a];
    return { start, end, seq, createTs: seq };
  });
const fragments = fc.array(anyTombstone, { minLength: 1, maxLength: 12 }).map((all) => RangeSet.of(all).fragments());

function addTombstone(builder: WalSstBuilder, { start, end = EMPTY, seq, createTs }: RangeTombstone): void {
  builder.add(start, 0, start.length, seq, FLAG_RANGE_DELETE, createTs, NO_EXPIRY, end, 0, end.length);
}

function tableOf(rows: readonly Row[], ranges: readonly RangeTombstone[], settings = options({})): Uint8Array {
  const builder = new SstBuilder(settings);
  for (const one of rows) addRow(builder, one);
  builder.setRanges(ranges);
  return joinChunks(builder.finish().chunks);
}

const refused = (reason: string) => (error: unknown) => error instanceof FormatError && error.reason === reason;

describe("range tombstones in tables", () => {
  const codes = fc.constantFrom(...CODES.filter(isCodecAvailable));
  it(`SstBuilder keeps them in a section of their own and counts them in its bounds (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fragments, fc.option(sortedRows(30)), codes, (ranges, some, compression) => {
        const rows = some ?? [];
        const contents = readSst(tableOf(rows, ranges, options({ compression, minFilterKeys: 5 })));
        assert.deepEqual(contents.ranges, ranges);
        assert.equal(contents.version, RANGE_FORMAT);
        assert.equal(contents.rows, rows.length);
        const first = rows.length > 0 && compareBytes(rows[0]!.key, ranges[0]!.start) < 0
          ? rows[0]!.key
          : ranges[0]!.start;
        assert.deepEqual(contents.info.firstEntry, first);
        assert.deepEqual(contents.info.lastEntry, rows.at(-1)?.key);
        assert.equal(contents.info.rangeDeletes!.count, ranges.length);
        assert.deepEqual(contents.info.rangeDeletes!.end, ranges.at(-1)!.end);
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  it("a table without them stays a file of version 2", () => {
    const file = tableOf([row(toBytes("a"), 1, 0, toBytes("1"))], []);
    assert.equal(decodeFooter(file, file.length).version, 2);
    assert.equal(readSst(file).info.rangeDeletes, undefined);
  });

  it("a row of that kind among the rows of a compacted table is refused", () => {
    const bad = row(toBytes("a"), 1, FLAG_RANGE_DELETE, toBytes("b"));
    assert.throws(() => readSst(tableOf([bad], [tombstone("a", "b", 2)])), refused("unsupported-version"));
    assert.throws(() => readSst(tableOf([bad], [])), refused("unsupported-version"));
  });

  it("sections whose tombstones overlap, are out of order or end before they begin are neither written nor read", () => {
    const bad: RangeTombstone[][] = [
      [tombstone("b", "a", 1)],
      [tombstone("a", "a", 1)],
      [tombstone("a", "c", 1), tombstone("b", "d", 1)],
      [tombstone("a", "c", 1), tombstone("a", "c", 2)],
      [tombstone("a", "c", 2), tombstone("a", "d", 1)],
      [tombstone("a", undefined, 2), tombstone("b", "c", 1)],
      [tombstone("c", "d", 2), tombstone("a", "b", 1)],
    ];
    for (const ranges of bad) assert.throws(() => encodeRangeSection(ranges), /range tombstone with number/);
    const good = encodeRangeSection([tombstone("a", "c", 2), tombstone("a", "c", 1)]);
    const overcounted = good.slice();
    new DataView(overcounted.buffer).setUint32(0, 3);
    assert.throws(() => decodeRangeSection(overcounted), refused("malformed"));
    const overlapping = good.slice();
    // The second row's end: its value is the byte before the 17 of its trailer.
    overlapping[overlapping.length - 18] = toBytes("d")[0]!;
    assert.throws(() => decodeRangeSection(overlapping), refused("malformed"));
    assert.throws(() => decodeRangeSection(good.subarray(0, 3)), refused("truncated"));
  });

  it("no damage to such a table or section gives anything but FormatError or a value", () => {
    const ranges = RangeSet.of([tombstone("a", "m", 5), tombstone("c", undefined, 7), tombstone("", "b", 2)])
      .fragments();
    const section = encodeRangeSection(ranges);
    everyTruncation(section, decodeRangeSection, () => false);
    everyByteChange(section, section.length, decodeRangeSection);
    const file = tableOf([row(toBytes("b"), 6, 0, toBytes("1")), row(toBytes("x"), 1, 0, toBytes("2"))], ranges);
    const { refused, read } = everyByteChange(file, 0, readSst);
    assert.equal(read, 0, `${refused} refused`);
    everyTruncation(file, readSst, () => false);
  });
});

describe("range tombstones in the log", () => {
  it("WalSstBuilder and WalRows keep them before the batch's rows, empty bounds included", () => {
    const builder = new WalSstBuilder(options({ blockSizeBytes: 1024 }));
    const ranges = [tombstone("", "b", 1), tombstone("a", undefined, 1), tombstone("x".repeat(2000), "y", 3)];
    addTombstone(builder, ranges[0]!);
    addTombstone(builder, ranges[1]!);
    const rows = [row(toBytes("a"), 1, 0, toBytes("1")), row(toBytes("b"), 2, 0, toBytes("2"))];
    for (const one of rows) addRow(builder, one);
    addTombstone(builder, ranges[2]!);
    const file = builder.finish();
    const walk = new WalRows(file);
    assert.equal(walk.version, RANGE_FORMAT);
    const found: RangeTombstone[] = [];
    const plain: Row[] = [];
    while (walk.next()) {
      const one = tombstoneOf(walk);
      if (one === undefined) plain.push(rowAt(walk));
      else found.push(one);
    }
    assert.deepEqual(found, ranges);
    assert.deepEqual(plain, rows);
    assert.equal(readSst(file).rows, 5);
  });

  it("a log table of version 2 may not hold one, and one without them is of version 2", () => {
    const builder = new WalSstBuilder(options({}));
    addRow(builder, row(toBytes("a"), 1, 0, toBytes("1")));
    const plain = builder.finish();
    assert.equal(new WalRows(plain).version, 2);
    const other = new WalSstBuilder(options({}));
    addTombstone(other, tombstone("a", "b", 1));
    const file = other.finish();
    file[file.length - 2] = 0;
    file[file.length - 1] = 2;
    assert.throws(() => new WalRows(file).next(), refused("unsupported-version"));
  });
});

describe("the manifest's gate", () => {
  const SAMPLE = fc.sample(MANIFEST, { seed: SEED, numRuns: 40 });
  it("features make it version 0x8001, and without them it is version 1 again", () => {
    for (const manifest of SAMPLE) {
      const gated = encodeManifest({ ...manifest, features: [RANGE_DELETES] });
      assert.deepEqual([gated[0], gated[1]], [0x80, 0x01]);
      const decoded = decodeManifest(gated);
      assert.equal(decoded.version, RANGE_FORMAT);
      assert.deepEqual(decoded.manifest.features, [RANGE_DELETES]);
      const { features: _, ...rest } = decoded.manifest;
      const back = encodeManifest(rest);
      assert.deepEqual(back, encodeManifest(manifest));
      assert.equal(decodeManifest(back).version, 1);
    }
  });

  it("its vtable has 70 bytes, slots 16 to 31 absent", () => {
    const bytes = encodeManifest({ ...SAMPLE[0]!, features: [RANGE_DELETES] });
    const view = new DataView(bytes.buffer, 2);
    const root = view.getUint32(0, true);
    const vtable = root - view.getInt32(root, true);
    assert.equal(view.getUint16(vtable, true), 70);
    for (let slot = 16; slot < 32; slot++) assert.equal(view.getUint16(vtable + 4 + 2 * slot, true), 0);
  });

  it("a feature that is not known, or none, is refused", () => {
    const unknown = encodeManifest({ ...SAMPLE[0]!, features: ["range-deletes", "segments"] });
    assert.throws(() => decodeManifest(unknown), refused("unsupported-version"));
    const none = encodeManifest(SAMPLE[0]!);
    none.set([0x80, 0x01]);
    assert.throws(() => decodeManifest(none), refused("malformed"));
  });

  it("no damage to it gives anything but FormatError or a value", () => {
    const bytes = encodeManifest({ ...SAMPLE[1]!, features: [RANGE_DELETES] });
    everyByteChange(bytes, 0, decodeManifest);
    const whole = decodeManifest(bytes);
    everyTruncation(bytes, decodeManifest, (value) => isDeepStrictEqual(value, whole));
  });
});
