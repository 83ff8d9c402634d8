/**
 * Waits of the collector: none of them may be too short to move the clock.
 *
 * @module
 */
import { Duration, type Effect } from "effect";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { LONG, QUIET, table } from "./compactor_world.ts";

describe("a collector whose passes fall on fractions of milliseconds", () => {
  for (const latency of [0, [1, 40]] as const) {
    it(`never sleeps for less than a millisecond, which would end before the clock has moved; latency ${latency}`, async () => {
      for (let i = 0; i < 4; i++) {
        const intervalMillis = 60_000 + i * 1237;
        const world = new World({ ...QUIET, garbageCollector: { intervalMillis, minAgeMillis: 60_000 } });
        const short: number[] = [];
        const sleep = world.clock.sleep.bind(world.clock);
        const watched = (duration: Duration.Duration): Effect.Effect<void> => {
          const millis = Duration.toMillis(duration);
          if (millis < 1) short.push(millis);
          if (short.length > 100) throw new Error(`sleeps of ${short.slice(-3)} ms`);
          return sleep(duration);
        };
        const db = await world.open();
        Object.defineProperty(world.clock, "sleep", { value: watched });
        world.store.controls.setLatency(latency);
        for (let round = 0; round < 4; round++) {
          await table(world, db, 1, `${round}`);
          await world.clock.advance(77_777);
        }
        assert.deepEqual(short, [], `interval ${intervalMillis} ms`);
        await world.get(db.close(), LONG);
      }
    });
  }
});
