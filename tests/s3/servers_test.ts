/**
 * The S3 servers for tests keep their data over a kill, and nothing of them survives whoever started them.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Effect } from "effect";
import { isListening, waitUntil } from "../support/s3/processes.ts";
import { type S3Kind, startS3 } from "../support/s3_servers.ts";
import { assert, describe, it } from "../support/suite.ts";
import { S3_MISSING, s3Places, s3Store, storeOptions } from "./places.ts";

/** Every server in the slow runs of Deno, the quick one elsewhere. */
const KINDS: readonly S3Kind[] = s3Places().map(({ kind }) => kind).filter((kind) =>
  "Deno" in globalThis || kind === "r2"
);
const PATIENCE_MILLIS = 20_000;

/** Folders of servers of this run. */
function foldersOf(kind: S3Kind): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith(`phyllite-s3-${kind}-`));
}

/** Starts this file as a program that starts a server and waits; answers it and the server's port. */
async function starter(kind: S3Kind): Promise<readonly [ChildProcess, number]> {
  const file = fileURLToPath(import.meta.url);
  const args = "Deno" in globalThis ? ["run", "-A", "--no-check", file] : [file];
  const child = spawn(process.execPath, [...args, "start", kind], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  let text = "";
  child.stdout.on("data", (chunk: Uint8Array) => void (text += Buffer.from(chunk).toString()));
  await waitUntil("the port of the server", 60_000, () => {
    assert.equal(child.exitCode, null, `the starting program has ended: ${text}`);
    return /port \d+\n/.test(text);
  });
  return [child, Number(/port (\d+)/.exec(text)![1])];
}

if (process.argv[2] === "start") {
  const server = await startS3(process.argv[3] === "rgw" ? "rgw" : "r2");
  process.stdout.write(`port ${new URL(server.endpoint).port}\n`);
} else define();

function define(): void {
  describe("s3: servers for tests", { skip: S3_MISSING }, () => {
    for (const kind of KINDS) {
      it(`startS3 ${kind}: a killed server has its objects when it is back, and none of it is left after stop`, async () => {
        const before = foldersOf(kind);
        const server = await startS3(kind);
        const port = Number(new URL(server.endpoint).port);
        try {
          assert.equal(foldersOf(kind).length, before.length + 1);
          const store = s3Store(storeOptions(server));
          const body = new Uint8Array(100_000).fill(7);
          assert.equal(await Effect.runPromise(store.putIfAbsent("kept/over/the/kill", body)), "created");
          await server.kill();
          assert.equal(await isListening(port), false);
          await Effect.runPromise(Effect.flip(store.get("kept/over/the/kill")));
          await server.restart();
          assert.deepEqual(await Effect.runPromise(store.get("kept/over/the/kill")), body);
          assert.equal(await Effect.runPromise(store.putIfAbsent("kept/over/the/kill", body)), "exists");
          await store.close();
        } finally {
          await server.stop();
        }
        assert.equal(await isListening(port), false);
        assert.deepEqual(foldersOf(kind), before);
        await server.stop();
      });
    }

    it("startS3 leaves nothing behind when the process that called it is killed or told to end", async () => {
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        const before = foldersOf("r2");
        const [child, port] = await starter("r2");
        assert.equal(await isListening(port), true);
        assert.equal(foldersOf("r2").length, before.length + 1);
        child.kill(signal);
        await waitUntil("the end of the server", PATIENCE_MILLIS, async () => !await isListening(port));
        await waitUntil("the end of its folder", PATIENCE_MILLIS, () => foldersOf("r2").length === before.length);
      }
      assert.ok(existsSync(tmpdir()));
    });
  });
}
