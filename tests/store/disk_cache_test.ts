/** Disk cache: what is kept and what passes, requests saved, damage, and options. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Effect, Fiber } from "effect";
import { InvalidArgument, type StoreError } from "../../src/errors.ts";
import { diskCache, diskCacheLayer } from "../../src/store/disk_cache.ts";
import { CachedStore } from "../../src/store/disk_cache/cached_store.ts";
import { cachedObject, parsePartName, partName, PARTS_FOLDER } from "../../src/store/disk_cache/part_name.ts";
import { memoryStore, memoryStoreLayer } from "../../src/store/memory_store.ts";
import { ObjectStore, type ObjectStoreShape } from "../../src/store/object_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { makeFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { body, bytesOf, failure, inWorld, run, same, table } from "./disk_cache_world.ts";

const skip = canUseDisk() ? false : "needs the disk";
const PART = 8192;

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
