import {
  collectGarbage,
  compactOnce,
  costReport,
  dollarsOf,
  open,
  openCompactor,
  openReader,
  R2,
  S3_EXPRESS,
  S3_STANDARD,
} from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { OpenCostReport, StoreUsage, Usage } from "../../src/db/cost_api.ts";
import { MONTH_MILLIS } from "../../src/db/cost_idle.ts";
import type { ReaderOptions } from "../../src/db/reader_options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { byKind, difference, tallied } from "./cost_world.ts";

const START_MILLIS = 1_700_000_000_000;
const HOUR = 3_600_000;
const SMALL: OpenOptions = { l0SstSizeBytes: 4096, blockSizeBytes: 1024 };
const NOTHING: StoreUsage = { puts: 0, gets: 0, free: 0, bytesWritten: 0, bytesRead: 0 };

const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((total, n) => total + n, 0);
const near = (actual: number, expected: number, what: string) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected)),
    `${what}: ${actual}, not ${expected}`,
  );

/** A database that wrote, flushed, compacted and collected, and readers beside it, each on a store of its own. */
async function busyWorld(isWalApart: boolean) {
  const clock = virtualClock(START_MILLIS);
  const inner = memoryStore();
  const innerLog = memoryStore();
  const main = tallied(inner);
  const log = tallied(innerLog);
  const db = await open({ store: main.store, path: "" }, {
    ...SMALL,
    blockCacheBytes: 0,
    clock,
    ...(isWalApart ? { wal: { store: log.store } } : {}),
  });
  const opened = { main: { ...main.tally.requests }, log: { ...log.tally.requests } };
  for (let i = 0; i < 600; i++) {
    await db.put(`key ${String(i % 150).padStart(3, "0")}`, `value ${i} ${"x".repeat(40)}`, { durable: false });
    if (i % 50 === 49) await clock.advance(20_000);
  }
  for (let i = 0; i < 30; i++) await clock.advance(60_000);
  return { clock, inner, innerLog, main, log, db, opened };
}

describe("cost().requests and bytes", () => {
  it("of a writer are what its store was asked, by kind, whoever asked", async () => {
    const { db, main, log, opened } = await busyWorld(false);
    const report = db.cost();
    assert.deepEqual(byKind(report.requests), main.tally.requests);
    assert.deepEqual(byKind(report.bytes), main.tally.bytes);
    assert.deepEqual(log.tally.requests, {});
    for (const component of ["db", "wal", "compactor", "gc"]) {
      assert.ok(sum(report.requests[component]!) > 0, component);
    }
    assert.equal(report.requests["wal"]!["putIfAbsent"], main.tally.folders["wal"]!["putIfAbsent"]);
    assert.equal(report.requests["gc"]!["deleteMany"] ?? report.requests["gc"]!["delete"]! > 10, true);
    assert.equal(report.bytesRead + report.bytesWritten, sum(main.tally.bytes));
    assert.equal(report.walStore, undefined);
    assert.equal(report.wal, undefined);
    assert.equal(report.main.puts + report.main.gets + report.main.free, sum(main.tally.requests));
    assert.deepEqual(usageSum(report.opening), sum(opened.main));
    await db.close();
  });

  it("of a writer whose log lives apart are told for each store", async () => {
    const { db, main, log, opened } = await busyWorld(true);
    const report = db.cost();
    const both = byKind({ main: main.tally.requests, log: log.tally.requests });
    assert.deepEqual(byKind(report.requests), both);
    assert.deepEqual(byKind(report.walStore!.requests), log.tally.requests);
    assert.deepEqual(byKind(report.walStore!.bytes), log.tally.bytes);
    assert.deepEqual(Object.keys(report.walStore!.requests).sort(), ["gc", "wal"]);
    assert.equal(storeSum(report.main), sum(main.tally.requests));
    assert.equal(storeSum(report.wal!), sum(log.tally.requests));
    assert.equal(storeSum(report.opening.wal!), sum(opened.log));
    assert.equal(storeSum(report.opening.main), sum(opened.main));
    await db.close();
  });

  it("of a collection from outside are what both stores were asked", async () => {
    const { clock, inner, innerLog, db } = await busyWorld(true);
    const [main, log] = [tallied(inner), tallied(innerLog)];
    const wal = { store: log.store };
    const collected = collectGarbage({ store: main.store, path: "" }, { clock, wal });
    await clock.advance(1000);
    const { cost } = await collected;
    assert.deepEqual(byKind(cost.requests), byKind({ main: main.tally.requests, log: log.tally.requests }));
    assert.deepEqual(byKind(cost.walStore!.requests), log.tally.requests);
    assert.ok(sum(main.tally.requests) > 5 && sum(log.tally.requests) > 0);
    await db.close();
  });

  it("of readers and of a compactor without a writer are what their stores were asked", async () => {
    const { clock, inner, db } = await busyWorld(false);
    const checkpoint = db.checkpoint();
    await clock.advance(1000);
    const { id } = await checkpoint;
    await db.put("more", "of it", { durable: false });
    await clock.advance(1000);
    for (const options of [{ mode: "managed" }, { mode: "follow" }, { checkpoint: id }] as ReaderOptions[]) {
      const seen = tallied(inner);
      const reader = await openReader({ store: seen.store, path: "" }, { clock, ...options });
      const opening = sum(seen.tally.requests);
      await reader.get("key 007");
      await reader.scan().toArray();
      await clock.advance(400_000);
      assert.equal(usageSum(reader.cost().opening), opening);
      await reader.close();
      assert.deepEqual(byKind(reader.cost().requests), seen.tally.requests);
      assert.deepEqual(byKind(reader.cost().bytes), seen.tally.bytes);
      assert.equal(reader.cost().perMillion.puts, undefined);
    }
    const seen = tallied(inner);
    const compactor = await openCompactor({ store: seen.store, path: "" }, { clock });
    await compactor.compact();
    await clock.advance(20_000);
    assert.deepEqual(byKind(compactor.cost().requests), seen.tally.requests);
    assert.deepEqual(byKind(compactor.cost().bytes), seen.tally.bytes);
    assert.deepEqual(Object.keys(compactor.cost().requests), ["compactor"]);
    assert.equal(compactor.cost().openMillis, 20_000);
    await compactor.close();
    const once = tallied(inner);
    const { cost } = await compactOnce({ store: once.store, path: "" }, { clock, full: true });
    assert.deepEqual(byKind(cost.requests), once.tally.requests);
    assert.deepEqual(byKind(cost.bytes), once.tally.bytes);
    const closed = db.close();
    await clock.advance(1000);
    await closed;
  });
});

