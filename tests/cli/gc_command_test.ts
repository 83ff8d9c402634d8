import { open } from "../../src/db/promise_open.ts";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

/** A folder with two sessions of writing. */
async function filled(folder: string): Promise<void> {
  for (let session = 0; session < 2; session++) {
    const db = await open(folder, { compactor: false, garbageCollector: false });
    for (let i = 0; i < 2; i++) {
      await db.put(`k${i}`, `v${session}`);
      await db.flush({ kind: "memtable" });
    }
    await db.close();
  }
}

describe("phyllite gc", needsDisk, () => {
  it("shows what it would delete, deletes it, and says why the rest stays", () =>
    inFolder(async (folder) => {
      await filled(folder);
      const young = await cli(["gc", folder]);
      assert.deepEqual([young.code, young.err], [0, ""]);
      assert.match(young.out, /manifest versions +0 +5 too young, 2 newest two/);
      const unsafe = ["--min-age", "0s", "--unsafe-age"];
      const dry = await cli(["gc", folder, "--dry-run", ...unsafe]);
      assert.match(dry.out, /would delete 8 objects, \d/);
      assert.match(dry.out, /WAL objects +3 +2 fences, 1 read by the next opening/);
      assert.match(dry.out, /^ {2}manifest\/00000000000000000001\.manifest$/m);
      const json = await cli(["gc", folder, "--json", ...unsafe]);
      const report = jsonLines(json.out)[0] as { dryRun: boolean; deleted: Record<string, string[]> };
      assert.deepEqual([report.dryRun, report.deleted["manifest"]!.length], [false, 5]);
      assert.match((await cli(["gc", folder, ...unsafe])).out, /deleted 0 objects, 0 B/);
      assert.equal((await cli(["get", folder, "k1"])).out, "v1\n");
    }));

  it("names ten objects of each kind and counts the others", () =>
    inFolder(async (folder) => {
      for (let i = 0; i < 3; i++) await filled(folder);
      const { out } = await cli(["gc", folder, "--min-age", "0s", "--unsafe-age"]);
      assert.match(out, /and \d+ more; --json names all/);
      assert.equal(out.match(/^ {2}manifest\//mg)?.length, 10);
    }));

  it("ends with 1 when a pinned version cannot be read", () =>
    inFolder(async (folder) => {
      const db = await open(folder, { compactor: false, garbageCollector: false });
      await db.put("a", "1");
      const { manifestId } = await db.checkpoint();
      await db.put("b", "1");
      await db.flush({ kind: "memtable" });
      await db.close();
      await rm(join(folder, "manifest", `${String(manifestId).padStart(20, "0")}.manifest`));
      const { code, out } = await cli(["gc", folder]);
      assert.equal(code, 1);
      assert.match(out, /nothing was deleted\. A version that a checkpoint pins: .*missing-object/);
    }));

  it("refuses ages that are not safe, and places where no database is", async () => {
    const cases: ReadonlyArray<readonly [argv: string[], code: number, message: RegExp]> = [
      [["gc", "memory:", "--min-age", "59s"], 2, /--min-age must be at least 1m; add --unsafe-age/],
      [["gc", "memory:", "--wal-fence-min-age", "23h"], 2, /--wal-fence-min-age must be at least 1d/],
      [["gc", "memory:", "--min-age", "5"], 2, /time span/],
      [["gc", "memory:"], 1, /no database in memory:/],
    ];
    for (const [argv, code, message] of cases) {
      const result = await cli(argv);
      assert.equal(result.code, code, result.err);
      assert.match(result.err, message);
    }
  });
});
