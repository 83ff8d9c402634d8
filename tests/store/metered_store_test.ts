/** Metered store: requests, errors and bytes by component and kind. */
import { Effect, Layer } from "effect";
import { faultyStore } from "../../src/store/faulty_store.ts";
import { memoryStore, memoryStoreLayer } from "../../src/store/memory_store.ts";
import { metered, meteredLayer, StoreMeter } from "../../src/store/metered_store.ts";
import { ObjectStore } from "../../src/store/object_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const run = Effect.runPromise;

storeConformance("metered", () => ({ store: metered(memoryStore(), { component: "t" }), dispose: () => {} }), {
  describe,
  it,
});

describe("metered", () => {
  it("metered counts each kind of request, and the bytes of those that succeeded", async () => {
    const store = metered(memoryStore(), { component: "db" });
    await run(Effect.gen(function* () {
      yield* store.put("a", bytes("12345"));
      yield* store.putIfAbsent("b", bytes("123"));
      yield* store.putIfAbsent("b", bytes("123"));
      yield* store.get("a");
      yield* store.getRange("a", { offset: 1, length: 2 });
      yield* store.getRanges("a", [{ offset: 0, length: 1 }, { offset: 1, length: 1 }]);
      yield* store.head("a");
      yield* store.list("");
      yield* store.copy("a", "c");
      yield* store.delete("c");
      const upload = yield* store.upload("d");
      yield* upload.write(bytes("1234567"));
      yield* upload.write(bytes("8"));
      yield* upload.complete;
      yield* upload.abort;
    }));
    const report = store.report();
    assert.deepEqual(report.requests, {
      db: {
        put: 1,
        putIfAbsent: 2,
        get: 1,
        getRange: 1,
        getRanges: 2,
        head: 1,
        list: 1,
        copy: 1,
        delete: 1,
        upload: 1,
        uploadPart: 2,
        uploadComplete: 1,
        abort: 1,
      },
    });
    assert.deepEqual(report.bytes, {
      db: { put: 5, putIfAbsent: 3, get: 5, getRange: 2, getRanges: 2, uploadPart: 8 },
    });
    assert.deepEqual([report.bytesRead, report.bytesWritten, report.inFlight], [9, 16, 0]);
    assert.deepEqual(report.errors, {});
  });

  it("metered counts failures as requests and errors, but a missing object is no error", async () => {
    const store = metered(faultyStore(memoryStore(), { rules: [{ op: "put", fault: { kind: "before" } }] }), {
      component: "db",
    });
    await run(Effect.exit(store.put("a", bytes("1"))));
    await run(Effect.exit(store.get("a")));
    const report = store.report();
    assert.deepEqual(report.requests, { db: { put: 1, get: 1 } });
    assert.deepEqual(report.errors, { db: { put: 1 } });
    assert.equal(report.bytesWritten, 0);
  });

  it("metered knows how many requests are under way, also after an interruption", async () => {
    const inner = faultyStore(memoryStore(), { rules: [{ op: "get", fault: { kind: "hang", when: "before" } }] });
    const store = metered(inner, { component: "db" });
    const fiber = Effect.runFork(store.get("a"));
    assert.equal(store.report().inFlight, 1);
    fiber.interruptUnsafe();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(store.report().inFlight, 0);
    assert.deepEqual(store.report().errors, {});
  });

  it("one meter may count for several components, and each request of an effect that runs twice", async () => {
    const meter = new StoreMeter();
    const inner = memoryStore();
    const list = metered(inner, { component: "db", meter }).list("");
    await run(Effect.andThen(list, list));
    await run(metered(inner, { component: "gc", meter }).list(""));
    assert.deepEqual(meter.report().requests, { db: { list: 2 }, gc: { list: 1 } });
  });

  it("meteredLayer decorates the store service", async () => {
    const meter = new StoreMeter();
    const layer = Layer.provide(meteredLayer({ component: "x", meter }), memoryStoreLayer());
    await run(Effect.provide(Effect.flatMap(ObjectStore, (store) => store.list("")), layer));
    assert.deepEqual(meter.report().requests, { x: { list: 1 } });
  });
});
