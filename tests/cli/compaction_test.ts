/**
 * `compact` and `compactor` over databases in folders, what `stats` says about them, and brief writers.
 *
 * @module
 */
import { join } from "node:path";
import { Effect } from "effect";
import { open, openCompactor } from "../../mod.ts";
import { Printer } from "../../src/cli/output.ts";
import { Progress } from "../../src/cli/progress.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { CompactionsStore } from "../../src/state/compactions_store.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { cli, jsonLines } from "./memory_io.ts";

const needsDisk = { skip: canUseDisk() ? false : "needs to write files" };

/** A closed database with so many L0 tables, each with the same keys, merged operands and one delete. */
async function withTables(location: string, tables: number): Promise<void> {
  const db = await open(location, { compactor: false, garbageCollector: false, mergeOperator: "elsewhere" });
  for (let t = 0; t < tables; t++) await writeTable(db, t);
  await db.close();
}

async function writeTable(db: Awaited<ReturnType<typeof open>>, t: number): Promise<void> {
  for (let k = 0; k < 20; k++) await db.put(`key${String(k).padStart(2, "0")}`, `value ${t}`, { durable: false });
  await db.merge("sum", String(t), { durable: false });
  await db.delete("key00", { durable: false });
  await db.flush({ kind: "memtable" });
}

/** Rows of a scan that every layout must answer. */
const scanned = async (location: string) => (await cli(["scan", location, "--merge", "concat"])).out;

async function shapeOf(location: string): Promise<{ l0: number; runs: number; deletes: number }> {
  const stats = jsonLines((await cli(["stats", location, "--json"])).out)[0]!;
  const tables = stats["tables"] as Array<{ level: string; pointDeletions: number }>;
  return {
    l0: tables.filter(({ level }) => level === "L0").length,
    runs: new Set(tables.map(({ level }) => level)).size - (tables.some(({ level }) => level === "L0") ? 1 : 0),
    deletes: tables.reduce((sum, table) => sum + table.pointDeletions, 0),
  };
}

describe("phyllite compact and compactor, arguments", () => {
  it("compact and compactor refuse what makes no sense before they take anybody's place", async () => {
    const cases: ReadonlyArray<readonly [argv: string[], code: number, message: RegExp]> = [
      [["compact", "memory:"], 1, /no database in memory:/],
      [["compactor", "memory:"], 1, /no database in memory:/],
      [["compact", "memory:", "--full", "--prefix", "a"], 2, /--full and a range do not go together/],
      [["compact", "memory:", "--gte", "b", "--lt", "a"], 2, /range is empty/],
      [["compactor", "memory:", "--once", "--poll", "5s"], 2, /--once and --poll do not go together/],
      [["compactor", "memory:", "--poll", "0s"], 2, /at least 1ms/],
      [["compactor", "memory:", "--scheduler", "tiered"], 2, /size-tiered, leveled/],
      [["compactor", "memory:", "--gte", "a"], 2, /no flag --gte/],
      [["compact", "memory:", "--wal-location", "a"], 2, /no flag --wal-location/],
    ];
    for (const [argv, code, message] of cases) {
      const result = await cli(argv);
      assert.equal(result.code, code, `${argv.join(" ")}: ${result.err}`);
      assert.match(result.err, message);
    }
  });

  it("Progress shows how far bytes are of a total that grows", async () => {
    const writes: string[] = [];
    const write = (bytes: Uint8Array) => Promise.resolve(void writes.push(new TextDecoder().decode(bytes)));
    const clock = virtualClock();
    const printer = new Printer({ isTerminal: true, columns: 80, write });
    const bar = new Progress(printer, clock, { label: "compact", unit: "read", total: undefined });
    await bar.show({ done: 512, total: 1024 });
    await bar.show({ done: 600, total: 1024 });
    await clock.advance(100);
    await bar.show({ done: 1024, total: 4096 });
    await bar.done();
    assert.equal(writes.length, 3);
    assert.match(writes[0]!, /compact █{10}░{10} {2}50% {2}512 B of 1\.0 KiB read$/);
    assert.match(writes[1]!, /compact █{5}░{15} {2}25% {2}1\.0 KiB of 4\.0 KiB read$/);
    const empty = new Progress(printer, clock, { label: "compact", unit: "read", total: undefined });
    assert.match(empty.shareText({ done: 0, total: 0 }), /100% {2}0 B of 0 B read/);
  });
});

