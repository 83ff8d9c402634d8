/**
 * Damaged tables: every truncation and every changed byte of one small file of each kind, and the same below the
 * checksums, gives the right rows or a FormatError, never anything else.
 *
 * @module
 */
import { joinChunks } from "../../src/bytes/chunks.ts";
import { FormatError } from "../../src/errors.ts";
import { toBytes } from "../../src/bytes/compare.ts";
import { parseBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import { BloomFilter } from "../../src/format/bloom.ts";
import { isCodecAvailable } from "../../src/format/compression.ts";
import { openSection, sealSection } from "../../src/format/section.ts";
import { encodeEmptySst } from "../../src/format/sst_builder.ts";
import { checkIndex, decodeFooter, decodeInfoSection, FOOTER_BYTES, readSst } from "../../src/format/sst_footer.ts";
import { decodeIndex, decodeStats, encodeIndex, encodeSstInfo } from "../../src/format/sst_tables.ts";
import {
  COMPRESSION_NAMES,
  type CompressionCode,
  FLAG_MERGE,
  FLAG_TOMBSTONE,
  NO_EXPIRY,
  type SstInfo,
} from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { zstdMissing } from "../support/codecs.ts";
import { assert, describe, it } from "../support/suite.ts";
import { blockV1, CODES, options, readAsV1, type Row, row, rowAt, sstOf, walOf } from "./row_samples.ts";

const CREATED = 1_795_244_737_377;

/** Twenty rows of all kinds, with versions, long shared prefixes and a restart in the middle. */
function sampleRows(): Row[] {
  const rows = Array.from({ length: 18 }, (_, i) => {
    const kind = i % 5 === 3 ? FLAG_TOMBSTONE : i % 5 === 4 ? FLAG_MERGE : 0;
    return row(toBytes(`key${String(i).padStart(3, "0")}`), i + 1, kind, toBytes(`v${i}`), CREATED + i);
  });
  const twice = rows[3]!.key;
  rows.splice(4, 0, row(twice, 2, 0, toBytes("older"), CREATED, CREATED + 1000));
  return rows;
}

/** A version 1 table, put together by hand. */
function sstV1(rows: readonly Row[]): Uint8Array {
  const block = sealSection(blockV1(rows), 0);
  const index = sealSection(encodeIndex([0], [new Uint8Array(0)]), 0);
  const info: SstInfo = {
    firstEntry: rows[0]!.key,
    lastEntry: rows.at(-1)!.key,
    indexOffset: block.length,
    indexLen: index.length,
    filterOffset: block.length,
    filterLen: 0,
    compression: 0,
    sstType: 0,
    statsOffset: 0,
    statsLen: 0,
    filterFormat: 0,
  };
  const footer = new Uint8Array(FOOTER_BYTES);
  new DataView(footer.buffer).setBigUint64(0, BigInt(block.length + index.length));
  footer[9] = 1;
  return joinChunks([block, index, sealSection(encodeSstInfo(info), 0), footer]);
}

function rowsOf(file: Uint8Array): Row[] {
  const rows: Row[] = [];
  const walk = new WalRows(file);
  while (walk.next()) rows.push(rowAt(walk));
  return rows;
}

/** Runs `decode`; undefined when it refused with a FormatError. Any other exception is a failure. */
function attempt<T>(what: string, decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw new Error(`${what}: not a FormatError: ${String(error)}`, { cause: error });
  }
}

/** Every changed byte: all values where `thorough`, otherwise three. Calls `check` with the changed bytes. */
function changes(
  input: Uint8Array,
  thorough: (at: number) => boolean,
  check: (bytes: Uint8Array, what: string) => void,
) {
  const bytes = input.slice();
  for (let at = 0; at < input.length; at++) {
    const good = input[at]!;
    const others = thorough(at)
      ? Array.from({ length: 255 }, (_, i) => (good + 1 + i) & 255)
      : [good ^ 1, good ^ 0x80, 255 - good];
    for (const other of others) {
      bytes[at] = other;
      check(bytes, `byte ${at} from ${good} to ${other}`);
    }
    bytes[at] = good;
  }
}

const filtered = (code: CompressionCode) => options({ compression: code, minFilterKeys: 1, blockSizeBytes: 256 });
const kinds: { name: string; file: Uint8Array; rows: Row[] }[] = [];
for (const code of CODES.filter(isCodecAvailable)) {
  kinds.push({
    name: `table, ${COMPRESSION_NAMES[code]}`,
    file: sstOf(sampleRows(), filtered(code)),
    rows: sampleRows(),
  });
  const wal = [...sampleRows()].filter((r) => r.expireTs === NO_EXPIRY);
  kinds.push({ name: `WAL, ${COMPRESSION_NAMES[code]}`, file: walOf(wal, filtered(code)), rows: wal });
}
kinds.push({ name: "version 1 table", file: sstV1(sampleRows()), rows: sampleRows().map(readAsV1) });
kinds.push({ name: "fence", file: encodeEmptySst(), rows: [] });

