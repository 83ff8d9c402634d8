/**
 * The public shapes of transactions: what they offer and the options they take.
 *
 * Both faces share these names and the same errors.
 *
 * @module
 */
import type { Bytes, KeyRange, Reads, Ttl, WriteOptions, WriteResult } from "./api.ts";

/**
 * What a transaction is protected from.
 *
 * - `"snapshot"`: it reads the state of its beginning, and fails when somebody else has written a key that it writes.
 *   Two transactions that each read what the other writes may both commit (write skew).
 * - `"serializable"`: besides, it fails when somebody else has written a key that it read, found or not, or any key in
 *   a range that it scanned. Committed transactions have the effect of running one after another. It does not take
 *   reads with `durability: "durable"`, which would look behind its own beginning.
 */
export type Isolation = "snapshot" | "serializable";

/** Options of `begin`. */
export interface BeginOptions {
  /** Default "snapshot". */
  readonly isolation?: Isolation;
}

/** Options of a put or merge inside a transaction. */
export interface TransactionPutOptions {
  /** How long the row lives, counted from the commit. Default: the database's `defaultTtlMillis`. */
  readonly ttl?: Ttl;
}

/**
 * Reads and writes that take effect together, or not at all.
 *
 * It reads the state of its beginning with its own writes on top; a scan does not see what is written after it began.
 * Entries that its own writes have shaped carry `seq` 0 and `createdAt` 0: they get both by the commit. The transaction
 * ends with `commit` or `rollback`, whatever they answer, and with the database; commit or roll back each one, since an
 * open transaction holds back the removal of old versions.
 */
export interface Transaction extends Reads, AsyncDisposable {
  /** What it is protected from. */
  readonly isolation: Isolation;
  /** Sequence number of the newest write of others that it sees. */
  readonly seq: number;
  /** Sets a key. Nothing is stored before the commit. */
  put(key: Bytes, value: Bytes, options?: TransactionPutOptions): Promise<void>;
  /** Deletes a key. */
  delete(key: Bytes): Promise<void>;
  /** Adds an operand for the merge operator. It counts as a write of the key. */
  merge(key: Bytes, operand: Bytes, options?: TransactionPutOptions): Promise<void>;
  /**
   * Deletes every key of a range, its own writes so far included; at least one bound has to be given. It counts as a
   * write of the whole range: a key written inside by somebody else is a conflict, whether there was one before or not.
   */
  deleteRange(range: KeyRange): Promise<void>;
  /** Makes the commit fail when somebody else has written one of `keys`, as if they had been read serializably. */
  markRead(keys: readonly Bytes[]): Promise<void>;
  /**
   * Leaves `keys` out of the detection of conflicts on both sides, though they are written: counters, say, or writes
   * that everybody makes alike. Deleted ranges stay in it.
   */
  unmarkWrite(keys: readonly Bytes[]): Promise<void>;
  /**
   * Applies everything under one sequence number and resolves when it would survive a crash, or at once with
   * `durable: false`; undefined when nothing was written. Fails with `TransactionConflict` when somebody else has
   * written what this transaction must not have missed; then nothing was applied.
   */
  commit(options?: WriteOptions): Promise<WriteResult | undefined>;
  /**
   * Ends the transaction; its writes are forgotten. Does nothing once it has ended, by a refused commit too: what was
   * committed is not taken back.
   */
  rollback(): Promise<void>;
}

/** How often and after what waits a transaction is run again. */
export interface TransactRetry {
  /** Runs after the first, 0..1000. Default 10. */
  readonly times?: number;
  /** Longest wait before the first repetition, ms, at least 0; doubles with each. Default 2. */
  readonly firstDelayMillis?: number;
  /** Longest wait before any, ms, not below `firstDelayMillis`. Default 1000. */
  readonly maxDelayMillis?: number;
}

/** Options of `transact`. */
export interface TransactOptions extends BeginOptions, WriteOptions {
  /**
   * How often the body is run again when its commit met a conflict: a number of times, or times and waits. Each wait is
   * drawn between half of the longest and the longest. 0: never.
   */
  readonly retry?: number | TransactRetry;
}
