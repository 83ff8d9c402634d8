/**
 * A folder of a store as a store of its own, such as a prefix of a bucket that shall hold a log.
 *
 * Names and errors are those of the folder: nothing above it can be named, and nothing of it shows.
 *
 * @module
 */
import { Effect } from "effect";
import { type StoreError, storeErrorWith } from "../errors.ts";
import type { ObjectMeta, ObjectStoreShape } from "./object_store.ts";
import { folderProblem, nameProblem } from "./store_names.ts";

/** The objects of `store` below `folder`, a name without slashes at its ends. */
export function storeBelow(store: ObjectStoreShape, folder: string): ObjectStoreShape {
  const full = (path: string) => `${folder}/${path}`;
  const own = (path: string) => path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : path;
  const shown = (meta: ObjectMeta): ObjectMeta => ({ ...meta, path: own(meta.path) });
  const renamed = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> =>
    Effect.mapError(effect, (error) => storeErrorWith(error, { path: own(error.path) }));
  const named = <A>(op: StoreError["op"], path: string, request: () => Effect.Effect<A, StoreError>) =>
    Effect.suspend(() => {
      const problem = nameProblem(op, path);
      return problem === undefined ? renamed(request()) : Effect.fail(problem);
    });
  const { deleteMany } = store;
  return {
    provider: store.provider,
    get: (path) => named("get", path, () => store.get(full(path))),
    getRange: (path, range, hint) => named("getRange", path, () => store.getRange(full(path), range, hint)),
    getRanges: (path, ranges) => named("getRanges", path, () => store.getRanges(full(path), ranges)),
    head: (path) => named("head", path, () => Effect.map(store.head(full(path)), shown)),
    put: (path, body) => named("put", path, () => store.put(full(path), body)),
    putIfAbsent: (path, body, identity) =>
      named("putIfAbsent", path, () => store.putIfAbsent(full(path), body, identity)),
    list: (prefix, startAfter) => {
      const problem = folderProblem(prefix);
      if (problem !== undefined) return Effect.fail(problem);
      const after = startAfter === undefined ? undefined : full(startAfter);
      const page = store.list(full(prefix), after);
      return renamed(Effect.map(page, ({ objects, truncated }) => ({ objects: objects.map(shown), truncated })));
    },
    delete: (path) => named("delete", path, () => store.delete(full(path))),
    deleteMany: deleteMany && ((paths) => renamed(deleteMany(paths.map(full)))),
    copy: (source, target) =>
      named("copy", source, () => named("copy", target, () => store.copy(full(source), full(target)))),
    upload: (path) =>
      named("upload", path, () =>
        Effect.map(store.upload(full(path)), (upload) => ({
          write: (bytes) => renamed(upload.write(bytes)),
          complete: renamed(upload.complete),
          abort: upload.abort,
        }))),
  };
}
