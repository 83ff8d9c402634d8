/**
 * Databases that a crash or a kill of ours left, opened by the official engine: it must find what ours finds.
 *
 * @module
 */
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { FaultDice } from "../../src/store/faulty/fault_plan.ts";
import { History, live, PLAIN_SETTINGS } from "../db/fault_history.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { judgeKilled, writeAndKill } from "../support/interop_child.ts";
import { stateOf, writeOut } from "../support/interop_crashed.ts";
import { officialMissing, openOfficial } from "../support/interop_official.ts";
import { copyPlace, withPlace } from "../support/interop_ours.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const put = (durable: boolean, ...changes: Array<[string, string | undefined]>): Step => ({ write: changes, durable });
const tiny: OpenOptions = {
  flushIntervalMillis: null,
  l0SstSizeBytes: 120,
  maxUnflushedBytes: 4000,
  blockSizeBytes: 1024,
};

const SCRIPTS: Record<string, CrashSetting> = {
  "log, tables, reopenings": {
    options: tiny,
    steps: [
      ...Array.from({ length: 5 }, (_, i) => put(i % 3 !== 1, [`k${i}`, "v".repeat(50)], [`j${i}`, "w"])),
      { reopen: true },
      put(true, ["k1", undefined], ["z", "end"]),
      { flush: "memtable" },
      put(false, ["unacknowledged", "1"]),
      { reopen: true },
      put(true, ["k2", "new"]),
    ],
  },
  "no log": {
    options: { ...tiny, wal: false },
    steps: [put(true, ["a", "1"]), put(true, ["a", "2"], ["b", "1"]), { reopen: true }, put(true, ["a", undefined])],
  },
};
/** Every so many requests one crash is shown to the official engine. */
const STEP = 3;

describe("interop: crashed databases opened by the official engine", { skip }, () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`${name}: it finds what ours finds, nothing acknowledged is lost`, async () => {
      const sound = await runUntilCrash(memoryStore(), setting, undefined);
      for (let index = 0; index < sound.requests; index += STEP) {
        const when = index % 2 === 0 ? "after" : "before";
        const store = memoryStore();
        const run = await runUntilCrash(store, setting, { index, when });
        await withPlace(async (place) => {
          writeOut(store, place.root);
          const ours = await contents(store, { ...setting.options, clock: virtualClock(2_000_000) });
          const wal = setting.options.wal !== false;
          const official = await openOfficial(place.db, { settings: { wal_enabled: wal }, durable: wal });
          const state = await stateOf(official);
          judge(run, state, `crash ${when} request ${index}`);
          assert.deepEqual([...state], [...ours], `crash ${when} request ${index}: the engines disagree`);
          // It must be able to go on from there, tables included.
          await official.put("after the crash", "1");
          await official.flush("memtable");
          await official.close();
        });
      }
    });
  }

  for (const [name, options] of Object.entries(PLAIN_SETTINGS)) {
    it(`random faults and crashes, then the official engine, then faults again, ${name}`, async () => {
      for (let seed = 1; seed <= 6; seed++) {
        const dice = new FaultDice(seed);
        const history = new History();
        const inner = memoryStore();
        for (let life = 0; life < 3; life++) {
          await live({ inner }, history, dice, options, `seed ${seed} life ${life}`);
          await withPlace(async (place) => {
            writeOut(inner, place.db);
            const wal = options.wal !== false;
            const official = await openOfficial(place.db, { settings: { wal_enabled: wal }, durable: wal });
            history.clone().settle(await stateOf(official), `seed ${seed} life ${life}`);
            await official.put("after the crash", "1");
            await official.flush("memtable");
            await official.close();
          });
        }
      }
    });
  }

  it("processes killed while they write: every acknowledged batch is there, whole", () =>
    withPlace(async (place) => {
      let next = 0;
      for (const acks of [3, 30, 15]) {
        const acked = await writeAndKill(place.db, next, acks);
        const copy = copyPlace(place.db);
        const official = await openOfficial(copy.db);
        next = judgeKilled(await stateOf(official), acked) + 1;
        await official.close();
        copy.done();
      }
    }));
});
