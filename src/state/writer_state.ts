/**
 * What is true now in an open database: memtables, WAL buffer, watermarks and the view that reads capture.
 *
 * Everything here is synchronous. A write is one step without a yield: tick, sequence number, memtable, WAL buffer,
 * freeze decision, so that WAL order = memtable order = sequence order (invariant W1) and no flusher ever sees a row in
 * one place but not in the other (K-5). The view is an immutable capture that is swapped whole (invariant V1).
 *
 * Owned by one database. Flushers (`tasks/`) read it and report back through `walStored` and `adopt`.
 *
 * @module
 */
import type { Closed } from "../errors.ts";
import type { Manifest, Ulid } from "../format/types.ts";
import type { UlidMint } from "../env/ids.ts";
import { OneShot } from "../env/one_shot.ts";
import { buildLevels, type Levels, type LsmView } from "../lsm/lsm_view.ts";
import { Memtable } from "../lsm/memtable.ts";
import { isFull } from "../lsm/memtable_limits.ts";
import type { TableStore } from "../lsm/table_store.ts";
import { ConflictHistory, type Footprint } from "./conflicts.ts";
import { GatedVersions } from "./gated_versions.ts";
import { isGated, namesRanges } from "./range_gate.ts";
import { namedTables } from "./reachable.ts";
import type { StoredManifest } from "./manifest_store.ts";
import { Sequencer } from "./sequencer.ts";
import { SnapshotRegistry } from "./snapshot_registry.ts";
import { type FrozenWal, WalBuffer } from "./wal_buffer.ts";
import { WalLedger } from "./wal_ledger.ts";

/** WAL objects after which a memtable is frozen however small it is, so that a replay stays short. */
export const WAL_OBJECTS_PER_MEMTABLE: number = 4096;

/** The rows of one batch, decided and ready: ascending by key, no key twice. */
export interface ReadyRows extends Footprint {
  /** Creation time of the rows, ms. */
  readonly tick: number;
  /** Inserts them under one sequence number; cannot fail. Answers their bytes, keys and values. */
  insertInto(memtable: Memtable, seq: number): number;
}

/** What a write got. */
export interface AppliedWrite {
  readonly seq: number;
  readonly createTs: number;
  /** Settles when the write is durable or never will be. */
  readonly durable: OneShot;
}

/** A memtable that takes no more rows and waits to become an L0 table. */
export interface FrozenMemtable {
  readonly memtable: Memtable;
  /** Minted when frozen, so that id order is publication order (K-7). */
  readonly sstId: Ulid;
}

/** Limits and switches of the write path. */
export interface WriterStateOptions {
  readonly walEnabled: boolean;
  readonly l0SstSizeBytes: number;
  readonly maxUnflushedBytes: number;
  readonly clockToleranceMillis: number;
  /** Memory for what open transactions may conflict with. */
  readonly conflictHistoryBytes: number;
}

/** Called after the state changed in a way that a moving part cares about; must not throw. */
export interface WriterStateHooks {
  /** Rows came to a WAL buffer (WAL off: a memtable) that was empty, or the WAL buffer is `full`. */
  readonly onRows: (full: boolean) => void;
  /** A memtable was frozen, a table can be published, or the manifest changed. */
  readonly onTables: () => void;
  /** A newer manifest version was taken over. */
  readonly onManifest: () => void;
  /** The durable watermark, the manifest or the room changed. */
  readonly onProgress: () => void;
  /** A write failed after it took its sequence number: the state is half changed. Answers what to throw. */
  readonly onDefect: (defect: unknown) => unknown;
}

/** Mutable state of one open writer. */
export class WriterState {
  readonly sequencer: Sequencer;
  readonly snapshots: SnapshotRegistry = new SnapshotRegistry();
  /** Recent writes, while a transaction may conflict with them. */
  readonly conflicts: ConflictHistory;
  readonly ledger: WalLedger;
  /** Which pinned versions other engines refuse. */
  readonly gatedVersions: GatedVersions = new GatedVersions();
  /** Whether everything that the log held is in memtables. */
  isReplayed = false;
  /** Undefined when the WAL is off. */
  readonly wal: WalBuffer | undefined;
  readonly options: WriterStateOptions;
  /** The newest failure of the merge operator in a flush: its operands were stored unfolded. */
  mergeFailure: unknown = undefined;
  hooks: WriterStateHooks = {
    onRows: () => {},
    onTables: () => {},
    onManifest: () => {},
    onProgress: () => {},
    onDefect: (defect) => defect,
  };
  readonly #tables: TableStore;
  readonly #mint: UlidMint;
  readonly #now: () => number;
  #active = new Memtable();
  #frozen: ReadonlyArray<FrozenMemtable> = [];
  #frozenBytes = 0;
  #stored: StoredManifest;
  #levels: Levels;
  #view: LsmView;
  #walIdAtFreeze: number;
  /** WAL off: whether the flusher knows that the active memtable has rows that wait. */
  #rowsAnnounced = false;

