/**
 * The inner nodes of a memtable's B+tree: up to 64 children each, in flat typed arrays that grow by doubling.
 *
 * Slot `node << 6 | i` holds child `i` and the separator before it: two words of its key and the row that it was taken
 * from, which decides when the words are equal. Separator 0 of a node is never read. Nodes are only ever added.
 *
 * @module
 */

/** log2 of {@linkcode SLOTS}. */
export const SLOT_BITS = 6;
/** Slots of a node, leaf or inner. */
export const SLOTS: number = 1 << SLOT_BITS;
/** Bits of the slot in a place `leaf << 7 | slot`: one more than a slot needs, since it may be one past the last. */
export const PLACE_BITS: number = SLOT_BITS + 1;
/** Mask of the slot in a place. */
export const PLACE_MASK: number = (1 << PLACE_BITS) - 1;

/** A longer copy, zero filled. */
export function grown(array: Int32Array, length: number): Int32Array {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}

/** Storage of inner nodes. */
export class InnerNodes {
  /** Number of nodes. */
  size: number = 0;
  /** First word of each separator. */
  hi: Int32Array = new Int32Array(0);
  /** Second word of each separator. */
  lo: Int32Array = new Int32Array(0);
  /** Row that each separator was taken from. */
  row: Int32Array = new Int32Array(0);
  /** Child of each slot: a leaf at the lowest level, else an inner node. */
  child: Int32Array = new Int32Array(0);
  /** Children of each node. */
  count: Int32Array = new Int32Array(0);

  /** Bytes held. */
  get memoryBytes(): number {
    return this.count.length * (SLOTS * 16 + 4);
  }

  /** Adds a node without children. */
  create(): number {
    const node = this.size++;
    if (node === this.count.length) {
      const nodes = node === 0 ? 1 : node * 2;
      this.hi = grown(this.hi, nodes << SLOT_BITS);
      this.lo = grown(this.lo, nodes << SLOT_BITS);
      this.row = grown(this.row, nodes << SLOT_BITS);
      this.child = grown(this.child, nodes << SLOT_BITS);
      this.count = grown(this.count, nodes);
    }
    return node;
  }

  /** Adds a child to a node that has room. */
  insert(node: number, at: number, hi: number, lo: number, row: number, child: number): void {
    const slot = (node << SLOT_BITS) + at;
    const end = (node << SLOT_BITS) + this.count[node]!;
    this.hi.copyWithin(slot + 1, slot, end);
    this.lo.copyWithin(slot + 1, slot, end);
    this.row.copyWithin(slot + 1, slot, end);
    this.child.copyWithin(slot + 1, slot, end);
    this.hi[slot] = hi;
    this.lo[slot] = lo;
    this.row[slot] = row;
    this.child[slot] = child;
    this.count[node]!++;
  }

  /** Moves the children from `keep` on to a new node, which is answered. */
  split(node: number, keep: number): number {
    const right = this.create();
    const from = (node << SLOT_BITS) + keep;
    const to = right << SLOT_BITS;
    const moved = this.count[node]! - keep;
    this.hi.copyWithin(to, from, from + moved);
    this.lo.copyWithin(to, from, from + moved);
    this.row.copyWithin(to, from, from + moved);
    this.child.copyWithin(to, from, from + moved);
    this.count[node] = keep;
    this.count[right] = moved;
    return right;
  }
}
