/**
 * A memory store that deletes many objects with one request, as S3 does, for tests of what uses that.
 *
 * @module
 */
import { Effect } from "effect";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";

/** An empty store with `deleteMany`; a clone of it has none. */
export function deletesMany(): MemoryStore {
  const store = memoryStore();
  const deleteMany: ObjectStoreShape["deleteMany"] = (paths) =>
    Effect.forEach(paths, (path) => store.delete(path), { discard: true });
  return Object.assign(store, { deleteMany });
}
