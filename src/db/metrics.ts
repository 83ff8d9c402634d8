/**
 * The metrics of an open database, under SlateDB's names.
 *
 * Counts come from the counters that the engine adds to and from the request meter; gauges are read when asked for.
 * A kind of request appears when the first one is made.
 *
 * @module
 */
import type { Context } from "effect";
import { Durations, type EngineCounters } from "../env/counters.ts";
import { type DurationSeries, type MetricValue, Publication, type Series, valueOf } from "../env/metrics.ts";
import { ulidMillis } from "../format/ulid.ts";
import type { RunningJob } from "../state/compactor_state.ts";
import type { WriterState } from "../state/writer_state.ts";
import type { RequestKind, StoreMeter } from "../store/metered_store.ts";
import type { Compactor } from "../../tasks/compactor.ts";
import type { GcReport } from "./admin_api.ts";
import type { Runtime } from "./runtime.ts";

type Labels = Readonly<Record<string, string>>;

/** Names of the counts. */
type CountField = { [Name in keyof EngineCounters]: EngineCounters[Name] extends number ? Name : never }[
  keyof EngineCounters
];

const NO_LABELS: Labels = {};

const COUNTERS: ReadonlyArray<readonly [name: string, labels: Labels, ...fields: CountField[]]> = [
  ["slatedb.db.request_count", { op: "get" }, "gets"],
  ["slatedb.db.request_count", { op: "scan" }, "scans"],
  ["slatedb.db.request_count", { op: "flush" }, "flushes"],
  ["slatedb.db.write_ops", NO_LABELS, "writeOps"],
  ["slatedb.db.write_batch_count", NO_LABELS, "writeBatches"],
  ["slatedb.db.backpressure_count", NO_LABELS, "backpressure"],
  ["slatedb.db.immutable_memtable_flushes", NO_LABELS, "memtableFlushes"],
  ["slatedb.db.l0_flush_bytes", NO_LABELS, "l0FlushBytes"],
  ["slatedb.db.wal_buffer_flushes", NO_LABELS, "walFlushes"],
  ["slatedb.db.wal_buffer_flush_requests", NO_LABELS, "walFlushRequests"],
  ["slatedb.db.sst_filter_positive_count", NO_LABELS, "filterPositives", "usualLookups"],
  ["slatedb.db.sst_filter_negative_count", NO_LABELS, "filterNegatives"],
  ["slatedb.db.sst_filter_false_positive_count", NO_LABELS, "filterFalsePositives"],
  ["slatedb.merge_operator_operands", { path: "read" }, "operandsRead"],
  ["slatedb.merge_operator_operands", { path: "flush" }, "operandsFlush"],
  ["slatedb.merge_operator_operands", { path: "compact" }, "operandsCompact"],
  ["slatedb.db_cache.access_count", { entry_kind: "data_block", result: "hit" }, "blockHits", "usualLookups"],
  ["slatedb.db_cache.access_count", { entry_kind: "data_block", result: "miss" }, "blockMisses"],
  ["slatedb.db_cache.access_count", { entry_kind: "index", result: "hit" }, "indexHits", "usualLookups"],
  ["slatedb.db_cache.access_count", { entry_kind: "index", result: "miss" }, "indexMisses"],
  ["slatedb.db_cache.access_count", { entry_kind: "filter", result: "hit" }, "filterHits", "usualLookups"],
  ["slatedb.db_cache.access_count", { entry_kind: "filter", result: "miss" }, "filterMisses"],
  ["slatedb.db_cache.access_count", { entry_kind: "stats", result: "hit" }, "statsHits"],
  ["slatedb.db_cache.access_count", { entry_kind: "stats", result: "miss" }, "statsMisses"],
  ["slatedb.db_cache.error_count", NO_LABELS, "cacheErrors"],
  ["slatedb.compactor.bytes_compacted", NO_LABELS, "compactedBytes"],
  ["slatedb.gc.deleted_count", { resource: "manifest" }, "gcManifests"],
  ["slatedb.gc.deleted_count", { resource: "wal" }, "gcWals"],
  ["slatedb.gc.deleted_count", { resource: "compacted" }, "gcTables"],
  ["slatedb.gc.deleted_count", { resource: "compactions" }, "gcCompactions"],
  ["slatedb.gc.count", NO_LABELS, "gcRuns"],
];

/** What object stores are asked, in SlateDB's words. */
const APIS: ReadonlyArray<readonly [op: string, api: string, kinds: ReadonlyArray<RequestKind>]> = [
  ["get", "get", ["get"]],
  ["get", "get_range", ["getRange"]],
  ["get", "get_ranges", ["getRanges"]],
  ["get", "head", ["head"]],
  ["get", "list", ["list"]],
  ["put", "put", ["put", "putIfAbsent"]],
  ["put", "copy", ["copy"]],
  ["put", "multipart_init", ["upload"]],
  ["put", "multipart_part", ["uploadPart"]],
  ["put", "multipart_complete", ["uploadComplete"]],
  ["delete", "delete", ["delete"]],
  // Ours: many objects with one request.
  ["delete", "delete_many", ["deleteMany"]],
  ["delete", "multipart_abort", ["abort"]],
];

/** Parts of an engine that gauges look at. */
export interface GaugedParts {
  readonly state: WriterState;
  readonly compactor: Compactor;
  readonly runtime: Runtime;
}

