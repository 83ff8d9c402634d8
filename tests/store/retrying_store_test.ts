/** Retrying store: back-off in virtual time, deadlines, uploads, degraded state. */
import { Effect, Layer } from "effect";
import type { StoreErrorReason } from "../../src/errors.ts";
import { type FaultControls, type FaultRule, faultyLayer } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore, memoryStoreLayer } from "../../src/store/memory_store.ts";
import { ObjectStore, type ObjectStoreShape } from "../../src/store/object_store.ts";
import { RetryBudget } from "../../src/store/retry_budget.ts";
import { retrying, retryingLayer } from "../../src/store/retrying_store.ts";
import type { DegradedReport } from "../../src/store/store_health.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { assert, describe, it } from "../support/suite.ts";
import { Bench, bytes, fails, healthy, verdict } from "./retrying_bench.ts";

storeConformance("retrying", () => ({ store: retrying(memoryStore()), dispose: () => {} }), { describe, it });

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
