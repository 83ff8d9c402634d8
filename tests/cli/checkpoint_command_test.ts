/**
 * `checkpoint` and `clone` end to end over database folders.
 *
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../mod.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

/** Runs a command that must succeed; answers its output. */
async function run(...argv: readonly string[]): Promise<string> {
  const { code, out, err } = await cli(argv);
  assert.deepEqual([code, err], [0, ""], `${argv.join(" ")}: ${err}`);
  return out;
}

/** Makes a database with a table and a log. */
async function fill(location: string): Promise<void> {
  const db = await open(location);
  await db.put("a", "1");
  await db.flush({ kind: "memtable" });
  await db.put("b", "2");
  await db.close();
}

describe("phyllite checkpoint", needsDisk, () => {
  it("creates, lists, refreshes and deletes beside a live writer, for people and as JSON", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      const db = await open(location);
      await db.put("a", "1");
      assert.equal(await run("checkpoint", location), "no checkpoints\n");
      const made = jsonLines(
        await run("checkpoint", location, "create", "--name", "nightly", "--lifetime", "10m", "--json"),
      )[0]!;
      assert.equal(made["name"], "nightly");
      assert.equal(Number(made["expiresAt"]) - Number(made["createdAt"]) >= 600_000, true);
      const text = await run("checkpoint", location, "create");
      const id = /^checkpoint ([0-9a-f-]{36}) of manifest \d+, ends: never\n$/.exec(text)![1]!;
      const copy = jsonLines(await run("checkpoint", location, "create", "--source", String(made["id"]), "--json"))[0]!;
      assert.equal(copy["manifestId"], made["manifestId"]);
      const list = jsonLines(await run("checkpoint", location, "list", "--json"));
      assert.deepEqual(list.map((one) => one["id"]), [made["id"], id, copy["id"]]);
      assert.deepEqual(jsonLines(await run("checkpoint", location, "list", "--name", "nightly", "--json")), [made]);
      assert.equal(jsonLines(await run("checkpoint", location, "--name=", "--json")).length, 2);
      const lines = (await run("checkpoint", location)).trimEnd().split("\n");
      assert.match(lines[0]!, /^checkpoint +manifest +made +ends +name$/);
      assert.match(lines[1]!, /nightly$/);
      assert.match(lines[2]!, /never +-$/);
      const longer = jsonLines(await run("checkpoint", location, "refresh", id, "--lifetime", "1h", "--json"))[0]!;
      assert.ok(Number(longer["expiresAt"]) > Number(made["expiresAt"]));
      assert.equal(await run("checkpoint", location, "delete", id), `deleted ${id}\n`);
      assert.deepEqual(jsonLines(await run("checkpoint", location, "delete", id, "--json")), [{ deleted: id }]);
      const gone = await cli(["checkpoint", location, "refresh", id, "--json"]);
      assert.equal(gone.code, 1);
      assert.equal((jsonLines(gone.out)[0]!["error"] as Record<string, string>)["reason"], "checkpoint-missing");
      await db.put("b", "2");
      await db.close();
    }));

  it("says what it cannot do", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      const missing = await cli(["checkpoint", location]);
      assert.deepEqual([missing.code, /There is no database in/.test(missing.err)], [1, true]);
      assert.equal(existsSync(location), false);
      await fill(location);
      const cases: ReadonlyArray<readonly [argv: string[], code: number, message: RegExp]> = [
        [["make"], 2, /it does not know "make"/],
        [["delete"], 2, /needs <id>/],
        [["list", "x"], 2, /"x"/],
        [["list", "--lifetime", "5m"], 2, /--lifetime has no meaning for checkpoint list/],
        [["delete", "x", "--name", "y"], 2, /--name has no meaning for checkpoint delete/],
        [["delete", "x"], 2, /not the id of a checkpoint/],
        [["create", "--lifetime", "10ms"], 2, /lifetimeMillis/],
        [["create", "--source", "00000000-0000-4000-8000-000000000000"], 1, /does not exist/],
      ];
      for (const [argv, code, message] of cases) {
        const result = await cli(["checkpoint", location, ...argv]);
        assert.equal(result.code, code, result.err);
        assert.match(result.err, message);
      }
      assert.match(await run("checkpoint", "--help"), /Usage: phyllite checkpoint <location> \[action\] \[id\]/);
    }));
});

