/**
 * Clones, checkpoints and collections of databases that hold range tombstones: who carries the gate, and that nothing
 * about a tombstone changes what is reached.
 *
 * @module
 */
import {
  clone,
  collectGarbage,
  createCheckpoint,
  deleteCheckpoint,
  deleteClone,
  listCheckpoints,
  refreshCheckpoint,
  seqAtTime,
  timeOfSeq,
} from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { compareBytes } from "../../src/bytes/compare.ts";
import { tablePath } from "../../src/format/paths.ts";
import { readSst } from "../../src/format/sst_footer.ts";
import type { BoundRange } from "../../src/format/types.ts";
import { isGated } from "../../src/state/range_gate.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { CloneWorld, commit, endless, leftAt, newestAt, rowsIn, rowsOf } from "./clone_world.ts";
import { breach } from "./gate_world.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The keys of a database, as a new writer of a copy reads them. */
async function keys(store: MemoryStore, root: string): Promise<string> {
  return [...(await rowsOf(store, root)).keys()].join("");
}

/** Puts a row of one letter each. */
async function put(world: CloneWorld, db: Db, letters: string): Promise<void> {
  for (const letter of letters) await world.get(db.put(letter, "1"));
}

/** Rows a to h in a table, c and d deleted by a tombstone in L0, f to before h by one in the log. */
async function gatedParent(world: CloneWorld): Promise<Db> {
  const db = await world.at("a", { compactor: false, garbageCollector: false });
  await put(world, db, "abcdefgh");
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(db.deleteRange({ gte: "c", lt: "e" }));
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(db.deleteRange({ gte: "f", lt: "h" }));
  return db;
}

const gate = (world: CloneWorld, root: string): boolean => isGated(world.manifestAt(root)!);

describe("clones of a database with range tombstones", () => {
  it("hold them from tables and log, have the gate, and go their own way", async () => {
    const world = new CloneWorld();
    const parent = await gatedParent(world);
    const { id: checkpoint } = await world.get(parent.checkpoint({ scope: "durable" }));
    const made = await world.get(clone(world.place("a"), "b", { ...world.calls, checkpoint }));
    assert.ok(made.walObjects > 0);
    assert.ok(gate(world, "b"));
    assert.equal(await keys(world.inner, "b"), "abeh");
    const own = await world.at("b");
    await world.get(own.deleteRange({ gte: "a", lt: "b" }));
    await world.get(own.put("c", "2"));
    await world.get(own.flush({ kind: "memtable" }));
    await world.get(parent.deleteRange({ gte: "h" }));
    assert.equal(await keys(world.inner, "b"), "bceh");
    assert.equal(await keys(world.inner, "a"), "abe");
    for (const db of [own, parent]) await world.get(db.close());
  });

  it("take gate or none from the state that they copy, whatever the parent has by now", async () => {
    const world = new CloneWorld();
    const parent = await world.at("a", { compactor: false, garbageCollector: false });
    await put(world, parent, "abc");
    const early = await world.get(parent.checkpoint());
    await world.get(parent.deleteRange({ gte: "b" }));
    const gated = await world.get(parent.checkpoint());
    await world.get(parent.compact());
    assert.ok(!gate(world, "a"), "compaction took the gate back");
    for (
      const [root, checkpoint, hasGate, rows] of [
        ["early", early.id, false, "abc"],
        ["gated", gated.id, true, "a"],
        ["late", undefined, false, "a"],
      ] as const
    ) {
      const options = checkpoint === undefined ? world.calls : { ...world.calls, checkpoint };
      await world.get(clone(world.place("a"), root, options));
      assert.equal(gate(world, root), hasGate, root);
      assert.equal(await keys(world.inner, root), rows, root);
    }
    await world.get(parent.close());
  });

  it("let go of the parent, and of the gate, when they have rewritten its tables", async () => {
    const world = new CloneWorld();
    const parent = await gatedParent(world);
    await world.get(parent.close());
    await world.get(clone(world.place("a"), "b", world.calls));
    const own = await world.at("b");
    await world.get(own.compact(), 100_000);
    await world.clock.advance(3_600_000);
    await world.get(own.collectGarbage());
    assert.deepEqual(world.manifestAt("b")!.externalDbs, []);
    assert.deepEqual(endless(world.inner, "a"), []);
    assert.ok(!gate(world, "b") && gate(world, "a"));
    await world.get(own.close());
    for (const path of world.below("a")) world.inner.remove(path);
    assert.equal([...(await rowsIn(world.inner, "b")).keys()].join(""), "abeh");
  });

  it("are deleted with the gate: their place is free for any engine", async () => {
    const world = new CloneWorld();
    const parent = await gatedParent(world);
    await world.get(parent.close());
    await world.get(clone(world.place("a"), "b", world.calls));
    const own = await world.at("b");
    await world.get(own.deleteRange({ gte: "a" }));
    await world.get(own.close());
    assert.ok(gate(world, "b"));
    await world.get(deleteClone(world.place("b"), world.calls));
    assert.deepEqual([leftAt(world.inner, "b"), endless(world.inner, "a"), gate(world, "b")], [[], [], false]);
    assert.equal(await keys(world.inner, "a"), "abeh");
    await world.get(clone(world.place("a"), "b", world.calls));
    assert.ok(gate(world, "b"));
    assert.equal(await keys(world.inner, "b"), "abeh");
  });
});

