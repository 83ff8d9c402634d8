/**
 * Clones on a memory store: what they hold, that parent and clone go on independently, what is refused.
 *
 * @module
 */
import {
  clone,
  createCheckpoint,
  DataError,
  deleteCheckpoint,
  deleteClone,
  InvalidArgument,
  Unavailable,
} from "../../mod.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, walPath } from "../../src/format/paths.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertFenced } from "./fault_world.ts";
import {
  CloneWorld,
  collect,
  commit,
  diverge,
  endless,
  leftAt,
  manifestIn,
  rowsIn,
  rowsOf,
  sorted,
} from "./clone_world.ts";

const UNKNOWN = "00000000-0000-4000-8000-000000000000";

function reasonOf(error: unknown): string {
  assert.ok(error instanceof InvalidArgument || error instanceof DataError, `not refused, but ${String(error)}`);
  return error.reason;
}

describe("clone", () => {
  it("clone of a closed database begins equal to it, then both go their own way", async () => {
    const world = new CloneWorld();
    const model = await world.fill("a", true);
    const before = world.manifestAt("a")!;
    const report = await world.get(clone(world.place("a"), "b", world.calls));
    assert.equal(report.created, true);
    const made = world.manifestAt("b")!;
    assert.deepEqual(
      [made.initialized, made.writerEpoch, made.compactorEpoch, made.lastL0Seq, made.checkpoints.length],
      [true, before.writerEpoch, before.compactorEpoch, before.lastL0Seq, 0],
    );
    assert.deepEqual(made.externalDbs, [{
      path: "a",
      sourceCheckpointId: report.sourceCheckpoint,
      finalCheckpointId: report.finalCheckpoint,
      sstIds: before.l0.map((view) => view.sstId),
    }]);
    assert.equal(world.below("b").filter((path) => path.includes("/compacted/")).length, 0, "no table was copied");
    assert.deepEqual(endless(world.inner, "a").map((one) => one.id), [report.finalCheckpoint]);
    const twin = new Map(model);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(model));
    await diverge(world.inner, "a", model);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(twin));
    await diverge(world.inner, "b", twin);
    assert.deepEqual(sorted(await rowsOf(world.inner, "a")), sorted(model));
    await world.clock.advance(400_000);
    for (const root of ["a", "b"]) collect(world.inner, root);
    assert.deepEqual(sorted(await rowsOf(world.inner, "a")), sorted(model));
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(twin));
  });

  it("clone of a checkpoint holds what it pinned, whatever the parent did and collected since", async () => {
    const world = new CloneWorld();
    const model = await world.fill("a", false);
    const db = await world.at("a");
    const checkpoint = await world.get(db.checkpoint({ scope: "durable", lifetimeMillis: 60_000 }));
    for (let i = 0; i < 3; i++) {
      await world.get(db.put("k0", `newer ${i}`));
      await world.get(db.put("more", `newer ${i}`));
      await world.get(db.flush({ kind: "memtable" }));
    }
    await world.get(db.close());
    collect(world.inner, "a");
    const options = { ...world.calls, checkpoint: checkpoint.id };
    const report = await world.get(clone(world.place("a"), "b", options));
    assert.equal(report.sourceCheckpoint, checkpoint.id);
    assert.ok(report.walObjects > 0);
    const pinned = manifestIn(world.inner, "a", checkpoint.manifestId);
    assert.equal(report.walObjects, pinned.walIdLastSeen - pinned.replayAfterWalId);
    assert.equal(world.below("b").filter((path) => path.includes("/wal/")).length, report.walObjects);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(model));
    await world.clock.advance(100_000);
    await world.get(deleteCheckpoint(world.place("a"), checkpoint.id, world.calls));
    collect(world.inner, "a");
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(model), "its source has ended, the final has not");
  });

  it("clone beside a live writer disturbs neither its writes nor its log", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    const db = await world.at("a");
    await world.get(db.put("live", "1"));
    const { id } = await world.get(db.checkpoint());
    await world.get(clone(world.place("a"), "b", { ...world.calls, checkpoint: id }));
    await world.get(db.put("live", "2"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.close());
    assert.equal((await rowsOf(world.inner, "a")).get("live"), "2");
    assert.equal((await rowsOf(world.inner, "b")).get("live"), "1");
  });

  it("asked for again, clone finds it finished and changes nothing", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    const first = await world.get(clone(world.place("a"), "b", world.calls));
    await diverge(world.inner, "b", new Map());
    const before = world.inner.objects();
    const again = await world.get(clone(world.place("a"), world.place("b"), world.calls));
    assert.deepEqual(again, { ...first, created: false, walObjects: 0 });
    assert.deepEqual(world.inner.objects(), before);
    const other = await world.get(createCheckpoint(world.place("a"), world.calls));
    const differs = clone(world.place("a"), "b", { ...world.calls, checkpoint: other.id });
    assert.equal(reasonOf(await world.error(differs)), "clone-differs");
    await world.get(deleteCheckpoint(world.place("a"), first.finalCheckpoint, { ...world.calls, force: true }));
    const lost = await world.error(clone(world.place("a"), "b", world.calls));
    assert.equal(reasonOf(lost), "checkpoint-missing");
  });

  it("clones of clones reach the tables of all before them, also when the one between is gone its way", async () => {
    const world = new CloneWorld();
    const model = await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const second = new Map(model);
    await diverge(world.inner, "b", second);
    await world.clock.advance(400_000);
    for (const root of ["a", "b"]) collect(world.inner, root);
    await world.get(clone(world.place("b"), "deep/c", world.calls));
    assert.deepEqual(world.manifestAt("deep/c")!.externalDbs.map((db) => db.path), ["a", "b"]);
    assert.equal(endless(world.inner, "a").length, 2, "one for b, one for c");
    await world.clock.advance(400_000);
    const notOfA = await world.error(clone(world.place("a"), "deep/c", world.calls));
    assert.equal(reasonOf(notOfA), "clone-differs");
    assert.match(String(notOfA), /was made from "b"/);
    const third = new Map(second);
    await diverge(world.inner, "deep/c", third);
    await diverge(world.inner, "b", second);
    for (const root of ["a", "b", "deep/c"]) collect(world.inner, root);
    assert.deepEqual(sorted(await rowsOf(world.inner, "deep/c")), sorted(third));
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(second));
    assert.deepEqual(sorted(await rowsOf(world.inner, "a")), sorted(model));
    const kept = await world.error(deleteClone(world.place("b"), world.calls));
    assert.equal(reasonOf(kept), "checkpoints-left");
    await world.get(deleteClone(world.place("deep/c"), world.calls));
    await world.get(deleteClone(world.place("b"), world.calls));
    assert.equal(endless(world.inner, "a").length, 0);
  });

  it("a clone of a clone that has let go of the one between does not pass for a clone of the first", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    await world.get(clone(world.place("b"), "c", world.calls));
    commit(world.inner, "c", (current) => ({ ...current, externalDbs: current.externalDbs.slice(0, 1) }));
    assert.equal(reasonOf(await world.error(clone(world.place("a"), "c", world.calls))), "clone-differs");
  });

  it("a manifest that is one ahead of the log is no damage, a log that was collected is", async () => {
    const world = new CloneWorld();
    const model = await world.fill("a", true);
    const manifest = world.manifestAt("a")!;
    const next = world.below("a").filter((path) => path.includes("/manifest/")).length + 1;
    const ahead = { ...manifest, walIdLastSeen: manifest.walIdLastSeen + 1 };
    world.inner.plant(manifestPath("a", next), encodeManifest(ahead));
    await world.get(clone(world.place("a"), "b", world.calls));
    assert.equal(world.manifestAt("b")!.walIdLastSeen, manifest.walIdLastSeen);
    assert.deepEqual(sorted(await rowsOf(world.inner, "b")), sorted(model));
    const { id } = await world.get(createCheckpoint(world.place("a"), world.calls));
    world.inner.remove(walPath("a", manifest.walIdLastSeen));
    const holed = await world.error(clone(world.place("a"), "c", { ...world.calls, checkpoint: id }));
    assert.ok(holed instanceof DataError && holed.object === walPath("a", manifest.walIdLastSeen));
    world.inner.plant(manifestPath("a", next), encodeManifest({ ...manifest, walIdLastSeen: manifest.walIdLastSeen }));
    const moved = { ...world.manifestAt("a")!, replayAfterWalId: manifest.walIdLastSeen };
    world.inner.plant(manifestPath("a", next + 4), encodeManifest(moved));
    const pinned = { ...moved.checkpoints[0]!, id: UNKNOWN, manifestId: next, expireTimeSeconds: 0 };
    world.inner.plant(manifestPath("a", next + 5), encodeManifest({ ...moved, checkpoints: [pinned] }));
    const gone = await world.error(clone(world.place("a"), "d", { ...world.calls, checkpoint: UNKNOWN }));
    assert.ok(gone instanceof DataError && gone.reason === "missing-object", String(gone));
    assert.equal(world.manifestAt("d"), undefined, "nothing was begun");
  });

  it("refuses places that do not go together, before any request", async () => {
    const world = new CloneWorld();
    const other = memoryStore();
    const cases: ReadonlyArray<readonly [Parameters<typeof clone>[0], Parameters<typeof clone>[1], string]> = [
      [world.place("a"), "a", "clone-paths"],
      [world.place("a"), "/a/", "clone-paths"],
      [world.place("a"), "a/wal/b", "clone-paths"],
      [world.place(""), "compacted/x", "clone-paths"],
      [world.place("b/gc"), "b", "clone-paths"],
      [world.place("a"), { store: other, path: "b" }, "clone-paths"],
      ["./x", world.place("b"), "clone-paths"],
      ["./x/y", "./z", "clone-paths"],
      ["./x", "./x", "clone-paths"],
      ["/", "/b", "clone-paths"],
      ["memory:", "memory:", "clone-paths"],
      ["s3://bucket/a", "s3://other/b", "clone-paths"],
      [
        "s3://bucket/a?endpoint=https://one.example.com",
        "s3://bucket/b?endpoint=https://two.example.com",
        "clone-paths",
      ],
      ["s3://bucket/a", "s3://bucket/a/", "clone-paths"],
      ["s3://bucket/a", "s3://bucket/a/wal/b", "clone-paths"],
      ["s3://bucket/a", "./x", "clone-paths"],
      ["./x", "s3://bucket/a", "clone-paths"],
      ["s3://key:secret@bucket/a", "s3://bucket/b", "location"],
      [world.place("a"), "../b", "path"],
    ];
    for (const [parent, target, reason] of cases) {
      const error = await world.error(clone(parent, target, world.calls));
      assert.equal(reasonOf(error), reason, `${JSON.stringify(target)}: ${error}`);
    }
    for (const options of [{ checkpont: UNKNOWN }, { checkpoint: "x" }, { requestTimeoutMillis: 1.5 }]) {
      const error = await world.error(clone(world.place("a"), "b", options as never));
      assert.equal(reasonOf(error), "options");
    }
    assert.equal(world.store.controls.requestCount, 0);
  });

  it("refuses parents and targets that cannot be, and leaves nothing behind", async () => {
    const world = new CloneWorld();
    const again = (options = {}) => world.error(clone(world.place("a"), "b", { ...world.calls, ...options }));
    assert.equal(reasonOf(await again()), "missing-database");
    await world.fill("a", true);
    assert.equal(reasonOf(await again({ checkpoint: UNKNOWN })), "checkpoint-missing");
    const brief = await world.get(createCheckpoint(world.place("a"), { ...world.calls, lifetimeMillis: 1_000 }));
    await world.clock.advance(1_000);
    assert.equal(reasonOf(await again({ checkpoint: brief.id })), "checkpoint-missing");
    assert.deepEqual(world.below("b"), []);
    world.inner.plant("b/wal/00000000000000000007.sst", new Uint8Array(1));
    assert.equal(reasonOf(await again()), "clone-paths");
    world.inner.remove("b/wal/00000000000000000007.sst");
    await world.fill("b", true);
    assert.equal(reasonOf(await again()), "database-exists");
    const log = memoryStore();
    const apart = await world.at("apart", { wal: { store: log } });
    await world.get(apart.close());
    const refused = await world.error(clone(world.place("apart"), "c", world.calls));
    assert.equal(reasonOf(refused), "wal-store");
    assert.deepEqual([world.below("c"), world.manifestAt("apart")!.checkpoints], [[], []]);
  });

  it("a database at the store's own root can be cloned, too", async () => {
    const world = new CloneWorld();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("b", "2"));
    await world.get(db.close());
    await world.get(clone(world.place(""), "clones/1", world.calls));
    assert.deepEqual(sorted(await rowsIn(world.inner, "clones/1")), [["a", "1"], ["b", "2"]]);
  });
});

