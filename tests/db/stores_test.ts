/** The store stack of a database: who makes way while a store throttles, and what is told of which store. */
import { Effect } from "effect";
import { stackStores, type StoreTrouble } from "../../src/db/stores.ts";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape, StoreProvider } from "../../src/store/object_store.ts";
import { assert, describe, it } from "../support/suite.ts";

describe("stackStores", () => {
  it("compactor and collector wait for their turn from the first attempt on while a store throttles, calls do not", async () => {
    const clock = virtualClock();
    const inner = memoryStore();
    inner.plant("a", new Uint8Array(1));
    const store = faultyStore(inner);
    const { main, mainFor, meter } = stackStores(store, undefined, () => {});
    let answered = 0;
    const ask = (stack: typeof main): void =>
      void Effect.runPromise(Effect.provideContext(stack.get("a"), virtualClockContext(clock))).then(() => answered++);
    store.controls.addRules({ rate: 1, times: 3, fault: { kind: "before", reason: "throttled" } });
    for (let i = 0; i < 3; i++) ask(main);
    await clock.advance(4_000);
    assert.equal(answered, 3);
    const before = meter.requestsOf("db", "get");
    store.controls.setLatency(300);
    for (let i = 0; i < 10; i++) {
      for (const stack of [mainFor("compactor", true), mainFor("gc", false), main]) ask(stack);
    }
    await clock.advance(250);
    assert.equal(meter.requestsOf("db", "get") - before, 10);
    const background = meter.requestsOf("compactor", "get") + meter.requestsOf("gc", "get");
    assert.ok(background >= 1 && background <= 4, `${background} requests of compactor and collector`);
    await clock.advance(60_000);
    assert.equal(answered, 33);
  });

  /** Requests per second that reach a store that is down, while `users` are asked by forty callers each. */
  async function askedWhileDown(users: number, view: (store: ObjectStoreShape, user: number) => ObjectStoreShape) {
    const clock = virtualClock();
    const store = faultyStore(memoryStore());
    store.controls.setOutage(true);
    const context = virtualClockContext(clock);
    for (let user = 0; user < users; user++) {
      const own = view(store, user);
      // A log in the same store as everything else is no store of its own.
      const { main, wal } = stackStores(own, user % 2 === 0 ? own : undefined, () => {});
      for (let i = 0; i < 40; i++) {
        const get = Effect.ignore((i % 2 === 0 ? main : wal).get("a"));
        Effect.runFork(Effect.provideContext(Effect.forever(get), context), { scheduler: clock.scheduler });
      }
    }
    await clock.advance(60_000);
    const before = store.controls.requestCount;
    await clock.advance(20_000);
    return (store.controls.requestCount - before) / 20;
  }

  it("B1 all who use one store in one process share one budget: the same object, or the same endpoint", async () => {
    const far = (endpoint: string): StoreProvider => ({ endpoint, conditionalCreate: "known" });
    for (
      const [what, stores, view] of [
        ["one object", 1, (store: ObjectStoreShape) => store],
        ["one endpoint", 1, (store: ObjectStoreShape) => ({ ...store, provider: far("one") })],
        ["objects that say nothing", 10, (store: ObjectStoreShape) => ({ ...store })],
        ["an endpoint each", 10, (store: ObjectStoreShape, n: number) => ({ ...store, provider: far(`${n}`) })],
      ] as const
    ) {
      const perSecond = await askedWhileDown(10, view);
      assert.ok(Math.abs(perSecond - 10 * stores) <= stores, `${what}: ${perSecond} requests a second`);
    }
  });

  it("the connections that a store names are as many as its requests under way", async () => {
    const clock = virtualClock();
    const inner = memoryStore();
    inner.plant("a", new Uint8Array(1));
    let underWay = 0;
    let most = 0;
    const get = (path: string) =>
      Effect.suspend(() => {
        most = Math.max(most, ++underWay);
        return Effect.ensuring(Effect.andThen(Effect.sleep(100), inner.get(path)), Effect.sync(() => underWay--));
      });
    const provider = { endpoint: "small", conditionalCreate: "known", connections: 8 } as const;
    const stacks = [1, 2].map(() => stackStores({ ...inner, get, provider }, undefined, () => {}));
    const context = virtualClockContext(clock);
    const asked = stacks.flatMap((stack) =>
      [stack.main, stack.mainFor("gc", false)].flatMap((store) =>
        Array.from({ length: 30 }, () => Effect.runPromise(Effect.provideContext(store.get("a"), context)))
      )
    );
    await clock.advance(5_000);
    await Promise.all(asked);
    assert.equal(most, 7, "all but the one that is kept for flush paths");
  });

  it("tells one text for each store, whoever of its users is in trouble, until none is", () => {
    const told: StoreTrouble[] = [];
    const stores = stackStores(memoryStore(), memoryStore(), (trouble) => told.push(trouble));
    const error = new StoreError({ op: "put", path: "p", reason: "throttled", retryable: true, outcome: "none" });
    const report = { op: "put", path: "p", sinceMillis: 5_000, failingMillis: 30_000, error } as const;
    const threads = [1, 2].map((n) => stores.heardFrom(`compactor thread ${n}`));
    for (const thread of threads) thread(true, report);
    const text =
      "The object store has not taken a write since 1970-01-01T00:00:05Z: throttled, it asks for fewer requests";
    assert.deepEqual(told.at(-1), { degraded: [text], slow: [] });
    threads[0]!(false);
    assert.deepEqual(told.at(-1), { degraded: [text], slow: [] });
    threads[1]!(false);
    assert.deepEqual(told.at(-1), { degraded: [], slow: [] });
    threads[0]!(true, { ...report, sinceMillis: 1e300 });
    assert.match(told.at(-1)!.degraded[0]!, /since 1e\+300 ms: throttled/);
  });
});