describe("costReport", () => {
  it("adds reports up, apart for the store of the log, and prices the sum", async () => {
    const [a, b] = [await busyWorld(false), await busyWorld(true)];
    const [first, second] = [a.db.cost(), b.db.cost()];
    const both = costReport([first, second]);
    assert.deepEqual(
      byKind(both.requests),
      byKind({ a: byKind(first.requests), b: byKind(second.requests) }),
    );
    assert.equal(both.bytesWritten, first.bytesWritten + second.bytesWritten);
    assert.deepEqual(both.wal, second.wal);
    assert.equal(both.main.puts, first.main.puts + second.main.puts);
    for (const { name } of [S3_STANDARD, S3_EXPRESS, R2]) {
      near(both.dollars[name]!, first.dollars[name]! + second.dollars[name]!, name);
    }
    assert.equal(storeSum(costReport([]).main), 0);
    await Promise.all([a.db.close(), b.db.close()]);
  });
});

describe("cost().perMillion", () => {
  it("gives reads what was asked of tables for them, and rows written everything else", async () => {
    const { clock, db, main } = await busyWorld(false);
    assert.equal(db.cost().perMillion.gets, undefined);
    assert.equal(db.cost().perMillion.scans, undefined);
    const before = { ...main.tally.requests };
    const beforeBytes = { ...main.tally.bytes };
    for (let i = 0; i < 20; i++) await db.get(`key ${String(i).padStart(3, "0")}`);
    const gets = difference(main.tally.requests, before);
    const getBytes = difference(main.tally.bytes, beforeBytes);
    for (let i = 0; i < 5; i++) await db.scan({ gte: "key 1" }).toArray();
    const reads = difference(main.tally.requests, before);
    const readBytes = difference(main.tally.bytes, beforeBytes);
    assert.deepEqual(Object.keys(reads), ["getRange"]);
    assert.ok(gets["getRange"]! >= 20 && reads["getRange"]! > gets["getRange"]!);
    await db.tables();
    const stats = main.tally.requests["getRange"]! - before["getRange"]! - reads["getRange"]!;
    assert.ok(stats > 0, "statistics were read");
    const report = db.cost();
    assert.deepEqual(report.operations, { gets: 20, scans: 5, puts: 600 });
    near(report.perMillion.gets!.main.gets, gets["getRange"]! * 1e6 / 20, "requests of gets");
    near(report.perMillion.gets!.main.bytesRead, getBytes["getRange"]! * 1e6 / 20, "bytes of gets");
    near(report.perMillion.gets!.dollars[S3_STANDARD.name]!, gets["getRange"]! / 20 * 0.4, "dollars of gets");
    near(report.perMillion.scans!.main.gets, (reads["getRange"]! - gets["getRange"]!) * 1e6 / 5, "requests of scans");
    near(
      report.perMillion.scans!.main.bytesRead,
      (readBytes["getRange"]! - getBytes["getRange"]!) * 1e6 / 5,
      "bytes of scans",
    );
    const puts = storeSum(report.main) - storeSum(report.opening.main) - reads["getRange"]! - stats;
    near(storeSum(report.perMillion.puts!.main), puts * 1e6 / 600, "requests of rows written");
    assert.equal(report.perMillion.puts!.main.bytesWritten > 0, true);
    await clock.advance(0);
    await db.close();
  });

  it("leaves what is preloaded to nobody", async () => {
    const { clock, inner, db } = await busyWorld(false);
    const closed = db.close();
    await clock.advance(1000);
    await closed;
    const main = tallied(inner);
    const off = { compactor: false, garbageCollector: false } as const;
    const opened = open({ store: main.store, path: "" }, { clock, preload: "all", ...off });
    await clock.advance(1000);
    const next = await opened;
    const wrote = next.put("new", "row");
    await clock.advance(1000);
    await wrote;
    await next.get("new");
    assert.ok((main.tally.requests["getRange"] ?? 0) > 0, "something was preloaded");
    const { perMillion } = next.cost();
    assert.equal(perMillion.gets!.main.gets, 0);
    near(perMillion.puts!.main.puts, 1e6, "the log object of the one row");
    const ended = next.close();
    await clock.advance(1000);
    await ended;
  });

  it("counts reads that memory answers as free", async () => {
    const clock = virtualClock(START_MILLIS);
    const db = await open({ store: memoryStore(), path: "" }, { clock });
    await db.put("a", "1");
    for (let i = 0; i < 10; i++) await db.get("a");
    const { perMillion, operations } = db.cost();
    assert.deepEqual(perMillion.gets!.main, NOTHING);
    assert.equal(operations.gets, 10);
    near(perMillion.puts!.main.puts, 1e6, "a log object for the one row");
    await db.close();
  });
});

