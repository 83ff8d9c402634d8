import { Effect } from "effect";
import { changes } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { InvalidArgument, type StoreError, Unavailable } from "../../src/errors.ts";
import { type FaultRule, faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ListPage, ObjectStoreShape } from "../../src/store/object_store.ts";
import { text } from "../support/bytes.ts";
import { contents, type CrashSetting, judge, runUntilCrash, type Step } from "../support/crash_script.ts";
import { assert, describe, it } from "../support/suite.ts";
import { Feed, plantLog, plantManifest, said } from "./changes_world.ts";
import { World } from "./fault_world.ts";

describe("changes over a store that fails", () => {
  it("waits for a store that comes back within the deadline", async () => {
    const world = new World();
    const db = await world.open();
    const store = faultyStore(world.inner);
    const feed = await new Feed(world, { requestTimeoutMillis: 20_000 }, store).start();
    store.controls.setOutage(true);
    await world.get(db.put("a", "1"));
    await feed.quiet(15_000);
    store.controls.setOutage(false);
    assert.equal(await feed.next(), "put a=1 @1");
  });

  it("gives up after the deadline, and has ended then", async () => {
    const world = new World();
    await world.open();
    const store = faultyStore(world.inner);
    for (const hang of [false, true]) {
      const feed = await new Feed(world, { requestTimeoutMillis: 5000 }, store).start();
      if (hang) store.controls.addRules({ fault: { kind: "hang", when: "before" }, times: 1000 });
      else store.controls.setOutage(true);
      const begun = world.clock.now();
      const error = await feed.error(60_000);
      assert.ok(error instanceof Unavailable, String(error));
      assert.ok(world.clock.now() - begun < 8000, `after ${world.clock.now() - begun} ms`);
      assert.equal(await feed.next(), undefined);
      store.controls.quiet();
    }
  });

  it("gives every row once and in order, whatever a tenth of the requests come to", async () => {
    const rules: FaultRule[] = [
      { rate: 0.1, fault: { kind: "before" } },
      { op: "get", rate: 0.1, fault: { kind: "delay", millis: 700 } },
      { op: "list", rate: 0.5, fault: { kind: "delay", millis: 40_000 } },
    ];
    for (let seed = 1; seed <= 5; seed++) {
      const world = new World({ l0SstSizeBytes: 400 });
      const db = await world.open();
      const store = faultyStore(world.inner, { rules, seed });
      const feed = new Feed(world, { fromSeq: 1, requestTimeoutMillis: 100_000 }, store);
      for (let round = 0; round < 12; round++) {
        for (let i = 1; i <= 5; i++) await world.get(db.put(`k${round}`, "v".repeat(20 * i)));
        if (round % 4 === 3) await world.clock.advance(50_000);
        const rows = await feed.take(5, 400_000);
        assert.deepEqual(rows.map((row) => row.split("@")[1]), [1, 2, 3, 4, 5].map((i) => String(5 * round + i)));
      }
      assert.ok(world.manifest.replayAfterWalId > 5, "tables have overtaken the feed");
      await feed.end();
      await world.get(db.close());
    }
  });

  it("makes nothing of a listing that is cut in the middle of a writer's work", async () => {
    const world = new World();
    plantLog(world.inner, { 1: [], 2: [1], 3: [2], 4: [3], 5: [4] });
    plantManifest(world.inner, {});
    // The page was read before objects 3 and 4 were there, and object 5 only after.
    const store: ObjectStoreShape = {
      ...world.store,
      list: (prefix, after) =>
        prefix !== "wal/" ? world.store.list(prefix, after) : world.inner.clone().list("wal/", after).pipe(
          (page) => dropped(page, ["3", "4"]),
        ),
    };
    for (const follow of [true, false]) {
      const feed = new Feed(world, { fromSeq: 1, follow }, store);
      assert.deepEqual(await feed.take(4), [1, 2, 3, 4].map((seq) => `put k${seq}=v @${seq}`));
    }
  });
});

function dropped(
  page: Effect.Effect<ListPage, StoreError>,
  ids: readonly string[],
): Effect.Effect<ListPage, StoreError> {
  return Effect.map(page, ({ objects, truncated }) => ({
    truncated,
    objects: objects.filter(({ path }) => !ids.some((id) => path.endsWith(`0${id}.sst`))),
  }));
}

const write = (...changed: Array<[string, string | undefined]>): Step => ({ write: changed });
const TINY: OpenOptions = { flushIntervalMillis: null, l0SstSizeBytes: 120, maxUnflushedBytes: 4000 };
const HISTORY: CrashSetting = {
  options: TINY,
  steps: [
    write(["a", "1"], ["b", "2"]),
    write(["a", "v".repeat(90)]),
    { reopen: true },
    write(["c", "3"], ["a", undefined]),
    { flush: "memtable" },
    write(["d", "4"], ["b", undefined]),
    { reopen: true },
    write(["e", "5"]),
  ],
};

/** All changes of a store that no writer has open. */
async function feedOf(store: ObjectStoreShape): Promise<{ rows: string[]; state: Map<string, string> }> {
  const rows: string[] = [];
  const state = new Map<string, string>();
  for await (const change of changes({ store, path: "db" }, { fromSeq: 1, follow: false })) {
    rows.push(said(change));
    assert.ok(change.kind !== "deleteRange", "no range was deleted");
    if (change.kind === "delete") state.delete(text(change.key)!);
    else state.set(text(change.key)!, text(change.value)!);
  }
  return { rows, state: new Map([...state].sort(([a], [b]) => a < b ? -1 : 1)) };
}

describe("changes of a database that crashed", () => {
  it("are what a new writer replays, after a crash at every request", async () => {
    const sound = await runUntilCrash(memoryStore(), HISTORY, undefined);
    for (let index = 0; index < sound.requests; index++) {
      for (const when of ["before", "after"] as const) {
        const store = memoryStore();
        const run = await runUntilCrash(store, HISTORY, { index, when });
        const what = `crash ${when} request ${index}`;
        let before: Awaited<ReturnType<typeof feedOf>>;
        try {
          before = await feedOf(store);
        } catch (error) {
          assert.ok(error instanceof InvalidArgument && error.reason === "missing-database", `${what}: ${error}`);
          continue;
        }
        judge(run, before.state, what);
        const state = await contents(store, { ...TINY, clock: virtualClock(2_000_000) });
        assert.deepEqual([...before.state], [...state], what);
        assert.deepEqual((await feedOf(store)).rows, before.rows, what);
      }
    }
  });
});
