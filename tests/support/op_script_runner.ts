/**
 * Runs op-scripts against the public Promise API, step by step.
 *
 * Only `advance` and `setClock` move the clock; between two steps nothing runs but what the step waited for. Every
 * operation knows the fields it understands: a field that an operation would ignore fails the scenario, so that a
 * script can never ask for something and silently not get it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { compactOnce, type CompactorOptions, type DbReader, open, openCompactor, openReader } from "../../mod.ts";
import type { Db, Reads, ScanIterator, Snapshot, WriteResult } from "../../src/db/api.ts";
import type { Transaction } from "../../src/db/transaction_api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { StandaloneCompactor, StandaloneCompactorOptions } from "../../src/db/standalone_compactor.ts";
import { type VirtualClock, virtualClock } from "../../src/env/virtual_clock.ts";
import { type FaultyStore, faultyStore, type LoggedRequest } from "../../src/store/faulty_store.ts";
import { ScriptObjects } from "./op_script_objects.ts";
import { OPERATIONS } from "./op_script_operations.ts";
import type { Json } from "./op_script_schema.ts";
import {
  errorKind,
  instantiate,
  loopCounts,
  MERGE_OPERATORS,
  type Scenario,
  type ScriptSettings,
  type Step,
} from "./op_script_values.ts";
import type { Place } from "./op_script_world.ts";

/**
 * Sizes to run with: the engine's defaults; so small that every script crosses layers; or those with a compactor and a
 * collector at work in the writer, which is idle before each step or in the middle of its work.
 */
export type Sizes = "default" | "tiny" | "compacting";

/** Small enough for several blocks and tables, large enough that one script's rows are not torn to single ones. */
const TINY = { blockSizeBytes: 1024, l0SstSizeBytes: 4096 };
/** The compactors of "compacting" scenarios, in turns. */
const COMPACTORS: readonly CompactorOptions[] = [
  { scheduler: "size-tiered", minCompactionSources: 2, maxSstBytes: 2048 },
  { scheduler: "leveled", minCompactionSources: 2, maxSstBytes: 2048, levelBaseBytes: 4096, levelMultiplier: 2 },
];

/** Something a name stands for. */
type Handle =
  | { readonly kind: "db"; readonly reads: Db; readonly store: FaultyStore }
  | { readonly kind: "reader"; readonly reads: DbReader }
  | { readonly kind: "snapshot"; readonly reads: Snapshot }
  | { readonly kind: "transaction"; readonly reads: Transaction }
  | { readonly kind: "checkpoint"; readonly id: string }
  | { readonly kind: "iterator"; readonly iterator: ScanIterator };

/**
 * Runs one scenario from an empty store. Rejects with the step that went wrong.
 *
 * @param number which scenario of how many it is: decides between equally good ways to run it
 */
export async function runScenario(scenario: Scenario, place: Place, sizes: Sizes, number: number = 0): Promise<void> {
  const run = new ScenarioRun(scenario, place, sizes, number);
  try {
    for (const [at, step] of scenario.steps.entries()) {
      if (step.op !== "each") await run.step(step, `step ${at + 1}`);
      else {
        for (const i of loopCounts(step)) {
          for (const inner of step["do"] as unknown as Step[]) {
            await run.step(instantiate(inner as unknown as Json, i) as unknown as Step, `step ${at + 1}, i = ${i}`);
          }
        }
      }
    }
  } finally {
    await run.end();
  }
}

/** One scenario under way. */
export class ScenarioRun {
  readonly clock: VirtualClock = virtualClock(0);
  readonly objects: ScriptObjects;
  readonly #scenario: Scenario;
  readonly #place: Place;
  readonly #sizes: Sizes;
  readonly #number: number;
  readonly #handles = new Map<string, Handle>();

  constructor(scenario: Scenario, place: Place, sizes: Sizes, number: number) {
    this.#scenario = scenario;
    this.#place = place;
    this.#sizes = sizes;
    this.#number = number;
    this.objects = new ScriptObjects(place.store, place.path, this.clock, sizes === "compacting");
  }

