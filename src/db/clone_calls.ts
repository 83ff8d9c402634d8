/**
 * `clone` and `deleteClone`, for the Promise face.
 *
 * @module
 */
import { Context, Effect } from "effect";
import { RetryDeadline } from "../store/retrying_store.ts";
import { ADMIN_FIELDS, type AdminOptions, openAdmin, timeoutOf } from "./admin.ts";
import { checkFields } from "./call_options.ts";
import { checkedId } from "./checkpoints.ts";
import { type CloneReport, makeClone } from "./clone.ts";
import { type DeletedClone, removeClone } from "./clone_delete.ts";
import { withClonePlaces } from "./clone_places.ts";
import { type Location, withLocation } from "./location.ts";
import { surfaced } from "./reads.ts";
import { contextWithClock, Runtime } from "./runtime.ts";
import { stackStores } from "./stores.ts";

export type { CloneReport } from "./clone.ts";
export type { DeletedClone } from "./clone_delete.ts";

/** How a clone is made. */
export interface CloneOptions extends AdminOptions {
  /**
   * Id of the parent's checkpoint whose state the clone begins with. Default: what the parent's newest manifest says,
   * which for an open or crashed parent may end before its newest durable rows; `db.checkpoint()` pins all of them.
   */
  readonly checkpoint?: string;
}

/**
 * Makes a writable database that begins as `parent` is, or was at a checkpoint, and shares its tables: no data is copied
 * but the log. Parent and clone go on independently; the parent keeps what the clone reads until the clone has rewritten
 * it, or is deleted with {@linkcode deleteClone}. Beside a live writer of the parent it is as safe.
 *
 * When it fails or is cut short, call it again: it goes on where it stopped, and does nothing when all is done.
 *
 * @param parent a folder, a place in S3, or `{ store, path }`
 * @param clone where the clone shall be: a folder beside the parent's; a place in the same bucket, reached in the same
 * way; or, for a parent given as `{ store, path }`, a
 * path in that store (or the same `{ store, path }` with another path)
 * @throws InvalidArgument "clone-paths" for places that do not go together, "missing-database", "checkpoint-missing",
 * "database-exists" when something else is there, or a finished clone that needs its parent no longer (a compacted one;
 * the two cannot be told apart), "clone-differs" when the clone there is one of another checkpoint, or of a clone
 * of the parent, "wal-store" for a parent with its log in a store of its own
 */
export function clone(parent: Location, clone: Location, options: CloneOptions = {}): Promise<CloneReport> {
  return run(options, ["checkpoint"], () =>
    Effect.gen(function* () {
      const checkpoint = options.checkpoint === undefined ? undefined : checkedId(options.checkpoint);
      return yield* withClonePlaces(parent, clone, (places) => {
        const { main } = stackStores(places.store, undefined, () => {}, "admin");
        return makeClone({ ...places, store: main }, checkpoint);
      });
    }));
}

/**
 * Deletes a clone and lets the databases it refers to go. Close whoever has it open first: a writer is fenced, which one
 * that is idle notices with its next write. When it fails or is cut short, call it again.
 *
 * Two manifest versions and one empty log object stay, a few hundred bytes: they stop whoever still has the clone open,
 * and a database or clone that is made there later goes on from their numbers. To every call there is no database.
 *
 * @throws InvalidArgument "not-a-clone" for a database that refers to no other, "checkpoints-left" when a clone of this
 * one may need it, "missing-database" where there is nothing (any more)
 */
export function deleteClone(location: Location, options: AdminOptions = {}): Promise<DeletedClone> {
  return run(
    options,
    [],
    () =>
      withLocation(
        location,
        (place) => Effect.flatMap(openAdmin(place, "admin", { ...options, unfinished: true }), removeClone),
      ),
  );
}

/** Runs a call of many requests: each of them has the deadline. */
function run<A, E>(
  options: AdminOptions,
  known: ReadonlyArray<string>,
  work: () => Effect.Effect<A, E>,
): Promise<A> {
  return new Runtime(Context.empty()).promise(surfaced(Effect.suspend(() => {
    checkFields(options, new Set([...known, ...ADMIN_FIELDS]));
    const limited = Effect.provideService(Effect.suspend(work), RetryDeadline, timeoutOf(options));
    return Effect.provideContext(limited, contextWithClock(options.clock));
  })));
}
