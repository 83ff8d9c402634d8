/**
 * Every table and WAL file that the official engine left, decoded and compared with its own answers, and built again
 * from its rows.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { joinChunks } from "../../src/bytes/chunks.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { decodeBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import { probeCount } from "../../src/format/bloom.ts";
import { openSection } from "../../src/format/section.ts";
import { SstBuilder } from "../../src/format/sst_builder.ts";
import { blockEnd, readSst, type SstContents } from "../../src/format/sst_footer.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { WalRows, WalSstBuilder } from "../../src/format/wal_sst.ts";
import { zstdMissing } from "../support/codecs.ts";
import { hex } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { canUseDisk } from "../support/permissions.ts";
import { filesOf, type FixtureCase, fixtureCases, type FixtureFile, leftOut } from "./fixture_files.ts";
import { addRow, options, type Row, rowAt } from "./row_samples.ts";

interface WalRow {
  readonly kind: string;
  readonly key: string;
  readonly value: string | null | { readonly len: number; readonly sha256: string };
  readonly seq: string;
  readonly create_ts: string | null;
  readonly expire_ts: string | null;
}

interface Answers {
  readonly block_size?: string;
  readonly wal?: readonly { readonly id: string; readonly rows: readonly WalRow[] }[];
  readonly settings?: Readonly<Record<string, unknown>>;
}

function asAnswer(r: Row): WalRow {
  const tombstone = (r.flags & FLAG_TOMBSTONE) !== 0;
  const long = r.value.length > 128;
  const sha256 = createHash("sha256").update(r.value).digest("hex");
  return {
    kind: tombstone ? "Tombstone" : (r.flags & FLAG_MERGE) !== 0 ? "Merge" : "Value",
    key: hex(r.key),
    value: tombstone ? null : long ? { len: r.value.length, sha256 } : hex(r.value),
    seq: String(r.seq),
    create_ts: r.createTs === NO_TICK ? null : String(r.createTs),
    expire_ts: r.expireTs === NO_EXPIRY ? null : String(r.expireTs),
  };
}

function allRows(bytes: Uint8Array, contents: SstContents): Row[] {
  const { info, index, version } = contents;
  const cursor = new BlockCursor();
  return index.offsets.flatMap((offset, i) => {
    cursor.reset(
      decodeBlock(bytes.subarray(offset, blockEnd(index, info, i)), info.compression, version, `block ${i}`),
    );
    const rows: Row[] = [];
    for (let on = cursor.first(); on; on = cursor.next()) rows.push(rowAt(cursor));
    return rows;
  });
}

/** The block size of a case in bytes: "default (4 KiB)", "BLOCK_SIZE_1_KIB", "64 KiB" and the like. */
function blockSizeOf(answers: Answers): number | undefined {
  const found = /(\d+)[ _]?Ki?B/i.exec(answers.block_size ?? "");
  return found === null ? undefined : Number(found[1]) * 1024;
}

function sectionOf(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  return bytes.subarray(offset, offset + length);
}

/** Builds the table again with its own settings and compares it part by part. */
function assertRebuilds(file: FixtureFile, rows: readonly Row[], contents: SstContents, blockSizeBytes: number): void {
  const { info, index, stats } = contents;
  const filterPayload = info.filterLen === 0
    ? undefined
    : openSection(sectionOf(file.bytes, info.filterOffset, info.filterLen), info.compression, "filter");
  const probes = filterPayload === undefined ? 6 : filterPayload[1]!;
  const settings = options({
    blockSizeBytes,
    compression: info.compression,
    minFilterKeys: filterPayload === undefined ? Infinity : 0,
    filterBitsPerKey: [7, 10, 20].find((bits) => probeCount(bits) === probes)!,
  });
  const builder = new SstBuilder(settings);
  for (const r of rows) addRow(builder, r);
  const built = builder.finish();
  assert.deepEqual(built.filter, filterPayload, `${file.path}: filter`);
  assert.deepEqual(built.index.firstKeys, index.firstKeys, `${file.path}: index`);
  assert.deepEqual(built.stats, stats, `${file.path}: stats`);
  assert.deepEqual(built.info.firstEntry, info.firstEntry, `${file.path}: first entry`);
  assert.deepEqual(built.info.lastEntry, info.lastEntry, `${file.path}: last entry`);
  const bytes = joinChunks(built.chunks);
  assert.equal(bytes.length, built.sizeBytes);
  assert.equal(readSst(bytes).rows, rows.length);
  if (info.compression !== 0) return;
  assert.deepEqual(built.index.offsets, index.offsets, `${file.path}: block offsets`);
  assert.deepEqual(built.info, info, `${file.path}: info`);
  assert.deepEqual(bytes.subarray(0, info.filterOffset), file.bytes.subarray(0, info.filterOffset), file.path);
}