describe("phyllite compact", needsDisk, () => {
  it("compact merges everything into one run and keeps every answer", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 3);
      const before = await scanned(location);
      const { code, out, err } = await cli(["compact", location]);
      assert.deepEqual([code, err], [0, ""]);
      assert.match(out, /^compaction 1: [\d.]+ (B|KiB) read, [\d.]+ (B|KiB) written; 0 L0 tables, 1 sorted run now\n/);
      assert.match(out, /\ncompacted 3 L0 tables, 0 sorted runs into 0 L0 tables, 1 sorted run: .* written\n$/);
      assert.deepEqual(await shapeOf(location), { l0: 0, runs: 1, deletes: 0 });
      assert.equal(await scanned(location), before);
      assert.match(before, /^sum\t012$/m);
    }));

  it("compact tells programs what it did, and does what --full and ranges say", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 2);
      const lines = jsonLines((await cli(["compact", location, "--full", "--merge", "concat", "--json"])).out);
      const end = lines.at(-1)!;
      assert.deepEqual([end["done"], end["l0Count"], end["runCount"]], [true, 0, 1]);
      assert.equal(lines.length, Number(end["compactions"]) + 1);
      assert.ok(Number(end["bytesIn"]) > 0 && Number(end["bytesOut"]) > 0);
      const range = await cli(["compact", location, "--prefix", "zzz", "--json"]);
      assert.deepEqual([range.code, jsonLines(range.out).at(-1)!["compactions"]], [0, 0]);
      assert.match(
        (await cli(["compact", location, "--prefix", "zzz"])).out,
        /^nothing to compact: 0 L0 tables, 1 so.*; rows in the log become tables/,
      );
    }));

  it("compact leaves the writer that is open alone, and its own compactor stays off", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      const db = await open(location, { mergeOperator: "elsewhere" });
      for (let t = 0; t < 2; t++) await writeTable(db, t);
      assert.equal((await cli(["compact", location])).code, 0);
      await db.put("after", "1");
      assert.equal(db.status.closeReason, undefined);
      await db.flush({ kind: "memtable" });
      assert.equal((await db.tables()).runs.length, 1);
      await db.close();
      assert.match(await scanned(location), /^after\t1$/m);
    }));
});

