/** One collection: versions, the WAL, checkpoints, fences, boundary files. */
import { encodeCompactions } from "../../src/format/compactions_codec.ts";
import { compactionsPath, manifestPath, walPath } from "../../src/format/paths.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { GcMemory } from "../../src/state/gc_memory.ts";
import { assert, describe, it } from "../support/suite.ts";
import { AGES, fill, type GcWorld, gcWorld } from "../tasks/gc_world.ts";
import {
  deleted,
  fenceOfOthers,
  MIN_AGE,
  names,
  oldWorld,
  oneRow,
  pin,
  plain,
  plantTable,
  random,
} from "./gc_pass_world.ts";

describe("collectOnce", () => {
  it("deletes old versions and replayed WAL objects, keeps fences, the newest two, and what is in use", async () => {
    const world = await oldWorld();
    const before = await world.contents(plain);
    const pass = await world.pass();
    assert.deepEqual(pass.report.deleted, {
      manifest: names("manifest", [1, 2, 3, 4, 5, 6, 7]),
      wal: names("wal", [2, 3, 4, 6, 7]),
      compacted: [],
      compactions: [],
    });
    assert.deepEqual(pass.report.kept, {
      manifest: { "newest-two": 2 },
      wal: { fence: 2, live: 1 },
      compacted: { referenced: 6 },
      compactions: {},
    });
    assert.deepEqual([pass.dueAt, pass.manifestId, pass.heldBy, pass.report.foreign], [Infinity, 9, "", []]);
    assert.ok(pass.report.deletedBytes > 1000);
    assert.deepEqual(await world.contents(plain), before);
    assert.deepEqual(deleted(await world.pass()), [], "a second pass finds nothing");
  });

  it("keeps what is young and says when it may go; then it goes", async () => {
    const world = gcWorld();
    await fill(world, 3, 2);
    const pass = await world.pass();
    assert.deepEqual(deleted(pass), []);
    assert.deepEqual(pass.report.kept.manifest, { "newest-two": 2, young: 7 });
    await world.wait(pass.dueAt - world.clock.now() - 1);
    assert.deepEqual(deleted(await world.pass()), []);
    await world.wait(1);
    assert.ok(deleted(await world.pass()).length > 0);
  });

  it("a dry run changes nothing and names what a pass then deletes", async () => {
    const world = await oldWorld();
    world.plantManifest((current) => ({ checkpoints: [...current.checkpoints, pin(3, 1)] }));
    await world.wait(MIN_AGE);
    const before = world.inner.snapshot();
    const dry = await world.pass({ dryRun: true });
    assert.deepEqual(new Map(world.inner.snapshot().objects), new Map(before.objects));
    assert.ok(world.store.controls.log.every(({ op }) => ["get", "list", "head", "putIfAbsent", "put"].includes(op)));
    assert.deepEqual(dry.report.expiredCheckpoints, [pin(3).id]);
    const wet = await world.pass();
    assert.equal(dry.report.dryRun && !wet.report.dryRun, true);
    // The pass has made two versions of its own (one to learn the time), so two more are not among the newest two.
    assert.deepEqual(deleted(wet).filter((path) => !deleted(dry).includes(path)), names("manifest", [9, 10]));
    assert.deepEqual(deleted(dry).filter((path) => !deleted(wet).includes(path)), []);
  });

  it("removes checkpoints that have ended, with what only they held; others hold", async () => {
    const world = await oldWorld();
    const nowSeconds = Math.floor(world.clock.now() / 1000);
    world.plantManifest(() => ({
      l0: world.manifest.l0.slice(0, 4),
      checkpoints: [pin(8, nowSeconds), pin(3), pin(9, nowSeconds + 100)],
    }));
    const l0 = world.manifest.l0.length;
    const tables = world.paths("compacted");
    assert.deepEqual([l0, tables.length], [4, 6]);
    const first = await world.pass();
    assert.deepEqual(first.report.expiredCheckpoints, [pin(8).id]);
    assert.deepEqual(world.manifest.checkpoints.map((one) => one.manifestId), [3, 9]);
    assert.equal(first.dueAt, (nowSeconds + 100) * 1000);
    // The young one was made to learn the store's time.
    assert.deepEqual(first.report.kept.manifest, { checkpoint: 2, "newest-two": 2, young: 1 });
    // Version 9 names all six tables; version 3 has seen WAL objects 1 and 2 and names the first table.
    assert.deepEqual(first.report.kept.compacted, { referenced: 4, checkpoint: 2 });
    await world.wait(100_000);
    const second = await world.pass();
    assert.deepEqual(second.report.expiredCheckpoints, [pin(9).id]);
    assert.deepEqual(second.report.kept.compacted, { referenced: 4, checkpoint: 1 });
    assert.deepEqual(second.report.deleted.compacted, [tables[1]]);
  });

  it("names a checkpoint that has ended once, although another commit came first", async () => {
    const world = await oldWorld();
    const ended = pin(8, 1);
    world.plantManifest(() => ({ checkpoints: [ended] }));
    const fault = { kind: "delay", millis: 1000 } as const;
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", nth: 1, fault });
    const pass = world.pass();
    await world.wait(500);
    const id = world.plantManifest((current) => ({ checkpoints: [...current.checkpoints, pin(9, 2)] }));
    await world.wait(1000);
    const { report, manifestId } = await pass;
    assert.deepEqual([report.expiredCheckpoints, manifestId], [[ended.id, pin(9).id], id + 2]);
  });

  it("reads no version but those that checkpoints pin, and those once", async () => {
    const world = await oldWorld();
    const newest = world.plantManifest(() => ({ checkpoints: [pin(3), pin(4), pin(10)] }));
    assert.equal(newest, 10);
    const manifest = await world.handle();
    const memory = new GcMemory();
    const reads: string[][] = [];
    for (let i = 0; i < 2; i++) {
      const from = world.store.controls.requestCount;
      await world.pass({}, { manifest, memory });
      const log = world.store.controls.log.slice(from).filter(({ op, outcome }) => op === "get" && outcome === "ok");
      reads.push(log.map(({ path }) => path).filter((path) => path.startsWith("manifest/")));
    }
    assert.deepEqual(reads, [names("manifest", [3, 4]), []]);
  });

  it("keeps the WAL objects that a replay from a checkpoint reads", async () => {
    const world = gcWorld();
    const db = await world.open();
    for (const key of ["a", "b"]) await world.get(db.put(key, "1"));
    await world.get(db.close());
    const pinned = world.paths("manifest").length;
    const { replayAfterWalId, walIdLastSeen } = world.manifest;
    assert.deepEqual([replayAfterWalId, walIdLastSeen], [0, 3]);
    await fill(world, 3);
    world.plantManifest(() => ({ checkpoints: [pin(pinned)] }));
    await world.wait(MIN_AGE + 1000);
    const pass = await world.pass();
    assert.deepEqual(pass.report.kept.wal, { checkpoint: 3, fence: 1, live: 1 });
    assert.deepEqual(pass.report.deleted.wal, names("wal", [5, 6]));
  });

  it("ends without deleting anything when a pinned version is missing or damaged, and says which", async () => {
    for (const damage of ["missing", "damaged"] as const) {
      const world = await oldWorld();
      const nowSeconds = Math.floor(world.clock.now() / 1000);
      world.plantManifest(() => ({ checkpoints: [pin(8), pin(3, nowSeconds + 50)] }));
      const path = manifestPath("", 3);
      if (damage === "missing") world.inner.remove(path);
      else world.inner.plant(path, new Uint8Array([1, 2, 3]), { lastModifiedMillis: 0 });
      const objects = world.inner.objects().length;
      const pass = await world.pass();
      assert.match(pass.report.stopped ?? "", /00000000000000000003\.manifest/);
      assert.deepEqual([deleted(pass), world.inner.objects().length], [[], objects]);
      assert.equal(pass.dueAt, (nowSeconds + 50) * 1000, "the end of the checkpoint may mend it");
      await world.wait(50_000);
      const next = await world.pass();
      assert.equal(next.report.stopped, undefined);
      assert.ok(deleted(next).length > 0);
    }
  });

  it("leaves names alone that are not ours, counts them all and shows the first hundred", async () => {
    const world = await oldWorld();
    const table = ulidFromParts(0, random(1));
    const foreign = [
      "compacted/readme.txt",
      `compacted/below/${table}.sst`,
      `compacted/${table.toLowerCase()}.sst`,
      `compacted/${table}.SST`,
      "wal/1.sst",
      "wal/00000000000000000000.sst",
      "wal/00000000000000000001.manifest",
      "manifest/00000000000000000001.sst",
      "manifest/.0000001.tmp",
      "compactions/notes",
      ...Array.from({ length: 150 }, (_, i) => `manifest/old/${i}.manifest`),
    ];
    for (const path of foreign) world.inner.plant(path, new Uint8Array(3), { lastModifiedMillis: 0 });
    const elsewhere = ["other/compacted/x.sst", "gc/other", "notes.txt"];
    for (const path of elsewhere) world.inner.plant(path, new Uint8Array(3), { lastModifiedMillis: 0 });
    const { report } = await world.pass();
    for (const path of [...foreign, ...elsewhere]) assert.ok(world.inner.peek(path) !== undefined, path);
    const counted = Object.values(report.kept).reduce((sum, reasons) => sum + (reasons["foreign"] ?? 0), 0);
    assert.equal(counted, foreign.length);
    assert.equal(report.foreign.length, 100);
    assert.ok(report.foreign.every((path) => foreign.includes(path)));
  });

  it("goes through folders of several pages, and never takes the newest two across a page's end", async () => {
    for (const versions of [1001, 2000, 2002]) {
      const world = gcWorld();
      await fill(world, 1);
      const body = encodeCompactions({ compactorEpoch: 1, recentCompactions: [] });
      for (let id = 1; id <= versions; id++) {
        world.inner.plant(compactionsPath("", id), body, { lastModifiedMillis: 0 });
      }
      if (versions === 2000) { for (let i = 0; i < 2500; i++) plantTable(world, i * 10); }
      await world.wait(MIN_AGE + 1000);
      const { report } = await world.pass();
      assert.deepEqual(world.paths("compactions"), names("compactions", [versions - 1, versions]));
      assert.equal(report.deleted.compactions.length, versions - 2);
      if (versions !== 2000) continue;
      assert.equal(report.deleted.compacted.length, 2500);
      assert.equal(world.paths("compacted").length, 1);
    }
  });
});

