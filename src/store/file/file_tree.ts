/**
 * The folder under which a file store keeps its objects: where names lie, which folders are safe, what is left over.
 *
 * Invariants:
 * - No request follows a symbolic link below the root. (A link in the place of a folder that was checked before is seen
 *   only by the next instance: whoever can do that owns the folder already.)
 * - A folder is used for writing only after it, and each folder above it up to the root, is on disk.
 * - The root is made at most once. One that was there and is gone is a disk that is gone: to make it again would begin
 *   an empty store under a database that has acknowledged writes.
 * - Temporary files have names that no object can have. One whose process is gone is removed before the first write.
 *
 * @module
 */
import { dirname, join, resolve } from "node:path";
import { errorCode, type FileSystem, FOLDER_MODE, makeFolders, Obstacle, READ_FLAGS, RootGone } from "./file_system.ts";

/** What the names of temporary files begin with; no segment of an object name may. */
export const TEMP_PREFIX = ".phyllite-tmp-";

const TEMP_NAME = /^\.phyllite-tmp-(\d+)-[0-9a-f]+$/;
/** A temporary file of a process that seems alive is left over when it is this old (its number was used again). */
const TEMP_AGE_MAX_MILLIS = 3_600_000;
/** Folders looked through for left-over files; a root with more is not a database's. */
const FOLDERS_SWEPT_MAX = 10_000;
/** Codes of file systems that have no fsync of folders. */
const NO_FOLDER_SYNC: ReadonlySet<string> = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]);

/** Temporary files that this process is writing; any other with its number is left over from an earlier life. */
const openTemps: Set<string> = new Set();

/** Folders and temporary files of one file store. */
export class FileTree {
  readonly files: FileSystem;
  /** Absolute path of the root. */
  readonly root: string;
  #checked: Set<string> = new Set();
  #made: Map<string, Promise<void>> = new Map();
  #swept: Promise<void> | undefined = undefined;
  /** Inode of the root since it was first seen; 0 where the platform tells none. */
  #rootInode: number | undefined = undefined;

  constructor(files: FileSystem, root: string) {
    this.files = files;
    this.root = resolve(root);
  }

