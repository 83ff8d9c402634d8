/**
 * Stores a table: one conditional put, or an upload in parts when it is too large for one (K-29).
 *
 * @module
 */
import { Effect } from "effect";
import { StoreError } from "../errors.ts";
import { joinChunks } from "../bytes/chunks.ts";
import type { ObjectStoreShape } from "./object_store.ts";

/** Largest table written by a single put, bytes; larger ones go up in parts. */
export const SINGLE_PUT_MAX_BYTES: number = 64 * 1024 * 1024;

/** The bytes of a finished table, in file order. */
export interface TableBody {
  readonly chunks: ReadonlyArray<Uint8Array>;
  readonly sizeBytes: number;
}

/** Stores `body` under the fresh name `path`. An object of that name that is not this one is an error. */
export function putTable(store: ObjectStoreShape, path: string, body: TableBody): Effect.Effect<void, StoreError> {
  if (body.sizeBytes > SINGLE_PUT_MAX_BYTES) return putInParts(store, path, body);
  return Effect.suspend(() => store.putIfAbsent(path, joinChunks(body.chunks), { uniqueBody: true })).pipe(
    Effect.flatMap((answer) =>
      answer === "created" ? Effect.void : Effect.fail(
        new StoreError({ op: "putIfAbsent", path, reason: "conflict", retryable: false, outcome: "none" }),
      )
    ),
  );
}

function putInParts(store: ObjectStoreShape, path: string, body: TableBody): Effect.Effect<void, StoreError> {
  return Effect.gen(function* () {
    const upload = yield* store.upload(path);
    yield* Effect.gen(function* () {
      for (const chunk of body.chunks) yield* upload.write(chunk);
      yield* upload.complete;
    }).pipe(Effect.onError(() => upload.abort));
  });
}
