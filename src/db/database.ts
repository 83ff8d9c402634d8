/**
 * An open database below its two faces: engine, reads, shape and cost.
 *
 * @module
 */
import { Effect } from "effect";
import type { MetricValue } from "../env/metrics.ts";
import type { DbError } from "../errors.ts";
import type { SstStats } from "../format/sst_tables.ts";
import type { SstView } from "../format/types.ts";
import { rangeDeletionsOf, readStats, rowsOf, tableBytes } from "../lsm/table_stats.ts";
import type { LsmShape, OpenCostReport, TableShape } from "./api.ts";
import { WriterCheckpoints } from "./checkpoints.ts";
import { CostLedger } from "./cost.ts";
import { idleWriter } from "./cost_idle.ts";
import type { Engine } from "./engine.ts";
import type { EngineMetrics } from "./metrics.ts";
import type { OpenedEngine } from "./open.ts";
import { Reader, surfaced } from "./reads.ts";
import { SnapshotView } from "./snapshot.ts";
import { OpenTransaction } from "./transaction.ts";
import type { BeginOptions } from "./transaction_api.ts";

/** Tables whose statistics are read at once. */
const STATS_READS = 8;

/** What both faces wrap. */
export class Database {
  readonly engine: Engine;
  readonly reader: Reader;
  readonly checkpoints: WriterCheckpoints;
  readonly #costs: CostLedger;
  readonly #metrics: EngineMetrics;
  readonly #stats = new Map<string, SstStats>();

  constructor(opened: OpenedEngine) {
    this.engine = opened.engine;
    const { options, runtime, tables } = opened.engine.parts;
    this.#costs = new CostLedger({
      stores: opened.stores,
      component: "db",
      counters: tables.counters,
      now: () => runtime.now(),
      isWriter: true,
      idle: () => idleWriter(options),
    });
    this.#metrics = opened.metrics;
    this.checkpoints = new WriterCheckpoints(opened.engine);
    const { sequencer } = opened.engine.parts.state;
    this.reader = new Reader(opened.engine.readHost, {
      maxSeq: (durability) => durability === "durable" ? sequencer.durableSeq : sequencer.lastSeq,
      assertUsable: () => opened.engine.assertOpen(),
    });
  }

  /** Takes a snapshot now. @throws Closed */
  snapshot(): SnapshotView {
    this.engine.assertOpen();
    return new SnapshotView(this.engine);
  }

  /** Begins a transaction now. @throws Closed, InvalidArgument for bad options */
  begin(options?: BeginOptions): OpenTransaction {
    this.engine.assertOpen();
    return new OpenTransaction(this, options);
  }

  /** All metrics as they are now. */
  metrics(): MetricValue[] {
    return this.#metrics.values();
  }

  /** Requests made so far, what they would cost, and what operations and rest do. */
  cost(): OpenCostReport {
    return this.#costs.report();
  }

  /** The LSM tree's shape; reads the statistics of tables it has not met before. */
  readonly tables: Effect.Effect<LsmShape, DbError> = Effect.suspend(() => {
    this.engine.assertOpen();
    return surfaced(this.reader.bounded(this.#shape));
  }).pipe(surfaced);

  readonly #shape: Effect.Effect<LsmShape, unknown> = Effect.suspend(() => {
    const { state } = this.engine.parts;
    const { manifest } = state.stored;
    const views = [...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)];
    const known = new Set(views.map((view) => view.sstId));
    for (const id of this.#stats.keys()) if (!known.has(id)) this.#stats.delete(id);
    const read = Effect.forEach(views, (view) => this.#readStats(view), { concurrency: STATS_READS, discard: true });
    return Effect.map(read, () => ({
      l0: manifest.l0.map((view) => this.#tableShape(view, "L0")),
      runs: manifest.compacted.map((run) => ({
        id: run.id,
        tables: run.ssts.map((view) => this.#tableShape(view, run.id)),
      })),
      memtableBytes: state.active.sizeBytes,
      frozenMemtables: state.frozen.length,
    }));
  });

  #tableShape(view: SstView, level: "L0" | number): TableShape {
    const stats = this.#stats.get(view.sstId);
    const { info } = view;
    const entries = stats === undefined ? 0 : rowsOf(stats);
    const pointDeletions = stats?.numDeletes ?? 0;
    const rangeDeletions = rangeDeletionsOf(info);
    return {
      id: view.sstId,
      bytes: tableBytes(info),
      firstKey: info.firstEntry,
      lastKey: info.lastEntry,
      level,
      formatVersion: view.formatVersion,
      filterPresent: info.filterLen > 0,
      entries,
      pointDeletions,
      rangeDeletions,
      numEntries: entries + rangeDeletions,
      numDeletions: pointDeletions + rangeDeletions,
      numRangeKeySets: 0,
    };
  }

  #readStats(view: SstView): Effect.Effect<void, unknown> {
    const { tables, store } = this.engine.parts;
    if (this.#stats.has(view.sstId)) {
      tables.counters.statsHits++;
      return Effect.void;
    }
    tables.counters.statsMisses++;
    return Effect.map(readStats(store, tables.table(view)), (stats) => {
      if (stats !== undefined) this.#stats.set(view.sstId, stats);
    });
  }
}
