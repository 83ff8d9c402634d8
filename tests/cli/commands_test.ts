/**
 * Every command end to end over fresh databases: output, JSON shapes, exit codes, bad inputs.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../mod.ts";
import { pathOfKey } from "../../src/cli/export_command.ts";
import { utf8 } from "../../src/cli/bytes_text.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { inFolder } from "../support/folders.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

/** Runs commands that must succeed; answers the output of the last. */
async function run(...calls: ReadonlyArray<readonly string[]>): Promise<string> {
  let out = "";
  for (const argv of calls) {
    const result = await cli(argv);
    assert.deepEqual([result.code, result.err], [0, ""], `${argv.join(" ")}: ${result.err}`);
    out = result.out;
  }
  return out;
}

describe("phyllite", () => {
  it("main explains itself, and refuses what it does not know", async () => {
    const bare = await cli([]);
    assert.equal(bare.code, 2);
    assert.match(bare.err, /Usage: phyllite <command>/);
    for (const argv of [["--help"], ["-h"], ["help"]]) {
      const { code, out } = await cli(argv);
      assert.equal(code, 0);
      for (
        const name of ["demo", "get", "put", "delete", "scan", "import", "export", "stats", "manifest", "sst", "wal"]
      ) {
        assert.match(out, new RegExp(`^ {2}${name} +[A-Z]`, "m"));
      }
      assert.doesNotMatch(out, /demo-loader/);
    }
    assert.match((await cli(["help", "scan"])).out, /Usage: phyllite scan <location>/);
    assert.match((await cli(["scan", "x", "--help"])).out, /--prefix KEY/);
    const wrong = await cli(["scna", "x"]);
    assert.deepEqual([wrong.code, wrong.out], [2, ""]);
    assert.match(wrong.err, /no command "scna"; did you mean scan\?/);
    const flag = await cli(["scan", "x", "--prefx", "a", "--json"]);
    assert.equal(flag.code, 2);
    const { error } = jsonLines(flag.out)[0] as { error: Record<string, string> };
    assert.deepEqual([error["kind"], error["reason"]], ["UsageError", "usage"]);
    assert.match(flag.err, /did you mean --prefix\?/);
  });

  it("main refuses locations, keys and ranges that make no sense", async () => {
    const cases: ReadonlyArray<readonly [argv: string[], code: number, message: RegExp]> = [
      [["get", "s9://bucket", "k"], 2, /unknown scheme/],
      [["get", "", "k"], 2, /the path is empty/],
      [["get", "memory:", ""], 2, /key is empty/],
      [["get", "memory:", "hex:0"], 2, /hex digits/],
      [["get", "memory:", "k"], 1, /no database in memory:.*phyllite put/],
      [["get", "memory:", "k", "--path", "../x"], 2, /"\.\."/],
      [["scan", "memory:", "--gte", "b", "--lt", "a"], 2, /range is empty/],
      [["scan", "memory:", "--limit", "none"], 2, /whole number/],
      [["stats", "memory:"], 1, /no database/],
      [["manifest", "memory:", "--all", "--id", "1"], 2, /do not go together/],
      [["sst", "memory:", "not-a-ulid"], 2, /no table id/],
      [["wal", "memory:", "x"], 2, /whole number/],
      [["put", "memory:", "k"], 2, /needs <value>/],
      [["delete", "memory:", "k"], 1, /no database in memory:.*phyllite put/],
      [["export", "memory:", "--to", "x", "--binary", "hex"], 2, /--to writes files/],
    ];
    for (const [argv, code, message] of cases) {
      const result = await cli(argv);
      assert.equal(result.code, code, `${argv.join(" ")}: ${result.err}`);
      assert.match(result.err, message);
    }
  });
});

