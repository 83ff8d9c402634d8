/**
 * One script under way: runs its steps against the public Promise API.
 *
 * Between two steps nothing runs but what a step waited for: writers have no compactor and no collector of their own
 * unless the setup says so. With a virtual clock only `advance` and `setClock` move time.
 *
 * @module
 */
import type { DbReader } from "../../db/admin_api.ts";
import type { Db, DbStatus, MergeFunction, Reads, ScanIterator, Snapshot, TtlMode } from "../../db/api.ts";
import type { CompactorOptions } from "../../db/compactor_options.ts";
import type { OpenOptions } from "../../db/options.ts";
import { open } from "../../db/promise_open.ts";
import { openReader } from "../../db/promise_reader.ts";
import { contextWithClock, Runtime } from "../../db/runtime.ts";
import { compactOnce, openCompactor, type StandaloneCompactor } from "../../db/standalone_compactor.ts";
import type { Transaction } from "../../db/transaction_api.ts";
import type { VirtualClock } from "../../env/virtual_clock.ts";
import type { ObjectStoreShape } from "../../store/object_store.ts";
import { compareBytes } from "../../bytes/compare.ts";
import { demandRoom, jsonChars, LoopFailure } from "./answers.ts";
import { type ChildHandle, type DbHandle, type Handle, Handles, refused } from "./handles.ts";
import { Lifeline } from "./lifeline.ts";
import { OPERATIONS } from "./operations.ts";
import { type ObjectsPlace, StoreObjects } from "./store_objects.ts";
import { type Json, type ScriptSettings, type Step, stepsOf } from "./step_values.ts";

/** Where and how a script is run. */
export interface SessionSetup {
  readonly store: ObjectStoreShape;
  /** Root of the database in the store. */
  readonly root: string;
  /** The store of the log, where it is another one. */
  readonly walStore?: ObjectStoreShape | undefined;
  /** The clock of everything that is opened; the platform's when absent. */
  readonly clock?: VirtualClock | undefined;
  /** Settings of every `open`. */
  readonly settings?: ScriptSettings | undefined;
  /** How merge operands are folded; when absent they are stored unfolded, and reads that meet one fail. */
  readonly mergeOperator?: MergeFunction | undefined;
  readonly ttl?: TtlMode | undefined;
  /** How tables are cut, and what works on them besides the script. */
  readonly tables?: TableSetup | undefined;
}

/** Settings that no answer depends on. */
export interface TableSetup {
  readonly blockSizeBytes?: number;
  /** Instead of what `open` says by `memtableBytes`. */
  readonly l0SstSizeBytes?: number;
  /** The embedded compactor. Default: none. */
  readonly compactor?: CompactorOptions;
  /** Whether the writers collect garbage by themselves. Default false. */
  readonly hasCollector?: boolean;
  /** How `compact` of kind "minor" compacts. */
  readonly minor?: CompactorOptions;
}

/** Compacts as soon as there are two tables, since the script asks for it. */
const MINOR: CompactorOptions = { minCompactionSources: 2 };

/** A script under way. */
export class Session {
  readonly objects: StoreObjects;
  readonly #setup: SessionSetup;
  readonly #handles = new Handles();

  constructor(setup: SessionSetup) {
    this.#setup = setup;
    const place: ObjectsPlace = {
      ...setup,
      runtime: new Runtime(contextWithClock(setup.clock)),
      isCompacting: setup.tables?.compactor !== undefined,
    };
    this.objects = new StoreObjects(place);
  }

  /**
   * Runs a step that has been checked.
   *
   * @returns what stands under `ok` of its answer; of a loop the list of its steps' answers
   * @throws the engine's error; LoopFailure for the first one of a loop, which ends it
   */
  async run(step: Step): Promise<Json> {
    if (step.op !== "each") return await OPERATIONS[step.op]!(this, step);
    const answers: Json[] = [];
    let chars = 0;
    for (const { step: inner, i } of stepsOf(step)) {
      try {
        const ok = await OPERATIONS[inner.op]!(this, inner);
        chars += jsonChars(ok) + '{"ok":},'.length;
        demandRoom(chars);
        answers.push({ ok });
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        throw new LoopFailure(`${inner.op} with i = ${i}: ${text}`, { cause: error });
      }
    }
    return answers;
  }

