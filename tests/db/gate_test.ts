import { createCheckpoint, deleteCheckpoint, open, openReader, WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { Closed, DataError } from "../../src/errors.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, walPath } from "../../src/format/paths.ts";
import { RANGE_DELETES } from "../../src/format/types.ts";
import { withGate } from "../../src/state/range_gate.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertFenced, World } from "./fault_world.ts";
import { breach, deleteLater, deleteNow, gates, rangeWal, versions } from "./gate_world.ts";

const QUIET: OpenOptions = { garbageCollector: false, compactor: false };

/** What was put, in order, without the tables. */
function puts(world: World): string[] {
  return world.store.controls.log.filter(({ op, path }) => op === "putIfAbsent" && !path.startsWith("compacted/"))
    .map(({ path, outcome }) => `${path.split("/")[0]} ${outcome}`);
}

/** Rows as text, `key=value`. */
async function rowsOf(db: Db): Promise<string[]> {
  const decoder = new TextDecoder();
  return (await db.scan().toArray()).map(({ key, value }) => `${decoder.decode(key)}=${decoder.decode(value)}`);
}

async function threeKeys(world: World, options: OpenOptions = {}): Promise<Db> {
  const db = await world.open(options);
  await world.get(db.write(new WriteBatch().put("a", "1").put("b", "1").put("c", "1")));
  return db;
}

describe("the gate before the log", () => {
  it("G1 the first range delete waits for a gated manifest, the next ones cost nothing", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    world.store.controls.setLatency(50);
    const before = puts(world).length;
    const first = deleteNow(db, "a", "c");
    assert.deepEqual(await world.get(rowsOf(db)), ["c=1"], "it is visible at once");
    assert.equal(db.status.durableSeq, 1, "and not durable before it is stored");
    await world.get(first);
    assert.deepEqual(puts(world).slice(before), ["manifest created", "wal created"]);
    await world.get(deleteNow(db, "x", "y"));
    assert.deepEqual(puts(world).slice(before), ["manifest created", "wal created", "wal created"]);
    assert.deepEqual(rangeWal(world.inner), [3, 4]);
    assert.deepEqual(world.manifest.features, [RANGE_DELETES]);
    assert.equal(gates(world.inner), "..g");
    await world.get(db.close());
    assert.deepEqual([...await world.contents(QUIET)], [["c", "1"]]);
  });

  it("a database that never deletes a range never has the gate, whatever else it does", async () => {
    const world = new World();
    const db = await threeKeys(world);
    for (let i = 0; i < 6; i++) {
      await world.get(db.delete(`k${i % 3}`));
      await world.get(db.flush({ kind: "memtable" }));
    }
    await world.get(db.compact());
    await world.get(db.close());
    assert.match(gates(world.inner), /^\.{8,}$/);
  });

  it("G1 a range delete that follows a batch in the same object holds that object back too, and no earlier one", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault: { kind: "delay", millis: 500 } });
    world.store.controls.setLatency(10);
    const early = db.put("d", "1");
    await world.clock.advance(5);
    const late = db.put("e", "1");
    const deleted = deleteNow(db, "a", "b");
    assert.ok((await world.outcome(early, 100)).ended === "value");
    assert.equal((await world.outcome(late, 100)).ended, "never");
    await world.get(deleted);
    await world.get(late);
    assert.deepEqual(rangeWal(world.inner), [4]);
  });

  it("G1 the gate queues behind a manifest that is on its way without it", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault: { kind: "delay", millis: 300 } });
    const flushed = db.flush({ kind: "memtable" });
    await world.clock.advance(10);
    const deleted = deleteNow(db, "a", "c");
    await world.clock.advance(200);
    assert.deepEqual(rangeWal(world.inner), []);
    await world.get(Promise.all([flushed, deleted]));
    assert.deepEqual(puts(world).slice(-3), ["manifest created", "manifest created", "wal created"]);
    assert.equal(gates(world.inner), "...g");
    await world.get(db.close());
    assert.deepEqual([...await world.contents(QUIET)], [["c", "1"]]);
  });

  it("G1 a gate that loses to a checkpoint from outside is put on top of it, which is carried over", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    const { id } = await world.get(createCheckpoint({ store: world.inner, path: "" }, {}));
    await world.get(deleteNow(db, "a", "c"));
    assert.equal(gates(world.inner), "...g");
    assert.deepEqual(world.manifest.checkpoints.map((one) => one.id), [id]);
    await world.get(createCheckpoint({ store: world.inner, path: "" }, {}));
    await world.get(deleteCheckpoint({ store: world.inner, path: "" }, id));
    assert.equal(gates(world.inner), "...ggg", "G3 who edits checkpoints carries the gate over");
    await world.get(db.close());
  });

  it("F1 and G1 a gate that loses to another writer fences its writer, and no tombstone is stored", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    const next = await open({ store: world.inner, path: "" }, { ...world.options, ...QUIET });
    const deleted = await world.get(deleteLater(db, "a", "c"));
    const flushed = world.error(db.flush());
    assertFenced(await world.error(deleted.durable));
    assertFenced(await flushed);
    assert.equal(db.status.closeReason, "fenced");
    assert.deepEqual(rangeWal(world.inner), []);
    assert.equal(gates(world.inner), "...");
    assert.deepEqual(await rowsOf(next), ["a=1", "b=1", "c=1"]);
    await next.close();
  });

  it("of two writers that race with their first range deletes, one is fenced and what it deleted is there", async () => {
    for (const head of [0, 1, 2, 3, 4, 5]) {
      const world = new World(QUIET);
      world.store.controls.setLatency(10);
      const db = await threeKeys(world);
      const opened = open({ store: world.store, path: "" }, { ...world.options, ...QUIET });
      await world.clock.advance(head * 10 + 5);
      const deleted = deleteNow(db, "a", "b");
      const outcome = await world.outcome(deleted, 10_000);
      const next = await world.get(opened, 10_000);
      await world.get(deleteNow(next, "b", "c"));
      const kept = outcome.ended === "value" ? ["c=1"] : ["a=1", "c=1"];
      if (outcome.ended === "error") assertFenced(outcome.error);
      assert.deepEqual(await world.get(rowsOf(next)), kept, `a head start of ${head} requests`);
      await world.get(next.close());
      assert.equal(breach(world.inner), undefined);
    }
  });
});

