/**
 * Bodies and ranges as S3 sends them and as it should not; deadlines and interruptions; listings.
 *
 * @module
 */
import { Effect, Fiber } from "effect";
import { TestClock } from "effect/testing";
import type { StoreError } from "../../src/errors.ts";
import { joinRanges } from "../../src/store/s3/s3_ranges.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { type Answer, refusal, StandIn } from "../support/s3_stand_in.ts";
import { after, assert, before, beforeEach, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";
const HUNDRED = Uint8Array.from({ length: 100 }, (_, i) => i);

const ETAG = { etag: '"e"' };

/** A range of an object of a hundred bytes. */
function part(first: number, last: number, more: Partial<Exclude<Answer, string>> = {}): Answer {
  const body = HUNDRED.subarray(first, last + 1);
  return { status: 206, headers: { "content-range": `bytes ${first}-${last}/100` }, body, ...more };
}

describe("s3Store, bodies", { skip: SKIP }, () => {
  let server: StandIn;
  before(async () => void (server = await StandIn.start()));
  beforeEach(() => void server.script.splice(0));
  after(() => server.close());

  const outcome = async (effect: Effect.Effect<unknown, StoreError>, ...script: Answer[]): Promise<unknown> => {
    server.script.push(...script);
    const exit = await Effect.runPromise(Effect.result(effect));
    if (exit._tag === "Success") return exit.success;
    return `${exit.failure.reason}${exit.failure.retryable ? ", again" : ""}`;
  };
  const range = (offset: number, length: number) => server.store().getRange("a", { offset, length });

  it("get gives the whole body or says that it was cut", async () => {
    const get = () => server.store().get("a");
    assert.deepEqual(await outcome(get(), { status: 200, headers: ETAG, body: HUNDRED }), HUNDRED);
    assert.deepEqual(await outcome(get(), { status: 200, headers: ETAG }), new Uint8Array(0));
    const cut = await outcome(get(), { status: 200, headers: ETAG, body: HUNDRED, announced: 200 });
    assert.match(String(cut), /^(short-read|unavailable), again$/);
    const unmeasured = { ...ETAG, "transfer-encoding": "chunked" };
    const chunked = await outcome(get(), { status: 200, body: HUNDRED, headers: unmeasured });
    assert.equal(chunked, "unsupported");
  });

  it("getRange asks for exactly its bytes and takes a 206 that says the same", async () => {
    assert.deepEqual(await outcome(range(10, 5), part(10, 14)), HUNDRED.subarray(10, 15));
    assert.equal(server.asked.at(-1)!.headers["range"], "bytes=10-14");
  });

  it("getRange takes its window of a whole body from a service that ignores ranges", async () => {
    assert.deepEqual(
      await outcome(range(10, 5), { status: 200, headers: ETAG, body: HUNDRED }),
      HUNDRED.subarray(10, 15),
    );
    assert.deepEqual(await outcome(range(95, 5), { status: 200, headers: ETAG, body: HUNDRED }), HUNDRED.subarray(95));
    assert.equal(await outcome(range(95, 6), { status: 200, headers: ETAG, body: HUNDRED }), "short-read");
  });

  it("getRange never gives other or fewer bytes than were asked for", async () => {
    assert.equal(await outcome(range(10, 5), part(9, 13)), "short-read, again");
    assert.equal(await outcome(range(10, 5), part(10, 12)), "short-read, again");
    assert.equal(await outcome(range(98, 5), part(98, 99)), "short-read");
    assert.equal(await outcome(range(10, 5), { status: 206, body: HUNDRED.subarray(10, 15) }), "short-read, again");
    assert.equal(await outcome(range(200, 5), refusal(416, "InvalidRange")), "short-read");
    assert.equal(await outcome(range(200, 5), { status: 416 }), "unavailable, again");
    const cut = await outcome(range(10, 5), part(10, 14, { body: HUNDRED.subarray(10, 12), announced: 5 }));
    assert.match(String(cut), /^(short-read|unavailable), again$/);
    assert.deepEqual(await outcome(range(10, 5), part(10, 20)), HUNDRED.subarray(10, 15));
    const headers = { "content-range": "bytes 10-14/100", "transfer-encoding": "chunked" };
    for (
      const [length, answer] of [[3, "short-read, again"], [5, HUNDRED.subarray(10, 15)], [6, "short-read, again"]]
    ) {
      const body = HUNDRED.subarray(10, 10 + Number(length));
      assert.deepEqual(await outcome(range(10, 5), { status: 206, headers, body }), answer);
    }
  });

  it("getRanges reads what lies close together with one request, and cuts it apart", async () => {
    server.bucket.objects.set("big", {
      body: Uint8Array.from({ length: 100_000 }, (_, i) => i % 251),
      putId: undefined,
    });
    const before = server.asked.length;
    const ranges = [[90_000, 10], [0, 10], [5, 20], [1_000, 10], [0, 10]].map(([offset, length]) => ({
      offset: offset!,
      length: length!,
    }));
    const parts = await Effect.runPromise(server.store().getRanges("big", ranges));
    const { body } = server.bucket.objects.get("big")!;
    parts.forEach((bytes, i) => {
      const { offset, length } = ranges[i]!;
      assert.deepEqual(bytes, new Uint8Array(body.subarray(offset, offset + length)));
      assert.ok(bytes.buffer.byteLength <= 1024, "a small part keeps a large body in memory");
    });
    const asked = server.asked.slice(before).map(({ headers }) => headers["range"]).sort();
    assert.deepEqual(asked, ["bytes=0-1009", "bytes=90000-90009"]);
  });

  it("getRanges keeps at most eight requests under way", async () => {
    const ranges = Array.from({ length: 20 }, (_, i) => ({ offset: i * 100_000, length: 10 }));
    server.script.push(...ranges.map((): Answer => "hang"));
    const before = server.asked.length;
    const fiber = Effect.runFork(server.store().getRanges("big", ranges));
    await server.arrived(before + 8);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(server.asked.length - before, 8);
    await Effect.runPromise(Fiber.interrupt(fiber));
    server.script.splice(0);
  });

  it("list passes over names that are not the engine's, also when a page has no others", async () => {
    const page = (names: string[], truncated: boolean): Answer => ({
      status: 200,
      body: `<ListBucketResult><IsTruncated>${truncated}</IsTruncated>${
        names.map((name) =>
          `<Contents><Key>${name}</Key><Size>3</Size><LastModified>2026-11-21T12:00:00Z</LastModified></Contents>`
        ).join("")
      }</ListBucketResult>`,
    });
    server.script.push(page(["f/", "f//x", "f/../y"].sort(), true), page(["f/a", "f/b/"], true));
    const first = await Effect.runPromise(server.store().list("f/"));
    assert.deepEqual([first.objects.map(({ path }) => path), first.truncated], [["f/a"], true]);
    assert.equal(server.asked.at(-1)!.query.get("start-after"), "f//x");
    const list = () => server.store().list("f/");
    assert.equal(await outcome(list(), page(["f/b", "f/a"], false)), "unavailable, again");
    assert.equal(await outcome(list(), page(["g/b"], false)), "unavailable, again");
    assert.equal(await outcome(list(), page([], true)), "unavailable, again");
    assert.equal(await outcome(list(), { status: 200, body: "<ListBucketRes" }), "unavailable, again");
  });
});

describe("s3Store, deadlines", { skip: SKIP }, () => {
  let server: StandIn;
  before(async () => void (server = await StandIn.start()));
  after(() => server.close());

  /** The error of `request`, whose answer stops at `answer`, and how long it waited by the fiber's clock. */
  const waited = (request: Effect.Effect<unknown, StoreError>, answer: Answer, millis: number) =>
    Effect.runPromise(
      Effect.gen(function* () {
        server.script.push(answer);
        const arrivals = server.asked.length + 1;
        const fiber = yield* Effect.forkChild(Effect.flip(request));
        yield* Effect.promise(() => server.arrived(arrivals));
        // The answer's head is on its way.
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)));
        yield* TestClock.adjust(millis - 1);
        yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)));
        assert.equal(fiber.pollUnsafe(), undefined, "ended before its deadline");
        yield* TestClock.adjust(1);
        return yield* Fiber.join(fiber);
      }).pipe(Effect.provide(TestClock.layer())),
    );

  it("a request that is not answered ends at its deadline by the fiber's clock; a write's outcome is unknown", async () => {
    const store = server.store();
    const read = await waited(store.get("a"), "hang", 30_000);
    assert.deepEqual([read.reason, read.retryable, read.outcome], ["timeout", true, "none"]);
    const write = await waited(store.putIfAbsent("a", new Uint8Array(1_000_000)), "hang", 40_000);
    assert.deepEqual([write.reason, write.retryable, write.outcome], ["timeout", true, "unknown"]);
    const quick = await waited(server.store({ requestTimeoutMillis: 50 }).list(""), "hang", 50);
    assert.equal(quick.reason, "timeout");
    await server.wasAbandoned(3);
  });

  it("a body that stops coming ends at its deadline, and its connection with it", async () => {
    const abandoned = server.abandoned;
    const stalled: Answer = { status: 200, headers: ETAG, body: HUNDRED, announced: 1_000_000, stalls: true };
    const error = await waited(server.store().get("a"), stalled, 40_000);
    assert.deepEqual([error.reason, error.retryable], ["timeout", true]);
    await server.wasAbandoned(abandoned + 1);
  });

  it("an interruption aborts the request at once", async () => {
    for (
      const answer of ["hang", { status: 200, headers: ETAG, body: HUNDRED, announced: 1_000, stalls: true }] as const
    ) {
      const arrivals = server.asked.length + 1;
      const abandoned = server.abandoned;
      server.script.push(answer);
      const fiber = Effect.runFork(server.store().get("a"));
      await server.arrived(arrivals);
      await new Promise((resolve) => setTimeout(resolve, 20));
      await Effect.runPromise(Fiber.interrupt(fiber));
      await server.wasAbandoned(abandoned + 1);
    }
  });

  it("N1 a request is sent once, whatever becomes of the kept connection that it went out on", async () => {
    const store = server.store();
    const body = new Uint8Array(10);
    for (const [i, answer] of (["drop", "done, then drop", "hang", "hang"] as const).entries()) {
      await Effect.runPromise(store.put("warm", body));
      const sent = server.asked.length;
      server.script.push(answer);
      const fiber = Effect.runFork(Effect.result(store.putIfAbsent(`sent once ${i}`, body)));
      if (answer === "hang") {
        await server.arrived(sent + 1);
        await Effect.runPromise(Fiber.interrupt(fiber));
      } else {
        const result = await Effect.runPromise(Fiber.join(fiber));
        assert.ok(result._tag === "Failure" && result.failure.outcome === "unknown", "the answer was lost");
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(server.asked.length - sent, 1, `sent more than once: ${answer}`);
    }
  });

  it("no connection is left behind by bodies that nobody read", async () => {
    const store = server.store({ connections: 2 });
    const large = new Uint8Array(1 << 20);
    const cases: readonly Answer[] = [part(9, 13, { body: large }), part(10, 20), {
      status: 200,
      headers: ETAG,
      body: large,
    }];
    for (let i = 0; i < 3; i++) {
      for (const answer of cases) {
        server.script.push(answer);
        await Effect.runPromise(Effect.result(store.getRange("a", { offset: 10, length: 5 })));
      }
    }
    server.script.push({ status: 200, headers: ETAG, body: HUNDRED });
    assert.deepEqual(await Effect.runPromise(store.get("a")), HUNDRED);
  });

  it("at most `connections` requests are under way; others wait for one", async () => {
    const store = server.store({ connections: 3 });
    const before = server.asked.length;
    server.script.push("hang", "hang", "hang");
    const fibers = Array.from({ length: 5 }, () => Effect.runFork(Effect.result(store.get("a"))));
    await server.arrived(before + 3);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(server.asked.length - before, 3);
    await Effect.runPromise(Fiber.interruptAll(fibers));
  });
});