  /** Absolute path of an object, after a check that its folder is reached without links. Fails like `lstat`. */
  async locate(path: string): Promise<string> {
    const folder = parentOf(path);
    if (!this.#checked.has(folder)) await this.#checkFolder(folder);
    return `${this.root}/${path}`;
  }

  /** Absolute path of a folder ("" is the root), after the same check. */
  async locateFolder(folder: string): Promise<string> {
    if (!this.#checked.has(folder)) await this.#checkFolder(folder);
    return folder === "" ? this.root : `${this.root}/${folder}`;
  }

  /** Makes the folder of an object if need be, durably; answers its absolute path. */
  async makeFolderOf(path: string, nowMillis: number): Promise<string> {
    await (this.#swept ??= this.#sweep(nowMillis));
    const folder = parentOf(path);
    await this.#makeFolder(folder);
    return folder === "" ? this.root : `${this.root}/${folder}`;
  }

  /** Forgets what is known about folders: one of them has been removed by somebody. */
  forgetFolders(): void {
    this.#checked.clear();
    this.#made.clear();
  }

  /** Fails with {@linkcode RootGone} when the root has been seen, and is not there any more. */
  async assertRoot(): Promise<void> {
    if (this.#rootInode !== undefined) await this.#inodeOfRoot();
  }

  /** A fresh absolute name for a temporary file in the folder `absolute`, held until `releaseTemp`. */
  holdTemp(absolute: string, unique: string): string {
    const temp = `${absolute}/${TEMP_PREFIX}${this.files.processId}-${unique}`;
    openTemps.add(temp);
    return temp;
  }

  /** The temporary file is gone, or given up. */
  releaseTemp(temp: string): void {
    openTemps.delete(temp);
  }

  /** Makes the names in a folder durable. */
  async syncFolder(absolute: string): Promise<void> {
    try {
      const folder = await this.files.open(absolute, READ_FLAGS, 0);
      try {
        await folder.sync();
      } finally {
        await folder.close();
      }
    } catch (error) {
      if (!NO_FOLDER_SYNC.has(errorCode(error))) throw error;
    }
  }

  async #checkFolder(folder: string): Promise<void> {
    for (let end = folder.indexOf("/"); folder !== ""; end = folder.indexOf("/", end + 1)) {
      const part = end < 0 ? folder : folder.slice(0, end);
      const stat = await this.files.lstat(`${this.root}/${part}`);
      if (stat.isSymbolicLink()) throw new Obstacle(`${part} is a symbolic link`);
      if (!stat.isDirectory()) throw Object.assign(new Error(`${part} is not a folder`), { code: "ENOTDIR" });
      if (end < 0) break;
    }
    if (folder !== "") this.#rootInode ??= await this.#inodeOfRoot();
    this.#checked.add(folder);
  }

  async #inodeOfRoot(): Promise<number> {
    try {
      return (await this.files.lstat(this.root)).ino ?? 0;
    } catch (error) {
      throw errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR" ? new RootGone(error) : error;
    }
  }

  #makeFolder(folder: string): Promise<void> {
    let making = this.#made.get(folder);
    if (making === undefined) {
      making = folder === "" ? this.#makeRootOnce() : this.#makeFolderBelow(folder);
      this.#made.set(folder, making);
      making.catch(() => this.#made.delete(folder));
    }
    return making;
  }

  async #makeFolderBelow(folder: string): Promise<void> {
    const parent = parentOf(folder);
    await this.#makeFolder(parent);
    try {
      await this.files.mkdir(`${this.root}/${folder}`, FOLDER_MODE);
    } catch (error) {
      if (errorCode(error) === "ENOENT") await this.#refuseDeadLink();
      if (errorCode(error) !== "EEXIST") throw error;
    }
    await this.#checkFolder(folder);
    // Also when it was there: its maker may have crashed before making it durable.
    await this.syncFolder(parent === "" ? this.root : `${this.root}/${parent}`);
  }

  /** A root that is a link is refused, one that leads nowhere too. */
  async #refuseDeadLink(): Promise<void> {
    if (!(await this.files.lstat(this.root)).isSymbolicLink()) return;
    throw new Obstacle("it is a link that leads nowhere; is its disk mounted?");
  }

  /** Makes the root unless it has been seen before. Then it must be there, and be the same folder. */
  async #makeRootOnce(): Promise<void> {
    const seen = this.#rootInode;
    if (seen === undefined) {
      await makeFolders(this.files, this.root, (made) => this.syncFolder(dirname(made)));
      this.#rootInode = await this.#inodeOfRoot();
    } else if (await this.#inodeOfRoot() !== seen) {
      // Such as the empty folder that a disk was mounted on.
      throw new RootGone(new Error("there is another folder in its place"));
    }
  }

  /** Removes the temporary files of processes that are gone. What cannot be removed stays: it is only litter. */
  async #sweep(nowMillis: number): Promise<void> {
    const folders = [this.root];
    for (let i = 0; i < folders.length && i < FOLDERS_SWEPT_MAX; i++) {
      for (const entry of await this.files.readdir(folders[i]!).catch(() => [])) {
        const absolute = join(folders[i]!, entry.name);
        if (entry.isDirectory()) folders.push(absolute);
        else if (await this.#isLeftOver(absolute, entry.name, nowMillis)) {
          await this.files.unlink(absolute).catch(() => {});
        }
      }
    }
  }

  async #isLeftOver(absolute: string, name: string, nowMillis: number): Promise<boolean> {
    const match = TEMP_NAME.exec(name);
    if (match === null || openTemps.has(absolute)) return false;
    const owner = Number(match[1]);
    if (owner === this.files.processId || !this.files.isProcessAlive(owner)) return true;
    const stat = await this.files.lstat(absolute).catch(() => undefined);
    return stat !== undefined && nowMillis - stat.mtimeMs > TEMP_AGE_MAX_MILLIS;
  }
}

/** The folder of a name: what is before its last "/", or "". */
function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
