/**
 * Disk caches over a memory store, with everything that goes to the store and to the disk in view.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Cause, Effect, Exit } from "effect";
import { StoreError } from "../../src/errors.ts";
import { diskCache, type DiskCacheOptions, type DiskCacheStore } from "../../src/store/disk_cache.ts";
import { PARTS_FOLDER } from "../../src/store/disk_cache/part_name.ts";
import { type FileSystem, nodeFileSystem, type OpenFile } from "../../src/store/file/file_system.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import { metered, type MeteredStore } from "../../src/store/metered_store.ts";
import { inFolder } from "../support/folders.ts";
import { assert } from "../support/suite.ts";

export const run = Effect.runPromise;

/** Name of the n-th table. */
export function table(n: number, root = "db"): string {
  return `${root}/compacted/01JD${String(n).padStart(22, "0")}.sst`;
}

/** Bytes that differ from place to place and from `seed` to `seed`. */
export function body(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = Math.imul(seed, 0x9e3779b1) | 1;
  for (let i = 0; i < length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x;
  }
  return bytes;
}

/** A counted memory store, and caches over it. */
export class CacheWorld {
  readonly memory: MemoryStore = memoryStore();
  readonly store: MeteredStore = metered(this.memory, { component: "db" });
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  open(options: Partial<DiskCacheOptions> = {}): DiskCacheStore {
    return diskCache(this.store, { folder: this.folder, identity: "test", partBytes: 8192, ...options });
  }

  /** Requests that the store got. */
  get requests(): number {
    return Object.values(this.store.report().requests.db ?? {}).reduce((sum, count) => sum + count, 0);
  }

  /** Requests that `work` makes the store get. */
  async requestsOf(work: () => Promise<unknown>): Promise<number> {
    const before = this.requests;
    await work();
    return this.requests - before;
  }

  /** Paths of all files of the cache, in order. */
  files(): string[] {
    return readdirSync(join(this.folder, PARTS_FOLDER), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort();
  }
}

/** Fails unless `store` answers this range as `memory` has it. */
export async function same(
  store: DiskCacheStore,
  memory: MemoryStore,
  path: string,
  offset: number,
  length: number,
): Promise<void> {
  const found = await run(store.getRange(path, { offset, length }));
  const expected = memory.peek(path)!.subarray(offset, offset + length);
  assert.ok(Buffer.from(expected).equals(found), `bytes ${offset}+${length} of ${path} differ`);
}

/** The error of an effect that must fail. */
export async function failure(effect: Effect.Effect<unknown, StoreError>): Promise<StoreError> {
  const exit = await Effect.runPromiseExit(effect);
  assert.ok(Exit.isFailure(exit), "expected a failure");
  const error = Cause.squash(exit.cause);
  assert.ok(error instanceof StoreError, String(error));
  return error;
}

export const systemError = (code: string): Error => Object.assign(new Error(code), { code });

/** A file system whose calls can be made to fail or wait. */
export class TroubledDisk {
  readonly calls: string[] = [];
  /** Called before each call with its name and path; may throw, or answer something to wait for. */
  before: (call: string, path: string) => unknown = () => {};

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: (path, flags, mode) =>
      this.#do("open", path, async () => this.#file(path, await nodeFileSystem.open(path, flags, mode))),
    rename: (source, target) => this.#do("rename", target, () => nodeFileSystem.rename(source, target)),
    unlink: (path) => this.#do("unlink", path, () => nodeFileSystem.unlink(path)),
    mkdir: (path, mode) => this.#do("mkdir", path, () => nodeFileSystem.mkdir(path, mode)),
    readdir: (path) => this.#do("readdir", path, () => nodeFileSystem.readdir(path)),
    lstat: (path) => this.#do("lstat", path, () => nodeFileSystem.lstat(path)),
  };

  #file(path: string, file: OpenFile): OpenFile {
    return {
      read: (buffer, offset, length, position) =>
        this.#do("read", path, () => file.read(buffer, offset, length, position)),
      write: (buffer, offset, length, position) =>
        this.#do("write", path, () => file.write(buffer, offset, Math.min(1000, length), position)),
      sync: () => this.#do("sync", path, () => file.sync()),
      stat: () => file.stat(),
      // A close that fails has closed all the same.
      close: () => file.close().then(() => this.#do("close", path, () => Promise.resolve())),
    };
  }

  async #do<A>(call: string, path: string, work: () => Promise<A>): Promise<A> {
    this.calls.push(call);
    await this.before(call, path);
    return await work();
  }
}

/** The bytes of a file. */
export function bytesOf(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path));
}

/** Runs `work` with a world in a folder of its own. */
export const inWorld = (work: (world: CacheWorld) => Promise<void>): Promise<void> =>
  inFolder((folder) => work(new CacheWorld(join(folder, "cache"))));
