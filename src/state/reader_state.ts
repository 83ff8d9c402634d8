/**
 * What is true now in a reader: the manifest version it shows, its tables, the replayed log, the newest sequence number.
 *
 * Everything here is synchronous; the one who polls changes it, reads capture it. A capture is immutable and swapped
 * whole, so that a read finds every row in exactly one place: rows that a newer version has in tables leave the
 * memtables in the same swap. The newest memtable of a capture may grow; reads do not notice, because a row becomes
 * visible only when its whole WAL object is in (`replayed` raises `seq`).
 *
 * Tables belong to a generation: one layout, with everybody who still reads it. While an older generation is held, its
 * checkpoint stays (K-28) and its tables stay cached; how many may be held is bounded.
 *
 * Invariants: the visible sequence number never goes back; a WAL object is visible whole or not at all (K-6).
 *
 * @module
 */
import type { Manifest, RangeTombstone, Ulid, Uuid } from "../format/types.ts";
import { NO_TICK } from "../format/types.ts";
import { buildLevels, type Levels, type LsmView } from "../lsm/lsm_view.ts";
import { END } from "../lsm/cursor.ts";
import { Memtable } from "../lsm/memtable.ts";
import { isFull } from "../lsm/memtable_limits.ts";
import type { TableStore } from "../lsm/table_store.ts";
import type { StoredManifest } from "./manifest_store.ts";
import { namedTables } from "./reachable.ts";

/** Older generations that may be held at once; the oldest is given up first. */
const OLDER_GENERATIONS_MAX = 16;

/** Somebody who still reads a generation's tables. */
export interface GenerationHold {
  /** Says that the holder is in use; a scan that nobody touches for long does not count. */
  readonly touch: () => void;
  /** Ends the hold; a second call does nothing. */
  readonly release: () => void;
}

/** One layout of tables, and who still reads it. */
export class TableGeneration {
  readonly levels: Levels;
  readonly tableIds: ReadonlySet<Ulid>;
  /** The checkpoint that keeps its objects; undefined where the reader has none, or lost it. */
  checkpoint: Uuid | undefined = undefined;
  /** When each holder was last in use; Infinity for one that counts until it is released. */
  readonly #holds = new Map<GenerationHold, number>();

  constructor(manifest: Manifest, tables: TableStore) {
    this.levels = buildLevels(manifest, tables);
    this.tableIds = namedTables(manifest);
  }

  /** Adds a holder. @param lasting whether it counts until it is released, used or not */
  hold(now: () => number, lasting: boolean): GenerationHold {
    let isReleased = false;
    const hold: GenerationHold = {
      touch: () => {
        // One that was given up counts again from now on; whether its tables are still there, nobody can promise.
        if (!lasting && !isReleased) this.#holds.set(hold, now());
      },
      release: () => {
        isReleased = true;
        this.#holds.delete(hold);
      },
    };
    this.#holds.set(hold, lasting ? Infinity : now());
    return hold;
  }

  /** Whether somebody has used it since `sinceMillis`. Forgets the others. */
  isHeld(sinceMillis: number): boolean {
    for (const [hold, used] of this.#holds) if (used < sinceMillis) this.#holds.delete(hold);
    return this.#holds.size > 0;
  }
}

/** What one read works on; never changes once taken. */
export interface ReaderCapture {
  /** The manifest version that the view shows. */
  readonly stored: StoredManifest;
  readonly view: LsmView;
  /** The newest visible sequence number. */
  readonly seq: number;
  readonly generation: TableGeneration;
}

/** Limits of a {@linkcode ReaderState}. */
export interface ReaderStateOptions {
  /** Size at which a further memtable is begun, bytes; between WAL objects. */
  readonly maxMemtableBytes: number;
  /** After so long without use a scan no longer holds its tables, ms. */
  readonly holdIdleMillis: number;
  /** Wall time, ms. */
  readonly now: () => number;
}

/** Mutable state of one open reader. */
export class ReaderState {
  /** Called after every swap of the capture; must not throw. */
  onChange: (capture: ReaderCapture) => void = () => {};
  readonly #tables: TableStore;
  readonly #options: ReaderStateOptions;
  /** Newest first. */
  #memtables: ReadonlyArray<Memtable> = [new Memtable()];
  #generation: TableGeneration;
  #older: TableGeneration[] = [];
  #capture: ReaderCapture;
  #walId: number;
  #lastTick: number;
  #lastReadMillis: number = NO_TICK;

  constructor(tables: TableStore, stored: StoredManifest, options: ReaderStateOptions) {
    const { manifest } = stored;
    this.#tables = tables;
    this.#options = options;
    this.#generation = new TableGeneration(manifest, tables);
    this.#walId = manifest.replayAfterWalId;
    this.#lastTick = manifest.lastL0ClockTick;
    this.#capture = this.#captured(stored, manifest.lastL0Seq);
  }

  /** What a read that starts now works on. */
  get capture(): ReaderCapture {
    return this.#capture;
  }

  /** Every WAL object up to this id is shown: in a memtable, or in tables. */
  get walId(): number {
    return this.#walId;
  }

  /** Newest first. */
  get memtables(): ReadonlyArray<Memtable> {
    return this.#memtables;
  }