describe("format/sst damage", () => {
  if (zstdMissing !== false) it("zstd", { skip: zstdMissing }, () => {});
  for (const { name, file, rows } of kinds) {
    it(`${name}: the file itself is right`, () => {
      assert.equal(readSst(file).rows, rows.length);
      assert.deepEqual(rowsOf(file), rows);
    });

    it(`${name}: every truncation is refused`, () => {
      for (let length = 0; length < file.length; length++) {
        const cut = file.slice(0, length);
        assert.equal(attempt(`first ${length}`, () => readSst(cut)), undefined, `first ${length} bytes were read`);
        if (length > 0) assert.equal(attempt(`first ${length}`, () => rowsOf(cut)), undefined, `first ${length} bytes`);
      }
    });

    it(`${name}: every changed byte is refused or does not matter`, () => {
      const edge = (at: number) => at < 4 || at >= file.length - FOOTER_BYTES;
      changes(file, edge, (bytes, what) => {
        const found = attempt(what, () => rowsOf(bytes));
        if (found !== undefined) assert.deepEqual(found, rows, what);
        attempt(what, () => readSst(bytes));
      });
    });
  }

  it("every changed byte of a block's payload, below the checksum, stays inside the block", () => {
    const sample = sampleRows();
    const targets = [toBytes("key003"), toBytes("key009x"), toBytes("a"), toBytes("z")];
    for (const version of [1, 2] as const) {
      const payload = version === 1 ? blockV1(sample) : openFirstBlock(sstOf(sample));
      changes(payload, (at) => at < 40 || at >= payload.length - 8, (bytes, what) => {
        const cursor = new BlockCursor();
        const walk = (): void => {
          cursor.reset(parseBlock(bytes, version, "block 0"));
          let steps = 0;
          for (let on = cursor.first(); on; on = cursor.next()) assert.ok(++steps <= bytes.length);
          for (let on = cursor.last(); on; on = cursor.prev()) assert.ok(--steps >= -bytes.length);
        };
        attempt(what, walk);
        for (const key of targets) {
          attempt(what, () => {
            cursor.reset(parseBlock(bytes, version, "block 0"));
            if (cursor.seekGE(key)) cursor.next();
          });
          attempt(what, () => {
            cursor.reset(parseBlock(bytes, version, "block 0"));
            if (cursor.seekLT(key) && cursor.prev()) cursor.next();
          });
        }
      });
    }
  });

  it("every changed byte of info, index, filter and stats, below the checksum, is read or refused", () => {
    const file = sstOf(sampleRows(), filtered(0));
    const { info } = readSst(file);
    const { infoOffset } = decodeFooter(file, file.length);
    const payload = (offset: number, length: number) => openSection(file.subarray(offset, offset + length), 0, "part");
    const parts: [string, Uint8Array, (bytes: Uint8Array) => unknown][] = [
      [
        "info",
        payload(infoOffset, file.length - FOOTER_BYTES - infoOffset),
        (b) => decodeInfoSection(sealSection(b, 0), infoOffset),
      ],
      ["index", payload(info.indexOffset, info.indexLen), (b) => checkIndex(decodeIndex(b), info)],
      [
        "filter",
        payload(info.filterOffset, info.filterLen),
        (b) =>
          [0, 1].map((format) => attempt("filter", () => BloomFilter.decode(b, format as 0 | 1).mayContain(b, 0, 3))),
      ],
      ["stats", payload(info.statsOffset, info.statsLen), decodeStats],
    ];
    for (const [name, good, decode] of parts) {
      changes(good, () => true, (bytes, what) => attempt(`${name}, ${what}`, () => decode(bytes)));
      for (let length = 0; length < good.length; length++) {
        attempt(`${name}, first ${length}`, () => decode(good.slice(0, length)));
      }
    }
  });

  it("every changed byte of the info, under a checksum made right again, gives a readable table or a refusal", () => {
    const file = sstOf(sampleRows(), filtered(0));
    const { infoOffset } = decodeFooter(file, file.length);
    const info = file.subarray(infoOffset, file.length - FOOTER_BYTES - 4);
    changes(info, () => true, (bytes, what) => {
      const changed = joinChunks([file.subarray(0, infoOffset), sealSection(bytes, 0), file.subarray(-FOOTER_BYTES)]);
      const found = attempt(what, () => rowsOf(changed));
      if (found !== undefined && found.length > 0) assert.deepEqual(found, sampleRows(), what);
    });
  });

  it("unknown versions, codecs and flags are named in the error", () => {
    const file = sstOf(sampleRows());
    const version = file.slice();
    version[version.length - 1] = 3;
    assert.throws(() => readSst(version), /unsupported-version.*version 3.*1, 2 and 32769/);
    const flags = openFirstBlock(sstOf([row(toBytes("k"), 1, 0, toBytes("v"))])).slice();
    flags[3 + 1 + 1 + 8] = 0x10;
    const cursor = new BlockCursor();
    cursor.reset(parseBlock(flags, 2, "block 7"));
    assert.throws(() => cursor.first(), /block 7.*unsupported-version.*row flags 16/);
    flags[3 + 1 + 1 + 8] = FLAG_TOMBSTONE | FLAG_MERGE;
    assert.throws(() => cursor.first(), /malformed/);
  });

  it("sequence numbers and times beyond 2 ** 53 - 1 are refused", () => {
    const payload = openFirstBlock(sstOf([row(toBytes("k"), 1, 0, toBytes("v"), 5)]));
    const cursor = new BlockCursor();
    for (const [at, byte] of [[5, 0x00], [6, 0x20], [14, 0x7f], [14, 0x80], [15, 0x20]] as const) {
      const bytes = payload.slice();
      bytes[at] = byte;
      cursor.reset(parseBlock(bytes, 2, "block 0"));
      if (byte === 0) assert.equal(cursor.first(), true);
      else assert.throws(() => cursor.first(), /malformed/);
    }
  });
});

function openFirstBlock(file: Uint8Array): Uint8Array {
  const { info, index } = readSst(file);
  return openSection(file.subarray(0, index.offsets[1] ?? info.filterOffset), info.compression, "block 0");
}
