import { DataError, InvalidArgument } from "../../mod.ts";
import { tablePath, walPath } from "../../src/format/paths.ts";
import type { Manifest } from "../../src/format/types.ts";
import { assert, describe, it } from "../support/suite.ts";
import { ReaderWorld } from "./reader_world.ts";

const ID = "0f3c8a52-1111-4222-8333-444455556666";

/** Pins the version that a commit of this moment makes, log included. */
function pinNow(world: ReaderWorld, edit: (manifest: Manifest) => Manifest = (manifest) => manifest): void {
  const record = {
    id: ID,
    manifestId: world.manifestId + 1,
    expireTimeSeconds: 0,
    createTimeSeconds: 1,
    name: undefined,
    writerEpoch: undefined,
  };
  const walIdLastSeen = world.paths("wal").length;
  world.commit((manifest) => edit({ ...manifest, walIdLastSeen, checkpoints: [...manifest.checkpoints, record] }));
}

describe("openReader, pinned", () => {
  it("shows the state of the checkpoint, its stretch of the log included, and stays there without a request", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    await world.put(db, { a: "2" });
    pinNow(world);
    await world.get(db.close().catch(() => {}));
    const next = await world.open();
    await world.put(next, { a: "3", c: "3" });
    await world.get(next.flush({ kind: "memtable" }));
    world.asked();
    const reader = await world.reader({ checkpoint: ID.toUpperCase() });
    assert.deepEqual(await world.rows(reader), { a: "2", b: "1" });
    assert.equal(reader.status.seq, 3);
    assert.equal(reader.status.checkpointId, ID);
    assert.equal(world.asked().filter((request) => request.startsWith("put")).length, 0);
    await world.clock.advance(100_000);
    assert.deepEqual(world.asked(), []);
    assert.equal(await world.get(reader.refresh()), 3);
    await world.get(reader.waitForSeq(3));
    const behind = await world.error(reader.waitForSeq(4));
    assert.ok(behind instanceof InvalidArgument && behind.reason === "pinned");
    const snapshot = await world.get(reader.snapshot());
    assert.equal(await world.value(snapshot, "a"), "2");
    await world.get(reader.close());
    assert.deepEqual(world.asked(), []);
    assert.equal(world.manifest.checkpoints.length, 1);
    const tables = await world.reader({ checkpoint: ID, skipWalReplay: true });
    assert.deepEqual(await world.rows(tables), { a: "1", b: "1" });
    await world.get(tables.close());
    await world.get(next.close());
  });

  it("says when the checkpoint is not there, has ended, or is no id", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const refused = async (checkpoint: string, reason: string) => {
      const error = await world.error(world.opening({ checkpoint }));
      assert.ok(error instanceof InvalidArgument && error.reason === reason, String(error));
    };
    await refused(ID, "checkpoint-missing");
    pinNow(world, (manifest) => ({
      ...manifest,
      checkpoints: manifest.checkpoints.map((one) => ({ ...one, expireTimeSeconds: world.clock.now() / 1000 })),
    }));
    await refused(ID, "checkpoint-missing");
    await refused("the one of yesterday", "options");
    await world.get(db.close().catch(() => {}));
  });

  it("takes a missing tail of its log for objects that never came, and a hole for damage", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1", c: "1" });
    pinNow(world, (manifest) => ({ ...manifest, walIdLastSeen: manifest.walIdLastSeen + 3 }));
    const reader = await world.reader({ checkpoint: ID });
    assert.deepEqual(await world.rows(reader), { a: "1", b: "1", c: "1" });
    await world.get(reader.close());
    world.inner.remove(walPath("", 3));
    const error = await world.error(world.opening({ checkpoint: ID }));
    assert.ok(error instanceof DataError && error.reason === "wal-gap" && error.object === walPath("", 3), `${error}`);
    await world.get(db.close().catch(() => {}));
  });

  it("says that the checkpoint has ended when a table is gone for that", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    pinNow(world);
    const reader = await world.reader({ checkpoint: ID });
    world.inner.remove(tablePath("", world.manifest.l0[0]!.sstId));
    const lost = await world.error(reader.get("a"));
    assert.ok(lost instanceof DataError && lost.reason === "missing-object", String(lost));
    world.commit((manifest) => ({ ...manifest, checkpoints: [] }));
    const ended = await world.error(reader.get("a"));
    assert.ok(ended instanceof DataError && ended.reason === "checkpoint-missing", String(ended));
    await world.get(reader.close());
    await world.get(db.close().catch(() => {}));
  });

  it("shows the checkpoint that the database itself made", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const made = await world.get(db.checkpoint({ name: "before" }));
    await world.put(db, { a: "2" });
    await world.get(db.flush({ kind: "memtable" }));
    const durable = await world.get(db.checkpoint({ scope: "durable" }));
    await world.put(db, { a: "3" });
    await world.get(db.flush({ kind: "memtable" }));
    world.compact(false);
    const first = await world.reader({ checkpoint: made.id });
    const second = await world.reader({ checkpoint: durable.id });
    assert.equal(await world.value(first, "a"), "1");
    assert.equal(await world.value(second, "a"), "2");
    await world.get(first.close());
    await world.get(second.close());
    await world.get(db.close().catch(() => {}));
  });
});
