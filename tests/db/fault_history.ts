/**
 * Lives of writers on a store that fails at random, from a seed, and the model that judges what is left.
 *
 * @module
 */
import { Effect } from "effect";
import { WriteBatch } from "../../mod.ts";
import type { Db, Durability, Snapshot } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { DataError, Unavailable } from "../../src/errors.ts";
import type { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { type FaultRule, type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert } from "../support/suite.ts";
import { openSeeded, World } from "./fault_world.ts";

/** What a write does to a key, or to all keys from one on, up to another. */
type Change =
  | { readonly key: string; readonly value: string | undefined }
  | { readonly gte: string; readonly lt: string | undefined };

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
  state(count: number = this.writes.length): Map<string, string> {
    const state = new Map<string, string>();
    for (const change of this.writes.slice(0, count).flat()) {
      if ("gte" in change) {
        const { gte, lt } = change;
        for (const key of [...state.keys()]) if (key >= gte && (lt === undefined || key < lt)) state.delete(key);
      } else if (change.value === undefined) state.delete(change.key);
      else state.set(change.key, change.value);
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
  { rate: 0.05, fault: { kind: "after" } },
  { op: "putIfAbsent", rate: 0.05, fault: { kind: "late" } },
  { op: ["getRange", "getRanges"], prefix: "compacted/", rate: 0.03, fault: { kind: "corrupt" } },
  { op: ["getRange", "getRanges"], prefix: "compacted/", rate: 0.03, fault: { kind: "short" } },
  { rate: 0.03, fault: { kind: "delay", millis: 700 } },
  { op: "list", rate: 0.1, fault: { kind: "stale" } },
];

/** Where the lives of one history take place. */
export interface FaultPlace {
  readonly inner: MemoryStore;
  /** Leads to `inner`. */
  readonly through?: ObjectStoreShape;
  /** Leads to the store of the log, when it has one of its own. */
  readonly log?: ObjectStoreShape;
}

/** A life that has ended; requests that are still on their way may arrive later. */
export interface EndedLife {
  readonly deliverLate: () => Promise<void>;
}

/** What was read of a snapshot, to be read again. */
interface Kept {
  readonly snapshot: Snapshot;
  readonly durability: Durability;
  readonly text: string;
}

const decoder = new TextDecoder();
const keyOf = (dice: FaultDice): string => `k${Math.floor(dice.next() * 14)}`.padEnd(3, "x");
const textOf = (state: ReadonlyMap<string, string>): string => JSON.stringify([...state]);

function randomRange(dice: FaultDice): Change {
  const [one, other] = [keyOf(dice), keyOf(dice)];
  if (one === other) return { gte: one, lt: undefined };
  return one < other ? { gte: one, lt: other } : { gte: other, lt: one };
}

function randomWrite(dice: FaultDice, label: string): Change[] {
  const count = dice.next() < 0.6 ? 1 : 2 + Math.floor(dice.next() * 4);
  return Array.from({ length: count }, () => {
    if (dice.next() < 0.25) return randomRange(dice);
    const value = dice.next() < 0.2 ? undefined : `${label} ${"x".repeat(Math.floor(dice.next() * 30))}`;
    return { key: keyOf(dice), value };
  });
}

/** One life of a writer under faults. */
class FaultLife {
  readonly #history: History;
  readonly #dice: FaultDice;
  readonly #label: string;
  readonly #world: World;
  readonly #log: FaultyStore | undefined;
  readonly #seed: number;
  readonly #kept: Kept[] = [];

  constructor(place: FaultPlace, history: History, dice: FaultDice, options: OpenOptions, label: string) {
    this.#history = history;
    this.#dice = dice;
    this.#label = label;
    this.#seed = Math.floor(dice.next() * 1e9);
    this.#log = place.log && faultyStore(place.log, { seed: this.#seed + 1 });
    const wal = this.#log === undefined ? {} : { wal: { store: this.#log } };
    this.#world = new World({ ...options, ...wal }, place.inner, dice.next() < 0.5, this.#seed, place.through);
    for (const store of this.#stores) store.controls.addRules(...FAULTS);
  }

  /** Lives it; it ends closed or crashed. */
  async live(): Promise<EndedLife> {
    const world = this.#world;
    const history = this.#history;
    const db = await world.get(openSeeded(world.store, world.options, this.#seed), 100_000);
    history.settle(await this.#read(() => db.scan().toArray()), `${this.#label} opened`);
    for (let i = 0; i < 25; i++) {
      await this.#write(db, `${this.#label}.${i}`);
      await this.#upkeep(db);
      if (this.#dice.next() < 0.1) await this.#keep(db);
      if (this.#dice.next() < 0.12) await this.#judge(db, `${this.#label}.${i}`);
      if (this.#dice.next() < 0.1) await this.#deliverLate();
      assert.equal(db.status.closeReason, undefined, `${this.#label}.${i}: closed without a reason`);
    }
    await this.#end(db);
    return { deliverLate: () => this.#deliverLate() };
  }

  get #stores(): FaultyStore[] {
    return this.#log === undefined ? [this.#world.store] : [this.#world.store, this.#log];
  }

  /** Everything that a reader sees. A body may be damaged twice in a row; then the read fails, and is made again. */
  async #read(
    scan: () => Promise<ReadonlyArray<{ readonly key: Uint8Array; readonly value: Uint8Array }>>,
  ): Promise<Map<string, string>> {
    for (let attempt = 0;; attempt++) {
      const outcome = await this.#world.outcome(scan(), 100_000);
      if (outcome.ended === "value") {
        return new Map(outcome.value.map(({ key, value }) => [decoder.decode(key), decoder.decode(value)]));
      }
      const error = outcome.ended === "error" ? outcome.error : "no answer";
      assert.ok(attempt < 20 && (error instanceof DataError || error instanceof Unavailable), String(error));
    }
  }

  /** Makes one write; its acknowledgement is noted whenever it comes. */
  async #write(db: Db, label: string): Promise<void> {
    const history = this.#history;
    const changes = randomWrite(this.#dice, label);
    const batch = new WriteBatch();
    for (const change of changes) {
      if ("gte" in change) {
        batch.deleteRange(change.lt === undefined ? { gte: change.gte } : { ...change, lt: change.lt });
      } else if (change.value === undefined) batch.delete(change.key);
      else batch.put(change.key, change.value);
    }
    const outcome = await this.#world.outcome(db.write(batch, { durable: false }), 100_000);
    if (outcome.ended !== "value") {
      // The keys of a range have to be read, where it is expanded.
      const isRefused = outcome.ended === "error" && this.#world.options.rangeDeletes === "expand" &&
        (outcome.error instanceof DataError || outcome.error instanceof Unavailable);
      assert.ok(isRefused, `${label}: ${outcome.ended === "error" ? String(outcome.error) : "no answer"}`);
      return;
    }
    history.writes.push(changes);
    const count = history.writes.length;
    outcome.value.durable.then(() => history.acknowledged = Math.max(history.acknowledged, count), () => {});
  }

  async #upkeep(db: Db): Promise<void> {
    const dice = this.#dice;
    if (dice.next() < 0.5) db.flush().catch(() => {});
    if (dice.next() < 0.35) await this.#world.clock.advance(Math.floor(dice.next() * 400));
    if (dice.next() < 0.1) db.flush({ kind: "memtable" }).catch(() => {});
    if (dice.next() < 0.08) db.compact().catch(() => {});
    if (dice.next() < 0.1) this.#kept.shift()?.snapshot.release();
  }

  /** Takes a snapshot: what it holds now it holds until it is released. */
  async #keep(db: Db): Promise<void> {
    const snapshot = await db.snapshot();
    const durability = this.#dice.next() < 0.5 ? "durable" : "memory";
    const state = durability === "memory"
      ? this.#history.state()
      : await this.#read(() => snapshot.scan({}, { durability }).toArray());
    this.#kept.push({ snapshot, durability, text: textOf(state) });
  }

  async #judge(db: Db, label: string): Promise<void> {
    const expected = textOf(this.#history.state());
    assert.equal(textOf(await this.#read(() => db.scan().toArray())), expected, `${label} reads`);
    for (const { snapshot, durability, text } of this.#kept) {
      const found = await this.#read(() => snapshot.scan({}, { durability }).toArray());
      assert.equal(textOf(found), text, `${label} reads from a snapshot, ${durability}`);
    }
  }

  async #deliverLate(): Promise<void> {
    for (const { controls } of this.#stores) await Effect.runPromise(controls.deliverLate);
  }

  async #end(db: Db): Promise<void> {
    const history = this.#history;
    if (this.#dice.next() < 0.5) {
      const closed = await this.#world.outcome(db.close(), 200_000);
      if (closed.ended === "value") history.acknowledged = history.writes.length;
      else {
        const mayFail = closed.ended === "error" && closed.error instanceof Unavailable;
        assert.ok(mayFail, `${this.#label}: close ${closed.ended === "error" ? String(closed.error) : closed.ended}`);
      }
    }
    await this.#world.clock.settle();
    const { acknowledged } = history;
    for (const { controls } of this.#stores) controls.crash();
    await this.#world.clock.settle();
    assert.equal(history.acknowledged, acknowledged, "acknowledged after a crash");
  }
}

/** One life of a writer under faults; ends closed or crashed. */
export function live(
  place: FaultPlace,
  history: History,
  dice: FaultDice,
  options: OpenOptions,
  label: string,
): Promise<EndedLife> {
  return new FaultLife(place, history, dice, options, label).live();
}

/** Options of databases whose memtables are tiny, so that every life flushes often. */
export const TINY: OpenOptions = {
  l0SstSizeBytes: 400,
  maxUnflushedBytes: 100_000,
  blockSizeBytes: 1024,
  flushIntervalMillis: 100,
  clockToleranceMillis: 100_000_000,
};

/** Settings under which other engines must be able to read along. */
export const PLAIN_SETTINGS: Record<string, OpenOptions> = {
  "log on": { ...TINY, rangeDeletes: "expand" },
  "log off": { ...TINY, wal: false, rangeDeletes: "expand" },
};
