import { WriteBatch } from "../../mod.ts";
import type { Db, DbStatus } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { compactOnce, openCompactor } from "../../src/db/standalone_compactor.ts";
import { Closed, DataError, InvalidArgument, Unavailable } from "../../src/errors.ts";
import { decodeCompactions, encodeCompactions } from "../../src/format/compactions_codec.ts";
import { compactionsPath } from "../../src/format/paths.ts";
import type { CompactionRecord } from "../../src/format/types.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";

const small: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  garbageCollector: false,
  compactor: { maxSstBytes: 600 },
};
const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);

/** Writes one table of `count` keys from `from` on. */
async function table(world: World, db: Db, from: number, count: number, tag: string): Promise<void> {
  const batch = new WriteBatch();
  for (let i = from; i < from + count; i++) batch.put(`k${String(i).padStart(3, "0")}`, `${tag} ${"x".repeat(20)}`);
  await world.get(Promise.all([db.write(batch, { durable: false }), db.flush({ kind: "memtable" })]));
}

const shape = async (world: World, db: Db) => {
  const { l0, runs } = await world.get(db.tables());
  return { l0: l0.length, runs: runs.map((run) => [run.id, run.tables.map(({ entries }) => entries)] as const) };
};

function journal(world: World): ReadonlyArray<CompactionRecord> {
  const newest = world.paths("compactions").at(-1);
  return newest === undefined ? [] : decodeCompactions(world.inner.peek(newest)!).recentCompactions;
}

describe("compact", () => {
  it("makes one run of everything, without what was deleted", async () => {
    const world = new World({ ...small, compactor: false });
    const db = await world.open();
    for (let i = 0; i < 3; i++) await table(world, db, 0, 20, `round ${i}`);
    for (let i = 0; i < 10; i++) await db.delete(`k00${i}`, { durable: false });
    await world.get(db.compact());
    const after = await shape(world, db);
    assert.equal(after.l0, 0);
    assert.equal(after.runs.length, 1);
    assert.equal(after.runs[0]![1].reduce((a, b) => a + b), 10);
    const rows = await world.get(db.scan().toArray());
    assert.deepEqual(rows.map(({ value }) => text(value)), Array(10).fill(`round 2 ${"x".repeat(20)}`));
    await world.get(db.compact());
    assert.deepEqual(await shape(world, db), after, "nothing was left to do");
    await world.get(db.close());
  });

  it("of a range leaves the tables that do not overlap it alone", async () => {
    const world = new World({ ...small, compactor: { maxSstBytes: 600, minCompactionSources: 8 } });
    const db = await world.open();
    for (const from of [0, 20, 40, 60]) await table(world, db, from, 20, "old");
    await world.get(db.compact());
    await table(world, db, 0, 20, "new");
    await table(world, db, 60, 20, "new");
    const before = (await world.get(db.tables())).runs[0]!.tables;
    await world.get(db.compact({ gte: "k060" }));
    const { l0, runs } = await world.get(db.tables());
    const ids = new Set(runs.flatMap((run) => run.tables.map(({ id }) => id)));
    assert.equal(l0.length, 0);
    const low = before.filter(({ lastKey }) => text(lastKey)! < "k060");
    assert.ok(low.length > 0 && low.every(({ id }) => ids.has(id)), "tables below the range were rewritten");
    assert.ok(before.every(({ id, firstKey }) => text(firstKey)! < "k060" || !ids.has(id)), "the range was not");
    assert.equal(text(await world.get(db.get("k001"))), `new ${"x".repeat(20)}`);
    await world.get(db.close());
  });

  it("keeps what a snapshot sees", async () => {
    const world = new World({ ...small, compactor: false });
    const db = await world.open();
    await table(world, db, 0, 10, "first");
    const snapshot = await db.snapshot();
    await table(world, db, 0, 10, "second");
    await db.delete("k003", { durable: false });
    await world.get(db.compact());
    assert.equal(text(await world.get(snapshot.get("k003"))), `first ${"x".repeat(20)}`);
    assert.equal(await world.get(db.get("k003")), undefined);
    assert.equal((await world.get(snapshot.scan().toArray())).length, 10);
    snapshot.release();
    await table(world, db, 50, 1, "later");
    await world.get(db.compact());
    const { runs } = await shape(world, db);
    assert.equal(runs.flatMap(([, entries]) => entries).reduce((a, b) => a + b), 10, "released versions were kept");
    await world.get(db.close());
  });

  it("refuses a bad range and a closed database, and is answered when the database closes", async () => {
    const world = new World({ ...small, compactor: false });
    const db = await world.open();
    await assert.rejects(db.compact({ gte: "b", lt: "a" }), InvalidArgument);
    for (let i = 0; i < 3; i++) await table(world, db, 0, 20, "x");
    world.store.controls.setOutage(true);
    const waiting = db.compact();
    const refused = assert.rejects(waiting, Closed);
    await world.clock.advance(5000);
    const closing = db.close().catch(() => {});
    await world.clock.advance(200_000);
    await closing;
    await refused;
    await assert.rejects(db.compact(), Closed);
  });
});

