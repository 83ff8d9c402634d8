/**
 * A crash before and after every request of compactions of range deletes, of jobs that only take tables away, and of the
 * collection that follows.
 *
 * @module
 */
import type { OpenOptions } from "../../src/db/options.ts";
import type { Manifest } from "../../src/format/types.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { assert, describe, it } from "../support/suite.ts";
import { versions } from "./gate_world.ts";

const options: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  compactor: { minCompactionSources: 2, maxSstBytes: 100 },
  garbageCollector: { intervalMillis: 3_600_000 },
};
const put = (...keys: string[]): Step[] => [
  { write: keys.map((key) => [key, `${key} ${"x".repeat(30)}`] as const), durable: true },
  { flush: "memtable" },
];
const cut = (gte: string, lt: string): Step[] => [{ write: [{ gte, lt }], durable: true }, { flush: "memtable" }];

const COMPACT: Step = { compact: true };

const SCRIPTS: Record<string, CrashSetting> = {
  "tables that go unread, and their collection": {
    options,
    steps: [...put("a", "b"), ...put("c", "d"), ...cut("b", "z"), { advance: 1_000_000 }, { gc: true }],
  },
  "a range delete that is merged, and one that leaves nothing": {
    options: { ...options, compactor: false },
    steps: [put("a", "b", "c"), [COMPACT], cut("b", "d"), [COMPACT], cut("a", "z"), [COMPACT]].flat(),
  },
};

/** Whether a manifest still has the tombstone of the first script, but of the tables below only the first. */
function isDrop({ l0, compacted }: Manifest): boolean {
  const tables = compacted.flatMap(({ ssts }) => ssts);
  return l0.some(({ info }) => info.rangeDeletes !== undefined) && tables.length === 1;
}

describe("crash at every store request of a compaction of range deletes", () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`${name}: nothing acknowledged is lost or comes back`, async () => {
      const whole = memoryStore();
      const sound = await runUntilCrash(whole, setting, undefined);
      assert.equal(sound.crashed, false);
      if (name.startsWith("tables that go")) assert.ok(versions(whole).some(({ manifest }) => isDrop(manifest)));
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
          const later = await contents(store, reopen);
          assert.deepEqual([...later], [...state], `what a compaction left after a crash ${when} request ${index}`);
        }
      }
      assert.ok(skipped * 10 < sound.requests, `${skipped} of ${sound.requests} points were not reached`);
    });
  }
});