describe("visible ranges", () => {
  const bound = (key: string | undefined, inclusive: boolean) => ({
    key: key === undefined ? undefined : utf8(key),
    inclusive: key !== undefined && inclusive,
  });

  it("cut range tombstones as they cut rows, in reads and in what a compaction makes of them", async () => {
    const ranges: Array<readonly [BoundRange, string]> = [
      [{ start: bound("d", true), end: bound("g", false) }, "abcgh"],
      [{ start: bound("d", true), end: bound("g", true) }, "abch"],
      [{ start: bound(undefined, false), end: bound("b", false) }, "bcdefgh"],
      [{ start: bound("e", true), end: bound(undefined, false) }, "abcd"],
    ];
    for (const [visibleRange, left] of ranges) {
      const world = new CloneWorld();
      const db = await world.at("a", { compactor: false, garbageCollector: false });
      await put(world, db, "abcdefgh");
      await world.get(db.flush({ kind: "memtable" }));
      await world.get(db.deleteRange({ gte: "" }));
      await world.get(db.flush({ kind: "memtable" }));
      await world.get(db.close());
      commit(world.inner, "a", (manifest) => ({
        ...manifest,
        l0: manifest.l0.map((view, i) => i === 0 ? { ...view, visibleRange } : view),
      }));
      assert.deepEqual(newestAt(world.inner, "a")!.l0[0]!.visibleRange, visibleRange);
      assert.equal(await keys(world.inner, "a"), left, "rows that the visible part does not cover");
      const again = await world.at("a", { compactor: false, garbageCollector: false });
      const held = await world.get(again.snapshot());
      assert.equal((await world.get(again.tables())).l0[0]!.rangeDeletions, 1);
      const estimate = await world.get(again.estimate({}));
      assert.ok(Math.abs(estimate.entries - left.length) <= 1, `${estimate.entries} rows, not about ${left.length}`);
      await world.get(again.compact(), 100_000);
      assert.equal(await keys(world.inner, "a"), left, "after a compaction");
      for (const view of world.manifestAt("a")!.compacted.flatMap((run) => run.ssts)) {
        for (const { start, end } of readSst(world.inner.peek(tablePath("a", view.sstId))!).ranges) {
          const { start: low, end: high } = visibleRange;
          assert.ok(low.key === undefined || compareBytes(start, low.key) >= 0, "begins where the view does");
          assert.ok(high.key === undefined || end !== undefined, "ends where the view does");
        }
      }
      held.release();
      await world.get(again.close());
    }
  });
});

describe("work from outside on a gated database", () => {
  it("carries the gate over: checkpoints, their listing, times, collections", async () => {
    const world = new CloneWorld();
    const parent = await gatedParent(world);
    const place = world.place("a");
    const first = await world.get(createCheckpoint(place, { ...world.calls, name: "x" }));
    assert.ok(gate(world, "a"));
    await world.get(refreshCheckpoint(place, first.id, { ...world.calls, lifetimeMillis: 3_600_000 }));
    assert.ok(gate(world, "a"));
    assert.equal((await world.get(listCheckpoints(place, world.calls))).length, 1);
    assert.equal(typeof await world.get(timeOfSeq(place, 8, "down", world.calls)), "number");
    assert.equal(typeof await world.get(seqAtTime(place, world.clock.now(), "down", world.calls)), "number");
    await world.get(deleteCheckpoint(place, first.id, world.calls));
    assert.ok(gate(world, "a"));
    const short = await world.get(createCheckpoint(place, { ...world.calls, lifetimeMillis: 1000 }));
    await world.clock.advance(3_600_000);
    const report = await world.get(collectGarbage(place, world.calls), 100_000);
    assert.ok(!world.manifestAt("a")!.checkpoints.some(({ id }) => id === short.id));
    assert.ok(gate(world, "a"), "the collector's commit");
    assert.ok(report !== undefined);
    assert.equal(breach(world.inner), undefined);
    assert.equal(await keys(world.inner, "a"), "abeh");
    await world.get(parent.close());
  });

  it("a collection keeps what a checkpoint of the gated time reaches, tables of tombstones alone and log included", async () => {
    const world = new CloneWorld();
    const parent = await gatedParent(world);
    const checkpoint = await world.get(parent.checkpoint({ scope: "durable" }));
    await world.get(parent.compact(), 100_000);
    await world.get(parent.put("z", "1"));
    await world.get(parent.close());
    assert.ok(!gate(world, "a"));
    await world.clock.advance(7_200_000);
    await world.get(collectGarbage(world.place("a"), world.calls), 100_000);
    await world.get(clone(world.place("a"), "b", { ...world.calls, checkpoint: checkpoint.id }));
    assert.ok(gate(world, "b"));
    assert.equal(await keys(world.inner, "b"), "abeh");
    assert.equal(await keys(world.inner, "a"), "abehz");
  });
});
