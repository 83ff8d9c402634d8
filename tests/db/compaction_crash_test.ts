import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { assert, describe, it } from "../support/suite.ts";

const options: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  compactor: { minCompactionSources: 2, maxSstBytes: 200 },
  garbageCollector: { intervalMillis: 3_600_000 },
};
const write = (...changes: Array<[string, string | undefined]>): Step => ({ write: changes, durable: true });
const table = (i: number): Step[] => [
  write([`a${i}`, `1 ${"x".repeat(30)}`], ["shared", `version ${i}`], [`b${i % 3}`, i % 2 === 0 ? undefined : "odd"]),
  { flush: "memtable" },
];
const TABLES = Array.from({ length: 6 }, (_, i) => table(i)).flat();

const SCRIPTS: Record<string, CrashSetting> = {
  "scheduled compactions": { options, steps: TABLES },
  "leveled compactions": {
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
    steps: [...TABLES, { reopen: true }, ...table(7)],
  },
  "a manual compaction, then writes on top": {
    options: { ...options, compactor: false },
    steps: [...TABLES, { compact: true }, write(["a1", undefined], ["z", "new"]), { flush: "memtable" }, {
      compact: true,
    }],
  },
  "collection after compactions": {
    options,
    steps: [...TABLES, { compact: true }, { advance: 1_000_000 }, { gc: true }, { reopen: true }, { gc: true }, {
      advance: 400_000,
    }, { gc: true }],
  },
};

describe("crash at every store request of a compaction and a collection", () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`${name}: nothing acknowledged is lost or comes back`, async () => {
      const sound = await runUntilCrash(memoryStore(), setting, undefined);
      assert.equal(sound.crashed, false);
      let skipped = 0;
      for (let index = 0; index < sound.requests; index++) {
        for (const when of ["before", "after"] as const) {
          const store = memoryStore();
          const run = await runUntilCrash(store, setting, { index, when });
          if (!run.crashed) {
            skipped++;
            continue;
          }
          const reopen = { ...setting.options, clock: virtualClock(4_000_000) };
          const state = await contents(store, reopen);
          judge(run, state, `crash ${when} request ${index}`);
          const recovery: CrashSetting = {
            options: setting.options,
            steps: [{ compact: true }, { advance: 1_000_000 }, { gc: true }],
          };
          await runUntilCrash(store, recovery, undefined);
          assert.deepEqual(
            [...await contents(store, reopen)],
            [...state],
            `what another compaction and collection left after a crash ${when} request ${index}`,
          );
        }
      }
      assert.ok(skipped * 10 < sound.requests, `${skipped} of ${sound.requests} points were not reached`);
    });
  }
});
