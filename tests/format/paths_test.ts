/** Object names and the parser that guards the stores. @module */
import { InvalidArgument } from "../../src/errors.ts";
import {
  compactionsPath,
  folderPath,
  manifestPath,
  parseNumberedName,
  parseObjectPath,
  parseRoot,
  parseTableName,
  PATH_BYTES_MAX,
  tablePath,
  walPath,
} from "../../src/format/paths.ts";
import { assert, describe, it } from "../support/suite.ts";

const ULID = "01M7YESGVNVRET4YKZN23799PZ";

describe("format/paths", () => {
  it("path functions name the four kinds of objects as the official engine does", () => {
    assert.equal(manifestPath("db", 1), "db/manifest/00000000000000000001.manifest");
    assert.equal(compactionsPath("a/b", 12), "a/b/compactions/00000000000000000012.compactions");
    assert.equal(walPath("", 345), "wal/00000000000000000345.sst");
    assert.equal(tablePath("db", ULID), `db/compacted/${ULID}.sst`);
    assert.equal(tablePath("", ULID), `compacted/${ULID}.sst`);
    assert.equal(folderPath("", "wal"), "wal/");
    assert.equal(walPath("", 2 ** 53 - 1), "wal/00009007199254740991.sst");
    for (const id of [-1, 0.5, 2 ** 53, Number.NaN]) assert.throws(() => walPath("", id), RangeError);
  });

  it("parseNumberedName reads its own names and answers undefined for foreign ones", () => {
    for (const id of [0, 1, 99, 2 ** 53 - 1]) {
      for (const path of [manifestPath("r", id), compactionsPath("", id), walPath("x/y", id)]) {
        assert.equal(parseNumberedName(path), id);
      }
    }
    const foreign = [
      "wal/1.sst",
      "wal/0000000000000000001.sst",
      "wal/000000000000000000001.sst",
      "wal/00000000000000000001.sst.tmp",
      "wal/00000000000000000001",
      "wal/0000000000000000000x.sst",
      "wal/00000000000000000001.SST",
      "wal/00009007199254740992.sst",
      "wal/99999999999999999999.sst",
      "wal/ 0000000000000000001.sst",
      "00000000000000000001.sst/",
      "",
    ];
    for (const path of foreign) assert.equal(parseNumberedName(path), undefined, path);
  });

  it("parseTableName reads its own names and answers undefined for foreign ones", () => {
    assert.equal(parseTableName(tablePath("db", ULID)), ULID);
    for (const name of [`${ULID}.sst.tmp`, ULID, `${ULID.toLowerCase()}.sst`, ".sst", `${ULID}x.sst`, "", "readme"]) {
      assert.equal(parseTableName(`compacted/${name}`), undefined, name);
    }
  });

  it("parseObjectPath answers good names unchanged", () => {
    const good = [
      manifestPath("db", 1),
      "a",
      ".hidden",
      "a.b/c..d",
      "größe/日本/🅰",
      "with space/x=1,y",
      "100%",
      "50% off",
      "console/auxiliary",
      "a".repeat(PATH_BYTES_MAX),
      "ä".repeat(PATH_BYTES_MAX / 2),
    ];
    for (const path of good) assert.equal(parseObjectPath(path), path);
  });

  const bad: ReadonlyArray<readonly [string, readonly unknown[]]> = [
    ["empty names and segments", ["", "a//b", "a/", "/"]],
    ["steps up and on the spot", ["..", ".", "../a", "a/../b", "a/..", "./a", "a/./b"]],
    ["absolute names", ["/a", "//a"]],
    ["NUL and control characters", ["a\0b", "a\nb", "\u001f", "a\u007f", "a\u0085b"]],
    ["backslashes", ["a\\b", "\\\\server\\share", "..\\a"]],
    ["percent-encoding", ["%2e%2e/a", "a%2Fb", "a%00"]],
    ["drive letters", ["C:/a", "c:", "z:x"]],
    ["names reserved on Windows", ["con", "a/NUL", "a/aux.txt", "com1", "LPT9.sst", "prn .x", "com¹", "conin$"]],
    ["segments that end in a dot or space", ["a./b", "a /b", "a..."]],
    ["other Unicode forms", ["a\u0308", "\u212b", "e\u0301/x"]],
    ["half surrogate pairs", ["\ud83c", "a\udd70"]],
    ["more than 1024 bytes", ["a".repeat(1025), "ä".repeat(513)]],
    ["what is not a string", [undefined, null, 1, {}, ["a"]]],
  ];
  for (const [name, paths] of bad) {
    it(`parseObjectPath refuses ${name}`, () => {
      for (const path of paths) {
        for (const parse of [parseObjectPath, parseRoot]) {
          const dropped = typeof path === "string" && path.replaceAll(/^\/+|\/+$/g, "") !== path;
          if (parse === parseRoot && (path === "" || dropped)) continue;
          assert.throws(() => parse(path as string), (error) => {
            assert.ok(error instanceof InvalidArgument, String(error));
            assert.equal(error.reason, "path");
            return true;
          }, JSON.stringify(path));
        }
      }
    });
  }

  it("parseRoot drops slashes at both ends and nothing else", () => {
    assert.equal(parseRoot(""), "");
    assert.equal(parseRoot("/"), "");
    assert.equal(parseRoot("///"), "");
    assert.equal(parseRoot("db"), "db");
    assert.equal(parseRoot("/a/b/"), "a/b");
    assert.throws(() => parseRoot("/a//b/"), InvalidArgument);
    assert.throws(() => parseRoot("/../"), InvalidArgument);
  });
});
