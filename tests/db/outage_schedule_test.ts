/**
 * Hours of a database whose store fails in one way after the other, from seeds, beside a model of what was acknowledged.
 *
 * A writer with its compactor and collector writes throughout, is closed or dies now and then, and is opened again; a
 * managed reader follows. Between the phases the store is sound for a while: then everything must be as it should, without
 * anybody's help.
 */
import type { Db } from "../../src/db/api.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { Closed, Unavailable } from "../../src/errors.ts";
import { FaultDice, type FaultRule } from "../../src/store/faulty/fault_plan.ts";
import { type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import { deletesMany } from "../support/deletes_many.ts";
import { assert, describe, it } from "../support/suite.ts";
import { openSeeded, START_MILLIS, withoutPutIds, World } from "./fault_world.ts";
import { openReader } from "../../mod.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const PHASES = 9;
const KEYS = 60;
const SEEDS = 3;
const OPTIONS: OpenOptions = {
  l0SstSizeBytes: 3000,
  maxUnflushedBytes: 15_000,
  blockSizeBytes: 1024,
  blockCacheBytes: 4096,
  flushIntervalMillis: 100,
  requestTimeoutMillis: 10_000,
  compactor: { maxSstBytes: 6000 },
};

const WRITES = ["put", "putIfAbsent", "delete", "deleteMany", "upload", "uploadWrite"] as const;
const PHASE_RULES: Readonly<Record<string, readonly FaultRule[]>> = {
  down: [{ rate: 1, fault: { kind: "before" } }],
  throttled: [{ rate: 0.9, fault: { kind: "before", reason: "throttled" } }],
  flaky: [{ rate: 0.3, fault: { kind: "before" } }, { rate: 0.2, fault: { kind: "after" } }],
  slow: [{ rate: 1, fault: { kind: "delay", millis: 5000 } }],
  "answers lost": [{ rate: 0.8, fault: { kind: "after" } }],
  "reads only": [{ op: WRITES, rate: 1, fault: { kind: "before" } }],
  "writes only": [{ op: ["get", "getRange", "getRanges", "head", "list"], rate: 1, fault: { kind: "before" } }],
  "no listing": [{ op: "list", rate: 1, fault: { kind: "before" } }],
  "no rights": [{ rate: 1, fault: { kind: "before", reason: "permission" } }],
  "cut bodies": [{ op: ["get", "getRange"], rate: 0.6, fault: { kind: "before", reason: "short-read" } }],
  hangs: [{ rate: 0.2, fault: { kind: "hang", when: "after" } }],
  "no deletions": [{ op: ["delete", "deleteMany"], rate: 1, fault: { kind: "after" } }],
};

/** What one write made of a key. */
interface Written {
  readonly value: string | undefined;
}

/** One database through a series of phases. */
class Schedule {
  readonly world: World;
  readonly #seed: number;
  readonly #dice: FaultDice;
  /** What each key may be worth: the last acknowledged value first, then all that were asked for after it. */
  readonly #possible: Map<string, Written[]> = new Map();
  #writes = 0;
  #lives = 0;
  #db!: Db;
  #reader: DbReader | undefined;
  #store: FaultyStore;

  constructor(seed: number) {
    this.#seed = seed;
    this.#dice = new FaultDice(seed);
    this.world = new World(OPTIONS, deletesMany());
    this.#store = this.#newStore();
    for (let i = 0; i < KEYS; i++) this.#possible.set(`k${i}`, [{ value: undefined }]);
  }

  #newStore(): FaultyStore {
    const { inner } = this.world;
    const { deleteMany } = inner;
    const shown = this.#seed % 2 === 0 ? inner : { ...withoutPutIds(inner), deleteMany };
    return faultyStore(shown, { seed: this.#seed + this.#lives });
  }

  #below(n: number): number {
    return Math.floor(this.#dice.next() * n);
  }

  async run(): Promise<void> {
    const names = Object.keys(PHASE_RULES);
    await this.#open();
    for (let phase = 0; phase < PHASES; phase++) {
      const name = names[this.#below(names.length)]!;
      const what = `seed ${this.#seed}, phase ${phase} (${name})`;
      this.#store.controls.addRules(...PHASE_RULES[name]!);
      await this.#work((1 + this.#below(8)) * MINUTE, what);
      const ends = this.#below(4);
      if (ends === 0) await this.#die(what);
      if (ends === 1) await this.#close(what);
      this.#store.controls.quiet();
      await this.#work(MINUTE, what);
      if (this.#db.status.closeReason !== undefined) await this.#open();
      await this.#isWell(what);
    }
    await this.#end();
  }

  async #open(): Promise<void> {
    const opening = openSeeded(this.#store, this.world.options, this.#seed * 100 + this.#lives++);
    this.#db = await this.world.get(opening, 100_000);
  }

  /** Writes now and then. */
  async #work(millis: number, what: string): Promise<void> {
    for (const end = this.world.clock.now() + millis; this.world.clock.now() < end;) {
      if (this.#db.status.closeReason === undefined) {
        for (let n = this.#below(30); n > 0; n--) this.#write(what);
        if (this.#below(6) === 0) this.#db.flush({ kind: "memtable" }).catch(() => {});
        if (this.#below(10) === 0) this.#db.compact().catch(() => {});
        if (this.#below(10) === 0) this.#db.collectGarbage().catch(() => {});
      }
      await this.world.clock.advance(1000 + this.#below(20_000));
    }
    const { closeReason, warnings } = this.#db.status;
    assert.ok(
      closeReason === undefined || closeReason === "clean" || closeReason === "failed",
      `${what}: ${closeReason}`,
    );
    for (const text of warnings) {
      assert.ok(!/checksum|malformed|truncated|missing|gap|defect/.test(text), `${what}: ${text}`);
    }
  }

  #write(what: string): void {
    const key = `k${this.#below(KEYS)}`;
    const value = this.#below(8) === 0 ? undefined : `${this.#writes++} ${"x".repeat(this.#below(120))}`;
    const values = this.#possible.get(key)!;
    const write = value === undefined ? this.#db.delete(key) : this.#db.put(key, value);
    const written: Written = { value };
    values.push(written);
    const acknowledged = () => void values.splice(0, Math.max(0, values.indexOf(written)));
    write.then(acknowledged, (error: unknown) => {
      const isTyped = error instanceof Unavailable || error instanceof Closed;
      assert.ok(isTyped, `${what}: ${String(error)}`);
    });
  }

  /** The process dies: nothing that it has under way is heard of again. */
  async #die(what: string): Promise<void> {
    this.#store.controls.crash();
    await this.world.clock.settle();
    // They live on, but reach nobody any more.
    this.#db.close().catch(() => {});
    this.#reader?.close().catch(() => {});
    this.#reader = undefined;
    this.#store = this.#newStore();
    await this.#open();
    await this.#isWell(`${what}, died`);
  }

  async #close(what: string): Promise<void> {
    const outcome = await this.world.outcome(this.#db.close(), MINUTE);
    assert.notEqual(outcome.ended, "never", what);
    assert.ok(outcome.ended === "value" || (outcome.ended === "error" && outcome.error instanceof Unavailable), what);
  }

  /** Everything is as it should be on a store that has been sound for a minute. */
  async #isWell(what: string): Promise<void> {
    const { world } = this;
    await world.get(this.#db.flush(), 20_000);
    const { degraded, backpressure, closeReason } = this.#db.status;
    assert.deepEqual({ degraded, backpressure, closeReason }, {
      degraded: false,
      backpressure: false,
      closeReason: undefined,
    });
    const rows = await rowsOf(world, this.#db);
    for (const [key, values] of this.#possible) {
      const found = rows.get(key);
      const allowed = values.map(({ value }) => value);
      assert.ok(allowed.includes(found), `${what}: ${key} is ${found}, not one of ${allowed.join(", ")}`);
      // What is seen now is never taken back.
      values.splice(0, values.length, { value: found });
    }
    const { clock } = world;
    if (this.#reader?.status.closeReason !== undefined) assert.fail(`${what}: the reader closed`);
    this.#reader ??= await world.get(
      openReader({ store: this.#store, path: "" }, { clock, requestTimeoutMillis: 10_000 }),
    );
    await world.get(this.#reader.refresh(), 20_000);
    assert.deepEqual([...await rowsOf(world, this.#reader)], [...rows], `${what}: the reader sees something else`);
  }

  async #end(): Promise<void> {
    const { world } = this;
    await world.get(this.#reader!.close(), 20_000);
    await world.get(this.#db.flush({ kind: "memtable" }), 20_000);
    await world.get(this.#db.compact(), MINUTE);
    for (let hour = 0; hour < 3; hour++) await world.clock.advance(HOUR);
    const { l0, compacted, checkpoints } = world.manifest;
    assert.equal(checkpoints.length, 0);
    const named = new Set(
      [...l0, ...compacted.flatMap((run) => run.ssts)].map((view) => `compacted/${view.sstId}.sst`),
    );
    assert.deepEqual(world.paths("compacted").filter((path) => !named.has(path)), [], `seed ${this.#seed}: orphans`);
    await world.get(this.#db.close(), 20_000);
    assert.ok(world.clock.now() - START_MILLIS > HOUR);
  }
}

async function rowsOf(world: World, reads: Pick<Db, "scan">): Promise<Map<string, string>> {
  const decoder = new TextDecoder();
  const rows = await world.get(reads.scan().toArray(), 60_000);
  return new Map(rows.map(({ key, value }) => [decoder.decode(key), decoder.decode(value)]));
}

describe("hours of one outage after the other", () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`seed ${seed}: what was acknowledged is there, all is well after each, and nothing is left behind`, () =>
      new Schedule(seed).run());
  }
});
