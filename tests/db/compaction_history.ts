/**
 * A random history of one database and what it must show: batches with merges, deletes and rows that expire, flushes,
 * compactions of all kinds by the writer and by others, snapshots, closings, and time that passes.
 *
 * @module
 */
import { type Db, type Snapshot, WriteBatch } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { compactOnce } from "../../src/db/standalone_compactor.ts";
import { text } from "../support/bytes.ts";
import { assert } from "../support/suite.ts";
import { openSeeded, World } from "./fault_world.ts";

const KEYS = 24;
const STEPS = 60;
/** More than any wait of these histories takes, ms. */
const PATIENCE_MILLIS = 600_000;
const MAX_SNAPSHOTS = 3;

/** One operation on a key. */
interface Change {
  readonly kind: "put" | "delete" | "merge";
  readonly value: string;
  readonly expiresAt: number;
}
/** All operations on each key, oldest first. */
type Model = ReadonlyMap<string, ReadonlyArray<Change>>;

const keyOf = (i: number): string => `k${String(i).padStart(2, "0")}`;
const concat = (_key: Uint8Array, base: Uint8Array | undefined, operand: Uint8Array): Uint8Array =>
  new TextEncoder().encode((text(base) ?? "") + text(operand));

/** Numbers of a history: 32 bits, shifted and mixed. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1;
  }

  /** The next whole number, 0 <= x < below. */
  next(below: number): number {
    let x = this.#state;
    x = (x ^ (x << 13)) >>> 0;
    x ^= x >>> 17;
    x = (x ^ (x << 5)) >>> 0;
    this.#state = x;
    return x % below;
  }
}

/** What a key holds at a time, by what was done to it. */
function valueAt(changes: ReadonlyArray<Change> | undefined, now: number): string | undefined {
  let value: string | undefined;
  for (const { kind, value: operand, expiresAt } of changes ?? []) {
    const isDead = expiresAt <= now;
    if (kind === "merge") value = isDead ? value : (value ?? "") + operand;
    else value = kind === "delete" || isDead ? undefined : operand;
  }
  return value;
}