/** Figures of the moment. */
export interface MetricGauges {
  /** Bytes in the WAL buffer that are not stored yet. */
  readonly walBufferBytes: () => number;
  /** Bytes in memory that are not in tables yet. */
  readonly unflushedBytes: () => number;
  readonly l0Count: () => number;
  readonly runningCompactions: () => ReadonlyArray<RunningJob>;
  /** Wall clock, ms. */
  readonly now: () => number;
}

/** The gauges of an engine. */
export function gaugesOf({ state, compactor, runtime }: GaugedParts): MetricGauges {
  return {
    walBufferBytes: () => state.wal?.estimatedBytes ?? 0,
    unflushedBytes: () => state.unflushedBytes,
    l0Count: () => state.stored.manifest.l0.length,
    runningCompactions: () => compactor.status.running,
    now: () => runtime.now(),
  };
}

/** Counts what a pass of the collector deleted. */
export function countCollection(counters: EngineCounters, { deleted }: GcReport): void {
  counters.gcRuns++;
  counters.gcManifests += deleted.manifest.length;
  counters.gcWals += deleted.wal.length;
  counters.gcTables += deleted.compacted.length;
  counters.gcCompactions += deleted.compactions.length;
}

/** The metrics of one database. */
export class EngineMetrics {
  readonly #meter: StoreMeter;
  readonly #series: ReadonlyArray<Series>;
  /** Requests by component and api, as they appear. */
  readonly #requests: Map<string, ReadonlyArray<Series | DurationSeries>> = new Map();

  /** @param more series that not every database has */
  constructor(counters: EngineCounters, meter: StoreMeter, gauges: MetricGauges, more: ReadonlyArray<Series> = []) {
    this.#meter = meter;
    this.#series = [
      ...COUNTERS.map(([name, labels, ...fields]): Series => ({
        name,
        labels,
        type: "counter",
        read: () => fields.reduce((sum, field) => sum + counters[field], 0),
      })),
      ...gaugeSeries(counters, gauges),
      ...more,
    ];
  }

  /** All metrics as they are now. */
  values(): MetricValue[] {
    for (const [component, kind] of this.#meter.kinds()) this.#requestSeries(component, kind);
    return [...this.#series, ...[...this.#requests.values()].flat()].map(valueOf);
  }

  /** Shows them in the metric registry of `context`; answers how to end that. */
  publish(context: Context.Context<never>): () => void {
    const publication = new Publication(context);
    for (const series of this.#series) publication.add(series);
    const shown = new Set<unknown>();
    const show = (component: string, kind: RequestKind) => {
      const all = this.#requestSeries(component, kind);
      if (shown.has(all)) return;
      shown.add(all);
      for (const series of all) publication.add(series);
    };
    for (const [component, kind] of this.#meter.kinds()) show(component, kind);
    this.#meter.onKind = show;
    return () => {
      this.#meter.onKind = undefined;
      publication.end();
    };
  }

  #requestSeries(component: string, kind: RequestKind): ReadonlyArray<Series | DurationSeries> {
    const [op, api, kinds] = APIS.find((each) => each[2].includes(kind))!;
    const key = `${component} ${api}`;
    let series = this.#requests.get(key);
    if (series === undefined) {
      series = requestSeries(this.#meter, component, op, api, kinds);
      this.#requests.set(key, series);
    }
    return series;
  }
}

function gaugeSeries(counters: EngineCounters, gauges: MetricGauges): Series[] {
  const gauge = (name: string, read: () => number): Series => ({ name, labels: NO_LABELS, type: "gauge", read });
  const running = (of: (job: RunningJob) => number): number =>
    gauges.runningCompactions().reduce((sum, job) => sum + of(job), 0);
  return [
    gauge("slatedb.db.wal_buffer_estimated_bytes", gauges.walBufferBytes),
    gauge("slatedb.db.total_mem_size_bytes", gauges.unflushedBytes),
    gauge("slatedb.db.l0_sst_count", gauges.l0Count),
    gauge("slatedb.compactor.last_compaction_timestamp_sec", () => counters.lastCompactionSeconds),
    gauge("slatedb.compactor.running_compactions", () => gauges.runningCompactions().length),
    gauge("slatedb.compactor.total_bytes_being_compacted", () => running(({ totalBytes }) => totalBytes)),
    gauge("slatedb.compactor.total_throughput_bytes_per_sec", () => {
      const now = gauges.now();
      return running(({ id, counts }) => counts.bytesIn / Math.max((now - ulidMillis(id)) / 1000, 1));
    }),
  ];
}

function requestSeries(
  meter: StoreMeter,
  component: string,
  op: string,
  api: string,
  kinds: ReadonlyArray<RequestKind>,
): ReadonlyArray<Series | DurationSeries> {
  // The log is the writer's, in whatever store it lies.
  const labels = component === "wal"
    ? { component: "db", store_type: "wal", op, api }
    : { component, store_type: "main", op, api };
  const sum = (of: (kind: RequestKind) => number): number => kinds.reduce((total, kind) => total + of(kind), 0);
  return [
    {
      name: "slatedb.object_store.request_count",
      labels,
      type: "counter",
      read: () => sum((kind) => meter.requestsOf(component, kind)),
    },
    {
      name: "slatedb.object_store.error_count",
      labels,
      type: "counter",
      read: () => sum((kind) => meter.errorsOf(component, kind)),
    },
    {
      name: "slatedb.object_store.request_duration_seconds",
      labels,
      type: "histogram",
      read: () => {
        const all = new Durations();
        for (const kind of kinds) all.merge(meter.durationsOf(component, kind));
        return all;
      },
    },
  ];
}
