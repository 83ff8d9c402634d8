import { type Clock, type Duration, Effect } from "effect";
import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { type VirtualClock, virtualClock } from "../../src/env/virtual_clock.ts";
import { Closed, DataError } from "../../src/errors.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName, walPath } from "../../src/format/paths.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertFenced, START_MILLIS, World } from "./fault_world.ts";

/** Longer than any collector keeps what is not needed. */
const NAP_MILLIS = 600_000;

/** A successor writes, makes a table of everything and closes; all that a collector may delete is deleted. */
async function succession(world: World, options: OpenOptions, rounds = 1): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const clock = virtualClock(START_MILLIS);
    const successor = await open({ store: world.inner, path: "" }, { clock, flushIntervalMillis: null, ...options });
    const put = successor.put(`successor ${round}`, "1", { durable: false });
    await put;
    const flush = successor.flush({ kind: "memtable" });
    await clock.advance(1000);
    await flush;
    await Promise.all([successor.close(), clock.advance(1000)]);
  }
  collect(world);
}

/** Deletes the log up to the replay boundary, fences too, and every manifest but the newest. */
function collect(world: World): void {
  const { replayAfterWalId } = world.manifest;
  for (const path of world.paths("wal")) if (parseNumberedName(path)! <= replayAfterWalId) world.inner.remove(path);
  for (const path of world.paths("manifest").slice(0, -1)) world.inner.remove(path);
}

interface SleepingClock extends Clock.Clock {
  sleptMillis: number;
  readonly scheduler: VirtualClock["scheduler"];
}

/** A clock of a machine that slept: the wall clock goes on by `sleptMillis`, the monotonic one does not. */
function sleeper(clock: VirtualClock): SleepingClock {
  const slept: SleepingClock = {
    sleptMillis: 0,
    scheduler: clock.scheduler,
    currentTimeMillisUnsafe: () => clock.now() + slept.sleptMillis,
    currentTimeNanosUnsafe: () => BigInt(slept.currentTimeMillisUnsafe()) * 1_000_000n,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    currentTimeMillis: Effect.sync(() => slept.currentTimeMillisUnsafe()),
    currentTimeNanos: Effect.sync(() => slept.currentTimeNanosUnsafe()),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration: Duration.Duration) => clock.sleep(duration),
  };
  return slept;
}

const WAYS: ReadonlyArray<readonly [string, OpenOptions]> = [["log on", {}], ["log off", { wal: false }]];

describe("K-1 a writer that slept through its succession and everything that was collected", () => {
  for (const [name, options] of WAYS) {
    const durably = async (db: Db) => {
      await db.put("zombie", "1", { durable: options.wal !== false });
      if (options.wal === false) await db.flush({ kind: "memtable" });
    };

    for (const rounds of [1, 2]) {
      it(`acknowledges nothing after ${rounds} successions, ${name}`, async () => {
        const world = new World(options);
        const zombie = await world.open();
        await world.get(durably(zombie));
        await succession(world, options, rounds);
        await world.clock.advance(NAP_MILLIS);
        const before = await world.contents();
        assertFenced(await world.error(durably(zombie)));
        assert.equal(zombie.status.closeReason, "fenced");
        assert.deepEqual([...await world.contents()], [...before], "it changed what its successor holds");
      });
    }

    it(`acknowledges nothing when its put was under way all that time, ${name}`, async () => {
      // Without polls: a poll that comes late finds out by itself.
      const world = new World({ ...options, manifestPollIntervalMillis: 10 * NAP_MILLIS });
      const zombie = await world.open();
      await world.get(durably(zombie));
      world.store.controls.addRules({ op: "putIfAbsent", fault: { kind: "delay", millis: NAP_MILLIS }, times: 3 });
      const write = durably(zombie);
      write.catch(() => {});
      await world.clock.advance(1000);
      await succession(world, options);
      const before = await world.contents();
      assertFenced(await world.error(write, 4 * NAP_MILLIS));
      assert.deepEqual([...await world.contents()], [...before]);
    });

    it(`acknowledges nothing when only its wall clock went on, ${name}`, async () => {
      const world = new World(options);
      const clock = sleeper(world.clock);
      const zombie = await world.open({ clock });
      await world.get(durably(zombie));
      await succession(world, options);
      clock.sleptMillis = NAP_MILLIS;
      assertFenced(await world.error(durably(zombie)));
    });

    it(`acknowledges nothing when its wall clock was set back meanwhile, ${name}`, async () => {
      const world = new World({ ...options, clockToleranceMillis: 10 * NAP_MILLIS });
      const zombie = await world.open();
      await world.get(durably(zombie));
      await succession(world, options);
      await world.clock.advance(NAP_MILLIS);
      await world.clock.set(START_MILLIS - 5000);
      assertFenced(await world.error(durably(zombie)));
    });

    it(`an idle writer without a successor goes on after the nap, ${name}`, async () => {
      const world = new World(options);
      const db = await world.open();
      await world.get(durably(db));
      await world.clock.advance(NAP_MILLIS);
      await world.get(durably(db));
      assert.equal(db.status.durableSeq, 2);
    });
  }
});

