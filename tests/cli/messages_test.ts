/**
 * What the command line says when something is not there, not possible, or only half done.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { VERSION } from "../../src/cli/version.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli } from "./memory_io.ts";

const config = new URL("../../deno.json", import.meta.url);

describe("phyllite", { skip: canUseDisk() ? false : "needs the disk" }, () => {
  it("--version is the version of the package", async () => {
    assert.equal(VERSION, (JSON.parse(readFileSync(config, "utf8")) as { version: string }).version);
    assert.deepEqual(await cli(["--version"]), { code: 0, out: `phyllite ${VERSION}\n`, err: "" });
  });

  it("the help mentions --, which lets keys begin with a dash", () =>
    inFolder(async (folder) => {
      assert.match((await cli(["--help"])).out, /What follows -- is taken as it stands/);
      assert.equal((await cli(["put", folder, "--", "-key", "-value"])).code, 0);
      assert.equal((await cli(["get", folder, "--", "-key"])).out, "-value\n");
    }));

  it("get and delete where nothing is name the folder and make none", () =>
    inFolder(async (folder) => {
      const nothing = join(folder, "nothing");
      for (const argv of [["get", nothing, "k"], ["delete", nothing, "k"], ["delete", nothing, "k", "--path", "p"]]) {
        const { code, err } = await cli(argv);
        assert.equal(code, 1);
        assert.ok(err.includes(resolve(nothing)) && err.includes('make one with "phyllite put"'), err);
        assert.equal(existsSync(nothing), false);
      }
    }));

  it("a file as location is refused with its name", () =>
    inFolder(async (folder) => {
      const file = join(folder, "file");
      writeFileSync(file, "x");
      const { code, err } = await cli(["put", file, "k", "v"]);
      assert.equal(code, 2);
      assert.ok(err.includes(`folder ${file}: ENOTDIR. Give a folder as the location`), err);
    }));

  it("numbers and ids of nothing are answered with the command that lists what there is", () =>
    inFolder(async (folder) => {
      await cli(["put", folder, "k", "v"]);
      const cases: ReadonlyArray<readonly [argv: string[], message: string]> = [
        [
          ["manifest", folder, "--id", "99"],
          `There is no manifest 99 here; list them with "phyllite manifest ${folder} --all"`,
        ],
        [["wal", folder, "99"], `There is no WAL object 99 here; list them with "phyllite wal ${folder}"`],
        [
          ["sst", folder, "01M7YESYR43WB7YFK86F6GC92G"],
          `There is no table 01M7YESYR43WB7YFK86F6GC92G here; list them with "phyllite sst ${folder}"`,
        ],
      ];
      for (const [argv, message] of cases) {
        assert.deepEqual(await cli(argv), { code: 1, out: "", err: `phyllite: ${message}\n` });
      }
    }));

  it("an import that fails prints no line of success, and says what is durable", () =>
    inFolder(async (folder) => {
      const { code, out, err } = await cli(["import", folder, "-"], { input: '{"key":"a","value":"1"}\n{' });
      assert.deepEqual([code, out], [1, ""]);
      assert.match(err, /import ended early: 1 row, 2 B durable before the failure\nphyllite: Line 2/);
    }));

  it("an export of a key that is also the folder of another names both and says what was written", () =>
    inFolder(async (folder) => {
      const db = join(folder, "db");
      for (const key of ["0", "a", "a.txt", "a/b"]) await cli(["put", db, key, "v"]);
      const target = join(folder, "out");
      const { code, err } = await cli(["export", db, "--to", target]);
      assert.equal(code, 1);
      assert.match(err, /both keys a and a\/b: the first would have to be a file and a folder\. .*out holds 3 files/);
      assert.deepEqual(readdirSync(target).sort(), ["0", "a", "a.txt"]);
    }));

  it("stats says which sequence numbers are in tables", () =>
    inFolder(async (folder) => {
      await cli(["put", folder, "k", "v"]);
      assert.match((await cli(["stats", folder])).out, /sequence numbers up to 0 in tables/);
    }));
});
