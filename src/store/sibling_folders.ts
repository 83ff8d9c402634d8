/**
 * Stores side by side as one: the first part of a name says which, the rest is the name there.
 *
 * A database that is opened by the name of its folder has a store of its own, rooted in that folder. Other engines open
 * it as the folder above plus the folder's name, and a clone names the database it refers to from there (`parent`,
 * beside `clone`). {@linkcode siblingFolders} is that folder above, without ever touching anything else in it;
 * {@linkcode withSiblings} adds it to the store of one database: own objects have names of two parts (`wal/…`,
 * `compacted/…`), those of databases beside it three or more (`parent/compacted/…`).
 *
 * @module
 */
import { Effect } from "effect";
import { StoreError, storeErrorWith, type StoreOp } from "../errors.ts";
import type { ObjectStoreShape } from "./object_store.ts";
import { folderProblem, nameProblem } from "./store_names.ts";

/** The stores that `open` answers for names of one part, as one store. Each is opened once, when it is first needed. */
export function siblingFolders(open: (name: string) => ObjectStoreShape): ObjectStoreShape {
  const stores = new Map<string, ObjectStoreShape>();
  /** Runs a request in the store that `path` names; its errors name the whole path. */
  const within = <A>(
    op: StoreOp,
    path: string,
    request: (store: ObjectStoreShape, rest: string, name: string) => Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => {
      const problem = op === "list" ? folderProblem(path) : nameProblem(op, path);
      if (problem !== undefined) return Effect.fail(problem);
      const end = path.indexOf("/");
      if (end < 0) {
        return Effect.fail(new StoreError({ op, path, reason: "unsupported", retryable: false, outcome: "none" }));
      }
      const name = path.slice(0, end);
      let store = stores.get(name);
      if (store === undefined) stores.set(name, store = open(name));
      return Effect.mapError(
        request(store, path.slice(end + 1), name),
        (error) => storeErrorWith(error, { path: `${name}/${error.path}` }),
      );
    });
  return {
    get: (path) => within("get", path, (store, rest) => store.get(rest)),
    getRange: (path, range, hint) => within("getRange", path, (store, rest) => store.getRange(rest, range, hint)),
    getRanges: (path, ranges) => within("getRanges", path, (store, rest) => store.getRanges(rest, ranges)),
    head: (path) => within("head", path, (store, rest) => Effect.map(store.head(rest), (meta) => ({ ...meta, path }))),
    put: (path, body) => within("put", path, (store, rest) => store.put(rest, body)),
    putIfAbsent: (path, body, identity) =>
      within("putIfAbsent", path, (store, rest) => store.putIfAbsent(rest, body, identity)),
    list: (prefix, startAfter) =>
      within("list", prefix, (store, rest, name) => {
        const after = startAfter === undefined ? undefined : startAfter.slice(name.length + 1);
        return Effect.map(store.list(rest, after), (page) => ({
          ...page,
          objects: page.objects.map((meta) => ({ ...meta, path: `${name}/${meta.path}` })),
        }));
      }),
    delete: (path) => within("delete", path, (store, rest) => store.delete(rest)),
    copy: (source, target) =>
      Effect.flatMap(
        within("get", source, (store, rest) => store.get(rest)),
        (body) => within("put", target, (store, rest) => store.put(rest, body)),
      ),
    upload: (path) => within("upload", path, (store, rest) => store.upload(rest)),
  };
}

/** `own` for names of up to two parts, `siblings` for longer ones. Only for a database whose root is "". */
export function withSiblings(own: ObjectStoreShape, siblings: ObjectStoreShape): ObjectStoreShape {
  const of = (path: string) => isBeside(path) ? siblings : own;
  return {
    get: (path) => of(path).get(path),
    getRange: (path, range, hint) => of(path).getRange(path, range, hint),
    getRanges: (path, ranges) => of(path).getRanges(path, ranges),
    head: (path) => of(path).head(path),
    put: (path, body) => of(path).put(path, body),
    putIfAbsent: (path, body, identity) => of(path).putIfAbsent(path, body, identity),
    list: (prefix, startAfter) => of(prefix).list(prefix, startAfter),
    delete: (path) => of(path).delete(path),
    copy: (source, target) =>
      of(source) === of(target)
        ? of(source).copy(source, target)
        : Effect.flatMap(of(source).get(source), (body) => of(target).put(target, body)),
    upload: (path) => of(path).upload(path),
  };
}

/** Whether a name, or a folder ending in "/", has more than two parts; a folder's own objects are one part longer. */
function isBeside(path: string): boolean {
  const first = path.indexOf("/");
  return first >= 0 && path.indexOf("/", first + 1) >= 0;
}
