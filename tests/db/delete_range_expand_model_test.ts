/**
 * Range deletes that are stored key by key, in random histories on a slow store: calls that are not waited for must have
 * the effect of being made one after another.
 *
 * @module
 */
import fc from "fast-check";
import { WriteBatch } from "../../mod.ts";
import { promiseFace } from "../../src/db/promise.ts";
import { assert, describe, it } from "../support/suite.ts";
import { World } from "./fault_world.ts";
import { append, openDatabase, rows } from "./transaction_world.ts";

const SETTINGS = { mergeOperator: append, compactor: false, garbageCollector: false, rangeDeletes: "expand" } as const;

const op = fc.record({
  kind: fc.constantFrom(
    ...["put", "put", "put", "merge", "delete", "deleteRange", "deleteRange", "batch", "unmarked", "create"] as const,
  ),
  key: fc.nat(7),
  count: fc.integer({ min: 1, max: 8 }),
});
const groups = fc.array(fc.array(op, { minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: 6 });

describe("deleteRange, expanded, in random histories", () => {
  it("A1 X7 has the effect of doing one thing after another, whatever is looked for, held back or flushed", async () => {
    const counts = { none: 0, some: 0, waited: 0 };
    const property = fc.asyncProperty(groups, fc.boolean(), fc.nat(1000), async (all, tiny, seed) => {
      const world = new World({
        ...SETTINGS,
        ...(tiny ? { l0SstSizeBytes: 400, maxUnflushedBytes: 900 } : {}),
      });
      world.store.controls.setLatency([0, 40 + seed % 60]);
      const database = await world.get(openDatabase(world, { blockCacheBytes: 0 }), 100_000);
      const db = promiseFace(database);
      const model = new Map<string, string>();
      let seq = 0;
      const keyOf = (n: number): string => "abcdefgh"[n] ?? "i";
      const hold = { durable: false } as const;
      for (const [g, group] of all.entries()) {
        const calls: Array<Promise<void>> = [];
        /** What must be answered; undefined: a refusal. */
        const expect = (call: Promise<{ readonly seq: number } | undefined>, wanted: number | undefined) => {
          calls.push(call.then(
            (result) => assert.equal(result!.seq, wanted),
            (error) => assert.equal(wanted, undefined, String(error)),
          ));
        };
        for (const [i, { kind, key, count }] of group.entries()) {
          const [name, value] = [keyOf(key), `${g}.${i} `];
          const range = { gte: name, lt: keyOf(key + count) };
          const inside = [...model.keys()].filter((one) => one >= range.gte && one < range.lt);
          if (kind === "put") {
            expect(db.put(name, value, hold), ++seq);
            model.set(name, value);
          } else if (kind === "merge") {
            expect(db.merge(name, value, hold), ++seq);
            model.set(name, `${model.get(name) ?? ""}${value}`);
          } else if (kind === "delete") {
            expect(db.delete(name, hold), ++seq);
            model.delete(name);
          } else if (kind === "deleteRange") {
            if (inside.length > 0) seq++;
            expect(db.deleteRange(range, hold), seq);
            for (const one of inside) model.delete(one);
            counts[inside.length > 0 ? "some" : "none"]++;
          } else if (kind === "batch") {
            const batch = new WriteBatch().put(keyOf(key + 1), "taken back").deleteRange(range).merge(name, value);
            for (const one of inside) model.delete(one);
            if (keyOf(key + 1) >= range.lt) model.set(keyOf(key + 1), "taken back");
            model.set(name, value);
            expect(db.write(batch, hold), ++seq);
          } else if (kind === "create") {
            expect(db.put(name, value, { ...hold, ifAbsent: true }), model.has(name) ? undefined : ++seq);
            if (!model.has(name)) model.set(name, value);
          } else {
            const tx = database.begin();
            tx.put(name, value);
            tx.unmarkWrite([name]);
            const accepted = tx.commit(hold)!;
            model.set(name, value);
            seq++;
            if ("ready" in accepted) calls.push(accepted.ready.promise);
          }
        }
        if (database.engine.writes.lastWaiting !== undefined) counts.waited++;
        await world.get(Promise.all(calls), 200_000);
        const wanted = [...model].sort(([a], [b]) => a < b ? -1 : 1).map(([key, value]) => `${key}=${value}`);
        assert.deepEqual(rows(await world.get(db.scan().toArray())), wanted);
        assert.equal(database.engine.parts.state.conflicts.isActive, false, "nothing is watched any more");
        if (g % 2 === 1) await world.get(db.flush({ kind: "memtable" }), 100_000);
      }
      await world.get(db.close(), 100_000);
      world.store.controls.setLatency(0);
      assert.deepEqual([...await world.contents()], [...model].sort(([a], [b]) => a < b ? -1 : 1));
      assert.equal(world.manifest.features, undefined);
    });
    await fc.assert(property, { seed: 7, numRuns: 60 });
    assert.ok(counts.none > 20 && counts.some > 60 && counts.waited > 30, JSON.stringify(counts));
  });
});