describe("the gate when the store fails", () => {
  it("W4 and D22 an outage holds the range delete back for as long as it lasts, then it is stored", async () => {
    for (const reason of ["unavailable", "permission", "not-found"] as const) {
      const world = new World(QUIET);
      const db = await threeKeys(world);
      world.store.controls.addRules({
        op: "putIfAbsent",
        prefix: "manifest/",
        times: 200,
        nth: 1,
        fault: { kind: "before", reason },
      });
      const deleted = deleteNow(db, "a", "c");
      assert.equal((await world.outcome(deleted, 60_000)).ended, "never");
      assert.equal(db.status.degraded, true);
      assert.deepEqual(rangeWal(world.inner), []);
      world.store.controls.quiet();
      await world.get(deleted);
      assert.deepEqual(rangeWal(world.inner), [3]);
      assert.equal(breach(world.inner), undefined);
      await world.get(db.close());
    }
  });

  it("a lost answer to the gate is found out, with put-ids and without, and the range delete goes on", async () => {
    for (const putIds of [true, false]) {
      for (const kind of ["after", "late"] as const) {
        const world = new World(QUIET, memoryStore(), putIds);
        const db = await threeKeys(world);
        world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault: { kind } });
        await world.get(deleteNow(db, "a", "c"));
        assert.match(gates(world.inner), /^\.\.gg?$/);
        assert.equal(breach(world.inner), undefined);
        await world.get(db.close());
        assert.deepEqual([...await world.contents(QUIET)], [["c", "1"]]);
      }
    }
  });

  it("C1 closing while the gate never answers ends with an error, and everybody who waits has it", async () => {
    const world = new World({ ...QUIET, requestTimeoutMillis: 5000 });
    const db = await threeKeys(world);
    world.store.controls.addRules({
      op: "putIfAbsent",
      prefix: "manifest/",
      nth: 1,
      times: 99,
      fault: { kind: "hang", when: "before" },
    });
    const deleted = deleteNow(db, "a", "c");
    const put = db.put("z", "1");
    const flushed = db.flush();
    for (const promise of [deleted, put, flushed]) promise.catch(() => {});
    const closed = world.error(db.close(), 20_000);
    for (const promise of [deleted, put, flushed]) {
      const error = await world.error(promise, 20_000);
      assert.ok(error instanceof Closed, String(error));
    }
    await closed;
    assert.deepEqual(rangeWal(world.inner), []);
    assert.deepEqual([...await world.contents(QUIET)].length, 3);
  });
});

