import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { open, WriteBatch } from "../../mod.ts";
import { walPath } from "../../src/format/paths.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

describe("phyllite changes", { skip: !canUseDisk() }, () => {
  it("prints rows in the order of writing, as lines and as JSON", () =>
    inFolder(async (folder) => {
      const db = await open(folder, { mergeOperator: "elsewhere" });
      await db.put("b", "line\n", { ttl: { atMillis: 4_000_000_000_000 } });
      await db.write(new WriteBatch().delete("b").merge("a", "x"));
      await db.close();
      const plain = await cli(["changes", folder]);
      assert.deepEqual(plain.out.trimEnd().split("\n"), [
        "1\tput\tb\tline\\n\texpires 2096-10-02T07:06:40.000Z",
        "2\tmerge\ta\tx",
        "2\tdelete\tb",
      ]);
      const rows = jsonLines((await cli(["changes", folder, "--from", "2", "--json"])).out);
      assert.deepEqual(rows.map(({ createdAt: _, ...row }) => row), [
        { key: "a", kind: "merge", value: "x", seq: 2, isLast: false },
        { key: "b", kind: "delete", seq: 2, isLast: true },
      ]);
    }));

  it("begins with what is left of the log, and says what is not when asked for it", () =>
    inFolder(async (folder) => {
      const db = await open(folder, { garbageCollector: false, compactor: false });
      await db.put("a", "1");
      await db.put("b", "2");
      await db.flush({ kind: "memtable" });
      await db.close();
      unlinkSync(join(folder, walPath("", 2)));
      const left = await cli(["changes", folder]);
      assert.match(left.out, /^2\tput\tb\t2\n$/);
      assert.match(left.err, /^phyllite: row 1 is not printed: .* From 2 on it is complete/);
      assert.equal((await cli(["changes", folder, "--from", "2"])).err, "");
      const asked = await cli(["changes", folder, "--from", "1"]);
      assert.equal(asked.code, 1);
      assert.match(asked.err, /gone: no changes from sequence number 1 on.*oldest available is 2/);
      const missing = await cli(["changes", join(folder, "nothing")]);
      assert.equal(missing.code, 1);
      assert.match(missing.err, /There is no database in .*nothing/);
    }));

  it("follows, and ends when nobody reads any more", () =>
    inFolder(async (folder) => {
      const db = await open(folder);
      await db.put("a", "1");
      const running = cli(["changes", folder, "--follow", "--from=1"], { closesAfter: 1 });
      await db.put("b", "2");
      const { code, out } = await running;
      assert.deepEqual([code, out], [0, "1\tput\ta\t1\n"]);
      await db.close();
    }));
});
