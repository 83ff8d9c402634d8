/** A disk cache on a disk that hangs in any call holds up nobody, and serves nothing that it should have forgotten. */
import { join } from "node:path";
import { Effect } from "effect";
import { diskCache, diskCacheLayer, type DiskCacheStore } from "../../src/store/disk_cache.ts";
import { memoryStoreLayer } from "../../src/store/memory_store.ts";
import { ObjectStore, type ObjectStoreShape } from "../../src/store/object_store.ts";
import { putTable } from "../../src/store/put_table.ts";
import { body, CacheWorld, run, same, table, TroubledDisk } from "../store/disk_cache_world.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = canUseDisk() ? false : "needs the disk";
/** Far less than what the disk is given before it counts as hung. */
const AT_ONCE_MILLIS = 1_500;

interface Hung {
  readonly world: CacheWorld;
  readonly disk: TroubledDisk;
  readonly cache: DiskCacheStore;
  /** Lets the disk go on. */
  readonly free: () => void;
}

/** A cache that holds table 1, over a disk of which some calls do not return until `free`. */
const onHungDisk = (calls: readonly string[], work: (hung: Hung) => Promise<void>): Promise<void> =>
  inFolder(async (folder) => {
    const world = new CacheWorld(join(folder, "cache"));
    const disk = new TroubledDisk();
    const cache = world.open({ fileSystem: disk.fileSystem, cachePuts: true });
    await run(cache.put(table(1), body(20_000)));
    await run(cache.settled);
    const gate = Promise.withResolvers<void>();
    disk.before = (call) => calls.includes(call) ? gate.promise : undefined;
    await work({
      world,
      disk,
      cache,
      free: () => {
        disk.before = () => {};
        gate.resolve();
      },
    });
    disk.before = () => {};
    gate.resolve();
    await run(cache.close);
  });

/** The outcome of a request that must come within so much time. */
async function within<A, E>(what: string, millis: number, effect: Effect.Effect<A, E>): Promise<A> {
  const found = await run(Effect.timeoutOption(effect, millis));
  if (found._tag === "None") assert.fail(`${what} has not ended after ${millis} ms`);
  return found.value;
}

const ALL = ["open", "read", "write", "close", "rename", "unlink", "mkdir", "readdir", "lstat"];

describe("a disk cache on a disk that hangs", { skip }, () => {
  const bytes = body(20_000, 2);
  const changes: Array<[string, (store: ObjectStoreShape) => Effect.Effect<unknown, unknown>]> = [
    ["put", (store) => store.put(table(1), bytes)],
    ["putIfAbsent", (store) => store.putIfAbsent(table(9), bytes)],
    ["delete", (store) => store.delete(table(1))],
    ["deleteMany", (store) => store.deleteMany!([table(1)])],
    ["copy", (store) => store.copy(table(2), table(1))],
    [
      "an upload",
      (store) => Effect.flatMap(store.upload(table(1)), (one) => Effect.andThen(one.write(bytes), one.complete)),
    ],
  ];
  for (const [name, change] of changes) {
    it(`answers ${name} when the store has`, () =>
      onHungDisk(ALL, async ({ world, disk, cache }) => {
        world.memory.plant(table(2), bytes);
        if (cache.deleteMany === undefined && name === "deleteMany") {
          const many = { ...world.store, deleteMany: (paths: readonly string[]) => world.store.delete(paths[0]!) };
          const other = diskCache(many, { folder: world.folder, identity: "test", fileSystem: disk.fileSystem });
          await within(name, AT_ONCE_MILLIS, other.deleteMany!([table(1)]));
          await run(other.close);
        } else await within(name, AT_ONCE_MILLIS, change(cache));
      }));
  }

  it("takes the table of a flush that goes up in parts", () =>
    onHungDisk(ALL, async ({ world, cache }) => {
      const sizeBytes = 65 * 2 ** 20;
      await within("putTable", 5_000, putTable(cache, table(3), { chunks: [new Uint8Array(sizeBytes)], sizeBytes }));
      assert.equal(world.memory.peek(table(3))?.length, sizeBytes);
    }));

  it("serves no object that was replaced or deleted while its files could not be removed", () =>
    onHungDisk(["unlink", "readdir"], async ({ world, disk, cache, free }) => {
      await same(cache, world.memory, table(1), 0, 100);
      await within("put", AT_ONCE_MILLIS, cache.put(table(1), bytes));
      await same(cache, world.memory, table(1), 0, 100);
      await same(cache, world.memory, table(1), 9_000, 10_000);
      await within("settled", 9_000, cache.settled);
      assert.match(cache.figures().trouble ?? "", /does not answer/);
      await same(cache, world.memory, table(1), 0, 20_000);
      // Another cache of the same process knows as well, also when the first is gone.
      await run(cache.close);
      const next = world.open({ fileSystem: disk.fileSystem });
      await same(next, world.memory, table(1), 0, 20_000);
      free();
      await new Promise((resolve) => setTimeout(resolve, 20));
      await same(next, world.memory, table(1), 0, 20_000);
      await run(next.settled);
      assert.equal(next.figures().trouble, undefined);
      assert.equal(await world.requestsOf(() => same(next, world.memory, table(1), 0, 20_000)), 0, "kept anew");
      await run(next.close);
    }));

  it("ends a warming, tells why nothing is kept, and keeps again when the disk goes on", () =>
    onHungDisk(["write"], async ({ world, cache, free }) => {
      for (const n of [2, 3]) world.memory.plant(table(n), body(20_000, n));
      await same(cache, world.memory, table(2), 0, 100);
      assert.equal(await within("warm", 10_000, cache.warm(table(3), 20_000)), false);
      assert.match(cache.figures().trouble ?? "", /does not answer/);
      const skipped = cache.figures().skippedParts;
      await same(cache, world.memory, table(3), 0, 100);
      assert.ok(cache.figures().skippedParts > skipped, "nothing waits for a disk that hangs");
      free();
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(cache.figures().trouble, undefined);
      assert.equal(await run(cache.warm(table(3), 20_000)), true);
      assert.equal(await world.requestsOf(() => same(cache, world.memory, table(3), 0, 20_000)), 0);
    }));

  it("fails to be ready in time", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      disk.before = () => new Promise(() => {});
      const world = new CacheWorld(join(folder, "cache"));
      const cache = world.open({ fileSystem: disk.fileSystem });
      const error = await within("ready", 8_000, Effect.flip(cache.ready));
      assert.deepEqual([error.reason, /does not answer/.test(error.detail ?? "")], ["timeout", true]);
      await within("close", 4_000, cache.close);
      const layer = diskCacheLayer({ folder: world.folder, identity: "test", fileSystem: disk.fileSystem });
      const used = Effect.asVoid(ObjectStore).pipe(Effect.provide(layer), Effect.provide(memoryStoreLayer()));
      await within("the layer", 15_000, Effect.exit(used));
    }));
});