describe("phyllite compactor", needsDisk, () => {
  it("compactor --once does what is due with either scheduler, and nothing the second time", () =>
    inFolder(async (folder) => {
      for (const scheduler of ["size-tiered", "leveled"]) {
        const location = join(folder, scheduler);
        await withTables(location, 5);
        const before = await scanned(location);
        const first = await cli(["compactor", location, "--once", "--scheduler", scheduler]);
        assert.deepEqual([first.code, first.err], [0, ""]);
        assert.match(first.out, /^compaction 1: /);
        assert.match(first.out, /\ndone: 1 compaction, .* written; 0 L0 tables, 1 sorted run\n$/);
        assert.equal(await scanned(location), before);
        const second = await cli(["compactor", location, "--once", "--scheduler", scheduler]);
        assert.equal(second.out, "done: nothing was due; 0 L0 tables, 1 sorted run\n");
      }
    }));

  it("compactor follows a writer until it is stopped", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 1);
      let stop = () => {};
      let published: () => void = () => {};
      const seen = new Promise<void>((resolve) => published = resolve);
      const running = cli(["compactor", location, "--poll", "5ms", "--json"], {
        onStop: (ask) => stop = ask,
        onOutput: (text) => text.includes('"compaction":1') && published(),
      });
      await withTables(location, 4);
      await seen;
      stop();
      const { code, out, err } = await running;
      assert.deepEqual([code, err], [0, ""]);
      const lines = jsonLines(out);
      assert.deepEqual([lines[0]!["compaction"], lines.at(-1)!["done"]], [1, true]);
      assert.equal((await shapeOf(location)).runs >= 1, true);
    }));

  it("compactor ends with exit code 1 when another one takes over", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 1);
      let started: () => void = () => {};
      const ready = new Promise<void>((resolve) => started = resolve);
      const running = cli(["compactor", location, "--poll", "5ms"], { onOutput: () => started() });
      await ready;
      const other = await openCompactor(location, { mergeOperator: "elsewhere" });
      const { code, out, err } = await running;
      assert.equal(code, 1);
      assert.match(out, /^compacting, size-tiered: 1 L0 table, 0 sorted runs; looks every 0\.01 s, Ctrl-C stops it\n/);
      assert.match(err, /^phyllite: Another compactor took over and this one stopped: /);
      assert.equal(other.status.phase, "idle");
      await other.close();
    }));

  it("compactor ends when nobody reads what it says, and compact when it is stopped", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 5);
      const unread = await cli(["compactor", location, "--poll", "1h", "--json"], { closesAfter: 0 });
      assert.deepEqual([unread.code, unread.out], [0, ""]);
      await withTables(location, 2);
      const stopped = await cli(["compact", location, "--json"], { onStop: (stop) => stop() });
      assert.equal(stopped.code, 1);
      assert.equal((jsonLines(stopped.out).at(-1)!["error"] as Record<string, string>)["reason"], "interrupted");
      assert.match(stopped.err, /Stopped before everything was compacted/);
    }));
});

describe("phyllite beside a compactor", needsDisk, () => {
  it("put and delete compact and collect nothing", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 12);
      assert.equal((await cli(["put", location, "k", "v"])).code, 0);
      assert.equal((await cli(["delete", location, "k"])).code, 0);
      assert.deepEqual([(await shapeOf(location)).l0 >= 12, (await shapeOf(location)).runs], [true, 0]);
    }));

  it("stats shows compactions that are recorded as under way", () =>
    inFolder(async (folder) => {
      const location = join(folder, "db");
      await withTables(location, 2);
      assert.deepEqual(jsonLines((await cli(["stats", location, "--json"])).out)[0]!["compactions"], []);
      assert.match((await cli(["stats", location])).out, /^0 compactions recorded as under way$/m);
      const entry = (id: string, status: "running" | "completed", sortedRuns: number[]) => ({
        id,
        l0ViewIds: status === "running" ? ["01ARZ3NDEKTSV4RRFFQ69G5FAV"] : [],
        sortedRuns,
        status,
        outputSsts: [],
      });
      const compactions = {
        compactorEpoch: 0,
        recentCompactions: [
          entry("01BX5ZZKBKACTAV9WEVGEMMVRZ", "completed", [9]),
          entry("01BX5ZZKBKACTAV9WEVGEMMVS0", "running", [3, 2]),
        ],
      };
      await Effect.runPromise(new CompactionsStore(fileStore(location), "").createNext(undefined, compactions));
      assert.deepEqual(jsonLines((await cli(["stats", location, "--json"])).out)[0]!["compactions"], [
        { id: "01BX5ZZKBKACTAV9WEVGEMMVS0", status: "running", l0Tables: 1, runs: [3, 2] },
      ]);
      assert.match(
        (await cli(["stats", location])).out,
        /^1 compaction recorded as under way\n {2}01BX5ZZKBKACTAV9WEVGEMMVS0 {2}running, of 1 L0 table and runs 3, 2\n\n0 ch/m,
      );
    }));
});
