/**
 * The memory part of the LSM tree: many versions of keys in internal order, with the numbers that a flush needs.
 *
 * Rows are copied into an arena in the order in which they come and indexed by a B+tree of row ids. A row id counts up
 * from 0, so a range of ids is a stretch of the write-ahead log: the WAL buffer refers to ids and copies nothing.
 *
 * Range tombstones are rows of the arena too, so that the log has them in their place, but stand beside the tree: no
 * cursor meets them, `ranges` tells what they cover.
 *
 * Invariants:
 * - at most one row per (key, sequence number): a second one replaces the first under its id;
 * - ids are dense: `entryCount` is the id that the next new row gets;
 * - reading while rows are inserted is safe, between any two moves of any cursor; removal does not exist.
 *
 * Owned by one writer (or one replay). Readers tell versions apart by sequence number only: the table is live.
 *
 * @module
 */
import { OneShot } from "../env/one_shot.ts";
import { SequenceTracker } from "../format/sequence_tracker.ts";
import {
  FLAG_CREATE,
  FLAG_EXPIRE,
  FLAG_RANGE_DELETE,
  FLAG_TOMBSTONE,
  NO_EXPIRY,
  NO_TICK,
  type RangeTombstone,
} from "../format/types.ts";
import { RowArena } from "./arena.ts";
import { END } from "./cursor.ts";
import { fillRow, MemtableCursor, type RowSlot } from "./memtable_cursor.ts";
import { MemtableTree } from "./memtable_tree.ts";
import { RangeLevels } from "./range_set.ts";

export type { RowSlot } from "./memtable_cursor.ts";

/** Memory of a range tombstone beside the arena: the tombstone, its copies of the bounds, and the sets that it is in. */
const RANGE_BYTES = 640;
/** Encoded bytes of a row that `sizeBytes` leaves out: lengths, flags, restarts, filter bits. */
const ENCODED_ROW_EXTRA = 6;
/** A number times this is the next smaller number there is; sequence numbers of a transaction's own rows lie close. */
const JUST_BELOW = 1 - Number.EPSILON / 2;
/** Footer, info and stats of a table. */
const ENCODED_TABLE_EXTRA = 256;

const TO_THE_LAST_KEY = new Uint8Array(0);

/** A multi-version ordered map in memory. */
export class Memtable {
  /** Sum over rows of key + value + 8, and 8 for each time that is present: the format's measure of size. */
  sizeBytes: number = 0;
  /** Largest creation time, ms; NO_TICK when there is none. */
  lastTick: number = NO_TICK;
  /** Smallest sequence number; 0 when empty. */
  firstSeq: number = 0;
  /** Largest sequence number; 0 when empty. */
  lastSeq: number = 0;
  /** Samples of when which sequence number was written; the writer records them. */
  tracker: SequenceTracker = new SequenceTracker();
  /** Settles when the rows survive a crash because they are in a published table (WAL off). */
  readonly durable: OneShot<unknown> = new OneShot<unknown>();
  /** Settles when the rows are in a published table and the memtable may leave memory. */
  readonly uploaded: OneShot<unknown> = new OneShot<unknown>();

  /** Range tombstones. */
  readonly ranges: RangeLevels = new RangeLevels();

  /** @internal */
  readonly rows: RowArena = new RowArena();
  /** @internal */
  readonly tree: MemtableTree = new MemtableTree(this.rows);

  /** Number of rows, all versions, range tombstones too; also the id of the next new row. */
  get entryCount(): number {
    return this.rows.count;
  }

  /** Bytes of memory held, used or not. */
  get memoryBytes(): number {
    return this.rows.memoryBytes + this.tree.memoryBytes;
  }

  /** About the memory that its rows need: their size, and what range tombstones take beside the arena. */
  get heldBytes(): number {
    return this.sizeBytes + RANGE_BYTES * this.ranges.count;
  }

  /** Estimated size of the table that a flush would write; 0 when empty. */
  get estimatedSstBytes(): number {
    const rows = this.rows.count;
    if (rows === 0) return 0;
    // A block of 4 KiB brings about 1.5 % of index entry and checksum.
    return Math.ceil(this.sizeBytes * 1.015) + rows * ENCODED_ROW_EXTRA + ENCODED_TABLE_EXTRA;
  }

