/**
 * The official compactor takes over from one of ours that died, at every request of its work, and ours from one of the
 * official engine that was killed. Nothing is lost and nothing comes back, and both go on from there.
 *
 * @module
 */
import type { CompactionScheduler } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import type { LoggedRequest } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type State, type Step } from "../support/crash_script.ts";
import { judgeKilled, writeAndKill } from "../support/interop_child.ts";
import {
  activeEntries,
  assertAllReachableStored,
  assertNoActiveOutputs,
  collectAll,
  dropCheckpoints,
  Lanes,
  newestCompactions,
  officialAtRest,
  oursAtRest,
  versionsOf,
} from "../support/interop_compaction.ts";
import { readIn, stateOf, writeOut } from "../support/interop_crashed.ts";
import { officialMissing, openOfficial, quickCompactor } from "../support/interop_official.ts";
import { copyPlace, newestManifest, openOurs, withPlace } from "../support/interop_ours.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const base: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  garbageCollector: false,
};
const size = { minCompactionSources: 2, maxSstBytes: 200, maxConcurrentCompactions: 4 } as const;
const leveled = { ...size, scheduler: "leveled", levelBaseBytes: 300, levelMultiplier: 2 } as const;

/** Leaves everything to `compact()`. */
const byHand: CompactionScheduler = { name: "by hand", minL0Sources: 1, wholeRuns: true, propose: () => [] };

/** A table with two rows of its own, one that every table has, and a delete or put of one that several have. */
const table = (i: number): Step[] => [
  {
    write: [
      [`a${i}`, `1 ${"x".repeat(30)}`],
      [`m${i}`, "y".repeat(40)],
      ["shared", `version ${i}`],
      [`b${i % 3}`, i % 2 === 0 ? undefined : `odd ${i}`],
    ],
    durable: true,
  },
  { flush: "memtable" },
];
const tables = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => table(from + i)).flat();

const SCRIPTS: Record<string, CrashSetting> = {
  "size-tiered": { options: { ...base, compactor: size }, steps: tables(0, 5) },
  "size-tiered, several at once": {
    options: { ...base, compactor: size },
    latencyMillis: 7,
    steps: [...tables(0, 9), { advance: 3000 }],
  },
  "leveled, several at once": {
    options: { ...base, compactor: leveled },
    latencyMillis: 7,
    steps: [...tables(0, 9), { advance: 3000 }],
  },
  "a range by hand": {
    options: { ...base, compactor: { ...size, scheduler: byHand } },
    steps: [
      ...tables(0, 3),
      { compact: true },
      ...tables(3, 6).map((step): Step =>
        "write" in step ? { ...step, write: [...step.write, ["a1", undefined]] } : step
      ),
      { compact: { gte: "a1", lt: "b1" } },
    ],
  },
};

/** Takeovers at once. */
const LANES = 4;
/** Crashes of the longest history, at most: each is followed by both engines. */
const POINTS_MAX = 11;

/** What of a crash makes it a different one for whoever takes over. */
function stageOf(log: readonly LoggedRequest[], index: number, when: string): string {
  const { op, path } = log[index]!;
  return `${when} ${op} ${path.split("/").slice(0, -1).join("/")}`;
}

/** Opens the official engine, lets its compactor work until it rests, and compares before and after. */
async function officialGoesOn(folder: string, state: State, what: string): Promise<void> {
  const writer = await openOfficial(folder, { settings: { compactor_options: quickCompactor(2, 2) } });
  assert.deepEqual([...await stateOf(writer)], [...state], `${what}: the official engine opens it`);
  await officialAtRest(folder, 2);
  assert.deepEqual([...await stateOf(writer)], [...state], `${what}: the official engine compacted it`);
  await writer.close();
}

/** Opens ours on what the official compactor left, and compacts everything. */
async function oursGoesOn(folder: string, state: State, what: string): Promise<void> {
  const writer = await openOurs(folder, { open: { compactor: size } });
  assert.deepEqual([...await stateOf(writer)], [...state], `${what}: ours opens it again`);
  await writer.db.compact();
  assert.equal(newestManifest(folder).l0.length, 0);
  assert.ok(newestManifest(folder).compacted.length <= 1);
  assert.deepEqual([...await stateOf(writer)], [...state], `${what}: ours compacted it again`);
  await writer.close();
}

