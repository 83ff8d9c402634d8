/**
 * The sequence numbers that open snapshots and iterators may still read: flush and compaction keep what they need.
 *
 * A snapshot registers its own number and its frozen durable bound (K-21), and counts until it is released. A scan or cursor takes a lease (K-28): it counts while it is in use, and is given up for good when nobody has
 * touched it for {@linkcode LEASE_IDLE_MILLIS}, or when there are more than {@linkcode LEASES_MAX}. Leases cost no request
 * and no timer: they are looked at when somebody asks for the oldest number.
 *
 * Invariant: V3 the versions of an iterator in use are kept, and what was given up never counts again. The numbers that
 * manifests protect therefore never go back, and a manifest tells truly whether a read at some number can be answered.
 *
 * @module
 */

/** After so long without use an iterator is no longer protected, ms. */
export const LEASE_IDLE_MILLIS: number = 60 * 60_000;
/** Iterators that are protected at once; beyond that those used longest ago are given up. */
export const LEASES_MAX = 10_000;

/** The protection of one scan or cursor. */
export interface Lease {
  /** The sequence number that it protects. */
  readonly seq: number;
  /** Says that the iterator is in use. */
  readonly touch: () => void;
  /** Ends the protection; a second call does nothing. */
  readonly release: () => void;
}

/** Knows by the oldest sequence number what each open snapshot and iterator protects. */
export class SnapshotRegistry {
  readonly #open = new Map<number, number>();
  readonly #leases = new Set<OpenLease>();

  /** Number of open snapshots. */
  size = 0;

  /** Number of leases that have not ended. */
  get leases(): number {
    return this.#leases.size;
  }

  /** Protects the numbers that a snapshot reads at; answers the function that ends the protection (once). */
  register(...seqs: ReadonlyArray<number>): () => void {
    this.size++;
    for (const seq of seqs) this.#open.set(seq, (this.#open.get(seq) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.size--;
      for (const seq of seqs) {
        const left = this.#open.get(seq)! - 1;
        if (left === 0) this.#open.delete(seq);
        else this.#open.set(seq, left);
      }
    };
  }

  /** Protects what a read at `seq` needs for as long as it is in use. @param now wall time, ms */
  lease(seq: number, now: () => number): Lease {
    if (this.#leases.size >= LEASES_MAX) this.#giveUpHalf();
    const lease = new OpenLease(this.#leases, Math.floor(seq), now);
    this.#leases.add(lease);
    return lease;
  }

  /** The oldest protected sequence number, or `otherwise` when nothing is open. */
  oldest(otherwise: number): number {
    return this.numbers()[0] ?? otherwise;
  }

  /** All protected sequence numbers, ascending, each once. */
  numbers(): number[] {
    const all = new Set(this.#open.keys());
    for (const lease of this.#leases) {
      if (lease.isIdle) lease.release();
      else all.add(lease.seq);
    }
    return [...all].sort((a, b) => a - b);
  }

  /** Whether reads at `seq` are protected. */
  protects(seq: number): boolean {
    return this.numbers().includes(Math.floor(seq));
  }

  #giveUpHalf(): void {
    const byUse = [...this.#leases].sort((a, b) => a.usedMillis - b.usedMillis);
    for (const lease of byUse.slice(0, LEASES_MAX / 2)) lease.release();
  }
}

class OpenLease implements Lease {
  readonly seq: number;
  usedMillis: number;
  readonly #all: Set<OpenLease>;
  readonly #now: () => number;

  constructor(all: Set<OpenLease>, seq: number, now: () => number) {
    this.#all = all;
    this.seq = seq;
    this.#now = now;
    this.usedMillis = now();
  }

  get isIdle(): boolean {
    return this.#now() - this.usedMillis > LEASE_IDLE_MILLIS;
  }

  touch(): void {
    this.usedMillis = this.#now();
  }

  release(): void {
    this.#all.delete(this);
  }
}
