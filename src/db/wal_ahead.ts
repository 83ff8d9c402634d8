/**
 * Fetching WAL objects that a writer may be adding to, for whoever follows it: by name, without a listing.
 *
 * Ids are contiguous and each object is put only after the one before, so the next id is asked for, and when it is there
 * the next few at once. The first id that is not there ends the batch: it was not written yet, or it was collected. Only
 * a manifest that is read afterwards can tell, and only objects above the replay boundary of such a manifest may be
 * believed: collectors never delete above it, so what was read under such an id is the only object that ever had that
 * name. At or below it the object may be a stray: a writer that slept while its successor's fence was collected can
 * still create an object there (K-1).
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../errors.ts";
import { walPath } from "../format/paths.ts";
import { ifThere } from "../store/if_there.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";

/** Objects asked for at once, at most; and how that grows. */
const WIDTHS: ReadonlyArray<number> = [1, 1, 2, 4, 8];
/** A batch ends with this many objects, */
const BATCH_OBJECTS = 64;
/** or with this many bytes (one object is always allowed). */
const BATCH_BYTES = 64 * 1024 * 1024;

/** A WAL object in memory. */
export interface WalBody {
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** Contiguous WAL objects. */
export interface WalBatch {
  /** In order of their ids. */
  readonly bodies: ReadonlyArray<WalBody>;
  /** The first id that was not there; undefined when the batch ended for its size. */
  readonly missing: number | undefined;
}

/** Fetches the objects from id `from` on, until one is missing or enough is in memory. */
export function fetchWalAhead(
  store: ObjectStoreShape,
  root: string,
  from: number,
): Effect.Effect<WalBatch, StoreError> {
  return Effect.gen(function* () {
    const bodies: WalBody[] = [];
    let bytes = 0;
    let largest = 1;
    for (let step = 0; bodies.length < BATCH_OBJECTS && bytes < BATCH_BYTES; step++) {
      const room = Math.max(1, Math.floor((BATCH_BYTES - bytes) / largest));
      const width = Math.min(WIDTHS[Math.min(step, WIDTHS.length - 1)]!, BATCH_OBJECTS - bodies.length, room);
      const first = from + bodies.length;
      const ids = Array.from({ length: width }, (_, i) => first + i);
      const found = yield* Effect.forEach(ids, (id) => readWal(store, root, id), { concurrency: width });
      for (let i = 0; i < width; i++) {
        const body = found[i];
        if (body === undefined) return { bodies, missing: first + i };
        bodies.push({ id: first + i, bytes: body });
        bytes += body.length;
        largest = Math.max(largest, body.length);
      }
    }
    return { bodies, missing: undefined };
  });
}

/** One WAL object, or undefined when it is not there. */
export function readWal(
  store: ObjectStoreShape,
  root: string,
  id: number,
): Effect.Effect<Uint8Array | undefined, StoreError> {
  return ifThere(store.get(walPath(root, id)));
}
