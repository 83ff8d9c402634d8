/**
 * The public shapes: what a database, a snapshot and a scan offer, and the options they take.
 *
 * Both faces share these names and the same errors. Times are milliseconds since 1970, sizes are bytes.
 *
 * @module
 */
import type { MetricValue } from "../env/metrics.ts";
import type { CloseReason } from "../errors.ts";
import type {
  Checkpoint,
  CheckpointDeletion,
  CheckpointFilter,
  CheckpointLifetime,
  CheckpointOptions,
  CompactionProgress,
  GcReport,
  Rounding,
} from "./admin_api.ts";
import type { OpenCostReport } from "./cost_api.ts";
import type { Cursor } from "./cursor_api.ts";
import type { BeginOptions, Transaction, TransactOptions } from "./transaction_api.ts";

export type { MetricValue } from "../env/metrics.ts";
export type { CostReport, OpenCostReport, PriceSheet } from "./cost_api.ts";

/** Keys and values: bytes, or a string that stands for its UTF-8 bytes. Results are always `Uint8Array`. */
export type Bytes = Uint8Array | string;

/** A range of keys; `prefix` may be combined with the bounds (intersection). An empty object means everything. */
export interface KeyRange {
  /** At or after this key. An empty key means from the start. */
  readonly gte?: Bytes;
  /** After this key. */
  readonly gt?: Bytes;
  /** At or before this key. */
  readonly lte?: Bytes;
  /** Before this key. */
  readonly lt?: Bytes;
  /** Keys that start with these bytes. */
  readonly prefix?: Bytes;
}

/** One row as a reader sees it. */
export interface Entry {
  /** The key's bytes; a copy, whose buffer it may share with other results: do not transfer it. */
  readonly key: Uint8Array;
  /** The value's bytes; likewise. */
  readonly value: Uint8Array;
  /** Sequence number of the newest write that shaped the value. */
  readonly seq: number;
  /** When that write was made, ms since 1970. */
  readonly createdAt: number;
  /** When the row expires, ms since 1970; absent when it does not. */
  readonly expiresAt?: number;
}

/** How long a row lives: the database's default, for ever, for a time, or until a time (ms since 1970). */
export type Ttl = "default" | "none" | { readonly afterMillis: number } | { readonly atMillis: number };

/** Options of every write. */
export interface WriteOptions {
  /** Default true: the promise resolves when the write would survive a crash. False: after the memory write. */
  readonly durable?: boolean;
}

/** Options of merge. */
export interface MergeOptions extends WriteOptions {
  /** How long the row lives. Default: the database's `defaultTtlMillis`. */
  readonly ttl?: Ttl;
}

/** Options of put: those of merge, and two conditions. */
export interface PutOptions extends MergeOptions {
  /** Put only if the key has no value; else fail with `TransactionConflict` "exists". Atomic. Default false. */
  readonly ifAbsent?: boolean;
  /** Put only if the `seq` of the key's entry is this one; else fail with `TransactionConflict` "seq". Atomic. */
  readonly ifSeq?: number;
}

/** Answer of a write. */
export interface WriteResult {
  /** Sequence number of the write: exactly the last one plus 1. */
  readonly seq: number;
  /** Creation time recorded with its rows, ms since 1970. */
  readonly createdAt: number;
  /** Settles when the write is durable, or fails with the reason why it will not be. Never an unhandled rejection. */
  readonly durable: Promise<void>;
}

/** Which writes a read sees: all applied ones, or only those that would survive a crash. */
export type Durability = "memory" | "durable";

/** `"strict"` hides expired rows; `"slatedb"` shows them until a rewrite removes them, as SlateDB 0.12.1 does. */
export type TtlMode = "strict" | "slatedb";