  async step(step: Step, where: string): Promise<void> {
    const { op } = step;
    const known = OPERATIONS[op];
    const label = `${this.#scenario.id}, ${where}: ${JSON.stringify(step).slice(0, 200)}`;
    assert.ok(known !== undefined, `${label}: no interpreter for ${op}`);
    for (const field of Object.keys(step)) {
      const fine = field === "op" || field === "expectError" || known.fields.includes(field);
      assert.ok(fine, `${label}: ${op} does not understand ${field}`);
    }
    const expected = step["expectError"] as string | undefined;
    let failure: unknown;
    try {
      await known.run(this, step);
      // Every other pair of scenarios meets the compactor at rest, the others while it works.
      if (this.#sizes === "compacting" && this.#number % 4 < 2) await this.clock.settle();
    } catch (error) {
      failure = error;
      const found = errorKind(error);
      if (expected !== undefined && found === expected) return;
      const text = error instanceof Error ? error.message : String(error);
      throw new Error(`${label}: ${expected === undefined ? "" : `expected ${expected}, `}${text}`, { cause: error });
    }
    assert.ok(expected === undefined, `${label}: expected ${expected}, but it succeeded (${failure ?? "no error"})`);
  }

  /** Closes what the script left open. */
  async end(): Promise<void> {
    for (const handle of this.#handles.values()) {
      if (handle.kind === "snapshot") handle.reads.release();
      if ((handle.kind === "db" || handle.kind === "reader") && handle.reads.status.closeReason === undefined) {
        await handle.reads.close().catch(() => {});
      }
    }
    this.#place.dispose();
  }

  async open(step: Step): Promise<void> {
    // Every handle has its own way to the store, so that each can die by itself.
    const store = faultyStore(this.#place.store);
    const settings = { ...this.#scenario.settings, ...step["settings"] as ScriptSettings | undefined };
    const options = this.#options(settings, step["memtableBytes"] as number | undefined);
    const reads = await open({ store, path: this.#place.path }, options);
    this.bind((step["as"] ?? "db") as string, { kind: "db", reads, store });
  }

  #options(settings: ScriptSettings, memtableBytes: number | undefined): OpenOptions {
    const tiny = this.#sizes !== "default";
    const compacting = this.#sizes === "compacting";
    const l0SstSizeBytes = settings.l0SstSizeBytes ?? (tiny ? TINY.l0SstSizeBytes : memtableBytes);
    return {
      ...this.#tableOptions(),
      ...(compacting ? {} : { garbageCollector: false as const }),
      compactor: compacting ? COMPACTORS[this.#number % 2]! : false,
      clockToleranceMillis: 0,
      ttl: this.#ttl,
      ...(l0SstSizeBytes === undefined ? {} : { l0SstSizeBytes }),
      ...(settings.flushIntervalMs === undefined ? {} : { flushIntervalMillis: settings.flushIntervalMs }),
      ...(settings.walEnabled === undefined ? {} : { wal: settings.walEnabled }),
      ...(settings.defaultTtlMs === undefined ? {} : { defaultTtlMillis: settings.defaultTtlMs }),
    };
  }

  /** How tables are written, by a writer or by a compactor without one. */
  #tableOptions(): Pick<StandaloneCompactorOptions & OpenOptions, "clock" | "blockSizeBytes" | "mergeOperator"> {
    const { mergeOperator, requires } = this.#scenario;
    return {
      clock: this.clock,
      ...(this.#sizes === "default" ? {} : { blockSizeBytes: TINY.blockSizeBytes }),
      ...(mergeOperator !== undefined
        ? { mergeOperator: MERGE_OPERATORS[mergeOperator]! }
        : requires.includes("merge")
        ? { mergeOperator: "elsewhere" as const }
        : {}),
    };
  }

  get #ttl(): "slatedb" | "strict" {
    return this.#scenario.group === "ttl" ? "slatedb" : "strict";
  }

  async openReader(step: Step): Promise<void> {
    const { checkpoint, skipWalReplay } = step;
    const pinned = checkpoint === undefined ? undefined : this.#handles.get(checkpoint as string);
    assert.ok(checkpoint === undefined || pinned?.kind === "checkpoint", `${checkpoint} is no checkpoint`);
    const operator = this.#scenario.mergeOperator;
    const reads = await openReader({ store: this.#place.store, path: this.#place.path }, {
      clock: this.clock,
      ttl: this.#ttl,
      ...(pinned?.kind === "checkpoint" ? { checkpoint: pinned.id } : {}),
      ...(skipWalReplay === undefined ? {} : { skipWalReplay: skipWalReplay as boolean }),
      ...(operator === undefined ? {} : { mergeOperator: MERGE_OPERATORS[operator]! }),
    });
    this.bind(step["as"] as string, { kind: "reader", reads });
  }

  /**
   * Everything into one run for "major"; the other kinds may be anything: what is due is done by the writer's compactor
   * or by one without a writer, and the writer compacts one half of the keys after the other.
   */
  async compact(step: Step): Promise<void> {
    const { kind = "major" } = step;
    if (kind === "major") return await this.db(step).compact();
    if (kind === "tombstone") {
      await this.db(step).compact({ lt: "key_0050" });
      return await this.db(step).compact({ gte: "key_0050" });
    }
    assert.equal(kind, "minor");
    await this.db(step).flush({ kind: "memtable" });
    await compactOnce({ store: this.#place.store, path: this.#place.path }, {
      ...this.#tableOptions(),
      ...COMPACTORS[this.#number % 2]!,
    });
  }

  /** The process dies, now or inside a flush or compaction that is started for the purpose. */
  async crash(step: Step): Promise<void> {
    const name = (step["on"] ?? "db") as string;
    const handle = this.#handles.get(name);
    assert.ok(handle?.kind === "db", `${name} is no open database`);
    const { controls } = handle.store;
    const at = step["at"] as string | undefined;
    let before = 0;
    if (at !== undefined) {
      await this.clock.settle();
      const compactor = at === "afterCompactionUploadBeforeManifest"
        ? await this.#compactorOf(handle.store)
        : undefined;
      before = controls.requestCount;
      controls.addRules({
        op: "putIfAbsent",
        prefix: `${this.#place.path}/manifest/`,
        fault: { kind: "hang", when: "before" },
      });
      const work = compactor === undefined ? handle.reads.flush({ kind: "memtable" }) : compactor.compact();
      work.catch(() => {});
      await this.clock.settle();
    }
    controls.crash();
    this.#handles.delete(name);
    // Requests that had left before may still land, as they would after a real crash.
    await this.clock.settle();
    if (at === undefined) return;
    assert.equal(controls.struck()["hang"], 1, "there was nothing to store");
    const isUpload = ({ path, outcome }: LoggedRequest) =>
      path.startsWith(`${this.#place.path}/compacted/`) && outcome === "created";
    assert.ok(controls.log.slice(before).some(isUpload), "no table was uploaded");
  }

  /** A compactor in the process of a handle, which knows nothing of its tables and so rewrites all of them. */
  #compactorOf(store: FaultyStore): Promise<StandaloneCompactor> {
    return openCompactor({ store, path: this.#place.path }, this.#tableOptions());
  }

  /** Awaits a write and checks what it returned. */
  async wrote(step: Step, write: Promise<WriteResult>): Promise<void> {
    const { seq, createdAt } = await write;
    if (step["expectSeq"] !== undefined) assert.equal(seq, step["expectSeq"], "sequence number");
    if (step["expectCreateTs"] !== undefined) assert.equal(createdAt, step["expectCreateTs"], "creation time");
  }

  /** A write inside a transaction, if `on` names one; it has no result to check. */
  wroteIn(step: Step, write: (tx: Transaction) => Promise<void>): Promise<void> | undefined {
    const handle = this.#named(step);
    if (handle.kind !== "transaction") return undefined;
    for (const field of ["awaitDurable", "expectSeq", "expectCreateTs"]) {
      assert.equal(step[field], undefined, `a transaction's write has no ${field}`);
    }
    return write(handle.reads);
  }

  bind(name: string, handle: Handle): void {
    this.#handles.set(name, handle);
  }

  db(step: Step): Db {
    const handle = this.#named(step);
    assert.ok(handle.kind === "db", "is no database");
    return handle.reads;
  }

  reader(step: Step): DbReader {
    const handle = this.#named(step);
    assert.ok(handle.kind === "reader", "is no reader");
    return handle.reads;
  }

  /** What has a status and can be closed. */
  closable(step: Step): Db | DbReader {
    const handle = this.#named(step);
    assert.ok(handle.kind === "db" || handle.kind === "reader", "is neither database nor reader");
    return handle.reads;
  }

  transaction(step: Step): Transaction {
    const handle = this.#named(step);
    assert.ok(handle.kind === "transaction", "is no transaction");
    return handle.reads;
  }

  snapshot(step: Step): Snapshot {
    const handle = this.#named(step);
    assert.ok(handle.kind === "snapshot", "is no snapshot");
    return handle.reads;
  }

  reads(step: Step): Reads {
    const handle = this.#named(step);
    assert.ok(handle.kind !== "iterator" && handle.kind !== "checkpoint", "cannot be read");
    return handle.reads;
  }

  iterator(step: Step): ScanIterator {
    const handle = this.#named(step);
    assert.ok(handle.kind === "iterator", "is no iterator");
    return handle.iterator;
  }

  #named(step: Step): Handle {
    const name = (step["on"] ?? "db") as string;
    const handle = this.#handles.get(name);
    assert.ok(handle !== undefined, `nothing is called ${name}`);
    return handle;
  }
}