describe("the embedded compactor", () => {
  it("holds L0 below its limit while writes come faster than it merges", async () => {
    const world = new World({ ...small, l0SstSizeBytes: 400, maxUnflushedBytes: 20_000, l0MaxSsts: 5 });
    const db = await world.open();
    world.store.controls.addRules({ prefix: "compacted/", op: "getRange", fault: { kind: "delay", millis: 200 } });
    const writes: Promise<unknown>[] = [];
    let most = 0;
    for (let i = 0; i < 300; i++) {
      writes.push(db.put(`k${(i * 7) % 40}`, `${i} ${"x".repeat(60)}`, { durable: false }));
      await world.clock.advance(5);
      most = Math.max(most, world.manifest.l0.length);
    }
    await world.get(Promise.all(writes), 600_000);
    await world.get(db.flush({ kind: "memtable" }), 600_000);
    assert.ok(most > 3 && most <= 5, `up to ${most} L0 tables`);
    assert.equal((await world.get(db.scan().toArray(), 60_000)).length, 40);
    await world.get(db.close(), 60_000);
  });

  it("tells about its jobs while they run", async () => {
    const world = new World(small);
    const db = await world.open();
    world.store.controls.addRules({ prefix: "compacted/", op: "getRange", fault: { kind: "delay", millis: 300 } });
    const seen: DbStatus[] = [];
    db.onStatus((status) => seen.push(status));
    for (let i = 0; i < 4; i++) await table(world, db, 0, 20, `${i}`);
    await world.clock.advance(5000);
    const during = seen.filter((status) => status.compactor === "running");
    assert.ok(during.length > 1, "no status came while it ran");
    assert.ok(during.every(({ compactions }) => compactions.length === 1 && compactions[0]!.totalBytes > 0));
    assert.equal(db.status.compactor, "idle");
    assert.deepEqual(db.status.compactions, []);
    await world.get(db.close());
  });

  it("goes on after damage is mended, and never closes the writer", async () => {
    const world = new World(small);
    const db = await world.open();
    for (let i = 0; i < 3; i++) await table(world, db, 0, 20, `${i}`);
    const victim = world.paths("compacted")[0]!;
    const sound = world.inner.peek(victim)!;
    const broken = sound.slice();
    for (let i = 0; i < 200; i++) broken[i]! ^= 0xff;
    world.inner.plant(victim, broken);
    await table(world, db, 0, 20, "4");
    await world.clock.advance(100);
    assert.equal(db.status.compactor, "failing");
    assert.match(db.status.warnings.join(), new RegExp(victim));
    await assert.rejects(world.get(db.compact()), DataError);
    assert.equal(db.status.closeReason, undefined);
    world.inner.plant(victim, sound);
    await world.clock.advance(120_000);
    assert.equal(db.status.compactor, "idle");
    assert.deepEqual(await shape(world, db).then(({ l0 }) => l0), 0);
    await world.get(db.close());
  });

  it("T2 and T3 is superseded by a standalone one, and compact() takes over again; the writer goes on", async () => {
    const world = new World(small);
    const db = await world.open();
    for (let i = 0; i < 4; i++) await table(world, db, 0, 20, `${i}`);
    await world.clock.advance(100);
    assert.equal(db.status.compactorEpoch, 1);
    const place = { store: world.inner, path: "" };
    const other = await world.get(openCompactor(place, { clock: world.clock, maxSstBytes: 600 }));
    for (let i = 0; i < 4; i++) await table(world, db, 0, 20, `then ${i}`);
    await world.clock.advance(10_000);
    assert.equal(db.status.compactor, "superseded");
    assert.equal(other.status.published, 1);
    assert.equal(world.manifest.compactorEpoch, 2);
    assert.equal(db.status.closeReason, undefined);
    await world.get(db.compact());
    assert.equal(db.status.compactor, "idle");
    await world.clock.advance(10_000);
    assert.equal(other.status.phase, "superseded");
    await assert.rejects(world.get(other.settled()), Unavailable);
    await world.get(other.close());
    assert.equal((await world.get(db.scan().toArray())).length, 20);
    await world.get(db.close());
  });

  it("compact() takes the place of a compactor that came and went, and does nothing twice", async () => {
    const world = new World({ ...small, compactor: { minCompactionSources: 2 }, mergeOperator: "elsewhere" });
    const place = { store: world.inner, path: "" };
    const db = await world.open();
    await world.get(Promise.all([db.merge("a", "1", { durable: false }), db.flush({ kind: "memtable" })]));
    await world.get(compactOnce(place, { clock: world.clock, full: true, mergeOperator: "elsewhere" }));
    await world.get(Promise.all([db.merge("a", "2", { durable: false }), db.flush({ kind: "memtable" })]));
    const tables = world.paths("compacted").length;
    await world.get(db.compact());
    assert.equal(world.paths("compacted").length, tables + 2, "L0 into a run, then two runs into one");
    const made = world.paths("compacted").length;
    await world.get(Promise.all([db.put("b", "1", { durable: false }), db.close()]));
    assert.deepEqual(journal(world).map(({ status }) => status), ["completed"]);
    const later = await world.get(compactOnce(place, { clock: world.clock, mergeOperator: "elsewhere" }));
    assert.deepEqual([later.published, world.paths("compacted").length], [0, made], "nothing was due");
    const alone = new World({ ...small, compactor: false, mergeOperator: "elsewhere" });
    const one = await alone.open();
    for (const value of ["1", "2", "3"]) {
      await alone.get(Promise.all([one.merge("a", value, { durable: false }), one.flush({ kind: "memtable" })]));
    }
    await alone.get(one.compact());
    assert.equal(alone.paths("compacted").length, 4, "the run that L0 became was not rewritten at once");
    await alone.get(one.close());
  });

  it("stays off when another compactor has worked here since it was opened", async () => {
    const world = new World(small);
    const db = await world.open();
    await world.get(compactOnce({ store: world.inner, path: "" }, { clock: world.clock }));
    for (let i = 0; i < 4; i++) await table(world, db, 0, 20, `${i}`);
    await world.clock.advance(100);
    assert.equal(db.status.compactor, "superseded");
    assert.equal((await shape(world, db)).l0, 4);
    await table(world, db, 0, 20, "flushing goes on");
    await world.get(db.close());
  });
});

