/** Faulty store: every fault, scripts, chances, outage, crash points. */
import { Cause, Effect, Exit, type Fiber } from "effect";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import { type FaultRule, faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

storeConformance("faultyStore without faults", () => ({ store: faultyStore(memoryStore()), dispose: () => {} }), {
  describe,
  it,
});

/** What an effect did, in one word: its answer, the reason of its error with the outcome, or "pending". */
async function verdict(effect: Effect.Effect<unknown, StoreError>): Promise<string> {
  const fiber = Effect.runFork(effect);
  await new Promise((resolve) => setTimeout(resolve, 0));
  return poll(fiber);
}

function poll(fiber: Fiber.Fiber<unknown, StoreError>): string {
  const exit = fiber.pollUnsafe();
  if (exit === undefined) return "pending";
  if (Exit.isSuccess(exit)) return typeof exit.value === "string" ? exit.value : "ok";
  const error = Cause.squash(exit.cause);
  return error instanceof StoreError
    ? `${error.reason}/${error.outcome}${error.retryable ? "" : "/final"}`
    : String(error);
}

describe("faultyStore", () => {
  it("a scripted rule strikes at the nth request of its operation and prefix, and only then", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, {
      rules: [{ op: "put", prefix: "manifest/", nth: 3, fault: { kind: "before" } }],
    });
    const seen: Array<string> = [];
    for (const path of ["manifest/1", "wal/1", "manifest/2", "manifest/3", "manifest/4"]) {
      seen.push(await verdict(store.put(path, bytes("x"))));
    }
    assert.deepEqual(seen, ["ok", "ok", "ok", "unavailable/none", "ok"]);
    assert.deepEqual(inner.objects(), ["manifest/1", "manifest/2", "manifest/4", "wal/1"]);
    assert.deepEqual(store.controls.struck(), { before: 1 });
    assert.equal(await verdict(store.get("manifest/3")), "not-found/none/final");
  });

  it("times lets a rule strike several requests in a row", async () => {
    const store = faultyStore(memoryStore(), {
      rules: [{ op: "list", nth: 2, times: 2, fault: { kind: "before", reason: "timeout" } }],
    });
    const seen: Array<string> = [];
    for (let i = 0; i < 4; i++) seen.push(await verdict(store.list("")));
    assert.deepEqual(seen, ["ok", "timeout/none", "timeout/none", "ok"]);
  });

  it("the first rule that strikes decides, and uses up nothing of the others", async () => {
    const store = faultyStore(memoryStore(), {
      rules: [
        { op: "list", fault: { kind: "before", reason: "conflict" } },
        { op: "list", rate: 1, times: 1, fault: { kind: "before", reason: "timeout" } },
      ],
    });
    const seen: Array<string> = [];
    for (let i = 0; i < 3; i++) seen.push(await verdict(store.list("")));
    assert.deepEqual(seen, ["conflict/none", "timeout/none", "ok"]);
  });

  it("a fault before leaves no effect, a fault after leaves one and an unknown outcome", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, {
      rules: [
        { op: "putIfAbsent", prefix: "a", fault: { kind: "before", reason: "conflict" } },
        { op: "putIfAbsent", prefix: "b", fault: { kind: "after" } },
        { op: "putIfAbsent", prefix: "c", fault: { kind: "before", reason: "timeout", outcome: "unknown" } },
        { op: "delete", fault: { kind: "after", reason: "unavailable" } },
        { op: "put", fault: { kind: "before", reason: "permission" } },
      ],
    });
    assert.equal(await verdict(store.putIfAbsent("a", bytes("x"))), "conflict/none");
    assert.equal(await verdict(store.putIfAbsent("b", bytes("x"))), "timeout/unknown");
    assert.equal(await verdict(store.putIfAbsent("c", bytes("x"))), "timeout/unknown");
    assert.deepEqual(inner.objects(), ["b"]);
    assert.equal(await verdict(store.delete("b")), "unavailable/unknown");
    assert.deepEqual(inner.objects(), []);
    assert.equal(await verdict(store.put("p", bytes("x"))), "permission/none/final");
  });

  it("a late request is applied when it is delivered, not before", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, { rules: [{ op: "putIfAbsent", fault: { kind: "late" } }] });
    assert.equal(await verdict(store.putIfAbsent("a", bytes("old"))), "timeout/unknown");
    assert.deepEqual(inner.objects(), []);
    assert.equal(store.controls.lateCount, 1);
    assert.equal(await Effect.runPromise(store.controls.deliverLate), 1);
    assert.deepEqual(inner.peek("a"), bytes("old"));
    assert.equal(store.controls.lateCount, 0);
  });

  it("hanging requests never answer, others do", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, {
      rules: [
        { op: "put", nth: 1, fault: { kind: "hang", when: "before" } },
        { op: "put", nth: 2, fault: { kind: "hang", when: "after" } },
      ],
    });
    assert.equal(await verdict(store.put("a", bytes("x"))), "pending");
    assert.equal(await verdict(store.put("b", bytes("x"))), "pending");
    assert.equal(await verdict(store.put("c", bytes("x"))), "ok");
    assert.deepEqual(inner.objects(), ["b", "c"]);
    assert.deepEqual(store.controls.log.map((entry) => entry.outcome), ["no answer", "no answer", "ok"]);
  });

  it("short and corrupt bodies differ from the object, which stays whole", async () => {
    const inner = memoryStore();
    const body = bytes("0123456789");
    inner.plant("a", body);
    const store = faultyStore(inner, {
      seed: 5,
      rules: [
        { op: "get", nth: 1, fault: { kind: "short", bytes: 3 } },
        { op: "get", nth: 2, fault: { kind: "corrupt", offset: 4 } },
        { op: ["getRange", "getRanges"], times: 2, fault: { kind: "corrupt" } },
      ],
    });
    assert.deepEqual(await Effect.runPromise(store.get("a")), bytes("0123456"));
    const damaged = await Effect.runPromise(store.get("a"));
    assert.deepEqual([...damaged].flatMap((byte, i) => byte === body[i] ? [] : [i]), [4]);
    const range = { offset: 0, length: 10 };
    assert.notDeepEqual(await Effect.runPromise(store.getRange("a", range)), body);
    assert.notDeepEqual((await Effect.runPromise(store.getRanges("a", [range])))[0], body);
    assert.deepEqual(await Effect.runPromise(store.get("a")), body);
  });

  it("a stale listing hides what was created last", async () => {
    const store = faultyStore(memoryStore(), { rules: [{ op: "list", fault: { kind: "stale", hide: 2 } }] });
    for (const name of ["c", "a", "b"]) await Effect.runPromise(store.put(name, bytes(name)));
    const names = async () => (await Effect.runPromise(store.list(""))).objects.map((object) => object.path);
    assert.deepEqual(await names(), ["c"]);
    assert.deepEqual(await names(), ["a", "b", "c"]);
  });

  it("an outage refuses everything until it is over", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner);
    const upload = await Effect.runPromise(store.upload("u"));
    store.controls.setOutage(true);
    const attempts = [store.put("a", bytes("x")), store.get("a"), store.list(""), store.upload("b"), upload.complete];
    for (const attempt of attempts) assert.equal(await verdict(attempt), "unavailable/none");
    assert.deepEqual(inner.objects(), []);
    store.controls.setOutage(false);
    assert.equal(await verdict(upload.complete), "ok");
    assert.deepEqual(inner.objects(), ["u"]);
    store.controls.setOutage(true, "permission");
    assert.equal(await verdict(store.get("u")), "permission/none/final");
  });

  it("latency and delays pass in virtual time", async () => {
    const clock = virtualClock();
    const store = faultyStore(memoryStore(), {
      latencyMillis: 50,
      rules: [{ op: "put", nth: 2, fault: { kind: "delay", millis: 1_000 } }],
    });
    const start = (path: string) =>
      Effect.runFork(Effect.provideContext(store.put(path, bytes("x")), virtualClockContext(clock)), {
        scheduler: clock.scheduler,
      });
    const [one, two] = [start("a"), start("b")];
    await clock.advance(49);
    assert.deepEqual([poll(one), poll(two)], ["pending", "pending"]);
    await clock.advance(1);
    assert.deepEqual([poll(one), poll(two)], ["ok", "pending"]);
    await clock.advance(1_000);
    assert.equal(poll(two), "ok");
    store.controls.setLatency([10, 20]);
    const three = start("c");
    await clock.advance(9);
    assert.equal(poll(three), "pending");
    await clock.advance(11);
    assert.equal(poll(three), "ok");
  });

  it("crashAt stops the world before or after the effect of exactly that request", async () => {
    for (const when of ["before", "after"] as const) {
      for (let index = 0; index < 4; index++) {
        const inner = memoryStore();
        const store = faultyStore(inner, { crashAt: { index, when } });
        const seen: Array<string> = [];
        for (const path of ["a", "b", "c", "d"]) seen.push(await verdict(store.put(path, bytes("x"))));
        assert.deepEqual(seen, ["ok", "ok", "ok", "ok"].fill("pending", index));
        assert.equal(inner.objects().length, when === "before" ? index : index + 1);
        assert.equal(store.controls.requestCount, 4);
        assert.equal(store.controls.crashed, true);
      }
    }
  });

  it("a crash silences requests under way, also after the store was revived", async () => {
    const clock = virtualClock();
    const inner = memoryStore();
    const store = faultyStore(inner, { latencyMillis: 100 });
    const fiber = Effect.runFork(Effect.provideContext(store.put("a", bytes("x")), virtualClockContext(clock)), {
      scheduler: clock.scheduler,
    });
    await clock.advance(50);
    store.controls.crash();
    store.controls.revive();
    await clock.advance(1_000);
    assert.equal(poll(fiber), "pending");
    assert.deepEqual(inner.objects(), []);
    store.controls.quiet();
    assert.equal(await verdict(store.put("b", bytes("x"))), "ok");
    assert.deepEqual(store.controls.log.map((entry) => [entry.path, entry.outcome, entry.fault]), [
      ["a", "no answer", "crash"],
      ["b", "ok", undefined],
    ]);
  });

  it("chances are a function of the seed, and of nothing else", async () => {
    const rules: ReadonlyArray<FaultRule> = [
      { op: "put", rate: 0.3, fault: { kind: "before" } },
      { rate: 0.2, fault: { kind: "after" } },
    ];
    const run = async (seed: number, more: ReadonlyArray<FaultRule> = []): Promise<string> => {
      const store = faultyStore(memoryStore(), { seed, rules: [...rules, ...more] });
      for (let i = 0; i < 60; i++) await verdict(i % 3 === 0 ? store.list("") : store.put(`k${i}`, bytes("x")));
      return store.controls.log.map((entry) => entry.fault ?? "-").join(" ");
    };
    const first = await run(11);
    assert.equal(await run(11), first);
    assert.notEqual(await run(12), first);
    // A further rule decides only where no other struck.
    const wider = (await run(11, [{ rate: 0.5, fault: { kind: "late" } }])).replaceAll("late", "-");
    assert.equal(wider, first);
    const counts = (kind: string) => first.split(" ").filter((fault) => fault === kind).length;
    assert.ok(counts("before") >= 4 && counts("before") <= 22, `before: ${counts("before")}`);
    assert.ok(counts("after") >= 3 && counts("after") <= 22, `after: ${counts("after")}`);
  });

  it("an upload is several requests: its writes and its end can fail", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, {
      rules: [{ op: "uploadWrite", nth: 2, fault: { kind: "before" } }, {
        op: "uploadComplete",
        fault: { kind: "after" },
      }],
    });
    const upload = await Effect.runPromise(store.upload("a"));
    assert.equal(await verdict(upload.write(bytes("1"))), "ok");
    assert.equal(await verdict(upload.write(bytes("2"))), "unavailable/none");
    assert.equal(await verdict(upload.complete), "timeout/unknown");
    assert.deepEqual(inner.peek("a"), bytes("1"));
    assert.deepEqual(store.controls.log.map((entry) => entry.op), [
      "upload",
      "uploadWrite",
      "uploadWrite",
      "uploadComplete",
    ]);
  });
});
