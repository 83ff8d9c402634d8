/**
 * Lives of writers on a store that fails at random, from a seed, and the model that judges what is left.
 *
 * @module
 */
import { Effect } from "effect";
import { WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { DataError, Unavailable } from "../../src/errors.ts";
import type { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import type { FaultRule } from "../../src/store/faulty_store.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import { assert } from "../support/suite.ts";
import { openSeeded, World } from "./fault_world.ts";

type Change = readonly [key: string, value: string | undefined];

/** Accepted writes of all lives in their order, and how many of them were acknowledged as durable. */
export class History {
  readonly writes: Array<readonly Change[]> = [];
  acknowledged = 0;

  /** A copy, to judge without forgetting. */
  clone(): History {
    const copy = new History();
    copy.writes.push(...this.writes);
    copy.acknowledged = this.acknowledged;
    return copy;
  }

  /** State after the first `count` writes. */
  state(count: number): Map<string, string> {
    const state = new Map<string, string>();
    for (const changes of this.writes.slice(0, count)) {
      for (const [key, value] of changes) value === undefined ? state.delete(key) : state.set(key, value);
    }
    return new Map([...state].sort(([a], [b]) => a < b ? -1 : 1));
  }

  /** Fails unless `found` is the state after an allowed prefix; forgets what is lost. */
  settle(found: ReadonlyMap<string, string>, what: string): void {
    const text = JSON.stringify([...found]);
    for (let count = this.writes.length; count >= this.acknowledged; count--) {
      if (JSON.stringify([...this.state(count)]) !== text) continue;
      this.writes.length = count;
      this.acknowledged = count;
      return;
    }
    assert.fail(`${what}: ${this.acknowledged} of ${this.writes.length} were acknowledged, but it holds ${text}`);
  }
}

const FAULTS: readonly FaultRule[] = [
  { rate: 0.06, fault: { kind: "before" } },
  { rate: 0.04, fault: { kind: "after" } },
  { op: "putIfAbsent", rate: 0.04, fault: { kind: "late" } },
  { op: ["getRange", "getRanges"], prefix: "compacted/", rate: 0.03, fault: { kind: "corrupt" } },
  { op: ["getRange", "getRanges"], prefix: "compacted/", rate: 0.03, fault: { kind: "short" } },
  { rate: 0.03, fault: { kind: "delay", millis: 700 } },
  { op: "list", rate: 0.1, fault: { kind: "stale" } },
];

/** Everything that a reader sees. A body may be damaged twice in a row; then the read fails, and is made again. */
async function state(world: World, db: Db): Promise<Map<string, string>> {
  const decoder = new TextDecoder();
  for (let attempt = 0;; attempt++) {
    const outcome = await world.outcome(db.scan().toArray(), 100_000);
    if (outcome.ended === "value") {
      return new Map(outcome.value.map(({ key, value }) => [decoder.decode(key), decoder.decode(value)]));
    }
    const error = outcome.ended === "error" ? outcome.error : "no answer";
    assert.ok(attempt < 20 && error instanceof DataError, String(error));
  }
}

function randomWrite(dice: FaultDice, label: string): Change[] {
  const changes = new Map<string, string | undefined>();
  const count = dice.next() < 0.7 ? 1 : 2 + Math.floor(dice.next() * 4);
  for (let i = 0; i < count; i++) {
    const value = dice.next() < 0.25 ? undefined : `${label} ${"x".repeat(Math.floor(dice.next() * 30))}`;
    changes.set(`k${Math.floor(dice.next() * 12)}`, value);
  }
  return [...changes];
}

/** Makes one write; its acknowledgement is noted whenever it comes. */
async function write(db: Db, history: History, dice: FaultDice, label: string): Promise<void> {
  const changes = randomWrite(dice, label);
  const batch = new WriteBatch();
  for (const [key, value] of changes) value === undefined ? batch.delete(key) : batch.put(key, value);
  history.writes.push(changes);
  const count = history.writes.length;
  const result = await db.write(batch, { durable: false });
  result.durable.then(() => history.acknowledged = Math.max(history.acknowledged, count), () => {});
  if (dice.next() < 0.5) db.flush().catch(() => {});
}

/** One life of a writer under faults; ends closed or crashed. */
export async function live(
  inner: MemoryStore,
  history: History,
  dice: FaultDice,
  options: OpenOptions,
  label: string,
): Promise<World> {
  const seed = Math.floor(dice.next() * 1e9);
  const world = new World(options, inner, dice.next() < 0.5, seed);
  world.store.controls.addRules(...FAULTS);
  const db = await world.get(openSeeded(world.store, world.options, seed), 100_000);
  history.settle(await state(world, db), `${label} opened`);
  for (let i = 0; i < 25; i++) {
    await write(db, history, dice, `${label}.${i}`);
    if (dice.next() < 0.3) await world.clock.advance(Math.floor(dice.next() * 400));
    if (dice.next() < 0.1) db.flush({ kind: "memtable" }).catch(() => {});
    if (dice.next() < 0.1) {
      assert.deepEqual([...await state(world, db)], [...history.state(history.writes.length)], `${label}.${i} reads`);
    }
    if (dice.next() < 0.1) await Effect.runPromise(world.store.controls.deliverLate);
    assert.equal(db.status.closeReason, undefined, `${label}.${i}: closed without a reason`);
  }
  if (dice.next() < 0.5) {
    const closed = await world.outcome(db.close(), 100_000);
    if (closed.ended === "value") history.acknowledged = history.writes.length;
    else assert.ok(closed.ended === "error" && closed.error instanceof Unavailable, `${label}: close ${closed.ended}`);
  }
  const { acknowledged } = history;
  world.store.controls.crash();
  await world.clock.settle();
  assert.equal(history.acknowledged, acknowledged, "acknowledged after a crash");
  return world;
}

/** Databases whose memtables are tiny, so that every life flushes often. */
export const SETTINGS: Record<string, OpenOptions> = {
  "log on": { l0SstSizeBytes: 300, maxUnflushedBytes: 100_000, blockSizeBytes: 1024, flushIntervalMillis: 100 },
  "log off": { l0SstSizeBytes: 300, maxUnflushedBytes: 100_000, wal: false, flushIntervalMillis: 100 },
};
