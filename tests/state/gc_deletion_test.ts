/** Collections on a store that deletes many objects with one request. */
import { clone, deleteClone } from "../../mod.ts";
import { tablePath } from "../../src/format/paths.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { CloneWorld } from "../db/clone_world.ts";
import { deletesMany } from "../support/deletes_many.ts";
import { assert, describe, it } from "../support/suite.ts";
import { AGES, fill, GcWorld } from "../tasks/gc_world.ts";

/** A database whose log and versions are old, with `orphans` old tables that nothing names. */
async function oldWorld(orphans = 0): Promise<GcWorld> {
  const world = new GcWorld({ compactor: false, garbageCollector: false }, deletesMany());
  await fill(world, 3, 2);
  for (let i = 0; i < orphans; i++) {
    const random = new Uint8Array(10);
    new DataView(random.buffer).setUint32(0, i);
    world.inner.plant(tablePath("", ulidFromParts(1, random)), new Uint8Array(100));
  }
  await world.wait(AGES.minAgeMillis + 1000);
  return world;
}

/** Requests of a pass, by kind. */
async function requestsOf(world: GcWorld, work: () => Promise<unknown>): Promise<Record<string, number>> {
  const from = world.store.controls.requestCount;
  await work();
  const counts: Record<string, number> = {};
  for (const { op } of world.store.controls.log.slice(from)) {
    if (op.startsWith("delete")) counts[op] = (counts[op] ?? 0) + 1;
  }
  return counts;
}

describe("GcDeletion", () => {
  it("deletes a page with one request, and the report is that of a store that deletes one by one", async () => {
    const world = await oldWorld(2500);
    let pass = await world.pass({ dryRun: true });
    const wished = pass.report.deleted;
    const counts = await requestsOf(world, async () => pass = await world.pass());
    assert.deepEqual(counts, { deleteMany: 5 });
    assert.deepEqual(pass.report.deleted, wished);
    assert.deepEqual([wished.wal.length, wished.manifest.length, wished.compacted.length], [5, 7, 2500]);
    assert.equal(pass.failure, undefined);
    assert.deepEqual(await requestsOf(world, () => world.pass()), {});
  });

  it("one object is one plain deletion", async () => {
    const world = await oldWorld();
    await world.pass();
    world.inner.plant(tablePath("", ulidFromParts(1, new Uint8Array(10))), new Uint8Array(1));
    assert.deepEqual(await requestsOf(world, () => world.pass()), { delete: 1 });
  });

  it("a page that is refused is gone through one by one, and tells which objects stay", async () => {
    const world = await oldWorld(100);
    const fault = { kind: "before", reason: "permission" } as const;
    const victim = world.paths("compacted")[10]!;
    world.store.controls.addRules({ op: "deleteMany", prefix: "compacted/", rate: 1, fault });
    world.store.controls.addRules({ op: "delete", prefix: victim, rate: 1, fault });
    let pass = await world.pass({ dryRun: true });
    const counts = await requestsOf(world, async () => pass = await world.pass());
    assert.deepEqual(counts, { deleteMany: 3, delete: 100 });
    assert.equal(pass.report.deleted.compacted.length, 99);
    assert.equal(pass.report.kept.compacted["delete-failed"], 1);
    assert.match(String(pass.failure), new RegExp(`delete ${victim}: permission`));
    assert.ok(world.inner.objects().includes(victim));
  });

  it("a store that turns out not to delete many is asked once", async () => {
    const world = await oldWorld(10);
    world.store.controls.addRules({ op: "deleteMany", rate: 1, fault: { kind: "before", reason: "unsupported" } });
    let pass = await world.pass({ dryRun: true });
    const counts = await requestsOf(world, async () => pass = await world.pass());
    assert.deepEqual(counts, { deleteMany: 1, delete: 5 + 10 + 7 });
    assert.equal(pass.failure, undefined);
  });

  it("a page that failed for a moment is gone through one by one, and what comes after it goes on", async () => {
    const world = await oldWorld(10);
    world.store.controls.addRules({ op: "deleteMany", nth: 2, fault: { kind: "after" } });
    let pass = await world.pass({ dryRun: true });
    const counts = await requestsOf(world, async () => pass = await world.pass());
    assert.deepEqual(counts, { deleteMany: 3, delete: 10 });
    const { deleted } = pass.report;
    assert.deepEqual([deleted.wal.length, deleted.compacted.length, deleted.manifest.length], [5, 10, 7]);
    assert.equal(pass.failure, undefined);
  });

  it("a store that asks for fewer requests is not asked one by one, nor for what comes after", async () => {
    const world = await oldWorld(10);
    const fault = { kind: "before", reason: "throttled" } as const;
    world.store.controls.addRules({ op: "deleteMany", nth: 2, fault });
    let pass = await world.pass({ dryRun: true });
    const counts = await requestsOf(world, async () => pass = await world.pass());
    assert.deepEqual(counts, { deleteMany: 2 });
    const { deleted, kept } = pass.report;
    assert.deepEqual([deleted.wal.length, kept.compacted["delete-failed"], kept.manifest], [5, 10, {}]);
    assert.equal(pass.failure?.reason, "throttled");
    assert.equal((await world.pass()).report.deleted.compacted.length, 10);
  });
});

describe("deleteClone", () => {
  it("deletes with as few requests as the store can", async () => {
    const world = new CloneWorld({ compactor: false, garbageCollector: false }, deletesMany());
    await world.fill("parent", true);
    await world.get(clone(world.place("parent"), world.place("copy"), world.calls));
    await world.fill("copy", true);
    const from = world.store.controls.requestCount;
    const { objects } = await world.get(deleteClone(world.place("copy"), world.calls));
    const asked = world.store.controls.log.slice(from).filter(({ op }) => op === "deleteMany").length;
    assert.ok(objects > 8 && asked >= 1 && asked <= 3, `${asked} requests for ${objects} objects`);
    assert.ok(world.below("copy").length <= 4, "something stays");
  });
});
