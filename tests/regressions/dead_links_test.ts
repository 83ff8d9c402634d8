/**
 * Folders that are links to a disk that is not mounted, or lie below one: making what is missing used to go on for ever.
 *
 * @module
 */
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { open } from "../../mod.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("a link that leads nowhere", { skip: canUseDisk() ? false : "needs the disk" }, () => {
  const isPath = (error: unknown) => error instanceof InvalidArgument && error.reason === "path";

  it("is refused as the folder of a database, and so is a folder below it", () =>
    inFolder(async (folder) => {
      symlinkSync(join(folder, "not mounted"), join(folder, "data"));
      for (const place of ["data", "data/orders", "data/a/b/c"]) {
        await assert.rejects(open(join(folder, place)), isPath, place);
      }
    }));

  it("is refused as the folder of a disk cache", () =>
    inFolder(async (folder) => {
      symlinkSync(join(folder, "not mounted"), join(folder, "disk"));
      const diskCache = { folder: join(folder, "disk/cache"), identity: "here" };
      await assert.rejects(open("memory:", { diskCache }), InvalidArgument);
    }));
});
