/**
 * The object store as the engine sees it: named immutable byte strings with conditional create.
 *
 * Required of an implementation: a get or list that starts after a put has succeeded sees it; a put is atomic (all of
 * the body or nothing); of several concurrent `putIfAbsent` of one name exactly one answers "created". Adapters report
 * what they saw and never guess: an unknown outcome is a `StoreError` with `outcome: "unknown"`, which only the
 * `retrying` decorator resolves. Decorators are functions from a store to a store and layers over the service.
 *
 * Names are relative, `/`-separated, checked by `parseObjectPath`.
 *
 * @module
 */
import { Context, Effect } from "effect";
import type { StoreError, StoreOp } from "../errors.ts";

/** What is known about an object without reading it. */
export interface ObjectMeta {
  /** Name relative to the store's root. */
  readonly path: string;
  /** Size in bytes. */
  readonly size: number;
  /** When the object was created by the store's clock, ms since 1970. */
  readonly lastModifiedMillis: number;
  /** The id given to `putIfAbsent`, where the store keeps such ids and `head` asked for it. */
  readonly putId?: string;
}

/** Part of an object. */
export interface ByteRange {
  /** First byte, 0-based. */
  readonly offset: number;
  /** Length in bytes, at least 1. */
  readonly length: number;
}

/** What a reader knows, for decorators that keep what they read. A store itself may ignore it. */
export interface ReadHint {
  /** The object has at least so many bytes: a decorator may read up to there. */
  readonly knownEnd?: number;
  /** What came before was damaged: ask the store itself, and forget what was kept. */
  readonly fresh?: boolean;
  /** Nobody waits for it: where work of the background has a pace of its own, it is this. */
  readonly background?: boolean;
}

/** One page of a listing. */
export interface ListPage {
  /** Objects in ascending order of their names (UTF-8 bytes), at most 1000. */
  readonly objects: ReadonlyArray<ObjectMeta>;
  /** Whether more may follow; go on with `startAfter` = the last name of this page. */
  readonly truncated: boolean;
}

/** How a conditional create can prove that an object is its own. */
export interface PutIdentity {
  /** Unique id kept with the object where the store can. */
  readonly putId?: string;
  /**
   * Equal bytes prove ownership: true only where no other process could have written the same bytes (WAL objects with
   * rows, tables under a fresh ULID), never for manifests or fences.
   */
  readonly uniqueBody?: boolean;
  /** An earlier call with this `putId` has ended with an unknown outcome: the object that exists may be its. */
  readonly isRepeated?: boolean;
}

/** An upload in parts, for objects too large for one put. The object appears at `complete`, whole. */
export interface Upload {
  /** Adds bytes at the end; the store cuts parts as it likes. */
  readonly write: (bytes: Uint8Array) => Effect.Effect<void, StoreError>;
  /** Makes the object visible under its name. */
  readonly complete: Effect.Effect<void, StoreError>;
  /** Gives the upload up and frees what it held. Safe to call at any time before `complete`. */
  readonly abort: Effect.Effect<void>;
}

/** What is known about the service behind a store, whatever it holds. */
export interface StoreProvider {
  /**
   * Names the service among those that this process talks to, without credentials: "s3://bucket at
   * https://s3.example.com". What was found out about one store of an endpoint holds for the others.
   */
  readonly endpoint: string;
  /** Whether `putIfAbsent` is known to refuse; a writer checks one of which it is not before it relies on it. */
  readonly conditionalCreate: "known" | "unknown";
  /** Requests that it can have under way at once; more would wait inside the store. */
  readonly connections?: number;
}

/** Operations of an object store. */
export interface ObjectStoreShape {
  /** What lies behind; absent where the store itself keeps the promises, as memory and folders do. */
  readonly provider?: StoreProvider | undefined;
  /** Reads a whole object. Fails with reason "not-found" when there is none. */
  readonly get: (path: string) => Effect.Effect<Uint8Array, StoreError>;
  /** Reads exactly `range`; fewer bytes are a "short-read". */
  readonly getRange: (path: string, range: ByteRange, hint?: ReadHint) => Effect.Effect<Uint8Array, StoreError>;
  /** Reads several ranges of one object, in the order given. */
  readonly getRanges: (
    path: string,
    ranges: ReadonlyArray<ByteRange>,
  ) => Effect.Effect<ReadonlyArray<Uint8Array>, StoreError>;
  /** Size, age and put-id of an object. */
  readonly head: (path: string) => Effect.Effect<ObjectMeta, StoreError>;
  /** Writes an object, replacing one of that name. */
  readonly put: (path: string, body: Uint8Array) => Effect.Effect<void, StoreError>;
  /** Creates an object unless one of that name exists. */
  readonly putIfAbsent: (
    path: string,
    body: Uint8Array,
    identity?: PutIdentity,
  ) => Effect.Effect<"created" | "exists", StoreError>;
  /** One page of the names below `prefix` (a folder: empty, or ending in "/"), after `startAfter`. */
  readonly list: (prefix: string, startAfter?: string) => Effect.Effect<ListPage, StoreError>;
  /** Deletes an object; deleting one that is not there succeeds. */
  readonly delete: (path: string) => Effect.Effect<void, StoreError>;
  /**
   * Deletes up to {@linkcode DELETE_MANY_MAX} objects with one request, where the store can; when it fails, some may be
   * gone. Use {@linkcode deleteAll}.
   */
  readonly deleteMany?: ((paths: ReadonlyArray<string>) => Effect.Effect<void, StoreError>) | undefined;
  /** Copies an object inside the store, replacing the target. */
  readonly copy: (source: string, target: string) => Effect.Effect<void, StoreError>;
  /** Starts an upload in parts. */
  readonly upload: (path: string) => Effect.Effect<Upload, StoreError>;
}

/** Most objects that one `deleteMany` may name: what S3 takes. */
export const DELETE_MANY_MAX: number = 1000;

/** Names of the operations that every store must have. */
export const STORE_OPERATIONS: ReadonlyArray<keyof ObjectStoreShape> = [
  "get",
  "getRange",
  "getRanges",
  "head",
  "put",
  "putIfAbsent",
  "list",
  "delete",
  "copy",
  "upload",
];

/** Requests that change nothing: one whose answer was lost has had no effect. */
export const READ_OPS: ReadonlySet<StoreOp> = new Set(["get", "getRange", "getRanges", "head", "list"]);

/** Identifier of the store service. */
export interface ObjectStore {
  /** Brand; has no value. */
  readonly _: unique symbol;
}

/** Service key of {@linkcode ObjectStoreShape}. */
export const ObjectStore: Context.Service<ObjectStore, ObjectStoreShape> = Context.Service<
  ObjectStore,
  ObjectStoreShape
>("phyllite/store/ObjectStore");

/** Deletes at once with this many requests, where a store deletes one by one. */
const DELETES_AT_ONCE = 16;

/** Deletes objects with as few requests as the store can. Ends at the first that fails; what is gone stays gone. */
export function deleteAll(store: ObjectStoreShape, paths: ReadonlyArray<string>): Effect.Effect<void, StoreError> {
  const { deleteMany } = store;
  if (deleteMany === undefined || paths.length < 2) {
    return Effect.forEach(paths, (path) => store.delete(path), { concurrency: DELETES_AT_ONCE, discard: true });
  }
  const pages: string[][] = [];
  for (let at = 0; at < paths.length; at += DELETE_MANY_MAX) pages.push(paths.slice(at, at + DELETE_MANY_MAX));
  return Effect.forEach(pages, (page) => deleteMany(page), { discard: true });
}
