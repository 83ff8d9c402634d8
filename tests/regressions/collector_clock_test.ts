/**
 * A collector on a machine whose clock is ahead.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { collectGarbage } from "../../src/db/collect.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";
import { LONG, QUIET, table } from "./compactor_world.ts";

describe("a collector on a machine whose clock is twenty minutes ahead", () => {
  it("ends no checkpoint that the store's time does not end, and deletes nothing that one pins", async () => {
    const world = new World(QUIET);
    const db = await world.open();
    for (let i = 0; i < 4; i++) await table(world, db, 20, `${i}`);
    const { id } = await world.get(db.checkpoint({ lifetimeMillis: 600_000, name: "backup" }), LONG);
    await world.get(db.compact(), LONG);
    const tables = world.paths("compacted");
    await world.clock.advance(60_000);
    // The store stamps objects with its own time, whoever puts them.
    const store: ObjectStoreShape = {
      ...world.inner,
      putIfAbsent: (path, body, identity) =>
        Effect.provideService(world.inner.putIfAbsent(path, body, identity), Clock.Clock, world.clock),
    };
    const ahead = virtualClock(world.clock.now() + 1_200_000);
    const report = await collectGarbage({ store, path: "" }, { clock: ahead });
    assert.deepEqual(report.expiredCheckpoints, []);
    assert.ok(world.manifest.checkpoints.some((one) => one.id === id), "the checkpoint is gone");
    for (const path of tables) assert.ok(world.paths("compacted").includes(path), `${path} was deleted`);
    await world.clock.advance(1_000_000);
    const later = await world.get(collectGarbage({ store, path: "" }, { clock: world.clock }), LONG);
    assert.ok(later.expiredCheckpoints.includes(id), "its end has come");
    await world.get(db.close(), LONG);
  });
});
