/**
 * Repeats requests that may succeed later, and finds out what became of those whose answer was lost.
 *
 * Invariants:
 * - Errors that are answers (`retryable: false`) pass at once; to a writer's flush only what nobody can mend is an answer
 *   (`mayRetry` in `retrier.ts`).
 * - This is the only place that resolves unknown outcomes (D19). "created" is answered only when this call's own put
 *   created the object: proven by its put-id, or by equal bytes where no other process could have written them
 *   (`uniqueBody`). Everything else that exists is "exists", and so is every "exists" of a first attempt, but for unique
 *   bodies that go to a service far away: proxies may repeat a PUT, and a log object of its own would fence its writer.
 * - An error that is given out says "unknown" if any of the attempts had an unknown outcome.
 * - No repetition without a turn from the store's budget (`retry_budget.ts`): no retry storm, however many calls fail;
 *   and no request without a place (`request_gate.ts`): none is urgent in a queue that does not know.
 *
 * How long a call tries is said by its fiber: `RetryDeadline`. Flush paths set it to Infinity (D22). A first
 * attempt that never answers is ended only when `attemptTimeoutMillis` is given; adapters have timeouts of their own.
 *
 * @module
 */
import { Effect, Layer } from "effect";
import { bytesEqual } from "../bytes/compare.ts";
import { toHex } from "../bytes/hex.ts";
import { Ids } from "../env/ids.ts";
import { StoreError } from "../errors.ts";
import { ObjectStore, type ObjectStoreShape, type PutIdentity, type Upload } from "./object_store.ts";
import { Retrier, type RetryOptions, withUnknownOutcome } from "./retrier.ts";

export { RetryDeadline, type RetryOptions } from "./retrier.ts";

/** Bytes that an upload may hold back until a later call sends them: its time limit allows for those too. */
const UPLOAD_HELD_BYTES_MAX = 64 * 1024 * 1024;

/** Repeats the requests of `inner`. */
export function retrying(inner: ObjectStoreShape, options: RetryOptions = {}): ObjectStoreShape {
  const retrier = new Retrier(options);
  const { deleteMany } = inner;
  return {
    provider: inner.provider,
    get: (path) => retrier.run("get", path, () => inner.get(path)),
    getRange: (path, range, hint) => retrier.run("getRange", path, () => inner.getRange(path, range, hint)),
    getRanges: (path, ranges) => retrier.run("getRanges", path, () => inner.getRanges(path, ranges)),
    head: (path) => retrier.run("head", path, () => inner.head(path)),
    put: (path, body) => retrier.run("put", path, () => inner.put(path, body), undefined, body.length),
    putIfAbsent: (path, body, identity) => putOnce(retrier, inner, path, body, identity),
    list: (prefix, startAfter) => retrier.run("list", prefix, () => inner.list(prefix, startAfter)),
    delete: (path) => retrier.run("delete", path, () => inner.delete(path)),
    deleteMany: deleteMany &&
      ((paths) => retrier.run("deleteMany", paths[0] ?? "", () => deleteMany(paths), undefined, 0)),
    copy: (source, target) => retrier.run("copy", target, () => inner.copy(source, target)),
    upload: (path) =>
      Effect.map(
        retrier.run("upload", path, () => inner.upload(path)),
        (upload) => retryingUpload(retrier, inner, path, upload),
      ),
  };
}

/** {@linkcode retrying} as a layer over the store service. */
export function retryingLayer(options?: RetryOptions): Layer.Layer<ObjectStore, never, ObjectStore> {
  return Layer.effect(ObjectStore, Effect.map(ObjectStore, (inner) => retrying(inner, options)));
}

