/** Memory store: conformance, and what tests use to look behind it. */
import { Effect } from "effect";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

storeConformance("memoryStore", () => ({ store: memoryStore(), dispose: () => {} }), { describe, it });

describe("memoryStore", () => {
  it("memoryStore answers every request in one synchronous step", () => {
    const store = memoryStore();
    const answer = Effect.runSync(Effect.gen(function* () {
      yield* store.put("a", bytes("1"));
      const created = yield* store.putIfAbsent("b", bytes("22"), { putId: "id" });
      const upload = yield* store.upload("c");
      yield* upload.write(bytes("333"));
      yield* upload.complete;
      yield* store.copy("c", "d");
      yield* store.delete("a");
      return [created, (yield* store.head("b")).putId, (yield* store.list("")).objects.map((o) => o.path)];
    }));
    assert.deepEqual(answer, ["created", "id", ["b", "c", "d"]]);
    assert.equal(store.totalBytes, 8);
  });

  it("memoryStore takes its times from the clock of the calling fiber", () => {
    const store = memoryStore();
    const clock = virtualClock(777);
    Effect.runSync(store.put("a", bytes("1")).pipe(Effect.provideContext(virtualClockContext(clock))));
    assert.equal(Effect.runSync(store.head("a")).lastModifiedMillis, 777);
  });

  it("memoryStore copies bodies that are Buffers, whose slice would share them", () => {
    const store = memoryStore();
    const body = Buffer.from("abc");
    Effect.runSync(store.put("a", body));
    body[0] = 0;
    assert.deepEqual(store.peek("a"), bytes("abc"));
  });

  it("clone, snapshot and restore keep stores apart", () => {
    const store = memoryStore();
    Effect.runSync(store.put("a", bytes("1")));
    const copy = store.clone();
    const before = store.snapshot();
    Effect.runSync(store.put("a", bytes("2")));
    Effect.runSync(store.put("b", bytes("3")));
    assert.deepEqual(copy.objects(), ["a"]);
    assert.deepEqual(copy.peek("a"), bytes("1"));
    copy.restore(store);
    assert.deepEqual(copy.objects(), ["a", "b"]);
    store.restore(before);
    assert.deepEqual(store.objects(), ["a"]);
    assert.deepEqual(store.peek("a"), bytes("1"));
    Effect.runSync(store.put("0", bytes("4")));
    assert.deepEqual(store.objects(), ["0", "a"]);
    assert.deepEqual(copy.objects(), ["a", "b"]);
  });

  it("plant, peek and remove work behind the store's back", () => {
    const store = memoryStore();
    store.plant("z", bytes("x"), { lastModifiedMillis: 5 });
    store.plant("c", bytes("x"));
    assert.deepEqual(store.objects(), ["c", "z"]);
    assert.equal(Effect.runSync(store.head("z")).lastModifiedMillis, 5);
    store.peek("z")!.fill(0);
    assert.deepEqual(store.peek("z"), bytes("x"));
    assert.equal(store.remove("z"), true);
    assert.equal(store.remove("z"), false);
    assert.deepEqual(store.objects(), ["c"]);
    assert.equal(store.peek("z"), undefined);
  });
});
