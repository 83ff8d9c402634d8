/**
 * Scans whose table is compacted and collected by another process while they run.
 *
 * @module
 */
import type { Db } from "../../src/db/api.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, tablePath } from "../../src/format/paths.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { World } from "../db/fault_world.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

const ROWS = 1500;
const key = (i: number) => `k${String(i).padStart(5, "0")}`;

/** A database with one L0 table of many blocks, none of them cached. */
async function worldWithTable(): Promise<{ world: World; db: Db }> {
  const world = new World({ blockSizeBytes: 1024, blockCacheBytes: 0 });
  const db = await world.open();
  const value = "v".repeat(200);
  for (let i = 0; i < ROWS; i++) await db.put(key(i), value, { durable: false });
  await world.get(db.flush({ kind: "memtable" }));
  return { world, db };
}

/** Another process moves the L0 table into a sorted run, under a new id, and collects the old object. */
function compactAndCollect(world: World): void {
  const { manifest } = world;
  const old = manifest.l0[0]!;
  const sstId = ulidFromParts(world.clock.now() + 5, new Uint8Array(10));
  world.inner.plant(tablePath("", sstId), world.inner.peek(tablePath("", old.sstId))!);
  const run = { id: 0, ssts: [{ ...old, sstId, viewId: sstId }] };
  const next = { ...manifest, l0: [], compacted: [run], lastCompactedL0: old.sstId };
  world.inner.plant(manifestPath("", world.paths("manifest").length + 1), encodeManifest(next));
  world.inner.remove(tablePath("", old.sstId));
}

describe("a scan whose table is collected", () => {
  it("goes on when somebody else has met the newer manifest already", async () => {
    const { world, db } = await worldWithTable();
    const scan = db.scan().iterator();
    for (let i = 0; i < 5; i++) assert.equal(text((await world.get(scan.next()))?.key), key(i));
    compactAndCollect(world);
    const before = db.status.manifestId;
    assert.ok(await world.get(db.get(key(1000))) !== undefined);
    assert.equal(db.status.manifestId, before + 1, "the other read took the newer view");
    let count = 5;
    for (let row = await scan.next(); row !== undefined; row = await scan.next()) {
      assert.equal(text(row.key), key(count++));
    }
    assert.equal(count, ROWS);
    await world.get(db.close());
  });

  for (const order of ["ascending", "descending"] as const) {
    it(`keeps the place it was sent to, ${order}`, async () => {
      const { world, db } = await worldWithTable();
      const scan = db.scan({}, { order }).iterator();
      for (let i = 0; i < 5; i++) await world.get(scan.next());
      compactAndCollect(world);
      await world.get(scan.seek(key(700)));
      assert.equal(text((await world.get(scan.next()))?.key), key(700));
      assert.equal(text((await world.get(scan.next()))?.key), key(order === "ascending" ? 701 : 699));
      await scan.return();
      await world.get(db.close());
    });
  }
});

describe("a read that meets a collected table while a commit waits for the store", () => {
  it("says that the store does not answer, not that data is missing", async () => {
    const world = new World({ requestTimeoutMillis: 5_000 });
    const first = await world.open();
    await world.get(first.put("k", "1"));
    await world.get(first.flush({ kind: "memtable" }));
    await world.get(first.close());
    const db = await world.open();
    world.inner.remove(world.paths("compacted")[0]!);
    const hang = { kind: "hang", when: "before" } as const;
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", rate: 1, fault: hang });
    await world.get(db.put("b", "1"));
    db.flush({ kind: "memtable" }).catch(() => {});
    await world.clock.advance(100);
    const error = await world.error(db.get("k"), 10_000);
    assert.equal((error as { _tag?: string })._tag, "Unavailable");
    world.store.controls.quiet();
  });
});
