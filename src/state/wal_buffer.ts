/**
 * Rows on their way to the write-ahead log: the buffer that takes them, and the frozen ones that wait to be stored.
 *
 * A buffer holds no bytes, only stretches of row ids of memtables (which keep their rows for as long as somebody
 * refers to them). Pure state without I/O or time: the WAL flusher freezes, encodes, stores and reports back.
 *
 * Invariants:
 * - rows enter in sequence order, and a WAL object holds whole batches only (K-6): an append is never split;
 * - frozen buffers have ascending ids and are reported stored in that order;
 * - every durable signal settles exactly once: with success by `flushed`, or with the fatal error by `fail`;
 * - after `fail` nothing is taken any more: the error is thrown to whoever tries.
 *
 * @module
 */
import { OneShot } from "../env/one_shot.ts";
import type { SstOptions } from "../format/sst_builder.ts";
import { NO_TICK } from "../format/types.ts";
import { WalSstBuilder } from "../format/wal_sst.ts";
import type { Memtable } from "../lsm/memtable.ts";

/** How WAL objects are encoded. */
export type WalEncoding = SstOptions;

/** Rows `fromRow..toRow` (exclusive) of a memtable. */
export interface WalSegment {
  readonly memtable: Memtable;
  readonly fromRow: number;
  readonly toRow: number;
}

/** A buffer that takes no more rows: the contents of one WAL object. */
export interface FrozenWal {
  /** WAL id. */
  readonly id: number;
  /** In order of the log. At least one row in all. */
  readonly segments: ReadonlyArray<WalSegment>;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Largest creation time, ms; NO_TICK when there is none. */
  readonly lastTick: number;
  /** Estimated size of the object. */
  readonly bytes: number;
  /** Whether range tombstones are among the rows. */
  readonly hasRanges: boolean;
  /** Settles when the object is stored, or never will be. */
  readonly durable: OneShot<unknown>;
}

interface OpenSegment {
  readonly memtable: Memtable;
  readonly fromRow: number;
  toRow: number;
}

/** The rows that no WAL object holds yet, and those whose object is on its way. */
export class WalBuffer {
  /** WAL id up to which everything is stored. */
  flushedId: number = 0;
  /** Largest sequence number in stored objects. */
  durableSeq: number = 0;
  #lastAppliedSeq = 0;
  #segments: OpenSegment[] = [];
  #firstSeq = 0;
  #lastSeq = 0;
  #lastTick = NO_TICK;
  #bytes = 0;
  #hasRanges = false;
  #durable: OneShot<unknown> = new OneShot<unknown>();
  #sizeFlushAsked = false;
  #frozen: FrozenWal[] = [];
  #frozenBytes = 0;
  #fatal: { readonly error: unknown } | undefined = undefined;

  /** Whether the current buffer has no rows. Frozen buffers may still wait. */
  get isEmpty(): boolean {
    return this.#segments.length === 0;
  }

  /** Signal of the current buffer: settles when rows appended now are durable. */
  get durable(): OneShot<unknown> {
    return this.#durable;
  }

  /** Signal of the newest rows that are not stored; undefined when all are. */
  get pendingDurable(): OneShot<unknown> | undefined {
    if (!this.isEmpty) return this.#durable;
    const newest = this.#frozen.at(-1);
    return newest !== undefined && newest.id > this.flushedId ? newest.durable : undefined;
  }

  /** Frozen buffers that were not released, oldest first; stored ones among them wait to be applied. */
  get immutables(): ReadonlyArray<FrozenWal> {
    return this.#frozen;
  }

  /** The frozen buffer to store next, or undefined. */
  get nextToFlush(): FrozenWal | undefined {
    return this.#frozen.find((frozen) => frozen.id > this.flushedId);
  }

  /** Estimated encoded bytes of the current and all frozen buffers. */
  get estimatedBytes(): number {
    return this.#bytes + this.#frozenBytes;
  }

  /** The error of {@linkcode WalBuffer.fail}, once it was called. */
  get fatalError(): unknown {
    return this.#fatal?.error;
  }

