/** File store: conformance, durability order, failing disks, links, left-over files. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Cause, Effect, Exit, Fiber } from "effect";
import { virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import { type FileSystem, nodeFileSystem, type OpenFile } from "../../src/store/file/file_system.ts";
import { fileStore } from "../../src/store/file_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { storeConformance } from "../../src/store/store_conformance.ts";
import { inFolder, makeFolder } from "../support/folders.ts";
import { canUseDisk } from "../support/permissions.ts";
import { assert, describe, it } from "../support/suite.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const run = Effect.runPromise;

/** What the disk was asked to do, and what it shall refuse. */
class TroubledDisk {
  readonly calls: Array<string> = [];
  /** Called before each call; may throw. */
  refuse: (call: string, path: string) => void = () => {};
  /** Called after each call. */
  after: (call: string, path: string) => void = () => {};

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: (path, flags, mode) =>
      this.#do("open", path, async () => this.#file(path, await nodeFileSystem.open(path, flags, mode))),
    link: (source, target) => this.#do("link", target, () => nodeFileSystem.link(source, target)),
    rename: (source, target) => this.#do("rename", target, () => nodeFileSystem.rename(source, target)),
    unlink: (path) => this.#do("unlink", path, () => nodeFileSystem.unlink(path)),
    mkdir: (path, mode) => this.#do("mkdir", path, () => nodeFileSystem.mkdir(path, mode)),
    copyFile: (source, target) => this.#do("copyFile", target, () => nodeFileSystem.copyFile(source, target)),
  };

  #file(path: string, file: OpenFile): OpenFile {
    return {
      read: (buffer, offset, length, position) => file.read(buffer, offset, length, position),
      // Writes at most 3 bytes at a time, as a file system may.
      write: (buffer, offset, length, position) =>
        this.#do("write", path, () => file.write(buffer, offset, Math.min(3, length), position)),
      sync: () => this.#do("sync", path, () => file.sync()),
      stat: () => file.stat(),
      close: () => this.#do("close", path, () => file.close()),
    };
  }

  async #do<A>(call: string, path: string, work: () => Promise<A>): Promise<A> {
    this.calls.push(`${call} ${/tmp-\d/.test(path) ? "temp" : path.split("/").slice(-1)[0]}`);
    this.refuse(call, path);
    const answer = await work();
    this.after(call, path);
    return answer;
  }
}

const systemError = (code: string): Error => Object.assign(new Error(code), { code });

async function failure(effect: Effect.Effect<unknown, StoreError>): Promise<StoreError> {
  const exit = await Effect.runPromiseExit(effect);
  assert.ok(Exit.isFailure(exit), "expected a failure");
  const error = Cause.squash(exit.cause);
  assert.ok(error instanceof StoreError, String(error));
  return error;
}

function filesBelow(folder: string): Array<string> {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name).sort();
}

if (canUseDisk()) {
  storeConformance("fileStore", () => {
    const { path: folder, dispose: remove } = makeFolder();
    const dispose = () => {
      const litter = filesBelow(folder).filter((name) => name.startsWith("."));
      remove();
      assert.deepEqual(litter, [], "temporary files at rest");
    };
    return { store: fileStore(join(folder, "not/yet/made")), dispose };
  }, { describe, it });
}

