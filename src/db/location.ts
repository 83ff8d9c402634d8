/**
 * Turns what a user writes as a location into a store and a root inside it.
 *
 * "memory:" (a fresh store each time), a folder ("./folder", "/abs", "file:///abs"), or `{ store, path }`.
 *
 * @module
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Effect } from "effect";
import { InvalidArgument } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import { folderStore } from "../store/folder_store.ts";
import { memoryStore } from "../store/memory_store.ts";
import { type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";

/** Where a database lives. */
export type Location = string | { readonly store: ObjectStoreShape; readonly path: string };

/** A store and the root of the database inside it ("" = the store's own root). */
export interface ResolvedLocation {
  readonly store: ObjectStoreShape;
  readonly root: string;
  /**
   * The store without the databases beside it, where a location names a folder: for databases that lie below that
   * folder, whose roots are not "".
   */
  readonly inside?: ObjectStoreShape | undefined;
  /** The folder that the location names, an absolute path; undefined for any other location. */
  readonly folder?: string | undefined;
  /** What messages call the place: its folder, or what kind of store it is. Default: "this location". */
  readonly name?: string | undefined;
}

/** A URL scheme of at least two letters, so that a drive letter is not one. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]+):/;

/** Resolves a location. Makes no store request. Fails with `InvalidArgument` reason "location" or "path". */
export function resolveLocation(location: Location): Effect.Effect<ResolvedLocation, InvalidArgument> {
  return Effect.try({
    try: () => typeof location === "string" ? fromText(location) : fromStore(location),
    catch: (error) => {
      if (error instanceof InvalidArgument) return error;
      throw error;
    },
  });
}

function fromStore(location: unknown): ResolvedLocation {
  const { store, path } = (location ?? {}) as { readonly store?: ObjectStoreShape; readonly path?: unknown };
  const missing = STORE_OPERATIONS.find((name) => typeof store?.[name] !== "function");
  if (missing !== undefined) {
    throw refused(`give a path, a URL, or { store, path } with an object store; this one has no ${missing}`);
  }
  if (typeof path !== "string") throw refused('path must be a string; "" means the store\'s root');
  const root = parseRoot(path);
  return { store: store!, root, name: root === "" ? "the given store" : `"${root}" of the given store` };
}

function fromText(location: string): ResolvedLocation {
  const folder = folderOf(location);
  if (folder === undefined) return { store: memoryStore(), root: "", name: "memory:" };
  return { ...folderStore(folder), root: "", folder, name: folder };
}

/** The folder that a location names, or undefined for "memory:". @throws InvalidArgument */
export function folderOf(location: string): string | undefined {
  if (location === "memory:" || location === "memory:///") return undefined;
  const scheme = SCHEME.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    if (location.length === 0) throw refused("the path is empty");
    if (location.includes("\0")) throw refused("the path holds a NUL character");
    if (location === "memory") {
      throw refused('"memory" has two meanings; give "memory:" for the memory, "./memory" for a folder');
    }
    if (location.startsWith("~")) {
      throw refused(
        '"~" means your home only to a shell, outside quotes; give the whole path, or "./~…" for that name',
      );
    }
    return resolve(location);
  }
  if (scheme !== "file") throw refused(otherScheme(scheme));
  if (!/^file:\//i.test(location)) {
    throw refused("a file: URL has the whole path of a folder: file:///srv/data; a relative folder goes without file:");
  }
  try {
    return resolve(fileURLToPath(location));
  } catch (cause) {
    throw refused("the file: URL does not name a local folder", cause);
  }
}

function otherScheme(scheme: string): string {
  if (scheme === "memory") {
    return '"memory:" takes no name: each opening is a database of its own; give "memory:" alone';
  }
  const instead = 'a folder, file:///folder, "memory:", or, in a program, { store, path }';
  if (scheme === "s3") return `s3: comes with a later version; until then give ${instead}`;
  return `unknown scheme "${scheme}:"; give ${instead}`;
}

/** What to do where no database was found; `name` is what messages call the place. */
export function placeAdvice(name: string): string {
  return name === "memory:"
    ? '"memory:" is private to each opening; to share one store, give { store, path } with the same memoryStore() to both'
    : "Check the location";
}

function refused(what: string, cause?: unknown): InvalidArgument {
  return new InvalidArgument({ reason: "location", message: `Cannot open: location: ${what}`, cause });
}
