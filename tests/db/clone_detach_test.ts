import { clone, open } from "../../mod.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";
import { newestAt } from "./clone_world.ts";

const decoder = new TextDecoder();

describe("a clone that has rewritten its parent's tables", () => {
  it("lets the parent go, whose collector then deletes what only the clone had kept", async () => {
    const clock = virtualClock(1_000_000_000);
    const store = memoryStore();
    const wait = async <A>(promise: Promise<A>): Promise<A> => {
      let done = false;
      promise.then(() => done = true, () => done = true);
      for (let i = 0; !done && i < 1000; i++) await clock.advance(i < 5 ? 0 : 100);
      return await promise;
    };
    const options = { clock, flushIntervalMillis: null, blockSizeBytes: 1024 };
    const parent = await wait(open({ store, path: "a" }, options));
    for (let i = 0; i < 5; i++) {
      await parent.put(`key ${i}`, `of the parent`, { durable: false });
      await wait(parent.flush({ kind: "memtable" }));
    }
    await wait(clone({ store, path: "a" }, { store, path: "b" }, { clock }));
    const own = await wait(open({ store, path: "b" }, options));
    assert.equal(newestAt(store, "b")!.externalDbs.length, 1);
    assert.equal(newestAt(store, "a")!.checkpoints.filter((one) => one.expireTimeSeconds === 0).length, 1);
    await wait(parent.compact());
    await clock.advance(3_600_000);
    const kept = store.objects().filter((path) => path.startsWith("a/compacted/")).length;
    assert.ok(kept > 1, "the parent keeps the tables that its clone reads");

    await own.put("key 0", "of the clone", { durable: false });
    await wait(own.compact());
    await clock.advance(3_600_000);
    assert.deepEqual(newestAt(store, "b")!.externalDbs, []);
    assert.deepEqual(newestAt(store, "a")!.checkpoints.filter((one) => one.expireTimeSeconds === 0), []);
    await wait(parent.collectGarbage());
    await clock.advance(3_600_000);
    assert.equal(store.objects().filter((path) => path.startsWith("a/compacted/")).length, 1);
    const rows = (await wait(own.scan().toArray())).map(({ value }) => decoder.decode(value));
    assert.deepEqual(rows, ["of the clone", ...Array(4).fill("of the parent")]);
    await wait(own.close());
    await wait(parent.close());
  });
});
