/**
 * Large objects in parts, so that none of them has to be in memory whole.
 *
 * Invariants:
 * - Nothing is seen before `complete`, and an upload that ends otherwise is aborted, up to three times: its parts would
 *   be paid for.
 * - At most {@linkcode PARTS_AT_ONCE} full parts wait in memory, besides what one `write` brings.
 * - A failed `write` has taken none of its bytes, so that the same write may be tried again; parts that were stored
 *   stay stored.
 * - Never conditional: services ignore `If-None-Match` here. Manifests and the log do not come this way.
 *
 * An object that turns out to fit into one part is put with one request.
 *
 * @module
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { Effect } from "effect";
import { StoreError } from "../../errors.ts";
import type { Upload } from "../object_store.ts";
import { notFound } from "../store_names.ts";
import type { S3Request, S3Wire } from "./s3_client.ts";
import { demand, demandStored, isText } from "./s3_marks.ts";

/** Parts under way at once, and full parts in memory. */
const PARTS_AT_ONCE = 4;
/** Most parts that S3 takes. */
const PARTS_MAX = 10_000;
/** Waits before each try to abort, ms: whatever made the upload fail may be passing. */
const ABORT_WAITS_MILLIS: ReadonlyArray<number> = [0, 500, 2_000];
/** Time for all of them, ms. */
const ABORT_MILLIS_MAX = 10_000;

/** A full part that is not stored yet. */
interface WaitingPart {
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** Starts an upload to `path`; `putWhole` stores an object that fits into one part. */
export function startUpload(
  wire: S3Wire,
  path: string,
  putWhole: (body: Uint8Array) => Effect.Effect<void, StoreError>,
): Upload {
  return new PartUpload(wire, path, putWhole);
}

class PartUpload implements Upload {
  readonly #wire: S3Wire;
  readonly #path: string;
  readonly #putWhole: (body: Uint8Array) => Effect.Effect<void, StoreError>;
  #state: "open" | "completed" | "aborted" = "open";
  #uploadId: string | undefined = undefined;
  /** The part that is being filled, and how far. */
  #filling: Uint8Array | undefined = undefined;
  #filled = 0;
  #waiting: WaitingPart[] = [];
  /** ETags of the stored parts, by number - 1. */
  readonly #stored: string[] = [];
  #parts = 0;

  constructor(wire: S3Wire, path: string, putWhole: (body: Uint8Array) => Effect.Effect<void, StoreError>) {
    this.#wire = wire;
    this.#path = path;
    this.#putWhole = putWhole;
  }

  readonly write = (bytes: Uint8Array): Effect.Effect<void, StoreError> =>
    Effect.suspend(() => {
      if (this.#state !== "open") {
        return Effect.die(new Error(`Cannot write to the upload of ${this.#path}: it is ${this.#state}`));
      }
      const room = this.#waiting.length < PARTS_AT_ONCE ? Effect.void : this.#storeWaiting();
      return Effect.map(room, () => this.#take(bytes));
    });

  readonly complete: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    if (this.#state === "completed") return Effect.void;
    if (this.#state === "aborted") return Effect.fail(notFound("upload", this.#path, "the upload was aborted"));
    const done = this.#uploadId === undefined && this.#parts <= 1 ? this.#completeWhole() : this.#completeParts();
    return Effect.map(done, () => {
      this.#state = "completed";
      this.#forget();
    });
  });

  readonly abort: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#state !== "open") return Effect.void;
    this.#state = "aborted";
    this.#forget();
    const UploadId = this.#uploadId;
    if (UploadId === undefined) return Effect.void;
    const abort = this.#ask(
      0,
      (client, options) => client.send(new AbortMultipartUploadCommand({ ...this.#target, UploadId }), options),
    );
    const abortAfter = ([wait, ...later]: ReadonlyArray<number>): Effect.Effect<unknown> =>
      Effect.catch(
        Effect.delay(abort, wait ?? 0),
        (error) => error.retryable && later.length > 0 ? abortAfter(later) : Effect.void,
      );
    // What cannot be aborted now is left to the bucket's own rule for unfinished uploads.
    return Effect.asVoid(Effect.timeoutOption(abortAfter(ABORT_WAITS_MILLIS), ABORT_MILLIS_MAX));
  });

  get #target(): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#wire.settings.bucket, Key: this.#path };
  }

