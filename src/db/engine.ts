/**
 * The synchronous core that both faces stand on: checks a call, applies it in memory, says what to wait for.
 *
 * A write is validated completely before it takes a sequence number; then it is applied in one step, or, when memory is
 * full, queued behind those before it. Nothing here runs an effect except `flush` and `close`, which are effects.
 *
 * Invariants: A1 writes take effect in call order (decision D18); A2 a refused call changes nothing; C1 after the close
 * reason is set every waiter has been answered with it.
 *
 * @module
 */
import { Cause, Effect, Exit, Scope } from "effect";
import type { EngineCounters } from "../env/counters.ts";
import { type DbError, InvalidArgument } from "../errors.ts";
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY } from "../format/types.ts";
import { keyBytes } from "../lsm/key_range.ts";
import { countedMerge, type FoldMerge } from "../lsm/merge_operator.ts";
import type { TableStore } from "../lsm/table_store.ts";
import { recordWalId } from "../state/manifest_edits.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { ManifestHandle } from "../state/manifest_handle.ts";
import type { AppliedWrite, WriterState } from "../state/writer_state.ts";
import type { Supervisor } from "../../tasks/supervisor.ts";
import type { Compactor } from "../../tasks/compactor.ts";
import type { GcReport } from "./admin_api.ts";
import type { Bytes, DbStatus, KeyRange, PutOptions, Ttl, WriteBatchShape } from "./api.ts";
import { asDbError, closedCleanly, closeTimeout, withDbErrors } from "./failures.ts";
import { badOption, checkFields } from "./call_options.ts";
import type { Collector } from "./collection.ts";
import { compactionKeys, progressOf } from "./compaction.ts";
import { BATCH_BYTES_MAX, MEMTABLE_BYTES_MAX, type ResolvedOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import type { ReadHost } from "./read_host.ts";
import { closeWithin, type Runtime } from "./runtime.ts";
import { ceilingTrouble, StatusBoard } from "./status.ts";
import { expiry, valueBytes, WriteBatch } from "./write_batch.ts";
import { type QueuedWrite, WriteQueue } from "./write_queue.ts";

/** What the composition root puts together. */
export interface EngineParts {
  readonly runtime: Runtime;
  readonly options: ResolvedOptions;
  readonly supervisor: Supervisor;
  readonly state: WriterState;
  readonly manifest: ManifestHandle;
  readonly tables: TableStore;
  /** The main store, counted and retried. */
  readonly store: ObjectStoreShape;
  readonly merge: FoldMerge | undefined;
  readonly scope: Scope.Closeable;
  /** Store everything in the WAL buffer (WAL on), or make a table of the memtable (WAL off), now. */
  readonly flushNow: () => void;
  readonly compactor: Compactor;
  readonly collector: Collector;
}

/** A write that was accepted: applied already, or waiting for room. */
export type Accepted = AppliedWrite | QueuedWrite;

const EMPTY = new Uint8Array(0);
const NONE: PutOptions = {};
const WRITE_FIELDS: ReadonlySet<string> = new Set(["durable"]);
const PUT_FIELDS: ReadonlySet<string> = new Set(["durable", "ttl"]);
const GC_FIELDS: ReadonlySet<string> = new Set(["dryRun"]);

/** An open database below its public faces. */
export class Engine {
  readonly parts: EngineParts;
  readonly status: StatusBoard;
  readonly readHost: ReadHost;
  readonly pace: Pace;
  readonly #queue: WriteQueue;
  readonly #counters: EngineCounters;
  #applying = false;

  constructor(parts: EngineParts) {
    this.parts = parts;
    const { state, manifest, options, runtime, tables, merge } = parts;
    this.#counters = tables.counters;
    this.readHost = {
      runtime,
      tables,
      merge: countedMerge(merge, (operands) => this.#counters.operandsRead += operands),
      ttl: options.ttl,
      requestTimeoutMillis: options.requestTimeoutMillis,
      view: () => state.view,
      stored: () => state.stored,
      readTime: (nowMillis) => state.sequencer.readTime(nowMillis),
      refresh: manifest.refresh,
    };
    this.#queue = new WriteQueue(parts.options.maxUnflushedBytes);
    this.status = new StatusBoard(
      () => this.#status(),
      (task) => void parts.runtime.fork(Effect.andThen(Effect.yieldNow, Effect.sync(task))),
    );
    this.pace = new Pace(parts.runtime, parts.options.l0SstSizeBytes);
    parts.supervisor.onClose((error) => {
      this.#queue.fail(error);
      parts.state.fail(error);
      this.status.changed();
      parts.runtime.fork(Scope.close(parts.scope, Exit.void));
    });
  }

  /** Whether `close` was called or the database closed by itself. */
  get isClosed(): boolean {
    const { closing, closed } = this.parts.supervisor;
    return closing.settled || closed !== undefined;
  }

  /** @throws Closed with the reason, once the database is closed or closing. */
  assertOpen(): void {
    const { closing, closed } = this.parts.supervisor;
    if (closed !== undefined) throw closed;
    if (closing.settled) throw closedCleanly();
  }

  /** What every write checks first. */
  #assertWritable(options: object, known: ReadonlySet<string>): void {
    if (options !== NONE) checkFields(options, known);
    this.assertOpen();
    if (this.#applying) {
      throw new InvalidArgument({
        reason: "reentrant",
        message: "Cannot write from inside the merge operator of a write; return the value instead",
      });
    }
  }

  /** Accepts a put. @throws DbError when it is refused; then nothing was changed. */
  put(key: Bytes, value: Bytes, options: PutOptions = NONE): Accepted {
    this.#assertWritable(options, PUT_FIELDS);
    const keyOf = keyBytes(key);
    const valueOf = valueBytes(value);
    return this.#row(keyOf, FLAG_CREATE, valueOf, options.ttl, options.durable);
  }

  /** Accepts a delete. */
  delete(key: Bytes, options: { readonly durable?: boolean } = NONE): Accepted {
    this.#assertWritable(options, WRITE_FIELDS);
    return this.#row(keyBytes(key), FLAG_CREATE | FLAG_TOMBSTONE, EMPTY, "none", options.durable);
  }

  /** Accepts a merge operand. */
  merge(key: Bytes, operand: Bytes, options: PutOptions = NONE): Accepted {
    this.#assertWritable(options, PUT_FIELDS);
    if (this.parts.options.mergeOperator === undefined) {
      throw new InvalidArgument({
        reason: "merge-operator-missing",
        message: 'Cannot merge: the database was opened without a mergeOperator. Give one, or "elsewhere" when ' +
          "another process folds",
      });
    }
    const keyOf = keyBytes(key);
    const operandOf = valueBytes(operand);
    return this.#row(keyOf, FLAG_CREATE | FLAG_MERGE, operandOf, options.ttl, options.durable);
  }

  /** Accepts a batch: all of it under one sequence number. */
  write(batch: WriteBatchShape, options: { readonly durable?: boolean } = NONE): Accepted {
    this.#assertWritable(options, WRITE_FIELDS);
    if (!(batch instanceof WriteBatch)) {
      throw new InvalidArgument({ reason: "batch", message: "Cannot write: make the batch with new WriteBatch()" });
    }
    const bytes = batch.estimatedBytes;
    if (batch.size === 0) {
      throw new InvalidArgument({ reason: "batch-empty", message: "Cannot write: the batch is empty" });
    }
    const limit = Math.min(this.parts.options.maxUnflushedBytes, BATCH_BYTES_MAX);
    if (bytes > limit) {
      throw new InvalidArgument({
        reason: "batch-too-large",
        message: `Cannot write: the batch holds ${bytes} bytes, more than ${limit} (the smaller of maxUnflushedBytes ` +
          "and 256 MiB). Split it",
      });
    }
    const captured = batch.clone();
    const { state, options: settings, merge } = this.parts;
    return this.#submit(bytes, batch.size, options.durable !== false, () => {
      const tick = state.sequencer.tick(this.parts.runtime.now());
      return state.applyRows(captured.plan(tick, settings.defaultTtlMillis, merge, settings.mergeOperator));
    });
  }

  #row(key: Uint8Array, flags: number, value: Uint8Array, ttl: Ttl | undefined, durable = true): Accepted {
    const { state, options, runtime } = this.parts;
    const bytes = key.length + value.length;
    if (bytes > MEMTABLE_BYTES_MAX) {
      throw new InvalidArgument({
        reason: "value-too-long",
        message:
          `Cannot write: key and value have ${bytes} bytes, more than ${MEMTABLE_BYTES_MAX}. Store the value in ` +
          "parts, under several keys",
      });
    }
    if (this.#queue.isEmpty && state.hasRoom) {
      const applied = applyRow(state, runtime.now(), key, flags, value, ttl, options.defaultTtlMillis);
      this.#counters.wrote(1);
      if (durable) this.parts.flushNow();
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

  #submit(bytes: number, operations: number, durable: boolean, apply: () => AppliedWrite): Accepted {
    this.assertOpen();
    if (this.#queue.isEmpty && this.parts.state.hasRoom) {
      const applied = this.#guarded(apply);
      this.#counters.wrote(operations);
      if (durable) this.parts.flushNow();
      else this.pace.wrote(bytes, this.parts.state.unflushedBytes);
      return applied;
    }
    const begins = this.#queue.isEmpty;
    const queued = this.#queue.add(() => this.#guarded(apply), bytes, durable);
    this.#counters.wrote(operations);
    this.#counters.backpressure++;
    this.parts.state.freeze();
    this.parts.flushNow();
    if (begins) this.status.changed();
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

  /** Applies writes that wait, now that there may be room. */
  drainQueue(): void {
    if (this.#queue.isEmpty) return;
    const { state } = this.parts;
    this.#queue.drain(() => state.hasRoom, (write) => {
      if (write.durable) this.parts.flushNow();
    });
    if (!this.#queue.isEmpty) state.freeze();
  }

  /** Waits until everything accepted so far is durable ("wal") or in published tables ("memtable"). */
  flush(kind?: "wal" | "memtable"): Effect.Effect<void, DbError> {
    return Effect.suspend(() => {
      this.assertOpen();
      if (kind !== undefined && kind !== "wal" && kind !== "memtable") throw badOption("kind", '"wal" or "memtable"');
      const wanted = kind ?? (this.parts.options.walEnabled ? "wal" : "memtable");
      if (wanted === "wal" && !this.parts.options.walEnabled) {
        throw new InvalidArgument({
          reason: "wal-disabled",
          message: 'Cannot flush the WAL: it is off. Flush with kind "memtable"',
        });
      }
      this.#counters.flushes++;
      return this.#flush(wanted);
    }).pipe(Effect.catchDefect((defect) => Effect.fail(asDbError(defect))), withDbErrors);
  }

  #flush(kind: "wal" | "memtable"): Effect.Effect<void, DbError> {
    return Effect.gen({ self: this }, function* () {
      const { state } = this.parts;
      if (!this.#queue.isEmpty) yield* Effect.ignore(this.#queue.last.ready.wait);
      if (state.wal !== undefined) {
        const durable = state.wal.pendingDurable;
        if (durable !== undefined) {
          this.parts.flushNow();
          yield* durable.wait as Effect.Effect<void, DbError>;
        }
      }
      if (kind === "wal") return;
      state.freeze();
      const newest = state.frozen.at(-1);
      if (newest !== undefined) yield* newest.memtable.uploaded.wait as Effect.Effect<void, DbError>;
    });
  }

  /** Flushes, then compacts everything into one run, or what overlaps `range`. */
  compact(range?: KeyRange): Effect.Effect<void, DbError> {
    return Effect.suspend(() => {
      this.assertOpen();
      const keys = compactionKeys(range);
      return Effect.andThen(this.#flush("memtable"), this.parts.compactor.compact(keys));
    }).pipe(Effect.catchDefect((defect) => Effect.fail(asDbError(defect))), withDbErrors);
  }

  /** Deletes what nothing reaches any more, now. */
  collectGarbage(options: { readonly dryRun?: boolean } = {}): Effect.Effect<GcReport, DbError> {
    return Effect.suspend(() => {
      checkFields(options, GC_FIELDS);
      if (typeof (options.dryRun ?? false) !== "boolean") throw badOption("dryRun", "true or false");
      this.assertOpen();
      return this.parts.collector.collect(options.dryRun ?? false);
    }).pipe(Effect.catchDefect((defect) => Effect.fail(asDbError(defect))), withDbErrors);
  }

  /**
   * Makes everything accepted durable, records the WAL position and closes. Fails with the first error met; the
   * database is closed all the same. Fails with `Closed` when it is closed or closing already.
   */
  readonly close: Effect.Effect<void, DbError> = Effect.suspend(() => {
    const { closing, closed } = this.parts.supervisor;
    if (closed !== undefined || closing.settled) return Effect.fail(closed ?? closedCleanly());
    closing.succeed();
    return this.#drain.pipe(
      Effect.timeoutOrElse({
        duration: this.parts.options.requestTimeoutMillis,
        orElse: () => Effect.fail(closeTimeout(this.parts.options.requestTimeoutMillis)),
      }),
      withDbErrors,
      Effect.onExit((exit) =>
        Effect.suspend(() => {
          const { supervisor, scope } = this.parts;
          if (Exit.isSuccess(exit)) {
            supervisor.close(closedCleanly());
            return closeWithin(this.parts.runtime, scope, this.parts.options.requestTimeoutMillis);
          }
          // Not waited for: a request that never answers must not keep the caller. The scope closes behind it.
          supervisor.fail("close", Cause.squash(exit.cause));
          return Effect.void;
        })
      ),
    );
  });

  readonly #drain: Effect.Effect<void, unknown> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const { state, manifest } = this.parts;
      yield* this.#flush(state.wal === undefined ? "memtable" : "wal");
      const newest = state.frozen.at(-1);
      if (newest !== undefined) yield* newest.memtable.uploaded.wait;
      yield* manifest.commit(recordWalId(state.ledger.lastId));
    })
  );

  #status(): DbStatus {
    const { state, supervisor, manifest, options, compactor, collector } = this.parts;
    const { stored } = state;
    const l0Count = stored.manifest.l0.length;
    const warnings: string[] = [];
    const compaction = compactor.status;
    if (l0Count > options.l0MaxSsts) {
      warnings.push(
        `${l0Count} L0 tables, more than l0MaxSsts = ${options.l0MaxSsts}: reads slow down until they are compacted`,
      );
    }
    if (state.mergeFailure !== undefined) {
      warnings.push(
        `The merge operator failed in a flush or compaction, operands stay unfolded: ${state.mergeFailure}`,
      );
    }
    if (options.compactor !== undefined && compaction.phase === "superseded") {
      warnings.push("Another process compacts this database; the embedded compactor stopped");
    }
    if (compaction.trouble !== undefined) warnings.push(`The last compaction failed: ${compaction.trouble}`);
    const ceiling = this.#queue.isEmpty || this.status.degraded ? undefined : ceilingTrouble(state, options);
    warnings.push(...[ceiling, collector.trouble()].filter((one) => one !== undefined), ...this.status.storeWarnings);
    return {
      durableSeq: state.sequencer.durableSeq,
      lastSeq: state.sequencer.lastSeq,
      manifestId: stored.id,
      writerEpoch: manifest.epoch,
      compactorEpoch: stored.manifest.compactorEpoch,
      l0Count,
      unflushedBytes: state.unflushedBytes + this.#queue.bytes,
      backpressure: !this.#queue.isEmpty,
      degraded: this.status.degraded,
      compactor: options.compactor === undefined && compaction.phase === "idle" ? "off" : compaction.phase,
      compactions: progressOf(compactor),
      warnings,
      ...(supervisor.closed === undefined ? {} : { closeReason: supervisor.closed.reason }),
    };
  }
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
