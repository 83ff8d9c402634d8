/**
 * Manifests that this engine would not have written: another engine's habits are followed, nonsense is refused at open
 * or dropped where it does no harm. None of them kills a database that is open.
 *
 * @module
 */
import { open } from "../../mod.ts";
import { DataError } from "../../src/errors.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, tablePath } from "../../src/format/paths.ts";
import type { Manifest } from "../../src/format/types.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const LARGEST = Number.MAX_SAFE_INTEGER;

/** A closed database with "a" in a table, whose newest manifest was changed by somebody. */
async function changed(change: (manifest: Manifest, world: World) => Partial<Manifest>): Promise<World> {
  const world = new World();
  const db = await world.open();
  await world.get(db.put("a", "1"));
  await world.get(db.flush({ kind: "memtable" }));
  for (let i = 0; i < 10; i++) await world.get(db.put(`b${i}`, "1"));
  await world.get(db.close());
  const { manifest } = world;
  const id = world.paths("manifest").length + 1;
  world.inner.plant(manifestPath("", id), encodeManifest({ ...manifest, ...change(manifest, world) }));
  return world;
}

describe("a manifest of somebody else", () => {
  const usable: Array<[string, (manifest: Manifest, world: World) => Partial<Manifest>]> = [
    ["protects snapshots newer than its newest table, as 0.12.1 does", () => ({ recentSnapshotMinSeq: 8 })],
    ["has a damaged sequence tracker", () => ({ sequenceTracker: Uint8Array.of(9, 9, 9) })],
    ["names a table with the last id of all", ({ l0 }, world) => {
      const sstId = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ";
      world.inner.plant(tablePath("", sstId), world.inner.peek(tablePath("", l0[0]!.sstId))!);
      return { l0: [{ ...l0[0]!, sstId, viewId: sstId }] };
    }],
  ];
  for (const [name, change] of usable) {
    it(`that ${name} is gone on from`, async () => {
      const world = await changed(change);
      const first = await world.open();
      await world.get(first.put("c", "1"));
      await world.get(first.close());
      const db = await world.open();
      await world.get(db.flush({ kind: "memtable" }));
      assert.equal(db.status.l0Count, 2);
      await world.get(db.close());
      assert.deepEqual([...(await world.contents()).keys()].filter((key) => !key.startsWith("b")), ["a", "c"]);
    });
  }

  for (const field of ["writerEpoch", "lastL0Seq", "replayAfterWalId", "walIdLastSeen"] as const) {
    it(`that leaves no room above ${field} is refused before anything is written`, async () => {
      const world = await changed(() => ({ [field]: LARGEST }));
      const before = world.inner.objects();
      const error = await world.error(open({ store: world.store, path: "" }, world.options));
      assert.ok(error instanceof DataError && error.reason === "malformed", String(error));
      assert.deepEqual(world.inner.objects(), before);
    });
  }
});
