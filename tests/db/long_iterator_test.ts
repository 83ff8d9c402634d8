/**
 * K-28: scans and cursors that are open for long, while everything that they read is rewritten and collected.
 *
 * @module
 */
import { type Cursor, DataError, type Db, type Entry, type Reads, type ScanIterator } from "../../mod.ts";
import { promiseFace } from "../../src/db/promise.ts";
import { LEASE_IDLE_MILLIS, LEASES_MAX, SnapshotRegistry } from "../../src/state/snapshot_registry.ts";
import { Dice } from "../lsm/read_world.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { ReaderWorld } from "./reader_world.ts";
import { append, openDatabase } from "./transaction_world.ts";

const HOUR = 3_600_000;
const ROWS = 60;
const key = (i: number) => `k${100 + i}`;

/** Small blocks that nothing keeps, and nothing that happens by itself. */
const COLD = {
  blockCacheBytes: 0,
  blockSizeBytes: 1024,
  mergeOperator: append,
  compactor: {},
  garbageCollector: false,
} as const;

/** Rows of 5,000 bytes: several requests for a walk through a table of them. */
async function fill(world: World, db: Db, value: string): Promise<void> {
  for (let i = 0; i < ROWS; i++) await db.put(key(i), value.padEnd(5000), { durable: false });
  await world.get(db.flush({ kind: "memtable" }));
}

/** Rewrites everything into other tables, and takes the old ones away. */
async function rewrite(world: World, db: Db): Promise<void> {
  const before = world.paths("compacted");
  await world.get(db.compact(), 100_000);
  await world.clock.advance(HOUR / 3);
  await world.get(db.collectGarbage(), 100_000);
  const left = world.paths("compacted");
  assert.ok(before.every((path) => !left.includes(path)), "every table from before is gone");
}

function shown(entry: Entry | undefined): string {
  return entry === undefined ? "." : `${text(entry.key)}=${text(entry.value)!.trim()}`;
}

const SCANS = {
  ascending: (reads: Reads) => reads.scan({}, { readAheadBytes: 0 }).iterator(),
  descending: (reads: Reads) => reads.scan({}, { readAheadBytes: 0, order: "descending" }).iterator(),
} as const;