  /**
   * Inserts a row; its bytes are copied. A row with the same key and sequence number is replaced.
   *
   * @param flags only the tombstone and merge bits count; a tombstone's value is left out
   * @param seq sequence number, 1 or more
   * @param createTs ms since 1970, NO_TICK for none
   * @param expireTs ms since 1970, NO_EXPIRY for none
   */
  insert(
    keyBytes: Uint8Array,
    keyStart: number,
    keyEnd: number,
    seq: number,
    flags: number,
    createTs: number,
    expireTs: number,
    valueBytes: Uint8Array,
    valueStart: number,
    valueEnd: number,
  ): void {
    if ((flags & FLAG_TOMBSTONE) !== 0) valueEnd = valueStart;
    const rows = this.rows;
    const row = rows.append(
      keyBytes,
      keyStart,
      keyEnd,
      seq,
      flags,
      createTs,
      expireTs,
      valueBytes,
      valueStart,
      valueEnd,
    );
    this.sizeBytes += this.sizeOf(row);
    const there = this.tree.insert(row);
    if (there >= 0) {
      this.sizeBytes -= this.sizeOf(there);
      rows.replaceByLast(there);
    }
    this.#note(seq, createTs);
  }

  /** Inserts a range tombstone; its bytes are copied. */
  insertRange(tombstone: RangeTombstone): void {
    this.insertRanges([tombstone]);
  }

  /** Inserts range tombstones; their bytes are copied. Many at once cost less than one after the other. */
  insertRanges(tombstones: ReadonlyArray<RangeTombstone>): void {
    this.ranges.add(tombstones.map(({ start, end, seq, createTs }) => {
      const value = end ?? TO_THE_LAST_KEY;
      const flags = FLAG_RANGE_DELETE;
      const row = this.rows.append(start, 0, start.length, seq, flags, createTs, NO_EXPIRY, value, 0, value.length);
      this.sizeBytes += this.sizeOf(row);
      this.#note(seq, createTs);
      return { start: start.slice(), end: end?.slice(), seq, createTs };
    }));
  }

  #note(seq: number, createTs: number): void {
    if (createTs > this.lastTick) this.lastTick = createTs;
    if (seq > this.lastSeq) this.lastSeq = seq;
    if (seq < this.firstSeq || this.firstSeq === 0) this.firstSeq = seq;
  }

  /**
   * The newest version of `key` with a sequence number of at most `maxSeq`.
   *
   * @returns its row id, or -1 when there is none
   */
  find(key: Uint8Array, maxSeq: number): number {
    return this.tree.find(key, 0, key.length, maxSeq);
  }

  /** The next older version of the same key: its row id, or -1. */
  nextOlder(row: number): number {
    const rows = this.rows;
    const start = rows.keyStartOf(row);
    return this.tree.find(rows.bytesOf(row), start, start + rows.keyLengthOf(row), rows.seqOf(row) * JUST_BELOW);
  }

  /** Points `slot` at a row; nothing is copied, and the views stay valid for as long as they are held. */
  readRow(row: number, slot: RowSlot): void {
    fillRow(this.rows, row, slot);
  }

  /** Sequence number of a row. */
  seqOf(row: number): number {
    return this.rows.seqOf(row);
  }

  /** Flags of a row as a table would store them. */
  flagsOf(row: number): number {
    return this.rows.flagsOf(row);
  }

  /** Expiry time of a row in ms; NO_EXPIRY for none. */
  expireTsOf(row: number): number {
    return this.rows.expireTsOf(row);
  }

  /** About how many rows have keys in `[start, end)`; undefined: to the last. Range tombstones are not counted. */
  estimateRows(start: Uint8Array, end: Uint8Array | undefined): number {
    const { tree } = this;
    const until = end === undefined ? 1 : tree.shareBefore(end);
    return Math.max(0, (until - tree.shareBefore(start)) * tree.size);
  }

  /** A cursor over all rows, those inserted later included. It stands nowhere. */
  cursor(): MemtableCursor {
    return new MemtableCursor(this.rows, this.tree);
  }

  /** A copy with only the rows newer than `seq`. Its row ids follow key order, not the order of insertion. */
  filterAfterSeq(seq: number): Memtable {
    const copy = new Memtable();
    const row = this.cursor();
    for (let move = row.first(); move !== END; move = row.next()) {
      if (row.seq <= seq) continue;
      copy.insert(
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
    copy.insertRanges(this.ranges.all().filter((tombstone) => tombstone.seq > seq));
    return copy;
  }

  private sizeOf(row: number): number {
    const rows = this.rows;
    const flags = rows.flagsOf(row);
    return rows.keyLengthOf(row) + rows.valueLengthOf(row) + 8 + ((flags & FLAG_CREATE) === 0 ? 0 : 8) +
      ((flags & FLAG_EXPIRE) === 0 ? 0 : 8);
  }
}
