/**
 * The few calls of the platform that the file store makes, and what their failures mean.
 *
 * The interface exists so that tests can make a disk full or an fsync fail; `nodeFileSystem` is the real one, and works
 * on Deno, Bun and Node. Errors carry a `code` such as "ENOENT".
 *
 * @module
 */
import { constants } from "node:fs";
import { copyFile, link, lstat, mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { StoreError, type StoreErrorReason, type StoreOp, textOf } from "../../errors.ts";

/** What is known about a file without reading it. */
export interface FileStat {
  readonly size: number;
  readonly mtimeMs: number;
  /** Number of the file in its file system; absent or 0 where there is none. */
  readonly ino?: number;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

/** An open file. */
export interface OpenFile {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }>;
  sync(): Promise<void>;
  stat(): Promise<FileStat>;
  close(): Promise<void>;
}

/** One name in a folder. */
export interface FolderEntry {
  readonly name: string;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

/** The platform's file system, as far as the file store needs it. All paths are absolute. */
export interface FileSystem {
  open(path: string, flags: number, mode: number): Promise<OpenFile>;
  link(source: string, target: string): Promise<void>;
  rename(source: string, target: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mkdir(path: string, mode: number): Promise<void>;
  readdir(path: string): Promise<ReadonlyArray<FolderEntry>>;
  lstat(path: string): Promise<FileStat>;
  /** Copies a file to a new name; fails with "EEXIST" when there is one. */
  copyFile(source: string, target: string): Promise<void>;
  /** Number of this process. */
  readonly processId: number;
  /** Whether a process runs on this machine; true when that cannot be known. */
  isProcessAlive(processId: number): boolean;
}

/** The real file system. */
export const nodeFileSystem: FileSystem = {
  open,
  link,
  rename,
  unlink,
  mkdir: async (path, mode) => void await mkdir(path, { mode }),
  readdir: (path) => readdir(path, { withFileTypes: true }),
  lstat: (path) => lstat(path),
  copyFile: (source, target) => copyFile(source, target, constants.COPYFILE_EXCL),
  processId: process.pid,
  isProcessAlive: (processId) => {
    try {
      process.kill(processId, 0);
      return true;
    } catch (error) {
      return errorCode(error) !== "ESRCH";
    }
  },
};

/** Opens for reading; never through a link, and never waits at a pipe. */
export const READ_FLAGS: number = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
/** Creates a file that did not exist, for writing. */
export const CREATE_FLAGS: number = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL |
  (constants.O_NOFOLLOW ?? 0);
/** Opens for reading and writing; never through a link. */
export const UPDATE_FLAGS: number = constants.O_RDWR | (constants.O_NOFOLLOW ?? 0);
/** Only the owner may read and write. */
export const FILE_MODE = 0o600;
/** Only the owner may enter. */
export const FOLDER_MODE = 0o700;

/** The `code` of a system error, "" when it has none. */
export function errorCode(error: unknown): string {
  const code = (error as { readonly code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : "";
}

/** A failure after the object may have appeared under its name: its outcome is unknown. */
export class AfterPublishing extends Error {
  override readonly name = "AfterPublishing";
  constructor(cause: unknown) {
    super(`failed after publishing: ${String(cause)}`, { cause });
  }
}

/** Something in the way that the store refuses to follow: a symbolic link, or a file where a folder should be. */
export class Obstacle extends Error {
  override readonly name = "Obstacle";
}

/**
 * Makes a folder and what is missing above it; calls `onMade` after each that it made, outermost first.
 *
 * @param absolute an absolute path
 * @throws Obstacle where a link on the way leads nowhere, as one to a disk that is not mounted
 */
export async function makeFolders(
  files: Pick<FileSystem, "mkdir">,
  absolute: string,
  onMade: (folder: string) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const make = async (): Promise<boolean> => {
    try {
      await files.mkdir(absolute, FOLDER_MODE);
    } catch (error) {
      if (errorCode(error) === "EEXIST") return true;
      if (errorCode(error) === "ENOENT") return false;
      throw error;
    }
    await onMade(absolute);
    return true;
  };
  if (await make()) return;
  const parent = dirname(absolute);
  if (parent !== absolute) await makeFolders(files, parent, onMade);
  if (await make()) return;
  throw new Obstacle(`nothing can be made in ${parent}: is it a link to a disk that is not mounted?`);
}

/** The root of the store was there before and is not any more. */
export class RootGone extends Error {
  override readonly name = "RootGone";
  constructor(cause: unknown) {
    super("it has vanished; is its disk still mounted?", { cause });
  }
}

interface Meaning {
  readonly reason: StoreErrorReason;
  readonly retryable: boolean;
}

const MEANINGS: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ["ENOSPC", { reason: "disk-full", retryable: true }],
  ["EDQUOT", { reason: "disk-full", retryable: true }],
  ["EACCES", { reason: "permission", retryable: false }],
  ["EPERM", { reason: "permission", retryable: false }],
  ["EROFS", { reason: "permission", retryable: false }],
  ["ELOOP", { reason: "invalid-path", retryable: false }],
  ["ENAMETOOLONG", { reason: "invalid-path", retryable: false }],
  ["EILSEQ", { reason: "invalid-path", retryable: false }],
  ["ENOTDIR", { reason: "invalid-path", retryable: false }],
  ["EISDIR", { reason: "invalid-path", retryable: false }],
  ["ENOTEMPTY", { reason: "invalid-path", retryable: false }],
  ["EXDEV", { reason: "unsupported", retryable: false }],
  ["ENOTSUP", { reason: "unsupported", retryable: false }],
  ["EOPNOTSUPP", { reason: "unsupported", retryable: false }],
  ["ENOSYS", { reason: "unsupported", retryable: false }],
  ["EIO", { reason: "unavailable", retryable: true }],
  ["EMFILE", { reason: "unavailable", retryable: true }],
  ["ENFILE", { reason: "unavailable", retryable: true }],
  ["ETIMEDOUT", { reason: "timeout", retryable: true }],
]);

/** Reading what is not there, or is a folder, is not-found; writing there is something else. */
const ABSENT: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR", "EISDIR"]);
const READS: ReadonlySet<StoreOp> = new Set(["get", "getRange", "getRanges", "head"]);

/**
 * The store's error for a failed call below the folder `root`. Everything not known to be final (EIO, EMFILE, …) is
 * "unavailable" and worth another try: each try starts anew and leaves nothing behind.
 */
export function fileError(root: string, op: StoreOp, path: string, cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause;
  const outcome = cause instanceof AfterPublishing ? "unknown" : "none";
  const origin = cause instanceof AfterPublishing ? cause.cause : cause;
  const code = errorCode(origin);
  let meaning = MEANINGS.get(code) ?? { reason: "unavailable" as const, retryable: true };
  if (origin instanceof Obstacle) meaning = { reason: "invalid-path", retryable: false };
  if (READS.has(op) && ABSENT.has(code)) meaning = { reason: "not-found", retryable: false };
  if ((origin as Error | undefined)?.name === "NotCapable") meaning = { reason: "permission", retryable: false };
  // A request that may have been applied is always worth repeating: the repetition tells.
  const retryable = meaning.retryable || outcome === "unknown";
  const detail = `folder ${root}: ${code === "" ? textOf(origin) : code}`;
  return new StoreError({ op, path, reason: meaning.reason, retryable, outcome, detail, cause: origin });
}
