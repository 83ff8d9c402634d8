/**
 * Clones and checkpoints of ours under the official engine, and clones of databases that the official engine wrote.
 *
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { clone, createCheckpoint, deleteCheckpoint, deleteClone, listCheckpoints, open, timeOfSeq } from "../../mod.ts";
import { fileStore } from "../../src/store/file_store.ts";
import {
  officialMissing,
  openOfficial,
  openOfficialReader,
  type PlainRow,
  quickCompactor,
  type Writer,
} from "../support/interop_official.ts";
import { assertSameAnswers, newestManifest, openOurs, ourWal, plainEntry, withPlace } from "../support/interop_ours.ts";
import { fill, keyOf } from "../support/interop_shapes.ts";
import { hex } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const skip = officialMissing();
const SMALL = { l0SstSizeBytes: 4000, blockSizeBytes: 1024, minFilterKeys: 1 };

/** Two tables' worth of rows, and a tail that is only in the log. */
async function history(writer: Writer): Promise<PlainRow[]> {
  await fill(writer, 120, 30);
  await writer.flush("memtable");
  for (let i = 0; i < 120; i += 3) await writer.delete(keyOf(i));
  await writer.flush("memtable");
  await writer.put("tail", "only in the log");
  await writer.put(keyOf(1), "newest");
  await writer.flush("wal");
  return await writer.rows();
}

/** Ends every checkpoint that would end some time: those of compactions (900 s) and of beginning clones (300 s). */
async function endAll(folder: string): Promise<void> {
  for (const one of await listCheckpoints(folder)) {
    if (one.expiresAt !== undefined) await deleteCheckpoint(folder, one.id);
  }
}

/** The rows of a database folder as our engine reads it when it is opened by the folder's name. */
async function ourRows(folder: string): Promise<PlainRow[]> {
  const db = await open(folder, { ttl: "slatedb" });
  const rows = (await db.scan().toArray()).map(plainEntry);
  for (const row of rows) {
    const found = await db.getEntry(Uint8Array.from(Buffer.from(row.key, "hex")));
    assert.deepEqual(found === undefined ? undefined : plainEntry(found), row);
  }
  await db.close();
  return rows;
}

