/**
 * Objects in an S3 bucket, or in that of any service that speaks S3.
 *
 * One request of the engine is one request of the network; answers are reported as they came and never guessed at: what
 * became of a write whose answer was lost is found out by the `retrying` decorator alone, which also repeats (D19).
 * Conditional creates carry their put-id as metadata under the name that SlateDB gives it, so that either engine knows
 * its own objects again.
 *
 * @module
 */
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import { Effect, Layer } from "effect";
import type { InvalidArgument, StoreError, StoreOp } from "../errors.ts";
import {
  type ByteRange,
  type ListPage,
  type ObjectMeta,
  ObjectStore,
  type ObjectStoreShape,
  type PutIdentity,
  type StoreProvider,
  type Upload,
} from "./object_store.ts";
import { getPart, getWhole } from "./s3/s3_bodies.ts";
import { S3Wire } from "./s3/s3_client.ts";
import { keyFailures } from "./s3/s3_deletes.ts";
import { listPage } from "./s3/s3_listing.ts";
import { demand, demandHead, demandPage, demandStored } from "./s3/s3_marks.ts";
import { type S3Options, type S3Settings, s3Settings } from "./s3/s3_options.ts";
import type { S3Profile } from "./s3/profiles.ts";
import { cutRanges, joinRanges } from "./s3/s3_ranges.ts";
import { startUpload } from "./s3/s3_upload.ts";
import { checkRange, folderProblem, nameProblem } from "./store_names.ts";

export type { S3Credentials } from "./s3/s3_credentials.ts";
export type { S3Options } from "./s3/s3_options.ts";
export type { S3Profile, S3ProfileName } from "./s3/profiles.ts";

/** Name of the metadata that holds the put-id, as SlateDB 0.12.1 writes it. */
const PUT_ID = "slatedbputid";
/** Ranges of one `getRanges` that are read at once. */
const RANGES_AT_ONCE = 8;

/** A bucket as an object store. */
export interface S3Store extends ObjectStoreShape {
  /** What lies behind; always known here. */
  readonly provider: StoreProvider;
  /** What is known of the service. */
  readonly profile: S3Profile;
  /**
   * Ends the connections. Requests under way fail, later ones are refused. Whoever made the store calls it, when no
   * database uses it any more; a second call does nothing.
   */
  readonly close: () => Promise<void>;
}

/**
 * The store of an S3 bucket. Makes no request: what is wrong with the bucket or the credentials shows with the first.
 *
 * @throws InvalidArgument reason "options"
 */
export function s3Store(options: S3Options): S3Store {
  return new S3ObjectStore(s3Settings(options));
}

/** An S3 bucket as a service; its connections end with the layer's scope. */
export function s3StoreLayer(options: S3Options): Layer.Layer<ObjectStore, InvalidArgument> {
  const open = Effect.try({ try: () => s3Store(options), catch: (error) => error as InvalidArgument });
  return Layer.effect(ObjectStore, Effect.acquireRelease(open, (store) => Effect.promise(() => store.close())));
}

class S3ObjectStore implements S3Store {
  readonly provider: StoreProvider;
  readonly profile: S3Profile;
  readonly deleteMany: ((paths: ReadonlyArray<string>) => Effect.Effect<void, StoreError>) | undefined;
  readonly #wire: S3Wire;
  readonly #bucket: string;

  constructor(settings: S3Settings) {
    this.#wire = new S3Wire(settings);
    this.#bucket = settings.bucket;
    this.profile = settings.profile;
    this.deleteMany = settings.profile.deleteMany ? (paths) => this.#deleteMany(paths) : undefined;
    this.provider = {
      endpoint: `s3://${settings.bucket} at ${settings.endpoint ?? "AWS"}`,
      conditionalCreate: settings.profile.conditionalCreate,
      connections: settings.connections,
    };
  }