/** A history from a seed. */
export class CompactionHistory {
  readonly #seed: number;
  readonly #dice: Dice;
  readonly #world: World;
  readonly #compactor: Exclude<OpenOptions["compactor"], undefined>;
  readonly #model = new Map<string, ReadonlyArray<Change>>();
  #snapshots: Array<{ readonly snapshot: Snapshot; readonly model: Model }> = [];
  #step = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#dice = new Dice(seed);
    const roll = (below: number) => this.#dice.next(below);
    const scheduler = roll(2) === 0 ? "leveled" : "size-tiered";
    const garbageCollector = roll(3) > 0 ? { intervalMillis: 60_000 } : false;
    this.#compactor = roll(6) === 0 ? false : {
      scheduler,
      minCompactionSources: 2 + roll(2),
      maxCompactionSources: 4,
      maxSstBytes: 100 + roll(800),
      maxConcurrentCompactions: 1 + roll(4),
      levelBaseBytes: 200 + roll(1000),
      levelMultiplier: 2,
    };
    this.#world = new World({
      blockSizeBytes: 1024,
      garbageCollector,
      mergeOperator: concat,
      ttl: "strict",
      l0MaxSsts: 8,
      compactor: this.#compactor,
    });
    if (roll(2) > 0) this.#world.store.controls.setLatency(50 + roll(300));
  }

  /** Lives it, and compares what is seen with the model again and again. @throws AssertionError at a difference */
  async live(): Promise<void> {
    let db = await this.#open();
    for (this.#step = 0; this.#step < STEPS; this.#step++) {
      db = await this.#next(db);
      for (const { snapshot, model } of this.#snapshots) {
        if (this.#dice.next(5) === 0) await this.#check("a snapshot", snapshot, model);
      }
    }
    await this.#check("the end", db, this.#model);
    for (const { snapshot, model } of this.#snapshots) await this.#check("a snapshot at the end", snapshot, model);
    await this.#get(db.compact());
    await this.#check("compacted", db, this.#model);
    await this.#get(db.close());
    this.#world.store.controls.quiet();
    db = await this.#open();
    await this.#check("opened again", db, this.#model);
    await this.#get(db.close());
  }

  /** One step of it. */
  async #next(db: Db): Promise<Db> {
    const roll = (below: number) => this.#dice.next(below);
    const n = roll(100);
    if (n < 45) await this.#write(db);
    else if (n < 65) await this.#get(db.flush({ kind: "memtable" }));
    else if (n < 73) await this.#world.clock.advance(roll(100_000));
    else if (n < 78) await this.#get(db.compact());
    else if (n < 83) {
      const from = roll(KEYS);
      const to = from + roll(KEYS - from) + 1;
      await this.#get(db.compact({ gte: keyOf(from), lt: keyOf(to) }));
    } else if (n < 86 && this.#snapshots.length < MAX_SNAPSHOTS) {
      this.#snapshots.push({ snapshot: await db.snapshot(), model: new Map(this.#model) });
    } else if (n < 88 && this.#snapshots.length > 0) {
      for (const { snapshot } of this.#snapshots.splice(roll(this.#snapshots.length), 1)) snapshot.release();
    } else if (n < 91) {
      for (const { snapshot } of this.#snapshots.splice(0)) snapshot.release();
      await this.#get(db.close());
      return this.#open();
    } else if (n < 93) await this.#compactElsewhere();
    else if (n < 94) await this.#world.clock.advance(20 * 60_000);
    else await this.#check("a scan", db, this.#model);
    return db;
  }

  async #write(db: Db): Promise<void> {
    const roll = (below: number) => this.#dice.next(below);
    const batch = new WriteBatch();
    const seen = new Set<number>();
    for (let i = 0; i < 1 + roll(8); i++) {
      const k = roll(KEYS);
      if (seen.has(k)) continue;
      seen.add(k);
      const afterMillis = roll(4) === 0 ? 1000 + roll(400_000) : undefined;
      const value = `${this.#seed}.${this.#step}.${i}|${"x".repeat(roll(30))}`;
      const die = roll(10);
      const kind = die < 5 ? "put" : die < 7 ? "delete" : "merge";
      const key = keyOf(k);
      const options = afterMillis === undefined ? {} : { ttl: { afterMillis } };
      if (kind === "delete") batch.delete(key);
      else batch[kind](key, value, options);
      const isLasting = kind === "delete" || afterMillis === undefined;
      const expiresAt = isLasting ? Infinity : this.#world.clock.now() + afterMillis;
      this.#model.set(key, [...this.#model.get(key) ?? [], { kind, value, expiresAt }]);
    }
    await db.write(batch, { durable: false });
  }

  /** Another process compacts what there is to compact, and ends. */
  #compactElsewhere(): Promise<unknown> {
    const settings = this.#compactor === false ? {} : this.#compactor;
    const options = { clock: this.#world.clock, mergeOperator: concat, ...settings };
    return this.#get(compactOnce({ store: this.#world.inner, path: "" }, options));
  }

  async #check(what: string, reader: Pick<Db, "scan">, model: Model): Promise<void> {
    const begun = this.#world.clock.now();
    const rows = await this.#get(reader.scan().toArray());
    const seen = new Map(rows.map(({ key, value }) => [text(key)!, text(value)!]));
    const ended = this.#world.clock.now();
    for (let i = 0; i < KEYS; i++) {
      const key = keyOf(i);
      const got = seen.get(key);
      const changes = model.get(key);
      if (got === valueAt(changes, begun) || got === valueAt(changes, ended)) continue;
      const where = `seed ${this.#seed}, step ${this.#step}, ${what}, ${key} at ${begun}..${ended}`;
      assert.fail(`${where}: got ${got}, not ${valueAt(changes, begun)}, of ${JSON.stringify(changes)}`);
    }
  }

  #open(): Promise<Db> {
    return this.#get(openSeeded(this.#world.store, this.#world.options, this.#seed * 1000 + this.#step));
  }

  async #get<A>(promise: Promise<A>): Promise<A> {
    try {
      return await this.#world.get(promise, PATIENCE_MILLIS);
    } catch (cause) {
      throw new Error(`seed ${this.#seed}, step ${this.#step}: ${String(cause)}`, { cause });
    }
  }
}
