/**
 * Which WAL objects are stored and up to which sequence number their rows go: decides how far a replay may skip.
 *
 * Invariant W3: a manifest that names tables up to sequence number s carries a replay boundary b such that every row
 * with a greater number lies in a WAL object with an id above b. A smaller b costs replay time, a larger one data
 * (K-4, K-5), so b is computed here, from objects known to be stored, when the tables are published.
 *
 * The ledger also knows which of these objects hold range tombstones: while one of them may be replayed, the gate stands
 * (invariant G2).
 *
 * @module
 */

/** Stored WAL objects above the last published boundary, in order of their ids. */
export class WalLedger {
  /** Id of the newest stored WAL object (fences included); the next one gets this + 1. */
  lastId: number;
  #boundary: number;
  #objects: Array<{ readonly id: number; readonly maxSeq: number; readonly hasRanges: boolean }> = [];
  #maxSeq = 0;

  /** @param replayAfterWalId the boundary of the stored manifest */
  constructor(replayAfterWalId: number) {
    this.#boundary = replayAfterWalId;
    this.lastId = replayAfterWalId;
  }

  /** Number of stored objects above the boundary. */
  get pending(): number {
    return this.#objects.length;
  }

  /**
   * Records that the object `id` is stored.
   *
   * @param lastSeq the largest number among its rows, 0 for none
   * @param hasRanges whether range tombstones are among them
   */
  stored(id: number, lastSeq: number, hasRanges: boolean = false): void {
    if (id <= this.lastId) throw new Error(`WAL object ${id} recorded after ${this.lastId} (invariant W3)`);
    this.lastId = id;
    this.#maxSeq = Math.max(this.#maxSeq, lastSeq);
    this.#objects.push({ id, maxSeq: this.#maxSeq, hasRanges });
  }

  /** Whether an object that is replayed from `boundary` on holds range tombstones. */
  holdsRangesAbove(boundary: number): boolean {
    return this.#objects.some((object) => object.hasRanges && object.id > boundary);
  }

  /** The largest boundary allowed once every row up to `seq` is in published tables. */
  boundaryFor(seq: number): number {
    let boundary = this.#boundary;
    for (const object of this.#objects) {
      if (object.maxSeq > seq) break;
      boundary = object.id;
    }
    return boundary;
  }

  /** Forgets objects at or below a boundary that a stored manifest carries. */
  published(boundary: number): void {
    this.#boundary = Math.max(this.#boundary, boundary);
    this.lastId = Math.max(this.lastId, boundary);
    let keep = 0;
    while (keep < this.#objects.length && this.#objects[keep]!.id <= boundary) keep++;
    this.#objects.splice(0, keep);
  }
}
