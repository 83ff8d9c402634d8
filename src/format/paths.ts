/**
 * Names of the objects of a database, and the one parser that every object name passes before a store sees it.
 *
 * ```text
 * <root>/manifest/<20 digits>.manifest          from 1, without gaps at the top
 * <root>/compactions/<20 digits>.compactions    from 1
 * <root>/wal/<20 digits>.sst                    from 1, contiguous
 * <root>/compacted/<ULID>.sst                   level 0 and sorted runs
 * <root>/gc/<kind>.boundary                     written by newer engines only
 * ```
 *
 * A root is a relative path without slashes at its ends; "" is the store's own root. Foreign names in these folders
 * are not errors: the parsers of listed names answer undefined and the caller skips them.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import type { Ulid } from "./types.ts";
import { isUlid } from "./ulid.ts";

/** Folder of the manifest versions. */
export const MANIFEST_DIR = "manifest";
/** Folder of the compactor's state. */
export const COMPACTIONS_DIR = "compactions";
/** Folder of the write-ahead log. */
export const WAL_DIR = "wal";
/** Folder of the tables of level 0 and of sorted runs. */
export const COMPACTED_DIR = "compacted";
/** Folder of the collectors' boundary files; 0.12.1 does not know it. */
const BOUNDARY_DIR = "gc";

/** Longest object name in bytes of UTF-8 (the limit of S3). */
export const PATH_BYTES_MAX = 1024;

const DIGITS = 20;
const NUMBERED = /^(\d{20})\.(manifest|compactions|sst)$/;
const DRIVE = /^[A-Za-z]:/;
const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])$/i;
const PERCENT = /%[0-9A-Fa-f]{2}/;
const encoder = new TextEncoder();

/** Name of manifest version `id` (1..2 ** 53 - 1) below `root`. */
export function manifestPath(root: string, id: number): string {
  return numbered(root, MANIFEST_DIR, id, "manifest");
}

/** Name of version `id` of the compactor's state below `root`. */
export function compactionsPath(root: string, id: number): string {
  return numbered(root, COMPACTIONS_DIR, id, "compactions");
}

/** Name of WAL object `id` below `root`. */
export function walPath(root: string, id: number): string {
  return numbered(root, WAL_DIR, id, "sst");
}

/** Name of the table `id` below `root`. */
export function tablePath(root: string, id: Ulid): string {
  return `${folderPath(root, COMPACTED_DIR)}${id}.sst`;
}

/**
 * Name of the file in which newer engines' collectors declare old versions dead; `kind` is "manifest" or "compactions".
 * It holds a number in ASCII: versions up to it do not exist any more, whatever their creation answered.
 */
export function boundaryPath(root: string, kind: string): string {
  return `${folderPath(root, BOUNDARY_DIR)}${kind}.boundary`;
}

/** The number that a boundary file holds; undefined when it is none. */
export function parseBoundary(bytes: Uint8Array): number | undefined {
  const text = new TextDecoder().decode(bytes).trim();
  const number = Number(text);
  return /^\d{1,16}$/.test(text) && Number.isSafeInteger(number) ? number : undefined;
}

/** Name of a folder below `root`, ending in "/", as `list` wants it. */
export function folderPath(root: string, folder: string): string {
  return root === "" ? `${folder}/` : `${root}/${folder}/`;
}

/**
 * The number in the name of a manifest, compactions or WAL object.
 *
 * @param path any object name, with or without folders
 * @returns undefined for a foreign name: not exactly 20 digits and a known ending, or a number above 2 ** 53 - 1
 */
export function parseNumberedName(path: string): number | undefined {
  const match = NUMBERED.exec(lastSegment(path));
  if (match === null) return undefined;
  const id = Number(match[1]);
  return Number.isSafeInteger(id) ? id : undefined;
}

/**
 * The ULID in the name of a table.
 *
 * @param path any object name, with or without folders
 * @returns undefined for a foreign name
 */
export function parseTableName(path: string): Ulid | undefined {
  const name = lastSegment(path);
  if (!name.endsWith(".sst")) return undefined;
  const id = name.slice(0, -".sst".length);
  return isUlid(id) ? id : undefined;
}

/**
 * Checks an object name and answers it unchanged.
 *
 * Refused, because some store would read them as another place or name: empty names and segments, `.` and `..`,
 * absolute paths, drive letters, backslashes, control characters, percent-encoding, names reserved on Windows (with
 * any ending), segments that end in a dot or space, text that is not in Unicode normal form C or has lone surrogates,
 * and more than {@linkcode PATH_BYTES_MAX} bytes.
 *
 * @throws InvalidArgument with reason "path"
 */
export function parseObjectPath(path: string): string {
  const problem = pathProblem(path);
  if (problem === undefined) return path;
  const shown = JSON.stringify(String(path).slice(0, 100));
  throw new InvalidArgument({ reason: "path", message: `Cannot use ${shown} as an object name: ${problem}` });
}

/**
 * A database's root from what a user wrote: slashes at both ends are dropped, the rest is checked as an object name.
 *
 * @returns "" for the store's own root
 * @throws InvalidArgument with reason "path"
 */
export function parseRoot(root: string): string {
  if (typeof root !== "string") return parseObjectPath(root);
  let start = 0;
  let end = root.length;
  while (start < end && root[start] === "/") start++;
  while (end > start && root[end - 1] === "/") end--;
  const trimmed = root.slice(start, end);
  return trimmed === "" ? "" : parseObjectPath(trimmed);
}

function numbered(root: string, folder: string, id: number, ending: string): string {
  if (!Number.isSafeInteger(id) || id < 0) throw new RangeError(`${id} cannot number an object in ${folder}`);
  return `${folderPath(root, folder)}${String(id).padStart(DIGITS, "0")}.${ending}`;
}

function lastSegment(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function pathProblem(path: unknown): string | undefined {
  if (typeof path !== "string") return "it is not a string";
  if (path === "") return "it is empty";
  // UTF-8 never takes fewer bytes than UTF-16 has units: the cheap check bounds the work of the others.
  if (path.length > PATH_BYTES_MAX) return `it is longer than ${PATH_BYTES_MAX} bytes`;
  if (!path.isWellFormed()) return "it holds half a surrogate pair";
  if (encoder.encode(path).length > PATH_BYTES_MAX) return `it is longer than ${PATH_BYTES_MAX} bytes`;
  if (path.startsWith("/")) return "it is absolute";
  if (DRIVE.test(path)) return "it starts with a drive letter";
  if (path.includes("\\")) return "it holds a backslash";
  if (PERCENT.test(path)) return "it is percent-encoded";
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return "it holds a control character";
  }
  if (path.normalize("NFC") !== path) return "it is not in Unicode normal form C";
  for (const segment of path.split("/")) {
    if (segment === "") return "it has an empty segment";
    if (segment === "." || segment === "..") return `it has the segment "${segment}"`;
    if (segment.endsWith(".") || segment.endsWith(" ")) return "a segment ends in a dot or space";
    const stem = segment.split(".", 1)[0]!.trimEnd();
    if (RESERVED.test(stem)) return `"${stem}" is a reserved name on Windows`;
  }
  return undefined;
}
