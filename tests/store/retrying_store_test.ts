/** Retrying store: back-off in virtual time, deadlines, put-ids, unknown outcomes, degraded state. */
import { Cause, Effect, Exit, type Fiber, Layer, Random } from "effect";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { type VirtualClock, virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError, type StoreErrorReason } from "../../src/errors.ts";
import {
  type FaultControls,
  type FaultRule,
  faultyLayer,
  type FaultyStore,
  faultyStore,
} from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore, memoryStoreLayer } from "../../src/store/memory_store.ts";
import { ObjectStore, type ObjectStoreShape } from "../../src/store/object_store.ts";
import { RetryBudget } from "../../src/store/retry_budget.ts";
import { RetryDeadline, retrying, retryingLayer, type RetryOptions } from "../../src/store/retrying_store.ts";
import { type DegradedReport, type HealthOptions, StoreHealth } from "../../src/store/store_health.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

storeConformance("retrying", () => ({ store: retrying(memoryStore()), dispose: () => {} }), { describe, it });

/** A retrying store over a faulty one, in virtual time. */
class Bench {
  readonly clock: VirtualClock = virtualClock();
  readonly inner: MemoryStore = memoryStore();
  readonly faulty: FaultyStore;
  readonly store: ObjectStoreShape;

  constructor(
    rules: ReadonlyArray<FaultRule>,
    options: RetryOptions = {},
    view: (inner: MemoryStore) => ObjectStoreShape = (s) => s,
  ) {
    this.faulty = faultyStore(view(this.inner), { rules });
    this.store = retrying(this.faulty, options);
  }

  fork<A>(effect: Effect.Effect<A, StoreError>, deadlineMillis?: number): Fiber.Fiber<A, StoreError> {
    const limited = deadlineMillis === undefined
      ? effect
      : Effect.provideService(effect, RetryDeadline, deadlineMillis);
    const seeded = limited.pipe(Effect.provideService(Ids, seededIds(1)), Random.withSeed("seed"));
    return Effect.runFork(Effect.provideContext(seeded, virtualClockContext(this.clock)), {
      scheduler: this.clock.scheduler,
    });
  }

  /** The verdict on an effect after `millis` of virtual time. */
  async after<A>(millis: number, effect: Effect.Effect<A, StoreError>, deadlineMillis?: number): Promise<string> {
    const fiber = this.fork(effect, deadlineMillis);
    await this.clock.advance(millis);
    return verdict(fiber);
  }

  get attempts(): number {
    return this.faulty.controls.requestCount;
  }
}

function verdict(fiber: Fiber.Fiber<unknown, StoreError>): string {
  const exit = fiber.pollUnsafe();
  if (exit === undefined) return "pending";
  if (Exit.isSuccess(exit)) return typeof exit.value === "string" ? exit.value : "ok";
  const error = Cause.squash(exit.cause);
  return error instanceof StoreError ? `${error.reason}/${error.outcome}` : String(error);
}

/** The same store without put-ids. */
const withoutPutIds = (inner: MemoryStore): ObjectStoreShape => ({
  ...inner,
  putIfAbsent: (path, body) => inner.putIfAbsent(path, body),
});

const healthy = (options: HealthOptions): RetryOptions => ({ health: new StoreHealth(options) });

const fails = (op: FaultRule["op"] & string, times: number, more: Partial<FaultRule> = {}): FaultRule => ({
  op,
  times,
  fault: { kind: "before" },
  ...more,
});

