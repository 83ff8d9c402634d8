/**
 * Objects as files below one folder of the local disk.
 *
 * What is acknowledged is on disk: a put costs a write, an fsync, a link or rename and an fsync of the folder. Files
 * belong to their owner only, links are not followed, and requests may be interrupted at any time: what had not got its
 * name by then never gets it. File systems keep no put-ids, so none is answered. Deletes are not synced: one that a
 * power failure undoes leaves an orphan, which garbage collection deletes again.
 *
 * Needs a file system with hard links (conditional create is an exclusive link); without them `putIfAbsent` fails as
 * "unsupported".
 *
 * @module
 */
import { Clock, Effect, Layer } from "effect";
import { toHex } from "../bytes/hex.ts";
import { Ids } from "../env/ids.ts";
import { realIo } from "../env/real_io.ts";
import { StoreError, type StoreOp } from "../errors.ts";
import { listFolder } from "./file/file_listing.ts";
import { FilePublisher, type PublishMode, readFully, type TempFile, writeFully } from "./file/file_publisher.ts";
import {
  AfterPublishing,
  errorCode,
  fileError,
  type FileSystem,
  nodeFileSystem,
  type OpenFile,
  READ_FLAGS,
} from "./file/file_system.ts";
import { FileTree, TEMP_PREFIX } from "./file/file_tree.ts";
import {
  type ByteRange,
  type ListPage,
  type ObjectMeta,
  ObjectStore,
  type ObjectStoreShape,
  type Upload,
} from "./object_store.ts";
import { checkRange, folderProblem, nameProblem, notFound, pastTheEnd } from "./store_names.ts";

/** Settings of {@linkcode fileStore}. */
export interface FileStoreOptions {
  /**
   * The file system; the platform's when absent. For tests that make a disk fail.
   *
   * @internal
   */
  readonly fileSystem?: FileSystem;
}

/**
 * A store of files below `rootDir` (relative to the current folder, if relative). Nothing is touched before the first
 * request. The first write makes the folder when there is none; one that vanishes later is not made again, since then
 * its disk is gone: requests fail as "unavailable" until it is back.
 */
export function fileStore(rootDir: string, options: FileStoreOptions = {}): ObjectStoreShape {
  return new FileObjectStore(new FileTree(options.fileSystem ?? nodeFileSystem, rootDir));
}

/** A store of files as a service. */
export function fileStoreLayer(rootDir: string, options?: FileStoreOptions): Layer.Layer<ObjectStore> {
  return Layer.sync(ObjectStore, () => fileStore(rootDir, options));
}

/** Ranges up to this size are read without asking for the file's size first. */
const TRUSTED_LENGTH_MAX = 1 << 20;

/** What a write needs of its fiber: time for the sweep, and a name that was never used. */
interface WriteTicket {
  readonly nowMillis: number;
  readonly unique: string;
}

class FileObjectStore implements ObjectStoreShape {
  readonly #tree: FileTree;
  readonly #publisher: FilePublisher;
  #writes = 0;

  constructor(tree: FileTree) {
    this.#tree = tree;
    this.#publisher = new FilePublisher(tree);
  }