  /** Checkpoints of generations that somebody still reads, the current one's included. */
  get heldCheckpoints(): Uuid[] {
    const since = this.#heldSince;
    return [...this.#older, this.#generation].flatMap((one) =>
      one.checkpoint !== undefined && one.isHeld(since) ? [one.checkpoint] : []
    );
  }

  /** The time a read judges expiry by: never before any row shown or earlier read. */
  readTime(nowMillis: number): number {
    this.#lastReadMillis = Math.max(nowMillis, this.#lastTick, this.#lastReadMillis);
    return this.#lastReadMillis;
  }

  /** Keeps the tables of `capture` until released. @param lasting whether the hold counts while it is not used too */
  hold(capture: ReaderCapture, lasting: boolean): GenerationHold {
    return capture.generation.hold(this.#options.now, lasting);
  }

  /**
   * The memtable that takes the rows of the next WAL object, which has `bytes` bytes: the same as before when an attempt
   * to insert them ended halfway, or some of them would be in two.
   */
  memtableFor(bytes: number): Memtable {
    const newest = this.#memtables[0]!;
    if (newest.lastSeq > this.#capture.seq) return newest;
    return isFull(newest, this.#options.maxMemtableBytes - bytes) ? this.cut() : newest;
  }

  /** Begins a further memtable. It is shown with the object whose rows go on in it. */
  cut(): Memtable {
    const memtable = new Memtable();
    this.#memtables = [memtable, ...this.#memtables];
    return memtable;
  }

  /** All rows of WAL object `id` are in: they become visible. */
  replayed(id: number, lastSeq: number): void {
    this.#walId = id;
    this.#lastTick = Math.max(this.#lastTick, this.#memtables[0]!.lastTick);
    const { stored, seq, view } = this.#capture;
    if (lastSeq > seq || view.memtables !== this.#memtables) this.#swap(stored, Math.max(seq, lastSeq));
  }

  /** Takes a newer version with the same tables. */
  observe(stored: StoredManifest): void {
    this.#walId = Math.max(this.#walId, stored.manifest.replayAfterWalId);
    this.#swap(stored, this.#capture.seq);
  }

  /** Says which checkpoint keeps the current tables. */
  pinnedBy(checkpoint: Uuid | undefined): void {
    this.#generation.checkpoint = checkpoint;
  }

  /**
   * Takes a newer version with other tables.
   *
   * @param memtables newest first: the rows that the version has not in tables
   */
  adopt(stored: StoredManifest, memtables: ReadonlyArray<Memtable>): void {
    const { manifest } = stored;
    this.#older.push(this.#generation);
    const since = this.#heldSince;
    this.#older = this.#older.filter((one) => one.isHeld(since)).slice(-OLDER_GENERATIONS_MAX);
    this.#generation = new TableGeneration(manifest, this.#tables);
    this.#memtables = memtables.length === 0 ? [new Memtable()] : memtables;
    this.#walId = Math.max(this.#walId, manifest.replayAfterWalId);
    this.#lastTick = Math.max(this.#lastTick, manifest.lastL0ClockTick);
    const ids = new Set(this.#generation.tableIds);
    for (const older of this.#older) for (const id of older.tableIds) ids.add(id);
    this.#tables.retain(ids);
    this.#swap(stored, Math.max(this.#capture.seq, manifest.lastL0Seq));
  }

  get #heldSince(): number {
    return this.#options.now() - this.#options.holdIdleMillis;
  }

  #swap(stored: StoredManifest, seq: number): void {
    this.#capture = this.#captured(stored, seq);
    this.onChange(this.#capture);
  }

  #captured(stored: StoredManifest, seq: number): ReaderCapture {
    const { l0, runs } = this.#generation.levels;
    return { stored, view: { memtables: this.#memtables, l0, runs }, seq, generation: this.#generation };
  }
}

/**
 * A copy of what a memtable has above a sequence number, rows and range tombstones, made in steps so that nobody has to
 * wait for all of it.
 */
export class RowsAfter {
  /** The copy; complete when `step` answered true. */
  readonly copy: Memtable = new Memtable();
  readonly #rows: ReturnType<Memtable["cursor"]>;
  readonly #ranges: ReadonlyArray<RangeTombstone>;
  readonly #seq: number;
  #move: unknown;
  /** Tombstones copied so far. */
  #copied = 0;

  /** @param source must not change until the copy is complete */
  constructor(source: Memtable, seq: number) {
    this.#rows = source.cursor();
    this.#ranges = source.ranges.all().filter((tombstone) => tombstone.seq > seq);
    this.#seq = seq;
    this.#move = this.#rows.first();
  }

  /** Looks at up to `rows` further rows or tombstones; answers whether that were all. */
  step(rows: number): boolean {
    const row = this.#rows;
    let left = rows;
    for (; left > 0 && this.#move !== END; left--) {
      if (row.seq > this.#seq) {
        this.copy.insert(
          row.keyBytes,
          row.keyStart,
          row.keyEnd,
          row.seq,
          row.flags,
          row.createTs,
          row.expireTs,
          row.valueBytes,
          row.valueStart,
          row.valueEnd,
        );
      }
      this.#move = row.next();
    }
    for (; left > 0 && this.#copied < this.#ranges.length; left--) {
      this.copy.insertRange(this.#ranges[this.#copied++]!);
    }
    return this.#move === END && this.#copied === this.#ranges.length;
  }
}
