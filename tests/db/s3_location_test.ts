/**
 * Databases at "s3://…": every call works there, and leaves no connection behind.
 *
 * @module
 */
import { Effect } from "effect";
import process from "node:process";
import {
  changes,
  clone,
  collectGarbage,
  compactOnce,
  createCheckpoint,
  deleteClone,
  listCheckpoints,
  open,
  openCompactor,
  openReader,
} from "../../mod.ts";
import { main } from "../../src/cli/main.ts";
import type { CliIo } from "../../src/cli/output.ts";
import { resolveLocation } from "../../src/db/location.ts";
import { parseS3Location } from "../../src/store/s3/s3_location.ts";
import { InvalidArgument } from "../../src/errors.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { StandIn } from "../support/s3_stand_in.ts";
import { after, assert, before, describe, it } from "../support/suite.ts";

describe("parseS3Location", () => {
  const refusals: ReadonlyArray<readonly [location: string, message: RegExp, secret?: string]> = [
    ["s3:bucket/x", /give s3:\/\/bucket\/prefix/],
    ["s3://", /the bucket is missing/],
    ["s3:///x", /the bucket is missing/],
    ["s3://bu/x", /bucket: must have 3 to 63/],
    ["s3://Bucket/x", /bucket: must have/],
    ["s3://10.0.0.1/x", /bucket: must have/],
    ["s3://buc..ket/x", /bucket: must have/],
    ["s3://bucket--x-s3/x", /S3 Express/],
    ["s3://bucket:9000/x", /bucket: must have/],
    ["s3://bucket/x#y", /no "#"/],
    ["s3://bucket/x?regoin=eu", /unknown setting "regoin"; known are endpoint, region, pathStyle, allowHttp/],
    ["s3://bucket/x?region=a&region=b", /"region" is given twice/],
    ["s3://bucket/x?region=%zz", /"%" in a setting/],
    ["s3://bucket/x?region=eu%20west", /region: give a name/],
    ["s3://bucket/x?pathStyle=yes", /pathStyle must be true or false/],
    ["s3://bucket/x?endpoint=example.com", /endpoint: it is not a URL/],
    ["s3://bucket/x?endpoint=ftp://example.com", /endpoint: must begin with https/],
    ["s3://bucket/x?endpoint=http://example.com", /endpoint: plain http/],
    ["s3://bucket/x?endpoint=http://127.0.0.1.example.com", /endpoint: plain http/],
    ["s3://AKIAPLANTED:SeCrEt@bucket/x", /credentials do not belong in a location/, "AKIAPLANTED"],
    ["s3://bucket/x?accessKeyId=PLANTED", /credentials do not belong/, "PLANTED"],
    ["s3://bucket/x?secretAccessKey=PLANTED", /credentials do not belong/, "PLANTED"],
    ["s3://bucket/x?X-Amz-Signature=PLANTED", /credentials do not belong/, "PLANTED"],
    ["s3://bucket/x?AKIA123456PLANTED9", /unknown setting \(a name that is not repeated here\)/, "PLANTED"],
    ["s3://bucket/x?endpoint=https://example.com:PLANTED@localhost", /credentials do not belong in a URL/, "PLANTED"],
    ["s3://bucket/x?endpoint=https://localhost%3Ftoken%3DPLANTED", /must end before any "\?"/, "PLANTED"],
    ["s3://bucket/x?endpoint=PLANTED", /not a URL/, "PLANTED"],
  ];
  for (const [location, message, secret] of refusals) {
    it(`parseS3Location refuses ${location}`, () => {
      assert.throws(() => parseS3Location(location), (error) => {
        assert.ok(error instanceof InvalidArgument);
        assert.equal(error.reason, "location");
        assert.match(error.message, message);
        for (const text of [String(error), error.stack ?? "", JSON.stringify(error), String(error.cause)]) {
          if (secret !== undefined) assert.ok(!text.includes(secret), `repeats a secret: ${text}`);
        }
        return true;
      });
    });
  }

  it("parseS3Location reads bucket, prefix and settings", () => {
    const plain = parseS3Location("s3://bucket");
    assert.deepEqual([plain.options, plain.root, plain.name], [{ bucket: "bucket" }, "", "s3://bucket"]);
    const full = parseS3Location(
      "S3://my-bucket/data/orders/?endpoint=http%3A%2F%2Flocalhost%3A9000%2Fs3&region=auto&pathStyle=true&allowHttp=false",
    );
    assert.deepEqual(full.options, {
      bucket: "my-bucket",
      endpoint: "http://localhost:9000/s3",
      region: "auto",
      pathStyle: true,
      allowHttp: false,
    });
    assert.deepEqual([full.root, full.name], ["data/orders", "s3://my-bucket/data/orders"]);
    const far = parseS3Location("s3://bucket/x?endpoint=http://example.com&allowHttp=true");
    assert.equal(far.options.endpoint, "http://example.com");
    const refused = () => parseS3Location("s3://bucket/a/../b");
    assert.throws(refused, (error) => error instanceof InvalidArgument && error.reason === "path");
  });

  it("parseS3Location tells which locations have one store", () => {
    const identity = (location: string) => parseS3Location(location).identity;
    assert.equal(identity("s3://bucket/a?region=x&pathStyle=true"), identity("s3://bucket/b?pathStyle=true&region=x"));
    assert.notEqual(identity("s3://bucket/a?region=x"), identity("s3://bucket/a?region=y"));
    assert.notEqual(identity("s3://bucket/a"), identity("s3://bucket2/a"));
  });
});

