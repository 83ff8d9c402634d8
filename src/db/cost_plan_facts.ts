/**
 * What is worth knowing about a plan, in sentences: which setting costs what.
 *
 * @module
 */
import { FRESH_MILLIS } from "../state/numbered_versions.ts";
import type { PricedUsage, PriceSheet } from "./cost_api.ts";
import { MONTH_MILLIS } from "./cost_idle.ts";
import type { CostPlan } from "./cost_plan_api.ts";
import type { PlanWorld } from "./cost_plan.ts";

/** Share of the dollars above which something is worth a sentence. */
const NOTABLE = 0.2;

function dollarText(value: number): string {
  return value >= 100 ? `$${value.toFixed(0)}` : `$${value.toFixed(2)}`;
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** The facts of a plan, the most important first; dollars are those of the first sheet. */
export function planFacts(
  world: PlanWorld,
  figures: CostPlan["figures"],
  perMonth: PricedUsage,
  sheets: readonly PriceSheet[],
): string[] {
  const [sheet] = sheets;
  if (sheet === undefined) return [];
  const total = perMonth.dollars[sheet.name]!;
  return [
    ...logFacts(world, figures, sheet),
    ...compactionFacts(world, total, sheet),
    ...otherFacts(world, figures, sheet),
  ];
}

function logFacts(
  { plan, walPuts, seconds, log }: PlanWorld,
  figures: CostPlan["figures"],
  sheet: PriceSheet,
): string[] {
  if (log === undefined) return [];
  const facts: string[] = [];
  const put = sheet.putPer1000 / 1000;
  if (figures.rowsPerSecond < plan.rowsPerSecond * 0.999) {
    const [really, wanted] = [figure(figures.rowsPerSecond), figure(plan.rowsPerSecond)];
    facts.push(
      `${plan.writers} writers that wait for each write to be durable write ${really} rows a second, not ${wanted}: ` +
        "take more of them at once, larger batches, or durable: false",
    );
  }
  const [rate, price] = [figure(figures.walPutsPerSecond), dollarText(walPuts * put)];
  const isAbove = walPuts > seconds * (1 + 1e-9);
  const cheaper = !isAbove
    ? ""
    : `. One object a second (maxWalPutsPerSecond: 1) would be ${dollarText(seconds * put)}, ` +
      "and a durable write then waits for up to a second";
  facts.push(
    `The log is stored ${rate} times a second, ${plan.hoursPerDay} hours a day: ${price} a month on ${sheet.name}${cheaper}`,
  );
  const window = Math.max(plan.flushIntervalMillis, 1000 / plan.maxWalPutsPerSecond) + plan.putLatencyMillis;
  if (!plan.durable && Number.isFinite(window)) {
    facts.push(`A crash loses about ${figure(window)} ms of writes that nobody waits for, at most`);
  }
  return facts;
}

function compactionFacts({ tables: { costs } }: PlanWorld, total: number, sheet: PriceSheet): string[] {
  const part = (costs.mergePuts * sheet.putPer1000 + costs.mergeGets * sheet.getPer1000) / 1000 / total;
  if (!(part > NOTABLE)) return [];
  const percent = figure(part * 100);
  return [
    `Compaction is ${percent} % of the requests' dollars: larger tables (l0SstSizeBytes) make fewer of them`,
  ];
}

function otherFacts({ plan }: PlanWorld, figures: CostPlan["figures"], sheet: PriceSheet): string[] {
  const facts: string[] = [];
  if (plan.pointReadsPerSecond > 0 && plan.cacheHitRatio === undefined) {
    const percent = figure(figures.cacheHitRatio * 100);
    facts.push(
      `The block cache holds ${percent} % of the data: that part of the reads, if all keys are read alike, costs nothing`,
    );
  }
  if (Number.isFinite(plan.idlePollMillis)) {
    const price = plan.idlePollMillis < FRESH_MILLIS ? sheet.getPer1000 : sheet.putPer1000;
    const looks = dollarText(MONTH_MILLIS / plan.idlePollMillis / 1000 * price);
    facts.push(`idlePollMillis costs ${looks} a month; without it a database at rest asks nothing`);
  }
  if (plan.wal === true && sheet.uploadPerGb !== undefined) {
    facts.push(
      `${sheet.name} charges for every byte moved: a log there and tables elsewhere (wal: "apart") may be cheaper`,
    );
  }
  return facts;
}
