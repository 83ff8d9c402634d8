/**
 * `open`, the front door of the Promise face.
 *
 * @module
 */
import { Context, Effect } from "effect";
import type { Db } from "./api.ts";
import { Database } from "./database.ts";
import { type Location, resolveLocation } from "./location.ts";
import { openEngine } from "./open.ts";
import { type OpenOptions, resolveOptions } from "./options.ts";
import { promiseFace } from "./promise.ts";
import { surfaced } from "./reads.ts";
import { Runtime } from "./runtime.ts";

/**
 * Opens a database for writing, and creates it when there is none. A writer that had it open is fenced.
 *
 * @param location "memory:", a folder ("./data", "file:///srv/data"), a place in S3 ("s3://bucket/prefix", with
 * "?endpoint=https://…" for a service other than AWS), or `{ store, path }` with any object store
 * @param options settings; unknown names are refused
 * @returns the database; `await using` closes it
 * @throws InvalidArgument for a bad location or option; Unavailable when the store does not answer; DataError when what
 * is stored is damaged or written by an unknown version; Closed "fenced" when another opener won
 */
export function open(location: Location, options?: OpenOptions): Promise<Db> {
  return new Runtime(Context.empty()).promise(surfaced(Effect.gen(function* () {
    const resolved = resolveOptions(options);
    const place = yield* resolveLocation(location);
    return promiseFace(new Database(yield* openEngine(place, resolved)));
  })));
}