const SKIP = canUseNetwork() ? false : "needs a network";

describe("a database in S3", { skip: SKIP }, () => {
  let server: StandIn;
  const kept = new Map<string, string | undefined>();
  const variables = { AWS_ACCESS_KEY_ID: "testkey", AWS_SECRET_ACCESS_KEY: "testsecret", AWS_REGION: "us-east-1" };
  before(async () => {
    for (const [name, value] of Object.entries(variables)) {
      kept.set(name, process.env[name]);
      process.env[name] = value;
    }
    server = await StandIn.start();
  });
  after(async () => {
    for (const [name, value] of kept) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await server.close();
  });

  const at = (prefix: string) => `s3://bucket/${prefix}?endpoint=${server.endpoint}`;
  const quiet = { compactor: false, garbageCollector: false } as const;

  /** The promise's value, when all connections that it made have ended. */
  const leaving = async <A>(work: Promise<A>): Promise<A> => {
    const value = await work;
    await server.isLeft();
    return value;
  };

  async function filled(prefix: string): Promise<string> {
    const db = await open(at(prefix), quiet);
    await db.put("a", "1");
    await db.close();
    return at(prefix);
  }

  it("open at s3:// writes below the prefix, reads it again, and ends its connections when it is closed", async () => {
    await leaving(filled("orders"));
    assert.ok([...server.bucket.objects.keys()].every((key) => key.startsWith("orders/")));
    assert.ok(server.bucket.objects.has("orders/wal/00000000000000000002.sst"));
    const again = await open(at("orders"), quiet);
    assert.equal(new TextDecoder().decode(await again.get("a")), "1");
    assert.ok(server.connections > 0);
    await leaving(again.close());
  });

  it("N3 readers, compactors, feeds and calls at s3:// end their connections", async () => {
    const place = await filled("many");
    const reader = await openReader(place);
    assert.equal(new TextDecoder().decode(await reader.get("a")), "1");
    await leaving(reader.close());
    const compactor = await openCompactor(place);
    await leaving(compactor.close());
    await leaving(compactOnce(place, { full: true }));
    await leaving(collectGarbage(place));
    await leaving(createCheckpoint(place));
    assert.equal((await leaving(listCheckpoints(place))).length, 1);
    const seen: number[] = [];
    for await (const change of changes(place, { follow: false })) seen.push(change.seq);
    await server.isLeft();
    assert.deepEqual(seen, [1]);
    for await (const _ of changes(place, { fromSeq: 1 })) break;
    await server.isLeft();
    await leaving(clone(place, at("copies/many")));
    const copy = await open(at("copies/many"), quiet);
    assert.equal(new TextDecoder().decode(await copy.get("a")), "1");
    await copy.close();
    await leaving(deleteClone(at("copies/many")));
  });

  it("N3 whatever fails to open at s3:// ends its connections", async () => {
    const missing = at("nothing/here");
    const calls: ReadonlyArray<() => Promise<unknown>> = [
      () => open(missing, { create: false }),
      () => open(missing, { compactor: { thread: true } }),
      () => openReader(missing),
      () => openCompactor(missing),
      () => openCompactor(missing, { thread: true }),
      () => compactOnce(missing),
      () => collectGarbage(missing),
      () => listCheckpoints(missing),
      () => clone(missing, at("nothing/there")),
      () => deleteClone(missing),
      async () => {
        for await (const _ of changes(missing));
      },
    ];
    for (const [i, call] of calls.entries()) {
      await assert.rejects(call(), InvalidArgument, `call ${i}`);
      await server.isLeft();
    }
    server.usual = () => ({ status: 403 });
    try {
      await assert.rejects(open(missing), { _tag: "Unavailable", reason: "permission" });
      await server.isLeft();
    } finally {
      server.usual = (asked) => server.bucket.answer(asked);
    }
  });

  it("a fenced writer ends its connections by itself", async () => {
    const place = await filled("fenced");
    const first = await open(place, quiet);
    const second = await open(place, quiet);
    await assert.rejects(first.put("b", "2"), { _tag: "Closed", reason: "fenced" });
    await leaving(second.close());
  });

  it("a given store is left to whoever made it", async () => {
    const store = server.store();
    const db = await open({ store, path: "given" }, quiet);
    await db.close();
    assert.ok((await Effect.runPromise(store.list("given/"))).objects.length > 0);
    await store.close();
    await server.isLeft();
  });

  it("resolveLocation names a place in S3 and makes no request", async () => {
    const before = server.asked.length;
    const place = await Effect.runPromise(resolveLocation(at("x/y")));
    assert.deepEqual([place.name, place.root, place.folder], ["s3://bucket/x/y", "x/y", undefined]);
    assert.deepEqual(place.store.provider, {
      endpoint: `s3://bucket at ${server.endpoint}`,
      conditionalCreate: "unknown",
      connections: 64,
    });
    await Effect.runPromise(place.release!);
    assert.equal(server.asked.length, before);
  });

  it("every command works at s3://, with a log elsewhere too, and leaves nothing open", async () => {
    const said: string[] = [];
    const write = (bytes: Uint8Array) => Promise.resolve(void said.push(new TextDecoder().decode(bytes)));
    const output = { isTerminal: false, columns: 80, write };
    const io = {
      stdout: output,
      stderr: output,
      stdin: { read: () => Promise.resolve(undefined) },
      onStop: () => () => {},
    };
    const run = async (...argv: string[]) => {
      said.splice(0);
      const code = await main(argv, io as unknown as CliIo);
      await server.isLeft();
      assert.equal(code, 0, `${argv.join(" ")}: ${said.join("")}`);
      return said.join("");
    };
    const place = at("cli");
    await run("put", place, "k", "v");
    assert.match(await run("get", place, "k"), /v/);
    assert.match(await run("get", at(""), "k", "--path", "cli"), /v/);
    for (const command of ["scan", "stats", "manifest", "wal", "sst", "checkpoint", "compact", "gc"]) {
      await run(command, place);
    }
    assert.match(await run("changes", place), /put/);
    await run("export", place);
    await run("clone", place, at("cli-clone"));
    await run("scan", at("cli-clone"));
    await run("clone", at("cli-clone"), "--delete");
    await run("delete", place, "k");
    const log = ["--wal-location", at("logs")];
    await run("put", at("apart"), "k", "v", ...log);
    assert.match(await run("get", at("apart"), "k", ...log), /v/);
    assert.ok([...server.bucket.objects.keys()].some((key) => key.startsWith("logs/apart/wal/")));
    assert.ok(![...server.bucket.objects.keys()].some((key) => key.startsWith("apart/wal/")));
  });
});
