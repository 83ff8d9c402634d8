/**
 * Compactions of databases with range deletes, by the public interface: what they free, and what they read for it.
 *
 * @module
 */
import { WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { compactOnce } from "../../src/db/standalone_compactor.ts";
import type { SstView } from "../../src/format/types.ts";
import { isGated } from "../../src/state/range_gate.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";

const ON_REQUEST: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  garbageCollector: false,
  compactor: false,
};
const SCHEDULERS: Record<string, OpenOptions> = {
  "size-tiered": { ...ON_REQUEST, compactor: { minCompactionSources: 6, maxCompactionSources: 8, maxSstBytes: 600 } },
  leveled: {
    ...ON_REQUEST,
    compactor: { scheduler: "leveled", minCompactionSources: 6, maxSstBytes: 600, levelBaseBytes: 1 << 20 },
  },
};
const key = (i: number): string => `k${String(i).padStart(3, "0")}`;

/** Writes one table of `count` keys from `from` on. */
async function table(world: World, db: Db, from: number, count: number, tag: string): Promise<void> {
  const batch = new WriteBatch();
  for (let i = from; i < from + count; i++) batch.put(key(i), `${tag} ${"x".repeat(20)}`);
  await world.get(Promise.all([db.write(batch, { durable: false }), db.flush({ kind: "memtable" })]));
}

async function deleteRange(world: World, db: Db, from: number, to: number): Promise<void> {
  const batch = new WriteBatch().deleteRange({ gte: key(from), lt: key(to) });
  await world.get(Promise.all([db.write(batch, { durable: false }), db.flush({ kind: "memtable" })]));
}

/** Keys that a scan finds. */
async function keys(world: World, db: Db): Promise<string[]> {
  const rows = await world.get(db.scan().toArray());
  return rows.map((row) => new TextDecoder().decode(row.key));
}

const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => key(from + i));

/** Tables of L0 and of each run. */
const shape = ({ manifest: { l0, compacted } }: World): string =>
  [l0.length, ...compacted.map(({ ssts }) => ssts.length)].join(" ");

/** Objects of the tables that a manifest names, with how often they were read since. */
function readsOf(world: World, paths: ReadonlySet<string>, since: number): number {
  const reads = world.store.controls.log.slice(since).filter(({ op, path }) => paths.has(path) && op.startsWith("get"));
  return reads.length;
}

const runPaths = ({ manifest }: World): Set<string> =>
  new Set(manifest.compacted.flatMap(({ ssts }) => ssts.map(({ sstId }) => `compacted/${sstId}.sst`)));

