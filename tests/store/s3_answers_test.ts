/**
 * What the S3 store makes of every kind of answer, and of none.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError, StoreErrorReason } from "../../src/errors.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { type Answer, refusal, StandIn } from "../support/s3_stand_in.ts";
import { after, assert, before, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";
const BODY = new TextEncoder().encode("body");

const WRITES: Readonly<Record<string, (store: ObjectStoreShape) => Effect.Effect<unknown, StoreError>>> = {
  put: (store) => store.put("a", BODY),
  putIfAbsent: (store) => store.putIfAbsent("a", BODY, { putId: "id" }),
  delete: (store) => store.delete("a"),
  deleteMany: (store) => store.deleteMany!(["a", "b"]),
  copy: (store) => store.copy("a", "b"),
  upload: (store) => Effect.flatMap(store.upload("a"), (upload) => upload.complete),
};
const READS: typeof WRITES = {
  get: (store) => store.get("a"),
  getRange: (store) => store.getRange("a", { offset: 0, length: 2 }),
  getRanges: (store) => store.getRanges("a", [{ offset: 0, length: 2 }]),
  head: (store) => store.head("a"),
  list: (store) => store.list(""),
};

/** An answer that every operation may get, and what it means. */
interface Case {
  readonly answer: Answer;
  readonly reason: StoreErrorReason;
  readonly retryable: boolean;
  /** Whether a write may have happened. */
  readonly unknown: boolean;
  /** Said twice: the first time the credentials are asked for anew. */
  readonly twice?: boolean;
  /** The answer is known by its code alone, which a HEAD does not carry. */
  readonly notHead?: boolean;
}

const CASES: Readonly<Record<string, Case>> = {
  "500 InternalError": { answer: refusal(500, "InternalError"), reason: "unavailable", retryable: true, unknown: true },
  "500 UnknownError": { answer: refusal(500, "UnknownError"), reason: "unavailable", retryable: true, unknown: true },
  "502 of a proxy": {
    answer: { status: 502, body: "<h1>x</h1>" },
    reason: "unavailable",
    retryable: true,
    unknown: true,
  },
  "503 SlowDown": {
    answer: refusal(503, "SlowDown"),
    reason: "throttled",
    retryable: true,
    unknown: true,
    notHead: true,
  },
  "503 without a word": { answer: { status: 503 }, reason: "unavailable", retryable: true, unknown: true },
  "429": {
    answer: refusal(429, "TooManyRequests"),
    reason: "throttled",
    retryable: true,
    unknown: true,
    notHead: true,
  },
  "408": { answer: { status: 408 }, reason: "timeout", retryable: true, unknown: true },
  "400 RequestTimeout": {
    answer: refusal(400, "RequestTimeout"),
    reason: "timeout",
    retryable: true,
    unknown: true,
    notHead: true,
  },
  "409 conflict": {
    answer: refusal(409, "ConditionalRequestConflict"),
    reason: "conflict",
    retryable: true,
    unknown: true,
  },
  "a lost connection": { answer: "drop", reason: "unavailable", retryable: true, unknown: true },
  "400 InvalidArgument": {
    answer: refusal(400, "InvalidArgument"),
    reason: "unavailable",
    retryable: false,
    unknown: false,
    notHead: true,
  },
  "403 AccessDenied": {
    answer: refusal(403, "AccessDenied"),
    reason: "permission",
    retryable: false,
    unknown: false,
    twice: true,
  },
  "401 of R2": { answer: { status: 401 }, reason: "permission", retryable: false, unknown: false, twice: true },
  "400 ExpiredToken": {
    answer: refusal(400, "ExpiredToken"),
    reason: "permission",
    retryable: false,
    unknown: false,
    twice: true,
    notHead: true,
  },
  "403 RequestTimeTooSkewed": {
    answer: refusal(403, "RequestTimeTooSkewed"),
    reason: "unavailable",
    retryable: true,
    unknown: false,
    notHead: true,
  },
  "404 NoSuchBucket": {
    answer: refusal(404, "NoSuchBucket"),
    reason: "unavailable",
    retryable: false,
    unknown: false,
    notHead: true,
  },
  "404 of something that is not S3": {
    answer: { status: 404, body: "<html>nothing here</html>" },
    reason: "unavailable",
    retryable: true,
    unknown: true,
    notHead: true,
  },
  "501 NotImplemented": {
    answer: refusal(501, "NotImplemented"),
    reason: "unsupported",
    retryable: false,
    unknown: false,
  },
  "507": { answer: { status: 507 }, reason: "disk-full", retryable: true, unknown: false },
  "301 PermanentRedirect": {
    answer: refusal(301, "PermanentRedirect", { location: "http://127.0.0.1:1/", "x-amz-bucket-region": "eu-west-9" }),
    reason: "unavailable",
    retryable: false,
    unknown: false,
  },
  "307 to another host": {
    answer: refusal(307, "TemporaryRedirect", { location: "http://127.0.0.1:1/elsewhere" }),
    reason: "unavailable",
    retryable: true,
    unknown: false,
  },
};

