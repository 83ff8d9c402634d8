import { open } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import {
  type Change,
  contents,
  type CrashedRun,
  type CrashSetting,
  judge,
  runUntilCrash,
  type Step,
} from "../support/crash_script.ts";
import { assert, describe, it } from "../support/suite.ts";
import { breach, gates, judged } from "./gate_world.ts";

const options: OpenOptions = { flushIntervalMillis: null, blockSizeBytes: 1024, garbageCollector: false };
const byHand: OpenOptions = { ...options, compactor: false };
const write = (...changes: Change[]): Step => ({ write: changes, durable: true });
const later = (...changes: Change[]): Step => ({ write: changes, durable: false });
const flush: Step = { flush: "memtable" };
const compact: Step = { compact: true };
const READS: ReadonlySet<string> = new Set(["get", "getRange", "getRanges", "head", "list"]);
const all = { gte: "a", lt: "z" };

const SCRIPTS: Record<string, CrashSetting> = {
  "the first range delete": {
    options: byHand,
    steps: [write(["a", "1"], ["b", "1"], ["m", "1"]), write({ gte: "a", lt: "c" }), write(["b", "2"])],
  },
  "the first range delete, in one object with what comes before and after": {
    options: byHand,
    steps: [write(["a", "1"], ["b", "1"]), later(["c", "1"]), later({ gte: "b", lt: "d" }), later(["c", "2"]), {
      flush: "wal",
    }],
  },
  "a range delete that is flushed, and taken over": {
    options: byHand,
    steps: [
      write(["a", "1"], ["b", "1"]),
      write({ gte: "a", lt: "b" }, ["a", "2"]),
      flush,
      { reopen: true },
      write(all),
      {
        reopen: true,
      },
    ],
  },
  "the way back by compact()": {
    options: byHand,
    steps: [write(["a", "1"], ["b", "1"]), flush, write({ gte: "a", lt: "b" }), compact, write(["c", "1"])],
  },
  "the way back by an embedded compaction": {
    options: { ...options, compactor: { minCompactionSources: 2 } },
    steps: [
      write(["a", "1"], ["b", "1"]),
      flush,
      write({ gte: "a", lt: "b" }),
      flush,
      { advance: 2000 },
      write(["c", "1"]),
    ],
  },
  "the way back with a clean close, after a range delete again": {
    options: byHand,
    steps: [write(["a", "1"], ["b", "1"]), write({ gte: "a", lt: "b" }), compact, write(all), compact, {
      reopen: true,
    }],
  },
  "a range delete during the way back, whose log object waits for it": {
    options: byHand,
    latencyMillis: 10,
    steps: [
      write(["a", "1"], ["b", "1"], ["c", "1"]),
      write({ gte: "a", lt: "b" }),
      { armed: [{ gte: "b", lt: "c" }] },
      compact,
      write([
        "d",
        "1",
      ]),
    ],
  },
  "a range delete during the way back, then a clean close": {
    options: byHand,
    latencyMillis: 10,
    steps: [write(["a", "1"], ["b", "1"]), write({ gte: "a", lt: "b" }), { armed: [all] }, compact, { reopen: true }],
  },
  "a range delete during the way back, without a log": {
    options: { ...byHand, wal: false },
    latencyMillis: 10,
    steps: [
      write(["a", "1"], ["b", "1"], ["c", "1"]),
      write({ gte: "a", lt: "b" }),
      { armed: [{ gte: "b", lt: "c" }] },
      compact,
      write([
        "d",
        "1",
      ]),
    ],
  },
  "without a log": {
    options: { ...byHand, wal: false },
    steps: [
      write(["a", "1"], ["b", "1"]),
      write({ gte: "a", lt: "b" }),
      compact,
      write(all),
      { reopen: true },
      write([
        "c",
        "1",
      ]),
    ],
  },
};

/** One run in a store that is judged all the way. */
async function run(setting: CrashSetting, point: Parameters<typeof runUntilCrash>[2], what: string) {
  const store = memoryStore();
  const breaches: string[] = [];
  let fire = () => {};
  const watched = judged(store, breaches, () => fire());
  const crashed = await runUntilCrash(watched, { ...setting, trigger: (how) => void (fire = how) }, point);
  assert.deepEqual(breaches, [], `${what}: after one of the requests`);
  assert.equal(breach(store), undefined, `${what}: at the end`);
  return { store, crashed };
}

/** What both a plain reopening and a way back from here find. */
async function recover(
  store: MemoryStore,
  crashed: CrashedRun,
  setting: CrashSetting,
  what: string,
  compacts = true,
): Promise<void> {
  const reopen = { ...setting.options, clock: virtualClock(4_000_000) };
  const copy = store.clone();
  const state = await contents(copy, reopen);
  judge(crashed, state, what);
  assert.equal(breach(copy), undefined, `${what}: after reopening`);
  if (!compacts) return;
  assert.deepEqual([...await contents(copy, reopen)], [...state], `${what}: a second reopening changes nothing`);
  const db = await open({ store, path: "db" }, reopen);
  await db.compact();
  await db.close();
  assert.equal(gates(store).at(-1), ".", `${what}: nothing needs the gate any more after a compaction of everything`);
  assert.equal(breach(store), undefined, `${what}: after the way back`);
  assert.deepEqual([...await contents(store, reopen)], [...state], `${what}: after the way back`);
}

describe("crash at every store request around the gate", () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`G1, G2 ${name}: the gate stands whenever a range tombstone may be found, and nothing is lost or comes back`, async () => {
      const { store, crashed: sound } = await run(setting, undefined, "a sound run");
      assert.equal(sound.crashed, false);
      assert.ok(gates(store).includes("g"), "there was a gate");
      if (name.includes("way back")) assert.match(gates(store), /g\./, "and a way back");
      if (name.includes("during")) assert.match(gates(store), /g\.+g/, "and a range delete in the middle of it");
      await recover(store, sound, setting, "a sound run");
      const gate = sound.log.findIndex(({ op, path }) => op === "putIfAbsent" && path.endsWith("3.manifest"));
      for (let index = gate - 1; index < sound.requests; index++) {
        // Reads change nothing: a crash around one is a crash between its neighbours.
        if (READS.has(sound.log[index]!.op)) continue;
        for (const when of ["before", "after"] as const) {
          const what = `crash ${when} request ${index}`;
          const { store, crashed } = await run(setting, { index, when }, what);
          await recover(store, crashed, setting, what, when === "after");
        }
      }
    });
  }
});
