/** What exactly is refused in blocks, layouts and streams, one wrong thing at a time, and with which reason. @module */
import { FormatError } from "../../src/errors.ts";
import { toBytes } from "../../src/bytes/compare.ts";
import { parseBlock } from "../../src/format/block.ts";
import { BlockCursor } from "../../src/format/block_cursor.ts";
import { BloomBuilder } from "../../src/format/bloom.ts";
import { compress, decompress } from "../../src/format/compression.ts";
import { openSection, sealSection } from "../../src/format/section.ts";
import { SstBuilder } from "../../src/format/sst_builder.ts";
import { checkIndex, checkLayout, decodeFooter, readSst } from "../../src/format/sst_footer.ts";
import { NO_EXPIRY, NO_TICK } from "../../src/format/types.ts";
import { zstdMissing } from "../support/codecs.ts";
import { assert, describe, it } from "../support/suite.ts";
import { addRow, options, row, sstOf } from "./row_samples.ts";

const SEQ = [0, 0, 0, 0, 0, 0, 0, 1];

function refused(what: string, run: () => unknown, reason: string, detail: RegExp): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof FormatError, `${what}: ${String(error)}`);
    assert.equal(error.reason, reason, `${what}: ${error.message}`);
    assert.match(error.message, detail, what);
    return true;
  });
}

/** All moves on a block of these rows, whose restarts are at the offsets. */
function walk(version: 1 | 2, rows: readonly number[], restarts: readonly number[], move: string): void {
  const table = restarts.flatMap((offset) => [offset >> 8, offset & 255]);
  const cursor = new BlockCursor();
  cursor.reset(parseBlock(Uint8Array.from([...rows, ...table, 0, restarts.length]), version, "block 3"));
  if (move === "first") {
    cursor.first();
  } else if (move === "forward") {
    for (let on = cursor.first(); on; on = cursor.next());
  } else if (move === "backward") {
    for (let on = cursor.last(); on; on = cursor.prev());
  } else if (move === "seek") {
    cursor.seekGE(toBytes("zz"));
  } else cursor.seekLT(toBytes("zz"));
}

