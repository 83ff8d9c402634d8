/**
 * What a reader refuses when it opens.
 *
 * @module
 */
import { Effect } from "effect";
import { type DataError, InvalidArgument } from "../errors.ts";
import type { ManifestStore, StoredManifest } from "../state/manifest_store.ts";
import { placeAdvice } from "./location.ts";
import type { ResolvedReaderOptions } from "./reader_options.ts";
import { notInitialized } from "./recovery.ts";

/** Fails where the database was not made to the end, or its log lies elsewhere than said. */
export function checkReadable(
  versions: ManifestStore,
  stored: StoredManifest,
  options: ResolvedReaderOptions,
): Effect.Effect<void, DataError | InvalidArgument> {
  if (!stored.manifest.initialized) return Effect.fail(notInitialized(versions, stored));
  const isApart = stored.manifest.walObjectStoreUri !== undefined;
  if (options.skipWalReplay || isApart === (options.walStore !== undefined)) return Effect.void;
  return Effect.fail(
    new InvalidArgument({
      reason: "wal-store",
      message: isApart
        ? "Cannot open the reader: the database's WAL lives in a separate store; give wal: { store }, or skipWalReplay"
        : "Cannot open the reader: the database's WAL lives beside its tables; open it without wal.store",
    }),
  );
}

/** The error of a reader that found nothing. */
export function missingDatabase(place: string): InvalidArgument {
  return new InvalidArgument({
    reason: "missing-database",
    message: `Cannot open the reader: there is no database in ${place}. ${
      placeAdvice(place)
    }; a database is made by open`,
  });
}