describe("K-2 what may vanish while a database is opened", () => {
  it("an opener whose log is collected by its successor is fenced, and calls nothing damaged", async () => {
    const world = new World();
    const first = await world.open();
    for (let i = 0; i < 12; i++) await world.get(first.put(`k${i}`, "1"));
    world.store.controls.addRules({
      op: "get",
      prefix: "wal/",
      nth: 3,
      times: 99,
      fault: { kind: "delay", millis: NAP_MILLIS },
    });
    const late = open({ store: world.store, path: "" }, { ...world.options, requestTimeoutMillis: 2 * NAP_MILLIS });
    late.catch(() => {});
    await world.clock.advance(100);
    const boundary = world.manifest.replayAfterWalId;
    await succession(world, {});
    assert.ok(world.manifest.replayAfterWalId > boundary + 12);
    assertFenced(await world.error(late, 4 * NAP_MILLIS));
    assert.equal((await world.contents()).size, 13);
  });

  it("an object that is gone without a successor is damage, and an earlier opener is fenced all the same", async () => {
    const world = new World();
    const first = await world.open();
    for (let i = 0; i < 3; i++) await world.get(first.put(`k${i}`, "1"));
    const gone = world.inner.peek(walPath("", 3))!;
    world.inner.remove(walPath("", 3));
    const error = await world.error(open({ store: world.store, path: "" }, world.options));
    assert.ok(error instanceof DataError && error.reason === "wal-gap", String(error));
    assert.equal(error.object, walPath("", 3));
    assertFenced(await world.error(first.put("late", "1")));
    world.inner.plant(walPath("", 3), gone);
    assert.deepEqual([...(await world.contents()).keys()], ["k0", "k1", "k2"]);
  });

  it("a listing that does not show the newest objects yet loses nothing", async () => {
    const world = new World();
    const first = await world.open();
    for (let i = 0; i < 4; i++) await world.get(first.put(`k${i}`, "1"));
    const stale = new World({}, world.inner);
    stale.store.controls.addRules({ op: "list", rate: 1, fault: { kind: "stale", hide: 2 } });
    const second = await world.open();
    await world.get(second.put("k4", "1"));
    world.store.controls.addRules({ op: "list", rate: 1, fault: { kind: "stale", hide: 3 } });
    const third = await world.open();
    const keys = (await world.get(third.scan().toArray())).map(({ key }) => new TextDecoder().decode(key));
    assert.deepEqual(keys, ["k0", "k1", "k2", "k3", "k4"]);
    await world.get(third.put("k5", "1"));
    assertFenced(await world.error(second.put("late", "1")));
  });
});

describe("K-3 numbers of manifests that were used and collected", () => {
  /** Versions that a reader made of the newest one, the older of them collected. */
  function planted(world: World, versions: number): number {
    const newest = parseNumberedName(world.paths("manifest").at(-1)!)!;
    const { manifest } = world;
    for (let i = 1; i <= versions; i++) {
      const record = {
        id: "01234567-89ab-cdef-0123-456789abcdef",
        manifestId: newest + i,
        expireTimeSeconds: 0,
        createTimeSeconds: 1000 + i,
        name: `reader ${i}`,
        writerEpoch: undefined,
      };
      world.inner.plant(manifestPath("", newest + i), encodeManifest({ ...manifest, checkpoints: [record] }));
    }
    for (let i = 0; i < versions; i++) world.inner.remove(manifestPath("", newest + i));
    return newest + versions;
  }

  for (const [name, options] of WAYS) {
    it(`an idle writer never creates a number below the newest, and keeps the reader's checkpoint, ${name}`, async () => {
      const world = new World(options);
      const db = await world.open();
      await world.get(db.put("a", "1", { durable: false }));
      await world.get(db.flush({ kind: "memtable" }));
      const stored = world.paths("manifest").length;
      const newest = planted(world, 4);
      await world.clock.advance(NAP_MILLIS);
      await world.get(db.put("b", "1", { durable: false }));
      await world.get(db.flush({ kind: "memtable" }));
      assert.deepEqual(world.paths("manifest").slice(-2), [newest, newest + 1].map((id) => manifestPath("", id)));
      assert.equal(world.paths("manifest").length, stored + 1, "a number that was used before was created again");
      assert.deepEqual(world.manifest.checkpoints.map((record) => record.name), ["reader 4"]);
      assert.equal(world.manifest.l0.length, 2);
      await world.get(db.close());
      assert.deepEqual([...(await world.contents()).keys()], ["a", "b"]);
    });

    it(`a create that took too long to trust is made again above what came meanwhile, ${name}`, async () => {
      const world = new World(options);
      const db = await world.open();
      await world.get(db.put("a", "1", { durable: false }));
      const rule = { op: "putIfAbsent", prefix: "manifest/", fault: { kind: "delay", millis: 400_000 } } as const;
      world.store.controls.addRules(rule);
      const flush = db.flush({ kind: "memtable" });
      await world.clock.advance(1000);
      const newest = planted(world, 4);
      await world.get(flush, 500_000);
      assert.equal(parseNumberedName(world.paths("manifest").at(-1)!), newest + 1);
      assert.deepEqual(world.manifest.checkpoints.map((record) => record.name), ["reader 4"]);
      assert.equal(world.manifest.l0.length, 1);
      assert.deepEqual([...(await world.contents()).keys()], ["a"]);
      await world.get(db.close());
    });
  }
});

describe("a writer that is fenced", () => {
  it("writes nothing any more, not even at close", async () => {
    const world = new World({ idlePollMillis: 100 });
    const old = await world.open();
    await world.get(old.put("a", "1"));
    const next = await open({ store: world.inner, path: "" }, { clock: virtualClock(START_MILLIS) });
    await world.clock.advance(1000);
    assert.equal(old.status.closeReason, "fenced");
    const requests = world.store.controls.requestCount;
    for (const call of [() => old.put("b", "1"), () => old.flush(), () => old.get("a"), () => old.close()]) {
      const error = await world.error(call());
      assert.ok(error instanceof Closed && error.reason === "fenced", String(error));
    }
    await world.clock.advance(NAP_MILLIS);
    assert.equal(world.store.controls.requestCount, requests);
    await next.close();
  });
});