describe("collectOnce, fences", () => {
  it("keeps fences of both kinds and small objects it cannot read, deletes a WAL object of one small row", async () => {
    const world = await oldWorld(12, 1);
    const old = { lastModifiedMillis: 0 };
    const small = oneRow(1);
    assert.ok(small.length < 200);
    world.inner.plant(walPath("", 2), new Uint8Array(0), old);
    world.inner.plant(walPath("", 3), small, old);
    world.inner.plant(walPath("", 4), fenceOfOthers, old);
    world.inner.plant(walPath("", 5), new Uint8Array(200), old);
    world.inner.plant(walPath("", 6), oneRow(2000), old);
    const memory = new GcMemory();
    const { report } = await world.pass({}, { memory });
    assert.deepEqual([...report.deleted.wal].sort(), names("wal", [3, 6, 7, 8, 9, 10, 11, 12]));
    assert.deepEqual(report.kept.wal, { fence: 3, unreadable: 1, live: 1 });
    const from = world.store.controls.requestCount;
    await world.pass({}, { memory });
    const gets = world.store.controls.log.slice(from).filter(({ op, path }) => op === "get" && path.startsWith("wal/"));
    assert.deepEqual(gets.map(({ path }) => path), names("wal", [5]), "a known fence is not read again");
  });

  it("deletes fences at an age of their own, where one is set", async () => {
    const world = await oldWorld(2, 3);
    const settings = { ...AGES, walFenceMinAgeMillis: 2 * MIN_AGE };
    const first = await world.pass({}, { settings });
    assert.equal(first.report.kept.wal["fence"], 3);
    await world.wait(first.dueAt - world.clock.now());
    const second = await world.pass({}, { settings });
    assert.deepEqual(second.report.deleted.wal, names("wal", [1]));
    await world.wait(MIN_AGE);
    assert.equal((await world.pass({}, { settings })).report.kept.wal["fence"], undefined);
  });
});

