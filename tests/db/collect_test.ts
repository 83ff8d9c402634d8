import { collectGarbage, type CollectOptions } from "../../src/db/collect.ts";
import type { GcReport } from "../../src/db/admin_api.ts";
import type { Location } from "../../src/db/location.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { DataError, InvalidArgument, Unavailable } from "../../src/errors.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { parseNumberedName, parseTableName } from "../../src/format/paths.ts";
import type { Manifest } from "../../src/format/types.ts";
import { ulidMillis } from "../../src/format/ulid.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { filesOf, type FixtureCase, fixtureCases, leftOut } from "../format/fixture_files.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { fill, gcWorld } from "../tasks/gc_world.ts";

const plain = { compactor: false, garbageCollector: false } as const;

/** The error that a call is refused with. */
async function refusal(location: Location, options?: object): Promise<unknown> {
  return await collectGarbage(location, options as CollectOptions).then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
}

describe("collectGarbage", () => {
  it("collects a database that nobody has open, at any root, and leaves it readable", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const { clock } = world;
    const before = await world.contents(plain);
    assert.equal((await collectGarbage({ store: world.inner, path: "" }, { clock })).deleted.manifest.length, 0);
    await world.wait(300_000);
    const dry = await collectGarbage({ store: world.inner, path: "" }, { clock, dryRun: true });
    const wet = await collectGarbage({ store: world.inner, path: "" }, { clock });
    assert.deepEqual({ ...dry, dryRun: false, cost: wet.cost }, wet);
    assert.deepEqual([wet.deleted.manifest.length, wet.deleted.wal.length], [7, 5]);
    assert.deepEqual(await world.contents(plain), before);
    const below = memoryStore();
    for (const path of world.inner.objects()) below.plant(`a/b/${path}`, world.inner.peek(path)!);
    below.plant("a/wal/00000000000000000001.sst", new Uint8Array(500));
    const report = await collectGarbage({ store: below, path: "a/b" }, { clock, minAgeMillis: 60_000 });
    assert.deepEqual([report.deleted.wal, report.kept.wal], [[], { fence: 2, live: 1 }]);
    assert.ok(below.peek("a/wal/00000000000000000001.sst") !== undefined);
  });

  it("runs beside a live writer and fences nobody", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.wait(1_000_000);
    const report = await collectGarbage({ store: world.inner, path: "" }, { clock: world.clock });
    assert.ok(report.deleted.wal.length > 0);
    await world.get(db.put("a", "2"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.close());
    assert.equal((await world.contents(plain)).get("a"), "2");
  });

  it("collects a log that lives in a store of its own, and asks for it", async () => {
    const world = gcWorld();
    const log = memoryStore();
    const db = await world.open({ wal: { store: log } });
    for (let i = 0; i < 3; i++) {
      await world.get(db.put("a", String(i)));
      await world.get(db.flush({ kind: "memtable" }));
    }
    await world.get(db.close());
    await world.wait(300_000);
    const here = { store: world.inner, path: "" };
    assert.match(String(await refusal(here, { clock: world.clock })), /separate store; name it with wal/);
    const report = await collectGarbage(here, { clock: world.clock, wal: { store: log } });
    assert.equal(report.deleted.wal.length, 2);
    const other = gcWorld();
    await fill(other, 1);
    const error = await refusal({ store: other.inner, path: "" }, { clock: world.clock, wal: { store: log } });
    assert.ok(error instanceof InvalidArgument && error.reason === "wal-store");
  });

  it("refuses ages that are not safe, unless told that they are", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const here = { store: world.inner, path: "" };
    const cases: ReadonlyArray<readonly [object, RegExp]> = [
      [{ minAgeMillis: 59_999 }, /option minAgeMillis: 59999 ms is too young.*allowUnsafeAge/],
      [{ walFenceMinAgeMillis: 86_399_999 }, /option walFenceMinAgeMillis/],
      [{ minAgeMillis: -1, allowUnsafeAge: true }, /"minAgeMillis" cannot be taken/],
      [{ minAgeMillis: 0.5, allowUnsafeAge: true }, /"minAgeMillis" cannot be taken/],
      [{ minage: 1 }, /no option "minage"/],
      [{ dryRun: 1 }, /"dryRun" cannot be taken/],
      [{ wal: {} }, /"wal" cannot be taken/],
      [{ requestTimeoutMillis: 0 }, /"requestTimeoutMillis" cannot be taken/],
    ];
    for (const [options, message] of cases) {
      const error = await refusal(here, options);
      assert.ok(error instanceof InvalidArgument && error.reason === "options", String(error));
      assert.match(error.message, message);
    }
    const unsafe = { clock: world.clock, minAgeMillis: 0, allowUnsafeAge: true };
    assert.equal((await collectGarbage(here, unsafe)).deleted.manifest.length, 7);
  });

  it("says what is wrong when there is no database, or no store, or the newest manifest is damaged", async () => {
    const missing = await refusal({ store: memoryStore(), path: "x" });
    assert.ok(missing instanceof InvalidArgument && missing.reason === "missing-database");
    assert.ok(await refusal("s9://bucket") instanceof InvalidArgument);
    const world = gcWorld();
    await fill(world, 1);
    world.inner.plant(world.paths("manifest").at(-1)!, new Uint8Array(20));
    assert.ok(await refusal({ store: world.inner, path: "" }) instanceof DataError);
    world.store.controls.setOutage(true);
    const outage = refusal({ store: world.store, path: "" }, { clock: world.clock, requestTimeoutMillis: 1000 });
    await world.wait(100_000);
    assert.ok(await outage instanceof Unavailable);
  });
});

