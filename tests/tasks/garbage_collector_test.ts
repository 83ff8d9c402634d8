import { Effect } from "effect";
import { encodeCompactions } from "../../src/format/compactions_codec.ts";
import { compactionsPath, tablePath } from "../../src/format/paths.ts";
import type { CompactionStatus, Ulid } from "../../src/format/types.ts";
import { ulidFromParts, ulidMillis } from "../../src/format/ulid.ts";
import { addCheckpoint } from "../../src/state/checkpoint_edits.ts";
import { ManifestHandle } from "../../src/state/manifest_handle.ts";
import { ManifestStore } from "../../src/state/manifest_store.ts";
import { recordWalId } from "../../src/state/manifest_edits.ts";
import { assert, describe, it } from "../support/suite.ts";
import { AGES, fill, type GcWorld, gcWorld, INTERVAL, INTERVAL_MAX, type Running } from "./gc_world.ts";

const HOUR = 3_600_000;
const plain = { compactor: false, garbageCollector: false } as const;
const random = (n: number) => new Uint8Array(10).fill(n);

/** Requests made while `millis` pass. */
async function requestsIn(world: GcWorld, millis: number): Promise<number> {
  const before = world.store.controls.requestCount;
  await world.wait(millis);
  return world.store.controls.requestCount - before;
}

function plantTable(world: GcWorld, millis: number, n = 0): string {
  const path = tablePath("", ulidFromParts(millis, random(n)));
  world.inner.plant(path, new Uint8Array(100), { lastModifiedMillis: millis });
  return path;
}

/** Commits something through the collector's handle and says so, as an engine does. */
async function commit(world: GcWorld, { manifest, collector }: Running, lifetimeMillis = Infinity): Promise<void> {
  const id = `00000000-0000-4000-8000-${String(manifest.stored.id).padStart(12, "0")}`;
  await world.run(manifest.commit(addCheckpoint({ id, nowMillis: world.clock.now(), lifetimeMillis }), "admin"));
  collector.changed();
}

/** A world with old garbage and a collector that has made its first pass. */
async function settledWorld(): Promise<{ world: GcWorld; running: Running }> {
  const world = gcWorld();
  await fill(world, 3, 2);
  const running = await world.start();
  await world.wait(INTERVAL_MAX);
  assert.equal(running.reports.length, 1);
  return { world, running };
}

