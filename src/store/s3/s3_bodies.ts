/**
 * Reads what S3 sends: whole objects and ranges, never more bytes than were asked for and never fewer in silence.
 *
 * @module
 */
import { GetObjectCommand, type GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { Effect } from "effect";
import { realIo } from "../../env/real_io.ts";
import { StoreError, type StoreOp } from "../../errors.ts";
import type { ByteRange } from "../object_store.ts";
import { pastTheEnd } from "../store_names.ts";
import type { S3Wire } from "./s3_client.ts";
import { readFailure, storeErrorOf } from "./s3_failures.ts";
import { demand, demandObject } from "./s3_marks.ts";

/** A body as all three runtimes hand it out. */
interface BodyStream extends AsyncIterable<Uint8Array> {
  readonly destroy: () => unknown;
}

/** Which bytes of a body are wanted. */
interface Window {
  /** Bytes to pass over first. */
  readonly skip: number;
  readonly length: number;
  /** Whether the body must end there. */
  readonly exact: boolean;
}

/** Reads a whole object. */
export function getWhole(wire: S3Wire, path: string): Effect.Effect<Uint8Array, StoreError> {
  return fetchBody(wire, "get", path, undefined, (answer) => {
    const length = answer.ContentLength;
    if (length === undefined) return unmeasured(path);
    return { skip: 0, length, exact: true };
  });
}

/** Reads one range; `op` is what errors call it. */
export function getPart(
  wire: S3Wire,
  op: StoreOp,
  path: string,
  range: ByteRange,
): Effect.Effect<Uint8Array, StoreError> {
  return Effect.catch(
    fetchBody(wire, op, path, range, (answer) => windowOf(op, path, range, answer)),
    (error) =>
      Effect.fail(
        error.detail?.includes(": 416 InvalidRange") === true ? pastTheEnd(op, path, range, undefined) : error,
      ),
  );
}

/** Where in the body the range lies: the whole of a 206, a window of a 200 from a service that ignored the range. */
function windowOf(op: StoreOp, path: string, range: ByteRange, answer: GetObjectCommandOutput): Window | StoreError {
  const { offset, length } = range;
  const sent = answer.ContentLength;
  if (answer.$metadata.httpStatusCode === 200) {
    if (sent !== undefined && sent < offset + length) return pastTheEnd(op, path, range, sent);
    return { skip: offset, length, exact: false };
  }
  const said = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.ContentRange ?? "");
  if (said === null) return shortRead(op, path, "the answer does not say which bytes it holds");
  const [first, last] = [Number(said[1]), Number(said[2])];
  if (first !== offset) return shortRead(op, path, `asked for bytes from ${offset}, got them from ${first}`);
  const got = last - first + 1;
  if (got > length) return { skip: 0, length, exact: false };
  if (got < length) {
    const size = said[3] === "*" ? undefined : Number(said[3]);
    if (size !== undefined && size < offset + length) return pastTheEnd(op, path, range, size);
    return shortRead(op, path, `asked for ${length} bytes, got ${got}`);
  }
  return { skip: 0, length, exact: true };
}

function fetchBody(
  wire: S3Wire,
  op: StoreOp,
  path: string,
  range: ByteRange | undefined,
  windowOfAnswer: (answer: GetObjectCommandOutput) => Window | StoreError,
): Effect.Effect<Uint8Array, StoreError> {
  const request = { op, path, writes: false };
  const command = {
    Bucket: wire.settings.bucket,
    Key: path,
    ...(range === undefined ? {} : { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }),
  };
  return Effect.suspend(() => {
    // A body that nobody reads would hold its connection for ever.
    const held: { body?: BodyStream | undefined } = {};
    const head = wire.ask({
      ...request,
      send: async (client, options) => {
        const answer = await client.send(new GetObjectCommand(command), options);
        if (options.abortSignal.aborted) (answer.Body as BodyStream | undefined)?.destroy();
        else held.body = answer.Body as BodyStream | undefined;
        const isWhole = answer.$metadata.httpStatusCode === 200;
        if (range === undefined) demand(answer, isWhole, "the whole object was asked for");
        // A part of an object says of itself which; that is judged with the range.
        return isWhole ? demandObject(answer) : answer;
      },
    });
    return Effect.flatMap(head, (answer) => {
      const wanted = windowOfAnswer(answer);
      if (wanted instanceof StoreError) return Effect.fail(wanted);
      const body = held.body;
      if (body === undefined) return Effect.fail(shortRead(op, path, "the answer has no body"));
      const reading = realIo(async (signal) => {
        signal.addEventListener("abort", () => body.destroy(), { once: true });
        const bytes = await collect(body, op, path, wanted);
        if (wanted.exact) held.body = undefined;
        return bytes;
      }, (cause) => cause instanceof StoreError ? cause : lostBody(wire, op, path, cause));
      return wire.within({ ...request, bytes: wanted.skip + wanted.length }, reading);
    }).pipe(Effect.ensuring(Effect.sync(() => void held.body?.destroy())));
  });
}

async function collect(body: BodyStream, op: StoreOp, path: string, wanted: Window): Promise<Uint8Array> {
  const bytes = new Uint8Array(wanted.length);
  let skip = wanted.skip;
  let at = 0;
  for await (const chunk of body) {
    const from = Math.min(skip, chunk.length);
    skip -= from;
    const part = chunk.subarray(from, from + wanted.length - at);
    bytes.set(part, at);
    at += part.length;
    if (from + part.length < chunk.length && wanted.exact) {
      throw shortRead(op, path, `more than the ${wanted.length} bytes that were announced`);
    }
    if (at === wanted.length && !wanted.exact) break;
  }
  if (at === wanted.length) return bytes;
  throw shortRead(op, path, `got ${at} of ${wanted.length} bytes`);
}

function lostBody(wire: S3Wire, op: StoreOp, path: string, cause: unknown): StoreError {
  return storeErrorOf(op, path, { ...readFailure(cause), status: 0 }, false, wire.place);
}

/** Without a length nobody can tell a whole body from one that was cut. */
function unmeasured(path: string): StoreError {
  const detail = "the answer has no Content-Length; is something between here and the service that changes bodies?";
  return new StoreError({ op: "get", path, reason: "unsupported", retryable: false, outcome: "none", detail });
}

/** Fewer bytes than promised; asking again may give them. */
function shortRead(op: StoreOp, path: string, detail: string): StoreError {
  return new StoreError({ op, path, reason: "short-read", retryable: true, outcome: "none", detail });
}
