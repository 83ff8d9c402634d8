/**
 * The official engine opens what ours left at a crash in the middle of publishing tables, compacting, collecting, or
 * attaching a reader.
 *
 * @module
 */
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { stateOf, writeOut } from "../support/interop_crashed.ts";
import { officialMissing, openOfficial } from "../support/interop_official.ts";
import { withPlace } from "../support/interop_ours.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const options: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  compactor: { minCompactionSources: 2, maxSstBytes: 200 },
  garbageCollector: false,
};
const write = (...changes: Array<[string, string | undefined]>): Step => ({ write: changes, durable: true });
const table = (i: number): Step[] => [
  write([`a${i}`, `1 ${"x".repeat(30)}`], ["shared", `version ${i}`], [`b${i % 3}`, i % 2 === 0 ? undefined : "odd"]),
  { flush: "memtable" },
];
const TABLES = Array.from({ length: 4 }, (_, i) => table(i)).flat();

const SCRIPTS: Record<string, CrashSetting> = {
  "tables and scheduled compactions": { options, steps: TABLES },
  "leveled compactions and a range": {
    options: {
      ...options,
      compactor: {
        scheduler: "leveled",
        minCompactionSources: 2,
        maxSstBytes: 200,
        levelBaseBytes: 300,
        levelMultiplier: 2,
      },
    },
    steps: [...TABLES, { compact: { gte: "a1", lt: "a3" } }, ...table(5)],
  },
  "collection after compactions, readers attached": {
    options,
    steps: [
      ...TABLES.slice(0, 4),
      { reader: "managed" },
      { compact: true },
      { advance: 1_000_000 },
      { gc: true },
      { reader: "managed" },
      ...table(3),
    ],
  },
};
describe("interop: crashes while compacting and collecting, then the official engine", { skip }, () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`${name}: it finds what ours finds, nothing acknowledged is lost`, async () => {
      const sound = await runUntilCrash(memoryStore(), setting, undefined);
      for (let index = 0; index < sound.requests; index++) {
        // Before one request is much the same as after the one before.
        const when = index % 2 === 0 ? "before" : "after";
        const store = memoryStore();
        const run = await runUntilCrash(store, setting, { index, when });
        await withPlace(async (place) => {
          writeOut(store, place.root);
          const ours = await contents(store, { ...setting.options, clock: virtualClock(4_000_000) });
          const official = await openOfficial(place.db);
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
});
