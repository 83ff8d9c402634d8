import {
  dollarsOf,
  planCost,
  type PlanSettings,
  type PlanWorkload,
  PRICE_SHEETS,
  S3_EXPRESS,
  S3_STANDARD,
} from "../../mod.ts";
import { planStretch } from "../../src/db/cost_plan.ts";
import { idleReader, MONTH_MILLIS } from "../../src/db/cost_idle.ts";
import { resolveReaderOptions } from "../../src/db/reader_options.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { assert, describe, it } from "../support/suite.ts";
import { CASES } from "./cost_plan_cases.ts";
import { countCase, together } from "./cost_plan_world.ts";

/** How far a prediction may be from what was counted: this part of it, or so many requests or bytes. */
const TOLERANCE = 0.15;
const SLACK = { puts: 8, gets: 12, bytesWritten: 20_000, bytesRead: 20_000 };

const near = (actual: number, expected: number, what: string) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected)),
    `${what}: ${actual}, not ${expected}`,
  );
const STREAM: PlanWorkload = { rowsPerSecond: 1000 };
const STANDARD = S3_STANDARD.name;

describe("planCost, against what is counted in virtual time", () => {
  for (const [name, planCase] of Object.entries(CASES)) {
    it(`predicts ${name} within ${TOLERANCE * 100} %`, async () => {
      const counted = together(await countCase(planCase));
      const planned = together(planStretch(planCase.settings, planCase.workload, planCase.seconds).total);
      for (const field of ["puts", "gets", "bytesWritten", "bytesRead"] as const) {
        const allowed = Math.max(SLACK[field], TOLERANCE * counted[field]);
        assert.ok(
          Math.abs(planned[field] - counted[field]) <= allowed,
          `${field}: planned ${Math.round(planned[field])}, counted ${counted[field]}`,
        );
      }
    });
  }
});