describe("phyllite over a fresh database", needsDisk, () => {
  it("put, get and delete write and read one key", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      const put = jsonLines(await run(["put", db, "user:1", "Ada", "--json"]))[0]!;
      assert.deepEqual([put["key"], put["seq"]], ["user:1", 1]);
      assert.equal(await run(["put", db, "hex:00ff", "base64:AP8="]), "durable, sequence number 2\n");
      assert.equal(await run(["get", db, "user:1"]), "Ada\n");
      assert.equal(await run(["get", db, "hex:00ff"]), "hex:00ff\n");
      assert.equal(await run(["get", db, "user:1", "--hex"]), "hex:416461\n");
      assert.equal(await run(["get", db, "user:1", "--raw"]), "Ada");
      const entry = jsonLines(await run(["get", db, "hex:00ff", "--json"]))[0]!;
      assert.deepEqual([entry["key"], entry["value"], entry["seq"]], [{ hex: "00ff" }, { hex: "00ff" }, 2]);
      assert.equal(typeof entry["createdAt"], "number");
      const missing = await cli(["get", db, "nobody"]);
      assert.deepEqual([missing.code, missing.out, missing.err], [1, "", "phyllite: not found: nobody\n"]);
      const nothing = await cli(["get", db, "nobody", "--json"]);
      assert.deepEqual([nothing.code, nothing.out], [1, '{"key":"nobody","value":null}\n']);
      await run(["delete", db, "user:1"]);
      assert.equal((await cli(["get", db, "user:1"])).code, 1);
      const twice = await cli(["put", db, "a", "b", "--file", "c"]);
      assert.deepEqual([twice.code, twice.err], [2, "phyllite: put takes a value or --file, not both\n"]);
    }));

  it("put takes values from files and standard input, and times to live", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      writeFileSync(join(folder, "value"), new Uint8Array([0, 1, 2]));
      await run(["put", db, "file", "--file", join(folder, "value")]);
      assert.equal((await cli(["put", db, "in", "-"], { input: "two\nlines\n" })).code, 0);
      assert.equal(await run(["get", db, "file"]), "hex:000102\n");
      assert.equal(await run(["get", db, "in"]), "two\nlines\n");
      await run(["put", db, "brief", "gone", "--expires-in", "1ms"], ["put", db, "long", "here", "--expires-in", "1d"]);
      assert.equal((await cli(["get", db, "brief"])).code, 1);
      assert.equal(await run(["get", db, "brief", "--ttl", "slatedb"]), "gone\n");
      const { createdAt, expiresAt } = jsonLines(await run(["get", db, "long", "--json"]))[0] as Record<string, number>;
      assert.equal(expiresAt! - createdAt!, 86_400_000);
      assert.match((await cli(["put", db, "k", "--file", join(folder, "nothing")])).err, /Cannot read/);
    }));

  it("scan shows ranges in both directions, escaped so that import takes them back", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      const rows = [["a", "1"], ["b\tc", "line\nline\\"], ["hex:x", "\u001b[0m"], ["k", "v"]] as const;
      const input = rows.map(([key, value]) => JSON.stringify({ key, value })).join("\n");
      assert.equal((await cli(["import", db, "-"], { input })).code, 0);
      const lines = await run(["scan", db]);
      assert.equal(lines, "a\t1\nb\\tc\tline\\nline\\\\\nhex:6865783a78\thex:1b5b306d\nk\tv\n");
      const copy = join(folder, "copy");
      assert.equal((await cli(["import", copy, "-", "--format", "tsv"], { input: lines })).code, 0);
      assert.equal(await run(["export", copy]), await run(["export", db]));
      assert.equal(await run(["scan", db, "--reverse", "--limit", "2", "--keys"]), "k\nhex:6865783a78\n");
      assert.equal(await run(["scan", db, "--gt", "a", "--lte", "k", "--prefix", "k"]), "k\tv\n");
      assert.equal(await run(["scan", db, "--prefix", "zz"]), "");
      const json = jsonLines(await run(["scan", db, "--limit", "1", "--json"]))[0]!;
      assert.deepEqual([json["key"], json["value"], typeof json["seq"]], ["a", "1", "number"]);
      const keys = jsonLines(await run(["scan", db, "--limit", "1", "--json", "--keys"]))[0]!;
      assert.equal("value" in keys, false);
    }));

  it("scan ends successfully when nobody reads any more", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      const input = Array.from({ length: 3000 }, (_, i) => `{"key":"${i}","value":"x"}`).join("\n");
      assert.equal((await cli(["import", db, "-"], { input })).code, 0);
      const { code, out, err } = await cli(["scan", db], { closesAfter: 1 });
      assert.deepEqual([code, err], [0, ""]);
      assert.ok(out.split("\n").length < 1000);
      assert.deepEqual([(await cli(["stats", db], { closesAfter: 0 })).code], [0]);
    }));

  it("reading commands do not disturb a live writer, and see what is durable", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      const db = await open(location, { l0SstSizeBytes: 4096, compactor: false });
      await db.put("before", "1");
      assert.equal(await run(["get", location, "before"]), "1\n");
      for (let i = 0; i < 40; i++) await db.put(`key${i}`, "x".repeat(400));
      await db.flush({ kind: "memtable" });
      await db.put("after", "2");
      const names = readdirSync(location, { recursive: true }).sort();
      await run(["stats", location], ["sst", location], ["wal", location], ["manifest", location]);
      assert.equal(jsonLines(await run(["stats", location, "--json", "--count"]))[0]!["keys"], 42);
      assert.equal(await run(["get", location, "after"]), "2\n");
      assert.deepEqual(readdirSync(location, { recursive: true }).sort(), names);
      await db.put("last", "3");
      assert.equal(db.status.writerEpoch, 1);
      await db.close();
      assert.equal(await run(["scan", location, "--keys", "--prefix", "la"]), "last\n");
    }));

  it("inspection shows manifest, tables, log and cost as JSON", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      const db = await open(location, { minFilterKeys: 1, compression: "zlib" });
      for (let i = 0; i < 50; i++) await db.put(`key${String(i).padStart(2, "0")}`, `value ${i}`, { durable: false });
      await db.delete("key49");
      await db.flush({ kind: "memtable" });
      await db.put("tail", "in the log");
      await db.close();
      const stats = jsonLines(await run(["stats", location, "--json"]))[0]!;
      const [table] = stats["tables"] as Array<Record<string, unknown>>;
      assert.deepEqual(
        [table!["level"], table!["rows"], table!["pointDeletions"], table!["filterPresent"], table!["firstKey"]],
        ["L0", 50, 1, true, "key00"],
      );
      assert.equal((stats["wal"] as Record<string, number>)["rowsNotInTables"], 1);
      const { requests, dollars } = stats["cost"] as Record<string, Record<string, number>>;
      assert.ok(Object.keys(requests!).length > 0 && dollars!["S3 Standard"]! > 0);
      const sst = jsonLines(await run(["sst", location, String(table!["id"]), "--json"]))[0]!;
      assert.deepEqual([sst["rows"], sst["levels"], sst["formatVersion"]], [50, ["L0"], 2]);
      assert.equal((sst["info"] as Record<string, unknown>)["compression"], "zlib");
      assert.ok((sst["filter"] as Record<string, number>)["bits"]! >= 500);
      assert.equal((sst["stats"] as Record<string, number>)["numDeletes"], 1);
      const text = await run(["sst", location, String(table!["id"])]);
      for (const part of [/footer:/, /filter: +\d+ bits/, /stats: +49 puts, 1 deletes/, /block +offset/]) {
        assert.match(text, part);
      }
      assert.match(await run(["sst", location, String(table!["id"]), "--rows"]), /^1\tput\tkey00\tvalue 0\n/);
      assert.match(await run(["sst", location, String(table!["id"]), "--rows"]), /^51\tdelete\tkey49$/m);
      const manifest = jsonLines(await run(["manifest", location, "--json"]))[0]!;
      assert.equal((manifest["l0"] as unknown[]).length, 1);
      assert.equal(jsonLines(await run(["manifest", location, "--id", "1", "--json"]))[0]!["id"], 1);
      const wal = jsonLines(await run(["wal", location, "--json"]));
      assert.deepEqual([wal[0]!["rows"], wal.at(-1)!["rows"]], [0, 1]);
      const logged = wal.filter((object) => object["rows"] !== 0);
      assert.deepEqual([logged[0]!["firstSeq"], logged[0]!["replayed"]], [1, false]);
      assert.deepEqual([logged.at(-2)!["lastSeq"], logged.at(-1)!["lastSeq"], logged.at(-1)!["replayed"]], [
        51,
        52,
        true,
      ]);
      assert.match(await run(["wal", location, String(wal.at(-1)!["id"])]), /^52\tput\ttail\tin the log\n$/);
      const gone = await cli(["manifest", location, "--id", "999", "--json"]);
      assert.equal(gone.code, 1);
      assert.equal((jsonLines(gone.out)[0]!["error"] as Record<string, string>)["reason"], "missing-object");
    }));

  it("damage is named, with exit code 1", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await run(["put", location, "key", "value"]);
      const db = await open(location);
      await db.flush({ kind: "memtable" });
      await db.close();
      const [name] = readdirSync(join(location, "compacted"));
      const path = join(location, "compacted", name!);
      const bytes = readFileSync(path);
      bytes[3] = bytes[3]! ^ 1;
      writeFileSync(path, bytes);
      for (const argv of [["sst", location], ["sst", location, name!.slice(0, 26)], ["get", location, "key"]]) {
        const { code, err } = await cli(argv);
        assert.equal(code, 1);
        assert.match(err, new RegExp(`compacted/${name}.*checksum`));
      }
    }));
});