  readonly get = (path: string): Effect.Effect<Uint8Array, StoreError> =>
    this.#read("get", path, async (file) => {
      const stat = await file.stat();
      if (!stat.isFile()) throw notFound("get", path);
      const bytes = await readFully(file, 0, stat.size);
      if (bytes.length === stat.size) return bytes;
      throw new StoreError({ op: "get", path, reason: "short-read", retryable: true, outcome: "none" });
    });

  readonly getRange = (path: string, range: ByteRange): Effect.Effect<Uint8Array, StoreError> =>
    this.#read("getRange", path, (file) => readRange(file, "getRange", path, range));

  readonly getRanges = (
    path: string,
    ranges: ReadonlyArray<ByteRange>,
  ): Effect.Effect<ReadonlyArray<Uint8Array>, StoreError> =>
    this.#read("getRanges", path, async (file) => {
      const parts: Array<Uint8Array> = [];
      for (const range of ranges) parts.push(await readRange(file, "getRanges", path, range));
      return parts;
    });

  readonly head = (path: string): Effect.Effect<ObjectMeta, StoreError> =>
    this.#request("head", path, async () => {
      const stat = await this.#tree.files.lstat(await this.#tree.locate(path));
      if (stat.isSymbolicLink()) throw Object.assign(new Error(`${path} is a symbolic link`), { code: "ELOOP" });
      if (!stat.isFile()) throw notFound("head", path);
      return { path, size: stat.size, lastModifiedMillis: stat.mtimeMs };
    });

  readonly put = (path: string, body: Uint8Array): Effect.Effect<void, StoreError> =>
    Effect.asVoid(this.#write("put", path, body, "replace"));

  readonly putIfAbsent = (path: string, body: Uint8Array): Effect.Effect<"created" | "exists", StoreError> =>
    this.#write("putIfAbsent", path, body, "create");

  readonly list = (prefix: string, startAfter?: string): Effect.Effect<ListPage, StoreError> =>
    Effect.suspend(() => {
      const problem = folderProblem(prefix);
      if (problem !== undefined) return Effect.fail(problem);
      return realIo(() => listFolder(this.#tree, prefix, startAfter), (cause) => this.#failure("list", prefix, cause));
    });

  readonly delete = (path: string): Effect.Effect<void, StoreError> =>
    this.#request("delete", path, async () => {
      try {
        const absolute = await this.#tree.locate(path);
        if (!(await this.#tree.files.lstat(absolute)).isDirectory()) await this.#tree.files.unlink(absolute);
      } catch (error) {
        if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw error;
        await this.#tree.assertRoot();
      }
    });

  readonly copy = (source: string, target: string): Effect.Effect<void, StoreError> =>
    this.#publish("copy", target, "replace", async (folder, ticket) => {
      const problem = storeNameProblem("copy", source);
      if (problem !== undefined) throw problem;
      const absolute = await this.#sourceOfCopy(source);
      return await this.#publisher.createCopy(folder, ticket.unique, absolute);
    }).pipe(Effect.asVoid);

  readonly upload = (path: string): Effect.Effect<Upload, StoreError> =>
    this.#writing("upload", path, async (folder, ticket) => {
      const temp = await this.#publisher.create(folder, ticket.unique);
      return this.#uploadInto(path, folder, temp);
    });

  #uploadInto(path: string, folder: string, temp: TempFile): Upload {
    let size = 0;
    // "named": it has its name, but the folder is not known to be on disk; completing again syncs it again.
    let state: "open" | "named" | "completed" | "ended" = "open";
    const failure = (cause: unknown): StoreError => this.#failure("upload", path, cause);
    return {
      write: (bytes) =>
        Effect.suspend(() => {
          if (state !== "open") return Effect.die(new Error(`Cannot write to the upload of ${path}: it has ended`));
          // The place moves on only after success, so that the same bytes may be tried again.
          return realIo(() => writeFully(temp.file, bytes, size).then(() => void (size += bytes.length)), failure);
        }),
      complete: Effect.suspend(() => {
        if (state === "completed") return Effect.void;
        if (state === "ended") return Effect.fail(notFound("upload", path, "the upload has ended; start it again"));
        const named = state === "named";
        state = "ended";
        return realIo(async () => {
          try {
            if (named) await this.#tree.syncFolder(folder);
            else await this.#publisher.publish(temp, folder, `${this.#tree.root}/${path}`, "replace");
            state = "completed";
          } catch (error) {
            if (!named && !(error instanceof AfterPublishing)) throw error;
            state = "named";
            throw named ? new AfterPublishing(error) : error;
          }
        }, (cause) => lostUpload(failure(cause)));
      }),
      abort: Effect.suspend(() => {
        if (state !== "open") return Effect.void;
        state = "ended";
        return Effect.ignore(realIo(() => this.#publisher.abandon(temp), failure));
      }),
    };
  }

  async #sourceOfCopy(source: string): Promise<string> {
    try {
      const absolute = await this.#tree.locate(source);
      const stat = await this.#tree.files.lstat(absolute);
      if (stat.isSymbolicLink()) throw Object.assign(new Error(`${source} is a symbolic link`), { code: "ELOOP" });
      if (stat.isFile()) return absolute;
    } catch (error) {
      if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw error;
      await this.#tree.assertRoot();
    }
    throw notFound("copy", source);
  }

  #failure(op: StoreOp, path: string, cause: unknown): StoreError {
    return fileError(this.#tree.root, op, path, cause);
  }

  #request<A>(op: StoreOp, path: string, work: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, StoreError> {
    return Effect.suspend(() => {
      const problem = storeNameProblem(op, path);
      if (problem !== undefined) return Effect.fail(problem);
      const guarded = async (signal: AbortSignal): Promise<A> => {
        try {
          return await work(signal);
        } catch (error) {
          if (errorCode(error) === "ENOENT") await this.#tree.assertRoot();
          throw error;
        }
      };
      return realIo(guarded, (cause) => this.#failure(op, path, cause));
    });
  }

  #read<A>(op: StoreOp, path: string, work: (file: OpenFile) => Promise<A>): Effect.Effect<A, StoreError> {
    return this.#request(op, path, async () => {
      const file = await this.#tree.files.open(await this.#tree.locate(path), READ_FLAGS, 0);
      try {
        return await work(file);
      } finally {
        await file.close();
      }
    });
  }

  #write(
    op: StoreOp,
    path: string,
    body: Uint8Array,
    mode: PublishMode,
  ): Effect.Effect<"created" | "exists", StoreError> {
    return this.#publish(op, path, mode, async (folder, ticket) => {
      const temp = await this.#publisher.create(folder, ticket.unique);
      try {
        await writeFully(temp.file, body, 0);
        return temp;
      } catch (error) {
        await this.#publisher.abandon(temp);
        throw error;
      }
    });
  }

  #publish(
    op: StoreOp,
    path: string,
    mode: PublishMode,
    fill: (folder: string, ticket: WriteTicket) => Promise<TempFile>,
  ): Effect.Effect<"created" | "exists", StoreError> {
    return this.#writing(op, path, async (folder, ticket, signal) => {
      const temp = await fill(folder, ticket);
      if (signal.aborted) {
        await this.#publisher.abandon(temp);
        throw signal.reason;
      }
      return await this.#publisher.publish(temp, folder, `${this.#tree.root}/${path}`, mode);
    });
  }

  /** A request that writes: makes the folder, and makes it again when somebody has removed it. */
  #writing<A>(
    op: StoreOp,
    path: string,
    work: (folder: string, ticket: WriteTicket, signal: AbortSignal) => Promise<A>,
  ): Effect.Effect<A, StoreError> {
    return Effect.withFiber((fiber) => {
      const nowMillis = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe();
      const random = toHex(fiber.getRef(Ids).randomBytes(8));
      const attempt = async (signal: AbortSignal): Promise<A> => {
        const ticket = { nowMillis, unique: random + (this.#writes++).toString(16).padStart(8, "0") };
        return await work(await this.#tree.makeFolderOf(path, nowMillis), ticket, signal);
      };
      return this.#request(op, path, async (signal) => {
        try {
          return await attempt(signal);
        } catch (error) {
          if (errorCode(error) !== "ENOENT" || signal.aborted) throw error;
          this.#tree.forgetFolders();
          return await attempt(signal);
        }
      });
    });
  }
}