describe("K-28 an open iterator of the writer", () => {
  for (const order of ["ascending", "descending"] as const) {
    it(`V3 goes on exactly over tables that took the place of its own, ${order}`, async () => {
      const world = new World(COLD);
      const db = await world.open();
      await fill(world, db, "old");
      const expected = Array.from({ length: ROWS }, (_, i) => `${key(i)}=old`);
      if (order === "descending") expected.reverse();
      const scan = SCANS[order](db);
      const cursor = await db.cursor();
      const step = () => order === "ascending" ? cursor.next() : cursor.prev();
      for (let i = 0; i < ROWS; i++) {
        if (i === 2 || i === 30) {
          await fill(world, db, `new ${i}`);
          await world.get(db.deleteRange({ gte: key(10), lt: key(40) }, { durable: false }));
          await world.get(db.flush({ kind: "memtable" }));
          await rewrite(world, db);
        }
        const row = await world.get(scan.next());
        assert.equal(shown(row), expected[i]);
        assert.equal(shown(await world.get(step())), expected[i]);
        // What it was given is the caller's.
        row!.key.fill(0xff);
        cursor.current!.key.fill(0);
      }
      assert.equal(await world.get(scan.next()), undefined);
      assert.equal(await world.get(step()), undefined);
      const back = await world.get(order === "ascending" ? cursor.prev() : cursor.next());
      assert.equal(shown(back), expected.at(-1));
      await cursor.close();
      await world.get(db.close());
    });
  }

  it("of a seek that went on over other tables still refuses to go back", async () => {
    const world = new World(COLD);
    const db = await world.open();
    await fill(world, db, "old");
    const scan = SCANS.ascending(db);
    for (let i = 0; i < 3; i++) await world.get(scan.next());
    await fill(world, db, "new");
    await rewrite(world, db);
    assert.equal(shown(await world.get(scan.next())), `${key(3)}=old`);
    const reason = async (to: string) => (await world.error(scan.seek(to)) as { reason: string }).reason;
    assert.equal(await reason(key(2)), "seek-backward");
    await world.get(scan.seek(key(20)));
    await fill(world, db, "newer");
    await rewrite(world, db);
    assert.equal(await reason(key(3)), "seek-backward");
    assert.equal(shown(await world.get(scan.next())), `${key(20)}=old`);
    await scan.return();
    await world.get(db.close());
  });

  it("holds back old versions only while it is open, and costs nothing meanwhile", async () => {
    const world = new World(COLD);
    const db = await world.open();
    await fill(world, db, "old");
    const entries = async () => {
      await fill(world, db, "new");
      await world.get(db.compact(), 100_000);
      return (await world.get(db.tables())).runs.flatMap(({ tables }) => tables).reduce((n, t) => n + t.entries, 0);
    };
    const ends: Array<[string, (open: Cursor | ScanIterator) => Promise<unknown>]> = [
      ["a cursor that is closed", (open) => (open as Cursor).close()],
      ["a cursor that is disposed of", async (open) => await (open as Cursor)[Symbol.asyncDispose]()],
      ["an iterator that returns", (open) => (open as ScanIterator).return()],
      ["an iterator that is closed", (open) => (open as ScanIterator).close()],
      ["an iterator that is disposed of", async (open) => await (open as ScanIterator)[Symbol.asyncDispose]()],
      ["a scan that is left", async () => {
        for await (const row of db.scan()) if (row.seq > 0) break;
      }],
      ["a scan that ends", () => db.scan().toArray()],
    ];
    for (const [name, end] of ends) {
      const isCursor = name.includes("cursor");
      const open = isCursor ? await db.cursor() : SCANS.ascending(db);
      await world.get(open.next());
      assert.equal(await entries(), 2 * ROWS, `${name}, before`);
      const asked = JSON.stringify(db.cost().requests);
      await world.clock.advance(HOUR / 4);
      assert.equal(JSON.stringify(db.cost().requests), asked, "an idle iterator asks nothing");
      await world.get(Promise.resolve(end(open)));
      if (name.includes("a scan")) await (open as ScanIterator).return();
      assert.equal(await entries(), ROWS, `${name}, after`);
    }
    await world.get(db.close());
  });

  it("V3 is given up when nobody has used it for an hour, and then fails rather than answer wrong", async () => {
    for (const kind of ["scan", "cursor"] as const) {
      const world = new World(COLD);
      const db = await world.open();
      await fill(world, db, "old");
      const used = await db.cursor();
      const left = kind === "scan" ? SCANS.ascending(db) : await db.cursor();
      await world.get(left.next());
      for (let waited = 0; waited <= LEASE_IDLE_MILLIS; waited += HOUR / 4) {
        await world.get(used.next());
        await world.clock.advance(HOUR / 4);
      }
      await fill(world, db, "new");
      await rewrite(world, db);
      assert.equal(shown(await world.get(used.last())), `${key(ROWS - 1)}=old`, "one in use is protected");
      assert.equal(shown(await world.get(left.next())), `${key(1)}=old`, "the protection of the other helps");
      await used.close();
      await fill(world, db, "newer");
      await rewrite(world, db);
      const drained = async () => {
        for (let row = await left.next(); row !== undefined; row = await left.next()) {
          assert.match(shown(row), /=old$/);
        }
      };
      const error = await world.error(drained());
      assert.ok(error instanceof DataError && error.reason === "view-expired", String(error));
      assert.equal(await world.error(left.next()), error, "it stays with it");
      await world.get(db.close());
    }
  });

  it("in a transaction or a snapshot is protected by that", async () => {
    const world = new World(COLD);
    const db = await world.open();
    await fill(world, db, "old");
    const snapshot = await world.get(db.snapshot());
    const tx = await world.get(db.begin({ isolation: "serializable" }));
    await tx.put(key(5), "own");
    const cursors = [await snapshot.cursor(), await tx.cursor()];
    for (const cursor of cursors) assert.equal(shown(await world.get(cursor.seekGE(key(4)))), `${key(4)}=old`);
    await world.clock.advance(3 * LEASE_IDLE_MILLIS);
    await fill(world, db, "new");
    await rewrite(world, db);
    assert.equal(shown(await world.get(cursors[0]!.next())), `${key(5)}=old`);
    assert.equal(shown(await world.get(cursors[1]!.next())), `${key(5)}=own`);
    for (const cursor of cursors) assert.equal(shown(await world.get(cursor.next())), `${key(6)}=old`);
    await world.get(db.close());
  });

  it("V3 answers like a model through any history of writes, flushes, compactions and collections", async () => {
    for (let seed = 1; seed <= 6; seed++) await history(seed);
  });
});

