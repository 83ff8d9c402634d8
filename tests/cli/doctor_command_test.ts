import { existsSync, readdirSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { open } from "../../src/db/promise_open.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

interface Report {
  readonly part: string;
  readonly fitness: string;
  readonly rows: ReadonlyArray<{ readonly name: string; readonly verdict: string }>;
  readonly requests: Readonly<Record<string, number>>;
  readonly plannedRequests: Readonly<Record<string, number>>;
  readonly dollars: Readonly<Record<string, number>>;
  readonly left: readonly string[];
}

describe("phyllite doctor", () => {
  it("prints a row for each promise, what it cost before and after, and the verdict", async () => {
    const { code, out, err } = await cli(["doctor", "memory:", "--quick"]);
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^tables: memory:, about \d{3} requests, \$0\.000\d+ at S3 Standard prices$/m);
    assert.match(out, /^pass {2}create-if-absent race {2}2 races of 32/m);
    assert.match(out, /^\d{3} requests, 2\.\d MiB up, .* at S3 Standard prices\nfit\n$/m);
  });

  it("prints one JSON value for each store, the log's too", async () => {
    const { code, out } = await cli(["doctor", "memory:", "--quick", "--json", "--wal-location", "memory:"]);
    const reports = jsonLines(out) as unknown as Report[];
    assert.equal(code, 0);
    assert.deepEqual(reports.map(({ part, fitness }) => [part, fitness]), [["tables", "fit"], ["log", "fit"]]);
    for (const report of reports) {
      assert.deepEqual(report.requests, report.plannedRequests);
      assert.ok(report.dollars["S3 Standard"]! > 0 && report.dollars["Cloudflare R2"]! > 0);
      assert.deepEqual(report.left, []);
    }
  });

  it("shows on a terminal how far it is, and takes that away", async () => {
    const { err } = await cli(["doctor", "memory:", "--quick"], { terminal: true });
    assert.match(err, /examine █.* \d+ of 19 checks/);
    assert.ok(err.endsWith("\r\u001b[2K"));
  });

  it(
    "leaves a folder as it was, empty folders of others and the live database included",
    needsDisk,
    () =>
      inFolder(async (folder) => {
        const db = await open(folder);
        await db.put("a", "1");
        await mkdir(join(folder, "empty"));
        const before = readdirSync(folder, { recursive: true }).sort();
        assert.equal((await cli(["doctor", folder, "--quick"])).code, 0);
        assert.equal((await cli(["doctor", folder, "--quick", "--path", "not/there"])).code, 0);
        assert.deepEqual(readdirSync(folder, { recursive: true }).sort(), before);
        assert.deepEqual(readdirSync(join(folder, "..")).filter((name) => name.startsWith("phyllite-doctor-")), []);
        await db.put("a", "2");
        await db.close();
        const missing = join(folder, "none", "at-all");
        assert.equal((await cli(["doctor", missing, "--quick"])).code, 0);
        assert.equal(existsSync(missing), false);
      }),
  );

  it(
    "ends with 1 where the place cannot be written, and says which promise is broken",
    needsDisk,
    () =>
      inFolder(async (folder) => {
        const file = join(folder, "file");
        await writeFile(file, "no folder");
        const { code, out } = await cli(["doctor", file, "--quick"]);
        assert.equal(code, 1);
        assert.match(out, /^FAIL {2}reachable/m);
        assert.match(out, /^skip {2}copy +the store cannot be reached$/m);
        assert.match(out, /^unfit: reachable: nothing can be stored there now$/m);
      }),
  );

  it("deletes everything when a signal stops it", needsDisk, () =>
    inFolder(async (folder) => {
      const result = await cli(["doctor", folder], { onStop: (stop) => stop() });
      assert.equal(result.code, 1);
      assert.match(result.err, /Stopped; everything that was written is deleted again/);
      assert.deepEqual(readdirSync(folder), []);
    }));

  it("refuses what it does not know", async () => {
    assert.equal((await cli(["doctor"])).code, 2);
    assert.match((await cli(["doctor", "memory:", "--fast"])).err, /doctor has no flag --fast/);
  });
});
