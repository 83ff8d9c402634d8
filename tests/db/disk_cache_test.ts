/** Databases and readers with a cache on the disk: requests saved, what passes, options, metrics. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Effect } from "effect";
import { fileStore, metered, open, openReader, WriteBatch } from "../../mod.ts";
import type { DiskCacheSettings } from "../../src/db/table_source.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { PARTS_FOLDER } from "../../src/store/disk_cache/part_name.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";
import { eventually, filled, key, metric, QUIET, readSome, ROWS, tableReads, text } from "./cached_tables.ts";

const skip = canUseDisk() ? false : "needs the disk";

describe("OpenOptions.diskCache", { skip }, () => {
  it("a reopened database reads its tables from the disk, and cost() counts no request for that", () =>
    inFolder(async (folder) => {
      const { store, ranges } = tableReads(await filled(2));
      const options = { ...QUIET, diskCache: { folder } };
      const first = await open({ store, path: "db" }, options);
      await readSome(first, 2);
      const cold = ranges.length;
      assert.ok(cold >= 4 && cold <= 8, `${cold} requests for two tables in parts of 256 KiB`);
      assert.equal(first.cost().requests.db?.getRange, cold);
      assert.equal(first.cost().requests.db?.head, undefined, "how far tables reach is known");
      await first.close();
      const again = await open({ store, path: "db" }, options);
      const before = again.cost().requests.db?.getRange;
      await readSome(again, 2);
      assert.equal(ranges.length, cold, "nothing was asked of the store");
      assert.equal(again.cost().requests.db?.getRange, before);
      assert.equal(metric(again, "part_hit_count"), metric(again, "part_access_count"));
      assert.ok(metric(again, "part_hit_count")! > 0);
      await eventually(() => metric(again, "cache_keys") === 4, "the folder is looked through");
      assert.ok(metric(again, "cache_bytes")! > 900_000);
      assert.deepEqual([metric(again, "evicted_keys"), metric(again, "evicted_bytes")], [0, 0]);
      await again.close();
      const plain = await open({ store, path: "db" }, QUIET);
      assert.equal(metric(plain, "part_hit_count"), undefined, "without a cache there are no such metrics");
      await plain.close();
    }));

  it("readers of one database share a folder, each with its figures", () =>
    inFolder(async (folder) => {
      const { store, ranges } = tableReads(await filled());
      const place = { store, path: "db" };
      const one = await openReader(place, { mode: "follow", diskCache: { folder } });
      await readSome(one);
      const cold = ranges.length;
      const two = await openReader(place, { diskCache: { folder }, blockCacheBytes: 0 });
      await one.close();
      await readSome(two);
      assert.equal(ranges.length, cold);
      assert.equal(two.status.diskCache!.partHits, two.status.diskCache!.partAccesses);
      assert.equal(two.status.warnings, undefined);
      const checkpoint = two.status.checkpointId!;
      const pinned = await openReader(place, { checkpoint, diskCache: { folder } });
      await readSome(pinned);
      assert.equal(ranges.length, cold);
      await pinned.close();
      await two.close();
      const plain = await openReader(place);
      assert.equal(plain.status.diskCache, undefined);
      await plain.close();
    }));

  it("manifests, the log and compactions never come from the folder, whatever lies in it", () =>
    inFolder(async (folder) => {
      const objects = await filled();
      const diskCache: DiskCacheSettings = { folder, cachePuts: true, partBytes: 1024, maxBytes: 1 << 24 };
      const options = { ...QUIET, diskCache };
      const db = await open({ store: objects, path: "db" }, options);
      await readSome(db);
      await db.put("later", "1");
      await db.close();
      // Somebody else changes everything that may change: a row, the manifest, the log.
      const other = await open({ store: objects, path: "db" }, QUIET);
      await other.put("later", "2");
      await other.put(key(100), "changed");
      await other.flush({ kind: "memtable" });
      await other.close();
      const again = await open({ store: objects, path: "db" }, options);
      assert.equal(text(await again.get("later")), "2");
      assert.equal(text(await again.get(key(100))), "changed");
      await again.close();
      // The newest manifest is written anew under the same name, as no engine does.
      const newest = objects.objects().filter((path) => path.startsWith("db/manifest/")).at(-1)!;
      const reader = await openReader({ store: objects, path: "db" }, { mode: "follow", diskCache });
      assert.equal(text(await reader.get("later")), "2");
      await reader.close();
      const { l0 } = decodeManifest(objects.peek(newest)!).manifest;
      assert.equal(l0.length, 2);
      objects.plant(newest, objects.peek(objects.objects().find((path) => path.startsWith("db/manifest/"))!)!);
      const empty = await openReader({ store: objects, path: "db" }, {
        mode: "follow",
        skipWalReplay: true,
        diskCache,
      });
      assert.equal(await empty.get("later"), undefined, "the manifest underneath was read");
      await empty.close();
    }));

  it("a database made anew at the same place never shows rows of the old one", () =>
    inFolder(async (folder) => {
      const place = join(folder, "db");
      for (const round of ["old", "new", "newest"]) {
        const db = await open(place, { ...QUIET, diskCache: { folder: join(folder, "cache"), cachePuts: true } });
        for (let n = 0; n < 100; n++) db.put(key(n), round, { durable: false });
        await db.flush({ kind: "memtable" });
        await db.close();
        const again = await open(place, { ...QUIET, diskCache: { folder: join(folder, "cache") } });
        for (let n = 0; n < 100; n++) assert.equal(text(await again.get(key(n))), round);
        await again.close();
        rmSync(place, { recursive: true });
      }
    }));

  it("tables that are flushed are kept with cachePuts, and the compactor reads past the cache", () =>
    inFolder(async (folder) => {
      const { store, ranges } = tableReads(memoryStore());
      const db = await open({ store, path: "db" }, {
        ...QUIET,
        compactor: {},
        l0SstSizeBytes: 1 << 20,
        diskCache: { folder, cachePuts: true },
      });
      for (let t = 0; t < 3; t++) {
        const batch = new WriteBatch();
        for (let n = 0; n < ROWS; n++) batch.put(key(n), `${t} of ${n} `.padEnd(100, "."));
        await db.write(batch);
        await db.flush({ kind: "memtable" });
      }
      await readSome(db, 3);
      assert.deepEqual(ranges, [], "reads come from what was put");
      const accesses = metric(db, "part_access_count");
      await db.compact();
      assert.equal(metric(db, "part_access_count"), accesses, "the compactor does not use the cache");
      assert.ok(ranges.length > 0);
      await readSome(db, 3);
      await db.close();
    }));

  it("damage that came with a transfer and was kept is fetched again, once", () =>
    inFolder(async (folder) => {
      const objects = await filled();
      let flipped = 0;
      const store: ObjectStoreShape = {
        ...objects,
        getRange: (path, range) =>
          Effect.map(objects.getRange(path, range), (bytes) => {
            if (!path.includes("/compacted/") || flipped > 0 || range.length < 200_000) return bytes;
            flipped++;
            const bad = bytes.slice();
            for (let at = 2_000; at < bad.length; at += 4_096) bad[at]! ^= 1;
            return bad;
          }),
      };
      const db = await open({ store, path: "db" }, { ...QUIET, diskCache: { folder } });
      await readSome(db);
      assert.equal(flipped, 1);
      await db.close();
      const again = await open({ store: objects, path: "db" }, { ...QUIET, diskCache: { folder } });
      await readSome(again);
      await again.close();
    }));

  it("a folder that cannot be used fails the open with its name, before any request", () =>
    inFolder(async (folder) => {
      writeFileSync(join(folder, "file"), "");
      const never = metered(memoryStore(), { component: "test" });
      for (const bad of [join(folder, "file"), join(folder, "file", "below")]) {
        for (
          const opening of [
            () => open({ store: never, path: "db" }, { ...QUIET, diskCache: { folder: bad } }),
            () => openReader({ store: never, path: "db" }, { diskCache: { folder: bad } }),
          ]
        ) {
          await assert.rejects(opening(), (error) => {
            assert.ok(error instanceof InvalidArgument, String(error));
            assert.equal(error.reason, "disk-cache");
            assert.ok(error.message.includes(JSON.stringify(bad)), error.message);
            assert.match(error.message, /option diskCache\.folder/);
            return true;
          });
        }
      }
      assert.deepEqual(never.report().requests, {});
    }));

  it("settings are checked with the path of the field", async () => {
    const refusals: ReadonlyArray<readonly [unknown, RegExp]> = [
      ["cache", /diskCache: give \{ folder \}/],
      [null, /diskCache: give/],
      [[], /diskCache: give/],
      [{}, /diskCache\.folder: give the path/],
      [{ folder: "" }, /diskCache\.folder/],
      [{ folder: "file:///x" }, /diskCache\.folder: give the path of a folder, not a URL/],
      [{ folder: "x", size: 1 }, /diskCache\.size: there is no such option; known are folder/],
      [{ folder: "x", partBytes: 1000 }, /diskCache\.partBytes: must be/],
      [{ folder: "x", partBytes: 1 << 20, maxBytes: 1 << 20 }, /diskCache\.maxBytes: must have room for two parts/],
      [{ folder: "x", maxBytes: "16 GiB" }, /diskCache\.maxBytes/],
      [{ folder: "x", cachePuts: 1 }, /diskCache\.cachePuts: give true or false/],
      [{ folder: "x", identity: 1 }, /diskCache\.identity: give a string/],
      [{ folder: "x", __proto__: null, constructor: 1 }, /diskCache\.constructor: there is no such option/],
    ];
    for (const [diskCache, message] of refusals) {
      const given = { diskCache: diskCache as DiskCacheSettings };
      for (const opening of [() => open("memory:", given), () => openReader("memory:", given)]) {
        await assert.rejects(opening(), (error) => {
          assert.ok(error instanceof InvalidArgument && error.reason === "options", String(error));
          assert.match(error.message, message);
          return true;
        });
      }
    }
    await assert.rejects(open("memory:", { preload: "some" as "all" }), /preload/);
    assert.ok(!existsSync("x"));
  });

  it("a full disk is a warning in the status, and no reason to fail", () =>
    inFolder(async (folder) => {
      const objects = await filled();
      const cache = join(folder, "cache");
      const db = await open({ store: objects, path: "db" }, { ...QUIET, diskCache: { folder: cache } });
      // A file in the place of the folder of parts: nothing can be written.
      rmSync(join(cache, PARTS_FOLDER), { recursive: true });
      writeFileSync(join(cache, PARTS_FOLDER), "");
      await readSome(db);
      await eventually(() => db.status.warnings.some((text) => /disk cache keeps nothing/.test(text)), "a warning");
      assert.equal(db.status.degraded, false);
      await db.close();
    }));
});

describe("diskCache under random histories", { skip }, () => {
  it("a database with a tiny cache answers as one without, through flushes, compactions and damage of its files", () =>
    inFolder(async (folder) => {
      let seed = 20260117;
      const draw = (below: number): number => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return Math.floor(seed / 2 ** 32 * below);
      };
      const place = join(folder, "db");
      const cache = join(folder, "cache");
      mkdirSync(cache);
      const model = new Map<string, string>();
      for (let round = 0; round < 6; round++) {
        const db = await open({ store: fileStore(place), path: "db" }, {
          ...QUIET,
          compactor: {},
          l0SstSizeBytes: 20_000,
          blockCacheBytes: round % 2 === 0 ? 0 : 20_000,
          preload: round % 3 === 0 ? "all" : "none",
          diskCache: { folder: cache, partBytes: 4_096, maxBytes: 120_000, cachePuts: round % 2 === 1 },
        });
        for (let step = 0; step < 150; step++) {
          const name = key(draw(200));
          const what = draw(100);
          if (what < 45) {
            const value = `${round} ${step} `.padEnd(20 + draw(300), "v");
            model.set(name, value);
            await db.put(name, value, { durable: false });
          } else if (what < 55) {
            model.delete(name);
            await db.delete(name, { durable: false });
          } else if (what < 90) assert.equal(text(await db.get(name)), model.get(name), `${name} in step ${step}`);
          else if (what < 93) await db.flush({ kind: "memtable" });
          else if (what < 95) await db.compact();
          else if (what < 97) spoil(cache, draw);
          else {
            const found = new Map<string, string>();
            for await (const row of db.scan()) found.set(text(row.key)!, text(row.value)!);
            assert.deepEqual([...found], [...model].sort(([a], [b]) => a < b ? -1 : 1));
          }
        }
        await db.close();
      }
    }));
});

/** Damages one file of a cache, if there is one. */
function spoil(cache: string, draw: (below: number) => number): void {
  const parts = join(cache, PARTS_FOLDER);
  if (!existsSync(parts)) return;
  const files = readdirSync(parts, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  if (files.length === 0) return;
  const file = files[draw(files.length)]!;
  const path = join(file.parentPath, file.name);
  try {
    const bytes = readFileSync(path);
    if (bytes.length === 0) return;
    if (draw(2) === 0) writeFileSync(path, bytes.subarray(0, draw(bytes.length)));
    else {
      bytes[draw(bytes.length)]! ^= 1 << draw(8);
      writeFileSync(path, bytes);
    }
  } catch {
    // It was evicted meanwhile.
  }
}
