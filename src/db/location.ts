/**
 * Turns what a user writes as a location into a store and a root inside it.
 *
 * "memory:" (a fresh store each time), a folder ("./folder", "/abs", "file:///abs"), or `{ store, path }`.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { Effect } from "effect";
import { InvalidArgument } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import { fileStore } from "../store/file_store.ts";
import { memoryStore } from "../store/memory_store.ts";
import { type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";

/** Where a database lives. */
export type Location = string | { readonly store: ObjectStoreShape; readonly path: string };

/** A store and the root of the database inside it ("" = the store's own root). */
export interface ResolvedLocation {
  readonly store: ObjectStoreShape;
  readonly root: string;
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
  return { store: store!, root: parseRoot(path) };
}

function fromText(location: string): ResolvedLocation {
  if (location === "memory:" || location === "memory:///") return { store: memoryStore(), root: "" };
  const scheme = SCHEME.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    if (location.length === 0) throw refused("the path is empty");
    if (location.includes("\0")) throw refused("the path holds a NUL character");
    return { store: fileStore(location), root: "" };
  }
  if (scheme !== "file") throw refused(`unknown scheme "${scheme}:"; use a folder, file:, memory: or { store, path }`);
  let folder: string;
  try {
    folder = fileURLToPath(location);
  } catch (cause) {
    throw refused("the file: URL does not name a local folder", cause);
  }
  return { store: fileStore(folder), root: "" };
}

function refused(what: string, cause?: unknown): InvalidArgument {
  return new InvalidArgument({ reason: "location", message: `Cannot open: location: ${what}`, cause });
}
