/**
 * The Effect face of a reader: a service with the names of the Promise face, whose methods are effects and streams.
 *
 * @module
 */
import { Context, Effect, Layer, type Scope } from "effect";
import type { DbError } from "../errors.ts";
import { parseRoot } from "../format/paths.ts";
import { ObjectStore } from "../store/object_store.ts";
import type { DbReader as PromiseReader, ReaderStatus } from "./admin_api.ts";
import type { KeyRange, OpenCostReport, SizeEstimate } from "./api.ts";
import type { EffectSnapshot } from "./effect.ts";
import { type EffectReads, effectReads } from "./effect_reads.ts";
import { type OpenedReader, openReaderAt } from "./reader.ts";
import { type ReaderOptions, resolveReaderOptions } from "./reader_options.ts";
import { surfaced } from "./reads.ts";

/** An open reader as effects. */
export interface EffectReader extends EffectReads {
  /** A view that stays as it is now while the reader goes on; released with the scope. */
  readonly snapshot: Effect.Effect<EffectSnapshot, DbError, Scope.Scope>;
  /** Looks for newer state now; answers the newest sequence number seen. */
  readonly refresh: Effect.Effect<number, DbError>;
  /** Ends when the reader shows `seq`; fails with `Unavailable` "timeout" after `timeoutMillis` (30,000). */
  readonly waitForSeq: (seq: number, options?: { readonly timeoutMillis?: number }) => Effect.Effect<void, DbError>;
  /** How the reader is doing, now. */
  readonly status: Effect.Effect<ReaderStatus>;
  /** About how much a range of what the reader shows holds, told without reading data. */
  readonly estimate: (range?: KeyRange) => Effect.Effect<SizeEstimate, DbError>;
  /** Requests so far and what they would cost. */
  readonly cost: Effect.Effect<OpenCostReport>;
  /** Ends the reader and deletes its checkpoint; a second call fails with `Closed`. */
  readonly close: Effect.Effect<void, DbError>;
}

/** Settings of the Effect face: those of `openReader`, and where in the store the database lives. Clocks are services here. */
export interface EffectReaderOptions extends Omit<ReaderOptions, "clock"> {
  /** Root of the database inside the `ObjectStore`; "" (default) is the store's own root. */
  readonly path?: string;
}

/** Identifier of the reader service. */
export interface DbReaderService {
  /** Brand; has no value. */
  readonly _: unique symbol;
}

/** The service key with the two ways to get a reader. */
export interface DbReaderKey extends Context.Service<DbReaderService, EffectReader> {
  /** Opens a reader in the current scope, which closes it. */
  readonly open: (options?: EffectReaderOptions) => Effect.Effect<EffectReader, DbError, ObjectStore | Scope.Scope>;
  /** The reader as a layer over an object store. */
  readonly layer: (options?: EffectReaderOptions) => Layer.Layer<DbReaderService, DbError, ObjectStore>;
}

const key: Context.Service<DbReaderService, EffectReader> = Context.Service<DbReaderService, EffectReader>(
  "phyllite/db/DbReader",
);

function openScoped(options: EffectReaderOptions = {}): Effect.Effect<
  EffectReader,
  DbError,
  ObjectStore | Scope.Scope
> {
  const acquire = surfaced(Effect.gen(function* () {
    const { path = "", ...settings } = options;
    const store = yield* ObjectStore;
    return yield* openReaderAt({ store, root: parseRoot(path) }, resolveReaderOptions(settings));
  }));
  // The checkpoint of a reader whose store does not answer at the end ends by itself: no reason to fail the scope.
  const release = (opened: OpenedReader) => opened.isClosed ? Effect.void : Effect.ignore(opened.close);
  return Effect.map(Effect.acquireRelease(acquire, release, { interruptible: true }), readerAsEffects);
}

/** As a type: an open reader of the Promise face. As a value: the service of the Effect face. */
export type DbReader = PromiseReader;

/** The reader service: `yield* DbReader` where a layer provides it, `DbReader.open` and `DbReader.layer` to make one. */
export const DbReader: DbReaderKey = Object.assign(key, {
  open: openScoped,
  layer: (options: EffectReaderOptions = {}): Layer.Layer<DbReaderService, DbError, ObjectStore> =>
    Layer.effect(key, openScoped(options)),
}) as DbReaderKey;

/** The Effect face of an open reader. */
export function readerAsEffects(opened: OpenedReader): EffectReader {
  return {
    ...effectReads(opened.reader),
    snapshot: Effect.map(
      Effect.acquireRelease(
        surfaced(Effect.sync(() => opened.snapshot())),
        (view) => Effect.sync(() => view.release()),
      ),
      (view) => ({ ...effectReads(view.reader), seq: view.seq }),
    ),
    refresh: opened.refresh,
    waitForSeq: (seq, options) => opened.waitForSeq(seq, options),
    status: Effect.sync(() => opened.status),
    estimate: (range) => opened.sizes.estimate(range),
    cost: Effect.sync(() => opened.cost()),
    close: opened.close,
  };
}
