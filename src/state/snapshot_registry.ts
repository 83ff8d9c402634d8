/**
 * The sequence numbers that open snapshots may still read: flush and compaction keep what they need.
 *
 * A snapshot registers the smaller of its own number and its frozen durable bound (K-21).
 *
 * @module
 */

/** Counts open snapshots by the oldest sequence number each protects. */
export class SnapshotRegistry {
  readonly #open = new Map<number, number>();

  /** Number of open snapshots. */
  get size(): number {
    let total = 0;
    for (const count of this.#open.values()) total += count;
    return total;
  }

  /** Protects `seq`; answers the function that ends the protection (once). */
  register(seq: number): () => void {
    this.#open.set(seq, (this.#open.get(seq) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = this.#open.get(seq)! - 1;
      if (left === 0) this.#open.delete(seq);
      else this.#open.set(seq, left);
    };
  }

  /** The oldest protected sequence number, or `otherwise` when no snapshot is open. */
  oldest(otherwise: number): number {
    let min = Infinity;
    for (const seq of this.#open.keys()) min = Math.min(min, seq);
    return min === Infinity ? otherwise : min;
  }
}
