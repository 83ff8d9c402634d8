/**
 * Reads and snapshots of the Promise face: answered at once where memory can tell.
 *
 * @module
 */
import type { Effect } from "effect";
import type { DbError } from "../errors.ts";
import type { FoundRow } from "../lsm/version_fold.ts";
import {
  type Bytes,
  type Entry,
  type KeyRange,
  NOT_CACHED,
  type ReadOptions,
  type Reads,
  type Scan,
  type ScanOptions,
  type Snapshot,
} from "./api.ts";
import type { Cursor } from "./cursor_api.ts";
import { asDbError } from "./failures.ts";
import { PromiseCursor } from "./promise_cursor.ts";
import { PromiseScan } from "./promise_scan.ts";
import type { Reader } from "./reads.ts";
import type { Runtime } from "./runtime.ts";
import { entryOf } from "./scan_source.ts";
import type { OpenSnapshot } from "./snapshot.ts";

/** Reads of a database or snapshot as promises. */
export class PromiseReads implements Reads {
  readonly #reader: Reader;
  readonly #runtime: Runtime;

  constructor(reader: Reader, runtime: Runtime) {
    this.#reader = reader;
    this.#runtime = runtime;
  }

  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined> {
    try {
      const row = this.#reader.tryGet(key, options);
      if (row !== NOT_CACHED) return Promise.resolve(row?.value);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
    return this.#fetched(this.#reader.fetch(key, options), options).then((row) => row?.value);
  }

  getEntry(key: Bytes, options?: ReadOptions): Promise<Entry | undefined> {
    const entry = (row: FoundRow | undefined) => row === undefined ? undefined : entryOf(key, row);
    try {
      const row = this.#reader.tryGet(key, options);
      if (row !== NOT_CACHED) return Promise.resolve(entry(row));
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
    return this.#fetched(this.#reader.fetch(key, options), options).then(entry);
  }

  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]> {
    return this.#fetched(this.#reader.fetchMany(keys, options), options)
      .then((rows) => rows.map((row) => row?.value));
  }

  getCached(key: Bytes, options?: ReadOptions): Uint8Array | undefined | typeof NOT_CACHED {
    return this.#reader.getCached(key, options);
  }

  scan(range?: KeyRange, options?: ScanOptions): Scan {
    return new PromiseScan(() => this.#reader.scan(range, options), this.#runtime, options?.signal);
  }

  cursor(range?: KeyRange, options?: ReadOptions): Promise<Cursor> {
    try {
      options?.signal?.throwIfAborted();
      return Promise.resolve(new PromiseCursor(this.#reader.cursor(range, options), this.#runtime, options?.signal));
    } catch (error) {
      return Promise.reject(options?.signal?.aborted ? options.signal.reason : asDbError(error));
    }
  }

  #fetched<A>(effect: Effect.Effect<A, DbError>, options: ReadOptions | undefined): Promise<A> {
    return abortable(this.#runtime, effect, options?.signal);
  }
}

/** Runs an effect; when `signal` aborts, rejects with its reason. */
export function abortable<A>(
  runtime: Runtime,
  effect: Effect.Effect<A, DbError>,
  signal: AbortSignal | undefined,
): Promise<A> {
  if (signal === undefined) return runtime.promise(effect);
  if (signal.aborted) return Promise.reject(signal.reason);
  return runtime.promise(effect, signal).catch((error) => {
    throw signal.aborted ? signal.reason : error;
  });
}

/** A snapshot of a database or reader as promises. */
export class PromiseSnapshot extends PromiseReads implements Snapshot {
  readonly #view: OpenSnapshot;

  constructor(view: OpenSnapshot, runtime: Runtime) {
    super(view.reader, runtime);
    this.#view = view;
  }

  get seq(): number {
    return this.#view.seq;
  }

  release(): void {
    this.#view.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.release();
    return Promise.resolve();
  }
}
