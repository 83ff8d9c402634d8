/**
 * Sends requests to S3: connections, credentials, deadlines. One client per store.
 *
 * Invariants:
 * - One request of ours is one request of the network (neither the SDK nor the runtime repeats any), or two: when the
 *   service refuses the credentials, they are asked for anew, once, and the request is sent again.
 * - A request that is cut off by its deadline or interrupted is aborted, and its connection goes with it.
 * - An answer counts only with S3's marks (invariant N4): `send` rejects with `ForeignAnswer` without them.
 * - Requests leave in plain http only for loopback or where that was allowed, whatever the endpoint came from.
 *
 * @module
 */
import process from "node:process";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { Effect } from "effect";
import { realIo } from "../../env/real_io.ts";
import { StoreError, type StoreOp } from "../../errors.ts";
import { SLOWEST_BYTES_PER_MILLI } from "../store_health.ts";
import { keptConnections } from "./s3_agents.ts";
import { CredentialsSource, credentialsWait, identityOf } from "./s3_credentials.ts";
import { asksForCredentials, readFailure, type S3Failure, type S3Place, storeErrorOf } from "./s3_failures.ts";
import { guardAnswers } from "./s3_marks.ts";
import { isLoopback, type S3Settings } from "./s3_options.ts";

/** One request. */
export interface S3Request<A> {
  readonly op: StoreOp;
  /** Name of the object, for errors. */
  readonly path: string;
  /** Whether it changes something: then a lost answer leaves an unknown outcome. */
  readonly writes: boolean;
  /** Bytes that it carries, either way. */
  readonly bytes?: number;
  /** Sends it. Rejections of anything but the SDK are taken for the network's. */
  readonly send: (client: S3Client, options: { readonly abortSignal: AbortSignal }) => Promise<A>;
}

/** A bucket of a service, and the connections to it. */
export class S3Wire {
  readonly settings: S3Settings;
  readonly place: S3Place;
  readonly #client: S3Client;
  readonly #source: CredentialsSource | undefined;
  /** Counts the times that credentials were asked for anew, so that many requests refused at once ask once. */
  #generation = 0;
  #refresh: Promise<void> | undefined = undefined;
  #closed = false;

  constructor(settings: S3Settings) {
    this.settings = settings;
    this.place = {
      bucket: settings.bucket,
      host: settings.endpoint === undefined ? "AWS S3" : new URL(settings.endpoint).host,
    };
    const { credentials } = settings;
    this.#source = typeof credentials === "function" ? new CredentialsSource(credentials) : undefined;
    this.#client = new S3Client(configOf(settings, this.#source));
    guardTransport(this.#client, settings);
    guardAnswers(this.#client);
  }

  /** Sends `request` within its deadline. */
  ask<A>(request: S3Request<A>): Effect.Effect<A, StoreError> {
    return Effect.suspend(() => {
      if (this.#closed) return Effect.fail(closedError(request.op, request.path));
      return this.within(request, this.#attempt(request));
    });
  }

  /** Ends `work` with a "timeout" when it has not ended in time. */
  within<A>(
    { op, path, writes, bytes = 0 }: Omit<S3Request<unknown>, "send">,
    work: Effect.Effect<A, StoreError>,
  ): Effect.Effect<A, StoreError> {
    const limit = this.settings.requestTimeoutMillis + Math.ceil(bytes / SLOWEST_BYTES_PER_MILLI);
    return Effect.timeoutOrElse(work, {
      duration: limit,
      orElse: () =>
        Effect.fail(
          new StoreError({
            op,
            path,
            reason: "timeout",
            retryable: true,
            outcome: writes ? "unknown" : "none",
            detail: `${this.place.host} did not answer within ${limit} ms`,
          }),
        ),
    });
  }

  /** Ends all connections; requests under way fail, later ones are refused. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client.destroy();
  }

  #attempt<A>(request: S3Request<A>): Effect.Effect<A, StoreError> {
    const { op, path, writes, send } = request;
    const generation = this.#generation;
    const once = this.#signed(realIo<A, S3Failure>((abortSignal) => send(this.#client, { abortSignal }), readFailure));
    const handled = Effect.catch(once, (failure) => {
      if (this.#closed) return Effect.fail(failure);
      if (!asksForCredentials(op, failure)) return Effect.fail(failure);
      return Effect.andThen(this.#askForCredentials(generation), once);
    });
    return Effect.mapError(handled, (failure) => {
      if (this.#closed) return closedError(op, path, writes);
      return storeErrorOf(op, path, failure, writes, this.place);
    });
  }

  /** `work`, which gives up the wait for credentials when those do not come. */
  #signed<A>(work: Effect.Effect<A, S3Failure>): Effect.Effect<A, S3Failure> {
    const source = this.#source;
    if (source === undefined) return work;
    return Effect.suspend(() => {
      if (source.isKnown) return work;
      const late = Effect.flatMap(Effect.sleep(credentialsWait(this.settings.requestTimeoutMillis)), () => {
        source.giveUp();
        return Effect.never;
      });
      return Effect.raceFirst(work, late);
    });
  }

  /** Asks for the credentials anew, unless somebody has since `generation`. What goes wrong shows with the request. */
  #askForCredentials(generation: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#generation !== generation) return Effect.void;
      this.#refresh ??= this.#askedAnew();
      const refresh = this.#refresh;
      return Effect.timeoutOrElse(Effect.ignore(realIo((_signal) => refresh, () => undefined)), {
        duration: credentialsWait(this.settings.requestTimeoutMillis),
        orElse: () => Effect.sync(() => this.#giveUpRefresh(refresh)),
      });
    });
  }

  #giveUpRefresh(refresh: Promise<void>): void {
    this.#source?.giveUp();
    if (this.#refresh === refresh) this.#refresh = undefined;
  }

  async #askedAnew(): Promise<void> {
    try {
      const provider = this.#client.config.credentials as (options: { forceRefresh: boolean }) => Promise<unknown>;
      await provider({ forceRefresh: true });
    } catch {
      // The request that follows meets the same, and says so.
    } finally {
      this.#generation++;
      this.#refresh = undefined;
    }
  }
}

