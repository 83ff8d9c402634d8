/**
 * Where a clone and the database it comes from lie: two roots in one store, since a clone reads its parent's tables
 * there.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { Effect } from "effect";
import { InvalidArgument } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import { foldersIn } from "../store/folder_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { parseS3Location } from "../store/s3/s3_location.ts";
import { folderOf, isInS3, type Location, openBucket, resolveLocation } from "./location.ts";

/** Two databases in one store. */
export interface ClonePlaces {
  readonly store: ObjectStoreShape;
  readonly parentRoot: string;
  readonly cloneRoot: string;
  /** What messages call them. */
  readonly parentName: string;
  readonly cloneName: string;
  /** Ends what the locations opened. Nothing when absent. */
  readonly release?: Effect.Effect<void> | undefined;
}

/**
 * Resolves both locations; whoever calls it ends what they opened (`release`). Makes no store request.
 *
 * @param clone a location; beside a parent given as `{ store, path }` a text is a path in the same store
 * @returns fails with `InvalidArgument` reason "clone-paths" when the two cannot go together
 */
export function resolveClone(parent: Location, clone: Location): Effect.Effect<ClonePlaces, InvalidArgument> {
  return Effect.gen(function* () {
    if (typeof parent !== "string") return yield* apart(yield* inStore(parent, clone));
    const both = [parent, clone].map((location) => typeof location === "string" && isInS3(location));
    if (both.includes(true)) {
      if (both.includes(false)) return yield* refused("one of the two is in S3, so both are: give s3://bucket/prefix");
      return yield* inBucket(parent, clone as string);
    }
    return yield* apart(yield* besideFolder(parent, clone));
  });
}

/** Runs `use` with both places, and ends afterwards what they opened. */
export function withClonePlaces<A, E, R>(
  parent: Location,
  clone: Location,
  use: (places: ClonePlaces) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E | InvalidArgument, R> {
  return Effect.acquireUseRelease(resolveClone(parent, clone), use, ({ release }) => release ?? Effect.void);
}

/** The places, unless they are one or one lies among the objects of the other. */
function apart<Places extends Pick<ClonePlaces, "parentRoot" | "cloneRoot" | "parentName">>(
  places: Places,
): Effect.Effect<Places, InvalidArgument> {
  const { parentRoot, cloneRoot, parentName } = places;
  if (parentRoot === cloneRoot) return refused(`${parentName} cannot be a clone of itself; give another path`);
  for (const [outer, inner] of [[parentRoot, cloneRoot], [cloneRoot, parentRoot]] as const) {
    const folder = folderInside(outer, inner);
    if (folder !== undefined) {
      return refused(`"${inner}" lies among the objects of the other, in its folder ${folder}`);
    }
  }
  return Effect.succeed(places);
}

/** Two prefixes of one bucket, over one store. */
function inBucket(parent: string, clone: string): Effect.Effect<ClonePlaces, InvalidArgument> {
  return Effect.gen(function* () {
    const [from, into] = yield* Effect.try({
      try: () => [parseS3Location(parent), parseS3Location(clone)] as const,
      catch: (error) => {
        if (error instanceof InvalidArgument) return error;
        throw error;
      },
    });
    if (from.identity !== into.identity) {
      return yield* refused(
        "a clone reads its parent's tables, so both lie in one bucket and are reached in the same way: give the same " +
          "bucket, endpoint and region for both",
      );
    }
    const names = { parentName: from.name, cloneName: into.name };
    const roots = yield* apart({ ...names, parentRoot: from.root, cloneRoot: into.root });
    const { store, release } = yield* openBucket(from);
    return { ...roots, store, release };
  });
}

function inStore(
  parent: Exclude<Location, string>,
  clone: Location,
): Effect.Effect<ClonePlaces, InvalidArgument> {
  return Effect.gen(function* () {
    const from = yield* resolveLocation(parent);
    const into = yield* resolveLocation(typeof clone === "string" ? { store: parent.store, path: clone } : clone);
    if (from.store !== into.store) {
      return yield* refused("a clone reads its parent's tables, so both lie in one store: give the same store object");
    }
    return {
      store: from.store,
      parentRoot: from.root,
      cloneRoot: into.root,
      parentName: from.name ?? "the parent",
      cloneName: into.name ?? "the clone",
    };
  });
}

function besideFolder(parent: string, clone: Location): Effect.Effect<ClonePlaces, InvalidArgument> {
  return Effect.try({
    try: () => {
      if (typeof clone !== "string") throw refusal("the parent is a folder, so the clone is one too: give its path");
      const from = folderOf(parent);
      const into = folderOf(clone);
      if (from === undefined || into === undefined) {
        throw refusal('"memory:" is another store each time; give { store, path } with one store for both');
      }
      if (basename(from) === "" || basename(into) === "") throw refusal("the root of a file system has no name");
      if (from !== into && dirname(from) !== dirname(into)) {
        throw refusal(
          `the folder of a clone lies beside its parent's, in ${dirname(from)}. Elsewhere give ` +
            "{ store: fileStore(folder), path } for both, with a folder that holds both",
        );
      }
      return {
        store: foldersIn(dirname(from)),
        parentRoot: parseRoot(basename(from)),
        cloneRoot: parseRoot(basename(into)),
        parentName: from,
        cloneName: into,
      };
    },
    catch: (error) => {
      if (error instanceof InvalidArgument) return error;
      throw error;
    },
  });
}

/** The folder of a database at `outer` that the root `inner` would lie in, if any. */
function folderInside(outer: string, inner: string): string | undefined {
  const prefix = outer === "" ? "" : `${outer}/`;
  if (!inner.startsWith(prefix)) return undefined;
  const [first] = inner.slice(prefix.length).split("/");
  return first !== undefined && OWN_FOLDERS.has(first) ? first : undefined;
}

const OWN_FOLDERS: ReadonlySet<string> = new Set(["manifest", "compactions", "wal", "compacted", "gc"]);

function refusal(what: string): InvalidArgument {
  return new InvalidArgument({ reason: "clone-paths", message: `Cannot clone: ${what}` });
}

function refused(what: string): Effect.Effect<never, InvalidArgument> {
  return Effect.fail(refusal(what));
}
