/**
 * `phyllite delete-range`: what it deletes, says and refuses, stored as one row or key by key.
 *
 * @module
 */
import { join } from "node:path";
import { open } from "../../mod.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

async function filled(folder: string): Promise<string> {
  const location = join(folder, "db");
  const db = await open(location);
  for (const key of ["a", "b1", "b2", "c", "d"]) await db.put(key, "1", { durable: false });
  await db.close();
  return location;
}

async function keys(location: string): Promise<string> {
  const db = await open(location);
  const found: string[] = [];
  for await (const key of db.scan().keys()) found.push(new TextDecoder().decode(key));
  await db.close();
  return found.join(" ");
}

describe("phyllite delete-range", () => {
  it("refuses what makes no sense before it opens anything", async () => {
    const cases: ReadonlyArray<readonly [argv: string[], code: number, message: RegExp]> = [
      [["delete-range", "memory:"], 2, /needs --prefix, --gte, --gt, --lte or --lt; to delete every key say --gte ""/],
      [["delete-range", "memory:", "--gte", "b", "--lt", "a"], 2, /range is empty/],
      [["delete-range", "memory:", "--gt", "a", "--lte", "a"], 2, /range is empty/],
      [["delete-range", "memory:", "--prefix", "a"], 1, /no database in memory:.*phyllite put/],
    ];
    for (const [argv, code, message] of cases) {
      const result = await cli(argv);
      assert.equal(result.code, code, `${argv.join(" ")}: ${result.err}`);
      assert.match(result.err, message);
    }
    assert.match((await cli(["help"])).out, /^ {2}delete-range +Delete every key of a range/m);
  });

  it("deletes the intersection of its bounds and tells the number", needsDisk, () =>
    inFolder(async (folder) => {
      const location = await filled(folder);
      const first = await cli(["delete-range", location, "--prefix", "b", "--gt", "b1"]);
      assert.deepEqual([first.code, first.err], [0, ""]);
      assert.match(
        first.out,
        /^durable, sequence number 6\nSlateDB refuses .*: its tables hold none, its log may\..*\n$/,
      );
      const second = jsonLines(
        (await cli(["delete-range", location, "--gte", "c", "--lte", "hex:64", "--json"])).out,
      )[0]!;
      assert.deepEqual([second["range"], second["seq"]], [{ gte: "c", lte: "d" }, 7]);
      assert.deepEqual([second["written"], second["rangeDeletes"]], [true, true]);
      assert.equal(typeof second["createdAt"], "number");
      assert.equal(await keys(location), "a b1");
      assert.equal((await cli(["delete-range", location, "--gte", ""])).code, 0);
      assert.equal(await keys(location), "");
    }));

  it(
    "--expand deletes key by key and takes no number when nothing is there",
    needsDisk,
    () =>
      inFolder(async (folder) => {
        const location = await filled(folder);
        const some = await cli(["delete-range", location, "--prefix", "b", "--expand"]);
        assert.deepEqual([some.code, some.out], [0, "durable, sequence number 6\n"]);
        const none = await cli(["delete-range", location, "--prefix", "b", "--expand"]);
        assert.deepEqual([none.code, none.out, none.err], [0, "nothing was there\n", ""]);
        const json = jsonLines((await cli(["delete-range", location, "--prefix", "b", "--expand", "--json"])).out)[0]!;
        assert.deepEqual([json["written"], json["seq"], json["rangeDeletes"]], [false, 6, false]);
        assert.match((await cli(["manifest", location])).out, /^(?!.*range-deletes)/s);
        assert.equal(await keys(location), "a c d");
      }),
  );

  it(
    "tells of the refusal for as long as it lasts: compact leaves it to the next writer, exec ends it at once",
    needsDisk,
    () =>
      inFolder(async (folder) => {
        const location = await filled(folder);
        const says = async (...argv: string[]) => (await cli(argv)).out.trimEnd().split("\n").at(-1)!;
        const isRefused = async () => jsonLines((await cli(["stats", location, "--json"])).out)[0]!["rangeDeletes"];
        await cli(["delete-range", location, "--prefix", "b"]);
        assert.match(await says("compact", location), /refuses .*: its tables hold none, its log may/);
        assert.match(await says("delete-range", location, "--gte", "x", "--expand"), /its log may/);
        const db = await open(location, { compactor: false });
        await db.flush({ kind: "memtable" });
        await db.close();
        assert.match(
          await says("delete-range", location, "--gte", "x", "--expand"),
          /refuses .*: its tables hold some/,
        );
        assert.match(await says("compact", location), /refuses .*: its tables hold none/);
        assert.equal(await isRefused(), true);
        const after = await cli(["delete-range", location, "--gte", "x", "--expand"]);
        assert.deepEqual([after.out, await isRefused()], ["nothing was there\n", false]);

        await cli(["delete-range", location, "--prefix", "c"]);
        const steps = [{ op: "open" }, { op: "compact" }].map((step) => JSON.stringify(step)).join("\n");
        assert.equal((await cli(["exec", location], { input: steps })).out, '{"ok":{}}\n{"ok":{}}\n');
        assert.equal(await isRefused(), false);
        const compacted = jsonLines((await cli(["compact", location, "--json"])).out).at(-1)!;
        assert.equal(compacted["rangeDeletes"], false);
        assert.equal(await keys(location), "a d");
      }),
  );
});
