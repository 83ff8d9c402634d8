import { open } from "../../mod.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

/** A database whose WAL PUTs are timed, counted from after its fence. */
async function timedDb(options: OpenOptions) {
  const clock = virtualClock(1_000);
  const inner = memoryStore();
  const store = faultyStore(inner);
  const db = await open({ store, path: "" }, { clock, ...options });
  const fences = walPuts().length;
  function walPuts() {
    return store.controls.log.filter(({ op, path }) => op === "putIfAbsent" && path.startsWith("wal/"));
  }
  return { clock, store, inner, db, count: () => walPuts().length - fences };
}

describe("a ceiling on WAL objects per second", () => {
  it("K2 durable writes one after another share objects that lie a turn apart", async () => {
    const { clock, db, count } = await timedDb({ maxWalPutsPerSecond: 2 });
    let acknowledged = 0;
    const writer = (async () => {
      for (let i = 0; i < 20; i++) {
        await Promise.all(Array.from({ length: 5 }, (_, n) => db.put(`k${i}/${n}`, "1")));
        acknowledged++;
      }
    })();
    await clock.advance(1);
    assert.deepEqual([count(), acknowledged], [1, 1], "the first goes at once");
    await clock.advance(400);
    assert.deepEqual([count(), acknowledged], [1, 1]);
    await clock.advance(100);
    assert.deepEqual([count(), acknowledged], [2, 2], "the second half a second later");
    await clock.advance(3_000);
    assert.deepEqual([count(), acknowledged], [8, 8]);
    await clock.advance(20_000);
    await writer;
    assert.equal(count(), 20);
    await db.close();
  });

  it("K2 rows that nobody waits for cost no more than the ceiling, whatever the interval", async () => {
    const { clock, db, count } = await timedDb({ maxWalPutsPerSecond: 0.2, flushIntervalMillis: 100 });
    for (let i = 0; i < 600; i++) {
      await db.put(`k${i % 7}`, `${i}`, { durable: false });
      await clock.advance(100);
    }
    assert.ok(count() >= 12 && count() <= 13, `${count()} in a minute`);
    await clock.advance(5_000);
    assert.equal(db.status.durableSeq, 600);
    await db.close();
  });

  it("a write after a pause does not wait", async () => {
    const { clock, db, count } = await timedDb({ maxWalPutsPerSecond: 1 });
    await db.put("a", "1");
    await clock.advance(1_000);
    await db.put("b", "1");
    assert.equal(count(), 2);
    await db.close();
  });

  it("flush waits for its turn, close does not", async () => {
    const { clock, inner, db, count } = await timedDb({ maxWalPutsPerSecond: 0.01, flushIntervalMillis: null });
    await db.put("a", "1");
    await db.put("b", "1", { durable: false });
    let flushed = false;
    const flush = db.flush().then(() => flushed = true);
    await clock.advance(50_000);
    assert.deepEqual([count(), flushed], [1, false]);
    await db.put("c", "1", { durable: false });
    await db.close();
    await flush;
    assert.equal(count(), 2, "one object took both");
    const check = await open({ store: inner, path: "" }, { clock });
    assert.deepEqual([text(await check.get("b")), text(await check.get("c"))], ["1", "1"]);
    await check.close();
  });

  it("a buffer that fills up meanwhile is held back, and nothing is lost", async () => {
    const options = { maxWalPutsPerSecond: 1, l0SstSizeBytes: 4_000, maxUnflushedBytes: 16_000 };
    const { clock, inner, db } = await timedDb(options);
    const value = new Uint8Array(1_000);
    let written = 0;
    const writer = (async () => {
      for (let i = 0; i < 100; i++, written++) await db.put(`k${i}`, value, { durable: false });
    })();
    await clock.advance(10);
    assert.ok(written < 40, `${written} rows were taken at once`);
    await clock.advance(120_000);
    await writer;
    await db.close();
    const check = await open({ store: inner, path: "" }, { clock });
    assert.equal((await check.scan().toArray()).length, 100);
    await check.close();
  });

  it("is refused outside 0.001 to 1000", async () => {
    for (const maxWalPutsPerSecond of [0, -1, 1e-4, 1e9, NaN, Infinity, "2" as unknown as number]) {
      await assert.rejects(
        open("memory:", { maxWalPutsPerSecond }),
        (error) => error instanceof InvalidArgument && /maxWalPutsPerSecond/.test(error.message),
      );
    }
    const db = await open("memory:", { maxWalPutsPerSecond: null });
    await db.close();
  });
});