describe("garbageCollector", () => {
  it("makes no request before its interval is over, then one pass, then none in ten hours, without a timer", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const before = await world.contents(plain);
    const { reports, stop } = await world.start();
    assert.equal(await requestsIn(world, INTERVAL - 1), 0);
    await world.wait(INTERVAL_MAX - INTERVAL + 1);
    assert.deepEqual(reports.map(({ deleted }) => deleted.manifest.length), [7]);
    assert.equal(world.clock.timers, 0);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    assert.deepEqual(await world.contents(plain), before);
    await stop();
  });

  it("collects once an interval after a change, however many changes there are", async () => {
    const { world, running } = await settledWorld();
    for (let i = 0; i < 5; i++) {
      await commit(world, running);
      await world.wait(1000);
    }
    assert.equal(world.clock.timers, 1);
    await world.wait(INTERVAL_MAX);
    assert.equal(running.reports.length, 2);
    await running.stop();
    assert.equal(world.clock.timers, 0);
  });

  it("passes are an interval apart while the manifest keeps changing", async () => {
    const { world, running } = await settledWorld();
    for (let i = 0; i < 400; i++) {
      await commit(world, running, 1000);
      await world.wait(10_000);
    }
    const passes = running.reports.length - 1;
    assert.ok(passes === 6, `${passes} passes in 4000 s, although a checkpoint ends every 10 s`);
    await running.stop();
  });

  it("collects after a failed upload although the manifest is the same", async () => {
    const { world, running } = await settledWorld();
    running.collector.orphaned();
    running.collector.orphaned();
    await world.wait(INTERVAL_MAX);
    assert.equal(running.reports.length, 2);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    await running.stop();
  });

  it("comes back when what it kept for its age has reached it, and at no other time", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start();
    await world.wait(INTERVAL_MAX - 100_000);
    const born = world.clock.now();
    const orphan = plantTable(world, born);
    // Only a collector that knows its writer's uploads may take an orphan that is newer than the newest table.
    const older = plantTable(world, ulidMillis(world.manifest.l0[0]!.sstId) - 1, 1);
    world.inner.plant(older, new Uint8Array(9), { lastModifiedMillis: born });
    await world.wait(100_000);
    assert.equal(running.reports[0]!.kept.compacted["young"], 1);
    assert.equal(await requestsIn(world, born + AGES.minAgeMillis - 1 - world.clock.now()), 0);
    await world.wait(1);
    assert.deepEqual(running.reports[1]!.deleted.compacted, [older]);
    assert.ok(world.inner.peek(orphan) !== undefined);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    await running.stop();
  });

  it("comes back when a checkpoint ends, removes it and what it held, and is done within 30 minutes", async () => {
    const { world, running } = await settledWorld();
    await commit(world, running, 900_000);
    await world.wait(899_000);
    assert.equal(running.manifest.current.checkpoints.length, 1);
    await world.wait(2000);
    assert.equal(running.manifest.current.checkpoints.length, 0);
    assert.equal(running.reports.at(-1)!.expiredCheckpoints.length, 1);
    await world.wait(1_800_000 - 901_000);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    assert.equal(world.clock.timers, 0);
    assert.deepEqual(Object.values((await world.pass({ dryRun: true })).report.deleted).flat(), []);
    await running.stop();
  });

  it("looks once more after compactions that had not ended, and does not wait for a dead one for ever", async () => {
    const { world, running } = await settledWorld();
    const base = ulidMillis(world.manifest.l0[0]!.sstId) - 500;
    const output = plantTable(world, base);
    const store = (id: number, status: CompactionStatus) => {
      const one = { id: ulidFromParts(base, random(3)), l0ViewIds: [], sortedRuns: [1], status, outputSsts: [] };
      const body = encodeCompactions({ compactorEpoch: 1, recentCompactions: [one] });
      world.inner.plant(compactionsPath("", id), body, { lastModifiedMillis: world.clock.now() });
    };
    store(1, "running");
    running.collector.orphaned();
    await world.wait(INTERVAL_MAX);
    assert.equal(running.reports.at(-1)!.kept.compacted["active-compaction"], 1);
    store(2, "completed");
    await world.wait(INTERVAL_MAX);
    assert.deepEqual(running.reports.at(-1)!.deleted.compacted, [output]);
    plantTable(world, base);
    store(3, "running");
    running.collector.orphaned();
    const before = running.reports.length;
    await world.wait(10 * HOUR);
    assert.equal(running.reports.length - before, 2);
    assert.equal(world.clock.timers, 0);
    await running.stop();
  });

  it("an interval of Infinity makes passes only when asked, and an idle one costs nothing", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start({ settings: { ...AGES, intervalMillis: Infinity } });
    running.collector.orphaned();
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    assert.equal(world.clock.timers, 0);
    const report = await world.run(running.collector.collectNow);
    assert.equal(report.deleted.manifest.length, 7);
    await fill(world, 2, 1);
    const young = await world.run(running.collector.collectNow);
    assert.ok(young.kept.manifest["young"]! > 0);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    assert.equal(world.clock.timers, 0);
    await running.stop();
  });

  it("makes no pass of its own right after one that was asked for", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start();
    await world.wait(INTERVAL - 1);
    world.store.controls.setLatency(30_000);
    const asked = world.run(running.collector.collectNow, HOUR);
    await world.wait(HOUR);
    await asked;
    assert.equal(running.reports.length, 1);
    await running.stop();
  });
});

