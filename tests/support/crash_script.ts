/**
 * Runs a short history against a store that dies at one chosen request, and judges what a reopened database holds.
 *
 * The model is the list of accepted writes. What must hold after any crash: the reopened database equals the state
 * after some prefix of that list, the prefix contains every acknowledged durable write, and no batch is torn (a batch is
 * one element of the list).
 *
 * @module
 */
import { open, openReader, WriteBatch } from "../../mod.ts";
import type { Db, KeyRange } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { faultyStore, type LoggedRequest } from "../../src/store/faulty_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { assert } from "./suite.ts";

/** A key that gets a value (undefined: is deleted), or a range that is deleted. */
export type Change = readonly [string, string | undefined] | { readonly gte: string; readonly lt: string };

/** One step of a history. A write is a list of changes made atomically, in order. */
export type Step =
  | { readonly write: ReadonlyArray<Change>; readonly durable?: boolean }
  | { readonly armed: ReadonlyArray<Change> }
  | { readonly flush: "wal" | "memtable" }
  | { readonly compact: true | KeyRange }
  | { readonly reader: "managed" | "follow" }
  | { readonly gc: true }
  | { readonly advance: number }
  | { readonly reopen: true };

/** Keys and values as text. */
export type State = ReadonlyMap<string, string>;

/** What a crashed run leaves behind. */
export interface CrashedRun {
  /** Every write that was accepted, in order. */
  readonly accepted: ReadonlyArray<ReadonlyArray<Change>>;
  /** How many of them were acknowledged as durable: a prefix. */
  readonly acknowledged: number;
  readonly crashed: boolean;
  /** Requests made in all. */
  readonly requests: number;
  /** What was requested. */
  readonly log: ReadonlyArray<LoggedRequest>;
}

/** Settings of a run. */
export interface CrashSetting {
  readonly options: OpenOptions;
  readonly steps: ReadonlyArray<Step>;
  /** How long a request takes, so that tasks of the engine get ahead of each other. Default 0. */
  readonly latencyMillis?: number;
  /** When the run begins, ms since 1970. Default 1,000,000. */
  readonly startMillis?: number;
  /** Is told, at the start of a run, how to make the write that was armed last: at once, and once. */
  readonly trigger?: (fire: () => void) => void;
}

/** Runs the steps; the store stops before or after executing request `index`. */
export async function runUntilCrash(
  inner: ObjectStoreShape,
  setting: CrashSetting,
  point: { readonly index: number; readonly when: "before" | "after" } | undefined,
): Promise<CrashedRun> {
  const store = faultyStore(inner, { latencyMillis: setting.latencyMillis ?? 0 });
  store.controls.crashAt = point;
  const clock = virtualClock(setting.startMillis ?? 1_000_000);
  const accepted: Array<ReadonlyArray<Change>> = [];
  let acknowledged = 0;
  let db: Db | undefined;
  const openIt = () => open({ store, path: "db" }, { ...setting.options, clock });
  const readOnce = async (mode: "managed" | "follow") => {
    const reader = await openReader({ store, path: "db" }, { mode, clock });
    await reader.scan().toArray();
    await reader.close();
  };
  const accept = async (to: Db, changes: ReadonlyArray<Change>) => {
    const batch = new WriteBatch();
    for (const change of changes) addTo(batch, change);
    accepted.push(changes);
    const count = accepted.length;
    const result = await to.write(batch, { durable: false });
    const durable = result.durable.then(() => void (acknowledged = Math.max(acknowledged, count)));
    durable.catch(() => {});
    return { durable };
  };
  let armed: ReadonlyArray<Change> | undefined;
  setting.trigger?.(() => {
    if (db === undefined || armed === undefined) return;
    accept(db, armed).catch(() => {});
    db.flush(setting.options.wal === false ? { kind: "memtable" } : {}).catch(() => {});
    armed = undefined;
  });
  const work = async () => {
    db = await openIt();
    for (const step of setting.steps) {
      if ("armed" in step) armed = step.armed;
      else if ("write" in step) {
        const { durable } = await accept(db, step.write);
        if (step.durable !== false) {
          await Promise.all([db.flush(setting.options.wal === false ? { kind: "memtable" } : {}), durable]);
        }
      } else if ("flush" in step) await db.flush({ kind: step.flush });
      else if ("compact" in step) await db.compact(step.compact === true ? undefined : step.compact);
      else if ("reader" in step) await readOnce(step.reader);
      else if ("gc" in step) await db.collectGarbage();
      else if ("advance" in step) await clock.advance(step.advance);
      else {
        await db.close();
        db = await openIt();
      }
    }
    await db.close();
  };
  let failure: unknown;
  let ended = false;
  work().then(() => ended = true, (error) => {
    failure = error;
    ended = true;
  });
  for (let turn = 0; !ended && !(store.controls.crashed); turn++) {
    await clock.advance(turn < 20 ? 0 : 100);
    if (turn > 2000) throw new Error("the run neither ended nor crashed");
  }
  await clock.advance(0);
  if (failure !== undefined && !store.controls.crashed) throw failure;
  const { crashed, requestCount: requests, log } = store.controls;
  return { accepted, acknowledged, crashed, requests, log };
}

function addTo(batch: WriteBatch, change: Change): void {
  if ("gte" in change) batch.deleteRange(change);
  else if (change[1] === undefined) batch.delete(change[0]);
  else batch.put(change[0], change[1]);
}

/** State after the first `count` writes. */
export function stateAfter(run: CrashedRun, count: number): State {
  const state = new Map<string, string>();
  for (const write of run.accepted.slice(0, count)) {
    for (const change of write) {
      if ("gte" in change) {
        for (const key of state.keys()) if (key >= change.gte && key < change.lt) state.delete(key);
      } else if (change[1] === undefined) state.delete(change[0]);
      else state.set(change[0], change[1]);
    }
  }
  return new Map([...state].sort(([a], [b]) => a < b ? -1 : 1));
}

/** Reads everything from a sound store. */
export async function contents(store: ObjectStoreShape, options: OpenOptions): Promise<State> {
  const db = await open({ store, path: "db" }, options);
  const decoder = new TextDecoder();
  const rows = await db.scan().toArray();
  const state = new Map(rows.map((row) => [decoder.decode(row.key), decoder.decode(row.value)]));
  for (const [key, value] of state) {
    assert.equal(decoder.decode(await db.get(key)), value, `get and scan disagree about ${key}`);
  }
  await db.close();
  return state;
}

/** Fails unless `state` is what some allowed prefix of the run left. */
export function judge(run: CrashedRun, state: State, what: string): void {
  const found = JSON.stringify([...state]);
  for (let count = run.accepted.length; count >= run.acknowledged; count--) {
    if (JSON.stringify([...stateAfter(run, count)]) === found) return;
  }
  assert.fail(
    `${what}: ${run.acknowledged} of ${run.accepted.length} writes were acknowledged, but the database holds ${found}`,
  );
}
