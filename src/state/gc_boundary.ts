/**
 * The boundary file of newer engines: "versions up to this number are dead, whatever their creation answered".
 *
 * A creator that comes late compares its number with it, so it is raised before versions are deleted. Ours never make
 * such a file; where there is one it is honoured: never lowered, and when it says what cannot be, nothing is deleted.
 * Two collectors may race on it: each writes only a greater number than it has read, and a lost race leaves a number
 * that is too small for one pass, as if the file had not been raised by the other.
 *
 * @module
 */
import { Effect } from "effect";
import type { StoreError } from "../errors.ts";
import { boundaryPath, parseBoundary } from "../format/paths.ts";
import { ifThere } from "../store/if_there.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";

/** The boundary file of one kind of version, read once, when something is to be deleted. */
export class VersionBoundary {
  readonly #store: ObjectStoreShape;
  readonly #path: string;
  readonly #newestId: number;
  /** The number it holds; "none" when there is no file, "unknown" when it cannot be understood; undefined: not read. */
  #value: number | "none" | "unknown" | undefined = undefined;

  /** @param newestId the newest version known, which must be alive */
  constructor(store: ObjectStoreShape, root: string, kind: "manifest" | "compactions", newestId: number) {
    this.#store = store;
    this.#path = boundaryPath(root, kind);
    this.#newestId = newestId;
  }

  /**
   * Raises the boundary to `id`, unless it is there or there is no file. False when versions must not be deleted.
   *
   * @param dryRun only answers
   */
  pass(id: number, dryRun: boolean): Effect.Effect<boolean, StoreError> {
    return Effect.gen({ self: this }, function* () {
      const value = this.#value ??= yield* this.#read;
      if (value === "none") return true;
      // A boundary at or above the newest version known: that one was created in vain, or it is not the newest.
      if (value === "unknown" || value >= this.#newestId) return false;
      if (value < id && !dryRun) {
        yield* this.#store.put(this.#path, new TextEncoder().encode(String(id)));
        this.#value = id;
      }
      return true;
    });
  }

  readonly #read: Effect.Effect<number | "none" | "unknown", StoreError> = Effect.suspend(() =>
    Effect.map(
      ifThere(this.#store.get(this.#path)),
      (bytes) => bytes === undefined ? "none" : parseBoundary(bytes) ?? "unknown",
    )
  );
}