  /**
   * Takes the rows of one or more whole batches, in the order in which they were inserted in the memtable.
   *
   * @param fromRow first row id
   * @param toRow row id after the last one; greater than `fromRow`
   * @param lastSeq largest sequence number among the rows, above all that were appended before
   * @param lastTick largest creation time among the rows
   * @param bytes estimated encoded size
   * @param hasRanges whether range tombstones are among the rows
   * @returns the signal that settles when the rows are durable
   * @throws the fatal error, after `fail`
   */
  append(
    memtable: Memtable,
    fromRow: number,
    toRow: number,
    lastSeq: number,
    lastTick: number,
    bytes: number,
    hasRanges: boolean = false,
  ): OneShot<unknown> {
    if (this.#fatal !== undefined) throw this.#fatal.error;
    const segments = this.#segments;
    const last = segments.at(-1);
    if (last === undefined) this.#firstSeq = memtable.seqOf(fromRow);
    if (last !== undefined && last.memtable === memtable && last.toRow === fromRow) last.toRow = toRow;
    else segments.push({ memtable, fromRow, toRow });
    this.#lastSeq = lastSeq;
    if (lastTick > this.#lastTick) this.#lastTick = lastTick;
    this.#bytes += bytes;
    if (hasRanges) this.#hasRanges = true;
    return this.#durable;
  }

  /** Whether the current buffer has reached `limitBytes`; says so once per buffer. */
  needsSizeFlush(limitBytes: number): boolean {
    if (this.#sizeFlushAsked || this.#bytes < limitBytes) return false;
    this.#sizeFlushAsked = true;
    return true;
  }

  /**
   * Ends the current buffer under `walId` and starts another one.
   *
   * @param walId the next WAL id, above all earlier ones
   * @returns undefined when the buffer is empty: then `walId` was not used
   * @throws the fatal error, after `fail`
   */
  freeze(walId: number): FrozenWal | undefined {
    if (this.#fatal !== undefined) throw this.#fatal.error;
    return this.isEmpty ? undefined : this.#freeze(walId);
  }

  #freeze(id: number): FrozenWal {
    const newest = this.#frozen.at(-1);
    if (id <= this.flushedId || (newest !== undefined && id <= newest.id)) {
      throw new Error(`WAL id ${id} is not above ${newest?.id ?? this.flushedId}`);
    }
    const frozen: FrozenWal = {
      id,
      segments: this.#segments,
      firstSeq: this.#firstSeq,
      lastSeq: this.#lastSeq,
      lastTick: this.#lastTick,
      bytes: this.#bytes,
      hasRanges: this.#hasRanges,
      durable: this.#durable,
    };
    this.#frozen.push(frozen);
    this.#frozenBytes += this.#bytes;
    this.#segments = [];
    this.#firstSeq = 0;
    this.#lastTick = NO_TICK;
    this.#bytes = 0;
    this.#hasRanges = false;
    this.#durable = new OneShot<unknown>();
    this.#sizeFlushAsked = false;
    return frozen;
  }

  /**
   * The object `id` is stored: its rows are durable. Its waiters are called last, when this buffer's numbers are right.
   *
   * @param id the oldest frozen buffer that was not stored
   */
  flushed(id: number): void {
    const frozen = this.nextToFlush;
    if (frozen?.id !== id) throw new Error(`WAL object ${id} stored out of order, ${frozen?.id ?? "none"} is next`);
    this.flushedId = id;
    this.durableSeq = Math.max(this.durableSeq, frozen.lastSeq);
    this.#release();
    frozen.durable.succeed();
  }

  /** Every row up to `seq` is in a memtable. */
  trackLastAppliedSeq(seq: number): void {
    if (seq <= this.#lastAppliedSeq) return;
    this.#lastAppliedSeq = seq;
    if (this.#frozen.length > 0) this.#release();
  }

  /** Frozen buffers leave from the front when their rows are both durable and applied. */
  #release(): void {
    const limit = Math.min(this.#lastAppliedSeq, this.durableSeq);
    let released = 0;
    for (const frozen of this.#frozen) {
      if (frozen.lastSeq > limit) break;
      released++;
      this.#frozenBytes -= frozen.bytes;
    }
    if (released > 0) this.#frozen.splice(0, released);
  }

  /**
   * Ends the buffer for good: whoever waits for durability gets `error`, oldest first, and nothing is taken any more.
   * The first error stays.
   */
  fail(error: unknown): void {
    if (this.#fatal !== undefined) return;
    this.#fatal = { error };
    const waiting = this.#frozen.filter((frozen) => frozen.id > this.flushedId);
    for (const frozen of waiting) frozen.durable.fail(error);
    this.#durable.fail(error);
  }
}

/** Encodes the WAL object of a frozen buffer, rows in the order of the log, in slices of a few milliseconds. */
export class WalObjectWriter {
  readonly #segments: ReadonlyArray<WalSegment>;
  readonly #builder: WalSstBuilder;
  #segment = 0;
  #row: number;

  constructor(frozen: FrozenWal, encoding: WalEncoding) {
    this.#segments = frozen.segments;
    this.#builder = new WalSstBuilder(encoding, frozen.bytes + (frozen.bytes >> 4));
    this.#row = frozen.segments[0]!.fromRow;
  }

  /** Encodes up to `maxRows` rows or `maxBytes` of them; answers whether there are more. */
  step(maxRows: number, maxBytes: number): boolean {
    const builder = this.#builder;
    let rowsLeft = maxRows;
    let bytesLeft = maxBytes;
    while (this.#segment < this.#segments.length) {
      const { memtable, toRow } = this.#segments[this.#segment]!;
      const row = memtable.cursor();
      while (this.#row < toRow) {
        if (rowsLeft-- <= 0 || bytesLeft <= 0) return true;
        memtable.readRow(this.#row++, row);
        bytesLeft -= row.valueEnd - row.valueStart + row.keyEnd - row.keyStart;
        builder.add(
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
      const next = this.#segments[++this.#segment];
      if (next !== undefined) this.#row = next.fromRow;
    }
    return false;
  }

  /** Encodes what is left and answers the object. */
  finish(): Uint8Array {
    this.step(Infinity, Infinity);
    return this.#builder.finish();
  }
}
