/**
 * Crashes on real files: the store stops at every request, and child processes are killed while they write.
 *
 * @module
 */
import { join } from "node:path";
import { open } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { inFolder } from "../support/folders.ts";
import { judgeKilled, writeAndKill } from "../support/interop_child.ts";
import { canRunPrograms, canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const plain: OpenOptions = { flushIntervalMillis: null };
const put = (durable: boolean, ...changes: Array<[string, string | undefined]>): Step => ({ write: changes, durable });

const SCRIPTS: Record<string, CrashSetting> = {
  "log, table, reopening": {
    options: plain,
    steps: [
      put(true, ["a", "1"], ["b", "1"]),
      { flush: "memtable" },
      put(false, ["b", undefined]),
      put(true, ["c", "1"]),
      { reopen: true },
      put(true, ["a", "2"], ["d", "1"]),
    ],
  },
  "tables by size and a replay that makes more of them": {
    options: { ...plain, l0SstSizeBytes: 90, maxUnflushedBytes: 5000, blockSizeBytes: 1024, compression: "lz4" },
    steps: [
      ...Array.from({ length: 4 }, (_, i) => put(i % 2 === 1, [`k${i}`, "v".repeat(40 + i)], ["same", `${i}`])),
      { reopen: true },
      put(true, ["k1", undefined], ["same", "end"]),
    ],
  },
  "no log": {
    options: { ...plain, wal: false },
    steps: [put(true, ["a", "1"]), put(true, ["a", "2"], ["b", "1"]), { reopen: true }, put(true, ["a", undefined])],
  },
};

/** The history that stops before and after every request; the others stop once at each. */
const THOROUGH = "log, table, reopening";
/** Crashes under way at once. */
const LANES = 8;

const skipFiles = canUseDisk() ? false : "needs permission to read and write files";

describe("crash at every store request, file store", { skip: skipFiles }, () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`${name}: nothing acknowledged is lost, no batch is torn`, () =>
      inFolder(async (folder) => {
        const sound = await runUntilCrash(fileStore(join(folder, "sound")), setting, undefined);
        assert.ok(!sound.crashed && sound.requests > 5);
        const points = Array.from({ length: sound.requests }, (_, index) => index).flatMap((index) =>
          name === THOROUGH
            ? [{ index, when: "before" } as const, { index, when: "after" } as const]
            : [{ index, when: index % 2 === 0 ? "after" : "before" } as const]
        );
        const wanted = points.length;
        let crashes = 0;
        const lane = async () => {
          for (let point = points.shift(); point !== undefined; point = points.shift()) {
            const store = fileStore(join(folder, `${point.index}-${point.when}`));
            const run = await runUntilCrash(store, setting, point);
            if (run.crashed) crashes++;
            const state = await contents(store, setting.options);
            judge(run, state, `crash ${point.when} request ${point.index}`);
          }
        };
        // Most of the time goes by waiting for the disk.
        await Promise.all(Array.from({ length: LANES }, lane));
        // How requests meet on a disk differs from run to run, and so does their number: the last points may lie behind.
        assert.ok(crashes >= 0.75 * wanted, `${crashes} crashes at ${wanted} points`);
      }));
  }
});

const skipKills = canRunPrograms() ? false : "needs permission to run programs";

describe("processes killed while they write", { skip: skipKills }, () => {
  it("every batch that was acknowledged before SIGKILL is there, whole, through four lives", () =>
    inFolder(async (folder) => {
      let next = 0;
      for (const acks of [1, 12, 40, 25]) {
        const acked = await writeAndKill(folder, next, acks);
        assert.ok(acked >= next + acks - 1);
        const db = await open(folder);
        const decoder = new TextDecoder();
        const rows = new Map(
          (await db.scan().toArray()).map((row) => [decoder.decode(row.key), decoder.decode(row.value)]),
        );
        next = judgeKilled(rows, acked) + 1;
        assert.equal(decoder.decode(await db.get("last")), `${next - 1}`);
        // Every other life begins on what a killed process left, not on a closed database.
        if (acks % 2 === 0) await db.close();
      }
    }));
});
