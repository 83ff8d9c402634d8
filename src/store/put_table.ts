/**
 * Stores a table: one conditional put, or an upload in parts when it is too large for one (K-29).
 *
 * @module
 */
import { Effect } from "effect";
import { toHex } from "../bytes/hex.ts";
import { Ids } from "../env/ids.ts";
import { StoreError } from "../errors.ts";
import type { ObjectStoreShape, Upload } from "./object_store.ts";

/** Largest table written by a single put, bytes; larger ones go up in parts. */
export const SINGLE_PUT_MAX_BYTES: number = 64 * 1024 * 1024;

/** Bytes that are copied between two turns of others: about a millisecond of work. */
const TURN_BYTES = 4 * 1024 * 1024;

/** The bytes of a finished table, in file order. */
export interface TableBody {
  readonly chunks: ReadonlyArray<Uint8Array>;
  readonly sizeBytes: number;
}

/**
 * Stores `body` under the fresh name `path`. An object of that name that is not this one is an error.
 *
 * The effect may be run again after it failed: it knows its own object, whichever of the runs has made it.
 */
export function putTable(
  store: ObjectStoreShape,
  path: string,
  body: TableBody,
  singlePutMaxBytes: number = SINGLE_PUT_MAX_BYTES,
): Effect.Effect<void, StoreError> {
  if (body.sizeBytes > singlePutMaxBytes) return putInParts(store, path, body);
  let putId: string | undefined;
  let isRepeated = false;
  const put = Effect.withFiber((fiber) => {
    const id = putId ??= toHex(fiber.getRef(Ids).randomBytes(16));
    return Effect.flatMap(
      wholeBody(body),
      (bytes) => store.putIfAbsent(path, bytes, { putId: id, uniqueBody: true, isRepeated }),
    );
  });
  return put.pipe(
    Effect.tapError((error) => Effect.sync(() => void (isRepeated ||= error.outcome === "unknown"))),
    Effect.flatMap((answer) =>
      answer === "created" ? Effect.void : Effect.fail(
        new StoreError({ op: "putIfAbsent", path, reason: "conflict", retryable: false, outcome: "none" }),
      )
    ),
  );
}

function putInParts(store: ObjectStoreShape, path: string, body: TableBody): Effect.Effect<void, StoreError> {
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      restore(store.upload(path)),
      (upload) =>
        restore(Effect.andThen(writeChunks(upload, body.chunks), upload.complete)).pipe(
          Effect.onError(() => upload.abort),
        ),
    )
  );
}

/** Adds `chunks` to an upload, one after the other. */
export function writeChunks(upload: Upload, chunks: ReadonlyArray<Uint8Array>): Effect.Effect<void, StoreError> {
  return Effect.forEach(chunks, (chunk) => upload.write(chunk), { discard: true });
}

/** The chunks as one array, copied in slices; a single chunk is not copied. */
function wholeBody(body: TableBody): Effect.Effect<Uint8Array> {
  return Effect.suspend(() => {
    if (body.chunks.length === 1) return Effect.succeed(body.chunks[0]!);
    const whole = new Uint8Array(body.sizeBytes);
    let next = 0;
    let at = 0;
    const copySome = (): Effect.Effect<Uint8Array> => {
      for (const end = at + TURN_BYTES; next < body.chunks.length && at < end; next++) {
        whole.set(body.chunks[next]!, at);
        at += body.chunks[next]!.length;
      }
      return next < body.chunks.length ? Effect.flatMap(Effect.yieldNow, copySome) : Effect.succeed(whole);
    };
    return copySome();
  });
}