/** Random writes and housekeeping under many open cursors and scans, each compared with the rows of its moment. */
async function history(seed: number): Promise<void> {
  const dice = new Dice(seed);
  const world = new World({ ...COLD, l0SstSizeBytes: 8192 });
  const db = await world.open();
  const rows = new Map<string, string>();
  type Open = { readonly cursor: Cursor; readonly keys: string[]; readonly at: Map<string, string>; place: number };
  const open: Open[] = [];
  for (let i = 0; i < 260; i++) {
    const k = key(dice.roll(30));
    const what = dice.roll(100);
    if (what < 30) {
      await db.put(k, `p${i}`.padEnd(300), { durable: false });
      rows.set(k, `p${i}`.padEnd(300));
    } else if (what < 38) {
      await db.merge(k, `m${i}`, { durable: false });
      rows.set(k, `${rows.get(k) ?? ""}m${i}`);
    } else if (what < 44) {
      await db.delete(k, { durable: false });
      rows.delete(k);
    } else if (what < 48) {
      const to = key(30);
      await world.get(db.deleteRange({ gte: k, lt: to }, { durable: false }));
      for (const one of rows.keys()) if (one >= k && one < to) rows.delete(one);
    } else if (what < 52) {
      await world.get(db.flush({ kind: "memtable" }));
    } else if (what < 55) {
      await world.get(db.compact(), 100_000);
      await world.clock.advance(HOUR / 3);
      await world.get(db.collectGarbage(), 100_000);
      // Whom nobody uses for an hour is not protected.
      for (const one of open) await step(world, dice, one, `seed ${seed}, step ${i}`);
    } else if (what < 60 && open.length < 6) {
      const at = new Map(rows);
      open.push({ cursor: await db.cursor(), at, keys: [...at.keys()].sort(), place: -1 });
    } else if (what < 62 && open.length > 0) {
      await open.splice(dice.roll(open.length), 1)[0]!.cursor.close();
    } else if (open.length > 0) {
      await step(world, dice, dice.pick(open), `seed ${seed}, step ${i}`);
    }
  }
  for (const { cursor, keys, at } of open) {
    const all: string[] = [];
    for (let row = await world.get(cursor.last()); row !== undefined; row = await world.get(cursor.prev())) {
      all.push(`${text(row.key)}=${text(row.value)}`);
    }
    assert.deepEqual(all.reverse(), keys.map((one) => `${one}=${at.get(one)}`), `seed ${seed}, at the end`);
  }
  await world.get(db.close(), 100_000);

  async function step(world: World, dice: Dice, one: Open, where: string): Promise<void> {
    const { cursor, keys, at } = one;
    const k = key(dice.roll(32));
    const moves: Array<[number, () => Promise<Entry | undefined>]> = [
      [Math.min(keys.length, one.place + 1), () => cursor.next()],
      [keys.filter((other) => other < k).length, () => cursor.seekGE(k)],
      [keys.filter((other) => other < k).length - 1, () => cursor.seekLT(k)],
      [keys.length - 1, () => cursor.last()],
    ];
    // A fresh cursor goes back to the last row: begin with something else.
    if (cursor.current !== undefined) moves.push([Math.max(-1, one.place - 1), () => cursor.prev()]);
    const [place, move] = dice.pick(moves);
    const entry = await world.get(move());
    one.place = place;
    const expected = keys[place];
    const found = entry === undefined ? undefined : `${text(entry.key)}=${text(entry.value)}`;
    assert.equal(found, expected === undefined ? undefined : `${expected}=${at.get(expected)}`, where);
  }
}

describe("a long iterator of a reader", () => {
  it("is kept by the reader's checkpoint; of a follower it fails typed once compaction has passed it", async () => {
    for (const mode of ["managed", "follow"] as const) {
      const world = new ReaderWorld({ ...COLD, compactor: false });
      const db = await world.open();
      await fill(world, db, "old");
      const reader = await world.reader({ mode, blockCacheBytes: 0 });
      const cursor = await reader.cursor();
      assert.equal(shown(await world.get(cursor.first())), `${key(0)}=old`);
      await fill(world, db, "new");
      world.compact(mode === "follow");
      await world.get(reader.refresh());
      await world.clock.advance(60_000);
      await world.get(db.collectGarbage(), 100_000);
      if (mode === "managed") {
        assert.equal(shown(await world.get(cursor.last())), `${key(ROWS - 1)}=old`);
        assert.equal(shown(await world.get(cursor.seekLT(key(30)))), `${key(29)}=old`);
      } else {
        const error = await world.error(cursor.last());
        assert.ok(error instanceof DataError && error.reason === "view-expired", String(error));
      }
      await cursor.close();
      await world.get(reader.close());
      await world.get(db.close());
    }
  });
});

