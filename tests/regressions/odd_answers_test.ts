/**
 * One odd answer on the way to a store (a gateway's page, a bucket that is being moved, an untrusted certificate) closes
 * no writer: it goes on when the answers are as usual again.
 *
 * @module
 */
import type { StoreErrorReason } from "../../src/errors.ts";
import { Unavailable } from "../../src/errors.ts";
import { World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

const ODD: readonly StoreErrorReason[] = ["unavailable", "permission", "not-found", "short-read"];

describe("an answer that repeating does not mend by itself", () => {
  for (const folder of ["wal/", "compacted/", "manifest/"]) {
    it(`to a put of ${folder} is repeated by a writer's flush, and nothing is lost`, async () => {
      const world = new World();
      const db = await world.open();
      for (const reason of ODD) {
        await world.get(db.put(`before ${reason}`, "1"));
        const fault = { kind: "before", reason, retryable: false } as const;
        world.store.controls.addRules({ op: "putIfAbsent", prefix: folder, nth: 1, times: 3, fault });
        const put = db.put(`while ${reason}`, "2");
        await world.get(db.flush({ kind: "memtable" }), 20_000);
        await world.get(put);
        assert.equal(db.status.closeReason, undefined, reason);
      }
      await world.get(db.close());
      assert.equal((await world.contents()).size, 2 * ODD.length);
    });
  }

  it("to a look at the manifest or the log is repeated by the parts of an open writer", async () => {
    const world = new World();
    const db = await world.open();
    await world.get(db.put("a", "1"));
    for (const op of ["list", "get", "head"] as const) {
      const fault = { kind: "before", reason: "unavailable", retryable: false } as const;
      world.store.controls.addRules({ op, nth: 1, times: 2, fault });
    }
    await world.clock.advance(120_000);
    await world.get(db.put("b", "1"));
    await world.get(db.flush({ kind: "memtable" }), 20_000);
    await world.get(db.close());
    assert.equal((await world.contents()).size, 2);
  });

  it("that stays is told in the status, and closing ends in time", async () => {
    const world = new World({ requestTimeoutMillis: 10_000 });
    const db = await world.open();
    await world.get(db.put("a", "1"));
    const fault = { kind: "before", reason: "not-found", retryable: false } as const;
    world.store.controls.addRules({ op: "putIfAbsent", rate: 1, fault });
    const put = db.put("b", "2");
    put.catch(() => {});
    await world.clock.advance(40_000);
    assert.equal(db.status.degraded, true);
    assert.match(db.status.warnings.at(-1)!, /^The object store has not taken a write since .*: not-found/);
    const end = await world.outcome(db.close(), 200_000);
    assert.ok(end.ended !== "never", "close hangs");
    assert.equal((await world.outcome(put, 1)).ended, "error");
    assert.equal((await world.contents()).get("a"), "1");
  });

  it("is an answer to whoever has a deadline: opening says at once what is wrong", async () => {
    const world = new World();
    const fault = { kind: "before", reason: "unavailable", retryable: false } as const;
    world.store.controls.addRules({ op: "putIfAbsent", rate: 1, fault });
    const error = await world.error(world.open(), 1_000);
    assert.ok(error instanceof Unavailable, String(error));
  });
});

describe("a table whose put took effect, although the answer was lost", () => {
  for (const [what, putIds] of [["with put-ids", true], ["without", false]] as const) {
    it(`is its writer's own when the next answer is an odd one, in a store ${what}`, async () => {
      const world = new World({}, undefined, putIds);
      const db = await world.open();
      await world.get(db.put("a", "1"));
      const { controls } = world.store;
      controls.addRules({ op: "putIfAbsent", prefix: "compacted/", nth: 1, fault: { kind: "after" } });
      const odd = { kind: "before", reason: "unavailable", retryable: false } as const;
      controls.addRules({ op: "putIfAbsent", prefix: "compacted/", nth: 2, fault: odd });
      await world.get(db.flush({ kind: "memtable" }), 20_000);
      await world.get(db.put("b", "1"));
      await world.get(db.close());
      assert.equal(world.paths("compacted").length, 1);
    });
  }
});