function putOnce(
  retrier: Retrier,
  inner: ObjectStoreShape,
  path: string,
  body: Uint8Array,
  identity: PutIdentity | undefined,
): Effect.Effect<"created" | "exists", StoreError> {
  return Effect.withFiber((fiber) => {
    const putId = identity?.putId ?? toHex(fiber.getRef(Ids).randomBytes(16));
    const uniqueBody = identity?.uniqueBody === true;
    const outcome = { unknown: identity?.isRepeated === true };
    return Effect.flatMap(
      retrier.run(
        "putIfAbsent",
        path,
        () => inner.putIfAbsent(path, body, { putId, uniqueBody }),
        outcome,
        body.length,
      ),
      (answer) => {
        // What lies between us and a service may have sent the request twice, without anybody knowing.
        const isDoubtful = outcome.unknown || (uniqueBody && inner.provider !== undefined);
        if (answer === "created" || !isDoubtful) return Effect.succeed(answer);
        return Effect.map(
          isOwn(retrier, inner, path, body, putId, uniqueBody),
          (own) => own ? "created" as const : "exists" as const,
        );
      },
    );
  });
}

/** Whether the object that exists is the one that an earlier attempt of this call has put. */
function isOwn(
  retrier: Retrier,
  inner: ObjectStoreShape,
  path: string,
  body: Uint8Array,
  putId: string,
  uniqueBody: boolean,
): Effect.Effect<boolean, StoreError> {
  const proof = Effect.flatMap(retrier.run("head", path, () => inner.head(path)), (meta) => {
    if (meta.putId !== undefined) return Effect.succeed(meta.putId === putId);
    if (!uniqueBody || meta.size !== body.length) return Effect.succeed(false);
    return readBack(retrier, inner, path, body, undefined);
  });
  return Effect.catch(proof, (error) => {
    // It was there and is gone again: nothing of ours that could be acknowledged.
    if (error.reason === "not-found") return Effect.succeed(false);
    // Without the proof the put itself is what is not known.
    return Effect.fail(withUnknownOutcome(error));
  });
}

/** Whether the stored body is `body`; "no" needs two reads that agree, since one may come back damaged. */
function readBack(
  retrier: Retrier,
  inner: ObjectStoreShape,
  path: string,
  body: Uint8Array,
  before: Uint8Array | undefined,
): Effect.Effect<boolean, StoreError> {
  return Effect.flatMap(retrier.run("get", path, () => inner.get(path)), (found) => {
    if (bytesEqual(found, body)) return Effect.succeed(true);
    if (before !== undefined && bytesEqual(found, before)) return Effect.succeed(false);
    return readBack(retrier, inner, path, body, found);
  });
}

function retryingUpload(retrier: Retrier, inner: ObjectStoreShape, path: string, upload: Upload): Upload {
  let size = 0;
  // What earlier writes brought may be sent with this one only.
  const held = () => Math.min(size, UPLOAD_HELD_BYTES_MAX);
  return {
    write: (bytes) =>
      Effect.suspend(() =>
        retrier.run("upload", path, () => upload.write(bytes), undefined, held() + bytes.length).pipe(
          Effect.map(() => void (size += bytes.length)),
          Effect.mapError((error) => error.reason === "not-found" ? uploadLost(error) : error),
        )
      ),
    complete: Effect.suspend(() => {
      const outcome = { unknown: false };
      return Effect.catch(retrier.run("upload", path, () => upload.complete, outcome, held()), (error) => {
        if (error.reason !== "not-found") return Effect.fail(error);
        // The store no longer knows the upload: an attempt has completed it, or it was dropped.
        if (!outcome.unknown) return Effect.fail(uploadLost(error));
        return retrier.run("head", path, () => inner.head(path)).pipe(
          Effect.catch((failed) =>
            Effect.fail(failed.reason === "not-found" ? uploadLost(error) : withUnknownOutcome(failed))
          ),
          Effect.flatMap((meta) => meta.size === size ? Effect.void : Effect.fail(uploadLost(error))),
        );
      });
    }),
    abort: upload.abort,
  };
}

/** The parts are gone and only a new upload can succeed; "not-found" would be taken for a missing object. */
function uploadLost(error: StoreError): StoreError {
  const { op, path, outcome, detail } = error;
  return new StoreError({ op, path, reason: "unavailable", retryable: false, outcome, detail, cause: error });
}
