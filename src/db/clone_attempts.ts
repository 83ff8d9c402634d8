/**
 * What lies below the first manifest of a clone that is not finished: attempts that were begun anew, and the tombstone of
 * a clone that was deleted at the same place.
 *
 * @module
 */
import { Effect } from "effect";
import { DataError, type StoreError } from "../errors.ts";
import type { ExternalDb, Manifest } from "../format/types.ts";
import type { ManifestStore, StoredManifest } from "../state/manifest_store.ts";
import { isBeingDeleted, isTombstone } from "../state/tombstone.ts";

/** Attempts looked back at, at most. */
const ATTEMPTS_MAX = 64;

/** What was before an attempt. */
export interface BeforeAttempt {
  /** External databases of the attempts before, which may keep checkpoints for them. */
  readonly externals: ReadonlyArray<ExternalDb>;
  /** The tombstone on which the first attempt was made. */
  readonly tombstone: Manifest | undefined;
}

/** Looks below version `id` of a clone. Makes no request for version 1, and mostly one for others. */
export function beforeAttempt(
  versions: ManifestStore,
  id: number,
): Effect.Effect<BeforeAttempt, StoreError | DataError> {
  return Effect.gen(function* () {
    const externals: ExternalDb[] = [];
    for (let at = id - 1; at > 0 && id - at <= ATTEMPTS_MAX; at--) {
      const found: StoredManifest | undefined = yield* Effect.catch(
        versions.read(at),
        (error) =>
          error instanceof DataError && error.reason === "missing-object"
            ? Effect.succeed(undefined)
            : Effect.fail(error),
      );
      if (found === undefined || found.manifest.initialized || isBeingDeleted(found.manifest)) break;
      if (isTombstone(at, found.manifest)) return { externals, tombstone: found.manifest };
      externals.push(...found.manifest.externalDbs);
    }
    return { externals, tombstone: undefined };
  });
}
