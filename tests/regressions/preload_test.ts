/** Preloading: what failed is brought later, what does not fit is not looked at again and again, and its requests. */
import { join } from "node:path";
import { Effect, Exit, Scope } from "effect";
import { open, openReader, WriteBatch } from "../../mod.ts";
import { Preloader } from "../../src/db/preload.ts";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import type { Levels } from "../../src/lsm/lsm_view.ts";
import type { Table } from "../../src/lsm/table.ts";
import type { TableStore } from "../../src/lsm/table_store.ts";
import type { DiskCacheStore } from "../../src/store/disk_cache.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = canUseDisk() ? false : "needs the disk";
const META_BYTES = 100;

/** A preloader over tables that exist in name only. */
class World {
  readonly clock = virtualClock(0);
  levels: Levels;
  fails = false;
  room = 0;
  asked = 0;
  warmed = 0;
  /** Looks at how much a table needs. */
  looks = 0;
  trouble: string | undefined = undefined;
  warms = true;
  changes = 0;
  readonly preloader: Preloader;
  readonly #scope = Scope.makeUnsafe();

  constructor(count: number, withCache: boolean) {
    this.levels = this.#levels(Array.from({ length: count }, () => this.table()));
    const tables = {
      cache: { metaRoom: () => this.room },
      fetch: () =>
        Effect.suspend(() => {
          this.asked++;
          const why = { reason: "unavailable", retryable: true, outcome: "none" } as const;
          return this.fails ? Effect.fail(new StoreError({ op: "getRange", path: "x", ...why })) : Effect.void;
        }),
    } as unknown as TableStore;
    const cache = {
      warm: () =>
        Effect.sync(() => {
          this.warmed++;
          return this.warms;
        }),
      figures: () => ({ trouble: this.trouble }),
    } as unknown as DiskCacheStore;
    const levels = () => this.levels;
    this.preloader = new Preloader({ preload: "all", tables, levels, cache: withCache ? cache : undefined });
    this.preloader.onChange = () => this.changes++;
  }

  table(): Table {
    const look = () => ++this.looks && META_BYTES;
    const info = {
      get indexLen() {
        return look();
      },
      filterLen: 0,
    };
    return { info, hasFilter: false, dropped: false, path: "x", readEnd: 1 } as unknown as Table;
  }