describe("interop: clones", { skip }, () => {
  it("our clone of an official database is opened, written and compacted by the official engine, and read by ours", () =>
    withPlace(async (place) => {
      const twin = join(place.root, "twin");
      const parent = await openOfficial(place.db);
      const rows = await history(parent);
      await parent.close();
      const report = await clone(place.db, twin);
      assert.equal(newestManifest(twin).externalDbs[0]!.path, "db");
      assert.equal(newestManifest(twin).initialized, true);
      assert.ok(report.walObjects > 0 && ourWal(twin).size === report.walObjects);

      const official = await openOfficial(twin, { settings: { compactor_options: quickCompactor(2) } });
      assert.deepEqual(await official.rows(), rows);
      for (let i = 0; i < 60; i++) await official.put(keyOf(i * 2), `twin ${i}`);
      await official.flush("memtable");
      for (let waited = 0; newestManifest(twin).compacted.length === 0 && waited < 5000; waited += 50) await sleep(50);
      assert.ok(newestManifest(twin).compacted.length > 0, "the official compactor did nothing");
      const twinRows = await official.rows();
      await official.close();
      assert.notDeepEqual(twinRows, rows);
      assert.equal(newestManifest(twin).externalDbs.length, 1, "it never lets its parent go by itself");

      assert.deepEqual(await ourRows(twin), twinRows);
      const again = await openOfficial(place.db);
      assert.deepEqual(await again.rows(), rows, "the parent has changed");
      await again.put("parent", "goes on");
      await again.close();
      const ours = await openOurs(twin);
      const official2 = await ours.rows();
      assert.deepEqual(official2, twinRows);
      await ours.put("ours", "too");
      await ours.flush("memtable");
      const last = await ours.rows();
      await ours.close();
      const check = await openOfficial(twin);
      assert.deepEqual(await check.rows(), last);
      await check.close();
    }));

  it("ours is cloned and re-cloned; every generation answers the same in both engines", () =>
    withPlace(async (place) => {
      const [second, third] = [join(place.root, "second"), join(place.root, "third")];
      const ours = await openOurs(place.db, { open: SMALL });
      const rows = await history(ours);
      const { id } = await ours.db.checkpoint({ scope: "durable", lifetimeMillis: 60_000 });
      await ours.put("later", "not in the clone");
      await clone(place.db, second, { checkpoint: id });
      await ours.put("later", "still not");
      await ours.close();
      const official = await openOfficial(second);
      assert.deepEqual(await official.rows(), rows);
      await official.put("second", "1");
      await official.flush("memtable");
      await official.put("second", "2");
      const secondRows = await official.rows();
      await official.close();
      await clone(second, third);
      assert.deepEqual(newestManifest(third).externalDbs.map((db) => db.path), ["db", "second"]);
      const writer = await openOfficial(third);
      assert.deepEqual(await writer.rows(), secondRows);
      await writer.put(keyOf(5), "third");
      const thirdRows = await writer.rows();
      await writer.close();
      assert.deepEqual(await ourRows(third), thirdRows);
      assert.deepEqual(await ourRows(second), secondRows);
      const endless = () => newestManifest(place.db).checkpoints.filter((one) => one.expireTimeSeconds === 0).length;
      assert.equal(endless(), 2);
      await deleteClone(third);
      await deleteClone(second);
      assert.equal(endless(), 0);
    }));

  it("a clone made again where one was deleted is an ordinary database to the official engine", () =>
    withPlace(async (place) => {
      const twin = join(place.root, "twin");
      const ours = await openOurs(place.db, { open: SMALL });
      const rows = await history(ours);
      await ours.close();
      for (let round = 0; round < 2; round++) {
        await clone(place.db, twin);
        const first = await openOfficial(twin);
        assert.deepEqual(await first.rows(), rows, `round ${round}`);
        for (let i = 0; i < 20; i++) await first.put(`own ${i}`, `round ${round}`);
        await first.flush("wal");
        const written = await first.rows();
        await first.close();
        const second = await openOfficial(twin);
        assert.deepEqual(await second.rows(), written);
        await second.flush("memtable");
        await second.close();
        assert.deepEqual(await ourRows(twin), written);
        await deleteClone(twin);
      }
      // The official engine opens what is left as an empty database, which is not taken for a place that is free.
      const empty = await openOfficial(twin);
      assert.deepEqual(await empty.rows(), []);
      await empty.put("own", "1");
      await empty.close();
      await assert.rejects(clone(place.db, twin), /there is a database/);
      await assert.rejects(open(twin), /not-initialized/);
    }));

  it("a clone outlives what its official parent compacts and collects as fast as it can", () =>
    withPlace(async (place) => {
      const twin = join(place.root, "twin");
      const ours = await openOurs(place.db, { open: SMALL });
      const rows = await history(ours);
      await ours.close();
      await clone(place.db, twin);
      await endAll(place.db);
      const before = readdirSync(join(place.db, "compacted"));
      let seen = new Set<string>();
      const eager = { interval: "50ms", min_age: "0s" };
      const parent = await openOfficial(place.db, {
        settings: {
          compactor_options: quickCompactor(2),
          garbage_collector_options: {
            manifest_options: eager,
            wal_options: eager,
            compacted_options: eager,
            compactions_options: eager,
          },
        },
      });
      for (let round = 0; round < 8; round++) {
        for (let i = 0; i < 60; i++) await parent.put(keyOf(i * 2), `round ${round}`);
        await parent.flush("memtable");
        await sleep(150);
        seen = new Set([...seen, ...readdirSync(join(place.db, "compacted"))]);
        await endAll(place.db);
      }
      const parentRows = await parent.rows();
      await parent.close();
      const collected = [...seen].filter((name) => !existsSync(join(place.db, "compacted", name)));
      assert.ok(collected.length > 0, "the official collector did nothing");
      assert.ok(newestManifest(place.db).compacted.length > 0, "the official compactor did nothing");
      const named = new Set(newestManifest(place.db).l0.map((view) => `${view.sstId}.sst`));
      const spared = before.filter((name) => !named.has(name) && existsSync(join(place.db, "compacted", name)));
      assert.equal(spared.length, before.length, "what the clone needs was collected");
      assert.deepEqual(await ourRows(twin), rows);
      assert.deepEqual(await ourRows(place.db), parentRows);
      await deleteClone(twin);
    }));

  it("databases in different folders of one store are cloned by path, and the official engine follows the path", () =>
    withPlace(async (place) => {
      const store = fileStore(place.root);
      const ours = await openOurs(join(place.root, "x", "parent"), { open: SMALL });
      const rows = await history(ours);
      await ours.close();
      await clone({ store, path: "x/parent" }, "y/clone");
      const official = await openOfficial(join(place.root, "y", "clone"), { store: place.root });
      assert.deepEqual(await official.rows(), rows);
      await official.put("own", "1");
      await official.flush("memtable");
      const twinRows = await official.rows();
      await official.close();
      const db = await open({ store, path: "y/clone" }, { ttl: "slatedb" });
      assert.deepEqual((await db.scan().toArray()).map(plainEntry), twinRows);
      await db.close();
    }));
});