describe("retrying", () => {
  it("retrying waits 100, 200, 400, 800 and then 1,000 ms, less a jitter of at most half", async () => {
    const bench = new Bench([fails("get", 8)]);
    bench.inner.plant("a", bytes("x"));
    const times: Array<number> = [];
    const fiber = bench.fork(bench.store.get("a"), Infinity);
    for (let at = 0; at < 8_000; at += 10) {
      while (times.length < bench.attempts) times.push(bench.clock.now());
      await bench.clock.advance(10);
    }
    assert.equal(verdict(fiber), "ok");
    const waits = times.slice(1).map((time, i) => time - times[i]!);
    const limits = [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000];
    assert.equal(waits.length, limits.length);
    waits.forEach((wait, i) => {
      assert.ok(wait >= limits[i]! / 2 - 10 && wait <= limits[i]! + 10, `wait ${i} is ${wait}`);
    });
    assert.ok(new Set(waits.slice(4)).size > 1, "no jitter");
  });

  it("retrying passes answers on at once", async () => {
    for (const reason of ["not-found", "permission", "invalid-path", "unsupported"] as const) {
      const bench = new Bench([fails("get", 1, { fault: { kind: "before", reason } })]);
      assert.equal(await bench.after(0, bench.store.get("a")), `${reason}/none`);
      assert.equal(bench.attempts, 1);
    }
  });

  it("without a deadline a write is repeated whatever it met, but for what nobody can mend", async () => {
    const reasons: StoreErrorReason[] = ["unavailable", "permission", "not-found", "short-read", "disk-full"];
    for (const reason of reasons) {
      const fault = { kind: "before", reason, retryable: false } as const;
      const bench = new Bench([fails("putIfAbsent", 3, { fault }), fails("put", 3, { fault })]);
      assert.equal(await bench.after(3_000, bench.store.putIfAbsent("a", bytes("x")), 10_000), `${reason}/none`);
      assert.equal(bench.attempts, 1, "a call with a deadline hears of it at once");
      assert.equal(await bench.after(3_000, bench.store.putIfAbsent("a", bytes("x")), Infinity), "created");
      assert.equal(await bench.after(3_000, bench.store.put("a", bytes("x")), Infinity), "ok");
    }
    for (const reason of ["conflict", "invalid-path", "unsupported"] as const) {
      const bench = new Bench([fails("put", 1, { fault: { kind: "before", reason, retryable: false } })]);
      assert.equal(await bench.after(0, bench.store.put("a", bytes("x")), Infinity), `${reason}/none`);
    }
    const reads = new Bench([
      fails("list", 2, { fault: { kind: "before", reason: "unavailable", retryable: false } }),
      fails("getRange", 1, { fault: { kind: "before", reason: "short-read", retryable: false } }),
    ]);
    assert.equal(await reads.after(0, reads.store.get("missing"), Infinity), "not-found/none");
    assert.equal(
      await reads.after(0, reads.store.getRange("a", { offset: 0, length: 1 }), Infinity),
      "short-read/none",
    );
    assert.equal(await reads.after(3_000, reads.store.list(""), Infinity), "ok");
  });

  it("retrying gives up at the deadline of the fiber, with the last error", async () => {
    const bench = new Bench([fails("get", Infinity, { fault: { kind: "before", reason: "timeout" } })]);
    assert.equal(await bench.after(29_000, bench.store.get("a")), "pending");
    const fiber = bench.fork(bench.store.get("a"));
    await bench.clock.advance(30_000);
    assert.equal(verdict(fiber), "timeout/none");
    assert.equal(await bench.after(500, bench.store.get("a"), 500), "timeout/none");
    const before = bench.attempts;
    assert.equal(await bench.after(0, bench.store.get("a"), 0), "timeout/none");
    assert.equal(bench.attempts, before + 1);
    assert.equal(await bench.after(3_600_000, bench.store.get("a"), Infinity), "pending");
    assert.equal(bench.clock.timers, 1);
  });

  it("retrying ends a repetition that never answers, at the deadline", async () => {
    const rules: Array<FaultRule> = [fails("get", 1), { op: "get", nth: 2, fault: { kind: "hang", when: "before" } }];
    const bench = new Bench(rules);
    assert.equal(await bench.after(30_000, bench.store.get("a")), "timeout/none");
  });

  it("attemptTimeoutMillis ends every attempt that never answers, and a write cut off is unknown", async () => {
    const bench = new Bench([
      { op: "get", fault: { kind: "hang", when: "before" } },
      { op: "putIfAbsent", fault: { kind: "hang", when: "after" } },
    ], { attemptTimeoutMillis: 5_000 });
    bench.inner.plant("a", bytes("x"));
    assert.equal(await bench.after(5_100, bench.store.get("a")), "ok");
    assert.equal(await bench.after(5_100, bench.store.putIfAbsent("b", bytes("x"))), "created");
  });

  it("retrying can be interrupted while it waits", async () => {
    const bench = new Bench([fails("put", Infinity)]);
    const fiber = bench.fork(bench.store.put("a", bytes("x")), Infinity);
    await bench.clock.advance(5_000);
    fiber.interruptUnsafe();
    await bench.clock.settle();
    assert.notEqual(fiber.pollUnsafe(), undefined);
    assert.equal(bench.clock.timers, 0);
  });

  it("1 a put that timed out but was applied: the repetition finds its own object and has created it", async () => {
    const bench = new Bench([{ op: "putIfAbsent", fault: { kind: "after" } }]);
    assert.equal(await bench.after(1_000, bench.store.putIfAbsent("wal/1", bytes("x"))), "created");
    assert.deepEqual(bench.faulty.controls.log.map((entry) => `${entry.op} ${entry.outcome}`), [
      "putIfAbsent timeout",
      "putIfAbsent exists",
      "head ok",
    ]);
  });

  it("2 the same, but the object is another writer's, byte for byte the same: exists", async () => {
    const bench = new Bench([{ op: "putIfAbsent", fault: { kind: "before", reason: "timeout", outcome: "unknown" } }]);
    const fiber = bench.fork(bench.store.putIfAbsent("wal/1", bytes("x"), { uniqueBody: true }));
    bench.inner.plant("wal/1", bytes("x"), { putId: "another writer's" });
    await bench.clock.advance(1_000);
    assert.equal(verdict(fiber), "exists");
  });

  it("the exists of a first attempt is an answer, even when the object looks like our own", async () => {
    const bench = new Bench([fails("putIfAbsent", 1)]);
    bench.inner.plant("a", bytes("x"), { putId: "mine" });
    const mine = { putId: "mine", uniqueBody: true };
    // The first try failed without effect: what the second meets was there before.
    assert.equal(await bench.after(1_000, bench.store.putIfAbsent("a", bytes("x"), mine)), "exists");
    assert.equal(await bench.after(0, bench.store.putIfAbsent("a", bytes("x"), mine)), "exists");
  });

  it("of a service far away, the exists that a proxy made by repeating a unique put is seen through", async () => {
    const provider = { endpoint: "s3://bucket at far away", conditionalCreate: "known" } as const;
    for (const keepsPutIds of [true, false]) {
      const doubling = (inner: MemoryStore): ObjectStoreShape => ({
        ...(keepsPutIds ? inner : withoutPutIds(inner)),
        provider,
        putIfAbsent: (path, body, identity) =>
          Effect.andThen(inner.putIfAbsent(path, body, identity), inner.putIfAbsent(path, body, identity)),
      });
      const bench = new Bench([], {}, doubling);
      assert.equal(
        await bench.after(0, bench.store.putIfAbsent("wal/1", bytes("x"), { putId: "one", uniqueBody: true })),
        "created",
      );
      assert.equal(
        await bench.after(0, bench.store.putIfAbsent("wal/1", bytes("y"), { putId: "two", uniqueBody: true })),
        "exists",
      );
      assert.equal(await bench.after(0, bench.store.putIfAbsent("manifest/1", bytes("x"))), "exists");
    }
  });

  it("a put whose turn came just before its deadline may take effect: the error says so", async () => {
    const bench = new Bench([
      { op: "put", nth: 1, fault: { kind: "before", reason: "unavailable" } },
      { op: "put", nth: 2, fault: { kind: "delay", millis: 4_900 } },
      { op: "putIfAbsent", nth: 1, fault: { kind: "before", reason: "unavailable" } },
      { op: "putIfAbsent", nth: 2, fault: { kind: "delay", millis: 60_000 } },
    ], { budget: new RetryBudget(1) });
    const busy = bench.faulty.controls;
    const first = bench.fork(bench.store.put("busy", bytes("x")), 60_000);
    await bench.clock.advance(10);
    await bench.clock.advance(95);
    const fiber = bench.fork(bench.store.putIfAbsent("a", bytes("x")), 4_930);
    await bench.clock.advance(5_200);
    const exit = fiber.pollUnsafe();
    assert.ok(exit !== undefined && Exit.isFailure(exit));
    const error = Cause.squash(exit.cause);
    assert.ok(error instanceof StoreError && error.outcome === "unknown", String(error));
    assert.equal(busy.log.filter(({ op }) => op === "putIfAbsent").length, 2, "its turn came");
    await bench.clock.advance(60_000);
    assert.ok(first.pollUnsafe() !== undefined);
  });

  it("without put-ids equal bytes are our own only where the body is unique", async () => {
    for (
      const [identity, planted, expected] of [
        [{ uniqueBody: true }, undefined, "created"],
        [{ uniqueBody: true }, "other", "exists"],
        [{ uniqueBody: true }, "y", "exists"],
        [{ uniqueBody: false }, undefined, "exists"],
        [undefined, undefined, "exists"],
      ] as const
    ) {
      const bench = new Bench([{ op: "putIfAbsent", fault: { kind: "after" } }], {}, withoutPutIds);
      const fiber = bench.fork(bench.store.putIfAbsent("a", bytes("x"), identity));
      await bench.clock.settle();
      if (planted !== undefined) bench.inner.plant("a", bytes(planted));
      await bench.clock.advance(1_000);
      assert.equal(verdict(fiber), expected, JSON.stringify([identity, planted]));
    }
  });

  it("two openers that write the same manifest: whoever cannot prove it is his has lost, with and without put-ids", async () => {
    for (const view of [withoutPutIds, (inner: MemoryStore): ObjectStoreShape => inner]) {
      const bench = new Bench(
        [
          { op: "putIfAbsent", nth: 1, fault: { kind: "before", reason: "timeout", outcome: "unknown" } },
          { op: "putIfAbsent", nth: 2, fault: { kind: "after" } },
        ],
        {},
        view,
      );
      const body = bytes("epoch 7");
      const one = bench.fork(bench.store.putIfAbsent("manifest/2", body, { putId: "one" }));
      const two = bench.fork(bench.store.putIfAbsent("manifest/2", body, { putId: "two" }));
      await bench.clock.advance(1_000);
      assert.deepEqual([verdict(one), verdict(two)], ["exists", view === withoutPutIds ? "exists" : "created"]);
    }
  });

  it("each putIfAbsent has a put-id of its own, the same for all its attempts", async () => {
    const seen: Array<string | undefined> = [];
    const spied = (inner: MemoryStore): ObjectStoreShape => ({
      ...inner,
      putIfAbsent: (path, body, identity) => {
        seen.push(identity?.putId);
        return inner.putIfAbsent(path, body, identity);
      },
    });
    const bench = new Bench([], {}, spied);
    const ids = seededIds(9);
    for (const path of ["a", "b"]) {
      await Effect.runPromise(Effect.provideService(bench.store.putIfAbsent(path, bytes("x")), Ids, ids));
    }
    bench.faulty.controls.addRules({ op: "putIfAbsent", times: 2, fault: { kind: "after" } });
    assert.equal(await bench.after(1_000, bench.store.putIfAbsent("c", bytes("x"))), "created");
    assert.match(seen[0]!, /^[0-9a-f]{32}$/);
    assert.equal(new Set(seen.slice(0, 3)).size, 3);
    assert.equal(new Set(seen.slice(2)).size, 1);
    assert.equal(seen.length, 5);
  });

  it("an object that is gone when we look whose it was is not ours", async () => {
    const bench = new Bench([
      { op: "putIfAbsent", fault: { kind: "after" } },
      { op: "head", fault: { kind: "before", reason: "not-found" } },
    ]);
    assert.equal(await bench.after(1_000, bench.store.putIfAbsent("a", bytes("x"))), "exists");
  });

  it("an error says unknown when any attempt was unknown, or the proof could not be had", async () => {
    const bench = new Bench([
      { op: "putIfAbsent", nth: 1, fault: { kind: "after" } },
      { op: "putIfAbsent", nth: 2, times: Infinity, fault: { kind: "before" } },
    ]);
    assert.equal(await bench.after(5_000, bench.store.putIfAbsent("a", bytes("x")), 5_000), "unavailable/unknown");
    const final = new Bench([
      { op: "put", nth: 1, fault: { kind: "after" } },
      { op: "put", nth: 2, fault: { kind: "before", reason: "permission" } },
    ]);
    assert.equal(await final.after(1_000, final.store.put("a", bytes("x"))), "permission/unknown");
    const proof = new Bench([
      { op: "putIfAbsent", fault: { kind: "after" } },
      { op: "head", times: Infinity, fault: { kind: "before" } },
    ]);
    assert.equal(await proof.after(10_000, proof.store.putIfAbsent("a", bytes("x")), 5_000), "unavailable/unknown");
  });

  it("an upload's writes and its end are repeated, and a lost answer of the end is found out", async () => {
    const bench = new Bench([
      fails("upload", 1),
      { op: "uploadWrite", nth: 2, fault: { kind: "before" } },
      { op: "uploadComplete", nth: 1, fault: { kind: "after" } },
      { op: "uploadComplete", nth: 2, fault: { kind: "before", reason: "not-found" } },
    ]);
    const work = Effect.gen(function* () {
      const upload = yield* bench.store.upload("a");
      yield* upload.write(bytes("12"));
      yield* upload.write(bytes("34"));
      yield* upload.complete;
    });
    assert.equal(await bench.after(3_000, work), "ok");
    assert.deepEqual(bench.inner.peek("a"), bytes("1234"));

    const dropped = new Bench([
      { op: "uploadComplete", nth: 1, fault: { kind: "before", reason: "timeout", outcome: "unknown" } },
      { op: "uploadComplete", nth: 2, fault: { kind: "before", reason: "not-found" } },
    ]);
    const lost = Effect.flatMap(dropped.store.upload("a"), (upload) => upload.complete);
    assert.equal(await dropped.after(3_000, lost), "unavailable/unknown");
    const forgotten = new Bench([{ op: "uploadWrite", fault: { kind: "before", reason: "not-found" } }]);
    const write = Effect.flatMap(forgotten.store.upload("a"), (upload) => upload.write(bytes("12")));
    assert.equal(await forgotten.after(0, write), "unavailable/none", "no object is missing, the upload is");
    const other = new Bench([{ op: "uploadComplete", fault: { kind: "before", reason: "not-found" } }]);
    const gone = Effect.flatMap(other.store.upload("a"), (upload) => upload.complete);
    assert.equal(await other.after(0, gone), "unavailable/none");
  });

  for (const [who, deadlineMillis, places] of [["flushes", Infinity, 10], ["calls", 30_000, 10]] as const) {
    it(`at most ${places} repetitions of ${who} are under way at once, however many fail`, async () => {
      let under = 0;
      let most = 0;
      const counting = (inner: MemoryStore): ObjectStoreShape => ({
        ...inner,
        get: (path) =>
          Effect.suspend(() => {
            most = Math.max(most, ++under);
            const slow = Effect.andThen(Effect.sleep(300), inner.get(path));
            return Effect.ensuring(slow, Effect.sync(() => under--));
          }),
      });
      const bench = new Bench([fails("get", 60)], { budget: new RetryBudget() }, counting);
      bench.inner.plant("a", bytes("x"));
      const fibers = Array.from({ length: 60 }, () => bench.fork(bench.store.get("a"), deadlineMillis));
      await bench.clock.advance(5_000);
      assert.deepEqual(fibers.map(verdict), fibers.map(() => "ok"));
      assert.equal(most, places);
    });
  }

  it("onDegraded is told once when a call has failed for 30 s, and once when the store works again", async () => {
    const seen: Array<[number, boolean, DegradedReport | undefined]> = [];
    const bench: Bench = new Bench(
      [],
      healthy({ onDegraded: (degraded, report) => seen.push([bench.clock.now(), degraded, report]) }),
    );
    bench.faulty.controls.setOutage(true);
    const puts = [1, 2].map((n) => bench.fork(bench.store.put(`wal/${n}`, bytes("x")), Infinity));
    await bench.clock.advance(29_900);
    assert.equal(seen.length, 0);
    await bench.clock.advance(1_200);
    assert.equal(seen.length, 1);
    const [, degraded, report] = seen[0]!;
    assert.equal(degraded, true);
    assert.ok(report !== undefined && report.failingMillis >= 30_000 && report.op === "put");
    assert.equal(report.error.reason, "unavailable");
    await bench.clock.advance(60_000);
    bench.faulty.controls.setOutage(false);
    await bench.clock.advance(1_100);
    assert.deepEqual(puts.map(verdict), ["ok", "ok"]);
    assert.deepEqual(seen.map(([, now]) => now), [true, false]);
  });

  it("retryingLayer and faultyLayer decorate the store service", async () => {
    let controls: FaultControls | undefined;
    const faults = faultyLayer({ rules: [fails("put", 2)] }, (made) => controls = made);
    const layer = retryingLayer({ firstDelayMillis: 1 }).pipe(Layer.provide(faults), Layer.provide(memoryStoreLayer()));
    await Effect.runPromise(Effect.provide(Effect.flatMap(ObjectStore, (store) => store.put("a", bytes("x"))), layer));
    assert.equal(controls?.requestCount, 3);
  });

  it("giving up is no recovery, the next success is; one call still failing keeps the store degraded", async () => {
    const seen: Array<boolean> = [];
    const bench = new Bench([fails("put", Infinity)], healthy({ onDegraded: (now) => seen.push(now) }));
    bench.inner.plant("a", bytes("x"));
    assert.equal(await bench.after(40_000, bench.store.put("b", bytes("x")), 35_000), "unavailable/none");
    assert.deepEqual(seen, [true]);
    const put = bench.fork(bench.store.put("b", bytes("x")), Infinity);
    await bench.clock.advance(40_000);
    assert.equal(await bench.after(0, bench.store.get("a")), "ok");
    assert.deepEqual(seen, [true]);
    put.interruptUnsafe();
    await bench.clock.settle();
    assert.deepEqual(seen, [true]);
    assert.equal(await bench.after(0, bench.store.get("a")), "ok");
    assert.deepEqual(seen, [true, false]);
  });

  it("that there is no such object is an answer like any other: the store is well", async () => {
    const seen: Array<boolean> = [];
    const bench = new Bench([fails("put", Infinity)], healthy({ onDegraded: (now) => seen.push(now) }));
    assert.equal(await bench.after(40_000, bench.store.put("b", bytes("x")), 35_000), "unavailable/none");
    assert.equal(await bench.after(0, bench.store.get("missing")), "not-found/none");
    assert.deepEqual(seen, [true, false]);
  });

  it("a first attempt that waits for a store that is down ends at its deadline, without a request", async () => {
    const bench = new Bench([fails("get", Infinity)], { budget: new RetryBudget(1) });
    for (let i = 0; i < 200; i++) bench.fork(bench.store.get("a"), 1e6);
    await bench.clock.advance(5_000);
    const fiber = bench.fork(bench.store.head("b"), 500);
    await bench.clock.advance(600);
    assert.equal(verdict(fiber), "unavailable/none");
    assert.ok(bench.faulty.controls.log.every(({ op }) => op === "get"), "the store was asked");
  });
});