  #levels(tables: readonly Table[]): Levels {
    return { l0: tables.map((table) => ({ table })), runs: [] } as unknown as Levels;
  }

  /** A newer version, with one more table. */
  async newer(): Promise<void> {
    this.levels = this.#levels([...this.levels.l0.map(({ table }) => table), this.table()]);
    this.preloader.changed();
    await this.clock.settle();
  }

  async start(): Promise<void> {
    const started = Scope.provide(this.preloader.start, this.#scope);
    await Effect.runPromise(Effect.provideContext(started, virtualClockContext(this.clock)));
    await this.clock.settle();
  }

  end(): Promise<void> {
    return Effect.runPromise(Scope.close(this.#scope, Exit.void));
  }
}

describe("Preloader", () => {
  it("brings what failed after a wait, ends its warning then, and has no timer any more", async () => {
    const world = new World(3, true);
    world.room = 10_000;
    world.fails = true;
    await world.start();
    assert.match(world.preloader.trouble ?? "", /unavailable/);
    const asked = world.asked;
    await world.clock.advance(5_000);
    assert.equal(world.asked, 2 * asked, "once more after five seconds");
    await world.clock.advance(9_000);
    assert.equal(world.asked, 2 * asked, "then after ten");
    world.fails = false;
    await world.clock.advance(1_000);
    assert.equal(world.asked, 3 * asked);
    assert.equal(world.preloader.trouble, undefined);
    assert.ok(world.changes >= 2, "the end of the warning is told");
    assert.equal(world.warmed, 3, "each table once: blocks do not wait for indexes");
    assert.equal(world.clock.timers, 0);
    await world.end();
  });

  it("ends a pass when much of it fails", async () => {
    const world = new World(1_000, false);
    world.room = 1_000_000;
    world.fails = true;
    await world.start();
    assert.ok(world.asked < 20, `${world.asked} requests`);
    await world.end();
  });

  it("brings tables to the disk once it takes something again", async () => {
    const world = new World(3, true);
    world.warms = false;
    world.trouble = "the disk does not answer";
    await world.start();
    assert.ok(world.warmed >= 1);
    world.warms = true;
    world.trouble = undefined;
    world.warmed = 0;
    await world.clock.advance(5_000);
    assert.equal(world.warmed, 3);
    await world.newer();
    assert.equal(world.warmed, 3, "later tables are not brought to the disk");
    await world.end();
  });

  it("looks at tables that did not fit only when there is more room", async () => {
    const world = new World(5_000, false);
    await world.start();
    world.looks = 0;
    for (let version = 0; version < 3; version++) await world.newer();
    assert.ok(world.looks <= 12, `${world.looks} looks for three new tables`);
    assert.equal(world.asked, 0);
    world.room = META_BYTES;
    await world.newer();
    assert.equal(world.asked, 5_004);
    await world.end();
  });
});

/** A database with one table. */
async function filled(): Promise<MemoryStore> {
  const store = memoryStore();
  const db = await open({ store, path: "db" }, { compactor: false, garbageCollector: false });
  const batch = new WriteBatch();
  for (let i = 0; i < 3_000; i++) batch.put(`k${i}`, "v".repeat(100));
  await db.write(batch);
  await db.flush({ kind: "memtable" });
  await db.close();
  return store;
}

describe("preload and diskCache", { skip }, () => {
  it("what is preloaded is asked for in the background, and counted as such", () =>
    inFolder(async (folder) => {
      const store = await filled();
      const off = { compactor: false, garbageCollector: false, preload: "all" } as const;
      for (const diskCache of [undefined, { folder: join(folder, "cache") }]) {
        const db = await open({ store, path: "db" }, { ...off, ...(diskCache === undefined ? {} : { diskCache }) });
        const bytesOf = () => db.cost().requests.preload?.getRange ?? 0;
        while (bytesOf() < (diskCache === undefined ? 1 : 2)) await new Promise((resolve) => setTimeout(resolve, 5));
        assert.equal(db.cost().requests.db?.getRange ?? 0, 0);
        await db.close();
      }
    }));

  it("two stores that do not say what they are share no part of a folder, one store does with itself", () =>
    inFolder(async (folder) => {
      const store = await filled();
      const diskCache = { folder: join(folder, "cache") };
      let asked = 0;
      const counting: ObjectStoreShape = {
        ...store,
        getRange: (path, range, hint) => {
          if (path.includes("/compacted/")) asked++;
          return store.getRange(path, range, hint);
        },
      };
      const readAll = async (of: ObjectStoreShape) => {
        const reader = await openReader({ store: of, path: "db" }, { mode: "follow", diskCache });
        try {
          for (let i = 0; i < 3_000; i += 50) assert.ok(await reader.get(`k${i}`));
        } finally {
          await reader.close();
        }
      };
      await readAll(counting);
      const cold: number = asked;
      assert.ok(cold > 0);
      await readAll(counting);
      assert.equal(asked, cold, "the same store finds its parts");
      const lost = memoryStore();
      for (const path of store.objects()) if (!path.includes("/compacted/")) lost.plant(path, store.peek(path)!);
      await assert.rejects(readAll(lost), /missing-object/);
    }));

  it("refuses folders and sizes that cannot be meant, with the name of the option", () =>
    inFolder(async (folder) => {
      const place = join(folder, "db");
      const refused = (diskCache: { folder: string; partBytes?: number; maxBytes?: number }, text: RegExp) =>
        assert.rejects(open(place, { diskCache, compactor: false }), text);
      await refused({ folder: "~/cache" }, /diskCache\.folder: "~"/);
      await refused({ folder: " " }, /diskCache\.folder/);
      for (const inside of [place, join(place, "cache"), join(place, "compacted", "x")]) {
        await refused({ folder: inside }, /diskCache\.folder: .* is inside the database's own folder/);
      }
      const cache = join(folder, "db-cache");
      await refused({ folder: cache, partBytes: 1024, maxBytes: 16 * 2 ** 30 }, /diskCache\.maxBytes: .*262144 parts/);
      const db = await open(place, { diskCache: { folder: cache, partBytes: 1024 }, compactor: false });
      await db.close();
    }));
});