describe("deleteClone", () => {
  it("deleteClone fences its writer, removes its objects alone and lets the parent go", async () => {
    const world = new CloneWorld();
    const model = await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const db = await world.at("b");
    await world.get(db.put("x", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    world.inner.plant("b/wal/notes.txt", new Uint8Array(3));
    world.inner.plant("b/manifest/deeper/00000000000000000001.manifest", new Uint8Array(3));
    world.store.controls.addRules({ op: "delete", prefix: "b/", fault: { kind: "before", reason: "permission" } });
    assert.ok(await world.error(deleteClone(world.place("b"), world.calls)) instanceof Unavailable);
    assertFenced(await world.error(db.put("y", "2").then(() => db.flush({ kind: "memtable" }))));
    world.store.controls.quiet();
    const report = await world.get(deleteClone(world.place("b"), world.calls));
    assert.deepEqual(report.released, ["a"]);
    assert.deepEqual(leftAt(world.inner, "b"), [
      "b/manifest/deeper/00000000000000000001.manifest",
      "b/wal/notes.txt",
    ]);
    assert.deepEqual(endless(world.inner, "a"), []);
    assert.deepEqual(sorted(await rowsOf(world.inner, "a")), sorted(model));
    assert.equal(reasonOf(await world.error(deleteClone(world.place("b"), world.calls))), "missing-database");
    const free = await world.error(deleteClone(world.place("a"), world.calls));
    assert.equal(reasonOf(free), "not-a-clone");
    assert.match(String(free), /delete its objects/);
    await world.get(clone(world.place("a"), "b", world.calls));
    const read = await world.error(deleteClone(world.place("a"), world.calls));
    assert.equal(reasonOf(read), "not-a-clone");
    assert.match(String(read), /clones read its tables.*"clone: b".*Delete those clones/);
    assert.doesNotMatch(String(read), /delete its objects/);
  });

  it("a clone that is half deleted is neither opened nor finished nor cloned, and one half made can be deleted", async () => {
    const world = new CloneWorld();
    await world.fill("a", true);
    await world.get(clone(world.place("a"), "b", world.calls));
    const manifest = world.manifestAt("b")!;
    const mark = { ...world.manifestAt("a")!.checkpoints[0]!, name: "phyllite: being deleted", expireTimeSeconds: 0 };
    world.inner.plant(manifestPath("b", 9), encodeManifest({ ...manifest, initialized: false, checkpoints: [mark] }));
    assert.equal(reasonOf(await world.error(clone(world.place("a"), "b", world.calls))), "clone-deleted");
    assert.equal(reasonOf(await world.error(clone(world.place("b"), "c", world.calls))), "not-initialized");
    assert.equal(reasonOf(await world.error(world.at("b"))), "not-initialized");
    await world.get(deleteClone(world.place("b"), world.calls));
    assert.deepEqual(leftAt(world.inner, "b"), []);
    for (const path of world.below("b")) world.inner.remove(path);
    world.inner.plant(manifestPath("b", 1), encodeManifest({ ...manifest, initialized: false }));
    await world.get(deleteClone(world.place("b"), world.calls));
    assert.deepEqual([leftAt(world.inner, "b"), endless(world.inner, "a")], [[], []]);
  });
});
