/**
 * Turns what a user writes as a location into a store and a root inside it.
 *
 * "memory:" (a fresh store each time), a folder ("./folder", "/abs", "file:///abs"), "s3://bucket/prefix?…", or
 * `{ store, path }`.
 *
 * Invariants:
 * - The AWS SDK is loaded when a location in S3 is resolved, and by nothing else in the engine.
 * - Whoever resolves a location (invariant N3) ends what it opened, once, when the work or the database has ended: by
 *   {@linkcode withLocation}, or by {@linkcode releaseWithScope}. A store that was given is left to whoever made it.
 *
 * @module
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Effect, type Scope } from "effect";
import { realIo } from "../env/real_io.ts";
import { InvalidArgument } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import { folderStore } from "../store/folder_store.ts";
import { memoryStore } from "../store/memory_store.ts";
import { type ObjectStoreShape, STORE_OPERATIONS } from "../store/object_store.ts";
import { parseS3Location, type S3Location } from "../store/s3/s3_location.ts";

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
  /** Ends what the location opened, such as connections. Nothing when absent. */
  readonly release?: Effect.Effect<void> | undefined;
}

/** A URL scheme of at least two letters, so that a drive letter is not one. */
const SCHEME = /^([A-Za-z][A-Za-z0-9+.-]+):/;

/** Resolves a location. Makes no store request. Fails with `InvalidArgument` reason "location" or "path". */
export function resolveLocation(location: Location): Effect.Effect<ResolvedLocation, InvalidArgument> {
  return Effect.flatMap(
    judged(() => {
      if (typeof location !== "string") return fromStore(location);
      checkText(location);
      return isInS3(location) ? parseS3Location(location) : fromText(location);
    }),
    (place) => "identity" in place ? openBucket(place) : Effect.succeed(place),
  );
}

/** Runs `use` with a resolved location, and ends afterwards what that opened, however `use` ended. */
export function withLocation<A, E, R>(
  location: Location,
  use: (place: ResolvedLocation) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E | InvalidArgument, R> {
  return Effect.acquireUseRelease(resolveLocation(location), use, ({ release }) => release ?? Effect.void);
}

/** Has the current scope end what `place` opened. Call it first: scopes end in reverse. */
export function releaseWithScope({ release }: ResolvedLocation): Effect.Effect<void, never, Scope.Scope> {
  return release === undefined ? Effect.void : Effect.addFinalizer(() => release);
}

/** Whether a location names a place in S3. */
export function isInS3(location: string): boolean {
  return /^s3:/i.test(location);
}

/** The store of a place in S3, whose connections end with `release`. Makes no request. */
export function openBucket({ options, root, name }: S3Location): Effect.Effect<ResolvedLocation, InvalidArgument> {
  const load = realIo(
    () => import("../store/s3_store.ts"),
    (cause) => refused("the AWS SDK (@aws-sdk/client-s3) cannot be loaded; is it installed?", cause),
  );
  return Effect.flatMap(load, ({ s3Store }) =>
    judged(() => {
      const store = s3Store(options);
      return { store, root, name, release: Effect.promise(() => store.close()) };
    }));
}

/** Refuses what is no clean text: taken as it stands, it would name a folder of this machine. @throws InvalidArgument */
function checkText(location: string): void {
  if (/\p{Cc}/u.test(location)) {
    throw refused("it holds a control character, such as a line end; give the text without it");
  }
  if (/^[\s\p{Cf}]|[\s\p{Cf}]$/u.test(location)) {
    throw refused(
      "it begins or ends with a blank or an invisible character; give it without, or a folder of that name as file:///…%20",
    );
  }
  if (/^["'`\u2018-\u201f\u00ab]|["'`\u2018-\u201f\u00bb]$/.test(location)) {
    throw refused(
      "it begins or ends with a quotation mark; give it without, or a folder of that name with ./ or / around",
    );
  }
  if (!isInS3(location) && /^\W*s3:?\/\//i.test(location)) {
    throw refused("it looks like a place in S3, but does not begin with s3://; give s3://bucket/prefix");
  }
}

function judged<A>(judge: () => A): Effect.Effect<A, InvalidArgument> {
  return Effect.try({
    try: judge,
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
  checkText(location);
  if (location === "memory:" || location === "memory:///") return undefined;
  const scheme = SCHEME.exec(location)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    if (location.length === 0) throw refused("the path is empty");
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
  const instead = 'a folder, file:///folder, s3://bucket/prefix, "memory:", or, in a program, { store, path }';
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
