/**
 * The rows of WAL objects on their way into memtables, for the writer that takes over and for who only looks.
 *
 * Nothing here waits or asks a store. Damage is thrown as `FormatError`; the caller knows the object's name.
 *
 * Invariants: R1 memtables are cut only between batches, inside a WAL object only when it is larger than memory should
 * hold or has more range tombstones than a memtable takes; nothing is damaged in an object that is cut.
 *
 * @module
 */
import { DataError } from "../errors.ts";
import { walPath } from "../format/paths.ts";
import { tombstoneOf } from "../format/range_section.ts";
import type { Manifest } from "../format/types.ts";
import { WalRows } from "../format/wal_sst.ts";
import type { Memtable } from "../lsm/memtable.ts";
import { isFull } from "../lsm/memtable_limits.ts";

/** Rows of a WAL object beyond this go to further memtables, cut between batches; our own objects are smaller. */
const OVERSIZE_WAL_BYTES = 512 * 1024 * 1024;

/** A stored WAL object, as listed. */
export interface WalObject {
  readonly id: number;
  readonly size: number;
}

/** The first id above `after` that is missing among `objects` (ascending); undefined when they leave no hole. */
export function firstMissing(objects: ReadonlyArray<WalObject>, after: number): number | undefined {
  const hole = objects.findIndex(({ id }, i) => id !== after + 1 + i);
  return hole < 0 ? undefined : after + 1 + hole;
}

/** The error of a log that lacks an object. */
export function walGap(root: string, id: number): DataError {
  return new DataError({
    object: walPath(root, id),
    section: "wal",
    offset: 0,
    reason: "wal-gap",
    detail: "the write-ahead log has a hole; writes in it are lost. Restore the object, or read a checkpoint",
  });
}

/** A WAL object under replay. */
export class WalReplay {
  readonly #rows: WalRows;
  readonly #body: Uint8Array;
  readonly #lastL0Seq: number;
  #ascends: boolean | undefined = undefined;
  /** Whether the current row was read but not inserted. */
  #held = false;
  #tick: number;
  /** Largest sequence number met, 0 for none. */
  lastSeq = 0;

  /**
   * @param rows the opened object
   * @param body its bytes
   * @param manifest says which rows are in tables already
   */
  constructor(rows: WalRows, body: Uint8Array, manifest: Manifest) {
    this.#rows = rows;
    this.#body = body;
    this.#lastL0Seq = manifest.lastL0Seq;
    this.#tick = manifest.lastL0ClockTick;
  }

  /**
   * Inserts rows that are not in tables yet. Answers false when `memtable` is full and a new batch begins: the rest goes
   * to the next memtable.
   *
   * @throws FormatError
   */
  insertInto(memtable: Memtable): boolean {
    const rows = this.#rows;
    while (this.#held || rows.next()) {
      // What an earlier attempt inserted goes where it is, a second time.
      const mayCut = !this.#held && rows.seq > Math.max(this.lastSeq, memtable.lastSeq);
      if (mayCut && isFull(memtable, OVERSIZE_WAL_BYTES) && this.#isAscending()) {
        this.#held = true;
        this.#sample(memtable);
        return false;
      }
      this.#held = false;
      this.lastSeq = Math.max(this.lastSeq, rows.seq);
      if (rows.seq > this.#lastL0Seq) this.#insert(memtable);
    }
    this.#sample(memtable);
    return true;
  }

  #insert(memtable: Memtable): void {
    const rows = this.#rows;
    this.#tick = Math.max(this.#tick, rows.createTs);
    const tombstone = tombstoneOf(rows);
    if (tombstone !== undefined) return memtable.insertRange(tombstone);
    memtable.insert(
      rows.keyBytes,
      rows.keyStart,
      rows.keyEnd,
      rows.seq,
      rows.flags,
      rows.createTs,
      rows.expireTs,
      rows.valueBytes,
      rows.valueStart,
      rows.valueEnd,
    );
  }

  /** Samples when the object's last row so far was written. */
  #sample(memtable: Memtable): void {
    if (this.lastSeq > this.#lastL0Seq && Number.isFinite(this.#tick)) {
      memtable.tracker.record(this.lastSeq, Math.floor(this.#tick / 1000));
    }
  }

  /**
   * Whether the rows stand in sequence order, as this engine and 0.12.1 write them; those of older ones may not. Reads
   * all of them, so that damage shows before anything is cut.
   */
  #isAscending(): boolean {
    return this.#ascends ??= inSequenceOrder(this.#body);
  }
}

/** Reads all rows of an object once. */
function inSequenceOrder(body: Uint8Array): boolean {
  const rows = new WalRows(body);
  let last = 0;
  while (rows.next()) {
    if (rows.seq < last) return false;
    last = rows.seq;
  }
  return true;
}
