/**
 * A store that counts by itself what it is asked, to hold reports of costs against.
 *
 * @module
 */
import { Effect } from "effect";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";

/** Requests and bytes by kind. */
export interface Tally {
  readonly requests: Record<string, number>;
  readonly bytes: Record<string, number>;
  /** Requests by folder, then by kind. */
  readonly folders: Record<string, Record<string, number>>;
}

/** `inner`, and what it was asked so far. */
export function tallied(inner: ObjectStoreShape): { readonly store: ObjectStoreShape; readonly tally: Tally } {
  const tally: Tally = { requests: {}, bytes: {}, folders: {} };
  const add = (into: Record<string, number>, kind: string, n: number) => into[kind] = (into[kind] ?? 0) + n;
  const ask = (kind: string, path: string, n: number = 1) => {
    add(tally.requests, kind, n);
    add(tally.folders[path.split("/")[0]!] ??= {}, kind, n);
  };
  const store: ObjectStoreShape = {
    ...inner,
    get: (path) =>
      Effect.suspend(() => {
        ask("get", path);
        return Effect.tap(inner.get(path), (body) => Effect.sync(() => add(tally.bytes, "get", body.length)));
      }),
    getRange: (path, range) =>
      Effect.suspend(() => {
        ask("getRange", path);
        return Effect.tap(
          inner.getRange(path, range),
          (body) => Effect.sync(() => add(tally.bytes, "getRange", body.length)),
        );
      }),
    head: (path) => Effect.suspend(() => (ask("head", path), inner.head(path))),
    list: (prefix, after) => Effect.suspend(() => (ask("list", prefix), inner.list(prefix, after))),
    delete: (path) => Effect.suspend(() => (ask("delete", path), inner.delete(path))),
    putIfAbsent: (path, body, identity) =>
      Effect.suspend(() => {
        ask("putIfAbsent", path);
        return Effect.tap(inner.putIfAbsent(path, body, identity), (answer) =>
          Effect.sync(() => {
            if (answer === "created") add(tally.bytes, "putIfAbsent", body.length);
          }));
      }),
    ...(inner.deleteMany === undefined ? {} : {
      deleteMany: (paths: ReadonlyArray<string>) =>
        Effect.suspend(() => (ask("deleteMany", paths[0]!), inner.deleteMany!(paths))),
    }),
  };
  return { store, tally };
}

/** Counts by kind, all components together. */
export function byKind(counts: Readonly<Record<string, Readonly<Record<string, number>>>>): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const kinds of Object.values(counts)) {
    for (const [kind, n] of Object.entries(kinds)) if (n > 0) sums[kind] = (sums[kind] ?? 0) + n;
  }
  return sums;
}

/** `after - before`, kind by kind, what did not change left out. */
export function difference(after: Record<string, number>, before: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(after).map(([kind, n]): [string, number] => [kind, n - (before[kind] ?? 0)]).filter(([, n]) =>
      n > 0
    ),
  );
}
