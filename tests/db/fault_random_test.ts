/**
 * Random faults, crashes and takeovers from seeds, judged against a model.
 *
 * @module
 */
import { Duration, Effect } from "effect";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed } from "../../src/errors.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { History, live, SETTINGS } from "./fault_history.ts";
import { contentsOf, openSeeded, START_MILLIS, withoutPutIds, type World } from "./fault_world.ts";

const SEEDS = 20;
const FIRST_SEED = 100;

describe("R2 random faults of the store", () => {
  for (const [name, options] of Object.entries(SETTINGS)) {
    it(`four lives each, closed or crashed: acknowledged writes stay, no batch is torn, ${name}`, async () => {
      for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
        const dice = new FaultDice(seed);
        const history = new History();
        const inner = memoryStore();
        let before: World | undefined;
        for (let life = 0; life < 4; life++) {
          const world = await live(inner, history, dice, options, `seed ${seed} life ${life}`);
          // A request of the life before last arrives only now.
          if (before !== undefined) await Effect.runPromise(before.store.controls.deliverLate);
          before = world;
        }
        const end = { ...options, clock: virtualClock(START_MILLIS + 1e7) };
        history.settle(await contentsOf(inner, end), `seed ${seed}, the end`);
      }
    });
  }
});

/** A writer that puts until it is fenced; answers the keys that were acknowledged. */
async function racer(store: MemoryStore, name: string, seed: number, begun: number, options: OpenOptions) {
  const clock = options.clock!;
  const faults = faultyStore(seed % 2 === 0 ? store : withoutPutIds(store), { seed, latencyMillis: [1, 40] });
  const acknowledged: string[] = [];
  await Effect.runPromise(clock.sleep(Duration.millis(begun)));
  const db = await openSeeded(faults, options, seed).catch((error: unknown) => {
    assert.ok(error instanceof Closed && error.reason === "fenced", `${name}: ${String(error)}`);
    return undefined;
  });
  if (db === undefined) return { acknowledged, fenced: true, db };
  for (let i = 0; i < 12; i++) {
    const key = `${name} ${String(i).padStart(2, "0")}`;
    try {
      if (options.wal === false) {
        await db.put(key, "1", { durable: false });
        await db.flush({ kind: "memtable" });
      } else {
        await db.put(key, "1");
        if (i % 5 === seed % 5) db.flush({ kind: "memtable" }).catch(() => {});
      }
    } catch (error) {
      assert.ok(error instanceof Closed && error.reason === "fenced", `${name}: ${String(error)}`);
      return { acknowledged, fenced: true, db };
    }
    acknowledged.push(key);
  }
  return { acknowledged, fenced: false, db };
}

describe("F1 writers that race for one database", () => {
  for (const wal of [true, false]) {
    it(`three of them, from 60 seeds: every acknowledged row is there, at most the last is not fenced, log ${wal}`, async () => {
      let fencings = 0;
      for (let seed = 0; seed < 60; seed++) {
        const inner = memoryStore();
        const dice = new FaultDice(seed);
        const clock = virtualClock(START_MILLIS);
        const options: OpenOptions = { clock, flushIntervalMillis: null, wal, manifestPollIntervalMillis: 200 };
        const racers = ["a", "b", "c"].map((name, i) =>
          racer(inner, name, seed * 3 + i, Math.floor(dice.next() * 500), options)
        );
        let ended = false;
        const all = Promise.all(racers).finally(() => ended = true);
        for (let turn = 0; !ended && turn < 2000; turn++) await clock.advance(20);
        const results = await all;
        fencings += results.filter((result) => result.fenced).length;
        assert.ok(
          results.filter((result) => !result.fenced && result.db?.status.closeReason === undefined).length >= 1,
        );
        const found = await contentsOf(inner, { clock: virtualClock(START_MILLIS + 1e7), wal });
        for (const { acknowledged } of results) {
          for (const key of acknowledged) {
            assert.ok(found.has(key), `seed ${seed}: ${key} was acknowledged and is lost`);
          }
        }
      }
      assert.ok(fencings > 20, `only ${fencings} were fenced`);
    });
  }
});
