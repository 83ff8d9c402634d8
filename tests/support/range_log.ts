/**
 * A store that remembers which ranges of which objects were asked for.
 *
 * @module
 */
import type { ObjectStoreShape } from "../../src/store/object_store.ts";

/** One range that was asked for, bytes. */
export interface AskedRange {
  readonly path: string;
  readonly offset: number;
  readonly end: number;
}

/** `store`, and what is asked of it from now on; whole objects count as ranges from 0. */
export function rangeLog(store: ObjectStoreShape): {
  readonly store: ObjectStoreShape;
  /** The ranges since the last call. */
  readonly asked: () => AskedRange[];
} {
  const log: AskedRange[] = [];
  return {
    store: {
      ...store,
      putIfAbsent: (path, body, identity) => store.putIfAbsent(path, body, identity),
      get: (path) => {
        log.push({ path, offset: 0, end: Infinity });
        return store.get(path);
      },
      getRange: (path, range, hint) => {
        log.push({ path, offset: range.offset, end: range.offset + range.length });
        return store.getRange(path, range, hint);
      },
    },
    asked: () => log.splice(0),
  };
}
