/**
 * A store whose requests have a deadline, and are waited for when whoever made them is interrupted.
 *
 * An interrupted request may still take effect afterwards. Whoever deletes what it made has to wait for it first; the
 * deadline bounds how long. One that was given up for its time may arrive later all the same.
 *
 * @module
 */
import { Effect } from "effect";
import { StoreError, type StoreOp } from "../../errors.ts";
import { type ObjectStoreShape, READ_OPS, type Upload } from "../object_store.ts";

/** Longest that one attempt of a small request may take, ms. */
const ATTEMPT_MILLIS: number = 10_000;
/** Bytes that a transfer moves at least in a millisecond, or it counts as not answered. */
const SLOWEST_BYTES_PER_MILLI = 400;
/** What a request whose extent nobody knows before may have to move, in bytes. */
const READ_BYTES = 4 * 1024 * 1024;

/** Gives the requests to `inner` deadlines. */
export function withDeadlines(inner: ObjectStoreShape): ObjectStoreShape {
  const limited = <A>(
    op: StoreOp,
    path: string,
    request: Effect.Effect<A, StoreError>,
    bytes: number = 0,
  ): Effect.Effect<A, StoreError> => {
    const outcome = READ_OPS.has(op) ? "none" : "unknown";
    return Effect.uninterruptible(Effect.timeoutOrElse(request, {
      duration: ATTEMPT_MILLIS + Math.ceil(bytes / SLOWEST_BYTES_PER_MILLI),
      orElse: () => Effect.fail(new StoreError({ op, path, reason: "timeout", retryable: true, outcome })),
    }));
  };
  const limitedUpload = (path: string, upload: Upload): Upload => ({
    write: (bytes) => limited("upload", path, upload.write(bytes), bytes.length),
    complete: limited("upload", path, upload.complete, READ_BYTES),
    abort: Effect.ignore(limited("upload", path, upload.abort)),
  });
  const { deleteMany } = inner;
  return {
    provider: inner.provider,
    get: (path) => limited("get", path, inner.get(path), READ_BYTES),
    getRange: (path, range, hint) => limited("getRange", path, inner.getRange(path, range, hint), range.length),
    getRanges: (path, ranges) => limited("getRanges", path, inner.getRanges(path, ranges), READ_BYTES),
    head: (path) => limited("head", path, inner.head(path)),
    put: (path, body) => limited("put", path, inner.put(path, body), body.length),
    putIfAbsent: (path, body, identity) =>
      limited("putIfAbsent", path, inner.putIfAbsent(path, body, identity), body.length),
    list: (prefix, startAfter) => limited("list", prefix, inner.list(prefix, startAfter)),
    delete: (path) => limited("delete", path, inner.delete(path)),
    deleteMany: deleteMany && ((paths) => limited("deleteMany", paths[0] ?? "", deleteMany(paths))),
    copy: (source, target) => limited("copy", target, inner.copy(source, target)),
    upload: (path) => Effect.map(limited("upload", path, inner.upload(path)), (upload) => limitedUpload(path, upload)),
  };
}
