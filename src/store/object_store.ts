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
import { Context, type Effect } from "effect";
import type { StoreError } from "../errors.ts";

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

/** Operations of an object store. */
export interface ObjectStoreShape {
  /** Reads a whole object. Fails with reason "not-found" when there is none. */
  readonly get: (path: string) => Effect.Effect<Uint8Array, StoreError>;
  /** Reads exactly `range`; fewer bytes are a "short-read". */
  readonly getRange: (path: string, range: ByteRange) => Effect.Effect<Uint8Array, StoreError>;
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
  /** Copies an object inside the store, replacing the target. */
  readonly copy: (source: string, target: string) => Effect.Effect<void, StoreError>;
  /** Starts an upload in parts. */
  readonly upload: (path: string) => Effect.Effect<Upload, StoreError>;
}

/** Names of all operations of {@linkcode ObjectStoreShape}. */
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
