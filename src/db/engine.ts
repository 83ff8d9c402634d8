/**
 * The core that both faces stand on: the write path, reads, flushes, status, and how all of it ends.
 *
 * Writes go through `writes` (`write_path.ts`). Nothing here runs an effect except `flush`, `compact`, `collectGarbage`
 * and `close`, which are effects.
 *
 * Invariant: C1 after the close reason is set every waiter has been answered with it.
 *
 * @module
 */
import { Cause, Effect, Exit, Scope } from "effect";
import type { EngineCounters } from "../env/counters.ts";
import { Closed, type DbError, InvalidArgument } from "../errors.ts";
import { countedMerge, type FoldMerge } from "../lsm/merge_operator.ts";
import type { TableStore } from "../lsm/table_store.ts";
import { type ManifestEdit, protectFrom, recordWalId } from "../state/manifest_edits.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import type { ManifestHandle } from "../state/manifest_handle.ts";
import { isGated, namesRanges, settleGate } from "../state/range_gate.ts";
import type { Lease, SnapshotRegistry } from "../state/snapshot_registry.ts";
import type { WriterState } from "../state/writer_state.ts";
import { RetryDeadline } from "../store/retrying_store.ts";
import type { Supervisor } from "../../tasks/supervisor.ts";
import type { Compactor } from "../../tasks/compactor.ts";
import type { GcReport } from "./admin_api.ts";
import type { DbStatus, KeyRange } from "./api.ts";
import { asDbError, closedCleanly, closeTimeout, withDbErrors } from "./failures.ts";
import { badOption, checkFields } from "./call_options.ts";
import type { Collector } from "./collection.ts";
import { compactionKeys, progressOf } from "./compaction.ts";
import type { ResolvedOptions } from "./options.ts";
import type { ReadHold, ReadHost } from "./read_host.ts";
import { Reader } from "./reads.ts";
import { closeWithin, type Runtime } from "./runtime.ts";
import { ceilingTrouble, StatusBoard } from "./status.ts";
import { WritePath } from "./write_path.ts";

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

/** Goes on with the lease of the same number: once given up, it must not count again. */
function leaseOf(leases: SnapshotRegistry, runtime: Runtime, seq: number, former: ReadHold | undefined): ReadHold {
  if ((former as Lease | undefined)?.seq === Math.floor(seq)) return former!;
  former?.release();
  return leases.lease(seq, () => runtime.now());
}

const NOTHING = new Uint8Array(0);
const GC_FIELDS: ReadonlySet<string> = new Set(["dryRun"]);

/** An open database below its public faces. */
export class Engine {
  readonly parts: EngineParts;
  readonly status: StatusBoard;
  readonly readHost: ReadHost;
  readonly writes: WritePath;
  readonly #counters: EngineCounters;

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
      protects: (seq) => state.snapshots.protects(seq),
      refresh: manifest.refresh,
      hold: (seq, former) => leaseOf(state.snapshots, runtime, seq, former),
    };
    this.status = new StatusBoard(
      () => this.#status(),
      (task) => void parts.runtime.fork(Effect.andThen(Effect.yieldNow, Effect.sync(task))),
    );
    this.writes = new WritePath({
      ...parts,
      counters: this.#counters,
      assertOpen: () => this.assertOpen(),
      onWaiting: () => this.status.changed(),
      // Writes that were accepted are applied while the database closes: only its end ends these reads.
      newest: new Reader(
        { ...this.readHost, merge: () => NOTHING },
        { maxSeq: () => state.sequencer.lastSeq, assertUsable: () => {} },
      ),
    });
    parts.supervisor.onClose((error) => {
      this.writes.fail(error);
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
      return wanted === "wal" ? this.#flush("wal") : Effect.andThen(this.#flush("memtable"), this.#settleGate);
    }).pipe(Effect.catchDefect((defect) => Effect.fail(asDbError(defect))), withDbErrors);
  }

  #flush(kind: "wal" | "memtable"): Effect.Effect<void, DbError> {
    return Effect.gen({ self: this }, function* () {
      const { state } = this.parts;
      const waiting = this.writes.lastWaiting;
      if (waiting !== undefined) yield* Effect.ignore(waiting.ready.wait);
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

  /** Gives the gate back when nothing needs it any more, though nothing else is to be changed. */
  readonly #settleGate: Effect.Effect<void, DbError> = Effect.suspend(() => {
    return this.parts.state.mayLiftGate ? this.#commit(settleGate) : Effect.void;
  });

  /** Range tombstones that no snapshot needs any more may go with the next compaction, though nothing was written since. */
  readonly #letGo: Effect.Effect<void, DbError> = Effect.suspend(() => {
    const { state } = this.parts;
    if (!namesRanges(state.stored.manifest)) return Effect.void;
    return this.#commit(protectFrom((otherwise) => state.oldestProtected(otherwise)));
  });

  /** Commits what a call asked for, however long the store takes, unless the database closes before. */
  #commit(edit: ManifestEdit): Effect.Effect<void, DbError> {
    const { manifest, supervisor } = this.parts;
    const closed = Effect.callback<never, Closed>((resume) => {
      const forget = supervisor.onClose((error) => resume(Effect.fail(error)));
      return Effect.sync(forget);
    });
    return manifest.commit(edit).pipe(
      Effect.provideService(RetryDeadline, Infinity),
      Effect.raceFirst(closed),
      Effect.tapError((error) => Effect.sync(() => error instanceof Closed && supervisor.close(error))),
      Effect.asVoid,
      withDbErrors,
    );
  }

  /** Flushes, then compacts everything into one run, or what overlaps `range`. */
  compact(range?: KeyRange): Effect.Effect<void, DbError> {
    return Effect.suspend(() => {
      this.assertOpen();
      const keys = compactionKeys(range);
      const ready = Effect.andThen(this.#flush("memtable"), this.#letGo);
      return Effect.andThen(Effect.andThen(ready, this.parts.compactor.compact(keys)), this.#settleGate);
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
      const recorded = recordWalId(state.ledger.lastId);
      yield* manifest.commit((current, id) => recorded(current, id) ?? settleGate(current, id));
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
    if (compaction.lookTrouble !== undefined) {
      warnings.push(`Tables that range deletes hide are compacted instead of dropped: ${compaction.lookTrouble}`);
    }
    const ceiling = this.writes.lastWaiting === undefined || this.status.degraded
      ? undefined
      : ceilingTrouble(state, options);
    warnings.push(...[ceiling, collector.trouble()].filter((one) => one !== undefined), ...this.status.storeWarnings);
    return {
      durableSeq: state.sequencer.durableSeq,
      lastSeq: state.sequencer.lastSeq,
      manifestId: stored.id,
      writerEpoch: manifest.epoch,
      compactorEpoch: stored.manifest.compactorEpoch,
      rangeDeletes: isGated(stored.manifest),
      gatedCheckpoints: state.gatedVersions.among(stored.manifest.checkpoints),
      l0Count,
      unflushedBytes: state.unflushedBytes + this.writes.queuedBytes,
      backpressure: this.writes.isHeldBack,
      degraded: this.status.degraded,
      compactor: options.compactor === undefined && compaction.phase === "idle" ? "off" : compaction.phase,
      compactions: progressOf(compactor),
      warnings,
      ...(supervisor.closed === undefined ? {} : { closeReason: supervisor.closed.reason }),
    };
  }
}