describe("the journal of compactions", () => {
  const entry = (id: string, change: Partial<CompactionRecord>): CompactionRecord => ({
    id,
    l0ViewIds: [],
    sortedRuns: [],
    status: "submitted",
    outputSsts: [],
    ...change,
  });

  it("J1, J2 and J3 are kept when it is taken over: what can be done is done anew, the rest is failed or found done, none keeps outputs", async () => {
    const world = new World({ ...small, compactor: false });
    const db = await world.open();
    for (let i = 0; i < 3; i++) await table(world, db, 0, 20, `${i}`);
    await world.get(db.close());
    const { l0 } = world.manifest;
    const gone = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    world.inner.plant(
      compactionsPath("", 1),
      encodeCompactions({
        compactorEpoch: 0,
        recentCompactions: [
          entry("01ARZ3NDEKTSV4RRFFQ69G5F01", { status: "completed" }),
          entry("01ARZ3NDEKTSV4RRFFQ69G5F02", { l0ViewIds: [gone], status: "running" }),
          entry("01ARZ3NDEKTSV4RRFFQ69G5F03", { l0ViewIds: [l0[0]!.viewId], status: "submitted" }),
          entry("01ARZ3NDEKTSV4RRFFQ69G5F04", {
            l0ViewIds: l0.map((view) => view.viewId),
            status: "running",
            outputSsts: [l0[0]!],
          }),
        ],
      }),
    );
    const done = await world.get(
      compactOnce({ store: world.inner, path: "" }, { clock: world.clock, maxSstBytes: 600 }),
    );
    assert.equal(done.published, 1);
    assert.equal(world.manifest.l0.length, 0);
    const left = journal(world);
    assert.deepEqual(left.map(({ id, status, outputSsts }) => [id, status, outputSsts.length]), [
      ["01ARZ3NDEKTSV4RRFFQ69G5F04", "completed", 0],
    ]);
    assert.equal((await world.contents()).size, 20);
  });

  it("T1 has one entry for a job, running while it runs, written after the one before it ended", async () => {
    const world = new World(small);
    const db = await world.open();
    world.store.controls.addRules({ prefix: "compacted/", op: "getRange", fault: { kind: "delay", millis: 300 } });
    for (let i = 0; i < 4; i++) await table(world, db, 0, 20, `${i}`);
    assert.deepEqual(journal(world).map(({ status, l0ViewIds }) => [status, l0ViewIds.length]), [["running", 4]]);
    await world.clock.advance(5000);
    assert.deepEqual(journal(world).map(({ status }) => status), ["completed"]);
    const { checkpoints, compacted } = world.manifest;
    assert.deepEqual(compacted.map(({ id }) => id), [0]);
    const [seconds, ...others] = checkpoints.map((one) => one.expireTimeSeconds - one.createTimeSeconds);
    assert.ok(others.length === 0 && (seconds === 900 || seconds === 901), "whole seconds, and not less");
    await world.get(db.close());
  });
});

describe("compactOnce", () => {
  it("keeps the codec of what it merges, unless it is told another", async () => {
    const world = new World({ ...small, compactor: false, compression: "zlib" });
    const db = await world.open();
    for (let i = 0; i < 3; i++) await table(world, db, 0, 20, `${i}`);
    await world.get(db.close());
    const place = { store: world.inner, path: "" };
    await world.get(compactOnce(place, { clock: world.clock, full: true }));
    const codecs = () => world.manifest.compacted.flatMap((run) => run.ssts.map((view) => view.info.compression));
    assert.deepEqual(codecs(), [2]);
    await world.get(compactOnce(place, { clock: world.clock, full: true, compression: "none" }));
    assert.deepEqual(codecs(), [0]);
    assert.equal((await world.contents()).size, 20);
  });
});