describe("garbageCollector, time", () => {
  /** A handle that has created a version, as a writer's has: the store's time is known from it. */
  async function writing(world: GcWorld): Promise<ManifestHandle> {
    const handle = await world.handle();
    await world.run(handle.commit(recordWalId(handle.current.walIdLastSeen + 1), "writer"));
    return handle;
  }

  it("a clock that jumps a day ahead makes nothing look old", async () => {
    for (const knowsTime of [true, false]) {
      const world = gcWorld();
      await fill(world, 3, 1);
      const running = await world.start({
        manifest: knowsTime ? await writing(world) : await world.handle(),
        inFlight: () => new Set<Ulid>(),
      });
      await world.wait(1000);
      const young = plantTable(world, world.clock.now());
      skewAhead(world, 24 * HOUR);
      const report = await world.run(running.collector.collectNow);
      // Without a version of its own it has nothing but the wall clock.
      assert.deepEqual(report.deleted.compacted, knowsTime ? [] : [young]);
      assert.equal(report.deleted.manifest.length, knowsTime ? 0 : 3);
      await world.wait(AGES.minAgeMillis + 1000);
      const later = await world.run(running.collector.collectNow);
      if (knowsTime) assert.deepEqual(later.deleted.compacted, [young]);
      await running.stop();
    }
  });

  it("knows the time from a version of its own, although others have made newer ones", async () => {
    for (const when of ["before it began", "later"] as const) {
      const world = gcWorld();
      await fill(world, 3, 1);
      const manifest = when === "later" ? await world.handle() : await writing(world);
      const running = await world.start({ manifest });
      if (when === "later") await commit(world, running);
      world.plantManifest(() => ({}));
      await world.run(manifest.refresh);
      running.collector.changed();
      skewAhead(world, 24 * HOUR);
      const report = await world.run(running.collector.collectNow);
      assert.deepEqual(Object.values(report.deleted).flat(), [], when);
      await running.stop();
    }
  });

  it("a clock that is set back deletes nothing early and passes go on", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start({ manifest: await writing(world) });
    await world.clock.set(world.clock.now() - 500_000);
    assert.equal(await requestsIn(world, INTERVAL - 1), 0);
    await world.wait(INTERVAL_MAX - INTERVAL + 1);
    assert.equal(running.reports.length, 1);
    assert.equal(running.reports[0]!.deleted.manifest.length, 0, "by the store's time at most 160 s have passed");
    await world.wait(HOUR);
    assert.equal(running.manifest.stored.id - running.reports.flatMap((one) => one.deleted.manifest).length, 2);
    await running.stop();
  });
});

/** Moves the wall clock ahead without time passing: no timer fires, and what is stored keeps its age. */
function skewAhead(world: GcWorld, millis: number): void {
  const { clock } = world;
  const real = clock.currentTimeMillisUnsafe.bind(clock);
  clock.currentTimeMillisUnsafe = () => real() + millis;
}