describe("what a log with range tombstones leaves to the next writer", () => {
  it("R1 replay restores them in their place, and the numbers go on behind them", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    await world.get(db.put("b", "2"));
    await world.get(db.write(new WriteBatch().deleteRange({ gte: "a", lt: "c" }).put("a", "3")));
    const { seq } = await world.get(deleteNow(db, "x", "z"));
    world.store.controls.crash();
    const next = await open({ store: world.inner, path: "" }, { ...world.options, ...QUIET });
    assert.deepEqual(await rowsOf(next), ["a=3", "c=1"]);
    assert.equal(next.status.lastSeq, seq, "the last row of the log is a range tombstone");
    assert.equal((await next.put("d", "1")).seq, seq + 1);
    await next.close();
    assert.equal(gates(world.inner), "..ggg", "the takeover keeps the gate as found, and so does the close");
    const last = await open({ store: world.inner, path: "" }, { ...world.options, ...QUIET });
    assert.deepEqual(await rowsOf(last), ["a=3", "c=1", "d=1"]);
    assert.equal(breach(world.inner), undefined);
    await last.close();
  });

  it("G2 a manifest that is committed in the middle of a replay keeps the gate: the tombstone may come yet", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    for (let i = 0; i < 60; i++) await world.get(db.put(`k${i}`, "x".repeat(100)));
    await world.get(deleteNow(db, "k1", "k2"));
    world.store.controls.crash();
    const next = new World({ ...QUIET, l0SstSizeBytes: 500, maxUnflushedBytes: 4000 }, world.inner);
    const opened = await next.open();
    assert.match(gates(next.inner), /^\.\.g{3,}$/);
    assert.equal((await next.get(rowsOf(opened))).length, 49);
    assert.equal(breach(next.inner), undefined);
    await next.get(opened.close());
  });

  it("a gate without any tombstone, as a crash before the log leaves it, is kept by the takeover and gone with its close", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "wal/", fault: { kind: "hang", when: "before" } });
    const lost = await world.get(deleteLater(db, "a", "c"));
    lost.durable.catch(() => {});
    db.flush().catch(() => {});
    await world.clock.advance(100);
    world.store.controls.crash();
    assert.equal(gates(world.inner), "..g");
    const next = await open({ store: world.inner, path: "" }, { ...world.options, ...QUIET });
    assert.deepEqual(await rowsOf(next), ["a=1", "b=1", "c=1"]);
    assert.equal(gates(world.inner), "..gg");
    await next.put("d", "1");
    assert.equal(gates(world.inner), "..gg", "it rides on the next flush or close");
    await next.close();
    assert.equal(gates(world.inner), "..gg.");
  });

  it("unknown features are refused by name, by writers and readers, and nothing is written", async () => {
    const inner = memoryStore();
    const db = await open({ store: inner, path: "" }, QUIET);
    await db.put("a", "1");
    await db.close();
    const newest = versions(inner).at(-1)!;
    const strange = { ...withGate(newest.manifest, true), features: [RANGE_DELETES, "time-travel"] };
    inner.plant(manifestPath("", newest.id + 1), encodeManifest(strange));
    const before = inner.objects();
    const refused = (error: unknown) =>
      error instanceof DataError && error.reason === "unsupported-version" && error.message.includes("time-travel");
    await assert.rejects(open({ store: inner, path: "" }, QUIET), refused);
    await assert.rejects(openReader({ store: inner, path: "" }), refused);
    assert.deepEqual(inner.objects(), before);
  });

  it("a manifest with features at version 0x8001 begins with these two bytes, and one without them does not", async () => {
    const world = new World(QUIET);
    const db = await threeKeys(world);
    await world.get(deleteNow(db, "a", "b"));
    const [first, , gated] = versions(world.inner).map(({ id }) => world.inner.peek(manifestPath("", id))!);
    assert.deepEqual([...first!.subarray(0, 2)], [0, 1]);
    assert.deepEqual([...gated!.subarray(0, 2)], [0x80, 0x01]);
    assert.equal(decodeManifest(gated!).version, 0x8001);
    assert.deepEqual([...world.inner.peek(walPath("", 3))!.subarray(-2)], [0x80, 0x01]);
    await world.get(db.close());
  });
});
