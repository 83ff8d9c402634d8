/**
 * Puts and uploads that end as none should: with their parts lost, or by an interruption that nobody asked for.
 *
 * @module
 */
import { Effect } from "effect";
import { open } from "../../mod.ts";
import { Closed } from "../../src/errors.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { SINGLE_PUT_MAX_BYTES } from "../../src/store/put_table.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("an upload in parts", () => {
  it("that the store has lost is begun anew", async () => {
    const world = new World({ l0SstSizeBytes: 2 * SINGLE_PUT_MAX_BYTES });
    const db = await world.open();
    const value = new Uint8Array(SINGLE_PUT_MAX_BYTES / 16);
    for (let i = 0; i < 17; i++) await db.put(`k${i}`, value, { durable: false });
    // The disk is full for a moment: the file of the parts is gone when the end of the upload is repeated.
    const { controls } = world.store;
    controls.addRules({ op: "uploadComplete", nth: 1, fault: { kind: "before", reason: "disk-full" } });
    controls.addRules({ op: "uploadComplete", nth: 2, fault: { kind: "before", reason: "not-found" } });
    await world.get(db.flush({ kind: "memtable" }), 60_000);
    const ends = controls.log.filter(({ op }) => op === "upload" || op === "uploadComplete");
    assert.deepEqual(ends.map(({ op, outcome }) => `${op} ${outcome}`), [
      "upload ok",
      "uploadComplete disk-full",
      "uploadComplete not-found",
      "upload ok",
      "uploadComplete ok",
    ]);
    assert.equal(db.status.l0Count, 1);
    assert.equal(world.paths("compacted").length, 1);
    await world.get(db.close());
  });
});

describe("a request that ends by interruption", () => {
  for (const folder of ["wal/", "compacted/", "manifest/"]) {
    it(`of ${folder} closes the database: no part of it dies in silence`, async () => {
      const world = new World();
      let once = false;
      const store: ObjectStoreShape = {
        ...world.store,
        putIfAbsent: (path, body, identity) => {
          if (!once || !path.startsWith(folder)) return world.store.putIfAbsent(path, body, identity);
          once = false;
          return Effect.interrupt;
        },
      };
      const db = await open({ store, path: "" }, world.options);
      await world.get(db.put("a", "1"));
      once = true;
      const put = db.put("b", "1");
      put.catch(() => {});
      const error = await world.error(db.flush({ kind: "memtable" }));
      assert.ok(error instanceof Closed && error.reason === "failed", String(error));
      assert.equal(db.status.closeReason, "failed");
      if (folder === "wal/") assert.equal(await world.error(put), error);
      assert.equal(await world.error(db.put("c", "1")), error);
      await assert.rejects(db.close(), Closed);
      assert.equal((await world.contents()).get("a"), "1");
    });
  }
});
