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
import { hex } from "./bytes.ts";
import { open, WriteBatch } from "../../mod.ts";
import type {
  Db,
  KeyRange,
  Reads,
  Scan,
  ScanIterator,
  ScanOptions,
  Snapshot,
  Ttl,
  WriteResult,
} from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { type VirtualClock, virtualClock } from "../../src/env/virtual_clock.ts";
import { type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import type { Json } from "./op_script_schema.ts";
import {
  bytesOf,
  errorKind,
  expectedPairs,
  instantiate,
  loopCounts,
  MERGE_OPERATORS,
  type Scenario,
  type ScriptSettings,
  type Step,
} from "./op_script_values.ts";
import type { Place } from "./op_script_world.ts";

/** Sizes to run with: the engine's defaults, or so small that every script crosses layers. */
export type Sizes = "default" | "tiny";

/** Small enough for several blocks and tables, large enough that one script's rows are not torn to single ones. */
const TINY = { blockSizeBytes: 1024, l0SstSizeBytes: 4096 };
const PATH = "db";

/** Something a name stands for. */
type Handle =
  | { readonly kind: "db"; readonly reads: Db; readonly store: FaultyStore }
  | { readonly kind: "snapshot"; readonly reads: Snapshot }
  | { readonly kind: "iterator"; readonly iterator: ScanIterator };

/** Runs one scenario from an empty store. Rejects with the step that went wrong. */
export async function runScenario(scenario: Scenario, place: Place, sizes: Sizes): Promise<void> {
  const run = new ScenarioRun(scenario, place, sizes);
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

/** How an operation is interpreted, and which fields it understands besides `op` and `expectError`. */
interface Operation {
  readonly fields: readonly string[];
  readonly run: (self: ScenarioRun, step: Step) => Promise<void>;
}

const operation = (fields: string, run: Operation["run"]): Operation => ({ fields: fields.split(" "), run });
const WRITE_FIELDS = "on awaitDurable expectSeq expectCreateTs";
const RANGE_FIELDS = "on from to fromInclusive toInclusive prefix order durability";

const OPERATIONS: Readonly<Record<string, Operation>> = {
  open: operation("as settings memtableBytes", (self, step) => self.open(step)),
  close: operation("on", (self, step) => self.db(step).close()),
  crash: operation("on at", (self, step) => self.crash(step)),
  put: operation(
    `key value ttl ${WRITE_FIELDS}`,
    (self, step) =>
      self.wrote(step, self.db(step).put(bytesOf(step["key"]!), bytesOf(step["value"]!), writeOptions(step))),
  ),
  merge: operation(
    `key value ttl ${WRITE_FIELDS}`,
    (self, step) =>
      self.wrote(step, self.db(step).merge(bytesOf(step["key"]!), bytesOf(step["value"]!), writeOptions(step))),
  ),
  delete: operation(
    `key ${WRITE_FIELDS}`,
    (self, step) => self.wrote(step, self.db(step).delete(bytesOf(step["key"]!), writeOptions(step))),
  ),
  write: operation(
    `ops ${WRITE_FIELDS}`,
    (self, step) =>
      self.wrote(step, self.db(step).write(batchOf(step["ops"] as unknown as Step[]), writeOptions(step))),
  ),
  get: operation("on key durability expect", async (self, step) => {
    const value = await self.reads(step).get(bytesOf(step["key"]!), readOptions(step));
    assert.equal(
      value === undefined ? null : hex(value),
      step["expect"] === null ? null : hex(bytesOf(step["expect"]!)),
    );
  }),
  getKeyValue: operation("on key expect", (self, step) => checkEntry(self.reads(step), step)),
  scan: operation(`${RANGE_FIELDS} limit expect`, async (self, step) => {
    assert.deepEqual(
      await rowsOf(scanOf(self.reads(step), step), step["limit"] as number | undefined),
      expectedPairs(step["expect"]!),
    );
  }),
  iter: operation(`${RANGE_FIELDS} as`, (self, step) => {
    self.bind(step["as"] as string, { kind: "iterator", iterator: scanOf(self.reads(step), step).iterator() });
    return Promise.resolve();
  }),
  next: operation("on expect", async (self, step) => {
    const row = await self.iterator(step).next();
    const expected = step["expect"] === null ? undefined : expectedPairs([step["expect"]!])[0];
    assert.deepEqual(row === undefined ? undefined : [hex(row.key), hex(row.value)], expected);
  }),
  seek: operation("on key", (self, step) => self.iterator(step).seek(bytesOf(step["key"]!))),
  snapshot: operation("on as", async (self, step) => {
    self.bind(step["as"] as string, { kind: "snapshot", reads: await self.db(step).snapshot() });
  }),
  release: operation("on", (self, step) => {
    self.snapshot(step).release();
    return Promise.resolve();
  }),
  flush: operation("on kind", (self, step) => self.db(step).flush({ kind: step["kind"] as "wal" | "memtable" })),
  advance: operation("ms", (self, step) => self.clock.advance(step["ms"] as number)),
  setClock: operation("ms", (self, step) => self.clock.set(step["ms"] as number)),
  status: operation("on expect", (self, step) => {
    const reason = self.db(step).status.closeReason;
    const { closeReason } = step["expect"] as { readonly closeReason: string | null };
    assert.equal(reason ?? null, closeReason?.toLowerCase() ?? null);
    return Promise.resolve();
  }),
};

/** One scenario under way. */
class ScenarioRun {
  readonly clock: VirtualClock = virtualClock(0);
  readonly #scenario: Scenario;
  readonly #place: Place;
  readonly #sizes: Sizes;
  readonly #handles = new Map<string, Handle>();

  constructor(scenario: Scenario, place: Place, sizes: Sizes) {
    this.#scenario = scenario;
    this.#place = place;
    this.#sizes = sizes;
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
      if (handle.kind === "db" && handle.reads.status.closeReason === undefined) {
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
    const reads = await open({ store, path: PATH }, options);
    this.bind((step["as"] ?? "db") as string, { kind: "db", reads, store });
  }

  #options(settings: ScriptSettings, memtableBytes: number | undefined): OpenOptions {
    const { group, mergeOperator, requires } = this.#scenario;
    const tiny = this.#sizes === "tiny";
    const l0SstSizeBytes = settings.l0SstSizeBytes ?? (tiny ? TINY.l0SstSizeBytes : memtableBytes);
    return {
      clock: this.clock,
      clockToleranceMillis: 0,
      compactor: false,
      garbageCollector: false,
      ttl: group === "ttl" ? "slatedb" : "strict",
      ...(tiny ? { blockSizeBytes: TINY.blockSizeBytes } : {}),
      ...(l0SstSizeBytes === undefined ? {} : { l0SstSizeBytes }),
      ...(settings.flushIntervalMs === undefined ? {} : { flushIntervalMillis: settings.flushIntervalMs }),
      ...(settings.walEnabled === undefined ? {} : { wal: settings.walEnabled }),
      ...(settings.defaultTtlMs === undefined ? {} : { defaultTtlMillis: settings.defaultTtlMs }),
      ...(mergeOperator !== undefined
        ? { mergeOperator: MERGE_OPERATORS[mergeOperator]! }
        : requires.includes("merge")
        ? { mergeOperator: "elsewhere" as const }
        : {}),
    };
  }

  /** The process dies, now or inside a flush that is started for the purpose. */
  async crash(step: Step): Promise<void> {
    const name = (step["on"] ?? "db") as string;
    const handle = this.#handles.get(name);
    assert.ok(handle?.kind === "db", `${name} is no open database`);
    const { controls } = handle.store;
    if (step["at"] !== undefined) {
      assert.equal(step["at"], "afterTableUploadBeforeManifest", "no way to crash there");
      controls.addRules({ op: "putIfAbsent", prefix: `${PATH}/manifest/`, fault: { kind: "hang", when: "before" } });
      handle.reads.flush({ kind: "memtable" }).catch(() => {});
      await this.clock.settle();
      assert.equal(controls.struck()["hang"], 1, "the flush had nothing to store");
    }
    controls.crash();
    this.#handles.delete(name);
    // Requests that had left before may still land, as they would after a real crash.
    await this.clock.settle();
  }

  /** Awaits a write and checks what it returned. */
  async wrote(step: Step, write: Promise<WriteResult>): Promise<void> {
    const { seq, createdAt } = await write;
    if (step["expectSeq"] !== undefined) assert.equal(seq, step["expectSeq"], "sequence number");
    if (step["expectCreateTs"] !== undefined) assert.equal(createdAt, step["expectCreateTs"], "creation time");
  }

  bind(name: string, handle: Handle): void {
    this.#handles.set(name, handle);
  }

  db(step: Step): Db {
    const handle = this.#named(step);
    assert.ok(handle.kind === "db", "is no database");
    return handle.reads;
  }

  snapshot(step: Step): Snapshot {
    const handle = this.#named(step);
    assert.ok(handle.kind === "snapshot", "is no snapshot");
    return handle.reads;
  }

  reads(step: Step): Reads {
    const handle = this.#named(step);
    assert.ok(handle.kind !== "iterator", "is an iterator");
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

function ttlOf(value: Json | undefined): { readonly ttl?: Ttl } {
  if (value === undefined) return {};
  if (typeof value === "string") return { ttl: value as "default" | "none" };
  const { after, at } = value as { readonly after?: number; readonly at?: number };
  return { ttl: after !== undefined ? { afterMillis: after } : { atMillis: at! } };
}

function writeOptions(step: Step): { readonly durable: boolean; readonly ttl?: Ttl } {
  return { durable: step["awaitDurable"] !== false, ...ttlOf(step["ttl"]) };
}

function readOptions(step: Step): { readonly durability?: "memory" | "durable" } {
  const durability = step["durability"];
  return durability === undefined ? {} : { durability: durability === "remote" ? "durable" : "memory" };
}

function batchOf(ops: readonly Step[]): WriteBatch {
  const batch = new WriteBatch();
  for (const { op, key, value, ttl, ...rest } of ops) {
    assert.deepEqual(Object.keys(rest), [], "unknown fields in a batch");
    if (op === "put") batch.put(bytesOf(key!), bytesOf(value!), ttlOf(ttl));
    else if (op === "merge") batch.merge(bytesOf(key!), bytesOf(value!), ttlOf(ttl));
    else if (op === "delete") batch.delete(bytesOf(key!));
    else throw new Error(`no ${op} in a batch`);
  }
  return batch;
}

function scanOf(reads: Reads, step: Step): Scan {
  const { from, to, fromInclusive = true, toInclusive = false, prefix, order } = step;
  const range: KeyRange = {
    ...(from === undefined ? {} : fromInclusive ? { gte: bytesOf(from) } : { gt: bytesOf(from) }),
    ...(to === undefined ? {} : toInclusive ? { lte: bytesOf(to) } : { lt: bytesOf(to) }),
    ...(prefix === undefined ? {} : { prefix: bytesOf(prefix) }),
  };
  const options: ScanOptions = {
    ...(order === undefined ? {} : { order: order as "ascending" | "descending" }),
    ...readOptions(step),
  };
  return reads.scan(range, options);
}

/** All rows, or the first `limit` with the iterator dropped after them. */
async function rowsOf(scan: Scan, limit: number | undefined): Promise<Array<[string, string]>> {
  if (limit === undefined) return (await scan.toArray()).map(({ key, value }) => [hex(key), hex(value)]);
  const rows: Array<[string, string]> = [];
  const iterator = scan.iterator();
  while (rows.length < limit) {
    const row = await iterator.next();
    if (row === undefined) break;
    rows.push([hex(row.key), hex(row.value)]);
  }
  await iterator.return();
  return rows;
}

async function checkEntry(reads: Reads, step: Step): Promise<void> {
  const entry = await reads.getEntry(bytesOf(step["key"]!));
  const expected = step["expect"] as { readonly [field: string]: Json } | null;
  if (expected === null) return assert.equal(entry, undefined);
  assert.ok(entry !== undefined, "absent");
  const found: Record<string, Json> = {
    value: hex(entry.value),
    seq: entry.seq,
    createTs: entry.createdAt,
    expireTs: entry.expiresAt ?? null,
    expiresAfter: entry.expiresAt === undefined ? null : entry.expiresAt - entry.createdAt,
  };
  for (const [field, want] of Object.entries(expected)) {
    assert.ok(Object.hasOwn(found, field), `unknown field ${field}`);
    assert.equal(found[field], field === "value" ? hex(bytesOf(want)) : want, field);
  }
}
