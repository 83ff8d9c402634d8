/**
 * Reads of the Effect face: gets as effects, scans as streams.
 *
 * A read that memory can answer is one `Effect.suspend` around the synchronous core.
 *
 * @module
 */
import { Effect, Option, type Scope, Stream } from "effect";
import type { DbError } from "../errors.ts";
import { PENDING } from "../lsm/cursor.ts";
import type { FoundRow } from "../lsm/version_fold.ts";
import { type Bytes, type Entry, type KeyRange, NOT_CACHED, type ReadOptions, type ScanOptions } from "./api.ts";
import { badOption } from "./call_options.ts";
import { type EffectCursor, effectCursor } from "./effect_cursor.ts";
import { asDbError } from "./failures.ts";
import { type Reader, surfaced } from "./reads.ts";
import { entryOf } from "./scan_source.ts";

/** Options of reads of the Effect face: interrupting the effect takes the place of an abort signal. */
export type EffectReadOptions = Omit<ReadOptions, "signal">;

/** Reads as effects; a scan is a stream of entries. */
export interface EffectReads {
  /** The value, undefined when the key is absent. */
  readonly get: (key: Bytes, options?: EffectReadOptions) => Effect.Effect<Uint8Array | undefined, DbError>;
  /** The value with its sequence number and times. */
  readonly getEntry: (key: Bytes, options?: EffectReadOptions) => Effect.Effect<Entry | undefined, DbError>;
  /** Values in the order of the keys, all of one moment. */
  readonly getMany: (
    keys: readonly Bytes[],
    options?: EffectReadOptions,
  ) => Effect.Effect<ReadonlyArray<Uint8Array | undefined>, DbError>;
  /** The value from memory, undefined when the key is absent, NOT_CACHED when only the store can tell. */
  readonly getCached: (
    key: Bytes,
    options?: EffectReadOptions,
  ) => Effect.Effect<Uint8Array | undefined | typeof NOT_CACHED, DbError>;
  /** Pulled in batches; starts when the stream is run. */
  readonly scan: (range?: KeyRange, options?: Omit<ScanOptions, "signal">) => Stream.Stream<Entry, DbError>;
  /** A two-way iterator over the rows of a range as they are now; the scope closes it. */
  readonly cursor: (
    range?: KeyRange,
    options?: EffectReadOptions,
  ) => Effect.Effect<EffectCursor, DbError, Scope.Scope>;
}

/** An effect is interrupted, not signalled. @throws InvalidArgument */
function refuseSignal(options: ReadOptions | undefined): void {
  if (options?.signal !== undefined) throw badOption("signal", "nothing: interrupt the effect instead");
}

/** Reads of a database, reader or snapshot as effects. */
export function effectReads(reader: Reader): EffectReads {
  // `pick` runs before anything can yield: a row found in memory is valid only until the reader's next call.
  const row = <A>(of: Bytes, options: EffectReadOptions | undefined, pick: (found: FoundRow | undefined) => A) =>
    Effect.suspend(() => {
      try {
        refuseSignal(options);
        const found = reader.tryGet(of, options);
        if (found !== NOT_CACHED) return Effect.succeed(pick(found));
      } catch (error) {
        return Effect.fail(asDbError(error));
      }
      return Effect.map(reader.fetch(of, options), pick);
    });
  return {
    get: (of, options) => row(of, options, (found) => found?.value),
    getEntry: (of, options) => row(of, options, (found) => found === undefined ? undefined : entryOf(of, found)),
    getMany: (keys, options) =>
      surfaced(Effect.suspend(() => {
        refuseSignal(options);
        return Effect.map(reader.fetchMany(keys, options), (rows) => rows.map((found) => found?.value));
      })),
    getCached: (of, options) =>
      surfaced(Effect.sync(() => {
        refuseSignal(options);
        return reader.getCached(of, options);
      })),
    scan: (range, options) => scanStream(reader, range, options),
    cursor: (range, options) =>
      Effect.map(
        Effect.acquireRelease(
          surfaced(Effect.sync(() => {
            refuseSignal(options);
            return reader.cursor(range, options);
          })),
          (source) => Effect.sync(() => source.release()),
        ),
        effectCursor,
      ),
  };
}

/** Entries per chunk of a stream. */
const CHUNK_ROWS = 256;

function scanStream(
  reader: Reader,
  range: KeyRange | undefined,
  options: ScanOptions | undefined,
): Stream.Stream<Entry, DbError> {
  return Stream.unwrap(surfaced(Effect.sync(() => {
    refuseSignal(options);
    const source = reader.scan(range, options);
    const pull: Effect.Effect<ReadonlyArray<Entry>, DbError> = Effect.suspend(() => {
      const rows: Entry[] = [];
      const more = (): Effect.Effect<ReadonlyArray<Entry>, DbError> =>
        surfaced(
          Effect.suspend(() =>
            source.fill(rows, source.rowsPerPull(CHUNK_ROWS)) === PENDING
              ? Effect.flatMap(source.fetch, more)
              : Effect.succeed(rows)
          ),
        );
      return more();
    });
    return Stream.ensuring(
      Stream.paginate(
        undefined,
        () => Effect.map(pull, (rows) => [rows, rows.length === 0 ? Option.none() : Option.some(undefined)] as const),
      ),
      Effect.sync(() => source.close()),
    );
  })));
}
