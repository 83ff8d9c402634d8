import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { assert, describe, it } from "../support/suite.ts";

const plain: OpenOptions = { flushIntervalMillis: null };
const tiny: OpenOptions = {
  flushIntervalMillis: null,
  l0SstSizeBytes: 120,
  maxUnflushedBytes: 4000,
  blockSizeBytes: 1024,
};
const write = (durable: boolean, ...changes: Array<[string, string | undefined]>): Step => ({
  write: changes,
  durable,
});

const SCRIPTS: Record<string, CrashSetting> = {
  "first writes": { options: plain, steps: [write(true, ["a", "1"]), write(true, ["b", "1"], ["a", "2"])] },
  "unacknowledged tail": {
    options: plain,
    steps: [write(false, ["a", "1"]), { flush: "wal" }, write(false, ["b", "1"]), write(false, ["a", undefined])],
  },
  "memtable flush": {
    options: plain,
    steps: [write(true, ["a", "1"], ["b", "1"]), { flush: "memtable" }, write(true, ["a", "2"]), { flush: "memtable" }],
  },
  "rows of the next memtable in the same WAL object": {
    options: tiny,
    steps: Array.from({ length: 9 }, (_, i) => write(i % 3 === 2, [`k${i % 4}`, `value ${i} ${"x".repeat(20)}`])),
  },
  "reopen with replay": {
    options: plain,
    steps: [
      write(true, ["a", "1"]),
      { reopen: true },
      write(true, ["b", "2"]),
      { reopen: true },
      write(true, [
        "a",
        undefined,
      ]),
    ],
  },
  "reopen with tables and a tail": {
    options: tiny,
    steps: [
      ...Array.from({ length: 4 }, (_, i) => write(true, [`k${i}`, "v".repeat(50)], [`j${i}`, "w"])),
      { reopen: true },
      write(true, ["k1", undefined], ["z", "end"]),
      { flush: "memtable" },
      { reopen: true },
      write(true, ["k2", "new"]),
    ],
  },
  "replay that freezes tables": {
    options: { ...tiny, l0SstSizeBytes: 60 },
    steps: [
      ...Array.from({ length: 6 }, (_, i) => write(true, [`k${i}`, "v".repeat(30 + i)])),
      { reopen: true },
      write(true, ["k0", "again"]),
    ],
  },
  "WAL off": {
    options: { ...plain, wal: false },
    steps: [write(true, ["a", "1"]), write(true, ["a", "2"], ["b", "1"]), { reopen: true }, write(true, ["c", "3"])],
  },
};

const WHEN = ["before", "after"] as const;

describe("crash at every store request, memory store", () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`${name}: nothing acknowledged is lost, no batch is torn`, async () => {
      const sound = await runUntilCrash(memoryStore(), setting, undefined);
      assert.equal(sound.crashed, false);
      assert.ok(sound.requests > 5);
      for (let index = 0; index < sound.requests; index++) {
        for (const when of WHEN) {
          const store = memoryStore();
          const run = await runUntilCrash(store, setting, { index, when });
          assert.ok(run.crashed, `no crash at request ${index}`);
          const reopen = { ...setting.options, clock: virtualClock(2_000_000) };
          const state = await contents(store, reopen);
          judge(run, state, `crash ${when} request ${index}`);
          assert.deepEqual([...await contents(store, reopen)], [...state], "a second reopening changes nothing");
        }
      }
    });
  }

  it("R2 a crash at every request of a recovery, after a crash at every request of the first run, loses nothing", async () => {
    const setting = SCRIPTS["replay that freezes tables"]!;
    const sound = await runUntilCrash(memoryStore(), setting, undefined);
    for (let index = 4; index < sound.requests; index += 3) {
      const first = memoryStore();
      const run = await runUntilCrash(first, setting, { index, when: "after" });
      const recovery: CrashSetting = { options: setting.options, steps: [{ flush: "memtable" }] };
      const probe = await runUntilCrash(first.clone(), recovery, undefined);
      for (let second = 0; second < probe.requests; second++) {
        const store = first.clone();
        await runUntilCrash(store, recovery, { index: second, when: second % 2 === 0 ? "after" : "before" });
        const state = await contents(store, { ...setting.options, clock: virtualClock(2_000_000) });
        judge(run, state, `crash after request ${index}, then at request ${second} of the recovery`);
      }
    }
  });
});
