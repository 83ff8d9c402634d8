/**
 * Objects that the store does not delete: a role without the right to, or one object of many.
 *
 * A pass that cannot delete must not read for nothing, passes must not go on for ever at the pace of those that can, and
 * one object must not keep the others.
 *
 * @module
 */
import { Effect } from "effect";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { StoreError } from "../../src/errors.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { World } from "../db/fault_world.ts";
import { deletesMany } from "../support/deletes_many.ts";
import { assert, describe, it } from "../support/suite.ts";
import { fill, GcWorld } from "../tasks/gc_world.ts";

const HOUR = 3_600_000;
const QUIET = { compactor: false, garbageCollector: false } as const;
const DENIED = { kind: "before", reason: "permission", retryable: false } as const;

/** A writer that may not delete, at rest with `rows` small objects in its log, all of them old. */
async function denied(rows: number) {
  const world = new World({ compactor: false }, deletesMany());
  for (const op of ["delete", "deleteMany"] as const) world.store.controls.addRules({ op, rate: 1, fault: DENIED });
  const db = await world.open();
  for (let i = 0; i < rows; i++) await world.get(db.put("k", `${i}`));
  await world.get(db.flush({ kind: "memtable" }));
  let seen = 0;
  const asked = () => {
    const counts = { get: 0, list: 0, delete: 0 };
    const from = seen;
    seen = world.store.controls.log.length;
    for (const { op } of world.store.controls.log.slice(from)) {
      if (op === "get" || op === "list") counts[op]++;
      else if (op.startsWith("delete")) counts.delete++;
    }
    return counts;
  };
  return { world, db, asked };
}

describe("a role that may not delete", () => {
  it("costs a writer at rest a few requests a day, and is told of", async () => {
    const { world, db, asked } = await denied(1_500);
    asked();
    for (let minute = 0; minute < 60; minute++) await world.clock.advance(60_000);
    const first = asked();
    assert.ok(first.get < 200 && first.list < 16 && first.delete < 80, JSON.stringify(first));
    assert.ok(first.delete > 0, "it was tried");
    assert.match(db.status.warnings.join(), /could not delete everything: .*permission/);
    for (let hour = 0; hour < 24; hour++) await world.clock.advance(HOUR);
    asked();
    for (let hour = 0; hour < 24; hour++) await world.clock.advance(HOUR);
    const day = asked();
    assert.ok(day.delete > 0 && day.delete < 90, `a day: ${JSON.stringify(day)}`);
    assert.ok(day.get < 200 && day.list < 20, `a day: ${JSON.stringify(day)}`);
    await world.get(db.close());
  });

  it("that was allowed to delete again is noticed within six hours, and at once after a change", async () => {
    for (const changes of [false, true]) {
      const { world, db } = await denied(60);
      for (let hour = 0; hour < 48; hour++) await world.clock.advance(HOUR);
      const before = world.paths("wal").length;
      assert.ok(before >= 60);
      world.store.controls.quiet();
      if (changes) {
        await world.get(db.checkpoint());
        await world.clock.advance(700_000);
      } else for (let hour = 0; hour < 6; hour++) await world.clock.advance(HOUR);
      assert.ok(world.paths("wal").length < 5, `${world.paths("wal").length} of ${before}`);
      assert.deepEqual(db.status.warnings, []);
      await world.get(db.close());
    }
  });

  it("ends a pass: no further page is listed, no further folder, and no object read", async () => {
    const world = new GcWorld(QUIET, deletesMany());
    const db = await world.open();
    for (let i = 0; i < 1_200; i++) await world.get(db.put("k", `${i}`));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.close());
    await world.wait(HOUR);
    for (const op of ["delete", "deleteMany"] as const) world.store.controls.addRules({ op, rate: 1, fault: DENIED });
    const from = world.store.controls.log.length;
    const { failure, report } = await world.pass();
    const log = world.store.controls.log.slice(from);
    assert.equal(log.filter(({ op, path }) => op === "get" && path.startsWith("wal/")).length, 32);
    assert.deepEqual(log.filter(({ op, path }) => op === "list" && path === "wal/").length, 1);
    assert.ok(log.filter(({ op }) => op.startsWith("delete")).length < 25);
    assert.ok(failure instanceof StoreError);
    assert.deepEqual([failure.reason, report.deleted.wal.length], ["permission", 0]);
    assert.ok(report.kept.wal["delete-failed"]! > 900);
  });
});

/** A store that fails for a moment, always, wherever one object is to be deleted; of many it deletes the others. */
function poisoned(inner: MemoryStore, many: boolean): { readonly store: ObjectStoreShape; readonly poison: string } {
  // The first is a fence, which stays.
  const poison = inner.objects().filter((path) => path.startsWith("wal/"))[1]!;
  const fails = (op: "delete" | "deleteMany") =>
    Effect.fail(new StoreError({ op, path: poison, reason: "unavailable", retryable: true, outcome: "unknown" }));
  const deleteMany: ObjectStoreShape["deleteMany"] = (paths) =>
    Effect.andThen(
      Effect.forEach(paths.filter((path) => path !== poison), (path) => inner.delete(path), { discard: true }),
      paths.includes(poison) ? fails("deleteMany") : Effect.void,
    );
  const remove = (path: string) => path === poison ? fails("delete") : inner.delete(path);
  return { store: { ...inner, get: inner.get, delete: remove, ...(many ? { deleteMany } : {}) }, poison };
}

describe("one object that the store never deletes", () => {
  for (const many of [false, true]) {
    it(`does not keep the others, and what went is reported; many at once: ${many}`, async () => {
      const world = new GcWorld(QUIET, memoryStore());
      await fill(world, 3, 2);
      await world.wait(HOUR);
      const { store, poison } = poisoned(world.inner, many);
      const before = world.inner.objects().length;
      const { report, failure } = await world.pass({}, { store });
      assert.deepEqual([report.deleted.wal.length, report.deleted.manifest.length], [4, 7]);
      assert.equal(before - world.inner.objects().length, 11);
      assert.equal(report.kept.wal["delete-failed"], 1);
      assert.ok(failure instanceof StoreError && failure.path === poison, String(failure));
      assert.ok(world.inner.objects().includes(poison));
    });
  }
});
