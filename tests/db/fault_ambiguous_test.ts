import { Effect } from "effect";
import { open } from "../../mod.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath } from "../../src/format/paths.ts";
import type { CheckpointRecord } from "../../src/format/types.ts";
import type { Fault, FaultRule } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { assertFenced, START_MILLIS, World } from "./fault_world.ts";

/** Every conditional create of the history below. */
const CREATES: Record<string, Omit<FaultRule, "fault">> = {
  "the first manifest": { prefix: "manifest/", nth: 1 },
  "the claim of the epoch": { prefix: "manifest/", nth: 2 },
  "the fence": { prefix: "wal/", nth: 1 },
  "the first object of the log": { prefix: "wal/", nth: 2 },
  "the table": { prefix: "compacted/", nth: 1 },
  "the manifest that names the table": { prefix: "manifest/", nth: 3 },
  "an object of the log after the table": { prefix: "wal/", nth: 3 },
  "the manifest of the close": { prefix: "manifest/", nth: 4 },
};

const LOSSES: Record<string, Omit<FaultRule, "op" | "prefix" | "nth">> = {
  "done, the answer lost": { fault: { kind: "after" } },
  "done, the answer lost, and that of two repetitions": { fault: { kind: "after" }, times: 3 },
  "not done, and nobody can tell": { fault: { kind: "before", reason: "timeout", outcome: "unknown" } },
  "arrives after its repetition": { fault: { kind: "late" } },
};

const history = (world: World) => async () => {
  const db = await world.open();
  await world.get(db.put("a", "1"));
  await world.get(db.flush({ kind: "memtable" }));
  await world.get(db.put("b", "2"));
  const { closeReason, l0Count } = db.status;
  assert.deepEqual({ closeReason, l0Count }, { closeReason: undefined, l0Count: 1 });
  await world.get(db.close());
};

describe("a conditional create whose answer is lost", () => {
  for (const putIds of [true, false]) {
    for (const [what, where] of Object.entries(CREATES)) {
      for (const [how, rule] of Object.entries(LOSSES)) {
        it(`${what}, ${how}: the owner goes on, ${putIds ? "with" : "without"} put-ids`, async () => {
          const world = new World({}, memoryStore(), putIds);
          world.store.controls.addRules({ op: "putIfAbsent", ...where, ...rule });
          await history(world)();
          assert.ok(Object.keys(world.store.controls.struck()).length > 0, "the fault did not strike");
          await Effect.runPromise(world.store.controls.deliverLate);
          assert.deepEqual(world.walSeqs, [1, 2], "a row lies in the log twice, or not at all");
          assert.equal(world.paths("compacted").length, 1);
          assert.equal(world.manifest.l0.length, 1);
          assert.deepEqual([...await world.contents()], [["a", "1"], ["b", "2"]]);
        });
      }
    }
  }
});

/** A create that was not done although nobody can tell; its repetition comes 100 ms later. */
const NOT_DONE: Fault = { kind: "before", reason: "timeout", outcome: "unknown" };

describe("an object of another process where the answer of a create was lost", () => {
  for (const putIds of [true, false]) {
    const ids = putIds ? "with put-ids" : "without put-ids";

    it(`in the log: fenced, nothing is acknowledged, ${ids}`, async () => {
      const world = new World({}, memoryStore(), putIds);
      const db = await world.open();
      await world.get(db.put("a", "1"));
      world.store.controls.addRules({ op: "putIfAbsent", prefix: "wal/", fault: NOT_DONE });
      const late = db.put("late", "1");
      late.catch(() => {});
      await world.clock.settle();
      const other = await open({ store: world.inner, path: "" }, { clock: virtualClock(START_MILLIS) });
      await other.put("theirs", "1");
      assertFenced(await world.error(late));
      assertFenced(await world.error(db.get("a")));
      await other.close();
      assert.deepEqual([...(await world.contents()).keys()], ["a", "theirs"]);
    });

    it(`the epoch of the next writer: fenced before a table is named, ${ids}`, async () => {
      const world = new World({}, memoryStore(), putIds);
      const db = await world.open();
      await world.get(db.put("a", "1"));
      world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault: NOT_DONE });
      const flush = db.flush({ kind: "memtable" });
      flush.catch(() => {});
      await world.clock.settle();
      const other = await open({ store: world.inner, path: "" }, { clock: virtualClock(START_MILLIS) });
      assertFenced(await world.error(flush));
      assert.equal(world.manifest.l0.length, 0);
      await other.close();
      assert.deepEqual([...(await world.contents()).keys()], ["a"]);
    });

    it(`a reader's checkpoint: merged, the table is named once, ${ids}`, async () => {
      for (const fault of [NOT_DONE, { kind: "after" } satisfies Fault]) {
        const world = new World({}, memoryStore(), putIds);
        const db = await world.open();
        await world.get(db.put("a", "1"));
        world.store.controls.addRules({ op: "putIfAbsent", prefix: "manifest/", fault });
        const flush = db.flush({ kind: "memtable" });
        await world.clock.settle();
        const next = world.paths("manifest").length + 1;
        const checkpoint: CheckpointRecord = {
          id: "01234567-89ab-cdef-0123-456789abcdef",
          manifestId: next,
          expireTimeSeconds: 0,
          createTimeSeconds: 1000,
          name: "a reader's",
          writerEpoch: undefined,
        };
        const { manifest } = world;
        const body = encodeManifest({ ...manifest, checkpoints: [...manifest.checkpoints, checkpoint] });
        world.inner.plant(manifestPath("", next), body);
        await world.get(flush);
        await world.get(db.put("b", "1"));
        await world.get(db.flush({ kind: "memtable" }));
        assert.equal(world.manifest.l0.length, 2);
        assert.deepEqual(world.manifest.checkpoints.map((kept) => kept.name), ["a reader's"]);
        await world.get(db.close());
        assert.deepEqual([...(await world.contents()).keys()], ["a", "b"]);
      }
    });
  }
});

describe("the read that proves a put one's own, where the store keeps no put-ids", () => {
  for (const prefix of ["wal/", "compacted/"]) {
    for (const kind of ["short", "corrupt"] as const) {
      it(`comes back ${kind} below ${prefix}: it is read again, the owner goes on`, async () => {
        const world = new World({}, memoryStore(), false);
        const db = await world.open();
        world.store.controls.addRules({ op: "putIfAbsent", prefix, fault: { kind: "after" } });
        world.store.controls.addRules({ op: "get", prefix, fault: { kind } });
        const put = db.put("a", "1");
        const flush = db.flush({ kind: "memtable" });
        flush.catch(() => {});
        await world.get(put);
        await world.get(flush);
        assert.equal(db.status.closeReason, undefined);
        assert.equal(world.store.controls.struck()[kind], 1, "the read was not made");
        await world.get(db.close());
      });
    }
  }
});