/** A database of the official engine in memory, everything in it as old as can be. */
function storeOf(fixture: FixtureCase, root: string): MemoryStore {
  const store = memoryStore();
  for (const ending of [".manifest", ".compactions", ".sst"]) {
    for (const { path, bytes } of filesOf(fixture, ending)) {
      if (path.startsWith(root)) store.plant(path.slice(root.length), bytes);
    }
  }
  return store;
}

function manifestsOf(store: MemoryStore, root: string): Map<number, Manifest> {
  const paths = store.objects().filter((path) => path.startsWith(`${root}/manifest/`));
  return new Map(paths.map((path) => [parseNumberedName(path)!, decodeManifest(store.peek(path)!).manifest]));
}

/** Fails when a report deletes what a manifest that must stay readable reaches. */
function assertNothingLost(report: GcReport, store: MemoryStore, log: MemoryStore, root: string): void {
  const manifests = manifestsOf(store, root);
  const newest = Math.max(...manifests.keys());
  const latest = manifests.get(newest)!;
  const ended = new Set(report.expiredCheckpoints);
  const held = latest.checkpoints.filter((one) => !ended.has(one.id)).map((one) => one.manifestId);
  const tables = new Set(report.deleted.compacted.map((path) => parseTableName(path)));
  const wal = report.deleted.wal.map((path) => parseNumberedName(path)!);
  for (const id of new Set([newest, ...held])) {
    const manifest = manifests.get(id)!;
    const views = [...manifest.l0, ...manifest.compacted.flatMap((run) => run.ssts)];
    for (const { sstId } of views) assert.ok(!tables.has(sstId), `table ${sstId} of version ${id}`);
    const end = id === newest ? Infinity : manifest.walIdLastSeen;
    for (const one of wal) assert.ok(!(one > manifest.replayAfterWalId && one <= end), `WAL ${one} of version ${id}`);
    assert.ok(!report.deleted.manifest.some((path) => parseNumberedName(path) === id), `version ${id}`);
  }
  assert.ok(!report.deleted.manifest.some((path) => parseNumberedName(path)! >= newest - 1));
  for (const path of report.deleted.wal) assert.ok(new WalRows(log.peek(path)!).next(), `${path} is a fence`);
}

for (const source of ["committed", "shared"] as const) {
  const missing = source === "shared" ? leftOut() : canUseDisk() ? undefined : "needs permission to read files";
  describe(`collectGarbage, ${source} databases of the official engine`, { skip: missing ?? false }, () => {
    for (const fixture of missing === undefined ? fixtureCases(source) : []) {
      it(`${fixture.name}: nothing is taken that is reached, whatever the time`, async () => {
        const { wal_store_root: walRoot, db_path: root } = fixture.expected as FixtureCase["expected"] & {
          readonly db_path: string;
        };
        const store = storeOf(fixture, "");
        const log = walRoot === undefined ? store : storeOf(fixture, `${walRoot}/`);
        const manifests = manifestsOf(store, root);
        assert.ok(manifests.size > 0, "no manifest where one was expected");
        const ids = store.objects().map(parseTableName).filter((id) => id !== undefined);
        const newest = Math.max(...ids.map(ulidMillis), 1);
        // Just old enough, with the compactor's checkpoints alive; and when all of them have ended.
        for (const now of [newest + 300_000, newest + 1e12]) {
          const options = {
            clock: virtualClock(now),
            ...(walRoot === undefined ? {} : { wal: { store: log } }),
          };
          const here = { store, path: root };
          const before = store.objects();
          const dry = await collectGarbage(here, { ...options, dryRun: true });
          assert.deepEqual([dry.stopped, dry.foreign, store.objects()], [undefined, [], before]);
          assertNothingLost(dry, store, log, root);
          const kept = Object.values(dry.kept).flatMap((reasons) => Object.values(reasons)).reduce((a, b) => a + b, 0);
          const listed = [...before, ...(log === store ? [] : log.objects())].filter((path) =>
            ["manifest", "compacted", "compactions", "wal"].some((folder) =>
              path.startsWith(`${root}/${folder}/`)
            )
          ).length;
          const deleted = Object.values(dry.deleted).reduce((sum, paths) => sum + paths.length, 0);
          assert.equal(kept + deleted, listed, "every object is accounted for");
        }
      });
    }
  });
}
