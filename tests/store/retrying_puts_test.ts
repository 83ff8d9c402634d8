/** Retrying store: whose object it is after an attempt with an unknown outcome. */
import { Cause, Effect, Exit } from "effect";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { StoreError } from "../../src/errors.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { RetryBudget } from "../../src/store/retry_budget.ts";
import { assert, describe, it } from "../support/suite.ts";
import { Bench, bytes, fails, verdict } from "./retrying_bench.ts";
import { withoutPutIds } from "../db/fault_world.ts";

describe("retrying of conditional puts", () => {
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
});
