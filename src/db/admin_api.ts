/**
 * The public shapes of what keeps a database small and lets others see it: checkpoints, readers, compaction, collection.
 *
 * Times are milliseconds since 1970, sizes are bytes.
 *
 * @module
 */
import type { Clock } from "effect";
import type { CloseReason } from "../errors.ts";
import type { DiskCacheFigures } from "../store/disk_cache.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { KeyRange, OpenCostReport, Reads, SizeEstimate, Snapshot } from "./api.ts";

export type { GcReport, GcResource } from "../state/gc_report.ts";

/** A pinned manifest version: every object it reaches stays until the checkpoint ends. */
export interface Checkpoint {
  /** UUID as text. */
  readonly id: string;
  /** Number of the pinned manifest version. */
  readonly manifestId: number;
  /** When it was made, ms since 1970, whole seconds. */
  readonly createdAt: number;
  /** When it ends, ms since 1970, whole seconds; absent when it does not end by itself. */
  readonly expiresAt?: number;
  /** Its name, if it has one. */
  readonly name?: string;
}

/** How a checkpoint is made. */
export interface CheckpointOptions {
  /** "all" (default): flushes everything accepted so far first. "durable": pins what is stored now. */
  readonly scope?: "all" | "durable";
  /** How long it lives, ms, at least 1000, rounded up to whole seconds. Default: until it is deleted. */
  readonly lifetimeMillis?: number;
  /** A name to find it by. */
  readonly name?: string;
  /** Id of a checkpoint to pin the same state as. With it `scope` has no meaning. */
  readonly source?: string;
}

/** How long a checkpoint goes on living. */
export interface CheckpointLifetime {
  /** From now on, ms, at least 1000, rounded up to whole seconds; null: until it is deleted. */
  readonly lifetimeMillis: number | null;
}

/** How a checkpoint is deleted. */
export interface CheckpointDeletion {
  /** Deletes it also where a clone needs it, which then loses its data. Default false: such a one is refused. */
  readonly force?: boolean;
}

/** Which checkpoints are listed. */
export interface CheckpointFilter {
  /** Those of this name; "" = those without a name. Default: all. */
  readonly name?: string;
}

/** Which neighbour of a value that was not sampled is meant: the sample at or after it, or at or before it. */
export type Rounding = "up" | "down";

/** A running compaction. */
export interface CompactionProgress {
  /** ULID of the compaction. */
  readonly id: string;
  /** Run that is being made. */
  readonly destination: number;
  /** Bytes read so far. */
  readonly bytesIn: number;
  /** Bytes written so far. */
  readonly bytesOut: number;
  /** Bytes of all tables to merge. */
  readonly totalBytes: number;
}

/** How a reader is doing. */
export interface ReaderStatus {
  /** Newest sequence number the reader shows; everything up to it is durable. */
  readonly seq: number;
  /** Number of the manifest version it shows. */
  readonly manifestId: number;
  /** Id of its checkpoint; absent for a follower. */
  readonly checkpointId?: string;
  /** What the last polls failed with, while they fail. */
  readonly trouble?: string;
  /** How the cache on the disk is doing; absent without one. */
  readonly diskCache?: DiskCacheFigures;
  /** What an operator should look at besides, such as a disk cache that keeps nothing; absent when there is nothing. */
  readonly warnings?: readonly string[];
  /** Why it is closed; absent while it is open. */
  readonly closeReason?: CloseReason;
}

/** A read-only view of a database that follows its writer, or stays at a checkpoint. */
export interface DbReader extends Reads, AsyncDisposable {
  /** How the reader is doing, now. */
  readonly status: ReaderStatus;
  /** A view that stays as it is now while the reader goes on. */
  snapshot(): Promise<Snapshot>;
  /** Looks for newer state now; answers the newest sequence number seen. A pinned reader answers its own. */
  refresh(): Promise<number>;
  /**
   * Resolves when the reader shows sequence number `seq`. It polls as it does anyway, every `manifestPollIntervalMillis`,
   * and not sooner: `refresh` looks at once. Fails with `Unavailable` reason
   * "timeout" after `timeoutMillis` (default 30,000), and with `InvalidArgument` on a pinned reader that is behind.
   */
  waitForSeq(seq: number, options?: { readonly timeoutMillis?: number }): Promise<void>;
  /** About how much a range of what the reader shows holds, told as `Db.estimate` does. Without a range: everything. */
  estimate(range?: KeyRange): Promise<SizeEstimate>;
  /** Requests so far, what they would cost, and what a million reads and a month of rest do. */
  cost(): OpenCostReport;
  /** Ends the reader and deletes its checkpoint. A second call fails with `Closed`. */
  close(): Promise<void>;
}

/** What every change tells. */
export interface AnyChange {
  /** Sequence number; changes of one batch share it. */
  readonly seq: number;
  /** Whether it is the last change of its sequence number: of a batch only the last one, else true. */
  readonly isLast: boolean;
  /** When it was written, ms since 1970. */
  readonly createdAt: number;
}

/** One row of the change feed: a put, delete or merge operand as it was written. */
export interface RowChange extends AnyChange {
  /** What was written. */
  readonly kind: "put" | "delete" | "merge";
  /** The key that was written. */
  readonly key: Uint8Array;
  /** Value or operand; empty for a delete. */
  readonly value: Uint8Array;
  /** When it expires, ms since 1970; absent when it does not. */
  readonly expiresAt?: number;
}

/**
 * A range delete of the change feed: everything in the range that was written under a smaller sequence number is gone.
 * What its own batch wrote there stays, and follows it in the feed.
 */
export interface RangeChange extends AnyChange {
  /** What was written. */
  readonly kind: "deleteRange";
  /** The range, as `deleteRange` takes it: `gte` is empty for "from the first key", `lt` absent for "to the last". */
  readonly range: { readonly gte: Uint8Array; readonly lt?: Uint8Array };
}

/** One change of the feed; `kind` tells which. */
export type Change = RowChange | RangeChange;

/** How a change feed is read. */
export interface ChangesOptions {
  /**
   * First sequence number wanted, at least 1. Default: from the next write on; with `follow: false`, from the oldest that
   * the log still has up to its end without a gap.
   */
  readonly fromSeq?: number;
  /** False: ends at the newest durable change. Default true: waits for more. */
  readonly follow?: boolean;
  /** Time between looks for more while following, ms, 1 or more; below 30,000 a look is one GET. Default 1000. */
  readonly pollIntervalMillis?: number;
  /** The store of the write-ahead log, for a database that keeps it apart. */
  readonly wal?: { readonly store: ObjectStoreShape };
  /** How long the store may leave one request without an answer, ms, 1 or more. Default 30,000. */
  readonly requestTimeoutMillis?: number;
  /** Clock to use instead of the platform's. */
  readonly clock?: Clock.Clock;
  /** Ends the feed: the iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}