  readonly get = (path: string): Effect.Effect<Uint8Array, StoreError> =>
    named("get", path, () => getWhole(this.#wire, path));

  readonly getRange = (path: string, range: ByteRange): Effect.Effect<Uint8Array, StoreError> =>
    named("getRange", path, () => {
      checkRange(range);
      return getPart(this.#wire, "getRange", path, range);
    });

  readonly getRanges = (
    path: string,
    ranges: ReadonlyArray<ByteRange>,
  ): Effect.Effect<ReadonlyArray<Uint8Array>, StoreError> =>
    named("getRanges", path, () => {
      for (const range of ranges) checkRange(range);
      const parts: Array<Uint8Array> = [];
      const read = Effect.forEach(
        joinRanges(ranges),
        (joined) =>
          Effect.map(
            getPart(this.#wire, "getRanges", path, joined),
            (bytes) => cutRanges(joined, bytes, ranges, parts),
          ),
        { concurrency: RANGES_AT_ONCE, discard: true },
      );
      return Effect.map(read, () => parts);
    });

  readonly head = (path: string): Effect.Effect<ObjectMeta, StoreError> =>
    named("head", path, () => {
      const ask = this.#wire.ask({
        op: "head",
        path,
        writes: false,
        send: async (client, options) =>
          demandHead(await client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key: path }), options)),
      });
      return Effect.map(ask, ({ ContentLength, LastModified, Metadata }) => {
        const putId = Metadata?.[PUT_ID];
        const meta = { path, size: ContentLength ?? 0, lastModifiedMillis: LastModified?.getTime() ?? 0 };
        return putId === undefined ? meta : { ...meta, putId };
      });
    });

  readonly put = (path: string, body: Uint8Array): Effect.Effect<void, StoreError> =>
    named("put", path, () => {
      if (body.length <= this.#wire.settings.multipartAboveBytes) return this.#putWhole("put", path, body);
      return Effect.suspend(() => {
        const upload = this.#startUpload(path);
        return Effect.onError(Effect.andThen(upload.write(body), upload.complete), () => upload.abort);
      });
    });

  readonly putIfAbsent = (
    path: string,
    body: Uint8Array,
    identity?: PutIdentity,
  ): Effect.Effect<"created" | "exists", StoreError> =>
    named("putIfAbsent", path, () => {
      const putId = identity?.putId;
      const ask = this.#wire.ask({
        op: "putIfAbsent",
        path,
        writes: true,
        bytes: body.length,
        send: async (client, options) => {
          const command = new PutObjectCommand({
            Bucket: this.#bucket,
            Key: path,
            Body: body,
            IfNoneMatch: "*",
            ...(putId === undefined ? {} : { Metadata: { [PUT_ID]: putId } }),
          });
          demandStored(await client.send(command, options));
          return "created" as const;
        },
      });
      // The refusal of the condition is the only error that is an answer.
      return Effect.catch(ask, (error) =>
        error.reason === "conflict" && !error.retryable ? Effect.succeed("exists" as const) : Effect.fail(error));
    });

  readonly list = (prefix: string, startAfter?: string): Effect.Effect<ListPage, StoreError> =>
    Effect.suspend(() => {
      const problem = folderProblem(prefix);
      if (problem !== undefined) return Effect.fail(problem);
      return listPage(prefix, startAfter, (after) =>
        this.#wire.ask({
          op: "list",
          path: prefix,
          writes: false,
          send: async (client, options) => {
            const command = new ListObjectsV2Command({
              Bucket: this.#bucket,
              MaxKeys: 1000,
              ...(prefix === "" ? {} : { Prefix: prefix }),
              ...(after === undefined || after === "" ? {} : { StartAfter: after }),
            });
            return demandPage(await client.send(command, options));
          },
        }));
    });

  readonly delete = (path: string): Effect.Effect<void, StoreError> =>
    named("delete", path, () => {
      const ask = this.#wire.ask({
        op: "delete",
        path,
        writes: true,
        send: (client, options) => client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: path }), options),
      });
      // Some services say of a missing object that it is missing.
      return Effect.catch(
        Effect.asVoid(ask),
        (error) => error.reason === "not-found" ? Effect.void : Effect.fail(error),
      );
    });

  readonly copy = (source: string, target: string): Effect.Effect<void, StoreError> =>
    named("copy", source, () =>
      named("copy", target, () =>
        Effect.asVoid(this.#wire.ask({
          op: "copy",
          path: target,
          writes: true,
          send: async (client, options) => {
            const command = new CopyObjectCommand({
              Bucket: this.#bucket,
              Key: target,
              CopySource: encodeURI(`${this.#bucket}/${source}`).replace(/[?#+]/g, encodeURIComponent),
              // Its put-id is the original's; and onto itself an object is copied only with new metadata.
              MetadataDirective: "REPLACE",
            });
            const answer = await client.send(command, options);
            return demand(answer, answer.CopyObjectResult !== undefined, "it does not say what was copied");
          },
        }))));

  readonly upload = (path: string): Effect.Effect<Upload, StoreError> =>
    named("upload", path, () => Effect.sync(() => this.#startUpload(path)));

  readonly close = (): Promise<void> => {
    this.#wire.close();
    return Promise.resolve();
  };

  #startUpload(path: string): Upload {
    return startUpload(this.#wire, path, (body) => this.#putWhole("upload", path, body));
  }

  #putWhole(op: StoreOp, path: string, body: Uint8Array): Effect.Effect<void, StoreError> {
    return Effect.asVoid(this.#wire.ask({
      op,
      path,
      writes: true,
      bytes: body.length,
      send: async (client, options) =>
        demandStored(await client.send(new PutObjectCommand({ Bucket: this.#bucket, Key: path, Body: body }), options)),
    }));
  }

  #deleteMany(paths: ReadonlyArray<string>): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      for (const path of paths) {
        const problem = nameProblem("deleteMany", path);
        if (problem !== undefined) return Effect.fail(problem);
      }
      if (paths.length === 0) return Effect.void;
      const ask = this.#wire.ask({
        op: "deleteMany",
        path: paths[0]!,
        writes: true,
        send: (client, options) => {
          const Objects = paths.map((Key) => ({ Key }));
          return client.send(
            new DeleteObjectsCommand({ Bucket: this.#bucket, Delete: { Objects, Quiet: true } }),
            options,
          );
        },
      });
      return Effect.flatMap(ask, ({ Errors }) => {
        const error = keyFailures(Errors ?? [], paths, this.#wire.place);
        return error === undefined ? Effect.void : Effect.fail(error);
      });
    });
  }
}

/** A request about an object, unless its name may not be one. */
function named<A>(
  op: StoreOp,
  path: string,
  request: () => Effect.Effect<A, StoreError>,
): Effect.Effect<A, StoreError> {
  return Effect.suspend(() => {
    const problem = nameProblem(op, path);
    return problem === undefined ? request() : Effect.fail(problem);
  });
}
