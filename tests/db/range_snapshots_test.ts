/**
 * Range tombstones that overlap while old snapshots are open: what a flush keeps of them, and who can rely on it.
 *
 * @module
 */
import { DataError, type Db, type Reads } from "../../mod.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

const ROWS = 60;
const key = (i: number) => `k${100 + i}`;
const SETTINGS = { blockCacheBytes: 0, blockSizeBytes: 1024, compactor: {} } as const;

async function fill(world: ReaderWorld, db: Db): Promise<void> {
  for (let i = 0; i < ROWS; i++) await db.put(key(i), "v".repeat(5000), { durable: false });
  await world.get(db.flush({ kind: "memtable" }));
}

/** Deletes up to `from`, then up to one key more, and so on until `to`. */
async function deleteUpTo(world: ReaderWorld, db: Db, from: number, to: number): Promise<void> {
  for (let i = from; i <= to; i++) await world.get(db.deleteRange({ lte: key(i) }));
}

async function firstOf(world: ReaderWorld, reads: Reads): Promise<string | undefined> {
  const [row] = await world.get(reads.scan({}, { limit: 1 }).toArray());
  return row === undefined ? undefined : text(row.key);
}

/** Rewrites everything into other tables, and takes the old ones away. */
async function rewrite(world: ReaderWorld, db: Db): Promise<void> {
  await world.get(db.compact(), 100_000);
  await world.clock.advance(20 * 60_000);
  await world.get(db.collectGarbage(), 100_000);
}

describe("range tombstones that overlap", () => {
  it("are kept once for every snapshot that tells them apart, however old the oldest is", async () => {
    const world = new ReaderWorld(SETTINGS);
    const db = await world.open();
    await fill(world, db);
    const oldest = await db.snapshot();
    await deleteUpTo(world, db, 0, 19);
    const middle = await db.snapshot();
    await deleteUpTo(world, db, 20, 29);
    const transaction = await db.begin();
    await deleteUpTo(world, db, 30, 39);
    await world.get(db.flush({ kind: "memtable" }));
    const views: Array<[Reads, number]> = [[oldest, 0], [middle, 20], [transaction, 30], [db, 40]];
    const judge = async () => {
      for (const [reads, first] of views) assert.equal(await firstOf(world, reads), key(first));
    };
    const [newest] = (await world.get(db.tables())).l0;
    // Up to 19 three of them, up to 29 two, up to 39 one.
    assert.equal(newest!.rangeDeletions, 6);
    await judge();
    await rewrite(world, db);
    await judge();
    oldest.release();
    await middle.release();
    await world.get(transaction.rollback());
    await world.get(db.close());
  });

  it("answer a follower's scan rightly or not at all, when they lay between two numbers that the writer protects", async () => {
    const world = new ReaderWorld(SETTINGS);
    const db = await world.open();
    await fill(world, db);
    const oldest = await db.snapshot();
    await world.get(db.deleteRange({ gte: key(30), lt: key(50) }));
    const follower = await world.reader({ mode: "follow", blockCacheBytes: 0 });
    const scan = follower.scan({}, { readAheadBytes: 0 }).iterator();
    assert.equal(text((await world.get(scan.next()))!.key), key(0));
    await world.get(db.deleteRange({ gte: key(20), lt: key(55) }));
    await world.get(db.flush({ kind: "memtable" }));
    await rewrite(world, db);
    const seen: number[] = [];
    const error = await world.error((async () => {
      for (let row = await scan.next(); row !== undefined; row = await scan.next()) {
        seen.push(Number(text(row.key)!.slice(1)) - 100);
      }
      return await Promise.reject(new Error("the scan ended, although nobody protected it"));
    })());
    assert.ok(error instanceof DataError && error.reason === "view-expired", String(error));
    assert.deepEqual(seen.filter((i) => i >= 30 && i < 50), [], "rows that were deleted when the scan began");
    oldest.release();
    await world.get(follower.close());
    await world.get(db.close());
  });
});
