/**
 * Large objects in parts: what is sent, what stays in memory, what becomes of an upload that fails.
 *
 * @module
 */
import { Effect, Fiber } from "effect";
import { TestClock } from "effect/testing";
import type { StoreError } from "../../src/errors.ts";
import type { Upload } from "../../src/store/object_store.ts";
import { RetryDeadline, retrying } from "../../src/store/retrying_store.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { type Answer, type Asked, refusal, StandIn } from "../support/s3_stand_in.ts";
import { afterEach, assert, beforeEach, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";
const MIB = 1 << 20;
const PART = 5 * MIB;

/** `length` bytes of which every mebibyte begins differently. */
function numbered(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += MIB) bytes[at] = at / MIB + 1;
  return bytes;
}

/** A request in a word: "begin", "part 3", "complete", "abort", "put". */
function word({ method, query }: Asked): string {
  if (query.has("uploads")) return "begin";
  if (query.has("partNumber")) return `part ${query.get("partNumber")}`;
  if (!query.has("uploadId")) return method.toLowerCase();
  return method === "POST" ? "complete" : "abort";
}

describe("s3Store, uploads", { skip: SKIP }, () => {
  let server: StandIn;
  beforeEach(async () => void (server = await StandIn.start()));
  afterEach(() => server.close());

  const run = <A>(effect: Effect.Effect<A, StoreError>) => Effect.runPromise(effect);
  const words = () => server.asked.map(word);
  const begin = (options = {}): Promise<Upload> => run(server.store({ partBytes: PART, ...options }).upload("large"));

  it("an object that fits into a part is one put", async () => {
    for (const size of [0, 1, PART]) {
      server.asked.splice(0);
      const upload = await begin();
      await run(upload.write(numbered(size)));
      await run(upload.complete);
      await run(upload.complete);
      assert.deepEqual(words(), ["put"]);
      assert.equal(server.bucket.objects.get("large")!.body.length, size);
    }
  });

  it("parts have the given size, the last one what is left, and arrive in their order", async () => {
    const upload = await begin();
    const body = numbered(2 * PART + 3);
    for (let at = 0; at < body.length; at += MIB) await run(upload.write(body.subarray(at, at + MIB)));
    await run(upload.complete);
    assert.equal(words()[0], "begin");
    assert.deepEqual(words().slice(1, 4).sort(), ["part 1", "part 2", "part 3"]);
    assert.deepEqual(words().slice(4), ["complete"]);
    const sizes = server.asked.filter((asked) => word(asked).startsWith("part")).map(({ body }) => body.length);
    assert.deepEqual(sizes.sort((a, b) => a - b), [3, PART, PART]);
    assert.deepEqual(Buffer.compare(server.bucket.objects.get("large")!.body, body), 0);
    const sent = new TextDecoder().decode(server.asked.at(-1)!.body);
    assert.match(sent, /<PartNumber>1<.*<PartNumber>2<.*<PartNumber>3</);
  });

  it("at most four parts wait in memory, and four are under way", async () => {
    const upload = await begin();
    for (let i = 0; i < 5; i++) await run(upload.write(new Uint8Array(PART)));
    assert.deepEqual(words(), []);
    server.usual = (asked) => word(asked).startsWith("part") ? "hang" : server.bucket.answer(asked);
    const sixth = Effect.runFork(Effect.andThen(upload.write(new Uint8Array(1)), upload.write(new Uint8Array(1))));
    await server.arrived(5);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.deepEqual(words().sort(), ["begin", "part 1", "part 2", "part 3", "part 4"]);
    await run(Effect.asVoid(Fiber.interrupt(sixth)));
    await server.wasAbandoned(4);
    await run(upload.abort);
    assert.equal(words().at(-1), "abort");
  });

  it("a write that fails has taken nothing: repeated, it goes on, and parts that are stored stay so", async () => {
    let failures = 0;
    server.usual = (asked) => {
      if (word(asked) !== "part 2" || failures === 2) return server.bucket.answer(asked);
      return ++failures === 1 ? refusal(503, "SlowDown") : "done, then drop";
    };
    const store = retrying(server.store({ partBytes: PART }), { firstDelayMillis: 1 });
    const upload = await run(store.upload("large"));
    const body = numbered(7 * PART + 1);
    for (let at = 0; at < body.length; at += PART) await run(upload.write(body.subarray(at, at + PART)));
    await run(upload.complete);
    assert.equal(failures, 2);
    assert.deepEqual(Buffer.compare(server.bucket.objects.get("large")!.body, body), 0);
    const times = (wanted: string) => words().filter((one) => one === wanted).length;
    assert.deepEqual([times("begin"), times("part 1"), times("part 2"), times("complete")], [1, 1, 3, 1]);
  });

  it("the time that a call gets allows for what earlier ones left to it", async () => {
    const waits: boolean[] = [];
    for (const millis of [60_000, 110_000]) {
      await Effect.runPromise(
        Effect.gen(function* () {
          const store = retrying(server.store({ partBytes: PART, requestTimeoutMillis: 2 ** 31 - 1 }), {
            attemptTimeoutMillis: 30_000,
          });
          const upload = yield* store.upload("large");
          yield* upload.write(new Uint8Array(PART + 1));
          server.script.push("as usual", "hang", "hang");
          const arrivals = server.asked.length + 3;
          const fiber = yield* Effect.forkChild(Effect.provideService(upload.complete, RetryDeadline, Infinity));
          yield* Effect.promise(() => server.arrived(arrivals));
          const abandoned = server.abandoned;
          yield* TestClock.adjust(millis);
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 30)));
          waits.push(server.abandoned === abandoned);
          yield* Fiber.interrupt(fiber);
        }).pipe(Effect.provide(TestClock.layer())),
      );
    }
    assert.deepEqual(waits, [true, false]);
  });

  it("a completion whose answer is lost is found out by its size", async () => {
    server.usual = (asked) => {
      const answer = server.bucket.answer(asked);
      return word(asked) === "complete" && words().filter((one) => one === "complete").length === 1 ? "drop" : answer;
    };
    const store = retrying(server.store({ partBytes: PART }), { firstDelayMillis: 1 });
    const upload = await run(store.upload("large"));
    await run(upload.write(numbered(PART + 1)));
    await run(upload.complete);
    assert.deepEqual(words().slice(-3), ["complete", "complete", "head"]);
  });

  it("abort forgets everything, is safe twice, and asks nothing where nothing was begun", async () => {
    const idle = await begin();
    await run(idle.write(numbered(PART)));
    await run(idle.abort);
    assert.deepEqual(words(), []);
    const upload = await begin();
    for (let i = 0; i < 6; i++) await run(upload.write(new Uint8Array(PART)));
    await run(upload.abort);
    await run(upload.abort);
    assert.equal(words().filter((one) => one === "abort").length, 1);
    assert.equal(server.bucket.uploads.size, 0);
    const error = await run(Effect.flip(upload.complete) as Effect.Effect<StoreError, never>);
    assert.deepEqual([error.reason, error.retryable], ["not-found", false]);
    await assert.rejects(Effect.runPromise(upload.write(new Uint8Array(1))), /it is aborted/);
  });

  it("an abort that fails harms nobody, and is tried three times", async () => {
    const upload = await begin();
    for (let i = 0; i < 6; i++) await run(upload.write(new Uint8Array(PART)));
    server.usual = () => refusal(500, "InternalError");
    await run(upload.abort);
    assert.equal(words().filter((one) => one === "abort").length, 3);
  });

  it("an abort that meets the same trouble as the upload is tried again, so that no parts stay and are paid for", async () => {
    const body = numbered(2 * PART);
    const store = server.store({ partBytes: PART, multipartAboveBytes: PART });
    for (const answers of [[refusal(503, "SlowDown")], ["drop", refusal(500, "InternalError")]] as const) {
      const left: Answer[] = [...answers];
      server.asked.splice(0);
      server.usual = (asked) => {
        if (word(asked) === "part 2") return refusal(400, "InvalidArgument");
        return word(asked) === "abort" ? left.shift() ?? server.bucket.answer(asked) : server.bucket.answer(asked);
      };
      await run(Effect.flip(store.put("bad", body)) as Effect.Effect<StoreError, never>);
      assert.equal(words().filter((one) => one === "abort").length, answers.length + 1);
      assert.equal(server.bucket.uploads.size, 0, "parts are left behind");
    }
  });

  it("put sends in parts what is larger than the limit, and aborts what fails or is interrupted", async () => {
    const store = server.store({ partBytes: PART, multipartAboveBytes: PART });
    await run(store.put("small", numbered(PART)));
    assert.deepEqual(words(), ["put"]);
    const body = numbered(2 * PART);
    await run(store.put("large", body));
    assert.deepEqual(Buffer.compare(server.bucket.objects.get("large")!.body, body), 0);
    server.asked.splice(0);
    server.usual = (asked) => word(asked) === "part 2" ? refusal(400, "InvalidArgument") : server.bucket.answer(asked);
    await run(Effect.flip(store.put("bad", body)) as Effect.Effect<StoreError, never>);
    assert.equal(words().at(-1), "abort");
    server.asked.splice(0);
    server.usual = (asked) => word(asked) === "complete" ? "hang" : server.bucket.answer(asked);
    const fiber = Effect.runFork(store.put("late", body));
    await server.arrived(4);
    await run(Effect.asVoid(Fiber.interrupt(fiber)));
    assert.equal(words().at(-1), "abort");
    assert.equal(server.bucket.uploads.size, 0);
    assert.ok(!server.bucket.objects.has("bad") && !server.bucket.objects.has("late"));
  });

  it("putIfAbsent never goes in parts: no service heeds a condition there", async () => {
    const store = server.store({ partBytes: PART, multipartAboveBytes: 0 });
    assert.equal(await run(store.putIfAbsent("manifest/1", numbered(PART + 1))), "created");
    assert.deepEqual(words(), ["put"]);
  });
});
