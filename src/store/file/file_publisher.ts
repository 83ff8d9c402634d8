/**
 * Gives finished files their names: a temporary file beside the target, fsync, then link or rename, then fsync of the
 * folder.
 *
 * Invariants:
 * - Under its name a file is always whole and on disk: nothing is linked or renamed before its fsync succeeded.
 * - A file whose fsync failed is never synced again (the kernel may have dropped its pages and would say yes): it is
 *   abandoned, and another try writes a new one.
 * - "created" is answered only after the folder is on disk, and "exists" too: the name may be our own, from a try
 *   whose last step failed.
 * - At rest there is no temporary file; a crash leaves at most those of the requests under way.
 *
 * @module
 */
import {
  AfterPublishing,
  CREATE_FLAGS,
  errorCode,
  FILE_MODE,
  Obstacle,
  type OpenFile,
  UPDATE_FLAGS,
} from "./file_system.ts";
import type { FileTree } from "./file_tree.ts";

/** How a file gets its name: only if the name is free, or in any case. */
export type PublishMode = "create" | "replace";

/** A temporary file on its way to its name. */
export interface TempFile {
  readonly file: OpenFile;
  readonly path: string;
}

/** Makes and publishes the files of one store. */
export class FilePublisher {
  readonly #tree: FileTree;

  constructor(tree: FileTree) {
    this.#tree = tree;
  }

  /** Opens an empty temporary file in the folder `absolute`. `unique` is hexadecimal and never used before. */
  async create(absolute: string, unique: string): Promise<TempFile> {
    const path = this.#tree.holdTemp(absolute, unique);
    try {
      return { file: await this.#tree.files.open(path, CREATE_FLAGS, FILE_MODE), path };
    } catch (error) {
      this.#tree.releaseTemp(path);
      throw error;
    }
  }

  /** A temporary copy of the file `source`. */
  async createCopy(absolute: string, unique: string, source: string): Promise<TempFile> {
    const path = this.#tree.holdTemp(absolute, unique);
    try {
      await this.#tree.files.copyFile(source, path);
      return { file: await this.#tree.files.open(path, UPDATE_FLAGS, FILE_MODE), path };
    } catch (error) {
      await this.#remove(path);
      throw error;
    }
  }

  /** Gives up a temporary file. Never fails. */
  async abandon(temp: TempFile): Promise<void> {
    await temp.file.close().catch(() => {});
    await this.#remove(temp.path);
  }

  /**
   * Syncs a temporary file and gives it the name `target` in the folder `absolute`. The temporary file is gone
   * afterwards in any case.
   */
  async publish(temp: TempFile, absolute: string, target: string, mode: PublishMode): Promise<"created" | "exists"> {
    try {
      await temp.file.sync();
      await temp.file.close();
    } catch (error) {
      await this.abandon(temp);
      throw error;
    }
    const answer = await (mode === "create" ? this.#link(temp, target) : this.#rename(temp, target));
    try {
      await this.#tree.syncFolder(absolute);
    } catch (error) {
      throw answer === "exists" ? error : new AfterPublishing(error);
    }
    return answer;
  }

  async #link(temp: TempFile, target: string): Promise<"created" | "exists"> {
    try {
      await this.#tree.files.link(temp.path, target);
      return "created";
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw namingError(error);
      if ((await this.#tree.files.lstat(target)).isDirectory()) throw new Obstacle(`${target} is a folder`);
      return "exists";
    } finally {
      await this.#remove(temp.path);
    }
  }

  async #rename(temp: TempFile, target: string): Promise<"created"> {
    try {
      await this.#tree.files.rename(temp.path, target);
      this.#tree.releaseTemp(temp.path);
      return "created";
    } catch (error) {
      await this.#remove(temp.path);
      throw namingError(error);
    }
  }

  async #remove(path: string): Promise<void> {
    await this.#tree.files.unlink(path).catch(() => {});
    this.#tree.releaseTemp(path);
  }
}

/** An I/O error or a lost server does not say whether the name was given; every other error says it was not. */
function namingError(error: unknown): unknown {
  return errorCode(error) === "EIO" || errorCode(error) === "ETIMEDOUT" ? new AfterPublishing(error) : error;
}

/** Bytes of one write: Deno writes on the thread that asks, and others want a turn within a millisecond. */
const WRITE_BYTES = 256 * 1024;

/** Writes all of `bytes` at `position`, in as many calls as it takes. */
export async function writeFully(file: OpenFile, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.length - done, WRITE_BYTES), position + done);
    if (bytesWritten <= 0) throw new Error("the file system wrote nothing");
    done += bytesWritten;
  }
}

/** Reads up to `length` bytes at `position`; fewer only where the file ends. */
export async function readFully(file: OpenFile, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done === length ? bytes : bytes.subarray(0, done);
}
