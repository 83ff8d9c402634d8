import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { open, planCost, R2, S3_STANDARD, WriteBatch } from "../../mod.ts";
import { keyWithin } from "../../src/cli/cost_survey.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

/** A folder with tables that overlap and a log. */
async function filled(folder: string, options: OpenOptions = {}): Promise<void> {
  const db = await open(folder, { compactor: false, garbageCollector: false, minFilterKeys: 1, ...options });
  for (let i = 0; i < 3; i++) {
    const batch = new WriteBatch();
    for (let row = i; row < 3000; row += 3) batch.put(`key ${String(row).padStart(5, "0")}`, "v".repeat(100));
    await db.write(batch);
    await db.flush({ kind: "memtable" });
  }
  await db.put("key 00001", "newer");
  await db.close();
}

async function filesOf(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

interface Survey {
  readonly folders: Record<string, { readonly objects: number; readonly bytes: number }>;
  readonly storedBytes: number;
  readonly storageDollarsPerMonth: Record<string, number>;
  readonly opening: { readonly main: { readonly gets: number; readonly puts: number } };
  readonly idlePerMonth: Record<string, { readonly main: { readonly gets: number; readonly puts: number } }>;
  readonly sample?: {
    readonly reads: number;
    readonly scanRows: number;
    readonly perMillionGets: { readonly main: { readonly gets: number }; readonly dollars: Record<string, number> };
    readonly perMillionScans: { readonly main: { readonly gets: number } };
  };
  readonly cost: { readonly requests: Record<string, Record<string, number>> };
}

describe("phyllite cost <location>", needsDisk, () => {
  it("tells what is stored, what rest costs, and what looking cost, and changes nothing", () =>
    inFolder(async (folder) => {
      await filled(folder);
      const before = await filesOf(folder);
      const { code, out, err } = await cli(["cost", folder]);
      assert.deepEqual([code, err], [0, ""]);
      assert.match(out, /^ +objects +size +S3 Standard +S3 Express One Zone +Cloudflare R2$/m);
      assert.match(out, /^ {2}compacted +3 +\d+ KiB +\$0\.0000/m);
      assert.match(out, /^ {2}a writer +0 PUT, 0 GET +\$0 +\$0 +\$0$/m);
      assert.match(out, /^ {2}a following reader, every 10 s +0 PUT, 518,400 GET +\$0\.21/m);
      assert.match(out, /^Opening a reader that follows took 1 PUT, \d+ GET$/m);
      assert.match(out, /S3 Standard: aws\.amazon\.com/);
      assert.doesNotMatch(out, /nothing in memory/);
      assert.deepEqual(await filesOf(folder), before);
    }));

  it("measures reads with nothing in memory, by requests that the table of requests shows", () =>
    inFolder(async (folder) => {
      await filled(folder);
      const before = await filesOf(folder);
      const { code, out } = await cli(["cost", folder, "--sample", "12", "--json"]);
      assert.equal(code, 0);
      const [survey] = jsonLines(out) as unknown as [Survey];
      const { sample, cost, folders } = survey;
      assert.deepEqual([sample!.reads, sample!.scanRows], [12, 100]);
      // Each read asks the one table that has its key; a scan asks all three.
      assert.ok(sample!.perMillionGets.main.gets >= 1e6 && sample!.perMillionGets.main.gets < 1.8e6);
      assert.equal(sample!.perMillionScans.main.gets, 3e6);
      const dollars = sample!.perMillionGets.main.gets / 1000 * S3_STANDARD.getPer1000;
      assert.ok(Math.abs(sample!.perMillionGets.dollars[S3_STANDARD.name]! - dollars) < 1e-9);
      const kinds = new Set(Object.values(cost.requests).flatMap((counts) => Object.keys(counts)));
      assert.deepEqual([...kinds].sort(), ["get", "getRange", "list"]);
      assert.equal(folders["compacted"]!.objects, 3);
      assert.equal(survey.storedBytes, Object.values(folders).reduce((sum, { bytes }) => sum + bytes, 0));
      assert.equal(survey.storageDollarsPerMonth[S3_STANDARD.name], survey.storedBytes / 2 ** 30 * 0.023);
      assert.deepEqual(await filesOf(folder), before);
      const { out: text } = await cli(["cost", folder, "--sample", "12"]);
      assert.match(text, /^Read with nothing in memory, per million, from 12 point reads and one scan of 100 rows:$/m);
      assert.match(text, /^ {2}scans +3\.00 +\d/m);
    }));

  it("counts what a following reader asks, and rest, as the reader's own report does", () =>
    inFolder(async (folder) => {
      await filled(folder);
      const [survey] = jsonLines((await cli(["cost", folder, "--json"])).out) as unknown as [Survey];
      const { requests } = survey.cost;
      // Manifests, log, tables and compactions are listed; the newest manifest is found by a listing too.
      assert.deepEqual([requests["db"]!["list"], requests["db"]!["get"], requests["wal"]!["list"]], [4, 1, 1]);
      const reader = requests["reader"]!;
      assert.deepEqual([survey.opening.main.puts, survey.opening.main.gets], [reader["list"], reader["get"]]);
      assert.equal(survey.idlePerMonth["followingReader"]!.main.gets, 518_400);
      assert.equal(survey.idlePerMonth["writerLookingOut"]!.main.gets, 518_400);
      assert.equal(survey.idlePerMonth["writer"]!.main.gets + survey.idlePerMonth["writer"]!.main.puts, 0);
      assert.ok(survey.idlePerMonth["managedReader"]!.main.puts > 8000);
    }));

  it("takes the sheet that is asked for, a log of its own, and rows in the log alone", () =>
    inFolder(async (folder) => {
      const [tables, log] = [join(folder, "tables"), join(folder, "log")];
      const db = await open(tables, { wal: { store: fileStore(log) }, compactor: false, garbageCollector: false });
      for (let i = 0; i < 5; i++) await db.put(`key ${i}`, "value");
      await db.close();
      const { code, out } = await cli(["cost", tables, "--wal-location", log, "--sheet", "r2", "--sample", "3"]);
      assert.equal(code, 0);
      assert.doesNotMatch(out, /S3/);
      assert.match(out, new RegExp(`^Prices:\\n {2}${R2.name}`, "m"));
      assert.match(out, /^ {2}wal +6 /m);
      assert.match(out, /from 3 point reads and one scan of 5 rows/);
      assert.match(out, /^ {2}point reads +0\.00 +0 B +\$0$/m);
      const { code: missing, err } = await cli(["cost", join(folder, "nowhere")]);
      assert.equal(missing, 1);
      assert.match(err, /There is no database/);
    }));
});

describe("keyWithin", () => {
  it("spreads keys over tables by their sizes, inside their spans", () => {
    const view = (first: string, last: string, indexOffset: number) => ({
      viewId: first,
      sstId: first,
      info: {
        firstEntry: new TextEncoder().encode(first),
        lastEntry: new TextEncoder().encode(last),
        indexOffset,
        indexLen: 0,
        filterOffset: 0,
        filterLen: 0,
        compression: 0 as const,
        sstType: 0 as const,
        statsOffset: 0,
        statsLen: 0,
        filterFormat: 0 as const,
      },
      visibleRange: undefined,
      formatVersion: 2 as const,
    });
    const tables = [view("key a", "key c", 100), view("key x", "key z", 300)];
    const firstLetters = [0.1, 0.2, 0.3, 0.6, 0.9].map((fraction) =>
      String.fromCharCode(keyWithin(tables, fraction)[4]!)
    );
    assert.deepEqual(firstLetters, ["a", "b", "x", "x", "y"]);
    assert.ok(keyWithin(tables, 1).length > 4);
  });
});

describe("phyllite cost --plan", () => {
  it("prints what planCost says of the flags", async () => {
    const flags = [
      "--rows-per-second=0.5 --rows-per-write=2 --key-bytes=20 --value-bytes=400 --not-awaited --put-latency=50ms",
      "--keys=ascending --existing-rows=1000 --reads-per-second=5 --cache-hit-ratio=0.25 --scans-per-second=2",
      "--rows-per-scan=10 --hours-per-day=8 --readers=3 --reader-mode=follow --reader-poll=5s --flush-interval=1s",
      "--max-wal-puts-per-second=0.5 --wal=apart --l0-bytes=1048576 --cache-bytes=0 --idle-poll=1m",
      "--compaction=leveled --min-compaction-sources=3 --writers=7 --distinct-keys=5000",
    ].join(" ").split(" ");
    const { code, out, err } = await cli(["cost", "--plan", "--json", ...flags]);
    assert.deepEqual([code, err], [0, ""]);
    const plan = planCost({
      flushIntervalMillis: 1000,
      maxWalPutsPerSecond: 0.5,
      wal: "apart",
      l0SstSizeBytes: 1_048_576,
      blockCacheBytes: 0,
      idlePollMillis: 60_000,
      compactor: { scheduler: "leveled", minCompactionSources: 3 },
    }, {
      rowsPerSecond: 0.5,
      rowsPerWrite: 2,
      keyBytes: 20,
      valueBytes: 400,
      durable: false,
      writers: 7,
      putLatencyMillis: 50,
      keys: "ascending",
      distinctKeys: 5000,
      existingRows: 1000,
      pointReadsPerSecond: 5,
      cacheHitRatio: 0.25,
      scansPerSecond: 2,
      rowsPerScan: 10,
      hoursPerDay: 8,
      readers: [{ count: 3, mode: "follow", manifestPollIntervalMillis: 5000 }],
    });
    assert.deepEqual(jsonLines(out), [JSON.parse(JSON.stringify(plan))]);
  });

  it("prints a table for people, with the parts, storage, facts and sources", async () => {
    const { code, out } = await cli(["cost", "--plan", "--rows-per-second", "100", "--sheet", "s3", "--wal", "on"]);
    assert.equal(code, 0);
    assert.match(out, /^ {2}log +86,400,000 PUT, 0 GET +\d+ % +\$432\.00$/m);
    assert.match(out, /^ {2}requests together +\d/m);
    assert.match(out, /^ {2}\d+(\.\d)? GiB stored +\$\d/m);
    assert.match(out, /One object a second \(maxWalPutsPerSecond: 1\) would be \$12\.96/);
    assert.doesNotMatch(out, /R2|Express/);
    const without = await cli(["cost", "--plan", "--rows-per-second", "0", "--compaction", "off", "--wal", "off"]);
    assert.match(without.out, /^ {2}together +\$0 +\$0 +\$0$/m);
  });

  it("refuses what makes no sense, with exit code 2", async () => {
    const refusals: Array<[argv: string[], message: RegExp]> = [
      [["--plan"], /needs --rows-per-second/],
      [["--plan", "--rows-per-second", "many"], /--rows-per-second must be a number of 0 or more/],
      [["--plan", "--rows-per-second", "-5"], /--rows-per-second must be a number/],
      [["--plan", "--rows-per-second", "5", "--hours-per-day", "25"], /hoursPerDay/],
      [["--plan", "--rows-per-second", "5", "--reader-mode", "follow"], /--readers/],
      [["--plan", "--rows-per-second", "5", "--sample", "3"], /--sample reads a database/],
      [["--plan", "somewhere", "--rows-per-second", "5"], /takes no location/],
      [["memory:", "--rows-per-second", "5"], /--rows-per-second belongs to a plan: add --plan/],
      [["memory:", "--not-awaited"], /--not-awaited belongs to a plan/],
      [["memory:", "--idle-poll", "5s"], /--idle-poll belongs to a plan/],
      [["memory:", "--sample", "20000"], /at most 10000/],
      [[], /needs <location>/],
      [["--plan", "--sheet", "gcs"], /--sheet must be one of s3, s3-express, r2/],
    ];
    for (const [argv, message] of refusals) {
      const { code, err } = await cli(["cost", ...argv]);
      assert.equal(code, 2, argv.join(" "));
      assert.match(err, message);
    }
    assert.equal((await cli(["cost", "memory:"])).code, 1);
  });
});