async function readRange(file: OpenFile, op: StoreOp, path: string, range: ByteRange): Promise<Uint8Array> {
  checkRange(range);
  if (range.length <= TRUSTED_LENGTH_MAX) {
    const bytes = await readFully(file, range.offset, range.length);
    if (bytes.length === range.length) return bytes;
  }
  const { size } = await file.stat();
  if (range.offset + range.length > size) throw pastTheEnd(op, path, range, size);
  const bytes = await readFully(file, range.offset, range.length);
  if (bytes.length === range.length) return bytes;
  throw new StoreError({ op, path, reason: "short-read", retryable: true, outcome: "none" });
}

/** An upload that failed to complete has given up its file: only a new upload can succeed. */
function lostUpload(error: StoreError): StoreError {
  if (error.outcome === "unknown" || !error.retryable) return error;
  const { op, path, reason, outcome, detail, cause } = error;
  return new StoreError({ op, path, reason, retryable: false, outcome, detail, cause });
}

function storeNameProblem(op: StoreOp, path: string): StoreError | undefined {
  const problem = nameProblem(op, path);
  if (problem !== undefined || !path.includes(TEMP_PREFIX)) return problem;
  if (!path.split("/").some((segment) => segment.startsWith(TEMP_PREFIX))) return undefined;
  const cause = `names that begin with ${TEMP_PREFIX} are the store's own`;
  return new StoreError({ op, path, reason: "invalid-path", retryable: false, outcome: "none", cause });
}
