/**
 * Settings of a store in S3 and what is known of services.
 *
 * @module
 */
import { Effect, type Layer } from "effect";
import { inspect } from "node:util";
import { InvalidArgument } from "../../src/errors.ts";
import { ObjectStore } from "../../src/store/object_store.ts";
import { profileOfHost, S3_PROFILES, type S3Profile } from "../../src/store/s3/profiles.ts";
import { type S3Options, s3Settings } from "../../src/store/s3/s3_options.ts";
import { canUseNetwork } from "../support/permissions.ts";
import { StandIn } from "../support/s3_stand_in.ts";
import { assert, describe, it } from "../support/suite.ts";

const SKIP = canUseNetwork() ? false : "needs a network";

describe("s3Settings", () => {
  const refusals: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
    [undefined, /give an object with a bucket/],
    [{}, /bucket: give its name/],
    [{ bucket: "bucket", regoin: "x" }, /unknown "regoin"/],
    [{ bucket: "bucket", AKIAPLANTED99: 1 }, /unknown \(a name that is not repeated/],
    [{ bucket: "bucket", endpoint: "PLANTED" }, /endpoint: it is not a URL/],
    [{ bucket: "bucket", endpoint: "https://localhost:PLANTED@host" }, /credentials do not belong in a URL/],
    [{ bucket: "bucket", endpoint: "https://localhost?key=PLANTED" }, /must end before any/],
    [{ bucket: "bucket", endpoint: "http://s3.example.com" }, /plain http/],
    [{ bucket: "bucket", endpoint: "http://s3.example.com:9000" }, /plain http/],
    [{ bucket: "bucket", endpoint: "file:///x" }, /must begin with https/],
    [{ bucket: "bucket", profile: "PLANTED" }, /profile: known are aws, r2/],
    [{ bucket: "bucket", profile: "__proto__" }, /profile: known are aws/],
    [{ bucket: "bucket", pathStyle: "true" }, /pathStyle: must be true or false/],
    [{ bucket: "bucket", partBytes: 1 << 20 }, /partBytes: must be a whole number from 5242880/],
    [{ bucket: "bucket", connections: 0 }, /connections: must be a whole number from 1/],
    [{ bucket: "bucket", requestTimeoutMillis: NaN }, /requestTimeoutMillis/],
    [{ bucket: "bucket", multipartAboveBytes: 2 ** 40 }, /multipartAboveBytes/],
    [{ bucket: "bucket", credentials: { accessKeyId: "PLANTED" } }, /secretAccessKey is missing/],
    [{ bucket: "bucket", credentials: "PLANTED" }, /give \{ accessKeyId, secretAccessKey \}/],
    [
      { bucket: "bucket", credentials: { accessKeyId: "k", secretAccessKey: "PLANTED\n" } },
      /without blanks, line ends/,
    ],
    [
      { bucket: "bucket", credentials: { accessKeyId: "k", secretAccessKey: "s", sessionToken: 5 } },
      /sessionToken must/,
    ],
    [{ bucket: "bucket", credentials: { accessKeyId: "k", secretAccessKey: "s", expiration: "PLANTED" } }, /a Date/],
    [{ bucket: "bucket", profile: [] }, /profile: known are aws/],
    [{ bucket: "bucket", profile: 5 }, /profile: known are aws/],
    [{ bucket: "bucket", profile: { PLANTED: 5 } }, /a field that is not known; known are name, /],
    [{ bucket: "bucket", profile: { region: "eu" } }, /profile: region must be "chain", \{ fixed/],
    [{ bucket: "bucket", profile: { region: null } }, /profile: region must be/],
    [{ bucket: "bucket", profile: { region: { fixed: "a b" } } }, /profile: region must be/],
    [{ bucket: "bucket", profile: { checksums: "PLANTED" } }, /profile: checksums must be "WHEN_REQUIRED"/],
    [{ bucket: "bucket", profile: { addressing: 5 } }, /profile: addressing must be/],
    [{ bucket: "bucket", profile: { deleteMany: "no" } }, /profile: deleteMany must be true or false/],
    [{ bucket: "bucket", profile: { conditionalCreate: "yes" } }, /profile: conditionalCreate must be/],
    [{ bucket: "bucket", profile: { name: "a\nb" } }, /profile: name must be/],
    [{ bucket: "a_b" }, /bucket: must have/],
    [{ bucket: "1.2.3.4", pathStyle: true }, /no IP address/],
    [{ bucket: "a".repeat(256), pathStyle: true }, /older names: to 255/],
    [{ bucket: "a".repeat(64) }, /must have 3 to 63/],
  ];
  for (const [i, [options, message]] of refusals.entries()) {
    it(`s3Settings refuses wrong settings and repeats no secret, ${i + 1}: ${message.source}`, () => {
      assert.throws(() => s3Settings(options as S3Options), (error) => {
        assert.ok(error instanceof InvalidArgument && error.reason === "options");
        assert.match(error.message, message);
        assert.ok(!inspect(error, { depth: 9 }).includes("PLANTED"));
        return true;
      });
    });
  }

  it("s3Settings allows plain http to this machine, and elsewhere when it is said", () => {
    for (const host of ["localhost:9000", "127.0.0.1", "127.8.9.1:1", "[::1]:9000", "s3.localhost"]) {
      assert.equal(s3Settings({ bucket: "bucket", endpoint: `http://${host}` }).endpoint, `http://${host}`);
    }
    assert.equal(
      s3Settings({ bucket: "bucket", endpoint: "http://nas.example.com/", allowHttp: true }).endpoint,
      "http://nas.example.com",
    );
    for (const host of ["localhost.example.com", "127.0.0.1.nip.io", "10.0.0.1", "[::2]", "0.0.0.0"]) {
      assert.throws(() => s3Settings({ bucket: "bucket", endpoint: `http://${host}` }), InvalidArgument, host);
    }
  });

  it("s3Settings takes a profile in part, and fields that are undefined for absent", () => {
    const profile = { name: "ours", region: undefined, deleteMany: false } as unknown as S3Profile;
    const settings = s3Settings({ bucket: "bucket", profile });
    assert.deepEqual([settings.profile.name, settings.profile.deleteMany], ["ours", false]);
    assert.deepEqual(settings.profile.region, S3_PROFILES.generic.region);
  });

  it("s3Settings takes older names of buckets where they stand in the path", () => {
    assert.equal(s3Settings({ bucket: "a".repeat(255), pathStyle: true }).bucket.length, 255);
    assert.equal(s3Settings({ bucket: "Old_Bucket", pathStyle: true }).bucket, "Old_Bucket");
    assert.throws(() => s3Settings({ bucket: "a/b", pathStyle: true }), InvalidArgument);
    assert.throws(() => s3Settings({ bucket: "a..b", pathStyle: true }), InvalidArgument);
  });

  it("profileOfHost knows services by the end of their names", () => {
    const hosts = {
      "s3.eu-central-1.amazonaws.com": "aws",
      "s3.cn-north-1.amazonaws.com.cn": "aws",
      "0123abc.r2.cloudflarestorage.com": "r2",
      "0123abc.eu.R2.CloudflareStorage.com": "r2",
      "ams3.digitaloceanspaces.com": "spaces",
      "storage.googleapis.com": "gcs",
      "fly.storage.tigris.dev": "tigris",
      "s3.us-west-004.backblazeb2.com": "b2",
      "oss-eu-central-1.aliyuncs.com": "oss",
      "localhost": "generic",
      "amazonaws.com.example.com": "generic",
      "evil-amazonaws.com": "generic",
    };
    for (const [host, name] of Object.entries(hosts)) assert.equal(profileOfHost(host).name, name, host);
    assert.equal(profileOfHost(undefined).name, "aws");
  });

  it("profiles: only AWS and R2 are known to refuse a second create", () => {
    const known = Object.values(S3_PROFILES).filter(({ conditionalCreate }) => conditionalCreate === "known");
    assert.deepEqual(known.map(({ name }) => name), ["aws", "r2"]);
    for (const [name, profile] of Object.entries(S3_PROFILES)) assert.equal(profile.name, name);
  });

  it("s3Settings follows the profile in region and addressing, unless told otherwise", () => {
    const r2 = s3Settings({ bucket: "bucket", endpoint: "https://x.r2.cloudflarestorage.com", region: "eu-west-1" });
    assert.deepEqual([r2.region, r2.pathStyle, r2.profile.name], ["auto", true, "r2"]);
    const aws = s3Settings({ bucket: "bucket", region: "eu-west-1" });
    assert.deepEqual([aws.region, aws.pathStyle, aws.endpoint], ["eu-west-1", false, undefined]);
    const own = s3Settings({ bucket: "bucket", profile: { ...S3_PROFILES.ceph, name: "ours", deleteMany: false } });
    assert.deepEqual([own.profile.name, own.profile.deleteMany, own.pathStyle], ["ours", false, true]);
    assert.equal(s3Settings({ bucket: "bucket", profile: "ceph", pathStyle: false }).pathStyle, false);
  });
});

describe("s3StoreLayer", { skip: SKIP }, () => {
  it("s3StoreLayer ends its connections with its scope, and refuses wrong settings", async () => {
    const { s3StoreLayer } = await import("../../src/store/s3_store.ts");
    const server = await StandIn.start();
    const credentials = { accessKeyId: "k", secretAccessKey: "s" };
    const work = Effect.gen(function* () {
      const store = yield* ObjectStore;
      yield* store.put("a", new Uint8Array(3));
      return (yield* store.get("a")).length;
    });
    const layer = s3StoreLayer({ bucket: "bucket", endpoint: server.endpoint, credentials });
    assert.equal(await Effect.runPromise(Effect.provide(work, layer)), 3);
    await server.isLeft();
    const wrong = Effect.flip(
      Effect.provide(work, s3StoreLayer({ bucket: "" }) as Layer.Layer<ObjectStore, InvalidArgument>),
    );
    assert.ok(await Effect.runPromise(wrong) instanceof InvalidArgument);
    await server.close();
  });
});