  /** Calls back after each change of the status of a writer that is open now; answers the function that ends it. */
  onStatus(listener: (status: DbStatus) => void): () => void {
    const unlisten = [...this.#handles.writers()].map((db) => db.onStatus(listener));
    return () => unlisten.forEach((end) => end());
  }

  /** Closes what the script left open. Rejects with the first failure; that a writer was fenced is none. */
  end(): Promise<void> {
    return this.#handles.end();
  }

  async open(step: Step): Promise<void> {
    const name = (step["as"] ?? "db") as string;
    this.#handles.demandRoom(name);
    // Every handle has its own way to the store, so that each can die by itself.
    const life = new Lifeline();
    const store = life.over(this.#setup.store);
    const options = this.#openOptions(step, life);
    const reads = await open({ store, path: this.#setup.root }, options);
    await this.#handles.bind(name, { kind: "db", reads, life, store, hasLog: options.wal !== false });
  }

  #openOptions(step: Step, life: Lifeline): OpenOptions {
    const { clock, walStore, ttl, tables = {} } = this.#setup;
    const settings = { ...this.#setup.settings, ...step["settings"] as ScriptSettings | undefined };
    const { flushIntervalMs, walEnabled, defaultTtlMs, rangeDeletes } = settings;
    const l0SstSizeBytes = settings.l0SstSizeBytes ?? tables.l0SstSizeBytes ?? step["memtableBytes"] as number;
    const wal = walEnabled === false || walStore === undefined ? walEnabled : { store: life.over(walStore) };
    return {
      ...this.#tableOptions(),
      compactor: tables.compactor ?? false,
      ...(tables.hasCollector === true ? {} : { garbageCollector: false }),
      ...(clock === undefined ? {} : { clockToleranceMillis: 0 }),
      ...(ttl === undefined ? {} : { ttl }),
      ...(l0SstSizeBytes === undefined ? {} : { l0SstSizeBytes }),
      ...(flushIntervalMs === undefined ? {} : { flushIntervalMillis: flushIntervalMs }),
      ...(wal === undefined ? {} : { wal }),
      ...(defaultTtlMs === undefined ? {} : { defaultTtlMillis: defaultTtlMs }),
      ...(rangeDeletes === undefined ? {} : { rangeDeletes }),
    };
  }

  /** How tables are written, by a writer or by a compactor without one. */
  #tableOptions(): Pick<OpenOptions, "clock" | "blockSizeBytes" | "mergeOperator"> {
    const { clock, mergeOperator, tables } = this.#setup;
    return {
      mergeOperator: mergeOperator ?? "elsewhere",
      ...(clock === undefined ? {} : { clock }),
      ...(tables?.blockSizeBytes === undefined ? {} : { blockSizeBytes: tables.blockSizeBytes }),
    };
  }

  async openReader(step: Step): Promise<void> {
    const name = step["as"] as string;
    this.#handles.demandRoom(name);
    const { checkpoint, skipWalReplay } = step;
    const { clock, mergeOperator, root, store, ttl, walStore } = this.#setup;
    const pinned = checkpoint === undefined ? undefined : this.#handles.get(checkpoint as string, "checkpoint");
    const life = new Lifeline();
    const reads = await openReader({ store: life.over(store), path: root }, {
      ...(clock === undefined ? {} : { clock }),
      ...(ttl === undefined ? {} : { ttl }),
      ...(mergeOperator === undefined ? {} : { mergeOperator }),
      ...(walStore === undefined ? {} : { wal: { store: life.over(walStore) } }),
      ...(pinned === undefined ? {} : { checkpoint: pinned.id }),
      ...(skipWalReplay === undefined ? {} : { skipWalReplay: skipWalReplay as boolean }),
    });
    await this.#handles.bind(name, { kind: "reader", reads, life });
  }

  /**
   * Everything into one run for "major"; the other kinds may be anything: "minor" is what is due, by a compactor without
   * a writer, and "tombstone" one part of the keys after the other.
   */
  async compact(step: Step): Promise<void> {
    const { kind = "major" } = step;
    const db = this.db(step);
    if (kind === "major") return await db.compact();
    await db.flush({ kind: "memtable" });
    if (kind === "tombstone") {
      const { l0, runs } = await db.tables();
      const first = [...l0, ...runs.flatMap(({ tables }) => tables)].flatMap(({ firstKey }) => firstKey ?? []);
      const middle = first.sort(compareBytes)[first.length >> 1];
      if (middle === undefined) return await db.compact();
      await db.compact({ lt: middle });
      return await db.compact({ gte: middle });
    }
    const minor = this.#setup.tables?.minor ?? MINOR;
    await compactOnce({ store: this.#setup.store, path: this.#setup.root }, { ...this.#tableOptions(), ...minor });
  }

  /** The process of a handle dies, now or inside a flush or compaction that is started for the purpose. */
  async crash(step: Step): Promise<void> {
    const handle = this.#handles.named(step, "db", "reader");
    const at = step["at"] as string | undefined;
    if (at !== undefined) {
      if (handle.kind === "reader") throw refused("a reader stores no tables and cannot crash between them");
      await this.#crashInside(handle, at);
    }
    handle.life.die();
    this.#handles.unbind(handle);
    // Nothing of it reaches the store any more: closing only frees what it held here.
    await handle.reads.close().catch(() => {});
    // Requests that had left before may still land, as they would after a real crash.
    await this.#setup.clock?.settle();
  }

  async #crashInside({ life, reads, store }: DbHandle, at: string): Promise<void> {
    const { clock, root } = this.#setup;
    await clock?.settle();
    // A compactor in the process of the handle, which knows nothing of its tables and so rewrites all of them.
    const compactor: StandaloneCompactor | undefined = at === "afterCompactionUploadBeforeManifest"
      ? await openCompactor({ store, path: root }, this.#tableOptions())
      : undefined;
    const died = life.dieBeforeManifest(root);
    const work = compactor === undefined ? reads.flush({ kind: "memtable" }) : compactor.compact();
    const ended = work.catch((error) => {
      if (!life.isDead) throw error;
    });
    try {
      await Promise.race([died, ended]);
    } finally {
      life.spare();
      await compactor?.close().catch(() => {});
    }
    if (!life.isDead) throw refused("there was nothing to store, so it did not crash");
  }

  /** Binds `as` to something made of the handle that `on` names. */
  async bindChild(step: Step, make: (reads: Reads) => ChildHandle): Promise<void> {
    const name = step["as"] as string;
    this.#handles.demandRoom(name);
    const origin = this.#handles.named(step, "db", "reader", "snapshot", "transaction");
    await this.#handles.bind(name, make(origin.reads), origin);
  }

  /**
   * Waits for a write that has just been called. Without a log it becomes durable by a flush of the memtable, for which
   * the engine would wait until there is more to flush.
   */
  async written<A>(step: Step, write: Promise<A>): Promise<A> {
    const origin = this.#handles.originOf(this.writer(step));
    if (step["awaitDurable"] === false || origin.kind !== "db" || origin.hasLog) return await write;
    const [result] = await Promise.all([write, origin.reads.flush({ kind: "memtable" })]);
    return result;
  }

  db(step: Step): Db {
    return this.#handles.named(step, "db").reads;
  }

  /** What a write goes to. */
  writer(step: Step): Extract<Handle, { readonly kind: "db" | "transaction" }> {
    return this.#handles.named(step, "db", "transaction");
  }

  reader(step: Step): DbReader {
    return this.#handles.named(step, "reader").reads;
  }

  /** A writer or a reader. */
  opened(step: Step): Db | DbReader {
    return this.#handles.named(step, "db", "reader").reads;
  }

  transaction(step: Step): Transaction {
    return this.#handles.named(step, "transaction").reads;
  }

  snapshot(step: Step): Snapshot {
    return this.#handles.named(step, "snapshot").reads;
  }

  reads(step: Step): Reads {
    return this.#handles.named(step, "db", "reader", "snapshot", "transaction").reads;
  }

  iterator(step: Step): ScanIterator {
    return this.#handles.named(step, "iterator").iterator;
  }

  /** The clock, for steps that move it. @throws InvalidArgument without a virtual one */
  movable({ op }: Step): VirtualClock {
    const { clock } = this.#setup;
    if (clock === undefined) throw refused(`${op} moves a virtual clock, and this one is real; use --virtual-clock`);
    return clock;
  }
}
