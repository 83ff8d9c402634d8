/**
 * Makes counts visible: as Effect metrics, which exporters read, and as plain values.
 *
 * A series is read when somebody looks at the registry, so that counting costs the engine nothing but the counting, and
 * an idle database needs no timer. Several databases that share a registry add up, and what a closed one had counted
 * stays in the sums; whoever wants them apart provides `Metric.CurrentMetricAttributes` when opening.
 *
 * @module
 */
import { Context, Metric } from "effect";
import { DURATION_BOUNDS, Durations } from "./counters.ts";

/** One metric of one database. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** "counter" only rises; "gauge" is a figure of the moment. */
  readonly type: "counter" | "gauge";
  readonly read: () => number;
}

/** Times of one kind of request. */
export interface DurationSeries {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly type: "histogram";
  readonly read: () => Durations;
}

/** A metric as it is now. */
export interface MetricValue {
  /** Such as "slatedb.db.write_ops". */
  readonly name: string;
  /** "counter" counts from the opening on; "gauge" is a figure of the moment; "histogram" is of request times. */
  readonly type: "counter" | "gauge" | "histogram";
  /** Such as `{ op: "get" }`. */
  readonly labels: Readonly<Record<string, string>>;
  /** The count or figure; of a histogram the number of observations. */
  readonly value: number;
  /** Of a histogram: sum, least and greatest observation, and how many were at or below each bound; seconds. */
  readonly histogram?: {
    readonly sum: number;
    readonly min: number;
    readonly max: number;
    readonly buckets: ReadonlyArray<readonly [bound: number, count: number]>;
  };
}

/** A series as it is now. */
export function valueOf(series: Series | DurationSeries): MetricValue {
  const { name, type, labels } = series;
  if (type !== "histogram") return { name, type, labels, value: series.read() };
  const { count, sum, min, max, cumulative } = series.read();
  return {
    name,
    type,
    labels,
    value: count,
    histogram: { sum, min: count === 0 ? 0 : min, max, buckets: cumulative },
  };
}

/** Series of all databases that share a registry, by name, labels and the attributes of the context. */
const SHARED: WeakMap<Metric.MetricRegistry, Map<string, Shared>> = new WeakMap();

/** What the databases of one registry have of one series. */
interface Shared {
  /** Adds a database; answers how to take it away. */
  readonly join: (series: Series | DurationSeries) => () => void;
}

/** The series of one database in the registry of a context. */
export class Publication {
  readonly #context: Context.Context<never>;
  readonly #shared: Map<string, Shared>;
  #leave: Array<() => void> = [];
  #ended = false;

  constructor(context: Context.Context<never>) {
    this.#context = context;
    const registry = Context.get(context, Metric.MetricRegistry);
    let shared = SHARED.get(registry);
    if (shared === undefined) SHARED.set(registry, shared = new Map());
    this.#shared = shared;
  }

  /** Shows a series until `end`. */
  add(series: Series | DurationSeries): void {
    if (this.#ended) return;
    const attributes = Context.get(this.#context, Metric.CurrentMetricAttributes);
    const key = JSON.stringify([series.name, Object.entries(series.labels).sort(), Object.entries(attributes).sort()]);
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      const forget = () => void this.#shared.delete(key);
      shared = series.type === "histogram" ? durations(series, this.#context) : numbers(series, this.#context, forget);
      this.#shared.set(key, shared);
    }
    this.#leave.push(shared.join(series));
  }

  /** Takes the gauges away and leaves the counts in the sums. */
  end(): void {
    this.#ended = true;
    for (const leave of this.#leave.splice(0)) leave();
  }
}

const NO_UPDATES = { update: (): void => {}, modify: (): void => {} };

function numbers(first: Series, context: Context.Context<never>, forget: () => void): Shared {
  const members = new Set<Series>();
  let ended = 0;
  const sum = (): number => [...members].reduce((total, series) => total + series.read(), ended);
  const { name, labels: attributes } = first;
  const isCounter = first.type === "counter";
  const registration = isCounter
    ? Metric.registerUnsafe(Metric.counter(name, { attributes, incremental: true }), context, {
      get: () => ({ count: sum(), incremental: true }),
      ...NO_UPDATES,
    })
    : Metric.registerUnsafe(Metric.gauge(name, { attributes }), context, {
      get: () => ({ value: sum() }),
      ...NO_UPDATES,
    });
  return {
    join: (series) => {
      members.add(series as Series);
      return () => {
        members.delete(series as Series);
        if (isCounter) ended += (series as Series).read();
        else if (members.size === 0) {
          registration.remove();
          forget();
        }
      };
    },
  };
}

function durations(first: DurationSeries, context: Context.Context<never>): Shared {
  const members = new Set<DurationSeries>();
  const ended = new Durations();
  const { name, labels: attributes } = first;
  Metric.registerUnsafe(Metric.histogram(name, { attributes, boundaries: DURATION_BOUNDS }), context, {
    get: () => {
      const all = new Durations();
      all.merge(ended);
      for (const series of members) all.merge(series.read());
      const { count, sum, min, max, cumulative } = all;
      return { buckets: cumulative, count, sum, min: count === 0 ? 0 : min, max };
    },
    ...NO_UPDATES,
  });
  return {
    join: (series) => {
      members.add(series as DurationSeries);
      return () => {
        members.delete(series as DurationSeries);
        ended.merge((series as DurationSeries).read());
      };
    },
  };
}
