/**
 * Results belong to the caller who asked: no other call shows through them or through what becomes of them.
 *
 * @module
 */
import { Effect, Scheduler } from "effect";
import { Db, ObjectStore, open } from "../../mod.ts";
import { SeededScheduler } from "../../src/env/seeded_scheduler.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { text } from "../support/bytes.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("reads of the Effect face", () => {
  for (const seed of [1, 2, 3]) {
    it(`that take turns at any step never answer with each other's rows, seed ${seed}`, async () => {
      const program = Effect.gen(function* () {
        const db = yield* Db.open();
        for (let i = 0; i < 4; i++) yield* db.put(`k${i}`, `v${i}`, { durable: false });
        const reader = Effect.fn(function* (i: number) {
          for (let n = 0; n < 50; n++) {
            assert.equal(text(yield* db.get(`k${i}`)), `v${i}`);
            const entry = yield* db.getEntry(`k${i}`);
            assert.deepEqual([text(entry?.key), text(entry?.value), entry?.seq], [`k${i}`, `v${i}`, i + 1]);
          }
        });
        yield* Effect.all([0, 1, 2, 3].map(reader), { concurrency: "unbounded" });
      });
      await Effect.runPromise(
        Effect.scoped(program).pipe(
          Effect.provideService(ObjectStore, memoryStore()),
          Effect.provideService(Scheduler.Scheduler, new SeededScheduler(seed, { preemption: 0.2 })),
        ),
      );
    });
  }
});

describe("results whose buffer was transferred away", () => {
  it("do not spoil the next result, empty ones neither", async () => {
    const db = await open("memory:");
    await db.put("empty", "");
    await db.put("full", "value");
    for (const key of ["empty", "full", "empty", "full"]) {
      const result = (await db.get(key))!;
      assert.equal(text(result), key === "full" ? "value" : "");
      structuredClone(result.buffer, { transfer: [result.buffer as ArrayBuffer] });
    }
    await db.close();
  });
});
