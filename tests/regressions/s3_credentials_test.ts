/**
 * Credentials that do not come, or are none: the store says so and goes on when they are there again.
 *
 * @module
 */
import { Effect } from "effect";
import { inspect } from "node:util";
import type { StoreError } from "../../src/errors.ts";
import type { S3Credentials } from "../../src/store/s3_store.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { refusal, StandIn } from "../support/s3_stand_in.ts";
import { afterEach, assert, beforeEach, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";
const BODY = new Uint8Array(1);
const GOOD: S3Credentials = { accessKeyId: "testkey", secretAccessKey: "x" };

describe("credentials from a function", { skip: SKIP }, () => {
  let server: StandIn;
  beforeEach(async () => void (server = await StandIn.start()));
  afterEach(() => server.close());

  /** A store whose function hangs with its `hanging`-th call. */
  const hangingOnce = (hanging: number) => {
    let calls = 0;
    const credentials = () => ++calls === hanging ? new Promise<S3Credentials>(() => {}) : Promise.resolve(GOOD);
    return server.store({ requestTimeoutMillis: 400, credentials });
  };
  const outcome = (effect: Effect.Effect<unknown, StoreError>) => Effect.runPromise(Effect.result(effect));

  it("one that hangs once does not end the store", async () => {
    const store = hangingOnce(1);
    const first = await outcome(store.put("a", BODY));
    assert.ok(first._tag === "Failure");
    const { reason, retryable } = first.failure;
    assert.deepEqual([reason, retryable, first.failure.outcome], ["timeout", true, "none"]);
    assert.match(first.failure.message, /whoever gives the credentials did not answer in time/);
    assert.equal((await outcome(store.put("a", BODY)))._tag, "Success");
  });

  it("one that hangs when asked anew does not end the store", async () => {
    const store = hangingOnce(2);
    assert.equal((await outcome(store.put("a", BODY)))._tag, "Success");
    server.script.push(refusal(403, "ExpiredToken"), refusal(403, "ExpiredToken"));
    assert.equal((await outcome(store.put("a", BODY)))._tag, "Failure");
    server.script.splice(0);
    server.script.push(refusal(403, "ExpiredToken"));
    assert.equal((await outcome(store.put("a", BODY)))._tag, "Success", "and asks again when refused again");
  });

  const junk: Readonly<Record<string, unknown>> = {
    nothing: undefined,
    "a number": 5,
    "an empty object": {},
    "fields of other types": { accessKeyId: 5, secretAccessKey: {} },
    "a line end in the key": { accessKeyId: "a\r\nX: PLANTED", secretAccessKey: "PLANTED" },
    "a line end after the secret": { accessKeyId: "a", secretAccessKey: "PLANTED\n" },
    "a line end after the token": { ...GOOD, sessionToken: "PLANTED\n" },
    "text for a date": { ...GOOD, expiration: "PLANTED-2026" },
    "a date that is none": { ...GOOD, expiration: new Date(NaN) },
  };
  for (const [name, given] of Object.entries(junk)) {
    it(`one that gives ${name} ends in "permission" with advice`, async () => {
      const store = server.store({ credentials: () => Promise.resolve(given as S3Credentials) });
      const result = await outcome(store.put("a", BODY));
      assert.ok(result._tag === "Failure");
      const { reason, retryable } = result.failure;
      assert.deepEqual([reason, retryable, result.failure.outcome], ["permission", false, "none"]);
      assert.match(result.failure.message, /the credentials given are of no use: accessKeyId/);
      assert.ok(!inspect(result.failure, { depth: 9 }).includes("PLANTED"));
      assert.equal(server.asked.length, 0);
    });
  }
});
