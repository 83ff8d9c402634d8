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

/** One step of a history. A write is a list of changes made atomically; undefined deletes. */
export type Step =
  | { readonly write: ReadonlyArray<readonly [string, string | undefined]>; readonly durable?: boolean }
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
  readonly accepted: ReadonlyArray<ReadonlyArray<readonly [string, string | undefined]>>;
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
  const accepted: Array<ReadonlyArray<readonly [string, string | undefined]>> = [];
  let acknowledged = 0;
  let db: Db | undefined;
  const openIt = () => open({ store, path: "db" }, { ...setting.options, clock });
  const readOnce = async (mode: "managed" | "follow") => {
    const reader = await openReader({ store, path: "db" }, { mode, clock });
    await reader.scan().toArray();
    await reader.close();
  };
  const work = async () => {
    db = await openIt();
    for (const step of setting.steps) {
      if ("write" in step) {
        const batch = new WriteBatch();
        for (const [key, value] of step.write) value === undefined ? batch.delete(key) : batch.put(key, value);
        accepted.push(step.write);
        const count = accepted.length;
        const result = await db.write(batch, { durable: false });
        const durable = result.durable.then(() => void (acknowledged = Math.max(acknowledged, count)));
        durable.catch(() => {});
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

/** State after the first `count` writes. */
export function stateAfter(run: CrashedRun, count: number): State {
  const state = new Map<string, string>();
  for (const write of run.accepted.slice(0, count)) {
    for (const [key, value] of write) value === undefined ? state.delete(key) : state.set(key, value);
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
