/**
 * A folder of a store behaves as a store of its own.
 *
 * @module
 */
import { Effect } from "effect";
import { memoryStore } from "../../src/store/memory_store.ts";
import { storeBelow } from "../../src/store/store_below.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { assert, describe, it } from "../support/suite.ts";

storeConformance("storeBelow", () => {
  const store = memoryStore();
  store.plant("other/object", new Uint8Array(3));
  store.plant("logs2/object", new Uint8Array(3));
  return { store: storeBelow(store, "logs"), dispose: () => {} };
}, { describe, it });

describe("storeBelow", () => {
  it("storeBelow keeps its objects below its folder and names them as its own", async () => {
    const store = memoryStore();
    const below = storeBelow(store, "logs/db");
    await Effect.runPromise(below.put("wal/1.sst", new Uint8Array(1)));
    assert.deepEqual(store.objects(), ["logs/db/wal/1.sst"]);
    const error = await Effect.runPromise(Effect.flip(below.get("wal/2.sst")));
    assert.equal(error.path, "wal/2.sst");
    assert.equal(below.deleteMany, undefined);
  });
});
