import { open } from "../../mod.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("a loop of writes that nobody waits for", () => {
  it("lets the event loop turn, so that the log is written while the loop runs", async () => {
    const clock = virtualClock(0);
    const store = memoryStore();
    const db = await open({ store, path: "" }, { clock, l0SstSizeBytes: 200_000 });
    const value = new Uint8Array(1000);
    let turns = 0;
    const count = () => {
      turns++;
      timer = setImmediate(count);
    };
    let timer = setImmediate(count);
    for (let i = 0; i < 5000; i++) await db.put(`k${i}`, value, { durable: false });
    clearImmediate(timer);
    assert.ok(turns >= 4, `the event loop turned ${turns} times in 5 MB of writes`);
    assert.ok(store.objects().some((path) => path.startsWith("compacted/")), "no table was written meanwhile");
    await Promise.all([db.close(), clock.advance(60_000)]);
  });
});
