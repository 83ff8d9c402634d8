/**
 * Counts what is asked of a store: requests, errors, bytes, by component and kind. Users pay per request (D17).
 *
 * Put it directly over an adapter, below `retrying`, so that every repetition counts. Kinds are the operations of
 * `ObjectStoreShape`, plus "uploadPart" (one per write to an upload), "uploadComplete" and "abort". `getRanges` counts
 * one per range, which is what object stores charge.
 *
 * @module
 */
import { Clock, Effect, Layer } from "effect";
import { Durations } from "../env/counters.ts";
import type { StoreError } from "../errors.ts";
import { ObjectStore, type ObjectStoreShape, type Upload } from "./object_store.ts";

/** Kinds of counted requests. */
export type RequestKind =
  | "get"
  | "getRange"
  | "getRanges"
  | "head"
  | "put"
  | "putIfAbsent"
  | "list"
  | "delete"
  | "deleteMany"
  | "copy"
  | "upload"
  | "uploadPart"
  | "uploadComplete"
  | "abort";

/** Numbers by component, then by kind; what never happened is not listed. */
export type CountsByKind = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What a meter has counted so far. A copy: it does not go on counting. */
export interface MeterReport {
  /** Requests sent, successful or not. */
  readonly requests: CountsByKind;
  /** Requests that failed, except those that failed because there is no such object. */
  readonly errors: CountsByKind;
  /** Bytes of bodies read or written by successful requests. */
  readonly bytes: CountsByKind;
  /** Sum of the bytes read. */
  readonly bytesRead: number;
  /** Sum of the bytes written. */
  readonly bytesWritten: number;
  /** Requests that have not been answered yet. */
  readonly inFlight: number;
}

/** A counter that several stores may share. */
export class StoreMeter {
  readonly #requests = new Counts();
  readonly #errors = new Counts();
  readonly #bytes = new Counts();
  readonly #durations: Map<string, Map<RequestKind, Durations>> = new Map();
  #bytesRead = 0;
  #bytesWritten = 0;
  #inFlight = 0;
  /** @internal Hears of each kind of request of each component, once, when the first one begins. */
  onKind: ((component: string, kind: RequestKind) => void) | undefined = undefined;

  /** Requests that have not been answered yet. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Everything counted so far. */
  report(): MeterReport {
    return {
      requests: this.#requests.copy(),
      errors: this.#errors.copy(),
      bytes: this.#bytes.copy(),
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      inFlight: this.#inFlight,
    };
  }

  /** Requests of one kind so far. */
  requestsOf(component: string, kind: RequestKind): number {
    return this.#requests.get(component, kind);
  }

  /** Those of them that failed. */
  errorsOf(component: string, kind: RequestKind): number {
    return this.#errors.get(component, kind);
  }

  /**
   * How long those that have ended took.
   *
   * @internal
   */
  durationsOf(component: string, kind: RequestKind): Durations {
    let kinds = this.#durations.get(component);
    if (kinds === undefined) this.#durations.set(component, kinds = new Map());
    let durations = kinds.get(kind);
    if (durations === undefined) kinds.set(kind, durations = new Durations());
    return durations;
  }

  /** Every kind of request of every component that there was. */
  kinds(): Array<readonly [component: string, kind: RequestKind]> {
    return this.#requests.keys() as Array<readonly [string, RequestKind]>;
  }