describe("phyllite import and export", needsDisk, () => {
  it("import reads NDJSON with all spellings of bytes, deletes and expiry", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      const file = join(folder, "rows.ndjson");
      const rows: unknown[] = [
        { key: "text", value: "é" },
        { key: { hex: "00ff" }, value: { base64: "AP8=" } },
        { key: "gone", value: "soon" },
        { key: "gone" },
        { key: "later", value: "x", expiresAt: 4_102_444_800_000, seq: 5, createdAt: 1 },
      ];
      writeFileSync(file, rows.map((row) => JSON.stringify(row)).join("\r\n") + "\n\n");
      const report = jsonLines(await run(["import", db, file, "--json", "--compression", "snappy"]))[0]!;
      assert.deepEqual([report["rows"], report["skipped"]], [5, 0]);
      const out = await run(["export", db, "--binary", "base64"]);
      assert.equal(
        out,
        '{"key":{"base64":"AP8="},"value":{"base64":"AP8="}}\n' +
          '{"key":"later","value":"x","expiresAt":4102444800000}\n{"key":"text","value":"é"}\n',
      );
      const encoded = await cli(["import", db, "-", "--key-encoding", "hex", "--value-encoding", "base64"], {
        input: '{"key":"6b","value":"AAE="}\n',
      });
      assert.equal(encoded.code, 0);
      assert.equal(await run(["get", db, "k"]), "hex:0001\n");
      assert.equal((await cli(["import", db, "-", "--prefix", "p/"], { input: '{"key":"a","value":"b"}' })).code, 0);
      assert.equal(await run(["get", db, "p/a"]), "b\n");
    }));

  it("import names the bad line and keeps the rows before it", () =>
    inFolder(async (folder) => {
      const cases: ReadonlyArray<readonly [line: string, message: RegExp, format?: string]> = [
        ["{", /Line 2: /],
        ["[]", /Line 2: it is not \{"key"/],
        ['{"value":"x"}', /Line 2: it has no "key"/],
        ['{"key":"","value":"x"}', /Line 2: .*empty/],
        ['{"key":1,"value":"x"}', /Line 2: the key must be a string/],
        ['{"key":"a","value":{"hex":"0"}}', /Line 2: .*hex digits/],
        ['{"key":"a","valeu":"x"}', /Line 2: a row has no field "valeu"/],
        ['{"__proto__":{},"key":"a"}', /Line 2: a row has no field "__proto__"/],
        ['{"key":"a","value":"x","expiresAt":"soon"}', /Line 2: "expiresAt" must be/],
        ["no tab", /Line 2: it has no tab/, "tsv"],
        ["a\tb\\q", /Line 2: .*is no escape/, "tsv"],
      ];
      for (const [i, [line, message, format = "ndjson"]] of cases.entries()) {
        const db = join(folder, String(i));
        const good = format === "tsv" ? "first\t1" : '{"key":"first","value":"1"}';
        const { code, out, err } = await cli(["import", db, "-", "--format", format, "--json"], {
          input: `${good}\n${line}\n${good.replace("first", "third")}`,
        });
        assert.equal(code, 1);
        assert.match(err, message);
        assert.equal(jsonLines(out)[0]!["rows"], 1);
        assert.equal(await run(["scan", db, "--keys"]), "first\n");
      }
    }));

  it("import takes a folder of files and export gives it back", () =>
    inFolder(async (folder) => {
      const tree = join(folder, "tree");
      mkdirSync(join(tree, "deep", "er"), { recursive: true });
      const files: Record<string, Uint8Array> = {
        "a.txt": utf8("a"),
        "deep/er/b.bin": new Uint8Array([0, 255, 1]),
        "deep/empty": new Uint8Array(0),
        "deep.txt": new Uint8Array(200_000).fill(7),
      };
      for (const [name, bytes] of Object.entries(files)) writeFileSync(join(tree, name), bytes);
      symlinkSync(join(tree, "a.txt"), join(tree, "link"));
      const db = join(folder, "db");
      const { code, out, err } = await cli(["import", db, tree, "--json"], { terminal: true });
      assert.equal(code, 0);
      assert.ok(err.startsWith("\r\u001b[2Kimport █"), err);
      assert.deepEqual([jsonLines(out)[0]!["rows"], jsonLines(out)[0]!["skipped"]], [4, 1]);
      assert.equal(await run(["scan", db, "--keys"]), "a.txt\ndeep.txt\ndeep/empty\ndeep/er/b.bin\n");
      const target = join(folder, "out");
      assert.match(await run(["export", db, "--to", target]), /^4 files/);
      for (const [name, bytes] of Object.entries(files)) {
        assert.deepEqual(new Uint8Array(readFileSync(join(target, name))), bytes);
      }
      const again = await cli(["export", db, "--to", target]);
      assert.deepEqual([again.code, /not empty/.test(again.err)], [1, true]);
      const formats = await cli(["import", db, tree, "--format", "tsv"]);
      assert.deepEqual([formats.code, /is a folder/.test(formats.err)], [2, true]);
      assert.equal((await cli(["import", db, join(folder, "nothing")])).code, 1);
    }));

  it("export never leaves its folder", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      await run(["put", db, "../evil", "x"]);
      const { code, err } = await cli(["export", db, "--to", join(folder, "out")]);
      assert.equal(code, 1);
      assert.match(err, /Cannot make a file of the key \.\.\/evil/);
      assert.equal(existsSync(join(folder, "evil")), false);
    }));
});

describe("pathOfKey", () => {
  it("pathOfKey takes plain paths and refuses what could mean another place", () => {
    for (const good of ["a", "a/b", "a b/ü/100%25.txt", ".hidden/x", "a..b"]) {
      assert.deepEqual(pathOfKey(utf8(good)), { path: good });
    }
    const bad = ["/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "C:/x", "c:x", "a\0b", "x".repeat(256)];
    for (const key of bad) assert.ok("problem" in pathOfKey(utf8(key)), key);
    assert.ok("problem" in pathOfKey(new Uint8Array([0xff])));
  });
});
