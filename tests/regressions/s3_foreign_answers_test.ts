/**
 * Answers that are not S3's, from a maintenance page or a gateway: no write is acknowledged by one, nothing is missing
 * because of one, and no writer ends by one.
 *
 * @module
 */
import { Effect } from "effect";
import { open, openReader } from "../../mod.ts";
import type { StoreError } from "../../src/errors.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { storeErrorOf } from "../../src/store/s3/s3_failures.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { type Answer, refusal, StandIn } from "../support/s3_stand_in.ts";
import { afterEach, assert, beforeEach, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";
const BODY = new TextEncoder().encode("body");
const HTML = { "content-type": "text/html" };
const PAGE = { status: 200, headers: HTML, body: "<html><head><title>Back soon</title></head><body/></html>" } as const;

const listing = (inner: string): Answer => ({ status: 200, body: `<ListBucketResult>${inner}</ListBucketResult>` });
const entry = (inner: string): Answer => listing(`<IsTruncated>false</IsTruncated><Contents>${inner}</Contents>`);
const DATE = "<LastModified>2026-11-21T12:00:00.000Z</LastModified>";

type Ask = (store: ObjectStoreShape) => Effect.Effect<unknown, StoreError>;

/** Requests, and answers that do not count for them. */
const FOREIGN: Readonly<Record<string, readonly [ask: Ask, writes: boolean, answers: readonly Answer[]]>> = {
  put: [(store) => store.put("a", BODY), true, [PAGE, { status: 200 }, { status: 202, headers: { etag: '"e"' } }]],
  putIfAbsent: [(store) => store.putIfAbsent("a", BODY), true, [PAGE, { status: 200 }, { status: 204 }]],
  delete: [(store) => store.delete("a"), true, [PAGE]],
  deleteMany: [(store) => store.deleteMany!(["a", "b"]), true, [
    PAGE,
    { status: 200 },
    { status: 200, body: "<DeleteResult><Deleted><Key>a</Key></Deleted>" },
    { status: 204 },
  ]],
  copy: [(store) => store.copy("a", "b"), true, [PAGE, { status: 200 }, { status: 204 }]],
  get: [(store) => store.get("a"), false, [
    PAGE,
    { status: 200, body: BODY },
    { status: 206, headers: { etag: '"e"', "content-range": "bytes 0-3/9" }, body: BODY },
  ]],
  getRange: [(store) => store.getRange("a", { offset: 0, length: 2 }), false, [PAGE]],
  head: [(store) => store.head("a"), false, [
    PAGE,
    { status: 200, headers: { etag: '"e"' }, announced: 4 },
    { status: 200, headers: { "last-modified": "Sat, 21 Nov 2026 12:00:00 GMT" }, announced: 4 },
    { status: 200, headers: { etag: '"e"', "last-modified": "some day" }, announced: 4 },
    { status: 404, headers: HTML },
  ]],
  list: [(store) => store.list(""), false, [
    PAGE,
    { status: 200 },
    listing(""),
    entry(`<Key>x</Key><Size>1</Size>`),
    entry(`<Key>x</Key>${DATE}`),
    entry(`<Size>1</Size>${DATE}`),
    ...["-5", "1e400", "many"].map((size) => entry(`<Key>x</Key><Size>${size}</Size>${DATE}`)),
    entry(`<Key>x</Key><Size>1</Size><LastModified>some day</LastModified>`),
    { status: 200, body: `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x</Key>${DATE}` },
    {
      status: 200,
      body: `<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x</Key>${DATE}<Size>1</Size></Contents>`,
    },
  ]],
};

/** Refusals that say nothing of S3, for a request that a gateway met. */
const REFUSALS: Readonly<Record<string, Answer>> = {
  "302 to a login page": { status: 302, headers: { location: "http://login.example.com/" }, body: "<html>" },
  "400 of a gateway": { status: 400, body: "<html>Bad Request</html>" },
  "404": { status: 404, body: "<html>" },
  "405": { status: 405, body: "<html>" },
  "413": { status: 413, body: "<html>" },
  "416": { status: 416 },
  "421": { status: 421 },
  "501": { status: 501, body: "<html>" },
};

describe("answers that are not S3's", { skip: SKIP }, () => {
  let server: StandIn;
  beforeEach(async () => void (server = await StandIn.start()));
  afterEach(() => server.close());

  const failing = async (ask: Ask, answer: Answer) => {
    server.script.push(answer);
    const result = await Effect.runPromise(Effect.result(ask(server.store())));
    if (result._tag === "Success") assert.fail(`counted: ${JSON.stringify(answer)}`);
    return result.failure;
  };

  for (const [op, [ask, writes, answers]] of Object.entries(FOREIGN)) {
    it(`N4 an answer counts only with S3's marks: ${op}`, async () => {
      for (const answer of answers) {
        const error = await failing(ask, answer);
        assert.deepEqual([error.op, error.retryable], [op, true], error.message);
        assert.equal(error.outcome, writes ? "unknown" : "none", JSON.stringify(answer));
        assert.ok(error.reason === "unavailable" || error.reason === "short-read", error.message);
        assert.ok(!error.message.includes("Back soon"), "repeats the page");
      }
    });
  }

  it("N4 an answer counts only with S3's marks: uploads in parts", async () => {
    const size = 11 << 20;
    const steps = ["uploads", "partNumber", "complete"] as const;
    for (const step of steps) {
      for (const answer of [PAGE, { status: 200 }] as const) {
        const usual = (asked: Parameters<typeof server.usual>[0]) => server.bucket.answer(asked);
        server.usual = (asked) => {
          const isComplete = asked.method === "POST" && asked.query.has("uploadId");
          return (step === "complete" ? isComplete : asked.query.has(step)) ? answer : usual(asked);
        };
        const store = server.store({ partBytes: 5 << 20, multipartAboveBytes: 1 << 20 });
        const error = await Effect.runPromise(Effect.flip(store.put("large", new Uint8Array(size))));
        assert.deepEqual([error.retryable, error.outcome], [true, "unknown"], error.message);
        assert.ok(!server.bucket.objects.has("large"));
      }
    }
  });

  it("S3's own documents count in all the forms that services give them", async () => {
    const store = server.store();
    const head = '<?xml version="1.0" encoding="UTF-8"?>\n';
    const ns = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';
    server.script.push({ status: 200, body: `${head}<DeleteResult${ns}/>` }, {
      status: 200,
      body: `\n  ${head}<DeleteResult${ns}></DeleteResult>\n`,
    });
    for (let i = 0; i < 2; i++) await Effect.runPromise(store.deleteMany!(["a"]));
    server.script.push({
      status: 200,
      body: `${head}<ListBucketResult${ns}><IsTruncated>false</IsTruncated></ListBucketResult>`,
    });
    assert.deepEqual((await Effect.runPromise(store.list(""))).objects, []);
    server.script.push({ status: 200 });
    await Effect.runPromise(store.delete("a"));
    assert.deepEqual(server.script, []);
  });

  it("a write that is durable is there, although its first PUT was answered by a page", async () => {
    const store = server.store();
    const db = await open({ store, path: "db" }, { compactor: false });
    await db.put("before", "1");
    await db.flush();
    let pages = 0;
    const usual = server.usual;
    server.usual = (asked) =>
      asked.method === "PUT" && asked.key.includes("/wal/") && pages++ === 0 ? PAGE : usual(asked);
    await db.put("kept", "2");
    await db.flush();
    assert.equal(pages, 2, "the page was the only answer");
    const reader = await openReader({ store, path: "db" });
    assert.deepEqual(await reader.get("kept"), new TextEncoder().encode("2"));
    await reader.close();
    await db.close();
  });

  for (const [name, answer] of Object.entries(REFUSALS)) {
    it(`a writer outlives an answer of a gateway: ${name}`, async () => {
      const db = await open({ store: server.store(), path: "db" }, { compactor: false });
      let met = 0;
      const usual = server.usual;
      server.usual = (asked) =>
        asked.method === "PUT" && asked.key.includes("/wal/") && met++ === 0 ? answer : usual(asked);
      await db.put("a", "1");
      await db.flush();
      assert.equal(met, 2);
      await db.close();
    });
    it(`a bare refusal is no word of S3's: ${name}`, async () => {
      const error = await failing((store) => store.putIfAbsent("a", BODY), answer);
      assert.deepEqual([error.reason, error.retryable, error.outcome], ["unavailable", true, "unknown"]);
      assert.match(error.message, /not an answer of S3|redirects are not followed/);
    });
  }

  it("what S3 says by its code, or under its own headers, stays final", async () => {
    for (const answer of [refusal(405, "MethodNotAllowed"), refusal(501, "NotImplemented")]) {
      const error = await failing((store) => store.put("a", BODY), answer);
      assert.deepEqual([error.reason, error.retryable], ["unsupported", false]);
    }
    for (const status of [301, 400, 413]) {
      const marked: Answer = { status, headers: { "x-amz-request-id": "R1" } };
      const error = await failing((store) => store.put("a", BODY), marked);
      assert.deepEqual([error.reason, error.retryable, error.outcome], ["unavailable", false, "none"]);
    }
    const marked = await failing((store) => store.put("a", BODY), {
      status: 501,
      headers: { "x-amz-request-id": "R1" },
    });
    assert.deepEqual([marked.reason, marked.retryable], ["unsupported", false]);
  });

  it("a database behind a page cannot be opened, and the message says why", async () => {
    const db = await open({ store: server.store(), path: "db" }, { compactor: false });
    await db.close();
    server.usual = () => PAGE;
    const error = await openReader({ store: server.store(), path: "db" }, { requestTimeoutMillis: 500 }).then(
      () => assert.fail("opened"),
      (failed: Error) => failed,
    );
    assert.match(error.message, /not an answer of S3/);
  });
});

describe("failures of the network", () => {
  const judged = (code: string) => {
    const failure = { status: 0, code, requestId: "", bucketRegion: "", isMarked: false, isPage: false };
    return storeErrorOf("put", "a", failure, true, { bucket: "bucket", host: "s3.example.com" });
  };

  it("an untrusted or expired certificate is worth repeating: operators mend it", () => {
    for (const code of ["CERT_HAS_EXPIRED", "DEPTH_ZERO_SELF_SIGNED_CERT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"]) {
      const error = judged(code);
      assert.deepEqual([error.retryable, error.outcome], [true, "none"]);
      assert.match(error.message, /certificate of the service is not trusted/);
    }
  });

  it("after an unreachable host or network nobody knows what a write did", () => {
    for (const code of ["EHOSTUNREACH", "ENETUNREACH"]) assert.equal(judged(code).outcome, "unknown");
    for (const code of ["ECONNREFUSED", "ENOTFOUND"]) assert.equal(judged(code).outcome, "none");
  });
});