describe("s3Store", { skip: SKIP }, () => {
  let server: StandIn;
  before(async () => void (server = await StandIn.start()));
  after(() => server.close());

  const failing = async (run: (store: ObjectStoreShape) => Effect.Effect<unknown, StoreError>, ...script: Answer[]) => {
    server.script.push(...script);
    const error = await Effect.runPromise(Effect.flip(run(server.store())));
    assert.deepEqual(server.script.splice(0), [], "not all was asked for");
    return error;
  };

  for (const [name, { answer, reason, retryable, unknown, twice = false, notHead = false }] of Object.entries(CASES)) {
    it(`s3Store judges ${name} alike for every operation`, async () => {
      for (const [op, run] of Object.entries({ ...READS, ...WRITES })) {
        if (op === "head" && notHead) continue;
        const before = server.asked.length;
        const error = await failing(run, answer, ...(twice ? [answer] : []));
        const outcome = unknown && op in WRITES ? "unknown" : "none";
        assert.deepEqual(
          [error.op, error.reason, error.retryable, error.outcome],
          [op, reason, retryable, outcome],
          `${op}: ${error.message}`,
        );
        assert.equal(server.asked.length - before, twice ? 2 : 1, `${op}: requests`);
      }
    });
  }

  it("s3Store says what the service said, with the request's id and what to do", async () => {
    const said = async (run: typeof WRITES[string], ...answers: Answer[]) => (await failing(run, ...answers)).message;
    assert.match(
      await said(WRITES.put!, refusal(404, "NoSuchBucket")),
      /404 NoSuchBucket \(request REQ123\); .*"bucket"/,
    );
    assert.match(
      await said(WRITES.putIfAbsent!, refusal(501, "NotImplemented")),
      /no conditional writes \(If-None-Match\)/,
    );
    assert.match(
      await said(READS.get!, refusal(301, "PermanentRedirect", { "x-amz-bucket-region": "eu-west-9" })),
      /redirects are not followed.*lies in the region eu-west-9/,
    );
    assert.match(await said(READS.get!, "drop"), /127\.0\.0\.1:\d+: \w+/);
  });

  it("s3Store takes 404 NoSuchKey for a missing object, and a HEAD's 404 without a body", async () => {
    for (const op of ["get", "getRange", "getRanges"]) {
      assert.equal((await failing(READS[op]!, refusal(404, "NoSuchKey"))).reason, "not-found");
    }
    assert.equal((await failing(READS.head!, { status: 404 })).reason, "not-found");
    assert.equal((await failing(WRITES.copy!, refusal(404, "NoSuchKey"))).reason, "not-found");
  });

  it("s3Store creates with If-None-Match and the put-id; 412 is an answer", async () => {
    const store = server.store();
    const run = Effect.runPromise<"created" | "exists", StoreError>;
    assert.equal(await run(store.putIfAbsent("once", BODY, { putId: "first" })), "created");
    assert.equal(server.asked.at(-1)!.headers["if-none-match"], "*");
    assert.equal(server.asked.at(-1)!.headers["x-amz-meta-slatedbputid"], "first");
    assert.equal(await run(store.putIfAbsent("once", BODY, { putId: "second" })), "exists");
    assert.equal((await Effect.runPromise(store.head("once"))).putId, "first");
  });

  it("s3Store sees errors that come with status 200", async () => {
    const disguised = (code: string): Answer => ({ ...(refusal(200, code) as object), status: 200 });
    const throttled = await failing(WRITES.copy!, disguised("SlowDown"));
    assert.deepEqual([throttled.reason, throttled.outcome], ["throttled", "unknown"]);
    assert.equal((await failing(WRITES.copy!, disguised("NoSuchKey"))).reason, "not-found");
    const parts = (store: ObjectStoreShape) =>
      Effect.flatMap(
        store.upload("large"),
        (upload) => Effect.andThen(upload.write(new Uint8Array(9 << 20)), upload.complete),
      );
    for (
      const [code, reason] of [["NoSuchUpload", "not-found"], ["InternalError", "unavailable"]] as const
    ) {
      const error = await failing(parts, "as usual", "as usual", "as usual", disguised(code));
      assert.equal(error.reason, reason, error.message);
    }
    const empty = await failing(parts, "as usual", "as usual", "as usual", { status: 200 });
    assert.deepEqual([empty.retryable, empty.outcome], [true, "unknown"]);
  });

  it("s3Store makes one error of the keys that DeleteObjects did not delete", async () => {
    const keys = (...entries: ReadonlyArray<readonly [string, string]>): Answer => ({
      status: 200,
      body: `<DeleteResult><Deleted><Key>x</Key></Deleted>${
        entries.map(([key, code]) => `<Error><Key>${key}</Key><Code>${code}</Code><Message>m</Message></Error>`).join(
          "",
        )
      }</DeleteResult>`,
    });
    const run = (store: ObjectStoreShape) => store.deleteMany!(["x", "y", "z"]);
    server.script.push(keys(), keys(["y", "NoSuchKey"]));
    for (let i = 0; i < 2; i++) await Effect.runPromise(run(server.store()));
    const mixed = await failing(run, keys(["y", "InternalError"], ["z", "AccessDenied"]));
    assert.deepEqual([mixed.path, mixed.reason, mixed.retryable], ["z", "permission", false]);
    assert.match(mixed.message, /2 of 3 objects were not deleted/);
    const slow = await failing(run, keys(["y", "SlowDown"]));
    assert.deepEqual([slow.reason, slow.retryable], ["throttled", true]);
    assert.match(new TextDecoder().decode(server.asked.at(-1)!.body), /<Quiet>true<\/Quiet>/);
  });

  it("s3Store has no deleteMany where the profile says that the service has none", () => {
    assert.equal(server.store({ profile: "gcs" }).deleteMany, undefined);
    assert.equal(typeof server.store({ profile: "r2" }).deleteMany, "function");
  });

  it("s3Store tells a refused connection, after which nothing can have happened", async () => {
    const store = server.store({ endpoint: "http://127.0.0.1:9" });
    const error = await Effect.runPromise(Effect.flip(store.put("a", BODY)));
    assert.deepEqual([error.reason, error.retryable, error.outcome], ["unavailable", true, "none"]);
    assert.match(error.message, /ECONNREFUSED/);
  });

  it("s3Store refuses everything after close, and closes twice", async () => {
    const store = server.store();
    await Effect.runPromise(store.put("a", BODY));
    await store.close();
    await store.close();
    const error = await Effect.runPromise(Effect.flip(store.get("a")));
    assert.deepEqual([error.reason, error.retryable], ["unavailable", false]);
    assert.match(error.message, /closed/);
  });

  it("s3Store fails what is under way when it is closed; what a write did is unknown", async () => {
    const store = server.store();
    server.script.push("hang");
    const arrivals = server.asked.length + 1;
    const failed = Effect.runPromise(Effect.flip(store.putIfAbsent("closing", BODY)));
    await server.arrived(arrivals);
    await store.close();
    const error = await failed;
    assert.deepEqual([error.reason, error.retryable, error.outcome], ["unavailable", false, "unknown"]);
  });
});

if (SKIP === false) {
  storeConformance("s3Store on the stand-in", async () => {
    const server = await StandIn.start();
    return { store: server.store(), dispose: () => server.close() };
  }, {
    describe,
    // The stand-in writes its lists without escapes and sorts them by UTF-16.
    it: (name, body) => it(name, { skip: /UTF-8|foreign/.test(name) ? "real servers only" : false }, body),
  });
}
