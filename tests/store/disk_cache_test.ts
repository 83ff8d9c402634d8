/** Disk cache: what is kept and what passes, requests saved, damage, sharing, limits, failing disks. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { Effect, Fiber } from "effect";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { InvalidArgument, type StoreError } from "../../src/errors.ts";
import { diskCache, diskCacheLayer } from "../../src/store/disk_cache.ts";
import { CachedStore } from "../../src/store/disk_cache/cached_store.ts";
import { cachedObject, parsePartName, partName, PARTS_FOLDER } from "../../src/store/disk_cache/part_name.ts";
import { memoryStore, memoryStoreLayer } from "../../src/store/memory_store.ts";
import { ObjectStore, type ObjectStoreShape } from "../../src/store/object_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { inFolder, makeFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { body, bytesOf, CacheWorld, failure, run, same, systemError, table, TroubledDisk } from "./disk_cache_world.ts";

const skip = canUseDisk() ? false : "needs the disk";
const PART = 8192;

/** Runs `work` with a world in a folder of its own. */
const inWorld = (work: (world: CacheWorld) => Promise<void>): Promise<void> =>
  inFolder((folder) => work(new CacheWorld(join(folder, "cache"))));

if (canUseDisk()) {
  for (const [name, keeps] of [["diskCache", undefined], ["diskCache of everything", () => true]] as const) {
    storeConformance(name, () => {
      const { path: folder, dispose: remove } = makeFolder();
      const options = { folder, identity: "test", cachePuts: true };
      const store = new CachedStore(memoryStore(), options, 1024, 1 << 20, keeps);
      return { store, dispose: () => run(store.close).then(remove) };
    }, { describe, it });
  }
}

