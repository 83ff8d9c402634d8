import { clone as makeClone, createCheckpoint, open, WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { compactOnce } from "../../src/db/standalone_compactor.ts";
import { Closed } from "../../src/errors.ts";
import { manifestPath as versionAt } from "../../src/format/paths.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { type Manifest, RANGE_FORMAT } from "../../src/format/types.ts";
import { namesRanges, withGate } from "../../src/state/range_gate.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertFenced, World } from "./fault_world.ts";
import { breach, deleteLater, deleteNow, gates, rangeWal, versions } from "./gate_world.ts";

const QUIET: OpenOptions = { garbageCollector: false, compactor: false };

/** A database with a gate and no tombstone: what a crash between gate and log leaves, opened again. */
async function emptyGate(
  flushed = false,
  options: OpenOptions = {},
): Promise<{ readonly world: World; readonly db: Db }> {
  const doomed = new World({ ...QUIET, ...options });
  const db = await doomed.open();
  await doomed.get(db.put("a", "1"));
  if (flushed) await doomed.get(db.flush({ kind: "memtable" }));
  doomed.store.controls.addRules({ op: "putIfAbsent", prefix: "wal/", fault: { kind: "hang", when: "before" } });
  const lost = await doomed.get(deleteLater(db, "a", "c"));
  lost.durable.catch(() => {});
  db.flush().catch(() => {});
  await doomed.clock.advance(100);
  doomed.store.controls.crash();
  const world = new World({ ...QUIET, ...options }, doomed.inner);
  const next = await world.open();
  assert.equal(gates(world.inner), flushed ? "...gg" : "..gg");
  return { world, db: next };
}

/** Three keys in a table, a range tombstone over two of them in another. */
async function tombstoneInL0(options: OpenOptions = {}): Promise<{ readonly world: World; readonly db: Db }> {
  const world = new World({ ...QUIET, ...options });
  const db = await world.open();
  await world.get(db.write(new WriteBatch().put("a", "1").put("b", "1").put("c", "1")));
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(deleteNow(db, "a", "c"));
  await world.get(db.flush({ kind: "memtable" }));
  assert.ok(namesRanges(world.manifest), "the table holds the range tombstone");
  assert.equal(world.manifest.l0[0]!.formatVersion, RANGE_FORMAT);
  return { world, db };
}

function versionsAt({ inner }: World, root: string): Manifest[] {
  return inner.objects().filter((path) => path.startsWith(`${root}/manifest/`))
    .map((path) => decodeManifest(inner.peek(path)!).manifest);
}

async function keysOf(db: Db): Promise<string> {
  return (await db.scan().toArray()).map(({ key }) => new TextDecoder().decode(key)).join("");
}

describe("the way back", () => {
  it("rides on a memtable flush, in the same version; a flush of the log alone does not give the gate back", async () => {
    const { world, db } = await emptyGate();
    await world.get(db.flush());
    await world.get(db.put("b", "1"));
    assert.equal(gates(world.inner), "..gg");
    await world.get(db.flush({ kind: "memtable" }));
    assert.equal(gates(world.inner), "..gg.");
    await world.get(db.close());
  });

  it("an explicit memtable flush gives the gate back though nothing else changes, once", async () => {
    const { world, db } = await emptyGate(true);
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.flush({ kind: "memtable" }));
    assert.equal(gates(world.inner), "...gg.");
    await world.get(db.close());
    assert.equal((await world.contents(QUIET)).get("a"), "1");
  });

  it("a clean close gives the gate back, also where nothing else is to be stored", async () => {
    const { world, db } = await emptyGate(true);
    await world.get(db.close());
    assert.equal(gates(world.inner), "...gg.");
    const off = new World({ ...QUIET, wal: false });
    await off.get((await off.open()).close());
    const found = versions(off.inner).at(-1)!;
    off.inner.plant(versionAt("", found.id + 1), encodeManifest(withGate(found.manifest, true)));
    await off.get((await off.open()).close());
    assert.equal(gates(off.inner), "..gg.");
  });

  it("compact() of the last range tombstone gives the gate back before it resolves", async () => {
    const { world, db } = await tombstoneInL0();
    await world.get(db.compact());
    assert.match(gates(world.inner), /^\.\.\.g+\.$/);
    assert.equal(world.manifest.features, undefined);
    assert.ok(world.manifest.compacted[0]!.ssts.every(({ formatVersion }) => formatVersion === 2));
    assert.equal(await world.get(keysOf(db)), "c");
    await world.get(db.compact());
    assert.match(gates(world.inner), /^\.\.\.g+\.$/, "a second one has nothing to do");
    await world.get(db.close());
    assert.deepEqual([...await world.contents(QUIET)], [["c", "1"]]);
  });

  it("an embedded compaction of the last range tombstone gives the gate back by itself, and nothing more follows", async () => {
    const { world, db } = await tombstoneInL0({ compactor: { minCompactionSources: 3 } });
    await world.get(db.put("d", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.clock.advance(5000);
    assert.equal(db.status.l0Count, 0, "it was compacted");
    assert.match(gates(world.inner), /^\.+g+\.$/);
    const { requestCount } = world.store.controls;
    await world.clock.advance(36_000_000);
    assert.equal(world.store.controls.requestCount, requestCount, "an idle database costs nothing");
    await world.get(db.close());
  });

  it("a gated database at rest asks nothing of the store", async () => {
    const { world, db } = await tombstoneInL0({ compactor: {}, garbageCollector: {} });
    await world.clock.advance(7_200_000);
    const { requestCount } = world.store.controls;
    await world.clock.advance(36_000_000);
    assert.equal(world.store.controls.requestCount, requestCount);
    assert.deepEqual(world.manifest.features, ["range-deletes"]);
    await world.get(db.close());
  });

  it("G2 a range tombstone that a snapshot still needs holds the gate, until the snapshot is released", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await world.get(db.write(new WriteBatch().put("a", "1").put("b", "1").put("c", "1")));
    await world.get(db.flush({ kind: "memtable" }));
    const snapshot = await world.get(db.snapshot());
    await world.get(deleteNow(db, "a", "c"));
    await world.get(db.compact());
    assert.ok(namesRanges(world.manifest) && gates(world.inner).endsWith("g"));
    assert.equal((await world.get(snapshot.scan().toArray())).length, 3);
    snapshot.release();
    await world.get(db.compact());
    assert.ok(gates(world.inner).endsWith("."));
    assert.equal(await world.get(keysOf(db)), "c");
    await world.get(db.close());
  });

  it("G2 a log object with a range tombstone holds the gate for as long as it is replayed", async () => {
    const { world, db } = await tombstoneInL0({ l0SstSizeBytes: 300 });
    // The newest object has the range delete, whose table is there, and a row that is in memory only.
    const writes = [deleteLater(db, "x", "z"), ...["w", "y"].map((key) => db.put(key, "1", { durable: false }))];
    await world.get(Promise.all([...writes, db.flush()]));
    await world.clock.advance(1000);
    const { replayAfterWalId, lastL0Seq } = world.manifest;
    assert.ok(
      rangeWal(world.inner).at(-1)! > replayAfterWalId && lastL0Seq < db.status.lastSeq,
      "they share an object",
    );
    await world.get(compactOnce({ store: world.inner, path: "" }, { full: true, clock: world.clock }), 60_000);
    assert.equal(namesRanges(world.manifest), false, "another process has compacted the tombstones away");
    const crashed = new World(QUIET, world.inner.clone());
    const writers = [[world, db], [crashed, await crashed.open()]] as const;
    for (const [{ inner }, writer] of writers) {
      await world.get(writer.checkpoint({ scope: "durable" }));
      assert.ok(gates(inner).endsWith("g"), "the log still holds one");
      assert.equal(breach(inner), undefined);
      await world.get(writer.flush({ kind: "memtable" }));
      assert.ok(gates(inner).endsWith("."));
      assert.equal(await world.get(keysOf(writer)), "cwy");
      await world.get(writer.close());
      assert.equal(breach(inner), undefined);
    }
  });

  it("G3 a compactor in another process carries the gate over, and the writer gives it back", async () => {
    const { world, db } = await tombstoneInL0();
    const tombstoned = gates(world.inner).length;
    await world.get(compactOnce({ store: world.inner, path: "" }, { full: true, clock: world.clock }), 60_000);
    assert.match(gates(world.inner).slice(tombstoned), /^g{2,}$/);
    await world.get(db.put("d", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    assert.ok(gates(world.inner).endsWith("g."));
    assert.equal(await world.get(keysOf(db)), "cd");
    await world.get(db.close());
  });
});

describe("the gate in the status", () => {
  it("tells whether other engines refuse the database, and which checkpoints, those of an earlier process too", async () => {
    const { world, db } = await tombstoneInL0();
    assert.deepEqual([db.status.rangeDeletes, db.status.gatedCheckpoints], [true, []]);
    const gated = await world.get(db.checkpoint());
    assert.deepEqual(db.status.gatedCheckpoints, [gated.id]);
    await world.get(db.compact());
    const since = await world.get(db.checkpoint());
    assert.equal(db.status.rangeDeletes, false);
    const of = ({ status }: Db) => status.gatedCheckpoints.filter((id) => id === gated.id || id === since.id);
    assert.deepEqual(of(db), [gated.id]);
    await world.get(db.close());
    const next = await world.open();
    assert.deepEqual(of(next), [], "nobody has asked the store yet");
    await world.get(next.collectGarbage());
    assert.deepEqual(of(next), [gated.id]);
    await world.get(next.deleteCheckpoint(gated.id));
    assert.deepEqual(of(next), []);
    await world.get(next.close());
  });
});

describe("a range delete during the way back", () => {
  it("G1 and G2 it raises the gate again, behind the version that gave it back", async () => {
    const { world, db } = await emptyGate(true);
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault: { kind: "delay", millis: 300 } });
    const flushed = db.flush({ kind: "memtable" });
    await world.clock.advance(100);
    const deleted = deleteNow(db, "a", "b");
    await world.clock.advance(150);
    assert.deepEqual(rangeWal(world.inner), []);
    await world.get(Promise.all([flushed, deleted]));
    assert.equal(gates(world.inner), "...gg.g");
    assert.deepEqual(rangeWal(world.inner), [4]);
    assert.equal(breach(world.inner), undefined);
    await world.get(db.close());
    assert.deepEqual([...await world.contents(QUIET)], []);
  });

  it("G2 one that came before the way back was decided stops it", async () => {
    const { world, db } = await emptyGate(true);
    const deleted = await world.get(deleteLater(db, "a", "b"));
    const flushed = db.flush({ kind: "memtable" });
    await world.get(Promise.all([flushed, deleted.durable]));
    assert.equal(gates(world.inner), "...ggg", "the flush named the table that holds it");
    await world.get(db.close());
  });
});

describe("clones of a gated state", () => {
  it("G3 a clone has the gate of the state that it copies, and gives its own back alone", async () => {
    const world = new World(QUIET);
    const place = (path: string) => ({ store: world.store, path });
    const openAt = (path: string) => world.get(open(place(path), { ...world.options }), 100_000);
    const parent = await openAt("parent");
    await world.get(parent.write(new WriteBatch().put("a", "1").put("b", "1").put("c", "1")));
    await world.get(parent.flush({ kind: "memtable" }));
    const before = await world.get(parent.checkpoint());
    await world.get(deleteNow(parent, "a", "c"));
    const during = await world.get(parent.checkpoint({ scope: "durable" }));
    const path = "parent";
    const cloned = (to: string, checkpoint?: string) =>
      world.get(
        makeClone(place(path), place(to), { clock: world.clock, ...(checkpoint === undefined ? {} : { checkpoint }) }),
        100_000,
      );
    await cloned("early", before.id);
    await cloned("late", during.id);
    await world.get(parent.compact());
    await cloned("after");
    const features = (root: string) => versionsAt(world, root).at(-1)!.features ?? [];
    assert.deepEqual(["parent", "early", "late", "after"].map((root) => features(root).length), [0, 0, 1, 0]);
    for (const [root, keys] of [["early", "abc"], ["late", "c"], ["after", "c"]] as const) {
      const clone = await openAt(root);
      assert.equal(await world.get(keysOf(clone)), keys, root);
      await world.get(clone.compact());
      assert.equal(await world.get(keysOf(clone)), keys, root);
      assert.deepEqual(features(root), [], root);
      await world.get(clone.close());
    }
    assert.deepEqual(features("parent"), []);
    await world.get(parent.close());
  });
});

describe("the way back when something is in its way", () => {
  it("it goes on top of a checkpoint from outside", async () => {
    const { world, db } = await emptyGate(true);
    await world.get(createCheckpoint({ store: world.inner, path: "" }, {}));
    await world.get(db.flush({ kind: "memtable" }));
    assert.equal(gates(world.inner), "...ggg.");
    assert.equal(world.manifest.checkpoints.length, 1);
    await world.get(db.close());
  });

  it("F1 a writer that took over is met: flush and database end as fenced, its gate stays", async () => {
    const { world, db } = await emptyGate(true);
    const next = await open({ store: world.inner, path: "" }, { ...world.options, ...QUIET });
    assertFenced(await world.error(db.flush({ kind: "memtable" })));
    assert.equal(db.status.closeReason, "fenced");
    assert.equal(gates(world.inner), "...ggg");
    await next.close();
    assert.equal(gates(world.inner), "...ggg.");
  });

  it("D22 an explicit flush waits out an outage, and is answered when the database closes instead", async () => {
    for (const heals of [true, false]) {
      const { world, db } = await emptyGate(true, { requestTimeoutMillis: 5000 });
      world.store.controls.setOutage(true);
      const flushed = db.flush({ kind: "memtable" });
      assert.equal((await world.outcome(flushed, 120_000)).ended, "never");
      assert.equal(db.status.degraded, true);
      if (heals) {
        world.store.controls.setOutage(false);
        await world.get(flushed);
        assert.equal(gates(world.inner), "...gg.");
        await world.get(db.close());
      } else {
        const closed = world.error(db.close(), 20_000);
        const error = await world.error(flushed, 20_000);
        assert.ok(error instanceof Closed, String(error));
        await closed;
        const { requestCount } = world.store.controls;
        await world.clock.advance(120_000);
        assert.equal(world.store.controls.requestCount, requestCount, "nothing goes on asking");
      }
    }
  });
});

describe("the gate without a log", () => {
  const off: OpenOptions = { ...QUIET, wal: false };

  it("G1 the version that names the first table with a range tombstone is itself gated, and no other is written", async () => {
    const world = new World(off);
    const db = await world.open();
    await world.get(db.write(new WriteBatch().put("a", "1").put("b", "1").put("c", "1")));
    const deleted = await world.get(deleteLater(db, "a", "c"));
    assert.equal(gates(world.inner), "...", "rows in memory need no gate");
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(deleted.durable);
    assert.equal(gates(world.inner), "...g");
    assert.deepEqual(world.paths("wal"), []);
    await world.get(db.compact());
    assert.match(gates(world.inner), /^\.\.\.g+\.$/);
    await world.get(db.close());
    assert.deepEqual([...await world.contents(off)], [["c", "1"]]);
  });

  it("a memtable with nothing but range tombstones is flushed, by the interval too", async () => {
    const world = new World({ ...off, flushIntervalMillis: 100 });
    const db = await world.open();
    await world.get(db.put("a", "1"));
    const deleted = await world.get(deleteLater(db, "a", "c"));
    await world.get(deleted.durable);
    assert.equal(gates(world.inner), "...g");
    assert.equal(world.manifest.l0.length, 2);
    await world.get(db.close());
    assert.deepEqual([...await world.contents(off)], []);
  });

  it("replays and keeps a log that was written with the log on, and gives its gate back with the tables", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    await world.get(db.write(new WriteBatch().put("a", "1").put("b", "1").put("c", "1")));
    await world.get(deleteNow(db, "a", "c"));
    await world.get(db.close());
    const next = await world.open({ wal: false });
    assert.equal(await world.get(keysOf(next)), "c");
    await world.get(next.compact());
    assert.ok(gates(world.inner).endsWith("."));
    assert.equal(breach(world.inner), undefined);
    await world.get(next.close());
    assert.deepEqual([...await world.contents(QUIET)], [["c", "1"]]);
  });
});
