import type { Db } from "../../src/db/api.ts";
import { NOT_CACHED, WriteBatch } from "../../mod.ts";
import { RANGE_DELETES } from "../../src/format/types.ts";
import { isGated } from "../../src/state/range_gate.ts";
import { assert, describe, it } from "../support/suite.ts";
import { gates } from "./gate_world.ts";
import { ReaderWorld } from "./reader_world.ts";

const POLL = 10_000;
const KEYS = 24;

const key = (i: number): string => `k${String(i).padStart(2, "0")}`;

/** Numbers drawn from a seed. */
function dice(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A writer whose steps are drawn, and what its database must hold. */
class DrawnWriter {
  readonly rows = new Map<string, string>();
  readonly #world: ReaderWorld;
  readonly #db: Db;
  readonly #roll: (below: number) => number;

  constructor(world: ReaderWorld, db: Db, seed: number) {
    this.#world = world;
    this.#db = db;
    this.#roll = dice(seed);
  }

  async step(value: string): Promise<void> {
    const roll = this.#roll;
    const batch = new WriteBatch();
    if (roll(2) === 0) {
      const [low, high] = [roll(KEYS), roll(KEYS)].sort((a, b) => a - b) as [number, number];
      const isOpen = roll(5) === 0;
      batch.deleteRange(isOpen ? { gte: key(low) } : { gte: key(low), lte: key(high) });
      for (const one of [...this.rows.keys()]) {
        if (one >= key(low) && (isOpen || one <= key(high))) this.rows.delete(one);
      }
    }
    for (let puts = 1 + roll(3); puts > 0; puts--) {
      const at = key(roll(KEYS));
      batch.put(at, value);
      this.rows.set(at, value);
    }
    await this.#world.get(this.#db.write(batch));
    if (roll(6) === 0) await this.#world.get(this.#db.flush({ kind: "memtable" }));
  }

  get sorted(): Record<string, string> {
    return Object.fromEntries([...this.rows].sort(([a], [b]) => a < b ? -1 : 1));
  }
}

describe("readers, of range deletes", () => {
  for (const mode of ["managed", "follow"] as const) {
    it(`${mode}: shows one from the log, from L0 and from a run, at the next poll and not before`, async () => {
      const world = new ReaderWorld();
      const db = await world.open();
      await world.put(db, { a: "1", b: "1", c: "1", d: "1" });
      await world.get(db.flush({ kind: "memtable" }));
      const reader = await world.reader({ mode });
      const { seq } = await world.get(db.deleteRange({ gte: "b", lt: "d" }));
      assert.deepEqual(Object.keys(await world.rows(reader)), ["a", "b", "c", "d"]);
      const before = await world.get(reader.snapshot());
      await world.get(reader.waitForSeq(seq), 2 * POLL);
      assert.equal(reader.status.seq, seq, "it counts as a write");
      const shown = async (what: string) => {
        assert.deepEqual(await world.rows(reader), { a: "1", d: "1" }, what);
        assert.equal(await world.value(reader, "b"), undefined, what);
        assert.deepEqual(Object.keys(await world.rows(before)), ["a", "b", "c", "d"], `${what}: the snapshot`);
      };
      await shown("log");
      await world.get(db.flush({ kind: "memtable" }));
      await world.clock.advance(POLL);
      await shown("L0");
      world.compact(false);
      await world.clock.advance(POLL);
      await shown("run");
      before.release();
      const tables = await world.reader({ mode, skipWalReplay: true });
      await world.get(db.close());
      const next = await world.open();
      await world.get(next.deleteRange({ gte: "a" }));
      await world.clock.advance(POLL);
      assert.deepEqual(await world.rows(reader), {});
      assert.deepEqual(await world.rows(tables), { a: "1", d: "1" }, "tables only");
      for (const one of [reader, tables, next]) await world.get(one.close());
    });

    it(`${mode}: shows what was written after every poll, whatever is flushed, in small memtables`, async () => {
      for (let seed = 1; seed <= 3; seed++) {
        const world = new ReaderWorld();
        const db = await world.open();
        const writer = new DrawnWriter(world, db, seed);
        const readers = [await world.reader({ mode, maxMemtableBytes: 400 }), await world.reader({ mode })];
        for (let step = 1; step <= 40; step++) {
          await writer.step(`${step}`);
          if (step % 4 > 0) continue;
          await world.clock.advance(POLL);
          for (const reader of readers) {
            assert.deepEqual(await world.rows(reader), writer.sorted, `seed ${seed}, step ${step}`);
            assert.equal(reader.status.seq, step);
          }
        }
        for (const one of [...readers, db]) await world.get(one.close());
      }
    });
  }

  it("pinned: shows those of its checkpoint, from its tables and its stretch of the log, and no later ones", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1", c: "1", d: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.deleteRange({ lt: "b" }));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.deleteRange({ gte: "c", lt: "d" }));
    const { id: checkpoint } = await world.get(db.checkpoint({ scope: "durable" }));
    await world.get(db.deleteRange({ gte: "" }));
    await world.get(db.flush({ kind: "memtable" }));
    const reader = await world.reader({ checkpoint });
    assert.deepEqual(await world.rows(reader), { b: "1", d: "1" });
    assert.equal(reader.status.seq, 6);
    const tables = await world.reader({ checkpoint, skipWalReplay: true });
    assert.deepEqual(await world.rows(tables), { b: "1", c: "1", d: "1" });
    assert.deepEqual(await world.rows(db), {});
    for (const one of [reader, tables, db]) await world.get(one.close());
  });

  it("preload brings the range tombstones of large tables: what they cover is answered without the store", async () => {
    const world = new ReaderWorld({ minFilterKeys: 10 });
    const db = await world.open();
    await world.put(db, { b: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    for (let i = 0; i < 800; i++) await db.put(`a${1000 + i}`, "v".repeat(100), { durable: false });
    await world.get(db.deleteRange({ gte: "b" }));
    await world.get(db.flush({ kind: "memtable" }));
    for (const preload of ["l0", "none"] as const) {
      const reader = await world.reader({ mode: "follow", preload });
      await world.clock.advance(100);
      assert.equal(reader.getCached("b"), preload === "none" ? NOT_CACHED : undefined);
      assert.equal(await world.value(reader, "b"), undefined);
      await world.get(reader.close());
    }
    await world.get(db.close());
  });

  it("managed: moves its checkpoint when the gate is raised and when it is given back, and to nothing older", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1" });
    const reader = await world.reader();
    const pinned = () => {
      const [own, ...others] = world.manifest.checkpoints;
      assert.deepEqual(others, []);
      assert.equal(own!.id, reader.status.checkpointId);
      return own!.manifestId;
    };
    const first = pinned();
    await world.get(db.deleteRange({ gte: "a", lt: "b" }));
    assert.equal(gates(world.inner).at(-1), "g");
    await world.clock.advance(POLL);
    const gated = pinned();
    assert.ok(gated > first && isGated(world.manifest));
    await world.clock.advance(5 * POLL);
    assert.equal(pinned(), gated, "once");
    assert.deepEqual(await world.rows(reader), {});
    // The same tables without the gate: what a clean close leaves of a gate that nothing needed.
    world.commit(({ features: _, ...manifest }) => manifest);
    await world.clock.advance(POLL);
    assert.ok(pinned() > gated && !isGated(world.manifest), "no checkpoint of the gated time is left");
    await world.get(reader.close());
  });

  it("managed: keeps what a scan reads while the gate changes, under the new checkpoint", async () => {
    const world = new ReaderWorld();
    const db = await world.open();
    await world.put(db, { a: "1", b: "1" });
    await world.get(db.flush({ kind: "memtable" }));
    const reader = await world.reader();
    const scan = reader.scan().iterator();
    assert.ok(await world.get(scan.next()));
    world.commit((manifest) => ({ ...manifest, features: [RANGE_DELETES] }));
    await world.clock.advance(POLL);
    const [own, ...others] = world.manifest.checkpoints;
    assert.deepEqual([own!.id, others.length], [reader.status.checkpointId, 0]);
    assert.ok(await world.get(scan.next()));
    assert.equal(await world.get(scan.next()), undefined);
    await world.get(reader.close());
    assert.deepEqual(world.manifest.checkpoints, []);
  });
});