describe("compactions after range deletes", () => {
  for (const [name, options] of Object.entries(SCHEDULERS)) {
    it(`${name}: the tables below a range delete go at once, without being read`, async () => {
      const world = new World(options);
      const db = await world.open();
      for (const from of [0, 20, 40, 60, 80, 100]) await table(world, db, from, 20, "old");
      await world.clock.advance(5000);
      assert.equal(shape(world).split(" ")[0], "0", "L0 was to be compacted");
      const tables = runPaths(world).size;
      assert.ok(tables >= 4, shape(world));
      const [before, since] = [runPaths(world), world.store.controls.log.length];
      const { checkpoints } = world.manifest;
      await deleteRange(world, db, 10, 115);
      await world.clock.advance(5000);
      const left = runPaths(world);
      assert.ok(left.size <= 3, shape(world));
      assert.equal(readsOf(world, before, since), 0, "tables were read");
      assert.equal(world.manifest.checkpoints.length, checkpoints.length + 1, "the tables that went are not kept");
      assert.deepEqual(await keys(world, db), [...numbers(0, 10), ...numbers(115, 120)]);
      await world.get(db.close());
      const again = await world.open();
      assert.deepEqual(await keys(world, again), [...numbers(0, 10), ...numbers(115, 120)]);
      await world.get(again.close());
    });
  }

  it("compact() lets all go that is hidden, and the tombstone with it", async () => {
    const world = new World(ON_REQUEST);
    const db = await world.open();
    for (const from of [0, 20, 40]) await table(world, db, from, 20, "old");
    await world.get(db.compact());
    await deleteRange(world, db, 0, 50);
    await world.clock.advance(60_000);
    assert.equal(shape(world), "1 1", "nobody asked for a compaction");
    assert.equal(isGated(world.manifest), true);
    await world.get(db.compact());
    assert.equal(shape(world), "0 1");
    assert.equal(world.manifest.compacted[0]!.ssts[0]!.info.rangeDeletes, undefined);
    assert.equal(isGated(world.manifest), false);
    assert.deepEqual(await keys(world, db), numbers(50, 60));
    await deleteRange(world, db, 0, 999);
    await world.get(db.compact());
    assert.equal(shape(world), "0");
    assert.deepEqual(await keys(world, db), []);
    await world.get(db.close());
  });

  it("a snapshot keeps what it sees, hidden since", async () => {
    const world = new World(SCHEDULERS["size-tiered"]!);
    const db = await world.open();
    for (const from of [0, 20, 40, 60, 80, 100]) await table(world, db, from, 20, "old");
    await world.clock.advance(5000);
    const snapshot = await db.snapshot();
    await deleteRange(world, db, 0, 999);
    await world.get(db.compact());
    assert.equal((await world.get(snapshot.scan().toArray())).length, 120);
    assert.deepEqual(await keys(world, db), []);
    snapshot.release();
    await table(world, db, 200, 1, "new");
    await world.clock.advance(5000);
    await world.get(db.compact());
    assert.deepEqual(await keys(world, db), [key(200)]);
    assert.equal(world.manifest.compacted.flatMap(({ ssts }) => ssts).length, 1);
    await world.get(db.close());
  });

  it("what is written after a range delete stays, however it is compacted", async () => {
    const world = new World({ ...ON_REQUEST, compactor: { minCompactionSources: 2, maxSstBytes: 300 } });
    const db = await world.open();
    for (let round = 0; round < 6; round++) {
      await table(world, db, 0, 20, `round ${round}`);
      await deleteRange(world, db, 5 + round, 15);
      await world.clock.advance(1000);
      assert.deepEqual(await keys(world, db), [...numbers(0, 5 + round), ...numbers(15, 20)]);
    }
    await world.get(db.compact({ gte: key(0), lt: key(8) }));
    assert.deepEqual(await keys(world, db), [...numbers(0, 10), ...numbers(15, 20)]);
    await table(world, db, 12, 1, "again");
    await world.get(db.compact());
    assert.deepEqual(await keys(world, db), [...numbers(0, 10), key(12), ...numbers(15, 20)]);
    await world.get(db.close());
  });

  it("a compactor of its own takes hidden tables away, too", async () => {
    const world = new World(ON_REQUEST);
    const db = await world.open();
    for (const from of [0, 20, 40]) await table(world, db, from, 20, "old");
    await world.get(db.compact());
    await deleteRange(world, db, 0, 999);
    const [before, since] = [runPaths(world), world.store.controls.log.length];
    await world.get(db.close());
    await world.get(compactOnce({ store: world.store, path: "" }, { clock: world.clock }));
    assert.equal(shape(world), "1");
    assert.equal(readsOf(world, before, since), 0, "tables were read");
    assert.deepEqual(await world.contents(), new Map());
  });

  it("tombstones that cannot be read stop nothing but the hidden tables' going", async () => {
    const world = new World(ON_REQUEST);
    const db = await world.open();
    for (const from of [0, 20, 40]) await table(world, db, from, 20, "old");
    await world.get(db.compact());
    await deleteRange(world, db, 0, 999);
    await world.get(db.close());
    const [{ sstId, info }] = world.manifest.l0 as [SstView];
    const path = `compacted/${sstId}.sst`;
    const sound = world.inner.peek(path)!;
    const spoiled = sound.slice();
    spoiled.fill(0xaa, info.rangeDeletes!.offset, info.rangeDeletes!.offset + 4);
    world.inner.plant(path, spoiled);
    const place = { store: world.store, path: "" };
    const done = await world.get(compactOnce(place, { clock: world.clock }));
    assert.deepEqual([done.published, shape(world)], [0, "1 1"]);
    world.inner.plant(path, sound);
    assert.equal((await world.get(compactOnce(place, { clock: world.clock }))).published, 1);
    assert.equal(shape(world), "1");
  });
});