/** What `report` says about a month, against what six hours of rest ask of the store. */
async function restFor(
  clock: ReturnType<typeof virtualClock>,
  cost: () => OpenCostReport,
): Promise<{ readonly counted: Usage; readonly told: Usage }> {
  const before = cost();
  for (let hour = 0; hour < 6; hour++) await clock.advance(HOUR);
  const after = cost();
  const times = MONTH_MILLIS / (6 * HOUR);
  const grown = (a: StoreUsage | undefined, b: StoreUsage | undefined): StoreUsage | undefined =>
    a === undefined || b === undefined ? undefined : {
      ...NOTHING,
      puts: (a.puts - b.puts) * times,
      gets: (a.gets - b.gets) * times,
      free: (a.free - b.free) * times,
    };
  const wal = grown(after.wal, before.wal);
  const { main, wal: toldWal } = cost().perMonthIdle;
  const told: Usage = { main, ...(toldWal === undefined ? {} : { wal: toldWal }) };
  return { counted: { main: grown(after.main, before.main)!, ...(wal === undefined ? {} : { wal }) }, told };
}

describe("cost().perMonthIdle", () => {
  const writers: Record<string, [options: OpenOptions, usage: Partial<StoreUsage>]> = {
    "nothing for a writer": [{}, {}],
    "nothing for a writer without a log": [{ wal: false }, {}],
    "a GET per look for one that polls often": [{ idlePollMillis: 10_000 }, { gets: 259_200 }],
    "a LIST per look for one that polls seldom": [{ idlePollMillis: 60_000 }, { puts: 43_200 }],
  };
  for (const [name, [options, expected]] of Object.entries(writers)) {
    it(`is ${name}, as counted in six hours of virtual time`, async () => {
      const clock = virtualClock(START_MILLIS);
      const db = await open({ store: memoryStore(), path: "" }, { ...SMALL, clock, ...options });
      for (let i = 0; i < 300; i++) await db.put(`key ${i}`, "v".repeat(50), { durable: false });
      for (let i = 0; i < 60; i++) await clock.advance(60_000);
      const { counted, told } = await restFor(clock, () => db.cost());
      assert.deepEqual(told, counted);
      assert.deepEqual(told.main, { ...NOTHING, ...expected });
      const closed = db.close();
      await clock.advance(1000);
      await closed;
    });
  }

  const readers: Record<string, ReaderOptions> = {
    managed: {},
    "managed, slow": { manifestPollIntervalMillis: 45_000 },
    "managed, short-lived": { manifestPollIntervalMillis: 7000, checkpointLifetimeMillis: 100_000 },
    following: { mode: "follow" },
    "following, without the log": { mode: "follow", skipWalReplay: true },
  };
  for (const [name, options] of Object.entries(readers)) {
    for (const isWalApart of [false, true]) {
      it(`of a reader (${name}${isWalApart ? ", log apart" : ""}) is what six hours of virtual time count`, async () => {
        // Half a second: how the end of a checkpoint is rounded to whole seconds depends on when it is made.
        const clock = virtualClock(START_MILLIS + 500);
        const [store, log] = [memoryStore(), memoryStore()];
        const wal = isWalApart ? { wal: { store: log } } : {};
        const db = await open({ store, path: "" }, { clock, garbageCollector: false, ...wal });
        await db.put("a", "1");
        const reader = await openReader({ store, path: "" }, { clock, ...options, ...wal });
        const { counted, told } = await restFor(clock, () => reader.cost());
        assert.equal(told.wal === undefined, counted.wal === undefined || storeSum(counted.wal) === 0);
        // What is begun when the time ends counts 120 times here, and once in a month.
        const equal = (a: number, b: number, what: string) =>
          assert.ok(Math.abs(a - b) < 240, `${what}: ${a}, not ${b}`);
        equal(told.main.gets, counted.main.gets, "GETs");
        equal(told.main.puts, counted.main.puts, "PUTs and LISTs");
        equal(told.wal?.gets ?? 0, counted.wal?.gets ?? 0, "GETs of the log");
        assert.deepEqual({ ...counted.wal, gets: 0 }, { ...(isWalApart ? NOTHING : {}), gets: 0 });
        assert.ok(storeSum(told.main) > 40_000);
        await reader.close();
        await db.close();
      });
    }
  }

  it("of a pinned reader is nothing, as counted", async () => {
    const clock = virtualClock(START_MILLIS);
    const store = memoryStore();
    const db = await open({ store, path: "" }, { clock });
    await db.put("a", "1");
    const { id } = await db.checkpoint();
    const reader = await openReader({ store, path: "" }, { clock, checkpoint: id });
    const { counted, told } = await restFor(clock, () => reader.cost());
    assert.deepEqual(told, counted);
    assert.deepEqual(told.main, NOTHING);
    await reader.close();
    await db.close();
  });

  for (
    const [name, pollIntervalMillis, hasJournal] of [["often", 5000, true], ["seldom", 60_000, true], [
      "for the first time",
      5000,
      false,
    ]] as const
  ) {
    it(`of a compactor that looks ${name} is what six hours of virtual time count`, async () => {
      const clock = virtualClock(START_MILLIS);
      const store = memoryStore();
      const db = await open({ store, path: "" }, { ...SMALL, clock, compactor: false, garbageCollector: false });
      for (let i = 0; i < (hasJournal ? 600 : 1); i++) {
        await db.put(`key ${i % 150}`, "v".repeat(60), { durable: false });
      }
      await db.flush({ kind: "memtable" });
      const compactor = await openCompactor({ store, path: "" }, { clock, pollIntervalMillis });
      await clock.advance(60_000);
      assert.equal(compactor.status.published > 0, hasJournal);
      const { counted, told } = await restFor(clock, () => compactor.cost());
      assert.deepEqual(told, counted);
      assert.ok(storeSum(told.main) > 0);
      await compactor.close();
      await db.close();
    });
  }
});

