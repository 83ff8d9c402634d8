/**
 * A database whose folder vanishes, as when its disk is unmounted: it waits, and goes on when the disk is back.
 *
 * @module
 */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { open } from "../../mod.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("open", { skip: canUseDisk() ? false : "needs the disk" }, () => {
  it("a writer acknowledges nothing while its folder is gone, and goes on when it is back", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      const db = await open(location);
      await db.put("before", "1");
      renameSync(location, join(folder, "elsewhere"));
      let acknowledged = false;
      const put = db.put("while", "2").then(() => acknowledged = true);
      await wait(400);
      assert.deepEqual([acknowledged, existsSync(location)], [false, false]);
      renameSync(join(folder, "elsewhere"), location);
      await put;
      await db.close();
      const again = await open(location, { create: false });
      assert.deepEqual((await again.scan().toArray()).length, 2);
      await again.close();
    }));
});
