/**
 * What the inspecting commands show of range deletes, and which damage they find.
 *
 * @module
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../mod.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName, tablePath } from "../../src/format/paths.ts";
import { readSst } from "../../src/format/sst_footer.ts";
import type { Manifest } from "../../src/format/types.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

/** Four rows in a run; over them one table of range tombstones; one tombstone and a row in the log; a checkpoint. */
async function fill(folder: string): Promise<string> {
  const db = await open(folder, { compactor: false, garbageCollector: false });
  for (const key of ["a", "b", "c", "d"]) await db.put(key, "1");
  await db.flush({ kind: "memtable" });
  await db.compact();
  await db.deleteRange({ gte: "b", lt: "d" });
  await db.deleteRange({ gte: "c" });
  await db.flush({ kind: "memtable" });
  const { l0: [table] } = await db.tables();
  await db.deleteRange({ lt: "a1" });
  await db.put("e", "2");
  await db.checkpoint({ scope: "durable", name: "then" });
  await db.close();
  return table!.id;
}

/** Output without the times of rows. */
async function run(...argv: string[]): Promise<string> {
  const result = await cli(argv);
  assert.deepEqual([result.code, result.err], [0, ""], `${argv.join(" ")}: ${result.err}`);
  return result.out;
}

const json = async (...argv: string[]) =>
  jsonLines(await run(...argv, "--json")).map(({ createdAt: _, ...row }) => row);

/** The newest manifest of a folder, and a way to commit another. */
function manifestIn(folder: string): { readonly manifest: Manifest; readonly commit: (next: Manifest) => void } {
  const id = Math.max(
    ...readdirSync(join(folder, "manifest")).map((name) => parseNumberedName(`manifest/${name}`) ?? 0),
  );
  const { manifest } = decodeManifest(readFileSync(join(folder, manifestPath("", id))));
  return { manifest, commit: (next) => writeFileSync(join(folder, manifestPath("", id + 1)), encodeManifest(next)) };
}

