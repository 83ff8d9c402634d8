/**
 * Plan mode: what a workload would cost under given settings, computed before anything is built.
 *
 * A synchronous, pure function. Sizes come from the real encoders, compactions from the real scheduler and planner run on
 * numbers, everything else from formulas that each part names. Figures are averages of a steady workload on a store that
 * never fails; `tests/db/cost_plan_test.ts` holds them against counted runs.
 *
 * @module
 */
import type { PricedUsage, PriceSheet, Usage } from "./cost_api.ts";
import { idleReader, idleWriter, MONTH_MILLIS } from "./cost_idle.ts";
import type { CostPlan, PlanOptions, PlanPart, PlanSettings, PlanWorkload } from "./cost_plan_api.ts";
import { planFacts } from "./cost_plan_facts.ts";
import { logPeriod, type LogWorld } from "./cost_plan_log.ts";
import {
  collectionPart,
  compactionPart,
  flushPart,
  logPart,
  manifestPart,
  type PartWorld,
  type RawPart,
  readPart,
  scanPart,
} from "./cost_plan_parts.ts";
import { readerPart } from "./cost_plan_readers.ts";
import { checkSheets, type ResolvedPlan, resolvePlan } from "./cost_plan_settings.ts";
import { tableCosts } from "./cost_plan_tables.ts";
import { WAL_OBJECTS_PER_MEMTABLE } from "../state/writer_state.ts";
import { addUsages, NO_USAGE, PRICE_SHEETS, storageDollars, withDollars } from "./price_sheets.ts";

/**
 * Predicts requests, bytes and dollars of a month.
 *
 * @param settings those of `open` that matter; the defaults are those of `open`
 * @param workload what is written and read, on average
 * @throws InvalidArgument reason "options" for a setting, a figure or a price that is unknown or out of range
 *
 * @example
 * ```ts
 * import { planCost } from "@phyllite/db";
 *
 * const plan = planCost({ maxWalPutsPerSecond: 1 }, { rowsPerSecond: 50, valueBytes: 400, hoursPerDay: 8 });
 * if (!(plan.dollarsPerMonth["S3 Standard"]! < 10)) throw new Error("dearer than it was");
 * ```
 */
export function planCost(settings: PlanSettings, workload: PlanWorkload, options: PlanOptions = {}): CostPlan {
  const plan = resolvePlan(settings, workload);
  const { sheets = PRICE_SHEETS } = options;
  checkSheets(sheets);
  const activeSeconds = MONTH_MILLIS / 1000 * plan.hoursPerDay / 24;
  const world = worldOf(plan, activeSeconds);
  const raw = [...partsOf(world), restPart(plan)].filter(({ usage }) => !isNothing(usage));
  const total = raw.reduce((sum, { usage }) => addUsages(sum, usage), NOTHING(plan));
  const perMonth = withDollars(total, sheets);
  const bytes = storedBytes(world);
  const storage = Object.fromEntries(sheets.map((sheet) => [sheet.name, storageDollars(bytes, sheet)]));
  const figures = figuresOf(world, total);
  return {
    perMonth,
    parts: raw.map((part) => pricedPart(part, perMonth, sheets)),
    stored: { bytes, dollarsPerMonth: storage },
    dollarsPerMonth: Object.fromEntries(
      sheets.map(({ name }) => [name, perMonth.dollars[name]! + storage[name]!]),
    ),
    figures,
    facts: planFacts(world, figures, perMonth, sheets),
  };
}

/** What a stretch of the workload asks, from an empty database on: what a plan's month is made of. */
export function planStretch(
  settings: PlanSettings,
  workload: PlanWorkload,
  seconds: number,
): { readonly total: Usage; readonly parts: ReadonlyArray<RawPart> } {
  const plan = resolvePlan(settings, workload);
  const rest = restPart(plan);
  const usage = addUsages({ main: NO_USAGE }, rest.usage, seconds * 1000 / MONTH_MILLIS);
  const parts = [...partsOf(worldOf(plan, seconds)), { ...rest, usage }];
  return { total: parts.reduce((sum, { usage }) => addUsages(sum, usage), NOTHING(plan)), parts };
}

const NOTHING = ({ wal }: ResolvedPlan): Usage =>
  wal === "apart" ? { main: NO_USAGE, wal: NO_USAGE } : { main: NO_USAGE };

function isNothing({ main, wal = NO_USAGE }: Usage): boolean {
  return main.puts + main.gets + main.free + wal.puts + wal.gets + wal.free === 0;
}

/** A world with how its log comes about. */
export interface PlanWorld extends PartWorld {
  /** Undefined: there is no log, or nothing is written. */
  readonly log: LogWorld | undefined;
  readonly periodMillis: number;
  readonly hitRatio: number;
}

function worldOf(given: ResolvedPlan, seconds: number): PlanWorld {
  const rowsPerSecond = rowsWritten(given);
  const rows = rowsPerSecond * seconds;
  const rowsPerTable = tableRows(given, rowsPerSecond);
  const plan = { ...given, rowsPerTable };
  const tables = tableCosts({ ...plan, rowsPerTable }, rows / rowsPerTable);
  const { flushes, jobs } = tables.costs;
  const commitMillis = flushes === 0 ? Infinity : seconds * 1000 / (flushes + jobs);
  const log: LogWorld | undefined = plan.wal === false || rows === 0
    ? undefined
    : { ...streamOf(plan, rowsPerSecond), commitMillis };
  const periodMillis = log === undefined ? Infinity : logPeriod(log);
  // A full memtable has its rows stored at once, where nobody waits: the timer goes on.
  const early = plan.durable ? 0 : flushes;
  const walPuts = log === undefined ? 0 : seconds * 1000 / periodMillis + early;
  const data = plan.sizes.table(10_000).data / 10_000 * liveRows(plan, rows);
  return {
    plan,
    seconds,
    rows,
    walPuts,
    walObjectBytes: walPuts === 0 ? 0 : plan.sizes.walObject(rows / walPuts),
    tables,
    log,
    periodMillis,
    hitRatio: plan.cacheHitRatio ?? (data === 0 ? 1 : Math.min(1, plan.blockCacheBytes / data)),
  };
}