describe("format refusals", () => {
  const good = [0, 1, 1, 97, 118, ...SEQ, 0];
  const wrongRows: [string, number[], number[]][] = [
    ["a first row that shares bytes", [1, 0, 1, 118, ...SEQ, 0], [0]],
    ["a row that shares more than the key before it has", [...good, 2, 1, 0, 98, ...SEQ, 0], [0]],
    ["a key that runs over the rows", [0, 100, 0, 97, ...SEQ, 0], [0]],
    ["a value that runs over the rows", [0, 1, 100, 97, ...SEQ, 0], [0]],
    ["a row without its flags", [0, 1, 1, 97, 118, ...SEQ], [0]],
    ["a row that ends in its sequence number", [0, 1, 1, 97, 118, 0, 0], [0]],
    ["a row without its creation time", [0, 1, 1, 97, 118, ...SEQ, 4, 0, 0], [0]],
    ["a length that does not end", [0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, ...SEQ, 0], [0]],
    ["a length over 32 bits", [0, 1, 0xff, 0xff, 0xff, 0xff, 0x1f, 97, ...SEQ, 0], [0]],
    ["a key over 65536 bytes", [0, 0x81, 0x80, 0x04, 0, ...new Array(65_537).fill(97), ...SEQ, 0], [0]],
    ["a restart inside a row", [...good, ...good], [0, 5]],
    ["a restart row that shares bytes", [...good, 1, 0, 0, ...SEQ, 0], [0, good.length]],
  ];
  for (const [what, rows, restarts] of wrongRows) {
    it(`BlockCursor refuses ${what}, in every direction`, () => {
      for (const move of ["forward", "backward", "seek", "seek before"]) {
        refused(`${what}, ${move}`, () => walk(2, rows, restarts, move), "malformed", /block 3/);
      }
    });
  }

  it("BlockCursor stands on no row that ends behind the rows", () => {
    const row = [0, 1, 1, 97, 118, ...SEQ, 6, ...SEQ, ...SEQ];
    walk(2, row, [0], "first");
    for (let length = 3; length < row.length; length++) {
      refused(`first ${length}`, () => walk(2, row.slice(0, length), [0], "first"), "malformed", /end of the rows/);
    }
  });

  it("BlockCursor refuses tombstones with a value and the largest sequence number plus one", () => {
    const tombstone = [0, 1, 1, 97, 118, ...SEQ, 1];
    refused("tombstone", () => walk(2, tombstone, [0], "forward"), "malformed", /tombstone with a value/);
    const seq = [0, 1, 0, 97, 0, 0x20, 0, 0, 0, 0, 0, 0, 0];
    refused("seq", () => walk(2, seq, [0], "forward"), "malformed", /sequence number/);
  });

  it("BlockCursor refuses version 1 rows that do not fill their place", () => {
    const v1 = (value: number[], length: number) => [0, 0, 0, 1, 97, ...SEQ, 0, 0, 0, 0, length, ...value];
    walk(1, v1([1, 2], 2), [0], "forward");
    const wrong: [string, number[], RegExp][] = [
      ["shorter", v1([1, 2], 1), /row ends at 19, not at 20/],
      ["longer", v1([1, 2], 3), /row ends at 21, not at 20/],
      ["no value length", [0, 0, 0, 1, 97, ...SEQ, 0, 0, 0], /runs over/],
      ["first row shares", [0, 1, 0, 0, ...SEQ, 1], /the first row shares/],
      ["key too long", [0, 0, 0, 200, 97, ...SEQ, 1], /too long/],
    ];
    for (const [what, rows, detail] of wrong) refused(what, () => walk(1, rows, [0], "forward"), "malformed", detail);
    const second = [...v1([1], 1), 0, 2, 0, 1, 98, ...SEQ, 1];
    refused("shares more", () => walk(1, second, [0, v1([1], 1).length], "forward"), "malformed", /2 \+ 1 key bytes/);
  });

  it("parseBlock refuses offset tables that cannot be", () => {
    const wrong: [string, number[], string][] = [
      ["nothing", [], "truncated"],
      ["no rows", [0, 0], "malformed"],
      ["more offsets than bytes", [...good, 0, 0, 0, 200], "malformed"],
      ["only offsets", [0, 0, 0, 1], "malformed"],
      ["not from 0", [...good, 0, 1, 0, 1], "malformed"],
      ["not ascending", [...good, 0, 0, 0, 5, 0, 5, 0, 3], "malformed"],
      ["behind the rows", [...good, 0, 0, 0, good.length, 0, 2], "malformed"],
    ];
    for (const [what, bytes, reason] of wrong) {
      refused(what, () => parseBlock(Uint8Array.from(bytes), 2, "block 3"), reason, /block 3/);
    }
  });

  it("openSection tells a short section from a wrong checksum", () => {
    refused("short", () => openSection(new Uint8Array(3), 0, "stats"), "truncated", /stats/);
    const section = sealSection(toBytes("payload"), 0);
    section[2] = 0;
    refused("changed", () => openSection(section, 0, "stats"), "checksum", /stats.*stored [0-9a-f]{8}, computed/);
    refused("large", () => openSection(sealSection(toBytes("payload"), 0), 0, "stats", 6), "too-large", /limit 6/);
  });

  it("decodeFooter refuses files that are too short and offsets outside the file", () => {
    const footer = (offset: number, version: number) => {
      const bytes = new Uint8Array(10);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(offset));
      bytes[9] = version;
      return bytes;
    };
    assert.deepEqual(decodeFooter(footer(89, 1), 100), { infoOffset: 89, version: 1 });
    refused("ten bytes", () => decodeFooter(footer(0, 2), 10), "truncated", /footer/);
    refused("short tail", () => decodeFooter(new Uint8Array(9), 100), "truncated", /footer/);
    refused("longer than the file", () => decodeFooter(new Uint8Array(20), 19), "truncated", /footer/);
    refused("at the footer", () => decodeFooter(footer(90, 2), 100), "malformed", /info at 90/);
    refused(
      "huge",
      () => decodeFooter(new Uint8Array(10).fill(0xff).with(8, 0).with(9, 2), 100),
      "malformed",
      /info at/,
    );
    refused("version 0", () => decodeFooter(footer(50, 0), 100), "unsupported-version", /version 0/);
  });

  it("checkLayout and checkIndex refuse sections that overlap or leave the file", () => {
    const { info, index } = readSst(sstOf([row(toBytes("a"), 1, 0, toBytes("v"))], options({ minFilterKeys: 1 })));
    const end = info.statsOffset + info.statsLen;
    checkLayout(info, end);
    const wrong = [
      { filterLen: info.filterLen + 1 },
      { indexOffset: 2 ** 53 - 1 },
      { indexLen: 1e9 },
      { statsOffset: info.statsOffset - 1 },
      { statsLen: info.statsLen + 1 },
    ];
    for (const change of wrong) {
      refused(JSON.stringify(change), () => checkLayout({ ...info, ...change }, end), "malformed", /info/);
    }
    const key = new Uint8Array(0);
    checkIndex(index, info);
    for (const offsets of [[0, 0], [5, 3], [info.filterOffset]]) {
      const firstKeys = offsets.map(() => key);
      refused(String(offsets), () => checkIndex({ offsets, firstKeys }, info), "malformed", /index/);
    }
    refused("keys", () => checkIndex({ offsets: [0], firstKeys: [] }, info), "malformed", /1 offsets, 0 keys/);
  });

  it("decompressors refuse distances and sizes that cannot be", () => {
    const wrong: [1 | 3, number[], RegExp][] = [
      [3, [5, 0, 0, 0, 0x10, 97, 0, 0, 0], /distance 0/],
      [3, [5, 0, 0, 0, 0x10, 97, 2, 0, 0], /distance 2/],
      [3, [2, 0, 0, 0, 0x30, 97, 98, 99], /literals/],
      [3, [5, 0, 0, 0, 0x1f, 97, 1, 0, 200], /match runs over/],
      [3, [0xff, 0xff, 0xff, 0x3f, 0x10, 97], /cannot come from 6/],
      [1, [5, 0, 97, 2 | (3 << 2), 0, 0], /distance 0/],
      [1, [5, 0, 97, 2 | (3 << 2), 2, 0], /distance 2/],
      [1, [4, 0, 97, 2 | (3 << 2), 1, 0], /copy runs over/],
      [1, [0xff, 0xff, 0xff, 0xff, 0x03, 0, 97], /cannot come from 7/],
    ];
    for (const [code, bytes, detail] of wrong) {
      refused(String(bytes), () => decompress(code, Uint8Array.from(bytes), 2 ** 30, "block 3"), "malformed", detail);
    }
  });

  it("decompress refuses a zstd frame whose content is not as long as it says", { skip: zstdMissing }, () => {
    // Magic, single segment with a size of 5, then one raw block of three bytes.
    const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 25, 0, 0, 97, 98, 99);
    const run = () => decompress(4, frame, 100, "block 3");
    refused("short content", run, "malformed", /zstd/);
    assert.deepEqual(decompress(4, frame.with(5, 3), 100), toBytes("abc"));
    refused("claims", () => decompress(4, compress(4, new Uint8Array(5000)), 4999, "block 3"), "too-large", /block 3/);
  });

  it("SstBuilder counts every version of a key in the filter, and never hashes without one", () => {
    const key = toBytes("key");
    const bloom = new BloomBuilder();
    const [some, never] = [
      new SstBuilder(options({ minFilterKeys: 1 })),
      new SstBuilder(options({ minFilterKeys: Infinity })),
    ];
    for (let seq = 30; seq > 0; seq--) {
      bloom.add(key, 0, key.length);
      for (const builder of [some, never]) addRow(builder, row(key, seq, 0, key, NO_TICK, NO_EXPIRY));
    }
    assert.deepEqual(some.finish().filter, bloom.finish(10));
    assert.equal(never.bloom.count, 0);
    assert.equal(never.finish().filter, undefined);
  });
});
