/**
 * The Promise face: the same names and errors as the Effect face, over the same core.
 *
 * No logic of its own. What the synchronous core throws becomes a rejection with the tagged error itself, so that
 * `instanceof` and `_tag` both work.
 *
 * @module
 */
import type { Effect } from "effect";
import type { DbError } from "../errors.ts";
import type { FoundRow } from "../lsm/version_fold.ts";
import { asDbError } from "./failures.ts";
import type {
  Checkpoint,
  CheckpointDeletion,
  CheckpointFilter,
  CheckpointLifetime,
  CheckpointOptions,
  GcReport,
  Rounding,
} from "./admin_api.ts";
import {
  type Bytes,
  type CostReport,
  type Db,
  type DbStatus,
  type Entry,
  type KeyRange,
  type LsmShape,
  type MetricValue,
  NOT_CACHED,
  type PutOptions,
  type ReadOptions,
  type Reads,
  type Scan,
  type ScanOptions,
  type Snapshot,
  type WriteBatchShape,
  type WriteOptions,
  type WriteResult,
} from "./api.ts";
import type { Database } from "./database.ts";
import { PromiseScan } from "./promise_scan.ts";
import type { Reader } from "./reads.ts";
import type { Runtime } from "./runtime.ts";
import { entryOf } from "./scan_source.ts";
import type { OpenSnapshot } from "./snapshot.ts";
import { promiseOf } from "./write_result.ts";
import type { Engine } from "./engine.ts";
import type { Accepted } from "./write_path.ts";

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

class PromiseDb extends PromiseReads implements Db {
  readonly #database: Database;
  readonly #engine: Engine;

  constructor(database: Database) {
    super(database.reader, database.engine.parts.runtime);
    this.#database = database;
    this.#engine = database.engine;
  }

  put(key: Bytes, value: Bytes, options?: PutOptions): Promise<WriteResult> {
    try {
      return this.#answered(this.#engine.writes.put(key, value, options), options);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  delete(key: Bytes, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.#answered(this.#engine.writes.delete(key, options), options);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  merge(key: Bytes, operand: Bytes, options?: PutOptions): Promise<WriteResult> {
    try {
      return this.#answered(this.#engine.writes.merge(key, operand, options), options);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  write(batch: WriteBatchShape, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.#answered(this.#engine.writes.write(batch, options), options);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  /** The result after the memory write or when durable; a long burst of the former lets the event loop turn. */
  #answered(accepted: Accepted, options: WriteOptions | undefined): Promise<WriteResult> {
    if (options?.durable !== false) return promiseOf(accepted, true);
    const { turn } = this.#engine.writes.pace;
    return turn === undefined ? promiseOf(accepted, false) : turn.then(() => promiseOf(accepted, false));
  }

  snapshot(): Promise<Snapshot> {
    try {
      return Promise.resolve(new PromiseSnapshot(this.#database.snapshot(), this.#engine.parts.runtime));
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  flush(options?: { readonly kind?: "wal" | "memtable" }): Promise<void> {
    return this.#engine.parts.runtime.promise(this.#engine.flush(options?.kind));
  }

  compact(range?: KeyRange): Promise<void> {
    return this.#engine.parts.runtime.promise(this.#engine.compact(range));
  }

  collectGarbage(options?: { readonly dryRun?: boolean }): Promise<GcReport> {
    return this.#engine.parts.runtime.promise(this.#engine.collectGarbage(options));
  }

  checkpoint(options?: CheckpointOptions): Promise<Checkpoint> {
    return this.#engine.parts.runtime.promise(this.#database.checkpoints.make(options));
  }

  checkpoints(filter?: CheckpointFilter): Promise<readonly Checkpoint[]> {
    return this.#engine.parts.runtime.promise(this.#database.checkpoints.list(filter));
  }

  refreshCheckpoint(id: string, options: CheckpointLifetime): Promise<Checkpoint> {
    return this.#engine.parts.runtime.promise(this.#database.checkpoints.refresh(id, options));
  }

  deleteCheckpoint(id: string, options?: CheckpointDeletion): Promise<void> {
    return this.#engine.parts.runtime.promise(this.#database.checkpoints.remove(id, options));
  }

  timeOfSeq(seq: number, round: Rounding): Promise<number | undefined> {
    return this.#engine.parts.runtime.promise(this.#database.checkpoints.timeOfSeq(seq, round));
  }

  seqAtTime(millis: number, round: Rounding): Promise<number | undefined> {
    return this.#engine.parts.runtime.promise(this.#database.checkpoints.seqAtTime(millis, round));
  }

  get status(): DbStatus {
    return this.#engine.status.current;
  }

  onStatus(listener: (status: DbStatus) => void): () => void {
    return this.#engine.status.listen(listener);
  }

  tables(): Promise<LsmShape> {
    return this.#engine.parts.runtime.promise(this.#database.tables);
  }

  cost(): CostReport {
    return this.#database.cost();
  }

  metrics(): readonly MetricValue[] {
    return this.#database.metrics();
  }

  close(): Promise<void> {
    return this.#engine.parts.runtime.promise(this.#engine.close);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#engine.isClosed ? Promise.resolve() : this.close();
  }
}

/** The Promise face of an open database. */
export function promiseFace(database: Database): Db {
  return new PromiseDb(database);
}