describe("range deletes on the command line", { skip: !canUseDisk() }, () => {
  it("changes and wal print them with bounds and number, in their order", () =>
    inFolder(async (folder) => {
      await fill(folder);
      const lines = (await run("changes", folder, "--from", "5")).trimEnd().split("\n");
      assert.deepEqual(lines, [
        "5\tdeleteRange\tfrom b to before d",
        "6\tdeleteRange\tfrom c to the last",
        "7\tdeleteRange\tfrom the first key to before a1",
        "8\tput\te\t2",
      ]);
      assert.deepEqual((await json("changes", folder, "--from", "6")).slice(0, 2), [
        { kind: "deleteRange", range: { gte: "c" }, seq: 6, isLast: true },
        { kind: "deleteRange", range: { gte: "", lt: "a1" }, seq: 7, isLast: true },
      ]);
      const objects = (await json("wal", folder)).filter(({ rangeDeletes }) => rangeDeletes === 1);
      assert.deepEqual(objects.map(({ firstSeq }) => firstSeq), [5, 6, 7]);
      const [first] = objects;
      assert.deepEqual(await json("wal", folder, `${first!["id"]}`), [
        { kind: "deleteRange", range: { gte: "b", lt: "d" }, seq: 5 },
      ]);
      assert.match(await run("wal", folder, `${first!["id"]}`), /^5\tdeleteRange\tfrom b to before d\n$/);
      assert.match(await run("wal", folder), /WAL id +size +rows +range deletes/);
    }));

  it("sst prints the fragments of a table, and its rows after them", () =>
    inFolder(async (folder) => {
      const id = await fill(folder);
      const fragments = [
        { kind: "deleteRange", range: { gte: "b", lt: "c" }, seq: 5 },
        { kind: "deleteRange", range: { gte: "c" }, seq: 6 },
      ];
      assert.deepEqual(await json("sst", folder, id, "--rows"), fragments);
      const [table] = await json("sst", folder, id);
      assert.deepEqual((table!["rangeDeletes"] as Array<Record<string, unknown>>).map(({ seq }) => seq), [5, 6]);
      const { rangeDeletes } = table!["info"] as { rangeDeletes: Record<string, unknown> };
      assert.deepEqual([rangeDeletes["count"], rangeDeletes["end"]], [2, null]);
      const text = await run("sst", folder, id);
      assert.match(text, /range tombstones: +2 fragments, at \d+, \d+ bytes/);
      assert.match(
        text,
        /\n +5 +from b to before c\n +6 +from c to the last\n/,
      );
      assert.match(await run("sst", folder), new RegExp(`${id} +L0 +\\S+ +\\S+ +0 +2 `));
    }));

  it("manifest tells features, fragments, and which checkpoints other engines refuse", () =>
    inFolder(async (folder) => {
      const id = await fill(folder);
      const before = await run("manifest", folder);
      assert.match(before, /features: +range-deletes: other engines refuse the database/);
      assert.match(before, /"then" of manifest \d+, expires never; with range deletes, so other engines refuse it/);
      assert.match(before, new RegExp(`${id} +\\S+ +\\S+ +2 +b +-`));
      const db = await open(folder, { garbageCollector: false });
      await db.compact();
      await db.close();
      const [after] = await json("manifest", folder);
      assert.deepEqual(after!["features"], []);
      const checkpoints = after!["checkpoints"] as Array<Record<string, unknown>>;
      assert.deepEqual(checkpoints.filter(({ name }) => name === "then").map(({ gated }) => gated), [true]);
      assert.doesNotMatch(await run("manifest", folder), /features/);
    }));

  it("stats counts fragments, what they free, and those of the log; estimate leaves out what they cover", () =>
    inFolder(async (folder) => {
      const id = await fill(folder);
      const [stats] = await json("stats", folder);
      const [upper, lower] = stats!["tables"] as Array<Record<string, number | string>>;
      assert.deepEqual([upper!["id"], upper!["rows"], upper!["rangeDeletions"]], [id, 0, 2]);
      const freed = upper!["rangeDeletionsBytesEstimate"] as number;
      assert.ok(freed > 0 && freed < (lower!["bytes"] as number), "the blocks of a table covered in part");
      assert.equal(lower!["rangeDeletionsBytesEstimate"], 0);
      const wal = stats!["wal"] as Record<string, unknown>;
      assert.deepEqual([wal["rowsNotInTables"], wal["rangeDeletesNotInTables"]], [1, 1]);
      assert.equal(stats!["rangeDeletes"], true);
      assert.match(
        await run("stats", folder),
        /1 row version and 1 range delete\nmay hold range deletes, so SlateDB refuses to open it\n/,
      );
      assert.equal(await run("estimate", folder, "--prefix", "c"), "nothing\n");
      assert.match(await run("estimate", folder, "--gte", "e"), /^about 1 row, \d+ B\n$/);
      assert.deepEqual((await json("estimate", folder, "--gte", "e"))[0]!["entries"], 1);
      const refused = await cli(["estimate", folder, "--gte", "b", "--lt", "a"]);
      assert.equal(refused.code, 2);
      assert.match(refused.err, /range is empty/);
    }));

  it("sst finds damaged fragments, and those that the manifest cannot have", () =>
    inFolder(async (folder) => {
      const id = await fill(folder);
      const path = join(folder, tablePath("", id));
      const sound = readFileSync(path);
      const { rangeDeletes } = readSst(sound).info;
      const found = async (message: RegExp) => {
        const { code, err } = await cli(["sst", folder, id]);
        assert.equal(code, 1);
        assert.match(err, message);
      };
      const damaged = Uint8Array.from(sound);
      damaged[rangeDeletes!.offset + 6]! ^= 1;
      writeFileSync(path, damaged);
      await found(/range tombstones.*checksum|checksum.*range tombstones/);
      writeFileSync(path, sound);
      const { manifest, commit } = manifestIn(folder);
      commit({ ...manifest, lastL0Seq: 5 });
      await found(/number 6, the manifest's tables end at 5/);
      const [view, ...others] = manifest.l0;
      const { rangeDeletes: _, ...without } = view!.info;
      manifestIn(folder).commit({ ...manifest, l0: [{ ...view!, info: without, formatVersion: 2 }, ...others] });
      await found(/the manifest says otherwise/);
    }));
});