describe("planCost", () => {
  it("adds its parts up, in requests, bytes, dollars and shares", () => {
    for (const wal of [true, false, "apart"] as const) {
      const workload = { ...STREAM, pointReadsPerSecond: 10, scansPerSecond: 1, readers: [{}] };
      const plan = planCost({ wal, idlePollMillis: 60_000 }, workload);
      assert.ok(plan.parts.length >= 7, `${plan.parts.length} parts`);
      assert.equal(plan.perMonth.wal !== undefined, wal === "apart");
      const sum = (of: (part: (typeof plan.parts)[number]) => number) =>
        plan.parts.reduce((total, part) => total + of(part), 0);
      near(sum(({ perMonth }) => together(perMonth).puts), together(plan.perMonth).puts, "PUTs");
      near(sum(({ perMonth }) => together(perMonth).gets), together(plan.perMonth).gets, "GETs");
      near(sum(({ perMonth }) => together(perMonth).bytesWritten), together(plan.perMonth).bytesWritten, "bytes");
      for (const sheet of PRICE_SHEETS) {
        const dollars = plan.perMonth.dollars[sheet.name]!;
        near(sum(({ perMonth }) => perMonth.dollars[sheet.name]!), dollars, sheet.name);
        near(sum(({ share }) => share[sheet.name]!), 1, `shares on ${sheet.name}`);
        near(dollarsOf(plan.perMonth, sheet), dollars, `dollars on ${sheet.name}`);
        near(plan.dollarsPerMonth[sheet.name]!, dollars + plan.stored.dollarsPerMonth[sheet.name]!, "with storage");
      }
      for (const part of plan.parts) {
        assert.ok(part.formula.length > 10 && !/NaN|Infinity|undefined/.test(part.formula));
      }
    }
  });

  it("prices a log of its own by a sheet of its own", () => {
    const plan = planCost({ wal: "apart" }, STREAM);
    const log = plan.parts.find(({ name }) => name === "log")!.perMonth;
    assert.equal(log.main.puts, 0);
    const mixed = dollarsOf(plan.perMonth, { main: S3_STANDARD, wal: S3_EXPRESS });
    const saved = log.wal!.puts / 1000 * (S3_STANDARD.putPer1000 - S3_EXPRESS.putPer1000) -
      log.wal!.bytesWritten / 2 ** 30 * S3_EXPRESS.uploadPerGb!;
    near(mixed, plan.perMonth.dollars[STANDARD]! - saved, "S3 Express for the log");
  });

  it("asks nothing where nothing is done, but for looks that were asked for", () => {
    const nothing = planCost({}, { rowsPerSecond: 0 });
    assert.equal(together(nothing.perMonth).puts + together(nothing.perMonth).gets, 0);
    assert.deepEqual(nothing.parts, []);
    assert.equal(nothing.dollarsPerMonth[STANDARD], 0);
    const looking = planCost({ idlePollMillis: 5000 }, { rowsPerSecond: 0 });
    assert.equal(looking.perMonth.main.gets, MONTH_MILLIS / 5000);
    const read = planCost({}, { rowsPerSecond: 0, readers: [{ mode: "follow", count: 3 }] });
    const one = idleReader({ ...resolveReaderOptions({ mode: "follow" }), isWalApart: false });
    assert.equal(read.perMonth.main.gets, 3 * one.main.gets);
  });

  it("charges for the hours in which there is something to do", () => {
    const settings: PlanSettings = { l0SstSizeBytes: 1 << 20, compactor: false, garbageCollector: false };
    const [all, half] = [24, 12].map((hoursPerDay) =>
      planCost(settings, { ...STREAM, rowsPerSecond: 100, hoursPerDay })
    );
    const log = (plan: typeof all) => plan!.parts.find(({ name }) => name === "log")!.perMonth.main.puts;
    near(log(all), 2 * log(half), "the log");
    assert.equal(planCost(settings, { ...STREAM, hoursPerDay: 0 }).perMonth.main.puts, 0);
  });

  it("knows what the window of the log costs, and a ceiling on it", () => {
    const puts = (settings: PlanSettings, workload: Partial<PlanWorkload> = {}) =>
      planCost(settings, { ...STREAM, putLatencyMillis: 50, ...workload }).figures.walPutsPerSecond;
    near(puts({}), 20, "awaited: one after the other");
    near(puts({ maxWalPutsPerSecond: 2 }), 2, "a ceiling");
    assert.ok(Math.abs(puts({}, { durable: false }) - 1000 / 150) < 0.1, "not awaited: window and PUT");
    assert.ok(Math.abs(puts({ flushIntervalMillis: 950 }, { durable: false }) - 1) < 0.1, "a longer window");
    near(puts({ wal: false }), 0, "no log");
    near(puts({}, { rowsPerSecond: 3 }), 3, "fewer writes than the store could take");
    const { facts } = planCost({}, STREAM);
    assert.match(facts.join("\n"), /stored 33.3 times a second, 24 hours a day: \$432 a month on S3 Standard/);
    assert.match(facts.join("\n"), /maxWalPutsPerSecond: 1\) would be \$12.96/);
  });

  it("says when the writers that wait cannot write so much", () => {
    const { figures, facts } = planCost({}, { rowsPerSecond: 1000, writers: 2, putLatencyMillis: 100 });
    near(figures.rowsPerSecond, 20, "two writers at 100 ms");
    assert.match(facts[0]!, /2 writers .* write 20 rows a second, not 1000/);
    near(planCost({}, { rowsPerSecond: 1000, writers: 2, durable: false }).figures.rowsPerSecond, 1000, "not waiting");
  });

  it("stores each key once when the same keys are written over and over", () => {
    const rows = 100_000;
    const fixed = planCost({ l0SstSizeBytes: 4 << 20 }, { ...STREAM, distinctKeys: rows, hoursPerDay: 1 });
    const growing = planCost({ l0SstSizeBytes: 4 << 20 }, { ...STREAM, hoursPerDay: 1 });
    assert.ok(fixed.stored.bytes > rows * 116 && fixed.stored.bytes < rows * 116 * 4, `${fixed.stored.bytes} bytes`);
    assert.ok(
      growing.stored.bytes > 108e6 * 116 && growing.stored.bytes < 108e6 * 160,
      `${growing.stored.bytes} bytes`,
    );
    assert.ok(fixed.figures.writeAmplification < growing.figures.writeAmplification);
  });

  it("derives hits from the cache and the data", () => {
    const plan = (existingRows: number, blockCacheBytes?: number) =>
      planCost(blockCacheBytes === undefined ? {} : { blockCacheBytes }, {
        rowsPerSecond: 0,
        existingRows,
        pointReadsPerSecond: 10,
      });
    assert.equal(plan(1000).figures.cacheHitRatio, 1);
    assert.equal(plan(1000, 0).figures.cacheHitRatio, 0);
    const half = plan(1e7, 7e8).figures.cacheHitRatio;
    assert.ok(half > 0.4 && half < 0.6, `${half}`);
    assert.ok(Math.abs(plan(1e7, 0).perMonth.main.gets / (10 * MONTH_MILLIS / 1000) - 1) < 0.01, "1 GET per read");
  });

  it("goes on beyond what it goes through table by table", () => {
    const settings: PlanSettings = {
      l0SstSizeBytes: 1 << 16,
      compactor: { maxSstBytes: 1 << 20 },
      garbageCollector: false,
    };
    const cost = (seconds: number) => {
      const { total } = planStretch(settings, { rowsPerSecond: 2000, durable: false }, seconds);
      return together(total).bytesWritten;
    };
    // About 4.5 tables a second: 230 s are within, 900 s are beyond.
    const rate = (cost(900) - cost(230)) / (900 - 230);
    const before = (cost(230) - cost(58)) / (230 - 58);
    assert.ok(rate > before && rate < before * 1.5, `${rate} after ${before}`);
  });

  it("is a pure function", () => {
    const settings = Object.freeze({ compactor: Object.freeze({ scheduler: "leveled" as const }) });
    const workload = Object.freeze({ ...STREAM, hoursPerDay: 2 });
    assert.deepEqual(planCost(settings, workload), planCost(settings, workload));
  });

  it("takes sheets of one's own", () => {
    const own = { name: "ours", source: "the bill of June", putPer1000: 1, getPer1000: 0, storagePerGbMonth: 2 };
    const plan = planCost({}, STREAM, { sheets: [own] });
    near(plan.dollarsPerMonth["ours"]!, plan.perMonth.main.puts / 1000 + plan.stored.bytes / 2 ** 30 * 2, "dollars");
    assert.deepEqual(Object.keys(plan.perMonth.dollars), ["ours"]);
    assert.match(plan.facts[0]!, /on ours/);
  });

  it("refuses what open would refuse, and figures that make no sense, naming the field", () => {
    const refusals: Array<[settings: unknown, workload: unknown, message: RegExp]> = [
      [{ flushIntervalMilis: 5 }, STREAM, /unknown setting flushIntervalMilis; known are flushIntervalMillis/],
      [{ l0SstSizeBytes: -1 }, STREAM, /Cannot plan: .*l0SstSizeBytes/],
      [{ compactor: { minCompactionSources: 1 } }, STREAM, /minCompactionSources/],
      [{ compactor: { sources: 1 } }, STREAM, /compactor\.sources/],
      [{ garbageCollector: { minAgeMillis: 5 } }, STREAM, /minAgeMillis/],
      [{ wal: "elsewhere" }, STREAM, /wal: give true, false, or "apart"/],
      [null, STREAM, /settings: give an object/],
      [{}, null, /workload: give an object/],
      [{}, {}, /rowsPerSecond/],
      [{}, { rowsPerSecond: -1 }, /rowsPerSecond/],
      [{}, { rowsPerSecond: NaN }, /rowsPerSecond/],
      [{}, { ...STREAM, valueByte: 5 }, /unknown field valueByte of the workload/],
      [{}, { ...STREAM, keyBytes: 0 }, /keyBytes/],
      [{}, { ...STREAM, cacheHitRatio: 1.1 }, /cacheHitRatio/],
      [{}, { ...STREAM, hoursPerDay: 25 }, /hoursPerDay/],
      [{}, { ...STREAM, readers: [{ mode: "pinned" }] }, /readers/],
      [{}, { ...STREAM, readers: [{ checkpointLifetimeMillis: 5000 }] }, /checkpointLifetimeMillis/],
    ];
    for (const [settings, workload, message] of refusals) {
      assert.throws(
        () => planCost(settings as PlanSettings, workload as PlanWorkload),
        (error) => error instanceof InvalidArgument && error.reason === "options" && message.test(error.message),
        `${JSON.stringify(settings)} ${JSON.stringify(workload)}`,
      );
    }
  });

  it("takes the extremes", () => {
    const extremes: Array<[PlanSettings, PlanWorkload]> = [
      [{}, { rowsPerSecond: 1e6, keyBytes: 1, valueBytes: 0, durable: false }],
      [{}, { rowsPerSecond: 0.0001, valueBytes: 512 * 1024 * 1024 - 20, keyBytes: 16 }],
      [{ l0SstSizeBytes: 1 }, { rowsPerSecond: 10, durable: false }],
      [{ flushIntervalMillis: null }, { rowsPerSecond: 10, durable: false }],
      [{ wal: false, flushIntervalMillis: null }, { rowsPerSecond: 10 }],
      [{ flushIntervalMillis: 0 }, { rowsPerSecond: 10, durable: false, putLatencyMillis: 0 }],
      [{}, { rowsPerSecond: 10, putLatencyMillis: 0, distinctKeys: 1 }],
      [{ compactor: { scheduler: "leveled" } }, { rowsPerSecond: 50_000, durable: false, keys: "ascending" }],
      [{ filterBitsPerKey: 0, minFilterKeys: 0 }, { rowsPerSecond: 0, existingRows: 1e9, pointReadsPerSecond: 5 }],
    ];
    for (const [settings, workload] of extremes) {
      const plan = planCost(settings, workload);
      const text = JSON.stringify(plan);
      assert.ok(!/NaN|undefined/.test(text), text);
      for (const value of [plan.perMonth.main, ...plan.parts.map((part) => part.perMonth.main)]) {
        for (const [field, n] of Object.entries(value)) assert.ok(Number.isFinite(n) && n >= 0, `${field} ${n}`);
      }
    }
  });
});