describe("interop: checkpoints", { skip }, () => {
  it("an official reader pinned at our checkpoints reads what they hold, log included", () =>
    withPlace(async (place) => {
      const ours = await openOurs(place.db, { open: SMALL });
      const rows = await history(ours);
      const durable = await ours.db.checkpoint({ scope: "durable", name: "durable" });
      const flushed = await ours.db.checkpoint({ name: "all", lifetimeMillis: 60_000 });
      const outside = await createCheckpoint(place.db, { source: durable.id, name: "outside" });
      for (let i = 0; i < 20; i++) await ours.put(keyOf(i), `later ${i}`);
      await ours.flush("memtable");
      await ours.put("later", "1");
      for (const { id } of [durable, flushed, outside]) {
        const reader = await openOfficialReader(place.db, 1000, false, id);
        assert.deepEqual(await reader.rows(), rows);
        assert.equal(await reader.get("tail"), hex(Buffer.from("only in the log")));
        assert.equal(await reader.get("later"), undefined);
        await reader.close();
      }
      const names = (await listCheckpoints(place.db)).map((one) => one.name);
      for (const name of ["durable", "all", "outside"]) assert.ok(names.includes(name), `${name} is lost: ${names}`);
      await ours.close();
      const official = await openOfficial(place.db);
      await official.put("more", "1");
      await official.flush("memtable");
      await official.close();
      const kept = (await listCheckpoints(place.db)).map((one) => [one.name, one.id]);
      for (const one of [durable, flushed, outside]) {
        assert.ok(kept.some(([name, id]) => name === one.name && id === one.id), "its commits keep ours");
      }
    }));

  it("times of sequence numbers of an official database are told", () =>
    withPlace(async (place) => {
      const before = Math.floor(performance.timeOrigin + performance.now());
      const official = await openOfficial(place.db);
      const seq = await official.put("a", "1");
      await official.flush("memtable");
      await official.close();
      const found = await timeOfSeq(place.db, seq, "down");
      assert.ok(found !== undefined && Math.abs(found - before) < 60_000, `${found}, not about ${before}`);
      const ours = await openOurs(place.db);
      assert.equal(await ours.db.timeOfSeq(seq, "down"), found);
      assert.equal(await ours.db.seqAtTime(found, "down"), seq);
      await assertSameAnswers(ours, ours);
      await ours.close();
    }));
});