function configOf(settings: S3Settings, source: CredentialsSource | undefined): S3ClientConfig {
  const { endpoint, region, profile, credentials, connections } = settings;
  const config: S3ClientConfig & { readonly ignoreCache: boolean } = {
    maxAttempts: 1,
    forcePathStyle: settings.pathStyle,
    requestChecksumCalculation: profile.checksums,
    responseChecksumValidation: profile.checksums,
    // A body is small or in parts; asking before sending costs a round trip and a connection that is not kept.
    expectContinueHeader: false,
    followRegionRedirects: false,
    disableMultiregionAccessPoints: true,
    // No line of the SDK's reaches the console: it may name what must not be shown.
    logger: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
    requestHandler: { ...keptConnections(connections), logger: { warn() {} } as unknown as Console },
    // Shared files are read anew when the credentials are.
    ignoreCache: true,
  };
  // Without one the SDK would look for AWS_ENDPOINT_URL, which may name another service than the profile's.
  if (endpoint !== undefined) config.endpoint = endpoint;
  const fallback = typeof profile.region === "object" && "fallback" in profile.region
    ? profile.region.fallback
    : undefined;
  const signedFor = region ?? (fallback === undefined ? undefined : process.env.AWS_REGION ?? fallback);
  if (signedFor !== undefined) config.region = signedFor;
  if (source !== undefined) config.credentials = source.identity;
  else if (credentials !== undefined) config.credentials = () => Promise.resolve(identityOf(credentials));
  return config;
}

/** Refuses to send where nothing may be sent: the last look at the address before anything is signed. */
function guardTransport(client: S3Client, settings: S3Settings): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const { protocol, hostname } = args.request as { readonly protocol?: string; readonly hostname?: string };
      const isPlain = protocol !== "https:" && !isLoopback(hostname ?? "") && !settings.allowHttp;
      const isElsewhere = settings.endpoint === undefined && !/\.amazonaws\.com(?:\.cn)?$/.test(hostname ?? "");
      if (isPlain || isElsewhere) {
        throw Object.assign(new Error("The endpoint is not allowed"), { name: "EndpointNotAllowed" });
      }
      return next(args);
    },
    { step: "build", name: "phylliteTransport" },
  );
}

function closedError(op: StoreOp, path: string, mayHaveHappened: boolean = false): StoreError {
  const outcome = mayHaveHappened ? "unknown" : "none";
  return new StoreError({ op, path, reason: "unavailable", retryable: false, outcome, detail: "the store was closed" });
}