describe("collectOnce, boundary files", () => {
  const boundary = "gc/manifest.boundary";
  const text = (value: string) => new TextEncoder().encode(value);
  const valueOf = (world: GcWorld) => new TextDecoder().decode(world.inner.peek(boundary));

  it("are not made, and raised before versions are deleted where they are", async () => {
    const world = await oldWorld();
    assert.ok(!world.inner.objects().some((path) => path.startsWith("gc/")));
    world.inner.plant(boundary, text("3\n"));
    const from = world.store.controls.requestCount;
    const pass = await world.pass();
    assert.deepEqual(pass.report.deleted.manifest, names("manifest", [1, 2, 3, 4, 5, 6, 7]));
    assert.equal(valueOf(world), "7");
    const log = world.store.controls.log.slice(from).map(({ op, path }) => `${op} ${path}`);
    const raised = log.indexOf(`put ${boundary}`);
    assert.ok(raised >= 0 && raised < log.findIndex((line) => line.startsWith("delete manifest/")));
    assert.ok(world.inner.peek("gc/compactions.boundary") === undefined);
  });

  it("are never lowered, and stay as they are in a dry run", async () => {
    const world = await oldWorld();
    world.inner.plant(boundary, text("2"));
    await world.pass({ dryRun: true });
    assert.equal(valueOf(world), "2");
    world.inner.plant(boundary, text("8"));
    await world.pass();
    assert.equal(valueOf(world), "8");
    assert.deepEqual(world.paths("manifest"), names("manifest", [8, 9]));
  });

  it("stop the collection of versions when they cannot be understood or declare the newest dead", async () => {
    for (const value of ["9", "10", "x", "", "99999999999999999999"]) {
      const world = await oldWorld();
      world.inner.plant(boundary, text(value));
      const { report } = await world.pass();
      assert.deepEqual(report.kept.manifest, { "newest-two": 2, boundary: 7 });
      assert.deepEqual([valueOf(world), report.deleted.wal.length > 0], [value, true]);
    }
  });
});
