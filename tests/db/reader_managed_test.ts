import { Closed, DataError, InvalidArgument } from "../../mod.ts";
import { manifestPath, walPath } from "../../src/format/paths.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

const POLL = 10_000;

describe("openReader, managed", () => {
  it("shows what was durable when it opened, log and tables", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    await world.put(db, { a: "2", c: "1" });
    const reader = await world.reader();
    assert.deepEqual(await world.rows(reader), { a: "2", b: "1", c: "1" });
    assert.equal(reader.status.seq, 4);
    assert.equal(reader.status.seq, db.status.durableSeq);
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("follows writes, flushes and compactions within a poll, and its numbers never go back", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    const reader = await world.reader();
    assert.deepEqual(await world.rows(reader), {});
    let last = 0;
    for (let round = 0; round < 6; round++) {
      await world.put(db, { a: `${round}`, [`k${round}`]: "x" });
      if (round % 2 === 1) await world.get(db.flush({ kind: "memtable" }));
      if (round === 3) world.compact(false);
      assert.equal(reader.status.seq, last, "nothing is seen before a poll");
      await world.clock.advance(POLL);
      assert.ok(reader.status.seq > last);
      last = reader.status.seq;
      assert.equal(last, 2 * (round + 1));
      assert.equal(await world.value(reader, "a"), `${round}`);
      assert.equal(await world.value(reader, `k${round}`), "x");
      assert.equal(Object.keys(await world.rows(reader)).length, round + 2);
    }
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("places one checkpoint on the newest version, replaces it only when tables change, and deletes it at the end", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const reader = await world.reader();
    const first = world.manifest.checkpoints;
    assert.equal(first.length, 1);
    assert.equal(first[0]!.id, reader.status.checkpointId);
    assert.equal(first[0]!.manifestId, world.manifestId);
    assert.equal(first[0]!.expireTimeSeconds, (world.clock.now() + 600_000) / 1000);
    await world.put(db, { a: "2" });
    await world.clock.advance(POLL);
    assert.deepEqual(world.manifest.checkpoints, first, "rows of the log change nothing");
    await world.get(db.flush({ kind: "memtable" }));
    const flushed = world.manifestId;
    await world.clock.advance(POLL);
    assert.equal(world.manifestId, flushed + 1, "one commit takes the old one away and places the new one");
    const second = world.manifest.checkpoints;
    assert.equal(second.length, 1);
    assert.notEqual(second[0]!.id, first[0]!.id);
    assert.equal(second[0]!.manifestId, flushed + 1);
    await world.get(reader.close());
    assert.deepEqual(world.manifest.checkpoints, []);
    assert.equal(world.manifestId, flushed + 2);
    await world.get(db.close());
  });

  it("asks for the next WAL object and the next manifest when idle, and renews its checkpoint every half lifetime", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    await world.get(db.close());
    world.asked();
    const reader = await world.reader();
    const id = world.manifestId;
    assert.deepEqual(world.asked(), [
      "list manifest/",
      `get ${manifestPath("", id - 1)}`,
      `putIfAbsent ${manifestPath("", id)}`,
      `get ${walPath("", 1)}`,
      `get ${walPath("", 2)}`,
      `get ${walPath("", 3)}`,
      `get ${walPath("", 4)}`,
      `get ${manifestPath("", id + 1)}`,
    ]);
    await world.clock.advance(POLL);
    assert.deepEqual(world.asked(), [`get ${walPath("", 3)}`, `get ${manifestPath("", id + 1)}`]);
    await world.clock.advance(280_000);
    assert.equal(world.asked().length, 2 * 28);
    assert.equal(world.manifestId, id);
    await world.clock.advance(3_600_000);
    assert.equal(world.manifestId - id, 12, "one manifest in five minutes");
    assert.equal(world.manifest.checkpoints.length, 1);
    const { requests } = reader.cost();
    assert.deepEqual(Object.keys(requests), ["reader"]);
    assert.equal(requests["reader"]!["list"], 1);
    await world.get(reader.close());
  });

  it("keeps the checkpoint of a running scan until its end (K-28)", async () => {
    const world = new ReaderWorld({ blockSizeBytes: 1024, blockCacheBytes: 0 });
    const db = await world.open();
    for (let i = 0; i < 600; i++) await db.put(`k${1000 + i}`, "v".repeat(100), { durable: false });
    await world.get(db.flush({ kind: "memtable" }));
    const reader = await world.reader({ blockCacheBytes: 0 });
    const held = reader.status.checkpointId!;
    const scan = reader.scan().iterator();
    let rows = 0;
    for (; rows < 5; rows++) await world.get(scan.next());
    const checkpoints = () => world.manifest.checkpoints.map(({ id }) => id);
    for (let minutes = 0; minutes < 25; minutes++) {
      if (minutes === 1) world.compact(false);
      await world.clock.advance(60_000);
      for (let i = 0; i < 10; i++, rows++) assert.ok(await world.get(scan.next()) !== undefined);
      assert.ok(checkpoints().includes(held), `after ${minutes} minutes`);
      const record = world.manifest.checkpoints.find(({ id }) => id === held)!;
      assert.ok(record.expireTimeSeconds * 1000 > world.clock.now() + 290_000, "it is renewed in time");
    }
    assert.equal(checkpoints().length, 2);
    while (await world.get(scan.next()) !== undefined) rows++;
    assert.equal(rows, 600);
    await world.clock.advance(301_000);
    assert.equal(checkpoints().length, 1);
    assert.ok(!checkpoints().includes(held));
    await world.get(reader.close());
    assert.deepEqual(checkpoints(), []);
    await world.get(db.close());
  });

  it("lets go of the checkpoint of a scan that nobody touches any more", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "2" });
    await world.get(db.flush({ kind: "memtable" }));
    const reader = await world.reader();
    const scan = reader.scan().iterator();
    await world.get(scan.next());
    await world.put(db, { c: "3" });
    await world.get(db.flush({ kind: "memtable" }));
    await world.clock.advance(POLL);
    assert.equal(world.manifest.checkpoints.length, 2);
    await world.clock.advance(1_000_000);
    assert.equal(world.manifest.checkpoints.length, 1);
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("keeps a snapshot as it was while the reader goes on", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1" });
    const reader = await world.reader();
    const before = await world.get(reader.snapshot());
    const first = reader.status.checkpointId;
    await world.put(db, { a: "2" });
    await world.clock.advance(POLL);
    const between = await world.get(reader.snapshot());
    await world.get(db.flush({ kind: "memtable" }));
    await world.put(db, { b: "2" });
    await world.clock.advance(POLL);
    world.compact(false);
    await world.clock.advance(POLL);
    const pinned = () => world.manifest.checkpoints.map(({ id }) => id);
    assert.ok(pinned().includes(first!) && pinned().includes(reader.status.checkpointId!));
    assert.deepEqual(await world.rows(before), { a: "1", b: "1" });
    assert.deepEqual([before.seq, between.seq, reader.status.seq], [2, 3, 4]);
    assert.deepEqual(await world.rows(between), { a: "2", b: "1" });
    assert.deepEqual(await world.rows(reader), { a: "2", b: "2" });
    assert.ok(pinned().includes(first!));
    before.release();
    const error = await world.error(before.get("a")) as InvalidArgument;
    assert.deepEqual([error._tag, error.reason], ["InvalidArgument", "released"]);
    between.release();
    await world.clock.advance(301_000);
    assert.deepEqual(pinned(), [reader.status.checkpointId]);
    await world.get(reader.close());
    await world.get(db.close());
  });

  it("says that there is no database, and that a clone is not finished", async () => {
    const world = new ReaderWorld();
    const missing = await world.error(world.opening()) as InvalidArgument;
    assert.ok(missing instanceof InvalidArgument && missing.reason === "missing-database");
    assert.deepEqual(world.inner.objects(), []);
    const db = await world.open();
    await world.get(db.close());
    world.commit((manifest) => ({ ...manifest, initialized: false }));
    for (const mode of ["managed", "follow"] as const) {
      const error = await world.error(world.opening({ mode })) as DataError;
      assert.ok(error instanceof DataError && error.reason === "not-initialized");
    }
  });

  it("refuses calls after close, and a second close, and is silent when disposed", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const reader = await world.reader();
    const snapshot = await world.get(reader.snapshot());
    const waiting = world.error(reader.waitForSeq(99));
    await world.get(reader.close());
    const calls = [
      waiting,
      world.error(reader.get("a")),
      world.error(reader.scan().toArray()),
      world.error(reader.refresh()),
      world.error(reader.waitForSeq(1)),
      world.error(reader.snapshot()),
      world.error(snapshot.get("a")),
      world.error(reader.close()),
    ];
    for (const call of calls) {
      const error = await call as Closed;
      assert.ok(error instanceof Closed && error.reason === "clean", String(error));
    }
    assert.equal(reader.status.closeReason, "clean");
    await reader[Symbol.asyncDispose]();
    await world.get(db.close());
  });
});
