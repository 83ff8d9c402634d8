/**
 * The few figures that a benchmark may claim: medians, how far samples lie apart, and ratios taken within one round.
 *
 * A shared machine is fast in one minute and slow in the next; a ratio of two samples of the same round is steadier
 * than a ratio of two medians, so all comparisons use the former.
 *
 * @module
 */

/** One process of the side-by-side driver: a contender on a runtime in a round. */
export interface Sample {
  readonly suite: string;
  readonly round: number;
  readonly runtime: string;
  readonly contender: string;
  /** Absent when the process failed or skipped the suite. */
  readonly results?: Readonly<Record<string, unknown>>;
  readonly error?: string;
  readonly skipped?: string;
}

/** Median and half range in percent of it. */
export type Summary = readonly [median: number, spreadPercent: number];

/** Median, smallest and largest of the ratios of the rounds. */
export type Ratio = readonly [median: number, least: number, most: number];

/** What was measured of one case on one runtime. */
export interface CaseResult {
  readonly values: Readonly<Record<string, Summary>>;
  /** Times better than each peer; above 1 is better for us. */
  readonly ratios: Readonly<Record<string, Ratio>>;
}

/** Median of numbers; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median and spread of samples. */
export function summarise(values: readonly number[]): Summary {
  const middle = median(values);
  const halfRange = (Math.max(...values) - Math.min(...values)) / 2;
  return [round(middle), middle === 0 ? 0 : Math.round((halfRange / Math.abs(middle)) * 100)];
}

/** Four significant digits: more would be noise. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** Whether less of this metric is better, by the driver's naming: times, sizes, costs. */
export function lowerIsBetter(metric: string): boolean {
  return /(?:_ms|us|MB|_per_.*|_s|count)$/.test(metric) && !metric.endsWith("MBps");
}

/** Every case of one suite on one runtime: medians of all contenders and our ratios against the others. */
export function casesOf(
  samples: readonly Sample[],
  suite: string,
  runtime: string,
  ours: string,
): Record<string, CaseResult> {
  const mine = samples.filter((sample) => sample.suite === suite && sample.runtime === runtime && sample.results);
  const metrics = new Set(mine.flatMap((sample) => Object.keys(sample.results!)));
  const contenders = [...new Set(mine.map((sample) => sample.contender))];
  const cases: Record<string, CaseResult> = {};
  for (const metric of metrics) {
    const value = (sample: Sample | undefined) => {
      const found = sample?.results?.[metric];
      return typeof found === "number" && Number.isFinite(found) ? found : undefined;
    };
    const values: Record<string, Summary> = {};
    const ratios: Record<string, Ratio> = {};
    for (const contender of contenders) {
      const theirs = mine.filter((sample) => sample.contender === contender);
      const numbers = theirs.map(value).filter((number) => number !== undefined);
      if (numbers.length > 0) values[contender] = summarise(numbers);
      if (contender === ours) continue;
      const pairs = theirs.flatMap((sample) => {
        const their = value(sample);
        const our = value(mine.find((other) => other.contender === ours && other.round === sample.round));
        if (our === undefined || their === undefined || our === 0 || their === 0) return [];
        return [lowerIsBetter(metric) ? their / our : our / their];
      });
      if (pairs.length > 0) {
        ratios[contender] = [round(median(pairs)), round(Math.min(...pairs)), round(Math.max(...pairs))];
      }
    }
    if (Object.keys(values).length > 0) cases[metric] = { values, ratios };
  }
  return cases;
}