function checkTables(fixture: FixtureCase): { tables: number; rebuilt: number } {
  const blockSize = blockSizeOf(fixture.expected as Answers);
  let rebuilt = 0;
  const files = filesOf(fixture, ".sst").filter(({ path }) => path.includes("compacted/"));
  for (const file of files) {
    const contents = readSst(file.bytes);
    const rows = allRows(file.bytes, contents);
    assert.equal(rows.length, contents.rows);
    assert.equal(rows.length > 0, contents.info.firstEntry !== undefined);
    for (let i = 1; i < rows.length; i++) assert.ok(compareBytes(rows[i - 1]!.key, rows[i]!.key) <= 0);
    if (contents.version === 2 && blockSize !== undefined) {
      assertRebuilds(file, rows, contents, blockSize);
      rebuilt++;
    }
  }
  return { tables: files.length, rebuilt };
}

function checkWal(fixture: FixtureCase): { files: number; rows: number } {
  const answers = fixture.expected as Answers;
  const blockSizeBytes = blockSizeOf(answers) ?? 4096;
  const answered = new Map((answers.wal ?? []).map(({ id, rows }) => [id.padStart(20, "0"), rows]));
  const counts = { files: 0, rows: 0 };
  for (const { path, bytes } of filesOf(fixture, ".sst").filter(({ path }) => /(^|\/)wal\/\d+\.sst$/.test(path))) {
    const expected = answered.get(path.slice(-24, -4));
    const walk = new WalRows(bytes);
    const rows: Row[] = [];
    while (walk.next()) rows.push(rowAt(walk));
    if (expected !== undefined) assert.deepEqual(rows.map(asAnswer), expected, `${fixture.name} ${path}`);
    const contents = readSst(bytes);
    assert.equal(contents.rows, rows.length);
    if (rows.length > 0) {
      const builder = new WalSstBuilder(options({ blockSizeBytes, compression: contents.info.compression }));
      for (const r of rows) addRow(builder, r);
      const built = builder.finish();
      const again = readSst(built);
      assert.deepEqual(again.index.firstKeys, contents.index.firstKeys, path);
      if (contents.info.compression === 0) {
        assert.deepEqual(again.info, contents.info, path);
        const dataEnd = contents.info.indexOffset;
        assert.deepEqual(built.subarray(0, dataEnd), bytes.subarray(0, dataEnd), path);
      }
    }
    counts.files++;
    counts.rows += rows.length;
  }
  return counts;
}

for (const source of ["committed", "shared"] as const) {
  const skip = source === "committed" ? (canUseDisk() ? false : "needs permission to read files") : leftOut() ?? false;
  describe(`tables of the official engine (${source})`, { skip }, () => {
    for (const fixture of skip === false ? fixtureCases(source) : []) {
      const skipped = /zstd/.test(fixture.name) ? zstdMissing : false;
      it(`${fixture.name}: every table decodes, agrees with itself and is built again from its rows`, {
        skip: skipped,
      }, () => {
        checkTables(fixture);
      });
      it(`${fixture.name}: every WAL file has the rows of the official reader and is built again from them`, {
        skip: skipped,
      }, () => {
        checkWal(fixture);
      });
    }

    it("the set is as large as expected", () => {
      const cases = fixtureCases(source).filter(({ name }) => zstdMissing === false || !/zstd/.test(name));
      const tables = cases.map(checkTables);
      const wal = cases.map(checkWal);
      const total = {
        tables: tables.reduce((sum, { tables }) => sum + tables, 0),
        rebuilt: tables.reduce((sum, { rebuilt }) => sum + rebuilt, 0),
        walFiles: wal.reduce((sum, { files }) => sum + files, 0),
        walRows: wal.reduce((sum, { rows }) => sum + rows, 0),
      };
      const least = source === "committed" ? 20 : 60;
      assert.ok(total.rebuilt >= least && total.walFiles >= least && total.walRows >= least, JSON.stringify(total));
    });
  });
}
