/**
 * The demo on a small tree, with its real child process, and how it leaves the machine.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { canRunPrograms } from "../support/permissions.ts";
import { repositoryPath } from "../support/shared.ts";
import { assert, describe, it } from "../support/suite.ts";
import { inFolder } from "../support/folders.ts";
import { cli, jsonLines } from "./memory_io.ts";

/** A tree of `count` files of different sizes. */
function makeTree(folder: string, count: number, bytesOf: (i: number) => number): string {
  const tree = join(folder, "tree");
  for (let i = 0; i < count; i++) {
    const name = join(tree, `folder${i % 5}`, `file${String(i).padStart(3, "0")}.txt`);
    mkdirSync(join(name, ".."), { recursive: true });
    writeFileSync(name, `file ${i}\n${"x".repeat(bytesOf(i))}`);
  }
  return tree;
}

/** Command and arguments that run the command line with this runtime. */
function thisRuntime(): readonly [command: string, args: string[]] {
  const main = repositoryPath("src/cli/main.ts");
  return [process.execPath, "Deno" in globalThis ? ["run", "-A", "--quiet", main] : [main]];
}

describe("phyllite demo", { skip: canRunPrograms() ? false : "needs child processes" }, () => {
  it("demo refuses a folder with too little in it, and one that is not there", () =>
    inFolder(async (folder) => {
      const few = await cli(["demo", makeTree(folder, 3, () => 10)]);
      assert.deepEqual([few.code, /needs 8 or more/.test(few.err)], [1, true]);
      assert.equal((await cli(["demo", join(folder, "nothing")])).code, 1);
      const full = await cli(["demo", makeTree(folder, 9, () => 10), "--database", folder]);
      assert.deepEqual([full.code, /is not empty/.test(full.err)], [1, true]);
    }));

  it("demo kills its child in the middle, loses nothing and keeps the database when asked", () =>
    inFolder(async (folder) => {
      const tree = makeTree(folder, 150, (i) => i * 37);
      const database = join(folder, "database");
      const { code, out, err } = await cli(["demo", tree, "--database", database, "--json"]);
      assert.deepEqual([code, err], [0, ""]);
      const story = jsonLines(out)[0] as Record<string, unknown> & { claims: Array<{ claim: string; held: boolean }> };
      assert.equal(story["ok"], true);
      assert.deepEqual([story["files"], story["lost"]], [150, 0]);
      const acknowledged = story["acknowledged"] as number;
      assert.ok(acknowledged >= 150 * 0.45 && acknowledged < 150, `${acknowledged} acknowledged`);
      assert.ok(story.claims.length >= 9);
      assert.ok((story["tables"] as unknown[]).length >= 1);
      assert.equal((await cli(["scan", database, "--keys"])).out.split("\n").length - 1, 150);
    }));

  it("demo tells a story, also for the smallest tree, and cleans up", () =>
    inFolder(async (folder) => {
      const tree = makeTree(folder, 8, () => 10);
      const { code, out } = await cli(["demo", tree]);
      assert.equal(code, 0, out);
      assert.match(out, /^\n1\. A child process stores/);
      assert.match(out, /then got SIGKILL\./);
      assert.match(out, /ok {3}all \d+ acknowledged files are there, byte for byte/);
      assert.match(out, /equal to what SlateDB answers/);
      assert.match(out, /All \d+ checks passed\.\n.*with --keep it stays.*\n$/);
      const database = /Database: (\S+)/.exec(out)![1]!;
      assert.equal(existsSync(database), false);
    }));

  it("demo leaves nothing behind when it is interrupted", () =>
    inFolder(async (folder) => {
      const tree = makeTree(folder, 400, () => 20_000);
      const scratch = join(folder, "scratch");
      mkdirSync(scratch);
      const [command, args] = thisRuntime();
      const child = spawn(command, [...args, "demo", tree], {
        cwd: repositoryPath("."),
        env: { ...process.env, TMPDIR: scratch, TMP: scratch, TEMP: scratch },
        stdio: ["ignore", "pipe", "ignore"],
      });
      child.stdout.once("data", () => child.kill("SIGINT"));
      child.stdout.resume();
      const ended = await new Promise((resolve) => child.on("exit", (code, signal) => resolve(code ?? signal)));
      // Deno names the signal that it sent, whatever code the child ended with.
      assert.ok(ended === 130 || ("Deno" in globalThis && ended === "SIGINT"), String(ended));
      assert.deepEqual(readdirSync(scratch).filter((name) => name.startsWith("phyllite-demo-")), []);
    }));
});
