/** What a disk cache makes of wrong answers below it, of its readers' deadlines, and of a disk that is full. */
import { join } from "node:path";
import { Effect } from "effect";
import { diskCache } from "../../src/store/disk_cache.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { RetryDeadline, retrying } from "../../src/store/retrying_store.ts";
import { StoreError } from "../../src/errors.ts";
import { body, CacheWorld, failure, run, same, systemError, table, TroubledDisk } from "../store/disk_cache_world.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = canUseDisk() ? false : "needs the disk";
const PART = 8192;

describe("a disk cache over a store that answers wrongly", { skip }, () => {
  const wrong: Array<[string, (bytes: Uint8Array) => Uint8Array]> = [
    ["half of the bytes", (bytes) => bytes.slice(0, bytes.length >> 1)],
    ["none of the bytes", () => new Uint8Array(0)],
    ["more than the bytes", (bytes) => new Uint8Array([...bytes, ...bytes])],
  ];
  for (const [name, spoil] of wrong) {
    it(`asks again after ${name}, keeps nothing of it, and tells when it stays so`, () =>
      inFolder(async (folder) => {
        const memory = memoryStore();
        memory.plant(table(1), body(50_000));
        let left = 1;
        const inner: ObjectStoreShape = {
          ...memory,
          getRange: (path, range) =>
            Effect.map(memory.getRange(path, range), (bytes) => left-- > 0 ? spoil(bytes) : bytes),
        };
        const cache = diskCache(inner, { folder, identity: "test", partBytes: PART });
        await same(cache, memory, table(1), 100, 30_000);
        left = Infinity;
        for (const hint of [{ knownEnd: 50_000 }, { knownEnd: 50_000, fresh: true }]) {
          const error = await failure(cache.getRange(table(1), { offset: 35_000, length: 12_000 }, hint));
          assert.deepEqual([error.reason, error.retryable, error.outcome], ["short-read", true, "none"]);
          assert.match(error.detail ?? "", /were answered/);
        }
        left = 0;
        await run(cache.settled);
        await same(cache, memory, table(1), 0, 50_000);
        await run(cache.close);
      }));
  }

  it('"fresh" forgets also what waits to be written, and what is being written', () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const memory = memoryStore();
      memory.plant(table(1), body(50_000));
      let flips = true;
      const inner: ObjectStoreShape = {
        ...memory,
        getRange: (path, range) =>
          Effect.map(memory.getRange(path, range), (bytes) => {
            if (flips) bytes[5]! ^= 1;
            return bytes;
          }),
      };
      const cache = diskCache(inner, { folder, identity: "test", partBytes: PART, fileSystem: disk.fileSystem });
      await run(cache.ready);
      await run(cache.settled);
      const gate = Promise.withResolvers<void>();
      disk.before = (call) => call === "write" ? gate.promise : undefined;
      const ranges = [0, PART, 2 * PART].map((offset) => ({ offset, length: 100 }));
      for (const range of ranges) await run(cache.getRange(table(1), range));
      flips = false;
      for (const range of ranges) await run(cache.getRange(table(1), range, { fresh: true }));
      for (const { offset } of ranges) await same(cache, memory, table(1), offset, 100);
      gate.resolve();
      await run(cache.settled);
      for (const { offset } of ranges) await same(cache, memory, table(1), offset, 100);
      await run(cache.close);
    }));
});

describe("a disk cache and deadlines", { skip }, () => {
  it("a read that waited for others in vain has its own deadline only once", () =>
    inFolder(async (folder) => {
      const memory = memoryStore();
      memory.plant(table(1), body(50_000));
      let asked = 0;
      const down: ObjectStoreShape = {
        ...memory,
        getRange: (path) =>
          Effect.suspend(() => {
            asked++;
            const why = { reason: "unavailable", retryable: true, outcome: "none" } as const;
            return Effect.fail(new StoreError({ op: "getRange", path, ...why }));
          }),
      };
      const cache = diskCache(retrying(down), { folder, identity: "test", partBytes: PART });
      const begun = performance.now();
      const errors = await Promise.all(Array.from({ length: 6 }, (_, i) => {
        const read = cache.getRange(table(1), { offset: i * 100, length: 100 }, { knownEnd: 50_000 });
        return failure(Effect.provideService(read, RetryDeadline, 800));
      }));
      const took = performance.now() - begun;
      assert.ok(took < 1_500, `${took} ms`);
      assert.ok(asked > 0);
      for (const { reason } of errors) assert.ok(["unavailable", "timeout"].includes(reason), reason);
      await run(cache.close);
    }));

  it("a read does not wait for what is fetched in the background", () =>
    inFolder(async (folder) => {
      const memory = memoryStore();
      memory.plant(table(1), body(50_000));
      let background = 0;
      const paced: ObjectStoreShape = {
        ...memory,
        getRange: (path, range, hint) =>
          Effect.suspend(() => {
            if (hint?.background !== true) return memory.getRange(path, range);
            background++;
            return Effect.never;
          }),
      };
      const cache = diskCache(paced, { folder, identity: "test", partBytes: PART });
      const warming = Effect.runFork(cache.warm(table(1), 50_000));
      while (background === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      await same(cache, memory, table(1), 100, 20_000);
      warming.interruptUnsafe();
      await run(cache.close);
    }));
});

describe("a disk cache on a disk that is full", { skip }, () => {
  for (const code of ["ENOSPC", "EDQUOT"]) {
    it(`takes what it holds for its limit after ${code}, and turns over`, () =>
      inFolder(async (folder) => {
        const world = new CacheWorld(join(folder, "cache"));
        const disk = new TroubledDisk();
        const files = new Set<string>();
        disk.before = (call, path) => {
          if (call === "unlink") files.delete(path);
          else if (call === "rename") files.add(path);
          else if (call === "write" && files.size >= 20) throw systemError(code);
        };
        const cache = world.open({ fileSystem: disk.fileSystem });
        for (let n = 0; n < 60; n++) {
          world.memory.plant(table(n), body(PART, n));
          await same(cache, world.memory, table(n), 0, 10);
          await run(cache.settled);
          assert.equal(cache.figures().trouble, undefined);
          assert.equal(await world.requestsOf(() => same(cache, world.memory, table(n), 0, 10)), 0, `part ${n}`);
        }
        const { keys, evictedKeys, skippedParts } = cache.figures();
        assert.ok(keys <= 20 && keys >= 15, `${keys} parts`);
        assert.equal(evictedKeys, 60 - keys);
        assert.equal(skippedParts, 0);
        await run(cache.close);
      }));
  }
});
