/**
 * A store that lost conditional writes and is slow: what it accepted late was accepted all the same.
 *
 * @module
 */
import { Effect } from "effect";
import type { Db } from "../../src/db/api.ts";
import { RECHECK_MILLIS } from "../../src/db/conditional_check.ts";
import { Closed, StoreError } from "../../src/errors.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { contentsOf, World } from "../db/fault_world.ts";
import { assert, describe, it } from "../support/suite.ts";

/** How the store answers conditional creates now, after `millis`. */
interface Answers {
  condition: "refuses" | "replaces" | "denies";
  millis: number;
  creates: number;
}

/** A writer that has been open for an hour on a store whose endpoint nobody knows. */
async function anHourLater(): Promise<
  { readonly world: World; readonly db: Db; readonly answers: Answers; readonly inner: MemoryStore }
> {
  const inner = memoryStore();
  const answers: Answers = { condition: "refuses", millis: 0, creates: 0 };
  const store: MemoryStore = {
    ...inner,
    get: inner.get,
    provider: { endpoint: "a slow place", conditionalCreate: "unknown" },
    putIfAbsent: (path, body, identity) =>
      Effect.gen(function* () {
        answers.creates++;
        const { condition, millis } = answers;
        if (millis > 0) yield* Effect.sleep(millis);
        if (condition === "denies") {
          const facts = { op: "putIfAbsent", path, reason: "permission", retryable: false, outcome: "none" } as const;
          return yield* Effect.fail(new StoreError(facts));
        }
        if (condition === "replaces") yield* inner.delete(path);
        return yield* inner.putIfAbsent(path, body, identity);
      }),
  };
  const world = new World({ compactor: false, garbageCollector: false, requestTimeoutMillis: 200_000 }, store);
  const db = await world.open();
  await world.get(Promise.all([db.put("before", "1"), db.flush({ kind: "memtable" })]));
  await world.clock.advance(RECHECK_MILLIS);
  answers.creates = 0;
  return { world, db, answers, inner };
}

function assertLost(error: unknown): void {
  assert.ok(error instanceof Closed && error.reason === "failed", String(error));
  assert.match(error.message, /took a conditional write/);
}

describe("F4 a store that lost conditional writes and takes its time", () => {
  for (const millis of [100, 16_000, 25_000]) {
    it(`nothing is acknowledged, and the writer stops; a put takes ${millis} ms`, async () => {
      const { world, db, answers } = await anHourLater();
      Object.assign(answers, { condition: "replaces", millis });
      assertLost(await world.error(db.put("after", "2"), 300_000));
      assert.ok(answers.creates <= 4, `${answers.creates} puts`);
      assert.equal(db.status.closeReason, "failed");
    });
  }

  it("nothing is acknowledged when it took one late and cannot be asked again", async () => {
    const { world, db, answers } = await anHourLater();
    Object.assign(answers, { condition: "replaces", millis: 16_000 });
    // A commit of the manifest, which is not repeated for ever as an object of the log is.
    const commit = db.checkpoint();
    await world.clock.advance(20_000);
    // The second put is under way and replaces; the third is denied.
    answers.condition = "denies";
    assertLost(await world.error(commit, 300_000));
    assert.equal(answers.creates, 3);
  });

  it("a slow store that refuses is no reason to stop, nor is one that took what had been collected meanwhile", async () => {
    const { world, db, answers, inner } = await anHourLater();
    answers.millis = 16_000;
    await world.get(db.put("after", "2"), 300_000);
    assert.equal(answers.creates, 2);
    await world.clock.advance(RECHECK_MILLIS);
    Object.assign(answers, { condition: "replaces", creates: 0 });
    const put = db.put("later", "3");
    await world.clock.advance(20_000);
    answers.condition = "refuses";
    await world.get(put, 300_000);
    assert.equal(answers.creates, 3);
    answers.millis = 0;
    await world.get(db.close());
    assert.equal((await contentsOf(inner, world.options)).get("later"), "3");
  });
});
