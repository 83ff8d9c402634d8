/**
 * The folder of a file store: made once, never again after it has vanished, and named in errors.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Effect } from "effect";
import type { StoreError } from "../../src/errors.ts";
import { nodeFileSystem } from "../../src/store/file/file_system.ts";
import { fileStore } from "../../src/store/file_store.ts";
import { inFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const run = Effect.runPromise;

const failure = (effect: Effect.Effect<unknown, StoreError>): Promise<StoreError> => run(Effect.flip(effect));

describe("fileStore", { skip: canUseDisk() ? false : "needs the disk" }, () => {
  it("fileStore waits for a root that has vanished instead of making an empty one in its place", () =>
    inFolder(async (folder) => {
      const root = join(folder, "disk/db");
      const store = fileStore(root);
      await run(store.put("wal/1", bytes("x")));
      const upload = await run(store.upload("wal/large"));
      renameSync(join(folder, "disk"), join(folder, "unmounted"));
      const requests: ReadonlyArray<Effect.Effect<unknown, StoreError>> = [
        store.put("wal/2", bytes("y")),
        store.putIfAbsent("wal/2", bytes("y")),
        store.putIfAbsent("new/2", bytes("y")),
        store.upload("wal/2"),
        store.copy("wal/1", "wal/2"),
        store.get("wal/1"),
        store.getRange("wal/1", { offset: 0, length: 1 }),
        store.head("wal/1"),
        store.list("wal/"),
        store.delete("wal/1"),
      ];
      for (let round = 0; round < 2; round++) {
        for (const request of requests) {
          const error = await failure(request);
          assert.deepEqual([error.reason, error.retryable, error.outcome], ["unavailable", true, "none"], error.op);
          assert.ok(error.message.includes(`folder ${root}: it has vanished`), error.message);
        }
      }
      assert.equal((await failure(upload.complete)).retryable, false);
      assert.deepEqual(readdirSync(folder), ["unmounted"]);
      renameSync(join(folder, "unmounted"), join(folder, "disk"));
      assert.equal(await run(store.putIfAbsent("wal/2", bytes("y"))), "created");
      assert.deepEqual(await run(store.get("wal/1")), bytes("x"));
    }));

  it("fileStore does not write into an empty folder that stands where its root was", () =>
    inFolder(async (folder) => {
      const root = join(folder, "mount");
      const store = fileStore(root);
      await run(store.put("wal/1", bytes("x")));
      renameSync(root, join(folder, "unmounted"));
      mkdirSync(root);
      const error = await failure(store.put("wal/2", bytes("y")));
      assert.deepEqual([error.reason, error.retryable], ["unavailable", true]);
      assert.deepEqual(readdirSync(root), []);
    }));

  it("fileStore that has only read knows its root too, and does not make it again", () =>
    inFolder(async (folder) => {
      const root = join(folder, "db");
      await run(fileStore(root).put("wal/1", bytes("x")));
      const store = fileStore(root);
      assert.equal((await run(store.list("wal/"))).objects.length, 1);
      rmSync(root, { recursive: true });
      assert.equal((await failure(store.put("wal/2", bytes("y")))).reason, "unavailable");
      assert.equal(existsSync(root), false);
    }));

  it("fileStore names its folder when it is a file or can not be written", () =>
    inFolder(async (folder) => {
      const file = join(folder, "file");
      writeFileSync(file, "x");
      const error = await failure(fileStore(file).put("wal/1", bytes("x")));
      assert.deepEqual([error.reason, error.retryable], ["invalid-path", false]);
      assert.ok(error.message.endsWith(`: invalid-path: folder ${file}: ENOTDIR`), error.message);
      const mkdir = () => Promise.reject(Object.assign(new Error("EACCES"), { code: "EACCES" }));
      const refused = await failure(
        fileStore(join(folder, "db"), { fileSystem: { ...nodeFileSystem, mkdir } }).put("a", bytes("x")),
      );
      assert.equal(refused.reason, "permission");
      assert.ok(refused.message.includes(join(folder, "db")), refused.message);
    }));
});
