/**
 * Credentials: where they come from, that refused ones are asked for anew exactly once, and that none of them is ever
 * shown.
 *
 * @module
 */
import { Effect } from "effect";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { inspect } from "node:util";
import { open } from "../../mod.ts";
import { retrying } from "../../src/store/retrying_store.ts";
import type { S3Credentials } from "../../src/store/s3_store.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { type Answer, type Asked, refusal, StandIn } from "../support/s3_stand_in.ts";
import { after, afterEach, assert, before, beforeEach, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";
const BODY = new TextEncoder().encode("body");

/** Key id that a request was signed with. */
function signer({ headers }: Asked): string {
  return /Credential=([^/]+)\//.exec(headers["authorization"] ?? "")?.[1] ?? "";
}

describe("s3Store, credentials", { skip: SKIP }, () => {
  let server: StandIn;
  /** Answered as usual; all others are refused. */
  let good = new Set<string>();
  let refusing: Answer = refusal(403, "InvalidAccessKeyId");
  before(async () => {
    server = await StandIn.start();
    server.usual = (asked) => good.has(signer(asked)) ? server.bucket.answer(asked) : refusing;
  });
  beforeEach(() => {
    refusing = refusal(403, "InvalidAccessKeyId");
    server.asked.splice(0);
  });
  after(() => server.close());

  /** Credentials with ids "key1", "key2", …, one after the other. */
  function successive(): { readonly next: () => Promise<S3Credentials>; asked: number } {
    const source = {
      asked: 0,
      next: () => Promise.resolve({ accessKeyId: `key${++source.asked}`, secretAccessKey: "secret" }),
    };
    return source;
  }

  it("refused credentials are asked for anew once, and the request goes out once more", async () => {
    for (
      const [i, answer] of [
        refusal(403, "AccessDenied"),
        refusal(403, "ExpiredToken"),
        refusal(400, "ExpiredToken"),
        refusal(400, "RequestExpired"),
        refusal(401, "Unauthorized"),
        { status: 403 },
        refusal(403, "SignatureDoesNotMatch"),
      ].entries()
    ) {
      refusing = answer;
      const source = successive();
      const store = server.store({ credentials: source.next });
      good = new Set(["key1"]);
      await Effect.runPromise(store.put("a", BODY));
      assert.equal(source.asked, 1);
      good = new Set(["key2"]);
      server.asked.splice(0);
      assert.equal(
        await Effect.runPromise(store.putIfAbsent(`b${i}`, BODY)),
        "created",
      );
      assert.deepEqual(server.asked.map(signer), ["key1", "key2"]);
      await Effect.runPromise(store.put("a", BODY));
      assert.equal(source.asked, 2, "credentials that work are kept");
    }
  });

  it("a HEAD's 400 without a body may be an expired token", async () => {
    const source = successive();
    const store = server.store({ credentials: source.next });
    good = new Set(["key2"]);
    refusing = { status: 400 };
    server.bucket.objects.set("a", { body: BODY, putId: undefined });
    assert.equal((await Effect.runPromise(store.head("a"))).size, 4);
  });

  it("credentials that stay refused are a permission error after two requests, and the next call asks again", async () => {
    const source = successive();
    const store = server.store({ credentials: source.next });
    good = new Set(["key3"]);
    const error = await Effect.runPromise(Effect.flip(store.get("a")));
    assert.deepEqual([error.reason, error.retryable], ["permission", false]);
    assert.deepEqual(server.asked.map(signer), ["key1", "key2"]);
    await Effect.runPromise(store.put("a", BODY));
    assert.equal(source.asked, 3);
  });

  it("many requests that are refused at once ask for the credentials once", async () => {
    const source = successive();
    const store = server.store({ credentials: source.next });
    good = new Set(["key1"]);
    await Effect.runPromise(store.put("a", BODY));
    good = new Set(["key2"]);
    await Effect.runPromise(Effect.forEach(Array.from({ length: 30 }), () => store.get("a"), { concurrency: 30 }));
    assert.equal(source.asked, 2);
  });

  it("credentials that cannot be had are a permission error", async () => {
    const store = server.store({ credentials: () => Promise.reject(new Error("vault PLANTED is sealed")) });
    const error = await Effect.runPromise(Effect.flip(store.get("a")));
    assert.equal(error.reason, "permission");
    assert.ok(!inspect(error, { depth: 9 }).includes("PLANTED"));
    assert.equal(server.asked.length, 0);
  });

  it("a clock that differs from the service's is corrected by its answer", async () => {
    good = new Set(["testkey"]);
    const later = new Date(Date.now() + 3_600_000);
    server.script.push(refusal(403, "RequestTimeTooSkewed", { date: later.toUTCString() }));
    const store = retrying(server.store(), { firstDelayMillis: 1 });
    await Effect.runPromise(store.put("a", BODY));
    const times = server.asked.map(({ headers }) => headers["x-amz-date"] ?? "");
    assert.equal(times.length, 2);
    const hour = later.toISOString().replace(/[-:]/g, "").slice(0, 11);
    assert.ok(!times[0]!.startsWith(hour) && times[1]!.startsWith(hour), times.join(" then "));
  });
});

describe("s3Store, the usual chain of credentials", { skip: SKIP }, () => {
  let server: StandIn;
  let folder: string;
  const NAMES = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
  ];
  let kept: ReadonlyArray<readonly [string, string | undefined]> = [];
  const environment = (variables: Readonly<Record<string, string>>) => {
    for (const name of NAMES) delete process.env[name];
    Object.assign(process.env, { AWS_EC2_METADATA_DISABLED: "true" }, variables);
  };
  before(async () => {
    server = await StandIn.start();
    folder = mkdtempSync(join(tmpdir(), "phyllite-s3-"));
  });
  beforeEach(() => {
    kept = NAMES.map((name) => [name, process.env[name]]);
    server.asked.splice(0);
  });
  afterEach(() => {
    for (const [name, value] of kept) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
  after(async () => {
    rmSync(folder, { recursive: true });
    await server.close();
  });

  const byChain = () => server.store({ credentials: undefined });

  it("credentials come from the environment, and are read there anew when refused", async () => {
    environment({ AWS_ACCESS_KEY_ID: "old", AWS_SECRET_ACCESS_KEY: "s", AWS_SESSION_TOKEN: "token" });
    const store = byChain();
    await Effect.runPromise(store.put("a", BODY));
    assert.equal(server.asked[0]!.headers["x-amz-security-token"], "token");
    environment({ AWS_ACCESS_KEY_ID: "new", AWS_SECRET_ACCESS_KEY: "s" });
    server.script.push(refusal(400, "ExpiredToken"));
    await Effect.runPromise(store.put("a", BODY));
    assert.deepEqual(server.asked.map(signer), ["old", "old", "new"]);
    await store.close();
  });

  it("credentials come from the shared file, and are read there anew when refused", async () => {
    const file = join(folder, "credentials");
    const write = (id: string) =>
      writeFileSync(file, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = s\n`);
    write("old");
    environment({ AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(folder, "none") });
    const store = byChain();
    await Effect.runPromise(store.put("a", BODY));
    write("new");
    server.script.push(refusal(403, "InvalidAccessKeyId"));
    await Effect.runPromise(store.put("a", BODY));
    assert.deepEqual(server.asked.map(signer), ["old", "old", "new"]);
    await store.close();
  });

  it("no credentials at all are a permission error that says where they are looked for", async () => {
    environment({ AWS_SHARED_CREDENTIALS_FILE: join(folder, "none"), AWS_CONFIG_FILE: join(folder, "none") });
    const store = byChain();
    const error = await Effect.runPromise(Effect.flip(store.get("a")));
    assert.equal(error.reason, "permission");
    assert.match(error.message, /no credentials were found \(AWS_\* variables/);
    assert.equal(server.asked.length, 0);
    await store.close();
  });

  it("an endpoint of the environment is not taken in secret", async () => {
    environment({
      AWS_ACCESS_KEY_ID: "key",
      AWS_SECRET_ACCESS_KEY: "s",
      AWS_REGION: "us-east-1",
      AWS_ENDPOINT_URL: server.endpoint,
    });
    const store = server.store({ credentials: undefined, endpoint: undefined });
    const error = await Effect.runPromise(Effect.flip(store.get("a")));
    assert.deepEqual([error.retryable, server.asked.length], [false, 0]);
    assert.match(error.message, /give it as the option `endpoint`/);
    await store.close();
  });

  it("a region that nobody knows is an error that says how to give one", async () => {
    environment({ AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "s", AWS_CONFIG_FILE: join(folder, "none") });
    const store = server.store({ credentials: undefined, endpoint: undefined });
    const error = await Effect.runPromise(Effect.flip(store.get("a")));
    assert.equal(error.retryable, false);
    assert.match(error.message, /no region is known; give one/);
    await store.close();
  });
});

describe("s3Store, secrets", { skip: SKIP }, () => {
  const SECRETS = ["AKIAPLANTEDID7", "pLaNtEdSeCrEt/9+x", "plantedToken8=="];
  const credentials = { accessKeyId: SECRETS[0]!, secretAccessKey: SECRETS[1]!, sessionToken: SECRETS[2]! };

  /** Everything that a log could hold of `value`. */
  function shown(value: unknown): string {
    const texts = [String(value), inspect(value, { depth: 20, showHidden: true, getters: true })];
    try {
      texts.push(JSON.stringify(value) ?? "");
    } catch {
      // Nothing to read in what has no JSON.
    }
    if (value instanceof Error) {
      texts.push(value.stack ?? "", value.message);
      if (value.cause !== undefined) texts.push(shown(value.cause));
    }
    return texts.join("\n");
  }

  /** Echoes what it was sent in every place that an answer has. */
  function echo(status: number): (asked: Asked) => Answer {
    return (asked) => {
      const all = `${JSON.stringify(asked.headers)} ${SECRETS.join(" ")}`;
      const escaped = all.replace(/[<>&]/g, "");
      return {
        status,
        headers: {
          "x-amz-request-id": SECRETS[1]!,
          "x-amz-id-2": SECRETS[2]!,
          "x-amz-bucket-region": SECRETS[0]!,
          "x-echo": encodeURIComponent(all),
          "content-type": "application/xml",
        },
        body: `<Error><Code>${SECRETS[0]}</Code><Message>${escaped}</Message><RequestId>${SECRETS[1]}</RequestId>` +
          `<AWSAccessKeyId>${SECRETS[0]}</AWSAccessKeyId><StringToSign>${escaped}</StringToSign></Error>`,
      };
    };
  }

  it("N2 no error, no text of the store and no line on the console holds a secret, whatever the service echoes", async () => {
    const server = await StandIn.start();
    const lines: string[] = [];
    const methods = ["log", "info", "warn", "error", "debug", "trace"] as const;
    const kept = methods.map((name) => console[name]);
    for (const name of methods) console[name] = (...parts: unknown[]) => void lines.push(parts.map(shown).join(" "));
    const texts: string[] = [];
    try {
      const store = server.store({ credentials });
      texts.push(shown(store), shown(store.provider), shown(store.profile));
      const calls = [
        () => store.get("a"),
        () => store.getRange("a", { offset: 0, length: 1 }),
        () => store.head("a"),
        () => store.list(""),
        () => store.put("a", BODY),
        () => store.putIfAbsent("a", BODY, { putId: "id" }),
        () => store.delete("a"),
        () => store.deleteMany!(["a", "b"]),
        () => store.copy("a", "b"),
        () => Effect.flatMap(store.upload("a"), (upload) => upload.complete),
      ];
      for (const status of [200, 301, 307, 400, 401, 403, 404, 409, 412, 416, 429, 500, 503]) {
        server.usual = echo(status);
        for (const call of calls) {
          texts.push(shown(await Effect.runPromise(Effect.result(call() as Effect.Effect<unknown, unknown>))));
        }
      }
      for (const answer of ["drop", { status: 200, body: "x", announced: 9 }] as const) {
        server.usual = () => answer;
        for (const call of calls) {
          texts.push(shown(await Effect.runPromise(Effect.result(call() as Effect.Effect<unknown, unknown>))));
        }
      }
      server.usual = echo(403);
      texts.push(shown(await open({ store, path: "db" }).catch((error: unknown) => error)));
    } finally {
      methods.forEach((name, i) => void (console[name] = kept[i]!));
      await server.close();
    }
    assert.ok(texts.length > 140);
    for (const text of [...texts, ...lines]) {
      for (const secret of [...SECRETS, "Signature=", "AWS4-HMAC"]) {
        assert.ok(!text.includes(secret), `holds ${secret}:\n${text.slice(0, 2_000)}`);
        assert.ok(!text.includes(encodeURIComponent(secret)), `holds ${secret} encoded`);
      }
    }
  });
});