function streamOf(plan: ResolvedPlan, rowsPerSecond: number): LogWorld {
  return {
    writesPerMilli: rowsPerSecond / plan.rowsPerWrite / 1000,
    isAwaited: plan.durable,
    putMillis: plan.putLatencyMillis,
    flushIntervalMillis: plan.flushIntervalMillis,
    maxWalPutsPerSecond: plan.maxWalPutsPerSecond,
    manifestPollIntervalMillis: plan.manifestPollIntervalMillis,
    commitMillis: Infinity,
  };
}

/** Rows a second, at most what writers that wait can do. */
function rowsWritten(plan: ResolvedPlan): number {
  const { rowsPerSecond, rowsPerWrite, writers, durable, putLatencyMillis, maxWalPutsPerSecond } = plan;
  if (!durable || plan.wal === false) return rowsPerSecond;
  const wait = Math.max(putLatencyMillis, 1000 / maxWalPutsPerSecond);
  return wait === 0 ? rowsPerSecond : Math.min(rowsPerSecond, writers * rowsPerWrite * 1000 / wait);
}

/** Rows of a table of L0: a full memtable's, those of as many objects of the log as a replay may have to read, or without a log those of an interval. */
function tableRows(plan: ResolvedPlan, rowsPerSecond: number): number {
  if (rowsPerSecond === 0) return plan.rowsPerTable;
  if (plan.wal !== false) {
    // A replay is bounded: so many objects of the log make a memtable full, however small it is.
    const period = logPeriod(streamOf(plan, rowsPerSecond));
    return Math.max(1, Math.min(plan.rowsPerTable, WAL_OBJECTS_PER_MEMTABLE * rowsPerSecond * period / 1000));
  }
  const isTimed = Number.isFinite(plan.flushIntervalMillis);
  if (!isTimed && !plan.durable) return plan.rowsPerTable;
  const stream = streamOf(plan, rowsPerSecond);
  const period = logPeriod({ ...stream, isAwaited: !isTimed, putMillis: isTimed ? 0 : stream.putMillis });
  return Math.max(1, Math.min(plan.rowsPerTable, rowsPerSecond * period / 1000));
}

function liveRows({ existingRows, distinctKeys }: ResolvedPlan, rows: number): number {
  return Math.min(distinctKeys, existingRows + rows);
}

function partsOf(world: PlanWorld): RawPart[] {
  return [
    logPart(world),
    flushPart(world),
    compactionPart(world),
    manifestPart(world, world.log, world.periodMillis),
    collectionPart(world),
    readPart(world, world.hitRatio),
    scanPart(world),
    ...world.plan.readers.map((reader) => readerPart(world, reader)),
  ];
}

/** What goes on also where nothing is written or read. */
function restPart({ idlePollMillis, readers, wal }: ResolvedPlan): RawPart {
  const looks = readers.map(({ options, count }) => {
    const idle = idleReader({ ...options, isWalApart: wal === "apart" });
    return addUsages({ main: NO_USAGE }, idle, count);
  });
  const usage = [idleWriter({ idlePollMillis }), ...looks].reduce((a, b) => addUsages(a, b));
  const writer = Number.isFinite(idlePollMillis) ? `every ${idlePollMillis} ms` : "only while it works";
  const every = readers.map(({ options, count }) => `${count} × ${options.manifestPollIntervalMillis} ms`);
  return {
    name: "looking out",
    formula: `the writer looks ${writer}; readers all day: ${every.length === 0 ? "none" : every.join(", ")}`,
    usage,
  };
}

function storedBytes({ plan, tables, walObjectBytes, walPuts, seconds }: PlanWorld): number {
  const flushes = Math.max(1, tables.costs.flushes);
  // Of the log what is not in tables yet: half a memtable's, on average.
  const log = walPuts * walObjectBytes / flushes / (tables.costs.flushes === 0 ? 1 : 2);
  return tables.liveBytes + (plan.wal === false || seconds === 0 ? 0 : log);
}

function figuresOf(world: PlanWorld, total: Usage): CostPlan["figures"] {
  const { plan, rows, seconds, walPuts, tables, hitRatio } = world;
  const userBytes = rows * (plan.keyBytes + plan.valueBytes);
  const written = total.main.bytesWritten + (total.wal?.bytesWritten ?? 0);
  return {
    rowsPerSecond: seconds === 0 ? 0 : rows / seconds,
    walPutsPerSecond: seconds === 0 ? 0 : walPuts / seconds,
    secondsPerTable: rows === 0 ? Infinity : seconds * plan.rowsPerTable / rows,
    sources: tables.sources,
    writeAmplification: userBytes === 0 ? 0 : written / userBytes,
    cacheHitRatio: hitRatio,
  };
}

function pricedPart({ name, formula, usage }: RawPart, total: PricedUsage, sheets: readonly PriceSheet[]): PlanPart {
  const perMonth = withDollars(usage, sheets);
  const share = Object.fromEntries(
    sheets.map((sheet) => {
      const all = total.dollars[sheet.name]!;
      return [sheet.name, all === 0 ? 0 : perMonth.dollars[sheet.name]! / all];
    }),
  );
  return { name, formula, perMonth, share };
}
