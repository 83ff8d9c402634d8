/** Storing a table: one that is put again knows its own object. */
import { Effect } from "effect";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { StoreError } from "../../src/errors.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { putTable } from "../../src/store/put_table.ts";
import { retrying } from "../../src/store/retrying_store.ts";
import { assert, describe, it } from "../support/suite.ts";

const BODY = { chunks: [Uint8Array.of(1, 2), Uint8Array.of(3)], sizeBytes: 3 };

/** The same store, whose first put takes effect and ends with an error that is not repeated. */
function losesOneAnswer(inner: MemoryStore, putIds: string[]): ObjectStoreShape {
  return {
    ...inner,
    putIfAbsent: (path, body, identity) => {
      putIds.push(identity?.putId ?? "none");
      const put = inner.putIfAbsent(path, body, identity);
      if (putIds.length > 1) return put;
      const facts = { op: "putIfAbsent", path, reason: "unavailable", retryable: false, outcome: "unknown" } as const;
      return Effect.andThen(put, Effect.fail(new StoreError(facts)));
    },
  };
}

describe("putTable", () => {
  it("run again after its outcome was unknown finds its own object, under one put-id", async () => {
    const inner = memoryStore();
    const putIds: string[] = [];
    const put = putTable(retrying(losesOneAnswer(inner, putIds)), "t", BODY);
    await Effect.runPromise(Effect.provideService(Effect.retry(put, { times: 1 }), Ids, seededIds(3)));
    assert.equal(putIds.length, 2);
    assert.equal(new Set(putIds).size, 1);
    assert.deepEqual(inner.peek("t"), Uint8Array.of(1, 2, 3));
  });

  it("run again meets the object of another: a conflict, although the first outcome was unknown", async () => {
    const inner = memoryStore();
    const putIds: string[] = [];
    const put = putTable(retrying(losesOneAnswer(inner, putIds)), "t", BODY);
    await assert.rejects(Effect.runPromise(put), /unavailable/);
    await Effect.runPromise(inner.delete("t"));
    inner.plant("t", Uint8Array.of(1, 2, 3), { putId: "another's" });
    await assert.rejects(Effect.runPromise(put), /conflict/);
  });
});