describe("interop: compactors taken over", { skip }, () => {
  for (const [name, setting] of Object.entries(SCRIPTS)) {
    it(`ours crashed anywhere, the official compactor goes on: ${name}`, async () => {
      const sound = await runUntilCrash(memoryStore(), setting, undefined);
      const first = sound.log.findIndex(({ op, path }) => op === "putIfAbsent" && path.startsWith("db/compactions/"));
      assert.ok(first > 0, "nothing was compacted");
      const lanes = new Lanes(LANES);
      const met = { stages: new Set<string>(), active: 0 };
      for (let point = 2 * first - 4; point < 2 * sound.requests; point++) {
        const [index, when] = [point >> 1, point % 2 === 0 ? "before" as const : "after" as const];
        // Reads change nothing: a crash after one is a crash before the next request.
        const { op } = sound.log[index]!;
        if (["get", "getRange", "getRanges", "head", "list"].includes(op)) continue;
        // Each is struck before or after its effect, in turns; of the longer histories every other one.
        const turns = setting.latencyMillis === undefined ? 4 : 8;
        if (point % turns !== 0 && point % turns !== 3) continue;
        const store = memoryStore();
        const run = await runUntilCrash(store, setting, { index, when });
        if (!run.crashed) continue;
        const what = `crash ${stageOf(run.log, index, when)} (${index})`;
        await lanes.start(() =>
          withPlace(async (place) => {
            writeOut(store, place.root);
            assertNoActiveOutputs(place.db, 0);
            met.stages.add(stageOf(run.log, index, when));
            met.active = Math.max(met.active, activeEntries(newestCompactions(place.db)).length);
            const ours = await contents(store, { ...base, compactor: false, clock: virtualClock(4_000_000) });
            judge(run, ours, what);
            await officialGoesOn(place.db, ours, what);
            await oursGoesOn(place.db, ours, what);
          })
        );
      }
      await lanes.done();
      for (const folder of ["manifest", "compactions", "compacted"]) {
        const stage = `putIfAbsent db/${folder}`;
        assert.ok(met.stages.has(`before ${stage}`) && met.stages.has(`after ${stage}`), [...met.stages].join());
      }
      assert.ok(met.active >= (name.includes("several") ? 2 : 1), `at most ${met.active} active at a crash`);
    });
  }

  it("the official engine killed while it compacts, ours goes on and collects", () =>
    withPlace(async (place) => {
      let next = 0;
      let compacting = 0;
      for (const [acks, outputs] of [[10, 0], [25, 1], [15, 1]] as const) {
        // Not for ever: with luck its compactor is between two jobs whenever we look.
        let looks = 0;
        const until = () =>
          activeEntries(newestCompactions(place.db)).some((entry) => entry.outputSsts.length >= outputs) ||
          looks++ > 100;
        const acked = await writeAndKill(place.db, next, acks, { engine: "official", until });
        const known = versionsOf(place.db, "compactions").at(-1) ?? 0;
        const active = activeEntries(newestCompactions(place.db));
        if (active.length > 0) compacting++;
        const ours = await openOurs(place.db, { open: { compactor: size, l0MaxSsts: 100 } });
        next = judgeKilled(await stateOf(ours), acked) + 1;
        const state = await stateOf(ours);
        await oursAtRest(ours, 2);
        assert.deepEqual([...await stateOf(ours)], [...state], "after its compaction");
        await ours.db.compact();
        await ours.close();
        assertNoActiveOutputs(place.db, known);
        await dropCheckpoints(place.db);
        const { deleted } = await collectAll(place.db);
        assert.ok(deleted.compacted.length > 0, "nothing to collect");
        assertAllReachableStored(place.db, "collected");
        const copy = copyPlace(place.db);
        await officialGoesOn(copy.db, state, "the official engine again");
        copy.done();
      }
      // It may finish a job between our look and the signal, but hardly every time.
      assert.ok(compacting > 0, "never killed in the middle of a compaction");
    }));

  it("the official engine killed, then ours crashed anywhere while it goes on, then the official engine again", () =>
    withPlace(async (place) => {
      let looks = 0;
      await writeAndKill(place.db, 0, 25, {
        engine: "official",
        until: () =>
          activeEntries(newestCompactions(place.db)).some((one) => one.outputSsts.length > 0) || looks++ > 100,
      });
      const known = versionsOf(place.db, "compactions").at(-1) ?? 0;
      const before = await contents(readIn(place.db), { ...base, compactor: false });
      const setting: CrashSetting = {
        options: { ...base, compactor: size },
        startMillis: Date.now(),
        steps: [...table(0), { compact: true }],
      };
      const sound = await runUntilCrash(readIn(place.db), setting, undefined);
      const points = sound.log.filter(({ op }) => op === "putIfAbsent")
        .flatMap(({ index }) => [[index, "before"], [index, "after"]] as const);
      assert.ok(points.length > 20, "our compactor had little to do");
      const every = Math.ceil(points.length / POINTS_MAX);
      const lanes = new Lanes(LANES);
      let crashes = 0;
      for (const [index, when] of points.filter((_, i) => i % every === 0)) {
        const store = readIn(place.db);
        const run = await runUntilCrash(store, setting, { index, when });
        if (!run.crashed) continue;
        crashes++;
        const what = `crash ${stageOf(run.log, index, when)} (${index})`;
        await lanes.start(() =>
          withPlace(async (copy) => {
            writeOut(store, copy.root);
            assertNoActiveOutputs(copy.db, known);
            const ours = await contents(store, { ...base, compactor: false });
            for (const [key, value] of before) assert.equal(ours.get(key), value, `${what}: ${key}`);
            await officialGoesOn(copy.db, ours, what);
            await oursGoesOn(copy.db, ours, what);
          })
        );
      }
      await lanes.done();
      assert.ok(crashes > POINTS_MAX / 3, `only ${crashes} crashes`);
    }));
});
