import { Effect } from "effect";
import { GcMemory } from "../../src/state/gc_memory.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import type { StoredManifest } from "../../src/state/manifest_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { metered } from "../../src/store/metered_store.ts";
import { assert, describe, effectTest } from "../support/suite.ts";

/** A version that this process created at that moment by both clocks. */
function own(id: number, wall: number, monotonic: number): StoredManifest {
  const at = { wall, monotonic };
  return { id, seenNewestAt: at, createdAt: at, manifest: emptyManifest(false) };
}

const pathOf = (id: number) => `manifest/${id}`;

describe("GcMemory", () => {
  effectTest(
    "tells the wall clock until the store's time is known, then that plus what has passed",
    () =>
      Effect.gen(function* () {
        const inner = memoryStore();
        const store = metered(inner, { component: "gc" });
        const memory = new GcMemory();
        inner.plant(pathOf(3), new Uint8Array(1), { lastModifiedMillis: 7_000 });
        assert.equal(memory.nowAt({ wall: 50, monotonic: 1 }), 50);
        memory.observe({ ...own(9, 0, 0), createdAt: undefined } as unknown as StoredManifest);
        yield* memory.learnTime(store, pathOf);
        assert.deepEqual(store.report().requests, {});
        memory.observe(own(3, 1_000, 100));
        yield* memory.learnTime(store, pathOf);
        yield* memory.learnTime(store, pathOf);
        assert.deepEqual(store.report().requests, { gc: { head: 1 } }, "asked once");
        assert.equal(memory.nowAt({ wall: 1_060, monotonic: 160 }), 7_060);
        assert.equal(memory.nowAt({ wall: 99_000, monotonic: 160 }), 7_060, "the wall clock jumped ahead");
        assert.equal(memory.nowAt({ wall: 1_040, monotonic: 160 }), 7_040, "the monotonic clock runs fast");
        assert.equal(memory.nowAt({ wall: 500, monotonic: 160 }), 7_000, "the wall clock was set back");
        assert.equal(memory.nowAt({ wall: 9_999, monotonic: 60 }), 6_960, "a moment before the anchor");
      }),
  );

  effectTest(
    "goes by the newest version of its own, and by an older one when that is gone",
    () =>
      Effect.gen(function* () {
        const store = memoryStore();
        const memory = new GcMemory();
        store.plant(pathOf(3), new Uint8Array(1), { lastModifiedMillis: 7_000 });
        store.plant(pathOf(5), new Uint8Array(1), { lastModifiedMillis: 9_500 });
        memory.observe(own(5, 3_000, 2_100));
        memory.observe(own(3, 1_000, 100));
        yield* memory.learnTime(store, pathOf);
        assert.equal(memory.nowAt({ wall: 3_001, monotonic: 2_101 }), 9_501);
        memory.observe(own(6, 4_000, 3_100));
        yield* memory.learnTime(store, pathOf);
        assert.equal(memory.nowAt({ wall: 3_002, monotonic: 2_102 }), 9_502, "version 6 was collected");
      }),
  );

  effectTest("remembers ten thousand fences and no more", () =>
    Effect.sync(() => {
      const memory = new GcMemory();
      for (let id = 1; id <= 10_001; id++) memory.addFence(id);
      assert.deepEqual([memory.isFence(1), memory.isFence(10_000), memory.isFence(10_001)], [true, true, false]);
      memory.removeFence(1);
      assert.equal(memory.isFence(1), false);
    }));
});