  #forget(): void {
    this.#filling = undefined;
    this.#filled = 0;
    this.#waiting = [];
  }

  #take(bytes: Uint8Array): void {
    const { partBytes } = this.#wire.settings;
    for (let at = 0; at < bytes.length;) {
      // A full part is closed only when more bytes come: the last one may be full, and is the only one perhaps.
      if (this.#filled === partBytes) this.#closePart();
      if (this.#filling === undefined) this.#parts++;
      const end = Math.min(bytes.length, at + partBytes - this.#filled);
      this.#roomFor(this.#filled + end - at).set(bytes.subarray(at, end), this.#filled);
      this.#filled += end - at;
      at = end;
    }
  }

  /** The part that is being filled, large enough for `length` bytes; a small object takes little memory. */
  #roomFor(length: number): Uint8Array {
    const old = this.#filling;
    if (old !== undefined && old.length >= length) return old;
    const grown = new Uint8Array(Math.min(this.#wire.settings.partBytes, Math.max(length, 2 * (old?.length ?? 0))));
    if (old !== undefined) grown.set(old.subarray(0, this.#filled));
    this.#filling = grown;
    return grown;
  }

  #closePart(): void {
    if (this.#filling === undefined) return;
    this.#waiting.push({ number: this.#parts, bytes: this.#filling.subarray(0, this.#filled) });
    this.#filling = undefined;
    this.#filled = 0;
  }

  #completeWhole(): Effect.Effect<void, StoreError> {
    return this.#putWhole(this.#filling?.subarray(0, this.#filled) ?? new Uint8Array(0));
  }

  #completeParts(): Effect.Effect<void, StoreError> {
    this.#closePart();
    return Effect.flatMap(this.#storeWaiting(), () => {
      const Parts = this.#stored.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
      const command = { ...this.#target, UploadId: this.#uploadId, MultipartUpload: { Parts } };
      return Effect.asVoid(this.#ask(0, async (client, options) => {
        const answer = await client.send(new CompleteMultipartUploadCommand(command), options);
        // Ceph names the object, but leaves its ETag empty.
        return demand(answer, isText(answer.ETag) || isText(answer.Key), "it does not name the object");
      }));
    });
  }

  /** Stores all waiting parts; those that fail go on waiting. */
  #storeWaiting(): Effect.Effect<void, StoreError> {
    if (this.#parts > PARTS_MAX) return Effect.fail(this.#tooLarge());
    const parts = this.#waiting;
    return Effect.flatMap(
      this.#begun(),
      (UploadId) =>
        Effect.forEach(parts, (part) => this.#storePart(UploadId, part), {
          concurrency: PARTS_AT_ONCE,
          discard: true,
        }),
    );
  }

  #begun(): Effect.Effect<string, StoreError> {
    if (this.#uploadId !== undefined) return Effect.succeed(this.#uploadId);
    const begin = this.#ask(0, async (client, options) => {
      const answer = await client.send(new CreateMultipartUploadCommand(this.#target), options);
      const { UploadId = "" } = demand(answer, isText(answer.UploadId), "it has no id of an upload");
      // Noted here and not after the effect: an interruption in between would leave an upload that nobody aborts.
      this.#uploadId = UploadId;
      return UploadId;
    });
    return begin;
  }

  #storePart(UploadId: string, part: WaitingPart): Effect.Effect<void, StoreError> {
    const command = { ...this.#target, UploadId, PartNumber: part.number, Body: part.bytes };
    const store = this.#ask(
      part.bytes.length,
      async (client, options) => demandStored(await client.send(new UploadPartCommand(command), options)),
    );
    return Effect.map(store, ({ ETag = "" }) => {
      this.#stored[part.number - 1] = ETag;
      this.#waiting = this.#waiting.filter((other) => other !== part);
    });
  }

  #ask<A>(
    bytes: number,
    send: S3Request<A>["send"],
  ): Effect.Effect<A, StoreError> {
    return this.#wire.ask({ op: "upload", path: this.#path, writes: true, bytes, send });
  }

  #tooLarge(): StoreError {
    const detail = `an object has at most ${PARTS_MAX} parts; give larger ones (partBytes)`;
    return new StoreError({
      op: "upload",
      path: this.#path,
      reason: "unsupported",
      retryable: false,
      outcome: "none",
      detail,
    });
  }
}
