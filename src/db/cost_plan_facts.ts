/**
 * What is worth knowing about a plan, in sentences: which setting costs what.
 *
 * @module
 */
import type { PricedUsage, PriceSheet } from "./cost_api.ts";
import { MONTH_MILLIS } from "./cost_idle.ts";
import type { CostPlan } from "./cost_plan_api.ts";
import type { PlanWorld } from "./cost_plan.ts";

/** Share of the dollars above which something is worth a sentence. */
const NOTABLE = 0.2;

function dollars(value: number): string {
  return value >= 100 ? `$${value.toFixed(0)}` : `$${value.toFixed(2)}`;
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** The facts of a plan, the most important first. */
export function planFacts(
  world: PlanWorld,
  figures: CostPlan["figures"],
  perMonth: PricedUsage,
  sheets: readonly PriceSheet[],
): string[] {
  const [sheet] = sheets;
  if (sheet === undefined) return [];
  const facts: string[] = [];
  const { plan, walPuts, seconds, tables, log } = world;
  const activeHours = `${plan.hoursPerDay} hours a day`;
  if (log !== undefined) {
    const put = sheet.putPer1000 / 1000;
    const asked = plan.rowsPerSecond;
    if (figures.rowsPerSecond < asked * 0.999) {
      facts.push(
        `${plan.writers} writers that wait for each write to be durable write ${
          figure(figures.rowsPerSecond)
        } rows a ` +
          `second, not ${figure(asked)}: more of them at once, larger batches, or durable: false`,
      );
    }
    facts.push(
      `The log is stored ${figure(figures.walPutsPerSecond)} times a second, ${activeHours}: ${
        dollars(walPuts * put)
      } a month ` +
        `on ${sheet.name}. One object a second (maxWalPutsPerSecond: 1) would be ` +
        `${dollars(Math.min(walPuts, seconds) * put)}, and a durable write then waits for up to a second`,
    );
    if (!plan.durable && Number.isFinite(plan.flushIntervalMillis)) {
      facts.push(
        `A crash loses at most ${figure(plan.flushIntervalMillis + plan.putLatencyMillis)} ms of writes that nobody ` +
          "waits for",
      );
    }
  }
  const { costs } = tables;
  const compaction = costs.mergePuts * sheet.putPer1000 / 1000 + costs.mergeGets * sheet.getPer1000 / 1000;
  if (compaction > NOTABLE * perMonth.dollars[sheet.name]!) {
    facts.push(
      `Compaction is ${
        figure(compaction / perMonth.dollars[sheet.name]! * 100)
      } % of the requests' dollars: larger tables ` +
        "(l0SstSizeBytes) make fewer of them",
    );
  }
  if (plan.pointReadsPerSecond > 0 && plan.cacheHitRatio === undefined) {
    facts.push(
      `The block cache holds ${
        figure(figures.cacheHitRatio * 100)
      } % of the data: that part of the reads, if all keys are ` +
        "read alike, costs nothing",
    );
  }
  if (Number.isFinite(plan.idlePollMillis)) {
    const looks = MONTH_MILLIS / plan.idlePollMillis;
    const price = plan.idlePollMillis < 30_000 ? sheet.getPer1000 : sheet.putPer1000;
    facts.push(
      `idlePollMillis costs ${dollars(looks / 1000 * price)} a month; without it a database at rest asks nothing`,
    );
  }
  if (plan.wal !== "apart" && sheet.uploadPerGb !== undefined) {
    facts.push(
      `${sheet.name} charges for every byte moved: a log there and tables elsewhere (wal: "apart") may be cheaper`,
    );
  }
  return facts;
}
