/** The folder of a disk cache: limits, sharing with other processes, leftovers, permissions, and disks that fail. */
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
import { Effect } from "effect";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import type { StoreError } from "../../src/errors.ts";
import { PARTS_FOLDER } from "../../src/store/disk_cache/part_name.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { body, CacheWorld, failure, inWorld, run, same, systemError, table, TroubledDisk } from "./disk_cache_world.ts";

const skip = canUseDisk() ? false : "needs the disk";
const PART = 8192;

describe("diskCache folder", { skip }, () => {
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
      // What was read while one process made room may go with it; it is kept when it is read again.
      let requests = 1;
      for (let times = 0; times < 3 && requests > 0; times++) {
        await same(two, mine.memory, table(3), 0, PART);
        await run(two.settled);
        requests = await mine.requestsOf(() => same(two, mine.memory, table(3), 0, PART));
      }
      assert.equal(requests, 0);
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
});
