/**
 * How a write gets in: checked completely, then applied in memory in one step, or queued behind those before it.
 *
 * A write is validated before it takes a sequence number. With room it is applied at once; without, or behind one that
 * waits, it queues. A queued write holds back those called after it, whatever it waits for: room, or an answer of the
 * store that decides whether it may be applied at all.
 *
 * Invariants: A1 writes take effect in call order (decision D18); A2 a refused call changes nothing; X5 a transaction's
 * check, its sequence number and its application are one step.
 *
 * @module
 */
import type { EngineCounters } from "../env/counters.ts";
import { type Closed, InvalidArgument } from "../errors.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY } from "../format/types.ts";
import { keyBytes } from "../lsm/key_range.ts";
import type { FoldMerge } from "../lsm/merge_operator.ts";
import type { Footprint } from "../state/conflicts.ts";
import type { AppliedWrite, WriterState } from "../state/writer_state.ts";
import type { Bytes, KeyRange, MergeOptions, PutOptions, Ttl, WriteBatchShape, WriteOptions } from "./api.ts";
import { checkWriteFields } from "./call_options.ts";
import { type Condition, conditionOf, type LookupHost, NewestVersion } from "./conditional_put.ts";
import { expandedBatch, ExpandedRows, ExpansionHost, LiveKeys } from "./expand.ts";
import { BATCH_BYTES_MAX, MEMTABLE_BYTES_MAX, type ResolvedOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import type { Reader } from "./reads.ts";
import type { Runtime } from "./runtime.ts";
import { type BatchRows, type CapturedBatch, expiry, valueBytes, WriteBatch } from "./write_batch.ts";
import { type QueuedWrite, WriteQueue } from "./write_queue.ts";

/** What the write path works with. */
export interface WriteHost {
  readonly runtime: Runtime;
  readonly options: ResolvedOptions;
  readonly state: WriterState;
  readonly merge: FoldMerge | undefined;
  readonly counters: EngineCounters;
  /** Store everything in the WAL buffer (WAL on), or make a table of the memtable (WAL off), now. */
  readonly flushNow: () => void;
  /** Throws once the database is closed or closing. */
  readonly assertOpen: () => void;
  /** Writes begin to be held back. */
  readonly onWaiting: () => void;
  /** Reads the newest versions of keys, operands unfolded, until the database is closed for good. */
  readonly newest: Reader;
}

/** What the write path asks of a transaction that commits. */
export interface TransactionCommit {
  /** Throws TransactionConflict when somebody has written what must not have been written. */
  readonly check: (writes: Footprint) => void;
  /** Keys whose writing no other transaction conflicts with. */
  readonly exempt: ReadonlySet<string> | undefined;
  /** It was applied or refused, or is just being applied. Called more than once. */
  readonly settle: () => void;
}

/** A write that was accepted: applied already, or waiting. */
export type Accepted = AppliedWrite | QueuedWrite;

const EMPTY = new Uint8Array(0);
const NONE: PutOptions = {};
const WRITE_FIELDS: ReadonlySet<string> = new Set(["durable"]);
const MERGE_FIELDS: ReadonlySet<string> = new Set(["durable", "ttl"]);
const PUT_FIELDS: ReadonlySet<string> = new Set([...MERGE_FIELDS, "ifAbsent", "ifSeq"]);

/** Accepts the writes of one open database. */
export class WritePath {
  readonly pace: Pace;
  readonly #host: WriteHost;
  readonly #queue: WriteQueue;
  readonly #lookups: LookupHost;
  readonly #expansions: ExpansionHost;
  #applying = false;

  constructor(host: WriteHost) {
    this.#host = host;
    this.#queue = new WriteQueue(host.options.maxUnflushedBytes);
    this.pace = new Pace(host.runtime, host.options.l0SstSizeBytes);
    const { state } = host;
    this.#lookups = {
      reader: host.newest,
      runtime: host.runtime,
      conflicts: state.conflicts,
      lastSeq: () => state.sequencer.lastSeq,
      onKnown: () => this.drain(),
    };
    const maxKeys = host.options.rangeDeleteMaxKeys;
    this.#expansions = new ExpansionHost({ ...this.#lookups, maxKeys, maxBytes: this.#batchBytesMax });
  }

  /** Bytes of the writes that wait. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /** Whether writes wait for room. */
  get isHeldBack(): boolean {
    return !this.#queue.isEmpty && !this.#host.state.hasRoom;
  }

  /** The newest write that waits; undefined when none does. */
  get lastWaiting(): QueuedWrite | undefined {
    return this.#queue.isEmpty ? undefined : this.#queue.last;
  }

  /** Accepts a put. @throws DbError when it is refused; then nothing was changed. */
  put(key: Bytes, value: Bytes, options: PutOptions = NONE): Accepted {
    this.#assertWritable(options, PUT_FIELDS);
    const keyOf = keyBytes(key);
    const valueOf = valueBytes(value);
    const condition = conditionOf(options);
    if (condition === undefined) return this.#row(keyOf, FLAG_CREATE, valueOf, options.ttl, options.durable);
    return this.#putIf(condition, keyOf, valueOf, options);
  }

  /** Accepts a delete. */
  delete(key: Bytes, options: WriteOptions = NONE): Accepted {
    this.#assertWritable(options, WRITE_FIELDS);
    return this.#row(keyBytes(key), FLAG_CREATE | FLAG_TOMBSTONE, EMPTY, "none", options.durable);
  }

  /** Accepts a merge operand. */
  merge(key: Bytes, operand: Bytes, options: MergeOptions = NONE): Accepted {
    this.#assertWritable(options, MERGE_FIELDS);
    this.assertMerges();
    const keyOf = keyBytes(key);
    const operandOf = valueBytes(operand);
    return this.#row(keyOf, FLAG_CREATE | FLAG_MERGE, operandOf, options.ttl, options.durable);
  }

  /** Accepts the deletion of a range. */
  deleteRange(range: KeyRange, options: WriteOptions = NONE): Accepted {
    this.#host.assertOpen();
    // Before the options: who gives two keys is to hear of the range.
    const batch = new WriteBatch().deleteRange(range);
    this.#assertWritable(options, WRITE_FIELDS);
    return this.#batch(batch, options);
  }

  /** @throws InvalidArgument when the database takes no merges */
  assertMerges(): void {
    if (this.#host.options.mergeOperator !== undefined) return;
    throw new InvalidArgument({
      reason: "merge-operator-missing",
      message: 'Cannot merge: the database was opened without a mergeOperator. Give one, or "elsewhere" when ' +
        "another process folds",
    });
  }

  /** Accepts a batch: all of it under one sequence number. */
  write(batch: WriteBatchShape, options: WriteOptions = NONE): Accepted {
    this.#assertWritable(options, WRITE_FIELDS);
    if (!(batch instanceof WriteBatch)) {
      throw new InvalidArgument({ reason: "batch", message: "Cannot write: make the batch with new WriteBatch()" });
    }
    if (batch.size === 0) {
      throw new InvalidArgument({ reason: "batch-empty", message: "Cannot write: the batch is empty" });
    }
    this.assertBatchFits(batch.estimatedBytes);
    return this.#batch(batch, options);
  }

  #batch(batch: WriteBatch, { durable = true }: WriteOptions): Accepted {
    const captured = batch.clone();
    if (this.#isExpanded(captured)) return this.#expanded(batch, captured, durable);
    return this.#submit(
      batch.estimatedBytes,
      batch.size,
      durable,
      () => this.#host.state.applyRows(this.#plan(captured)),
    );
  }

  /**
   * Accepts the writes of a transaction. Whether they conflict is found out in the step that applies them.
   *
   * @throws DbError when it is refused; then `commit.settle` was called if and only if it was looked at
   */
  commit(batch: WriteBatch, commit: TransactionCommit, options: WriteOptions = NONE): Accepted {
    this.#assertWritable(options, WRITE_FIELDS);
    const { durable = true } = options;
    const captured = batch.clone();
    if (this.#isExpanded(captured)) return this.#expanded(batch, captured, durable, commit);
    return this.#submit(batch.estimatedBytes, batch.size, durable, () => {
      try {
        commit.check(captured);
        const rows = this.#plan(captured);
        // Before its own writes are recorded: nobody may watch but others.
        commit.settle();
        return this.#host.state.applyRows(rows, commit.exempt);
      } finally {
        commit.settle();
      }
    });
  }

  /** The rows of a batch that is applied now. */
  #plan(batch: CapturedBatch): BatchRows {
    const { state, options, merge, runtime } = this.#host;
    const tick = state.sequencer.tick(runtime.now());
    return batch.plan(tick, options.defaultTtlMillis, merge, options.mergeOperator);
  }

  #isExpanded({ ranges }: CapturedBatch): boolean {
    return ranges.length > 0 && this.#host.options.rangeDeletes === "expand";
  }

  /** A batch whose ranges are written out in the step that applies it. */
  #expanded(batch: WriteBatch, captured: CapturedBatch, durable: boolean, commit?: TransactionCommit): Accepted {
    const { state, runtime } = this.#host;
    const live = new LiveKeys(this.#expansions, captured.ranges);
    const apply = () => {
      try {
        commit?.check(captured);
        const expanded = expandedBatch(captured, live.keys());
        this.assertBatchFits(expanded.estimatedBytes);
        if (expanded.size === 0) return state.unchanged(runtime.now());
        const rows = this.#plan(expanded.clone());
        live.forget();
        commit?.settle();
        return state.applyRows(new ExpandedRows(rows, captured), commit?.exempt);
      } finally {
        live.end();
        commit?.settle();
      }
    };
    try {
      return this.#submit(batch.estimatedBytes, batch.size, durable, apply, () => live.isKnown());
    } catch (error) {
      live.end();
      throw error;
    }
  }

  /** @throws InvalidArgument "batch-too-large" for a batch that could never be admitted */
  assertBatchFits(bytes: number): void {
    const limit = this.#batchBytesMax;
    if (bytes <= limit) return;
    throw new InvalidArgument({
      reason: "batch-too-large",
      message: `Cannot write: the batch holds ${bytes} bytes, more than ${limit} (the smaller of maxUnflushedBytes ` +
        "and 256 MiB). Split it",
    });
  }

  get #batchBytesMax(): number {
    return Math.min(this.#host.options.maxUnflushedBytes, BATCH_BYTES_MAX);
  }

  /** Applies writes that wait, now that there may be room or an answer. */
  drain(): void {
    if (this.#queue.isEmpty) return;
    const { state, flushNow } = this.#host;
    this.#queue.drain(() => state.hasRoom, (write) => {
      if (write.durable) flushNow();
    });
    if (this.isHeldBack) {
      state.freeze();
      flushNow();
    }
  }

  /** Refuses everything that waits. */
  fail(error: Closed): void {
    this.#queue.fail(error);
  }

  /** What every write checks first. */
  #assertWritable(options: object, known: ReadonlySet<string>): void {
    if (options !== NONE) checkWriteFields(options, known);
    this.#host.assertOpen();
    if (this.#applying) {
      throw new InvalidArgument({
        reason: "reentrant",
        message: "Cannot write from inside the merge operator of a write; return the value instead",
      });
    }
  }

  #row(key: Uint8Array, flags: number, value: Uint8Array, ttl: Ttl | undefined, durable = true): Accepted {
    const { state, options, runtime, counters, flushNow } = this.#host;
    assertRowFits(key, value);
    const bytes = key.length + value.length;
    if (this.#queue.isEmpty && state.hasRoom) {
      const applied = applyRow(state, runtime.now(), key, flags, value, ttl, options.defaultTtlMillis);
      counters.wrote(1);
      if (durable) flushNow();
      else this.pace.wrote(bytes, state.unflushedBytes);
      return applied;
    }
    const keyCopy = key.slice();
    const valueCopy = value.slice();
    expiry(ttl, 0, options.defaultTtlMillis);
    return this.#submit(
      bytes,
      1,
      durable,
      () => applyRow(state, runtime.now(), keyCopy, flags, valueCopy, ttl, options.defaultTtlMillis),
    );
  }

  /** A put whose condition is judged in the step that applies it. */
  #putIf(condition: Condition, key: Uint8Array, value: Uint8Array, options: PutOptions): Accepted {
    const { state, options: settings, runtime } = this.#host;
    assertRowFits(key, value);
    const { ttl, durable = true } = options;
    expiry(ttl, 0, settings.defaultTtlMillis);
    const keyCopy = key.slice();
    const valueCopy = value.slice();
    const newest = new NewestVersion(this.#lookups, keyCopy);
    const apply = () => {
      try {
        newest.assert(condition);
      } finally {
        newest.forget();
      }
      return applyRow(state, runtime.now(), keyCopy, FLAG_CREATE, valueCopy, ttl, settings.defaultTtlMillis);
    };
    try {
      return this.#submit(key.length + value.length, 1, durable, apply, () => newest.isKnown());
    } catch (error) {
      newest.forget();
      throw error;
    }
  }

  /** @param isReady whether the write can be applied at this very moment, as far as it is not a matter of room */
  #submit(
    bytes: number,
    operations: number,
    durable: boolean,
    apply: () => AppliedWrite,
    isReady?: () => boolean,
  ): Accepted {
    const { state, counters, flushNow, assertOpen, onWaiting } = this.#host;
    assertOpen();
    // Asked in any case: who has to wait for the store asks it now.
    const ready = isReady?.() ?? true;
    if (ready && this.#queue.isEmpty && state.hasRoom) {
      const applied = this.#guarded(apply);
      counters.wrote(operations);
      if (durable) flushNow();
      else this.pace.wrote(bytes, state.unflushedBytes);
      return applied;
    }
    const begins = this.#queue.isEmpty;
    const queued = this.#queue.add(() => this.#guarded(apply), bytes, durable, isReady);
    counters.wrote(operations);
    if (!state.hasRoom) {
      counters.backpressure++;
      state.freeze();
      flushNow();
    }
    if (begins) onWaiting();
    // What it waits for may have come before it stood in the queue.
    if (!ready) this.drain();
    return queued;
  }

  /** Runs `apply`, which may call the user's merge operator: writes from inside it would break the order of writes. */
  #guarded(apply: () => AppliedWrite): AppliedWrite {
    this.#applying = true;
    try {
      return apply();
    } finally {
      this.#applying = false;
    }
  }
}

/** @throws InvalidArgument "value-too-long" */
function assertRowFits(key: Uint8Array, value: Uint8Array): void {
  const bytes = key.length + value.length;
  if (bytes <= MEMTABLE_BYTES_MAX) return;
  throw new InvalidArgument({
    reason: "value-too-long",
    message: `Cannot write: key and value have ${bytes} bytes, more than ${MEMTABLE_BYTES_MAX}. Store the value in ` +
      "parts, under several keys",
  });
}

/** One row: tick, expiry, then the write itself. Everything that can be refused comes before the sequence number. */
function applyRow(
  state: WriterState,
  nowMillis: number,
  key: Uint8Array,
  flags: number,
  value: Uint8Array,
  ttl: Ttl | undefined,
  defaultTtlMillis: number,
): AppliedWrite {
  const tick = state.sequencer.tick(nowMillis);
  const expireTs = expiry(ttl, tick, defaultTtlMillis);
  return state.applyRow(tick, key, expireTs === NO_EXPIRY ? flags : flags | FLAG_EXPIRE, value, expireTs);
}
