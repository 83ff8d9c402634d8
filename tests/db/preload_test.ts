/** Preloading: what is brought before somebody reads it, within which limits, and that it harms nothing. */
import { Effect, Exit, Scope } from "effect";
import { open, openReader } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import { Preloader } from "../../src/db/preload.ts";
import { StoreError } from "../../src/errors.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { BlockCache } from "../../src/lsm/block_cache.ts";
import { buildLevels } from "../../src/lsm/lsm_view.ts";
import { TableStore } from "../../src/lsm/table_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { eventually, filled, key, metric, QUIET, readSome, ROWS, tableReads, text } from "./cached_tables.ts";

const skip = canUseDisk() ? false : "needs the disk";

describe("preload", { skip }, () => {
  const quick = { manifestPollIntervalMillis: 20 };

  it('preload "l0" brings index and filter of L0 tables, so that a read asks for its block only', async () => {
    const { store, ranges } = tableReads(await filled(2));
    const none = await open({ store, path: "db" }, { ...QUIET, preload: "none" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(ranges, [], "nothing is brought unless asked for");
    await none.close();
    const db = await open({ store, path: "db" }, { ...QUIET, preload: "l0" });
    await eventually(() => ranges.length === 2, "one request for each table");
    await new Promise((resolve) => setTimeout(resolve, 20));
    await db.get(key(0));
    assert.equal(ranges.length, 3, "one block");
    await db.close();
    for (const options of [{}, { mode: "follow" }] as const) {
      const before: number = ranges.length;
      const reader = await openReader({ store, path: "db" }, { ...options, preload: "l0" });
      await eventually(() => ranges.length === before + 2, "one request for each table, for a reader");
      await new Promise((resolve) => setTimeout(resolve, 20));
      await reader.get(key(0));
      assert.equal(ranges.length, before + 3, "one block");
      await reader.close();
    }
  });

  it('preload "all" with a disk cache brings whole tables, once; then nothing is asked of the store', () =>
    inFolder(async (folder) => {
      const { store, ranges } = tableReads(await filled(3));
      const compacting = await open({ store, path: "db" }, { ...QUIET, compactor: {} });
      await compacting.compact();
      await compacting.close();
      ranges.length = 0;
      const options = { ...QUIET, preload: "all", diskCache: { folder } } as const;
      const db = await open({ store, path: "db" }, options);
      await eventually(() => (metric(db, "cache_bytes") ?? 0) > 500_000, "the run is on the disk");
      await db.close();
      const cold = ranges.length;
      assert.ok(cold <= 3, `${cold} requests`);
      const again = await open({ store, path: "db" }, options);
      await readSome(again, 3);
      const rows: string[] = [];
      for await (const row of again.scan()) rows.push(text(row.key)!);
      assert.equal(rows.length, ROWS);
      await again.close();
      assert.equal(ranges.length, cold);
    }));

  it("preload stays within the folder's limit, evicts nothing, and within the memory for indexes", () =>
    inFolder(async (folder) => {
      const { store } = tableReads(await filled(3));
      const diskCache = { folder, maxBytes: 1 << 20, partBytes: 65_536 };
      const db = await open({ store, path: "db" }, { ...QUIET, preload: "all", diskCache });
      await eventually(() => (metric(db, "cache_bytes") ?? 0) > 500_000, "some parts");
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(metric(db, "cache_bytes")! <= 1 << 20);
      assert.equal(metric(db, "evicted_keys"), 0);
      await readSome(db, 3);
      await db.close();
    }));

  it("Preloader evicts no index for another, and leaves a tenth of their memory free", async () => {
    const objects = await filled(6);
    const newest = objects.objects().filter((path) => path.startsWith("db/manifest/")).at(-1)!;
    const { manifest } = decodeManifest(objects.peek(newest)!);
    const { indexLen, filterLen } = manifest.l0[0]!.info;
    const cache = new BlockCache({ blockBytes: 0, metaBytes: 3.5 * (indexLen * 4 + filterLen) });
    const { store, ranges } = tableReads(objects);
    const tables = new TableStore({ store, root: "db", cache });
    const levels = buildLevels(manifest, tables);
    const preloader = new Preloader({ preload: "l0", tables, levels: () => levels, cache: undefined });
    const scope = Scope.makeUnsafe();
    await Effect.runPromise(Scope.provide(preloader.start, scope));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(cache.stats.metaEvictions, 0);
    assert.ok(ranges.length >= 2 && ranges.length < 6, `${ranges.length} tables were brought`);
    assert.equal(preloader.trouble, undefined);
    await Effect.runPromise(Scope.close(scope, Exit.void));
  });

  it("indexes of tables that a compaction made are brought before somebody reads them", async () => {
    const { store, ranges } = tableReads(await filled(3));
    const db = await open({ store, path: "db" }, { ...QUIET, compactor: {}, preload: "all" });
    const reader: DbReader = await openReader({ store, path: "db" }, { mode: "follow", ...quick, preload: "all" });
    await eventually(() => ranges.length >= 6, "the L0 tables' indexes");
    await db.compact();
    await new Promise((resolve) => setTimeout(resolve, 100));
    await reader.refresh();
    await new Promise((resolve) => setTimeout(resolve, 100));
    ranges.length = 0;
    await db.get(key(2_000));
    assert.equal(ranges.length, 1, `the block: ${ranges}`);
    await reader.get(key(2_000));
    assert.equal(ranges.length, 2, `the block, for a reader: ${ranges}`);
    await reader.close();
    await db.close();
  });

  it("a preload that fails neither fails nor delays the open, and is told in the status", async () => {
    const objects = await filled(2);
    let hung = 0;
    const hanging: ObjectStoreShape = {
      ...objects,
      getRange: (path, range) =>
        path.includes("/compacted/")
          ? Effect.suspend(() => {
            hung++;
            return Effect.never;
          })
          : objects.getRange(path, range),
    };
    const slow = await open({ store: hanging, path: "db" }, { ...QUIET, preload: "all" });
    await eventually(() => hung > 0, "the preload runs");
    await slow.put("a", "1");
    await slow.close();
    const failing: ObjectStoreShape = {
      ...objects,
      getRange: (path, range) =>
        path.includes("/compacted/")
          ? Effect.fail(
            new StoreError({ op: "getRange", path, reason: "permission", retryable: false, outcome: "none" }),
          )
          : objects.getRange(path, range),
    };
    const db = await open({ store: failing, path: "db" }, { ...QUIET, preload: "all" });
    await eventually(
      () => db.status.warnings.some((text) => /^Preloading a table failed: .*permission/.test(text)),
      "told",
    );
    await db.put("a", "2");
    await db.close();
    const reader = await openReader({ store: failing, path: "db" }, { mode: "follow", preload: "all" });
    await eventually(() => reader.status.warnings?.[0]?.includes("permission") === true, "told by a reader");
    await reader.close();
  });
});