describe("joinRanges", () => {
  const joined = (...ranges: ReadonlyArray<readonly [number, number]>) =>
    joinRanges(ranges.map(([offset, length]) => ({ offset, length }))).map((
      { offset, length, members },
    ) => [offset, length, members.join()]);

  it("joinRanges joins what touches, overlaps or lies close, in ascending order", () => {
    assert.deepEqual(joined(), []);
    assert.deepEqual(joined([10, 5], [0, 10]), [[0, 15, "1,0"]]);
    assert.deepEqual(joined([0, 100], [10, 5], [0, 100]), [[0, 100, "0,2,1"]]);
    assert.deepEqual(joined([0, 1], [1 + (16 << 10), 1]), [[0, 2 + (16 << 10), "0,1"]]);
    assert.deepEqual(joined([0, 1], [2 + (16 << 10), 1]), [[0, 1, "0"], [2 + (16 << 10), 1, "1"]]);
  });

  it("joinRanges makes no request larger than a part, unless one range is", () => {
    const mib = 1 << 20;
    assert.deepEqual(joined([0, 5 * mib], [5 * mib, 5 * mib]), [[0, 5 * mib, "0"], [5 * mib, 5 * mib, "1"]]);
    assert.deepEqual(joined([0, 20 * mib], [mib, 1]), [[0, 20 * mib, "0,1"]]);
  });
});
