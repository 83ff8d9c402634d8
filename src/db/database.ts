/**
 * An open database below its two faces: engine, reads, shape and cost.
 *
 * @module
 */
import type { MetricValue } from "../env/metrics.ts";
import type { OpenCostReport } from "./api.ts";
import { WriterCheckpoints } from "./checkpoints.ts";
import { CostLedger } from "./cost.ts";
import { idleWriter } from "./cost_idle.ts";
import type { Engine } from "./engine.ts";
import type { EngineMetrics } from "./metrics.ts";
import type { OpenedEngine } from "./open.ts";
import { Reader } from "./reads.ts";
import { SnapshotView } from "./snapshot.ts";
import { OpenTransaction } from "./transaction.ts";
import type { BeginOptions } from "./transaction_api.ts";
import { TreeReport } from "./tree_report.ts";

/** What both faces wrap. */
export class Database {
  readonly engine: Engine;
  readonly reader: Reader;
  readonly checkpoints: WriterCheckpoints;
  /** Shape and estimates of the tree. */
  readonly tree: TreeReport;
  readonly #costs: CostLedger;
  readonly #metrics: EngineMetrics;

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
    this.tree = new TreeReport(opened.engine, this.reader);
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
}