describe("garbageCollector, trouble", () => {
  it("tells of a store that does not answer, tries again ever later, and tells when it is over", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start();
    world.store.controls.setOutage(true);
    await world.wait(INTERVAL - 1);
    while (running.troubles.length === 0) await world.wait(100);
    assert.match(running.troubles[0]!, /failed and will be tried again: Cannot list/);
    const counts: number[] = [];
    for (const millis of [29_800, 400, 59_600, 400, 119_600, 400]) {
      await world.wait(millis);
      counts.push(running.troubles.length);
    }
    assert.deepEqual(counts, [1, 2, 2, 3, 3, 4], "after 30, 60 and 120 s");
    world.store.controls.setOutage(false);
    await world.wait(INTERVAL_MAX);
    assert.equal(running.troubles.at(-1), undefined);
    assert.equal(running.reports.length, 1);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    await running.stop();
  });

  it("does not forget a failed upload when a pass that was asked for fails", async () => {
    const { world, running } = await settledWorld();
    running.collector.orphaned();
    world.store.controls.setOutage(true);
    const error = await world.run(Effect.flip(running.collector.collectNow));
    assert.equal(error._tag, "StoreError");
    world.store.controls.setOutage(false);
    await world.wait(INTERVAL_MAX);
    assert.equal(running.reports.length, 2);
    await running.stop();
  });

  it("tells of a pinned version that cannot be read, and that it is over once the checkpoint is gone", async () => {
    const { world, running } = await settledWorld();
    const pin = {
      id: PIN,
      manifestId: 3,
      expireTimeSeconds: 0,
      createTimeSeconds: 0,
      name: "x",
      writerEpoch: undefined,
    };
    world.plantManifest(() => ({ checkpoints: [pin] }));
    await world.run(running.manifest.refresh);
    running.collector.changed();
    await world.wait(INTERVAL_MAX);
    assert.match(running.troubles.at(-1)!, /deletes nothing: .*00000000000000000003\.manifest/);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    world.plantManifest(() => ({ checkpoints: [] }));
    await world.run(running.manifest.refresh);
    running.collector.changed();
    await world.wait(INTERVAL_MAX);
    assert.equal(running.troubles.at(-1), undefined);
    await running.stop();
  });

  it("tells of a deletion that fails and tries it again an interval later", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start();
    const fault = { kind: "before", reason: "permission", retryable: false } as const;
    world.store.controls.addRules({ op: "delete", nth: 1, fault });
    await world.wait(INTERVAL_MAX);
    assert.match(running.troubles.at(-1)!, /could not delete everything: Cannot delete wal/);
    await world.wait(INTERVAL_MAX);
    assert.equal(running.reports[1]!.deleted.wal.length, 1);
    assert.equal(running.troubles.at(-1), undefined);
    assert.equal(await requestsIn(world, 10 * HOUR), 0);
    await running.stop();
  });

  it("ends when its writer was taken over, and says so", async () => {
    const world = gcWorld();
    await fill(world, 2, 1);
    const versions = new ManifestStore(world.store, "");
    const fenced = await world.run(
      Effect.map(versions.newest, (stored) => new ManifestHandle(versions, stored!, true)),
    );
    let closed: unknown;
    const running = await world.start({ manifest: fenced, onClosed: (error) => closed = error });
    await fill(world, 2, 1);
    const objects = world.inner.objects().length;
    await world.wait(INTERVAL_MAX);
    assert.equal((closed as { reason?: string } | undefined)?.reason, "fenced");
    assert.deepEqual([world.inner.objects().length, world.clock.timers], [objects, 0]);
    await running.stop();
  });

  it("answers who waits for a pass when it is stopped, and who comes later", async () => {
    const world = gcWorld();
    await fill(world, 2, 1);
    const running = await world.start();
    world.store.controls.addRules({ op: "list", prefix: "wal/", rate: 1, fault: { kind: "hang", when: "before" } });
    const context = world.run(Effect.flip(running.collector.collectNow));
    const queued = world.run(Effect.flip(running.collector.collect(true)));
    await world.wait(100);
    await running.stop();
    for (const waiting of [context, queued, world.run(Effect.flip(running.collector.collectNow))]) {
      const error = await waiting;
      assert.deepEqual([error._tag, (error as { reason: string }).reason], ["Closed", "clean"]);
    }
  });

  it("makes one pass at a time; a dry run does not count", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const running = await world.start();
    world.store.controls.setLatency(10);
    await world.wait(AGES.minAgeMillis);
    const from = world.store.controls.requestCount;
    const passes = [running.collector.collect(true), running.collector.collectNow, running.collector.collectNow];
    const reports = await Promise.all(passes.map((pass) => world.run(pass)));
    assert.deepEqual(reports.map((report) => report.deleted.manifest.length), [7, 7, 0]);
    assert.equal(running.reports.length, 2);
    const listed = world.store.controls.log.slice(from).filter(({ op }) => op === "list").map(({ path }) => path);
    const wal = listed.flatMap((path, i) => path === "wal/" ? [i] : []);
    const versions = listed.flatMap((path, i) => path === "compactions/" ? [i] : []);
    assert.equal(wal.length, 3);
    assert.ok(versions[1]! < wal[1]! && versions[3]! < wal[2]!, "passes do not overlap");
    await running.stop();
  });
});

const PIN = "00000000-0000-4000-8000-000000000001";