/** Options of every read. */
export interface ReadOptions {
  /** Default "memory". */
  readonly durability?: Durability;
  /** Default: the database's setting. */
  readonly ttl?: TtlMode;
  /** Whether blocks read from the store enter the block cache. Default true for gets and cursors, false for scans. */
  readonly cacheBlocks?: boolean;
  /** Ends the wait for the store; the read then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Options of a scan. */
export interface ScanOptions extends ReadOptions {
  /** Default "ascending". */
  readonly order?: "ascending" | "descending";
  /** At most so many rows, at least 1. Default: no limit. */
  readonly limit?: number;
  /** Least size of a request per table, bytes, rounded up to whole blocks. Default: 32 KiB, growing to 2 MiB. */
  readonly readAheadBytes?: number;
}

/** Pull iterator of a scan. Close it: like a cursor it holds back the removal of old versions. */
export interface ScanIterator extends AsyncDisposable {
  /** The next row, or undefined at the end. */
  next(): Promise<Entry | undefined>;
  /**
   * Skips to the first row at or after `key` in scan order (at or before it in a descending scan).
   * Fails with `InvalidArgument` when `key` lies outside the range or not after the last row returned.
   */
  seek(key: Bytes): Promise<void>;
  /** Frees what the iterator holds; there are no more rows then. A second time does nothing. */
  close(): Promise<void>;
  /** The same as `close`. */
  return(): Promise<void>;
}

/** A lazy scan. `for await` yields entries; `batches` and `toArray` are the fast ways. */
export interface Scan extends AsyncIterable<Entry> {
  /** Arrays of at most `size` (default 256) entries. */
  batches(size?: number): AsyncIterable<readonly Entry[]>;
  /** All entries. */
  toArray(): Promise<Entry[]>;
  /** Keys only. */
  keys(): AsyncIterable<Uint8Array>;
  /** A pull iterator; its view is captured now. */
  iterator(): ScanIterator;
}

/** Answer of `getCached` when the value can not be told without I/O. */
export const NOT_CACHED: unique symbol = Symbol("phyllite/NOT_CACHED");

/** What a database and a snapshot can be asked. */
export interface Reads {
  /** The value, undefined when the key is absent. A value in memory is answered without waiting. */
  get(key: Bytes, options?: ReadOptions): Promise<Uint8Array | undefined>;
  /** The value with its sequence number and times. */
  getEntry(key: Bytes, options?: ReadOptions): Promise<Entry | undefined>;
  /** Values in the order of the keys, all of one moment; missing blocks are read together. */
  getMany(keys: readonly Bytes[], options?: ReadOptions): Promise<(Uint8Array | undefined)[]>;
  /** Answers from memory at once, or says {@linkcode NOT_CACHED}. */
  getCached(key: Bytes, options?: ReadOptions): Uint8Array | undefined | typeof NOT_CACHED;
  /** Rows of a range, in the order of their keys. Nothing is read before the scan is iterated. */
  scan(range?: KeyRange, options?: ScanOptions): Scan;
  /** A two-way iterator over the rows of a range as they are now. Close it when done. */
  cursor(range?: KeyRange, options?: ReadOptions): Promise<Cursor>;
}

/** A read view of one moment. Release it: it holds back the removal of old versions. */
export interface Snapshot extends Reads, AsyncDisposable {
  /** Sequence number of the newest write that the snapshot sees. */
  readonly seq: number;
  /** Frees the snapshot. Reads afterwards fail; a second release does nothing. */
  release(): void;
}

/** How the database is doing. */
export interface DbStatus {
  /** Every write up to this sequence number survives a crash. */
  readonly durableSeq: number;
  /** Sequence number of the newest write. */
  readonly lastSeq: number;
  /** Number of the newest manifest version this process knows. */
  readonly manifestId: number;
  /** Number of takeovers by writers; this one's own. */
  readonly writerEpoch: number;
  /** Number of takeovers by compactors. */
  readonly compactorEpoch: number;
  /**
   * Whether other engines refuse the database, since it may hold range deletes. After the last of them was compacted
   * away: until this writer flushes a memtable, compacts or closes.
   */
  readonly rangeDeletes: boolean;
  /**
   * Ids of the checkpoints of times with range deletes, which other engines refuse until they end; those of an earlier
   * process are listed once the collector has looked at them.
   */
  readonly gatedCheckpoints: readonly string[];
  /** Number of L0 tables. */
  readonly l0Count: number;
  /** Bytes that wait in memory to become durable or to be flushed to a table. */
  readonly unflushedBytes: number;
  /** Whether writes are held back for room. */
  readonly backpressure: boolean;
  /** Set while the store has not answered a flush for 30 s or more; the last of `warnings` says why. */
  readonly degraded: boolean;
  /**
   * What the embedded compactor does: "superseded" when another process compacts, "failing" while it waits to try again
   * (`warnings` says why), "off" when there is none.
   */
  readonly compactor: "off" | "idle" | "running" | "superseded" | "failing";
  /** Compactions under way and how far they are. */
  readonly compactions: readonly CompactionProgress[];
  /** What an operator should look at, such as too many L0 tables. */
  readonly warnings: readonly string[];
  /** Why the database is closed; absent while it is open. */
  readonly closeReason?: CloseReason;
}

/** One table of the LSM tree. */
export interface TableShape {
  /** ULID of the table. */
  readonly id: string;
  /** Size of the table, bytes, without its footer. */
  readonly bytes: number;
  /** First user key, or start of a range tombstone, which may be empty; absent in a table without either. */
  readonly firstKey: Uint8Array | undefined;
  /** Last user key of a row; absent in older files, and where there are range tombstones only. */
  readonly lastKey: Uint8Array | undefined;
  /** "L0" or the run's id. */
  readonly level: "L0" | number;
  /** Block and row format: 1 or 2, and 0x8001 for a table with range tombstones. */
  readonly formatVersion: number;
  /** Whether the table has a bloom filter. */
  readonly filterPresent: boolean;
  /** Rows in the table, all kinds. */
  readonly entries: number;
  /** Tombstones of single keys. */
  readonly pointDeletions: number;
  /** Tombstones of ranges, cut into fragments that do not overlap, each counted once for every number over it. */
  readonly rangeDeletions: number;
  /** Rows and range tombstones together. */
  readonly numEntries: number;
  /** Tombstones of both kinds together. */
  readonly numDeletions: number;
  /** Always 0: there are no such rows. */
  readonly numRangeKeySets: 0;
  /**
   * About how many bytes of older runs its point deletions make superfluous: as many average rows of the tables that it
   * overlaps there as it deletes.
   */
  readonly pointDeletionsBytesEstimate: number;
  /**
   * About how many bytes of older runs its range deletions make superfluous: tables that they cover, and of those that
   * they cover in part the blocks that they reach into. Other L0 tables, and its own rows, are not counted.
   */
  readonly rangeDeletionsBytesEstimate: number;
}

/** About how much a range of keys holds. */
export interface SizeEstimate {
  /** Bytes, as stored. */
  readonly bytes: number;
  /** Rows: a key counts once for each table that has it. */
  readonly entries: number;
}

/** The LSM tree's shape. */
export interface LsmShape {
  /** Newest first. */
  readonly l0: readonly TableShape[];
  /** Newest first; tables in ascending key order. */
  readonly runs: readonly { readonly id: number; readonly tables: readonly TableShape[] }[];
  /** Bytes of rows in the active memtable. */
  readonly memtableBytes: number;
  /** Memtables that wait to become tables. */
  readonly frozenMemtables: number;
}

/** `(key, existing, operand) => value`, associative; may throw, which fails the operation that needed it. */
export type MergeFunction = (key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array) => Uint8Array;

/** A merge operator: a function, or an object that can also fold many operands (oldest first) at once. */
export type MergeOperator = MergeFunction | {
  /** Folds one operand. */
  readonly merge: MergeFunction;
  /** Folds many operands, oldest first. */
  readonly mergeBatch?: (
    key: Uint8Array,
    existing: Uint8Array | undefined,
    operands: readonly Uint8Array[],
  ) => Uint8Array;
};

/** An open database, Promise face. */
export interface Db extends Reads, AsyncDisposable {
  /**
   * Sets a key. Resolves when the write would survive a crash, or at once with `durable: false`. Like every write it
   * waits for as long as the store does not take it, say for a full disk: watch `status.degraded` and its warnings.
   */
  put(key: Bytes, value: Bytes, options?: PutOptions): Promise<WriteResult>;
  /** Deletes a key. */
  delete(key: Bytes, options?: WriteOptions): Promise<WriteResult>;
  /** Adds an operand for the merge operator to fold. */
  merge(key: Bytes, operand: Bytes, options?: MergeOptions): Promise<WriteResult>;
  /**
   * Deletes every key of a range, whatever it holds, at the cost of one write. At least one bound has to be given;
   * `{ gte: "" }` means every key. Fails with `InvalidArgument` "range-unbounded" without a bound, with one that is
   * undefined, and for an empty prefix alone; "range-empty" when no key can lie inside.
   */
  deleteRange(range: KeyRange, options?: WriteOptions): Promise<WriteResult>;
  /** Applies a batch atomically under one sequence number. */
  write(batch: WriteBatchShape, options?: WriteOptions): Promise<WriteResult>;
  /** A read view of this moment. */
  snapshot(): Promise<Snapshot>;
  /** Begins a transaction on the state of this moment. */
  begin(options?: BeginOptions): Promise<Transaction>;
  /**
   * Runs `body` in a transaction and commits it. When the commit meets a conflict, `body` is run again in a new one, by
   * default up to 10 times with growing waits; what it did outside the transaction it does again. Rejects with what
   * `body` rejects with, after a rollback.
   */
  transact<A>(body: (tx: Transaction) => Promise<A>, options?: TransactOptions): Promise<A>;
  /** Resolves when everything written before is durable ("wal"), or in tables named by the manifest ("memtable"). */
  flush(options?: { readonly kind?: "wal" | "memtable" }): Promise<void>;
  /**
   * Flushes, then compacts: all of L0 into a run, then all runs into one; with a range, what overlaps it. Resolves when
   * done. Takes the place of another compactor. Fails with `Unavailable` "superseded" when one takes over meanwhile.
   */
  compact(range?: KeyRange): Promise<void>;
  /** Deletes what nothing reaches any more, now instead of when the collector would; `dryRun` only tells. */
  collectGarbage(options?: { readonly dryRun?: boolean }): Promise<GcReport>;
  /**
   * Pins the state of this moment, so that readers and clones of it keep working: "all" (default) waits until everything
   * accepted so far is in tables, "durable" pins what is stored now, log included.
   */
  checkpoint(options?: CheckpointOptions): Promise<Checkpoint>;
  /** The checkpoints, oldest first; those that have ended are listed until they are collected. */
  checkpoints(filter?: CheckpointFilter): Promise<readonly Checkpoint[]>;
  /** Moves the end of a checkpoint. Fails with `InvalidArgument` "checkpoint-missing" when it is gone or has ended. */
  refreshCheckpoint(id: string, options: CheckpointLifetime): Promise<Checkpoint>;
  /**
   * Lets go of what a checkpoint pins; one that is not there is no error. Fails with `InvalidArgument` "checkpoint-kept"
   * for one that a clone needs, unless `force` is set.
   */
  deleteCheckpoint(id: string, options?: CheckpointDeletion): Promise<void>;
  /**
   * When the nearest sampled number at or after ("up") or at or before ("down") `seq` was written, ms since 1970, whole
   * seconds; about one number a minute is sampled. Undefined when there is no sample on that side.
   */
  timeOfSeq(seq: number, round: Rounding): Promise<number | undefined>;
  /** The sampled sequence number nearest to a time (ms since 1970), at or after it ("up") or at or before it ("down"). */
  seqAtTime(millis: number, round: Rounding): Promise<number | undefined>;
  /** How the database is doing, now. */
  readonly status: DbStatus;
  /** Calls back after each change of the status; answers the function that ends it. */
  onStatus(listener: (status: DbStatus) => void): () => void;
  /** The LSM tree's shape, with statistics of every table. */
  tables(): Promise<LsmShape>;
  /**
   * About how much a range holds, told from tables' indexes and statistics and from memory: no data is read, and at most
   * 256 requests are made, few of them again. Rows that range deletes cover are left out; those that were overwritten or
   * deleted one by one count until a compaction. Both figures are 0 where nothing can be; where a table may have a
   * row, at least its average one is told. Without a range: everything. Fails like a scan for a bad range.
   */
  estimate(range?: KeyRange): Promise<SizeEstimate>;
  /** Requests so far, what they would cost, and what a million operations and a month of rest do. */
  cost(): OpenCostReport;
  /** Counts and figures under SlateDB's names; the same as the metrics in Effect's metric registry. */
  metrics(): readonly MetricValue[];
  /** Makes everything accepted durable and closes. A second call fails with `Closed`. */
  close(): Promise<void>;
}

/** What `write` takes; made with `new WriteBatch()`. */
export interface WriteBatchShape {
  /** Number of operations added. */
  readonly size: number;
}