describe("phyllite clone", needsDisk, () => {
  it("clones a folder beside its parent; every command works on the clone; --delete lets the parent go", () =>
    inFolder(async (folder) => {
      const [parent, twin] = [join(folder, "data"), join(folder, "trial")];
      await fill(parent);
      assert.match(await run("clone", parent, twin), /^cloned to .*trial: shares its parent's tables, \d WAL object/);
      assert.match(await run("clone", parent, twin), /was cloned before/);
      assert.equal(await run("scan", twin), "a\t1\nb\t2\n");
      await run("put", twin, "a", "mine");
      assert.equal(await run("get", twin, "a"), "mine\n");
      assert.equal(await run("get", parent, "a"), "1\n");
      const db = await open(twin);
      assert.equal(new TextDecoder().decode(await db.get("b")), "2");
      assert.equal((await db.scan().toArray()).length, 2);
      await db.close();
      assert.match(await run("manifest", twin), /refers to: +data \(1 table\)/);
      assert.equal(jsonLines(await run("stats", twin, "--json", "--count"))[0]!["keys"], 2);
      assert.equal(readdirSync(folder).sort().join(), "data,trial", "nothing else appears in the folder above");
      const [kept] = jsonLines(await run("checkpoint", parent, "--json")).filter((one) => !("expiresAt" in one));
      assert.equal(kept!["name"], "clone: trial");
      const refused = await cli(["checkpoint", parent, "delete", String(kept!["id"])]);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /keeps what that clone reads/);
      assert.equal((await cli(["checkpoint", parent, "list", "--force"])).code, 2);
      assert.match(
        await run("clone", twin, "--delete"),
        /^deleted \d+ objects; released data\. Three small objects stay/,
      );
      assert.equal((await cli(["changes", twin])).code, 1);
      assert.equal((await cli(["get", twin, "a"])).code, 1);
      assert.deepEqual(jsonLines(await run("checkpoint", parent, "--json")).filter((one) => !("expiresAt" in one)), []);
      assert.equal(await run("scan", parent), "a\t1\nb\t2\n");
      assert.match(await run("clone", parent, twin), /^cloned to/);
      assert.equal(await run("scan", twin), "a\t1\nb\t2\n");
      const [needed] = jsonLines(await run("checkpoint", parent, "--json")).filter((one) => !("expiresAt" in one));
      await run("checkpoint", parent, "delete", String(needed!["id"]), "--force");
    }));

  it("clones a checkpoint, and databases inside one store by path", () =>
    inFolder(async (folder) => {
      await fill(join(folder, "main"));
      const made = jsonLines(await run("checkpoint", folder, "create", "--path", "main", "--json"))[0]!;
      await run("put", folder, "a", "later", "--path", "main");
      const argv = ["clone", folder, "clones/one", "--path", "main", "--checkpoint", String(made["id"]), "--json"];
      const report = jsonLines(await run(...argv))[0]!;
      assert.deepEqual([report["created"], report["sourceCheckpoint"]], [true, made["id"]]);
      assert.equal(await run("get", folder, "a", "--path", "clones/one"), "1\n");
      assert.equal(await run("get", folder, "a", "--path", "main"), "later\n");
      assert.deepEqual(
        jsonLines(await run("clone", folder, "--path", "clones/one", "--delete", "--json"))[0]!["released"],
        [
          "main",
        ],
      );
    }));

  it("says what it cannot do", () =>
    inFolder(async (folder) => {
      const parent = join(folder, "data");
      await fill(parent);
      const cases: ReadonlyArray<readonly [argv: string[], code: number, message: RegExp]> = [
        [[parent], 2, /needs <clone>/],
        [[parent, parent], 2, /cannot be a clone of itself/],
        [[parent, join(folder, "deep", "er")], 2, /lies beside its parent's/],
        [[join(folder, "nothing"), join(folder, "x")], 1, /There is no database in .*nothing/],
        [[parent, join(folder, "x"), "--delete"], 2, /takes the clone alone/],
        [[parent, "--delete"], 1, /refers to no other database/],
        [[parent, join(folder, "x"), "--checkpoint", "y"], 2, /not the id of a checkpoint/],
      ];
      for (const [argv, code, message] of cases) {
        const result = await cli(["clone", ...argv]);
        assert.equal(result.code, code, result.err);
        assert.match(result.err, message);
      }
      assert.equal(existsSync(join(folder, "x")), false);
    }));
});