describe("dollarsOf", () => {
  it("prices each store by its sheet, requests and bytes", () => {
    const usage: Usage = {
      main: { puts: 1000, gets: 2000, free: 9, bytesWritten: 2 ** 30, bytesRead: 2 ** 31 },
      wal: { puts: 3000, gets: 4000, free: 9, bytesWritten: 2 ** 30, bytesRead: 2 ** 31 },
    };
    near(dollarsOf(usage, S3_STANDARD), 4 * 0.005 + 6 * 0.0004, "one sheet");
    near(dollarsOf(usage, { main: S3_STANDARD }), 4 * 0.005 + 6 * 0.0004, "one sheet for both");
    const log = 3 * 0.00113 + 4 * 0.00003 + 0.0032 + 2 * 0.0006;
    near(dollarsOf(usage, { main: S3_STANDARD, wal: S3_EXPRESS }), 0.005 + 2 * 0.0004 + log, "a sheet each");
    near(dollarsOf({ main: usage.main }, { main: R2, wal: S3_EXPRESS }), 0.0045 + 2 * 0.00036, "no log apart");
  });
});

function storeSum({ puts, gets, free }: StoreUsage): number {
  return puts + gets + free;
}

function usageSum({ main, wal }: Usage): number {
  return storeSum(main) + (wal === undefined ? 0 : storeSum(wal));
}
