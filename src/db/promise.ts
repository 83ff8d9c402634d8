/**
 * The Promise face: the same names and errors as the Effect face, over the same core.
 *
 * No logic of its own. What the synchronous core throws becomes a rejection with the tagged error itself, so that
 * `instanceof` and `_tag` both work.
 *
 * @module
 */
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
import type {
  Bytes,
  Db,
  DbStatus,
  KeyRange,
  LsmShape,
  MergeOptions,
  MetricValue,
  OpenCostReport,
  PutOptions,
  SizeEstimate,
  Snapshot,
  WriteBatchShape,
  WriteOptions,
  WriteResult,
} from "./api.ts";
import type { Database } from "./database.ts";
import { PromiseReads, PromiseSnapshot } from "./promise_reads.ts";
import { PromiseTransaction, transactPromise } from "./promise_transaction.ts";
import type { BeginOptions, Transaction, TransactOptions } from "./transaction_api.ts";
import { promiseOf } from "./write_result.ts";
import type { Engine } from "./engine.ts";
import type { Accepted } from "./write_path.ts";

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

  merge(key: Bytes, operand: Bytes, options?: MergeOptions): Promise<WriteResult> {
    try {
      return this.#answered(this.#engine.writes.merge(key, operand, options), options);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  deleteRange(range: KeyRange, options?: WriteOptions): Promise<WriteResult> {
    try {
      return this.#answered(this.#engine.writes.deleteRange(range, options), options);
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

  begin(options?: BeginOptions): Promise<Transaction> {
    try {
      return Promise.resolve(new PromiseTransaction(this.#database.begin(options), this.#engine.parts.runtime));
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  transact<A>(body: (tx: Transaction) => Promise<A>, options?: TransactOptions): Promise<A> {
    return transactPromise(this.#database, body, options);
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
    return this.#engine.parts.runtime.promise(this.#database.tree.tables);
  }

  estimate(range?: KeyRange): Promise<SizeEstimate> {
    return this.#engine.parts.runtime.promise(this.#database.tree.sizes.estimate(range));
  }

  cost(): OpenCostReport {
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