  /** Counts `count` requests that begin. */
  begin(component: string, kind: RequestKind, count: number): void {
    if (this.#requests.add(component, kind, count)) this.onKind?.(component, kind);
    this.#inFlight++;
  }

  /** They have ended, after so many seconds; an interruption is no error. */
  end(component: string, kind: RequestKind, error: StoreError | undefined, seconds: number): void {
    this.#inFlight--;
    this.durationsOf(component, kind).add(seconds);
    if (error !== undefined && error.reason !== "not-found") this.#errors.add(component, kind, 1);
  }

  /**
   * Counts what another meter has counted since it gave the report `before`. How long those requests took is not known
   * here, and those in flight stay the other's.
   */
  add(report: MeterReport, before?: MeterReport): void {
    eachSince(report.requests, before?.requests, (component, kind, count) => {
      if (this.#requests.add(component, kind, count)) this.onKind?.(component, kind as RequestKind);
    });
    eachSince(report.errors, before?.errors, (component, kind, count) => void this.#errors.add(component, kind, count));
    eachSince(report.bytes, before?.bytes, (component, kind, count) => void this.#bytes.add(component, kind, count));
    this.#bytesRead += report.bytesRead - (before?.bytesRead ?? 0);
    this.#bytesWritten += report.bytesWritten - (before?.bytesWritten ?? 0);
  }

  /** They read `bytes`. */
  read(component: string, kind: RequestKind, bytes: number): void {
    this.#bytesRead += bytes;
    this.#bytes.add(component, kind, bytes);
  }

  /** They wrote `bytes`. */
  wrote(component: string, kind: RequestKind, bytes: number): void {
    this.#bytesWritten += bytes;
    this.#bytes.add(component, kind, bytes);
  }
}

/** Settings of {@linkcode metered}. */
export interface MeterOptions {
  /** Who asks: "db", "wal", "reader", "compactor", "gc". */
  readonly component: string;
  /** The counter; a new one when absent. */
  readonly meter?: StoreMeter;
}

/** A store that counts. */
export interface MeteredStore extends ObjectStoreShape {
  /** The counter. */
  readonly meter: StoreMeter;
  /** Everything the meter has counted so far. */
  readonly report: () => MeterReport;
}

/** Counts the requests to `inner`. */
export function metered(inner: ObjectStoreShape, options: MeterOptions): MeteredStore {
  const { component, meter = new StoreMeter() } = options;
  const counted = <A>(
    kind: RequestKind,
    request: Effect.Effect<A, StoreError>,
    onSuccess: (value: A) => void = () => {},
    count: number = 1,
  ): Effect.Effect<A, StoreError> =>
    Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock);
      const begun = clock.monotonicTimeNanosUnsafe();
      meter.begin(component, kind, count);
      return Effect.onExit(request, (exit) => {
        const seconds = Number(clock.monotonicTimeNanosUnsafe() - begun) / 1e9;
        if (exit._tag === "Success") {
          meter.end(component, kind, undefined, seconds);
          onSuccess(exit.value);
        } else {
          const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail");
          meter.end(component, kind, failed?.error, seconds);
        }
        return Effect.void;
      });
    });
  const read = (kind: RequestKind, bytes: number): void => meter.read(component, kind, bytes);
  const wrote = (kind: RequestKind, bytes: number): void => meter.wrote(component, kind, bytes);
  const countedUpload = (upload: Upload): Upload => ({
    write: (bytes) => counted("uploadPart", upload.write(bytes), () => wrote("uploadPart", bytes.length)),
    complete: counted("uploadComplete", upload.complete),
    abort: counted("abort", upload.abort) as Effect.Effect<void>,
  });
  const { deleteMany } = inner;
  return {
    provider: inner.provider,
    meter,
    report: () => meter.report(),
    get: (path) => counted("get", inner.get(path), (body) => read("get", body.length)),
    getRange: (path, range, hint) =>
      counted("getRange", inner.getRange(path, range, hint), (part) => read("getRange", part.length)),
    getRanges: (path, ranges) =>
      counted("getRanges", inner.getRanges(path, ranges), (parts) => {
        read("getRanges", parts.reduce((sum, part) => sum + part.length, 0));
      }, ranges.length),
    head: (path) => counted("head", inner.head(path)),
    put: (path, body) => counted("put", inner.put(path, body), () => wrote("put", body.length)),
    putIfAbsent: (path, body, identity) =>
      counted("putIfAbsent", inner.putIfAbsent(path, body, identity), (answer) => {
        if (answer === "created") wrote("putIfAbsent", body.length);
      }),
    list: (prefix, startAfter) => counted("list", inner.list(prefix, startAfter)),
    delete: (path) => counted("delete", inner.delete(path)),
    deleteMany: deleteMany && ((paths) => counted("deleteMany", deleteMany(paths))),
    copy: (source, target) => counted("copy", inner.copy(source, target)),
    upload: (path) => Effect.map(counted("upload", inner.upload(path)), countedUpload),
  };
}

/** {@linkcode metered} as a layer over the store service. */
export function meteredLayer(options: MeterOptions): Layer.Layer<ObjectStore, never, ObjectStore> {
  return Layer.effect(ObjectStore, Effect.map(ObjectStore, (inner) => metered(inner, options)));
}

/** Tells by how much each count has grown, if it has. */
function eachSince(
  counts: CountsByKind,
  before: CountsByKind | undefined,
  tell: (component: string, kind: string, growth: number) => void,
): void {
  for (const [component, kinds] of Object.entries(counts)) {
    for (const [kind, count] of Object.entries(kinds)) {
      const growth = count - (before?.[component]?.[kind] ?? 0);
      if (growth > 0) tell(component, kind, growth);
    }
  }
}

/** Numbers by component and kind. */
class Counts {
  readonly #byComponent: Map<string, Map<string, number>> = new Map();

  /** Answers whether these are the first ones of their kind. */
  add(component: string, kind: string, count: number): boolean {
    let kinds = this.#byComponent.get(component);
    if (kinds === undefined) this.#byComponent.set(component, kinds = new Map());
    const before = kinds.get(kind);
    kinds.set(kind, (before ?? 0) + count);
    return before === undefined;
  }

  get(component: string, kind: string): number {
    return this.#byComponent.get(component)?.get(kind) ?? 0;
  }

  keys(): Array<readonly [component: string, kind: string]> {
    return [...this.#byComponent].flatMap(([component, kinds]) =>
      [...kinds.keys()].map((kind) => [component, kind] as const)
    );
  }

  copy(): CountsByKind {
    return Object.fromEntries(
      [...this.#byComponent].map(([component, kinds]) => [component, Object.fromEntries(kinds)]),
    );
  }
}