describe("a lease", () => {
  it("ends with the scan or cursor that took it, however that ends, and only they take one", async () => {
    const world = new World(COLD);
    const database = await openDatabase(world);
    const { writes, readHost, parts } = database.engine;
    for (let i = 0; i < ROWS; i++) writes.put(key(i), "v".repeat(5000));
    const { snapshots } = parts.state;
    const db = promiseFace(database);
    await world.get(db.flush({ kind: "memtable" }));
    const held = async (body: (reads: Reads) => Promise<unknown>, reads: Reads = db) => {
      await world.get(body(reads).catch(() => {}), 100_000);
      return snapshots.leases;
    };
    const stop = new AbortController();
    const aborted = (act: () => Promise<unknown>) => {
      stop.abort(new Error("enough"));
      return act();
    };
    assert.equal(await held((reads) => reads.getMany(["a", key(1)])), 0);
    assert.equal(await held((reads) => reads.scan({}, { limit: 3 }).toArray()), 0);
    const scan = db.scan({}, { readAheadBytes: 0, signal: stop.signal }).iterator();
    const cursor = await db.cursor({}, { signal: stop.signal });
    assert.equal(await held(() => scan.next().then(() => cursor.next())), 2);
    assert.equal(await held(() => aborted(() => scan.next().catch(() => cursor.next()))), 0, "aborted");
    await cursor.close();
    const [failing, other] = [db.scan({}, { readAheadBytes: 0 }).iterator(), await db.cursor()];
    assert.equal(await held(() => failing.next().then(() => other.next())), 2);
    world.store.controls.addRules({ op: "getRange", rate: 1, fault: { kind: "before", reason: "permission" } });
    assert.equal(
      await held(async () => {
        await other.last().catch(() => {});
        for (let i = 0; i < ROWS; i++) await failing.next();
      }),
      0,
      "failed",
    );
    world.store.controls.quiet();
    const snapshot = await db.snapshot();
    const tx = await db.begin();
    for (const reads of [snapshot, tx]) {
      assert.equal(await held((one) => one.scan().iterator().next(), reads), 0, "they are protected by their own");
      assert.equal(await held((one) => one.cursor().then((open) => open.next()), reads), 0);
    }
    await tx.rollback();
    snapshot.release();
    const renewed = readHost.hold(5, undefined);
    assert.equal(readHost.hold(5.5, renewed), renewed, "the same number goes on with its lease");
    readHost.hold(6, renewed).release();
    assert.equal(snapshots.leases, 0);
    await world.get(db.close());
  });
});

describe("SnapshotRegistry", () => {
  it("forgets a lease that was idle for too long, for good, and never a snapshot", () => {
    let now = 0;
    const registry = new SnapshotRegistry();
    const release = registry.register(50);
    const [idle, used] = [registry.lease(20.5, () => now), registry.lease(30, () => now)];
    assert.equal(registry.oldest(99), 20);
    now = LEASE_IDLE_MILLIS;
    used.touch();
    assert.equal(registry.oldest(99), 20);
    now++;
    assert.equal(registry.oldest(99), 30);
    idle.touch();
    assert.equal(registry.oldest(99), 30, "it does not come back");
    used.release();
    used.release();
    now *= 100;
    assert.equal(registry.oldest(99), 50);
    release();
    assert.deepEqual([registry.oldest(99), registry.leases, registry.size], [99, 0, 0]);
  });

  it("bounds the leases: those used longest ago go first", () => {
    let now = 0;
    const registry = new SnapshotRegistry();
    const first = registry.lease(1, () => now);
    for (let i = 1; i < LEASES_MAX; i++) registry.lease(1 + i, () => now);
    now = 1;
    first.touch();
    assert.equal(registry.leases, LEASES_MAX);
    registry.lease(LEASES_MAX + 1, () => now);
    assert.equal(registry.leases, LEASES_MAX / 2 + 1);
    assert.equal(registry.oldest(0), 1);
    first.release();
    assert.equal(registry.oldest(0), LEASES_MAX / 2 + 2);
  });
});
