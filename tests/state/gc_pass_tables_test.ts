/** A collection and the tables: what an upload, a compaction or a slow pass keeps. */
import { encodeCompactions } from "../../src/format/compactions_codec.ts";
import { compactionsPath } from "../../src/format/paths.ts";
import type { CompactionStatus } from "../../src/format/types.ts";
import { ulidFromParts, ulidMillis } from "../../src/format/ulid.ts";
import { assert, describe, it } from "../support/suite.ts";
import { gcWorld } from "../tasks/gc_world.ts";
import { MIN_AGE, oldWorld, plain, plantTable, random } from "./gc_pass_world.ts";

describe("collectOnce, tables", () => {
  it("keeps what an upload elsewhere may publish yet, old as it may be", async () => {
    const world = gcWorld();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    await world.get(db.flush({ kind: "memtable" }));
    await world.get(db.put("b", "2"));
    await world.wait(1000);
    const fault = { kind: "before", reason: "unavailable" } as const;
    world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", rate: 1, fault });
    const flushed = db.flush({ kind: "memtable" });
    await world.wait(20_000);
    assert.deepEqual([world.paths("compacted").length, world.manifest.l0.length], [2, 1], "uploaded, not published");
    await world.wait(2 * MIN_AGE);
    const { report } = await world.pass({}, { store: world.inner, walStore: world.inner });
    assert.deepEqual(report.kept.compacted, { referenced: 1, "newest-l0": 1 });
    world.store.controls.quiet();
    await world.get(flushed);
    assert.equal(world.manifest.l0.length, 2);
    await world.get(db.close());
    assert.deepEqual([...await world.contents(plain)], [["a", "1"], ["b", "2"]]);
  });

  it("keeps what its own writer has in flight when it is asked first, also when that is published meanwhile", async () => {
    const world = await oldWorld(1, 1);
    const orphan = plantTable(world, 5);
    const flying = plantTable(world, 6);
    const id = flying.slice("compacted/".length, -".sst".length);
    let asked = 0;
    const handle = await world.handle();
    // Asked before the manifest is read, and again for each table that nothing names.
    const pass = await world.pass({}, { manifest: handle, inFlight: () => new Set(asked++ === 0 ? [id] : []) });
    asked = 2;
    assert.deepEqual(pass.report.deleted.compacted, [orphan]);
    assert.deepEqual(pass.report.kept.compacted, { referenced: 1, "in-flight": 1 });
    const unseen = await world.pass({}, { manifest: handle, inFlight: () => new Set(asked++ === 2 ? [] : [id]) });
    assert.deepEqual(unseen.report.kept.compacted, { referenced: 1, "in-flight": 1 });
    const later = await world.pass({}, { manifest: handle, inFlight: () => new Set() });
    assert.deepEqual(later.report.deleted.compacted, [flying]);
  });

  it("does not trust the uploads of a writer that was taken over", async () => {
    const world = await oldWorld(1, 1);
    const handle = await world.handle();
    const newest = world.manifest.l0[0]!.sstId;
    const dangling = plantTable(world, ulidMillis(newest) + 1);
    world.plantManifest((current) => ({ writerEpoch: current.writerEpoch + 1 }));
    const pass = await world.pass({}, { manifest: handle, inFlight: () => new Set() });
    assert.deepEqual(pass.report.kept.compacted, { referenced: 1, "newest-l0": 1 });
    assert.ok(world.inner.peek(dangling) !== undefined);
  });

  it("keeps what an active compaction may publish, and lets go of it when that has ended", async () => {
    const world = await oldWorld(1, 1);
    const base = ulidMillis(world.manifest.l0[0]!.sstId) - 500;
    const older = plantTable(world, base - 1);
    const output = plantTable(world, base);
    const store = (id: number, status: CompactionStatus) =>
      world.inner.plant(
        compactionsPath("", id),
        encodeCompactions({
          compactorEpoch: 1,
          recentCompactions: [
            { id: ulidFromParts(base, random(3)), l0ViewIds: [], sortedRuns: [1], status, outputSsts: [] },
          ],
        }),
      );
    store(1, "completed");
    store(2, "running");
    const first = await world.pass();
    assert.deepEqual(first.report.deleted.compacted, [older]);
    assert.deepEqual(first.report.kept.compacted, { referenced: 1, "active-compaction": 1 });
    assert.notEqual(first.heldBy, "");
    store(3, "failed");
    const second = await world.pass();
    assert.deepEqual([second.report.deleted.compacted, second.heldBy], [[output], ""]);
  });

  it("takes nothing that was made since it began, however long the reading takes", async () => {
    for (const folder of ["compactions/", "manifest/", "compacted/"]) {
      const world = await oldWorld(1, 1);
      const manifest = await world.handle();
      const fault = { kind: "delay", millis: 2 * MIN_AGE } as const;
      world.store.controls.addRules({ op: ["list", "get"], prefix: folder, rate: 1, fault });
      const pass = world.pass({}, { manifest, inFlight: () => new Set() });
      await world.wait(1000);
      const output = plantTable(world, world.clock.now());
      await world.wait(10 * MIN_AGE);
      assert.deepEqual((await pass).report.kept.compacted, { referenced: 1, young: 1 }, folder);
      assert.ok(world.inner.peek(output) !== undefined);
    }
  });

  it("reads the compactions object before the manifest", async () => {
    const world = await oldWorld(1, 1);
    world.inner.plant(compactionsPath("", 1), encodeCompactions({ compactorEpoch: 1, recentCompactions: [] }));
    const manifest = await world.handle();
    await world.wait(40_000);
    const from = world.store.controls.requestCount;
    await world.pass({}, { manifest });
    const log = world.store.controls.log.slice(from).map(({ op, path }) => `${op} ${path}`);
    const compactionsRead = log.indexOf(`get ${compactionsPath("", 1)}`);
    const manifestRead = log.findIndex((line) => line.startsWith("list manifest/"));
    const tablesListed = log.indexOf("list compacted/");
    assert.ok(compactionsRead >= 0 && compactionsRead < manifestRead && manifestRead < tablesListed, log.join("\n"));
  });
});