describe("diskCache", { skip }, () => {
  it("PC1 diskCache answers from the disk what it has fetched once, also after reopening", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(100_000));
      const first = world.open();
      assert.equal(await world.requestsOf(() => same(first, world.memory, table(1), 20_000, 500)), 2, "head, range");
      assert.equal(world.store.report().bytesRead, PART, "one whole part was fetched");
      await run(first.settled);
      assert.equal(await world.requestsOf(() => same(first, world.memory, table(1), 16_384, 8_192)), 0);
      await run(first.close);
      const again = world.open();
      assert.equal(await world.requestsOf(() => same(again, world.memory, table(1), 20_100, 300)), 0);
      const { partAccesses, partHits, keys } = again.figures();
      assert.deepEqual([partAccesses, partHits, keys], [1, 1, 1]);
      await run(again.close);
    }));

  it("diskCache fetches neighbouring parts with one request, and those around what it has with one each", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(100_000));
      const cache = world.open();
      const read = (offset: number, length: number) =>
        world.requestsOf(() => run(cache.getRange(table(1), { offset, length }, { knownEnd: 100_000 })));
      assert.equal(await read(3 * PART + 1, 10), 1);
      await run(cache.settled);
      assert.equal(await read(100, 8 * PART), 2, "parts 0..2 and 4..8");
      assert.equal(world.store.report().bytesRead, 9 * PART, "no byte twice");
      await run(cache.settled);
      assert.equal(await read(0, 9 * PART), 0);
      assert.equal(await read(99_000, 1_000), 1, "the last part ends where the object ends");
      await run(cache.settled);
      await same(cache, world.memory, table(1), 0, 100_000);
      await run(cache.close);
    }));

  it("diskCache fetches a part once for all who want it at the same time", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(100_000));
      const slow: ObjectStoreShape = {
        ...world.store,
        getRange: (path, range) => Effect.andThen(Effect.sleep(20), world.store.getRange(path, range)),
      };
      const cache = diskCache(slow, { folder: world.folder, identity: "test", partBytes: PART });
      const reads = Array.from(
        { length: 40 },
        (_, i) => run(cache.getRange(table(1), { offset: i * 400, length: 300 }, { knownEnd: 100_000 })),
      );
      assert.equal(await world.requestsOf(() => Promise.all(reads)), 2, "two parts");
      const expected = body(100_000);
      for (const [i, found] of (await Promise.all(reads)).entries()) {
        assert.deepEqual(found, expected.slice(i * 400, i * 400 + 300));
      }
      await run(cache.close);
    }));

  it("diskCache goes on for those who wait when the one who fetches is interrupted", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(100_000));
      let begun = 0;
      const slow: ObjectStoreShape = {
        ...world.store,
        getRange: (path, range) =>
          Effect.suspend(() => begun++ === 0 ? Effect.never : world.store.getRange(path, range)),
      };
      const cache = diskCache(slow, { folder: world.folder, identity: "test", partBytes: PART });
      const read = cache.getRange(table(1), { offset: 5, length: 10 }, { knownEnd: 100_000 });
      const leader = Effect.runFork(read);
      while (begun === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      const waiter = run(read);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(begun, 1);
      await run(Fiber.interrupt(leader));
      assert.deepEqual(await waiter, body(100_000).slice(5, 15));
      await run(cache.close);
    }));

  it("diskCache hands a final error of the store to all who wait, and asks again the next time", () =>
    inWorld(async (world) => {
      const slow: ObjectStoreShape = {
        ...world.store,
        getRange: (path, range) => Effect.andThen(Effect.sleep(100), world.store.getRange(path, range)),
      };
      const cache = diskCache(slow, { folder: world.folder, identity: "test", partBytes: PART });
      const read = cache.getRange(table(1), { offset: 5, length: 10 }, { knownEnd: 100_000 });
      const failing = () => Promise.all([failure(read), failure(read), failure(read)]);
      const errors: StoreError[] = [];
      assert.equal(await world.requestsOf(async () => errors.push(...await failing())), 1);
      assert.deepEqual(errors.map(({ reason }) => reason), ["not-found", "not-found", "not-found"]);
      world.memory.plant(table(1), body(100_000));
      assert.equal((await run(read)).length, 10);
      await run(cache.close);
    }));

  it("diskCache never keeps manifests, the log or other names, nor answers them from what lies in the folder", () =>
    inWorld(async (world) => {
      const cache = world.open({ cachePuts: true });
      const names = [
        "db/manifest/00000000000000000001.manifest",
        "db/compactions/00000000000000000001.compactions",
        "db/wal/00000000000000000001.sst",
        "db/gc/manifest.boundary",
        "db/compacted/foreign.sst",
        "db/compacted/00000000000000000001.sst",
        `${table(1)}.bak`,
        "other",
      ];
      for (const name of names) {
        await run(cache.put(name, body(5_000, 1)));
        await run(cache.getRange(name, { offset: 0, length: 100 }));
        await run(cache.settled);
        // As if an attacker or another version had put a file of that name into the folder.
        const object = cachedObject("test", name, PART);
        world.memory.plant(table(9), body(5_000, 2));
        await run(cache.getRange(table(9), { offset: 0, length: 100 }));
        await run(cache.settled);
        const kept = world.files().filter((path) => !path.includes(object.digest));
        assert.equal(kept.length, world.files().length, `${name} was kept`);
        const shard = join(world.folder, PARTS_FOLDER, object.shard);
        mkdirSync(shard, { recursive: true });
        writeFileSync(join(shard, partName(object, 0)), bytesOf(kept[0]!));
        world.memory.plant(name, body(5_000, 3));
        await same(cache, world.memory, name, 0, 100);
        assert.deepEqual(await run(cache.get(name)), body(5_000, 3));
        assert.deepEqual(await run(cache.getRanges(name, [{ offset: 7, length: 5 }])), [body(5_000, 3).slice(7, 12)]);
        rmSync(join(shard, partName(object, 0)));
      }
      await run(cache.close);
    }));

  it("diskCache keeps apart what has the same name in another store, and parts of another size", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(50_000, 1));
      const one = world.open();
      await same(one, world.memory, table(1), 0, 20_000);
      await run(one.settled);
      world.memory.plant(table(1), body(50_000, 2));
      const other = world.open({ identity: "another store" });
      await same(other, world.memory, table(1), 0, 20_000);
      const larger = world.open({ partBytes: 2 * PART });
      await same(larger, world.memory, table(1), 0, 20_000);
      for (const cache of [one, other, larger]) await run(cache.close);
    }));

  it("diskCache keeps what is put when it is told to, and only what was created", () =>
    inWorld(async (world) => {
      const cache = world.open({ cachePuts: true });
      const given = body(100_000, 1);
      assert.equal(await run(cache.putIfAbsent(table(1), given)), "created");
      given.fill(0);
      assert.equal(await run(cache.putIfAbsent(table(1), body(100_000, 2))), "exists");
      await run(cache.put(table(2), body(1, 3)));
      await run(cache.settled);
      const reads = async () => {
        assert.deepEqual(
          await run(cache.getRange(table(1), { offset: 10, length: 90_000 })),
          body(100_000, 1).slice(10, 90_010),
        );
        await same(cache, world.memory, table(2), 0, 1);
      };
      assert.equal(await world.requestsOf(reads), 0);
      const plain = world.open({ identity: "not told" });
      await run(plain.put(table(3), body(10_000)));
      await run(plain.settled);
      assert.equal(await world.requestsOf(() => same(plain, world.memory, table(3), 0, 1)), 2);
      for (const one of [cache, plain]) await run(one.close);
    }));

  it("diskCache forgets what is replaced or deleted through it", () =>
    inWorld(async (world) => {
      const cache = world.open({ cachePuts: true });
      for (
        const change of [
          cache.put(table(1), body(30_000, 2)),
          cache.copy(table(2), table(1)),
          Effect.andThen(cache.delete(table(1)), world.memory.putIfAbsent(table(1), body(30_000, 3))),
          Effect.flatMap(cache.upload(table(1)), (upload) =>
            Effect.andThen(upload.write(body(30_000, 4)), upload.complete)),
        ]
      ) {
        world.memory.plant(table(1), body(30_000, 9));
        world.memory.plant(table(2), body(30_000, 8));
        await same(cache, world.memory, table(1), 100, 20_000);
        await run(cache.settled);
        await run(change);
        await same(cache, world.memory, table(1), 100, 20_000);
        await run(cache.settled);
        await run(cache.delete(table(1)));
      }
      await run(cache.close);
    }));

  it("diskCache does not keep what it fetched while the object was replaced", () =>
    inWorld(async (world) => {
      let go = () => {};
      const gate = new Promise<void>((resolve) => go = resolve);
      let asked = () => {};
      const isAsked = new Promise<void>((resolve) => asked = resolve);
      const slow: ObjectStoreShape = {
        ...world.store,
        getRange: (path, range) =>
          Effect.flatMap(world.store.getRange(path, range), (bytes) => {
            asked();
            return Effect.as(Effect.promise(() => gate), bytes);
          }),
      };
      const cache = diskCache(slow, { folder: world.folder, identity: "test", partBytes: PART });
      world.memory.plant(table(1), body(30_000, 1));
      const before = run(cache.getRange(table(1), { offset: 0, length: 10 }, { knownEnd: 30_000 }));
      await isAsked;
      await run(cache.put(table(1), body(30_000, 2)));
      go();
      assert.deepEqual(await before, body(30_000, 1).slice(0, 10), "it was asked before the put");
      await run(cache.settled);
      await same(cache, world.memory, table(1), 0, 10);
      await run(cache.close);
    }));

  it("diskCache asks the store itself when told that what came was damaged, and forgets it", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(50_000, 1));
      const cache = world.open();
      await same(cache, world.memory, table(1), 100, 20_000);
      await run(cache.settled);
      world.memory.plant(table(1), body(50_000, 2));
      const range = { offset: 9_000, length: 100 };
      assert.deepEqual(await run(cache.getRange(table(1), range)), body(50_000, 1).slice(9_000, 9_100));
      assert.deepEqual(
        await run(cache.getRange(table(1), range, { fresh: true })),
        body(50_000, 2).slice(9_000, 9_100),
      );
      await same(cache, world.memory, table(1), 9_000, 100);
      await run(cache.close);
    }));

  it("diskCache reads what is there when the object's end was said wrongly, and lets the store refuse the rest", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(10_000));
      const cache = world.open();
      const hint = { knownEnd: 1_000_000 };
      assert.deepEqual(
        await run(cache.getRange(table(1), { offset: 9_000, length: 1_000 }, hint)),
        body(10_000).slice(9_000),
      );
      for (const given of [hint, undefined, { knownEnd: 5 }]) {
        const error = await failure(cache.getRange(table(1), { offset: 9_000, length: 1_001 }, given));
        assert.deepEqual([error.reason, error.retryable, error.op], ["short-read", false, "getRange"]);
      }
      await run(cache.close);
    }));

  it("diskCache evicts what was used longest ago, more or less, down to nine tenths of the limit", () =>
    inWorld(async (world) => {
      const maxBytes = 40 * 3 * 4096;
      for (let n = 0; n < 120; n++) world.memory.plant(table(n), body(PART, n));
      const cache = world.open({ maxBytes });
      // Whom chance evicts is the same each time.
      await run(Effect.provideService(cache.ready, Ids, seededIds(5)));
      for (let n = 0; n < 120; n++) {
        await same(cache, world.memory, table(n), 0, PART);
        await same(cache, world.memory, table(0), 0, 10);
        await run(cache.settled);
        assert.ok(cache.figures().bytes <= maxBytes, `${cache.figures().bytes} bytes`);
        const onDisk = world.files().reduce((sum, path) => sum + Math.ceil(statSync(path).size / 4096) * 4096, 0);
        assert.equal(onDisk, cache.figures().bytes, "the accounts");
      }
      const { evictedKeys, evictedBytes, keys } = cache.figures();
      assert.equal(evictedKeys, world.store.report().requests.db!.getRange! - keys);
      assert.equal(evictedBytes, evictedKeys * 3 * 4096);
      assert.ok(keys >= 36 && keys <= 40, `${keys} parts`);
      assert.equal(
        await world.requestsOf(() => same(cache, world.memory, table(0), 0, 10)),
        0,
        "the hot part is there",
      );
      const young = await world.requestsOf(async () => {
        for (let n = 110; n < 120; n++) await same(cache, world.memory, table(n), 0, 10);
      });
      assert.ok(young <= 6, `of the ten newest ${young / 2} are gone`);
      await run(cache.close);
    }));

  it("diskCache accounts for what it finds when it opens, and keeps within the limit from then on", () =>
    inWorld(async (world) => {
      for (let n = 0; n < 20; n++) world.memory.plant(table(n), body(PART, n));
      const before = world.open();
      for (let n = 0; n < 15; n++) await same(before, world.memory, table(n), 0, 1);
      await run(before.settled);
      await run(before.close);
      const maxBytes = 10 * 3 * 4096;
      const cache = world.open({ maxBytes });
      await run(cache.ready);
      await run(cache.settled);
      assert.deepEqual([cache.figures().keys, cache.figures().bytes], [15, 15 * 3 * 4096]);
      await same(cache, world.memory, table(19), 0, 1);
      await run(cache.settled);
      assert.ok(cache.figures().bytes <= maxBytes);
      assert.equal(await world.requestsOf(() => same(cache, world.memory, table(19), 0, 1)), 0, "the newest stays");
      await run(cache.close);
    }));

  it("diskCache keeps within the least limit of those that share a folder", () =>
    inWorld(async (world) => {
      for (let n = 0; n < 30; n++) world.memory.plant(table(n), body(PART, n));
      const maxBytes = 10 * 3 * 4096;
      const caches = [world.open(), world.open({ maxBytes }), world.open()];
      for (let n = 0; n < 30; n++) {
        await same(caches[n % 3]!, world.memory, table(n), 0, 1);
        await run(caches[0]!.settled);
        assert.ok(caches[0]!.figures().bytes <= maxBytes);
      }
      await run(caches[1]!.close);
      for (let n = 0; n < 30; n++) await same(caches[0]!, world.memory, table(n), 0, 1);
      await run(caches[0]!.settled);
      assert.equal(caches[2]!.figures().keys, 30, "it has left, and its limit with it");
      for (const cache of caches) await run(cache.close);
    }));

  it("diskCache sees what another process has written, and survives what it has taken away", () =>
    inFolder(async (folder) => {
      // Two file systems stand for two processes: they share nothing but the disk.
      const mine = new CacheWorld(join(folder, "cache"));
      const disks = [new TroubledDisk().fileSystem, new TroubledDisk().fileSystem] as const;
      for (let n = 0; n < 30; n++) mine.memory.plant(table(n), body(PART, n));
      const maxBytes = 8 * 3 * 4096;
      const one = mine.open({ fileSystem: disks[0], maxBytes });
      const two = mine.open({ fileSystem: disks[1], maxBytes });
      for (let n = 0; n < 30; n++) {
        await same(one, mine.memory, table(n), 0, 1);
        await run(one.settled);
        assert.equal(await mine.requestsOf(() => same(two, mine.memory, table(n), 5, 1)), 0, `part ${n} for the other`);
      }
      for (let n = 29; n >= 0; n--) await same(n % 2 === 0 ? one : two, mine.memory, table(n), 9, 100);
      await run(one.close);
      await same(two, mine.memory, table(3), 0, PART);
      await run(two.settled);
      assert.equal(await mine.requestsOf(() => same(two, mine.memory, table(3), 0, PART)), 0);
      await run(two.close);
    }));

  it("diskCache looks through the folder again when its time has come, without a timer", () =>
    inFolder(async (folder) => {
      const clock = virtualClock(0);
      const world = new CacheWorld(join(folder, "cache"));
      const other = world.open({ fileSystem: new TroubledDisk().fileSystem });
      const cache = world.open({ scanIntervalMillis: 60_000 });
      const timed = <A>(effect: Effect.Effect<A, StoreError>) =>
        run(Effect.provideContext(effect, virtualClockContext(clock)));
      for (let n = 0; n < 10; n++) world.memory.plant(table(n), body(PART, n));
      const read = (n: number) => timed(cache.getRange(table(n), { offset: 0, length: 1 }));
      await read(0);
      await clock.settle();
      for (let n = 1; n < 8; n++) await same(other, world.memory, table(n), 0, 1);
      await run(other.settled);
      await read(8);
      await clock.settle();
      assert.equal(cache.figures().keys, 2);
      assert.equal(clock.timers, 0, "an idle cache has no timer");
      await clock.advance(60_000);
      assert.equal(cache.figures().keys, 2);
      await read(9);
      await clock.settle();
      assert.equal(cache.figures().keys, 10);
      for (const path of world.files().slice(0, 4)) rmSync(path);
      await clock.advance(60_000);
      world.memory.plant(table(10), body(PART, 10));
      await read(10);
      await clock.settle();
      assert.equal(cache.figures().keys, 7, "what somebody has taken away is not counted any more");
      await run(other.close);
      await timed(cache.close);
    }));

  it("diskCache of one of several databases closes for itself alone", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(50_000));
      const one = world.open();
      const two = world.open();
      await same(one, world.memory, table(1), 0, 10);
      await run(one.close);
      await run(one.close);
      await same(two, world.memory, table(1), 20_000, 10);
      await run(two.settled);
      assert.equal(await world.requestsOf(() => same(two, world.memory, table(1), 20_000, 10)), 0);
      assert.equal(
        await world.requestsOf(() => same(one, world.memory, table(1), 20_000, 10)),
        1,
        "a closed one passes",
      );
      await run(two.close);
    }));

  it("diskCache takes no more than its queue holds while the disk is slow, and counts the rest", () =>
    inWorld(async (world) => {
      const disk = new TroubledDisk();
      let go = () => {};
      const gate = new Promise<void>((resolve) => go = resolve);
      disk.before = (call) => call === "rename" ? gate : undefined;
      const cache = world.open({ fileSystem: disk.fileSystem });
      for (let n = 0; n < 150; n++) {
        world.memory.plant(table(n), body(PART, n));
        await same(cache, world.memory, table(n), 0, 10);
      }
      assert.ok(cache.figures().skippedParts >= 49, `${cache.figures().skippedParts} skipped`);
      go();
      await run(cache.settled);
      assert.ok(cache.figures().keys >= 100 && cache.figures().keys <= 101, `${cache.figures().keys} kept`);
      await run(cache.close);
    }));

  for (const code of ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE"]) {
    it(`PC1 diskCache whose disk answers ${code} to every call of a write goes on reading, and keeps again later`, () =>
      inFolder(async (folder) => {
        for (const call of ["mkdir", "open", "write", "close", "rename", "readdir", "lstat", "read", "unlink"]) {
          const world = new CacheWorld(join(folder, call));
          const disk = new TroubledDisk();
          const clock = virtualClock(0);
          const timed = <A>(effect: Effect.Effect<A, StoreError>) =>
            run(Effect.provideContext(effect, virtualClockContext(clock)));
          const cache = world.open({ fileSystem: disk.fileSystem, maxBytes: 4 * 3 * 4096 });
          let refused = 0;
          disk.before = (name, path) => {
            if (name === call && (call !== "open" || path.includes(".phyllite-tmp-"))) {
              refused++;
              throw systemError(code);
            }
          };
          for (let n = 0; n < 8; n++) {
            world.memory.plant(table(n), body(PART, n));
            const found = await timed(cache.getRange(table(n), { offset: 100, length: 100 }));
            assert.deepEqual(found, body(PART, n).slice(100, 200));
            await timed(cache.settled);
          }
          assert.ok(refused > 0 || ["read", "unlink"].includes(call), `${call} was never called`);
          disk.before = () => {};
          await clock.advance(60_000);
          const read = () => timed(cache.getRange(table(1), { offset: 0, length: 10 }));
          await read();
          await timed(cache.settled);
          assert.equal(await world.requestsOf(read), 0, `after ${code} of ${call}`);
          assert.equal(cache.figures().trouble, undefined);
          const litter = existsSync(world.folder) ? world.files().filter((path) => path.includes("phyllite-tmp")) : [];
          // A file that could not be removed stays until the next process looks.
          if (call !== "unlink") assert.deepEqual(litter, []);
          await timed(cache.close);
        }
      }));
  }

  it("diskCache says why it keeps nothing while a disk is full", () =>
    inWorld(async (world) => {
      const disk = new TroubledDisk();
      disk.before = (call) => {
        if (call === "write") throw systemError("ENOSPC");
      };
      const cache = world.open({ fileSystem: disk.fileSystem });
      world.memory.plant(table(1), body(50_000));
      await same(cache, world.memory, table(1), 0, 10);
      await run(cache.settled);
      assert.match(cache.figures().trouble ?? "", /ENOSPC/);
      await same(cache, world.memory, table(1), 0, 10);
      await run(cache.settled);
      assert.equal(disk.calls.filter((call) => call === "write").length, 1, "it tries again only after a while");
      await run(cache.close);
    }));

  it("PC1 diskCache leaves a disk alone that does not answer", () =>
    inWorld(async (world) => {
      const disk = new TroubledDisk();
      const cache = world.open({ fileSystem: disk.fileSystem });
      world.memory.plant(table(1), body(50_000));
      await same(cache, world.memory, table(1), 0, 10);
      await run(cache.settled);
      let waiting = 0;
      disk.before = (call) => {
        if (call !== "open") return;
        waiting++;
        return new Promise<void>(() => {});
      };
      const begun = performance.now();
      await same(cache, world.memory, table(1), 0, 10);
      const first = performance.now() - begun;
      assert.ok(first < 4_000, `${first} ms`);
      await same(cache, world.memory, table(1), 0, 10);
      assert.equal(waiting, 1, "the second read does not wait");
      assert.match(cache.figures().trouble ?? "", /does not answer/);
      await run(cache.close);
    }));

  it("diskCache removes temporary files of processes that are gone, and no others", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(50_000));
      const before = world.open();
      await same(before, world.memory, table(1), 0, 10);
      await run(before.settled);
      await run(before.close);
      const shard = dirname(world.files()[0]!);
      const gone = [`.phyllite-tmp-${process.pid}-ab12`, ".phyllite-tmp-999999999-0"];
      const probe = join(world.folder, PARTS_FOLDER, gone[1]!);
      writeFileSync(probe, "x");
      const kept = [`.phyllite-tmp-${process.ppid}-ab12`, "notes.txt", "0-0", `${"a".repeat(40)}-x`];
      for (const name of [...gone, ...kept]) writeFileSync(join(shard, name), "x");
      writeFileSync(join(world.folder, "mine.txt"), "x");
      const cache = world.open();
      await run(cache.ready);
      await run(cache.settled);
      assert.ok(!existsSync(probe));
      const left = readdirSync(shard);
      for (const name of gone) assert.ok(!left.includes(name), `${name} is still there`);
      for (const name of kept) assert.ok(left.includes(name), `${name} is gone`);
      assert.equal(cache.figures().keys, 1);
      await run(cache.close);
      assert.ok(existsSync(join(world.folder, "mine.txt")));
    }));

  it("diskCache gives files and folders to their owner only", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(50_000));
      const cache = world.open();
      await same(cache, world.memory, table(1), 0, 10);
      await run(cache.settled);
      const file = world.files()[0]!;
      for (const folder of [world.folder, join(world.folder, PARTS_FOLDER), dirname(file)]) {
        assert.equal(statSync(folder).mode & 0o777, 0o700, folder);
      }
      assert.equal(statSync(file).mode & 0o777, 0o600);
      await run(cache.close);
    }));

  it("diskCache follows no link below its folder", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(50_000));
      const cache = world.open();
      await same(cache, world.memory, table(1), 0, 10);
      await run(cache.settled);
      await run(cache.close);
      const file = world.files()[0]!;
      const shard = dirname(file);
      const elsewhere = join(world.folder, "elsewhere");
      for (const name of [file, shard, join(world.folder, PARTS_FOLDER)]) {
        renameSync(name, elsewhere);
        symlinkSync(elsewhere, name);
        const linked = world.open();
        assert.equal(await world.requestsOf(() => same(linked, world.memory, table(1), 0, 10)), 2, name);
        await run(linked.close);
        rmSync(name, { recursive: true });
        renameSync(elsewhere, name);
      }
      symlinkSync(world.folder, `${world.folder}-link`);
      const through = world.open({ folder: `${world.folder}-link` });
      assert.equal(
        await world.requestsOf(() => same(through, world.memory, table(1), 0, 10)),
        0,
        "the folder itself may",
      );
      await run(through.close);
    }));

  it("diskCache is ready only where it may write, and says what is in the way", () =>
    inWorld(async (world) => {
      mkdirSync(world.folder, { recursive: true });
      writeFileSync(join(world.folder, "file"), "x");
      const blocked = world.open({ folder: join(world.folder, "file") });
      assert.equal((await failure(blocked.ready)).reason, "invalid-path");
      const below = world.open({ folder: join(world.folder, "file", "below") });
      assert.equal((await failure(below.ready)).reason, "invalid-path");
      const disk = new TroubledDisk();
      disk.before = (call) => {
        if (call === "open") throw systemError("EACCES");
      };
      const forbidden = world.open({ fileSystem: disk.fileSystem });
      assert.equal((await failure(forbidden.ready)).reason, "permission");
      world.memory.plant(table(1), body(50_000));
      for (const cache of [blocked, below, forbidden]) {
        await same(cache, world.memory, table(1), 0, 10);
        await run(cache.close);
      }
      chmodSync(world.folder, 0o700);
    }));

  it("diskCache warms a table without reading what it has, and stops where there is no room", () =>
    inWorld(async (world) => {
      world.memory.plant(table(1), body(100_000));
      const cache = world.open({ maxBytes: 20 * 3 * 4096 });
      await same(cache, world.memory, table(1), 3 * PART, 10);
      await run(cache.settled);
      assert.equal(await world.requestsOf(() => run(cache.warm(table(1), 90_000))), 2);
      assert.equal(await run(cache.warm(table(1), 90_000)), true);
      assert.equal(await world.requestsOf(() => same(cache, world.memory, table(1), 0, 90_000)), 0);
      world.memory.plant(table(2), body(100_000, 2));
      assert.equal(await run(cache.warm(table(2), 100_000)), false, "no room");
      assert.equal(cache.figures().evictedKeys, 0, "nothing is evicted for it");
      assert.equal(await world.requestsOf(() => same(cache, world.memory, table(1), 0, 90_000)), 0);
      await run(cache.close);
    }));

  it("diskCacheLayer gives the store a cache for as long as the layer lives", () =>
    inWorld(async (world) => {
      const layer = diskCacheLayer({ folder: world.folder, identity: "test" });
      const program = Effect.gen(function* () {
        const store = yield* ObjectStore;
        yield* store.put(table(1), body(1_000));
        yield* store.getRange(table(1), { offset: 10, length: 10 });
        return yield* store.getRange(table(1), { offset: 10, length: 10 });
      });
      const found = await run(program.pipe(Effect.provide(layer), Effect.provide(memoryStoreLayer())));
      assert.deepEqual(found, body(1_000).slice(10, 20));
      assert.equal(world.files().length, 1);
    }));

  it("diskCache refuses sizes that are none, with the name of the option", () => {
    const refused = (options: object, text: RegExp) =>
      assert.throws(
        () => diskCache(memoryStore(), { folder: "unused", identity: "", ...options }),
        (error) => error instanceof InvalidArgument && error.reason === "options" && text.test(error.message),
      );
    refused({ partBytes: 1000 }, /partBytes/);
    refused({ partBytes: 1536 }, /partBytes: must be a multiple of 1024/);
    refused({ partBytes: 0 }, /partBytes/);
    refused({ partBytes: 1e12 }, /partBytes/);
    refused({ maxBytes: 300_000 }, /maxBytes/);
    refused({ maxBytes: NaN }, /maxBytes/);
  });

  it("parsePartName knows the names of parts and nothing else", () => {
    const object = cachedObject("s3://bucket", table(1), PART);
    assert.equal(parsePartName(partName(object, 0)), object.shard);
    assert.equal(parsePartName(partName(object, 123_456)), object.shard);
    for (
      const name of [
        "",
        "x",
        `${object.digest}-`,
        `${object.digest}-01`,
        `${object.digest}-1.tmp`,
        `../${object.digest}-1`,
      ]
    ) {
      assert.equal(parsePartName(name), undefined, name);
    }
    const others = [cachedObject("s3://bucket2", table(1), PART), cachedObject("s3://bucket", table(2), PART)];
    for (const other of others) assert.notEqual(other.digest, object.digest);
  });
});
