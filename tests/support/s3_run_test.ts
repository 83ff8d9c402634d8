/**
 * What a run does about S3 servers that start, cannot be had, or do not start.
 *
 * @module
 */
import { isUnreachable } from "./s3/install.ts";
import { S3_VARIABLE, ServersForRun } from "./s3_run.ts";
import { type S3Kind, type S3Place, type S3Server, S3Unavailable } from "./s3_servers.ts";
import { assert, describe, it } from "./suite.ts";

/** A run whose servers come to what `outcomes` says. */
function runWith(outcomes: Readonly<Record<S3Kind, "starts" | "unavailable" | "fails">>) {
  const lines: string[] = [];
  const stopped: S3Kind[] = [];
  const start = async (kind: S3Kind): Promise<S3Server> => {
    await Promise.resolve();
    if (outcomes[kind] === "unavailable") throw new S3Unavailable("no way to the mirror");
    if (outcomes[kind] === "fails") throw new Error("the disk is full");
    const place = { kind, endpoint: `http://127.0.0.1/${kind}` } as S3Place;
    const nothing = () => Promise.resolve();
    const stop = () => Promise.resolve(void stopped.push(kind));
    return { ...place, place, seconds: 1, kill: nothing, restart: nothing, crash: nothing, stop };
  };
  return { servers: new ServersForRun(start, (line) => void lines.push(line)), lines, stopped };
}

async function kindsOf(servers: ServersForRun): Promise<S3Kind[] | undefined> {
  const variables = await servers.environment();
  return variables && (JSON.parse(variables[S3_VARIABLE]!) as S3Place[]).map(({ kind }) => kind);
}

describe("ServersForRun", () => {
  it("ServersForRun names the servers to the tests and stops each once", async () => {
    const { servers, lines, stopped } = runWith({ rgw: "starts", r2: "starts" });
    assert.deepEqual(await kindsOf(servers), ["rgw", "r2"]);
    assert.equal(await servers.stop(), 0);
    await servers.stop();
    assert.deepEqual(stopped.sort(), ["r2", "rgw"]);
    assert.equal(lines.length, 2);
  });

  it("ServersForRun leaves out loudly what cannot be had, and goes on with the other", async () => {
    const { servers, lines } = runWith({ rgw: "unavailable", r2: "starts" });
    assert.deepEqual(await kindsOf(servers), ["r2"]);
    assert.equal(await servers.stop(), 0);
    assert.ok(lines.includes("S3 SERVER rgw IS LEFT OUT: no way to the mirror"), lines.join("\n"));
  });

  it("ServersForRun leaves the tests out only when no server can be had", async () => {
    const { servers, lines } = runWith({ rgw: "unavailable", r2: "unavailable" });
    assert.equal(await kindsOf(servers), undefined);
    assert.equal(await servers.stop(), 0);
    assert.match(lines.at(-1) ?? "", /S3 TESTS ARE LEFT OUT/);
  });

  it("ServersForRun counts every other trouble as a failure", async () => {
    const { servers, lines } = runWith({ rgw: "fails", r2: "starts" });
    assert.deepEqual(await kindsOf(servers), ["r2"]);
    assert.equal(await servers.stop(), 1);
    assert.ok(lines.includes("s3 rgw: the disk is full"), lines.join("\n"));
    const both = runWith({ rgw: "fails", r2: "unavailable" });
    assert.equal(await kindsOf(both.servers), undefined);
    assert.equal(await both.servers.stop(), 1);
  });

  it("isUnreachable tells missing ways from broken installations", () => {
    const apt = (output: string) => isUnreachable("apt", output);
    assert.ok(apt("E: Unable to locate package ceph-mon"));
    assert.ok(apt("Err:1 the mirror\n  Could not connect to 127.0.0.1:1 (127.0.0.1)"));
    assert.ok(apt("sudo: a password is required"));
    assert.ok(!apt("dpkg: error processing package ceph-osd (--configure): installed script returned 1"));
    const npm = (output: string) => isUnreachable("npm", output);
    assert.ok(npm("npm error code ECONNREFUSED"));
    assert.ok(npm("npm error code E503"));
    assert.ok(!npm("npm error code ENOSPC"));
    assert.ok(!npm("npm error code ETARGET"));
  });
});