describe("fileStore", { skip: canUseDisk() ? false : "needs the disk" }, () => {
  it("fileStore syncs the file before it gets its name, and the folder after", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const store = fileStore(folder, { fileSystem: disk.fileSystem });
      await run(store.putIfAbsent("wal/1", bytes("x")));
      disk.calls.length = 0;
      await run(store.putIfAbsent("wal/2", bytes("12345")));
      const publishing = ["open temp", "write temp", "write temp", "sync temp", "close temp"];
      const folderSync = ["open wal", "sync wal", "close wal"];
      assert.deepEqual(disk.calls, [...publishing, "link 2", "unlink temp", ...folderSync]);
      disk.calls.length = 0;
      await run(store.put("wal/2", bytes("54321")));
      assert.deepEqual(disk.calls, [...publishing, "rename 2", ...folderSync]);
      assert.deepEqual(readFileSync(join(folder, "wal/2"), "utf8"), "54321");
    }));

  it("fileStore makes folders durable from the root down, before anything is in them", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const store = fileStore(join(folder, "root"), { fileSystem: disk.fileSystem });
      await run(store.put("a/b/object", bytes("x")));
      const until = disk.calls.indexOf("open temp");
      const steps = disk.calls.slice(0, until).filter((call) => !call.startsWith("open") && !call.startsWith("close"));
      const above = folder.split("/").at(-1);
      assert.deepEqual(steps, ["mkdir root", `sync ${above}`, "mkdir a", "sync root", "mkdir b", "sync a"]);
    }));

  it("fileStore gives files and folders to their owner only", () =>
    inFolder(async (folder) => {
      const store = fileStore(join(folder, "root"));
      await run(store.put("a/object", bytes("x")));
      await run(store.copy("a/object", "a/copy"));
      for (
        const [path, mode] of [["root", 0o700], ["root/a", 0o700], ["root/a/object", 0o600], [
          "root/a/copy",
          0o600,
        ]] as const
      ) {
        assert.equal(statSync(join(folder, path)).mode & 0o777, mode, path);
      }
    }));

  for (
    const [code, reason, retryable] of [
      ["ENOSPC", "disk-full", true],
      ["EDQUOT", "disk-full", true],
      ["EMFILE", "unavailable", true],
      ["ENFILE", "unavailable", true],
      ["EROFS", "permission", false],
      ["EIO", "unavailable", true],
      ["EACCES", "permission", false],
    ] as const
  ) {
    it(`fileStore survives ${code} at every step of a write, leaves nothing, and works again afterwards`, () =>
      inFolder(async (folder) => {
        for (const call of ["open", "write", "sync", "close", "link", "rename"]) {
          const disk = new TroubledDisk();
          const store = fileStore(folder, { fileSystem: disk.fileSystem });
          for (const write of [store.put("kept", bytes("new")), store.putIfAbsent("fresh", bytes("new"))]) {
            disk.refuse = () => {};
            await run(store.put("kept", bytes("old")));
            await run(store.delete("fresh"));
            const before = filesBelow(folder);
            let left = 1;
            disk.refuse = (called, path) => {
              if (called === call && (/tmp-\d/.test(path) || called === "link" || called === "rename") && left-- > 0) {
                throw systemError(code);
              }
            };
            const exit = await Effect.runPromiseExit(write);
            if (left > 0) continue; // a put does not link, a putIfAbsent does not rename
            assert.ok(Exit.isFailure(exit), `${call} refused`);
            const error = Cause.squash(exit.cause) as StoreError;
            // An I/O error while the name is given does not say whether it was.
            const outcome = code === "EIO" && (call === "link" || call === "rename") ? "unknown" : "none";
            assert.deepEqual([error.reason, error.retryable, error.outcome], [reason, retryable, outcome], call);
            assert.deepEqual(filesBelow(folder), before, call);
            assert.deepEqual(await run(store.get("kept")), bytes("old"), call);
            await run(write);
          }
        }
      }));
  }

  it("fileStore never syncs a file again whose sync failed: the next try writes a new one", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const store = fileStore(folder, { fileSystem: disk.fileSystem });
      const synced: Array<string> = [];
      let left = 1;
      disk.refuse = (call, path) => {
        if (call !== "sync" || !/tmp-\d/.test(path)) return;
        synced.push(path);
        if (left-- > 0) throw systemError("EIO");
      };
      assert.equal((await failure(store.putIfAbsent("a", bytes("x")))).retryable, true);
      assert.equal(existsSync(join(folder, "a")), false);
      assert.equal(await run(store.putIfAbsent("a", bytes("x"))), "created");
      assert.equal(new Set(synced).size, 2);

      left = 1;
      const upload = await run(store.upload("b"));
      await run(upload.write(bytes("x")));
      assert.equal((await failure(upload.complete)).retryable, false);
      assert.equal((await failure(upload.complete)).reason, "not-found");
      await run(upload.abort);
      assert.deepEqual(filesBelow(folder), ["a"]);
      assert.equal(synced.length, 3);
    }));

  it("fileStore calls the outcome unknown when only the folder's sync failed, and syncs it before it says exists", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const store = fileStore(folder, { fileSystem: disk.fileSystem });
      await run(store.put("other", bytes("x")));
      let left = 2;
      disk.refuse = (call, path) => {
        if (call === "sync" && path === folder && left-- > 0) throw systemError("EIO");
      };
      const first = await failure(store.putIfAbsent("a", bytes("x")));
      assert.deepEqual([first.outcome, first.retryable], ["unknown", true]);
      const second = await failure(store.putIfAbsent("a", bytes("x")));
      assert.deepEqual([second.outcome, second.retryable], ["none", true]);
      assert.equal(await run(store.putIfAbsent("a", bytes("x"))), "exists");

      left = 2;
      const upload = await run(store.upload("b"));
      assert.equal((await failure(upload.complete)).outcome, "unknown");
      assert.equal((await failure(upload.complete)).outcome, "unknown");
      await run(upload.complete);
      left = 1;
      assert.equal((await failure(store.put("c", bytes("x")))).outcome, "unknown");
    }));

  it("fileStore says unsupported where the file system has no hard links, and leaves nothing", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const store = fileStore(folder, { fileSystem: disk.fileSystem });
      for (const code of ["EXDEV", "ENOTSUP"]) {
        disk.refuse = (call) => {
          if (call === "link") throw systemError(code);
        };
        const error = await failure(store.putIfAbsent("a", bytes("x")));
        assert.deepEqual([error.reason, error.retryable], ["unsupported", false]);
      }
      assert.deepEqual(filesBelow(folder), []);
    }));

  it("fileStore follows no symbolic link, of a file, of a folder, in a listing", () =>
    inFolder(async (folder) => {
      const outside = join(folder, "outside");
      const root = join(folder, "root");
      mkdirSync(join(root, "real"), { recursive: true });
      mkdirSync(outside);
      writeFileSync(join(outside, "secret"), "secret");
      symlinkSync(join(outside, "secret"), join(root, "real/link"));
      symlinkSync(outside, join(root, "way-out"));
      symlinkSync(join(root, "real"), join(root, "way-in"));
      const store: ObjectStoreShape = fileStore(root);
      const range = { offset: 0, length: 1 };
      for (const path of ["real/link", "way-out/secret", "way-in/link"]) {
        for (
          const read of [
            store.get(path),
            store.getRange(path, range),
            store.getRanges(path, [range]),
            store.head(path),
            store.copy(path, "stolen"),
          ]
        ) {
          assert.equal((await failure(read)).reason, "invalid-path", path);
        }
      }
      for (
        const write of [
          store.put("way-out/new", bytes("x")),
          store.putIfAbsent("way-out/new", bytes("x")),
          store.upload("way-out/new"),
          store.delete("way-out/secret"),
        ]
      ) {
        assert.equal((await failure(write)).reason, "invalid-path");
      }
      assert.deepEqual((await run(store.list(""))).objects, []);
      assert.equal((await failure(store.list("way-out/"))).reason, "invalid-path");
      await run(store.put("real/link", bytes("mine")));
      assert.equal(readFileSync(join(outside, "secret"), "utf8"), "secret");
      assert.deepEqual(readdirSync(outside), ["secret"]);
      assert.deepEqual(await run(store.get("real/link")), bytes("mine"));
    }));

  it("fileStore keeps its temporary files out of sight, and removes those of dead processes at its first write", () =>
    inFolder(async (folder) => {
      const dead = `.phyllite-tmp-${process.pid}-00ff`;
      const alive = `.phyllite-tmp-${process.ppid}-00ff`;
      mkdirSync(join(folder, "wal"));
      for (const name of [dead, `wal/${dead}`, `wal/${alive}`]) writeFileSync(join(folder, name), "half");
      const store = fileStore(folder);
      assert.deepEqual((await run(store.list(""))).objects, []);
      assert.equal((await failure(store.get(`wal/${alive}`))).reason, "invalid-path");
      assert.equal((await failure(store.put(".phyllite-tmp-/x", bytes("x")))).reason, "invalid-path");
      const upload = await run(store.upload("wal/large"));
      await run(fileStore(folder).put("wal/1", bytes("x")));
      assert.equal(filesBelow(folder).length, 3, "an upload under way was taken for litter");
      await run(upload.complete);
      assert.deepEqual(filesBelow(folder), [alive, "1", "large"]);
      const later = virtualClock(statSync(join(folder, "wal", alive)).mtimeMs + 3_600_001);
      await run(fileStore(folder).put("wal/2", bytes("x")).pipe(Effect.provideContext(virtualClockContext(later))));
      assert.deepEqual(filesBelow(folder), ["1", "2", "large"]);
    }));

  it("fileStore that is interrupted before the name is given never gives it", () =>
    inFolder(async (folder) => {
      const disk = new TroubledDisk();
      const store = fileStore(folder, { fileSystem: disk.fileSystem });
      await run(store.put("kept", bytes("old")));
      for (const write of [store.put("kept", bytes("new")), store.putIfAbsent("fresh", bytes("new"))]) {
        let interrupted: Promise<void> | undefined;
        disk.after = (call) => {
          if (call === "write") interrupted ??= run(Fiber.interrupt(fiber));
        };
        const fiber: Fiber.Fiber<unknown, StoreError> = Effect.runFork(write);
        const exit = await run(Fiber.await(fiber));
        await interrupted;
        assert.ok(Exit.hasInterrupts(exit));
        // The interruption did not wait for the disk; what was begun cleans up behind it.
        for (let turn = 0; turn < 100_000 && filesBelow(folder).length > 1; turn++) await nextTurn();
        assert.deepEqual(filesBelow(folder), ["kept"]);
        assert.equal(readFileSync(join(folder, "kept"), "utf8"), "old");
      }
    }));

  it("fileStore makes its folders again when somebody has removed them", () =>
    inFolder(async (folder) => {
      const store = fileStore(folder);
      await run(store.put("a/b/object", bytes("x")));
      await rm(join(folder, "a"), { recursive: true });
      await run(store.put("a/b/object", bytes("y")));
      assert.deepEqual(await run(store.get("a/b/object")), bytes("y"));
    }));

  it("fileStore does not believe a length: a huge range is refused without memory for it", () =>
    inFolder(async (folder) => {
      const store = fileStore(folder);
      await run(store.put("object", bytes("x")));
      const error = await failure(store.getRange("object", { offset: 0, length: 2 ** 50 }));
      assert.deepEqual([error.reason, error.retryable], ["short-read", false]);
    }));

  it("a virtual clock settles only after the disk has answered", () =>
    inFolder(async (folder) => {
      const clock = virtualClock();
      const store = fileStore(folder);
      let done = false;
      const work = Effect.andThen(Effect.sleep(10), store.put("a/b", bytes("x"))).pipe(Effect.map(() => done = true));
      Effect.runFork(Effect.provideContext(work, virtualClockContext(clock)), { scheduler: clock.scheduler });
      await clock.advance(10);
      assert.equal(done, true);
    }));
});
