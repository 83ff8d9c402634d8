/**
 * Where the files of a cache folder lie: makes folders, refuses links, reads, writes and removes single files.
 *
 * Below the folder that was given no link is followed. A part gets its name by a rename when it is whole.
 *
 * @module
 */
import { resolve } from "node:path";
import {
  CREATE_FLAGS,
  errorCode,
  FILE_MODE,
  type FileSystem,
  FOLDER_MODE,
  makeFolders,
  Obstacle,
  READ_FLAGS,
} from "../file/file_system.ts";
import { TEMP_PREFIX } from "../file/file_tree.ts";
import { diskBytes, partSeed, readPart, storedBytes, writePart } from "./part_file.ts";
import { type CachedObject, partName, PARTS_FOLDER } from "./part_name.ts";

/** Temporary files that this process is writing. */
const beingWritten: Set<string> = new Set();

/** What a read found: bytes, nothing that helps ("absent", "short"), or a file to be removed ("damaged"). */
export type Found = Uint8Array | "absent" | "short" | "damaged";

/** The files of one cache folder. */
export class CacheTree {
  readonly files: FileSystem;
  /** Absolute path of the folder that was given. */
  readonly root: string;
  /** Absolute path of the folder that is the cache's own. */
  readonly parts: string;
  readonly #checked: Set<string> = new Set();
  #writes = 0;

  constructor(files: FileSystem, folder: string) {
    this.files = files;
    this.root = resolve(folder);
    this.parts = `${this.root}/${PARTS_FOLDER}`;
  }

  /** Whether this process is writing the temporary file of this path. */
  isBeingWritten(path: string): boolean {
    return beingWritten.has(path);
  }

  /** Makes the folder, and proves that files can be made in it. Fails like the file system. */
  async prepare(unique: string): Promise<void> {
    await makeFolders(this.files, this.root);
    await this.#makeFolder(this.parts);
    const probe = this.#tempName(this.parts, unique);
    try {
      const file = await this.files.open(probe, CREATE_FLAGS, FILE_MODE);
      try {
        await file.close();
      } finally {
        await this.files.unlink(probe);
      }
    } finally {
      beingWritten.delete(probe);
    }
  }

  /** Absolute path of a shard, "" for their common folder, checked once: reached without links. Fails like `lstat`. */
  async shardPath(shard: string): Promise<string> {
    const path = shard === "" ? this.parts : `${this.parts}/${shard}`;
    if (!this.#checked.has(shard)) {
      await this.#checkFolder(this.parts);
      await this.#checkFolder(path);
      this.#checked.add(shard);
    }
    return path;
  }

  /** Reads bytes `from..to` of a part. Fails like the file system, except where there is no such file. */
  async read(object: CachedObject, part: number, from: number, to: number): Promise<Found> {
    try {
      const path = `${await this.shardPath(object.shard)}/${partName(object, part)}`;
      const file = await this.files.open(path, READ_FLAGS, 0);
      try {
        return await readPart(file, partSeed(object.seed, part), from, to);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (errorCode(error) === "ENOENT") return "absent";
      throw error;
    }
  }

  /** The disk space of a part, and how many bytes of its object it seems to hold; undefined when there is no file. */
  async size(
    object: CachedObject,
    part: number,
  ): Promise<{ readonly disk: number; readonly file: number } | undefined> {
    try {
      const stat = await this.files.lstat(`${await this.shardPath(object.shard)}/${partName(object, part)}`);
      return stat.isFile() ? { disk: diskBytes(stat.size), file: stat.size } : undefined;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** Writes a part, replacing what was there. Fails like the file system, and leaves nothing behind then. */
  async write(
    object: CachedObject,
    part: number,
    bytes: Uint8Array,
    unique: string,
    onStep: () => void,
  ): Promise<void> {
    try {
      await this.#write(object, part, bytes, unique, onStep);
    } catch (error) {
      if (errorCode(error) !== "ENOENT" || !this.#checked.delete(object.shard)) throw error;
      await this.#write(object, part, bytes, unique, onStep);
    }
  }

  async #write(
    object: CachedObject,
    part: number,
    bytes: Uint8Array,
    unique: string,
    onStep: () => void,
  ): Promise<void> {
    if (!this.#checked.has(object.shard)) await this.#makeFolder(`${this.parts}/${object.shard}`);
    const folder = await this.shardPath(object.shard);
    const temp = this.#tempName(folder, unique);
    try {
      const file = await this.files.open(temp, CREATE_FLAGS, FILE_MODE);
      try {
        onStep();
        await writePart(file, partSeed(object.seed, part), bytes, onStep);
      } finally {
        await file.close();
      }
      await this.files.rename(temp, `${folder}/${partName(object, part)}`);
    } catch (error) {
      await this.files.unlink(temp).catch(() => {});
      throw error;
    } finally {
      beingWritten.delete(temp);
    }
  }

  /** Removes a file of a shard; true when it is gone. */
  async remove(shard: string, name: string): Promise<boolean> {
    try {
      await this.removeSurely(shard, name);
      return true;
    } catch {
      return false;
    }
  }

  /** Removes a file of a shard, if there is one. Fails like the file system. */
  async removeSurely(shard: string, name: string): Promise<void> {
    try {
      await this.files.unlink(`${await this.shardPath(shard)}/${name}`);
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }

  /** Names of an object's files. Fails like the file system, except where there is no such folder. */
  async partsOf(object: CachedObject): Promise<string[]> {
    try {
      const entries = await this.files.readdir(await this.shardPath(object.shard));
      return entries.map(({ name }) => name).filter((name) => name.startsWith(`${object.digest}-`));
    } catch (error) {
      if (errorCode(error) === "ENOENT") return [];
      throw error;
    }
  }

  #tempName(folder: string, unique: string): string {
    const temp = `${folder}/${TEMP_PREFIX}${this.files.processId}-${unique}${(this.#writes++).toString(16)}`;
    beingWritten.add(temp);
    return temp;
  }

  async #makeFolder(path: string): Promise<void> {
    try {
      await this.files.mkdir(path, FOLDER_MODE);
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw error;
    }
    await this.#checkFolder(path);
  }

  async #checkFolder(path: string): Promise<void> {
    const stat = await this.files.lstat(path);
    if (stat.isSymbolicLink()) throw new Obstacle(`${path} is a symbolic link`);
    if (!stat.isDirectory()) throw new Obstacle(`${path} is not a folder`);
  }
}

/** Disk space that so many bytes of a part take. */
export function spaceOf(length: number): number {
  return diskBytes(storedBytes(length));
}