  /** @param now wall clock, ms: table ids must carry the real time, since collectors compare it */
  constructor(
    options: WriterStateOptions,
    tables: TableStore,
    mint: UlidMint,
    now: () => number,
    stored: StoredManifest,
  ) {
    this.options = options;
    this.#tables = tables;
    this.#mint = mint;
    this.#now = now;
    this.#stored = stored;
    const manifest = stored.manifest;
    this.gatedVersions.note(stored.id, manifest);
    this.sequencer = new Sequencer(options.clockToleranceMillis);
    this.sequencer.restore(manifest.lastL0Seq, manifest.lastL0ClockTick);
    this.conflicts = new ConflictHistory(options.conflictHistoryBytes);
    this.ledger = new WalLedger(manifest.replayAfterWalId);
    this.#walIdAtFreeze = manifest.replayAfterWalId;
    this.wal = options.walEnabled ? new WalBuffer() : undefined;
    this.#levels = buildLevels(manifest, tables);
    this.#view = this.#capture();
    for (const view of manifest.l0) mint.observe(view.sstId);
    if (manifest.lastCompactedL0 !== undefined) mint.observe(manifest.lastCompactedL0);
  }

  /** The capture that a read works on; never changes once taken, except that the active memtable grows. */
  get view(): LsmView {
    return this.#view;
  }

  get stored(): StoredManifest {
    return this.#stored;
  }

  get levels(): Levels {
    return this.#levels;
  }

  get active(): Memtable {
    return this.#active;
  }

  /** Oldest first. */
  get frozen(): ReadonlyArray<FrozenMemtable> {
    return this.#frozen;
  }

  /** Bytes in memtables that are not in published tables yet. */
  get unflushedBytes(): number {
    return this.#active.heldBytes + this.#frozenBytes;
  }

  /** Whether a write is admitted. A write may overshoot the limit by its own size. */
  get hasRoom(): boolean {
    return this.unflushedBytes < this.options.maxUnflushedBytes;
  }

  /** Whether rows wait for the WAL or tables for the manifest: the reason for timers to run. */
  get isBusy(): boolean {
    return this.#frozen.length > 0 || this.sequencer.durableSeq < this.sequencer.lastSeq && this.wal !== undefined;
  }

  /** Applies one row; the fast path of single writes. `tick` comes from the sequencer and was checked. */
  applyRow(tick: number, key: Uint8Array, flags: number, value: Uint8Array, expireTs: number): AppliedWrite {
    const seq = this.sequencer.next();
    try {
      const memtable = this.#active;
      const from = memtable.entryCount;
      memtable.insert(key, 0, key.length, seq, flags, tick, expireTs, value, 0, value.length);
      if (this.conflicts.isActive) this.conflicts.recordKey(seq, key, 0, key.length);
      return this.#applied(memtable, from, seq, tick, key.length + value.length, false);
    } catch (defect) {
      throw this.hooks.onDefect(defect);
    }
  }

  /**
   * Applies the rows of one batch under one sequence number.
   *
   * @param exempt keys whose writing no transaction conflicts with
   */
  applyRows(rows: ReadyRows, exempt?: ReadonlySet<string>): AppliedWrite {
    const seq = this.sequencer.next();
    try {
      const memtable = this.#active;
      const from = memtable.entryCount;
      const ranges = memtable.ranges.count;
      const bytes = rows.insertInto(memtable, seq);
      if (this.conflicts.isActive) this.conflicts.recordWrites(seq, rows, exempt);
      return this.#applied(memtable, from, seq, rows.tick, bytes, memtable.ranges.count > ranges);
    } catch (defect) {
      throw this.hooks.onDefect(defect);
    }
  }

  /**
   * What a write gets that turned out to have nothing to write: the last number, without taking one, and durable when
   * all that was written before is.
   */
  unchanged(nowMillis: number): AppliedWrite {
    const { lastSeq, durableSeq, lastTick } = this.sequencer;
    let durable: OneShot | undefined;
    if (durableSeq < lastSeq) {
      const memtable = this.#active.entryCount > 0 ? this.#active : this.#frozen.at(-1)?.memtable;
      durable = this.wal === undefined ? memtable?.durable : this.wal.pendingDurable;
    }
    if (durable === undefined) {
      durable = new OneShot();
      durable.succeed();
    }
    return { seq: lastSeq, createTs: Math.max(nowMillis, lastTick), durable };
  }

