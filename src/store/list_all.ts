/**
 * Walks a whole listing page by page without holding more than one page.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../errors.ts";
import type { ObjectMeta, ObjectStoreShape } from "./object_store.ts";

/** Calls `visit` with every object below the folder `prefix` after `startAfter`, in ascending order of names. */
export function listAll(
  store: ObjectStoreShape,
  prefix: string,
  startAfter: string | undefined,
  visit: (object: ObjectMeta) => void,
): Effect.Effect<void, StoreError> {
  return Effect.gen(function* () {
    let after = startAfter;
    while (true) {
      const page = yield* store.list(prefix, after);
      for (const object of page.objects) visit(object);
      const last = page.objects.at(-1);
      if (!page.truncated || last === undefined) return;
      after = last.path;
    }
  });
}
