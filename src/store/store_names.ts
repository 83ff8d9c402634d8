/**
 * What every store checks of a request before it does anything: object names, folders of listings, ranges; and the
 * order of names in a listing.
 *
 * Wrong names come from outside (a configuration, a manifest), so they are `StoreError`s with reason "invalid-path".
 * Wrong ranges can only come from the engine itself and are defects.
 *
 * @module
 */
import { StoreError, type StoreOp } from "../errors.ts";
import { parseObjectPath } from "../format/paths.ts";
import type { ByteRange } from "./object_store.ts";

/** The error for a name that no store may see, or undefined when `path` is fine. */
export function nameProblem(op: StoreOp, path: string): StoreError | undefined {
  try {
    parseObjectPath(path);
    return undefined;
  } catch (cause) {
    return new StoreError({ op, path: String(path), reason: "invalid-path", retryable: false, outcome: "none", cause });
  }
}

/** The same for the folder of a listing: empty, or an object name with "/" at its end. */
export function folderProblem(folder: string): StoreError | undefined {
  if (folder === "") return undefined;
  const name = typeof folder === "string" && folder.endsWith("/") ? folder.slice(0, -1) : `${folder}/`;
  return nameProblem("list", name);
}

/** Whether `path` may be used as an object name. */
export function isObjectName(path: string): boolean {
  return nameProblem("get", path) === undefined;
}

/** An error that says the object is not there. It is an answer: nothing to retry. */
export function notFound(op: StoreOp, path: string, cause?: unknown): StoreError {
  return new StoreError({ op, path, reason: "not-found", retryable: false, outcome: "none", cause });
}

/**
 * An error for a range that reaches past the end of the object. Not retryable: the store knows the whole object.
 * (An adapter that received fewer bytes than it was promised makes a retryable one.)
 */
export function pastTheEnd(op: StoreOp, path: string, range: ByteRange, size: number | undefined): StoreError {
  const cause = `wanted ${range.length} bytes at ${range.offset}, the object has ${size ?? "fewer"}`;
  return new StoreError({ op, path, reason: "short-read", retryable: false, outcome: "none", cause });
}

/** @throws Error (a defect) unless `range` is at least one byte at a sensible place. */
export function checkRange(range: ByteRange): void {
  const { offset, length } = range;
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 1) return;
  throw new Error(`Cannot read ${length} bytes at ${offset}: not a range`);
}

/** Orders names as their UTF-8 bytes are ordered. Negative, zero or positive. */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    // UTF-16 puts surrogate pairs (above U+FFFF) before U+E000..U+FFFF, UTF-8 after.
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000;
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000;
    }
    return x - y;
  }
  return a.length - b.length;
}