  #applied(
    memtable: Memtable,
    from: number,
    seq: number,
    tick: number,
    bytes: number,
    hasRanges: boolean,
  ): AppliedWrite {
    const to = memtable.entryCount;
    const wal = this.wal;
    let durable: OneShot;
    if (wal === undefined) {
      durable = memtable.durable;
      if (!this.#rowsAnnounced) {
        this.#rowsAnnounced = true;
        this.hooks.onRows(false);
      }
    } else {
      const wasEmpty = wal.isEmpty;
      durable = wal.append(memtable, from, to, seq, tick, bytes + 24 * (to - from), hasRanges);
      wal.trackLastAppliedSeq(seq);
      const full = wal.needsSizeFlush(this.options.l0SstSizeBytes);
      // Sealed at once, not when the flusher gets to it: during an outage one object must not grow without limit.
      if (full) this.sealWal();
      if (wasEmpty || full) this.hooks.onRows(full);
    }
    memtable.tracker.record(seq, Math.floor(tick / 1000));
    if (this.#mustFreeze(memtable)) this.freeze();
    return { seq, createTs: tick, durable };
  }

  #mustFreeze(memtable: Memtable): boolean {
    return isFull(memtable, this.options.l0SstSizeBytes) ||
      this.ledger.lastId - this.#walIdAtFreeze >= WAL_OBJECTS_PER_MEMTABLE;
  }

  /** Ends the current WAL buffer unless it is empty: its rows become one WAL object, under the next id. */
  sealWal(): void {
    const wal = this.wal!;
    wal.freeze(Math.max(this.ledger.lastId, wal.immutables.at(-1)?.id ?? 0) + 1);
  }

  /** Freezes the active memtable unless it is empty; answers whether it did. */
  freeze(): boolean {
    const memtable = this.#active;
    if (memtable.entryCount === 0) return false;
    const sstId = this.#mint.mint(this.#now());
    this.#active = new Memtable();
    this.#active.tracker = memtable.tracker.successor();
    this.#rowsAnnounced = false;
    this.#frozen = [...this.#frozen, { memtable, sstId }];
    this.#frozenBytes += memtable.heldBytes;
    this.#walIdAtFreeze = this.ledger.lastId;
    this.#view = this.#capture();
    this.hooks.onTables();
    return true;
  }

  /**
   * Whether the gate must stand when `next` is the newest manifest (invariant G2). Before the log is replayed nobody
   * knows what it holds: the gate stays as it was found. Rows that no log object holds yet are in a memtable.
   */
  needsGate(next: Manifest): boolean {
    if (namesRanges(next)) return true;
    if (!this.isReplayed) return isGated(next);
    return this.ledger.holdsRangesAbove(next.replayAfterWalId) ||
      this.#view.memtables.some(({ ranges, lastSeq }) => ranges.count > 0 && lastSeq > next.lastL0Seq);
  }

  /** Whether the gate stands though nothing needs it any more. */
  get mayLiftGate(): boolean {
    const { manifest } = this.#stored;
    return isGated(manifest) && !this.needsGate(manifest);
  }

  /**
   * The oldest number that a snapshot may read, now or when a manifest that is on its way is stored: one taken meanwhile
   * may still read from the durable bound of this moment.
   */
  oldestProtected(otherwise: number): number {
    return Math.min(this.snapshots.oldest(otherwise), this.sequencer.durableSeq);
  }

  /** Puts a replayed memtable in place of the (empty) active one. */
  restoreActive(memtable: Memtable): void {
    this.#active = memtable;
    this.sequencer.restore(memtable.lastSeq, memtable.lastTick);
    this.#view = this.#capture();
  }

  /** A frozen WAL buffer is stored: its rows are durable, and its waiters are answered in order. */
  walStored(wal: FrozenWal): void {
    this.ledger.stored(wal.id, wal.lastSeq, wal.hasRanges);
    this.sequencer.markDurable(wal.lastSeq);
    this.wal!.flushed(wal.id);
    this.hooks.onTables();
    this.hooks.onProgress();
  }

  /**
   * Takes a newer manifest version. Memtables whose rows its tables cover are dropped in the same swap (invariant V2),
   * so that a read finds every row in exactly one place.
   */
  adopt(stored: StoredManifest): void {
    this.#stored = stored;
    const manifest = stored.manifest;
    this.gatedVersions.note(stored.id, manifest);
    this.gatedVersions.retain(manifest.checkpoints, stored.id);
    const covered = this.#frozen.filter((table) => table.memtable.lastSeq <= manifest.lastL0Seq);
    this.#frozen = this.#frozen.filter((table) => table.memtable.lastSeq > manifest.lastL0Seq);
    for (const { memtable } of covered) this.#frozenBytes -= memtable.heldBytes;
    this.#levels = buildLevels(manifest, this.#tables);
    this.#tables.retain(namedTables(manifest));
    this.#view = this.#capture();
    this.ledger.published(manifest.replayAfterWalId);
    this.sequencer.markDurable(manifest.lastL0Seq);
    for (const { memtable } of covered) {
      memtable.durable.succeed();
      memtable.uploaded.succeed();
    }
    this.hooks.onManifest();
    this.hooks.onTables();
    this.hooks.onProgress();
  }

  /** Answers everybody who waits for durability or upload. */
  fail(error: Closed): void {
    this.wal?.fail(error);
    for (const { memtable } of this.#frozen) {
      memtable.durable.fail(error);
      memtable.uploaded.fail(error);
    }
    this.#active.durable.fail(error);
    this.#active.uploaded.fail(error);
  }

  #capture(): LsmView {
    const memtables = [this.#active];
    for (let i = this.#frozen.length - 1; i >= 0; i--) memtables.push(this.#frozen[i]!.memtable);
    return { memtables, l0: this.#levels.l0, runs: this.#levels.runs };
  }
}
