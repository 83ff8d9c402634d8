/**
 * Writers that race for one database under faults, from seeds.
 *
 * @module
 */
import { Duration, Effect } from "effect";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed } from "../../src/errors.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { type FaultRule, faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { faultSeeds, fromSeeds } from "./fault_seeds.ts";
import { contentsOf, openSeeded, START_MILLIS, withoutPutIds } from "./fault_world.ts";
import { GateJudge } from "./gate_world.ts";

const SEEDS = 16;
const WRITES = 12;
const FAULTS: readonly FaultRule[] = [
  { rate: 0.03, fault: { kind: "delay", millis: 900 } },
  { op: "putIfAbsent", rate: 0.05, fault: { kind: "after" } },
];

/** What a racer knows of its own keys. */
interface Finish {
  /** Acknowledged states; undefined: deleted. */
  readonly acknowledged: ReadonlyMap<string, string | undefined>;
  /** Keys whose last write was not answered. */
  readonly open: ReadonlySet<string>;
  readonly fenced: boolean;
}

/** A writer of its own keys until it is fenced: every fourth write deletes all of them. */
async function race(store: ObjectStoreShape, name: string, seed: number, begun: number, options: OpenOptions) {
  const faults = faultyStore(seed % 2 === 0 ? store : withoutPutIds(store), { seed, latencyMillis: [1, 40] });
  faults.controls.addRules(...FAULTS);
  const acknowledged = new Map<string, string | undefined>();
  let open: string[] = [];
  const logged = options.wal !== false;
  const done = async (write: Promise<unknown>, opened: Db) => {
    await write;
    if (!logged) await opened.flush({ kind: "memtable" });
  };
  await Effect.runPromise(options.clock!.sleep(Duration.millis(begun)));
  try {
    const opened = await openSeeded(faults, options, seed);
    for (let i = 0; i < WRITES; i++) {
      if (i % 4 === 3) {
        open = [...acknowledged.keys()];
        await done(opened.deleteRange({ prefix: name }, { durable: logged }), opened);
        for (const key of open) acknowledged.set(key, undefined);
        if (seed % 3 === 0) opened.compact().catch(() => {});
      } else {
        const key = `${name} ${String(i).padStart(2, "0")}`;
        open = [key];
        await done(opened.put(key, `${i}`, { durable: logged }), opened);
        acknowledged.set(key, `${i}`);
        if (i % 5 === seed % 5) opened.flush({ kind: "memtable" }).catch(() => {});
      }
      open = [];
    }
  } catch (error) {
    assert.ok(error instanceof Closed && error.reason === "fenced", `${name}: ${String(error)}`);
    return { acknowledged, open: new Set(open), fenced: true } satisfies Finish;
  }
  return { acknowledged, open: new Set<string>(), fenced: false } satisfies Finish;
}

/** Three of them; answers how many were fenced, the last one by the late fence of one that lost, if it was. */
async function raceThree(seed: number, wal: boolean): Promise<number> {
  const inner = memoryStore();
  const judge = new GateJudge();
  const store = judge.over(inner);
  const dice = new FaultDice(seed);
  const clock = virtualClock(START_MILLIS);
  const options: OpenOptions = { clock, flushIntervalMillis: null, wal, manifestPollIntervalMillis: 200 };
  const racers = ["a", "b", "c"].map((name, i) =>
    race(store, name, seed * 3 + i, Math.floor(dice.next() * 1200), options)
  );
  let ended = false;
  const all = Promise.all(racers).finally(() => ended = true);
  all.catch(() => {});
  for (let turn = 0; !ended && turn < 4000; turn++) await clock.advance(20);
  assert.ok(ended, "they never end");
  const results = await all;
  assert.ok(judge.breaches.length === 0, judge.breaches[0]);
  const found = await contentsOf(inner, { clock: virtualClock(START_MILLIS + 1e7), wal });
  for (const { acknowledged, open } of results) {
    for (const [key, value] of acknowledged) {
      if (!open.has(key)) assert.equal(found.get(key), value, `${key}: ${value === undefined ? "deleted" : "put"}`);
    }
  }
  return results.filter(({ fenced }) => fenced).length;
}

describe("F1 writers that race for one database", () => {
  for (const wal of [true, false]) {
    it(`three of them: what was acknowledged is so, and seldom is nobody left, log ${wal}`, async () => {
      let fencings = 0;
      let desertions = 0;
      await fromSeeds(SEEDS, "fault_racers_test.ts", async (seed) => {
        const fenced = await raceThree(seed, wal);
        fencings += fenced;
        if (fenced === 3) desertions++;
      });
      const { length } = faultSeeds(SEEDS);
      assert.ok(fencings >= Math.floor(length / 3), `only ${fencings} were fenced`);
      assert.ok(desertions <= Math.ceil(length / 16), `nobody was left ${desertions} times`);
    });
  }
});
