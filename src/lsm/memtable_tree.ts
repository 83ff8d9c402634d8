/**
 * The order of a memtable: a B+tree over row ids in flat typed arrays, user key ascending, then sequence descending.
 *
 * A slot is 8 key bytes as two sign-flipped int32 plus the row's id, so most comparisons touch no key at all. The 8
 * bytes are taken after the prefix that all keys of the table share (`skip`); a key that shares less makes the words
 * be taken anew, at most {@linkcode MAX_REBUILDS} times for a tree of more than one leaf, then `skip` is 0 for good.
 *
 * Invariants:
 * - every leaf holds 1..64 slots in strictly ascending order, and leaves are linked in that order;
 * - separator `i` of an inner node is <= every entry below child `i` and > every entry below child `i - 1`
 *   (separator 0 is never read);
 * - nothing is removed, so a row id that was found once can be found again by its key and sequence number.
 *
 * @module
 */
import { commonPrefixLength, compareSlices, keyWord } from "../bytes/compare.ts";
import type { RowArena } from "./arena.ts";
import { grown, InnerNodes, PLACE_BITS, SLOT_BITS, SLOTS } from "./memtable_nodes.ts";

const MAX_HEIGHT = 16;

/** How often the words of a tree of more than one leaf are taken anew before the common prefix is given up. */
export const MAX_REBUILDS = 8;

/** A B+tree whose entries are rows of a {@linkcode RowArena}. */
export class MemtableTree {
  /** Counts changes: a cursor whose count differs has to find its place again. */
  changes: number = 0;
  /** Number of entries. */
  size: number = 0;
  /** Bytes held by the tree. */
  memoryBytes: number = 0;
  /** Leading key bytes that the words leave out, common to all keys. */
  skip: number = 0;
  /** @internal */
  rows: RowArena;
  /** @internal */
  leafHi: Int32Array = new Int32Array(SLOTS);
  /** @internal */
  leafLo: Int32Array = new Int32Array(SLOTS);
  /** @internal */
  leafRow: Int32Array = new Int32Array(SLOTS);
  /** @internal Per leaf: number of slots used. */
  leafCount: Int32Array = new Int32Array(1);
  /** @internal Per leaf: next leaf, or -1. */
  leafNext: Int32Array = new Int32Array(1).fill(-1);
  /** @internal Per leaf: previous leaf, or -1. */
  leafPrev: Int32Array = new Int32Array(1).fill(-1);
  /** @internal The last leaf. */
  tail: number = 0;

  // The search key, set by `aim`: fields, because every step of a search may need them and few do.
  private targetBytes: Uint8Array = new Uint8Array(0);
  private targetStart = 0;
  private targetEnd = 0;
  private targetSeq = 0;
  private targetHi = 0;
  private targetLo = 0;

  private leaves = 1;
  private inner: InnerNodes = new InnerNodes();
  private root = 0;
  private height = 0;
  private pathNode: Int32Array = new Int32Array(MAX_HEIGHT);
  private pathSlot: Int32Array = new Int32Array(MAX_HEIGHT);
  private rebuilds = 0;
  private prefixGivenUp = false;
  // The first key, which the prefix is a part of: the arena's bytes of it stay what they are.
  private prefixBytes: Uint8Array = new Uint8Array(0);
  private prefixAt = 0;

  constructor(rows: RowArena) {
    this.rows = rows;
    this.countMemory();
  }

  /**
   * Adds a row that the arena holds already.
   *
   * @returns -1, or the row that has the same key and sequence number already; then nothing was added
   */
  insert(row: number): number {
    const rows = this.rows;
    const bytes = rows.bytesOf(row);
    const keyStart = rows.keyStartOf(row);
    const keyEnd = keyStart + rows.keyLengthOf(row);
    if (this.skip > 0 || this.size === 0) this.keepPrefix(bytes, keyStart, keyEnd);
    this.aim(bytes, keyStart, keyEnd, rows.seqOf(row));
    const hi = this.targetHi;
    const lo = this.targetLo;
    this.changes++;

    const tail = this.tail;
    const tailCount = this.leafCount[tail]!;
    if (tailCount > 0 && tailCount < SLOTS) {
      const last = (tail << SLOT_BITS) + tailCount - 1;
      if (this.slotBefore(last)) {
        this.leafHi[last + 1] = hi;
        this.leafLo[last + 1] = lo;
        this.leafRow[last + 1] = row;
        this.leafCount[tail] = tailCount + 1;
        this.size++;
        return -1;
      }
    }
    const leaf = this.descend();
    const at = this.slotIn(leaf);
    const base = leaf << SLOT_BITS;
    const count = this.leafCount[leaf]!;
    if (at < count && this.leafHi[base + at] === hi && this.leafLo[base + at] === lo) {
      const there = this.leafRow[base + at]!;
      if (this.compareTie(there) === 0) return there;
    }
    this.size++;
    if (count < SLOTS) this.insertSlot(leaf, at, hi, lo, row);
    else this.insertSplitting(leaf, at, hi, lo, row);
    return -1;
  }

  /**
   * Position of the first entry at or after (key, seq) in internal order: `leaf << 7 | slot`.
   *
   * The slot may be one past the leaf's last one: then the entry is the first of the next leaf, if there is one.
   */
  seek(bytes: Uint8Array, keyStart: number, keyEnd: number, seq: number): number {
    const outside = this.skip === 0 ? 0 : this.outsidePrefix(bytes, keyStart, keyEnd);
    if (outside < 0) return 0;
    if (outside > 0) return (this.tail << PLACE_BITS) + this.leafCount[this.tail]!;
    this.aim(bytes, keyStart, keyEnd, seq);
    const leaf = this.descend();
    return (leaf << PLACE_BITS) + this.slotIn(leaf);
  }

  /** About what part of the entries has keys below `key`, 0 to 1: as if all nodes of a level held equally many. */
  shareBefore(key: Uint8Array): number {
    const outside = this.skip === 0 ? 0 : this.outsidePrefix(key, 0, key.length);
    if (outside !== 0 || this.size === 0) return outside <= 0 ? 0 : 1;
    this.aim(key, 0, key.length, Infinity);
    const leaf = this.descend();
    let share = this.slotIn(leaf) / this.leafCount[leaf]!;
    for (let level = 1; level <= this.height; level++) {
      share = (this.pathSlot[level]! + share) / this.inner.count[this.pathNode[level]!]!;
    }
    return share;
  }

  /** Row of the first entry at or after (key, seq) if it has this key, else -1. */
  find(bytes: Uint8Array, keyStart: number, keyEnd: number, seq: number): number {
    if (this.skip > 0 && this.outsidePrefix(bytes, keyStart, keyEnd) !== 0) return -1;
    this.aim(bytes, keyStart, keyEnd, seq);
    let leaf = this.descend();
    let at = this.slotIn(leaf);
    if (at === this.leafCount[leaf]) {
      leaf = this.leafNext[leaf]!;
      if (leaf < 0) return -1;
      at = 0;
    }
    const slot = (leaf << SLOT_BITS) + at;
    if (this.leafHi[slot] !== this.targetHi || this.leafLo[slot] !== this.targetLo) return -1;
    const row = this.leafRow[slot]!;
    return this.compareKey(row) === 0 ? row : -1;
  }

  /** -1 / 1 when the key lies before / after every key of the table because it lacks their prefix, else 0. */
  private outsidePrefix(bytes: Uint8Array, keyStart: number, keyEnd: number): number {
    const first = this.prefixBytes;
    const at = this.prefixAt;
    const shared = commonPrefixLength(first, at, at + this.skip, bytes, keyStart, keyEnd);
    if (shared === this.skip) return 0;
    return keyStart + shared === keyEnd || bytes[keyStart + shared]! < first[at + shared]! ? -1 : 1;
  }

  /** Makes (key, seq) the target of the searches that follow. The key has the common prefix. */
  private aim(bytes: Uint8Array, keyStart: number, keyEnd: number, seq: number): void {
    this.targetBytes = bytes;
    this.targetStart = keyStart;
    this.targetEnd = keyEnd;
    this.targetSeq = seq;
    this.targetHi = keyWord(bytes, keyStart + this.skip, keyEnd);
    this.targetLo = keyWord(bytes, keyStart + this.skip + 4, keyEnd);
  }

  /** Orders the key of an entry whose words equal the target's against the target's key. */
  private compareKey(row: number): number {
    const rows = this.rows;
    const rowStart = rows.keyStartOf(row);
    const rowEnd = rowStart + rows.keyLengthOf(row);
    const skip = this.skip;
    const start = this.targetStart + skip;
    return compareSlices(rows.bytesOf(row), rowStart + skip, rowEnd, this.targetBytes, start, this.targetEnd);
  }

  /** Orders an entry whose words equal the target's against the target. */
  private compareTie(row: number): number {
    const order = this.compareKey(row);
    if (order !== 0) return order;
    const seq = this.rows.seqOf(row);
    return seq === this.targetSeq ? 0 : seq > this.targetSeq ? -1 : 1;
  }

  private slotBefore(slot: number): boolean {
    const hi = this.leafHi[slot]!;
    if (hi !== this.targetHi) return hi < this.targetHi;
    const lo = this.leafLo[slot]!;
    if (lo !== this.targetLo) return lo < this.targetLo;
    return this.compareTie(this.leafRow[slot]!) < 0;
  }

  /** First slot of the leaf whose entry is at or after the target. */
  private slotIn(leaf: number): number {
    const his = this.leafHi;
    const hi = this.targetHi;
    const base = leaf << SLOT_BITS;
    let at = base;
    let left = this.leafCount[leaf]!;
    while (left > 0) {
      const half = left >> 1;
      const middle = at + half;
      const word = his[middle]!;
      if (word < hi || (word === hi && this.slotBefore(middle))) {
        at = middle + 1;
        left -= half + 1;
      } else {
        left = half;
      }
    }
    return at - base;
  }

  /** The leaf where the target belongs; leaves the way to it in the path arrays. */
  private descend(): number {
    const inner = this.inner;
    const his = inner.hi;
    const hi = this.targetHi;
    const pathNode = this.pathNode;
    const pathSlot = this.pathSlot;
    let node = this.root;
    for (let level = this.height; level > 0; level--) {
      const base = node << SLOT_BITS;
      let at = base + 1;
      let left = inner.count[node]! - 1;
      while (left > 0) {
        const half = left >> 1;
        const middle = at + half;
        const word = his[middle]!;
        if (word < hi || (word === hi && !this.innerAfter(middle))) {
          at = middle + 1;
          left -= half + 1;
        } else {
          left = half;
        }
      }
      pathNode[level] = node;
      pathSlot[level] = at - base - 1;
      node = inner.child[at - 1]!;
    }
    return node;
  }

  /** Whether a separator whose first word equals the target's comes after the target. */
  private innerAfter(slot: number): boolean {
    const lo = this.inner.lo[slot]!;
    if (lo !== this.targetLo) return lo > this.targetLo;
    return this.compareTie(this.inner.row[slot]!) > 0;
  }

  private insertSlot(leaf: number, at: number, hi: number, lo: number, row: number): void {
    const his = this.leafHi;
    const los = this.leafLo;
    const rows = this.leafRow;
    const base = leaf << SLOT_BITS;
    const count = this.leafCount[leaf]!;
    const slot = base + at;
    for (let i = base + count; i > slot; i--) {
      his[i] = his[i - 1]!;
      los[i] = los[i - 1]!;
      rows[i] = rows[i - 1]!;
    }
    his[slot] = hi;
    los[slot] = lo;
    rows[slot] = row;
    this.leafCount[leaf] = count + 1;
  }

  private insertSplitting(leaf: number, at: number, hi: number, lo: number, row: number): void {
    // Rows that arrive in order fill their leaves: at the very end the full leaf stays as it is.
    const keep = leaf === this.tail && at === SLOTS ? SLOTS : SLOTS >> 1;
    const right = this.newLeaf();
    const from = (leaf << SLOT_BITS) + keep;
    const to = right << SLOT_BITS;
    const moved = SLOTS - keep;
    this.leafHi.copyWithin(to, from, from + moved);
    this.leafLo.copyWithin(to, from, from + moved);
    this.leafRow.copyWithin(to, from, from + moved);
    this.leafCount[leaf] = keep;
    this.leafCount[right] = moved;
    const next = this.leafNext[leaf]!;
    this.leafNext[leaf] = right;
    this.leafPrev[right] = leaf;
    this.leafNext[right] = next;
    if (next >= 0) this.leafPrev[next] = right;
    else this.tail = right;
    if (at < keep) this.insertSlot(leaf, at, hi, lo, row);
    else this.insertSlot(right, at - keep, hi, lo, row);
    this.insertSeparator(1, this.leafHi[to]!, this.leafLo[to]!, this.leafRow[to]!, right);
  }

  private insertSeparator(level: number, hi: number, lo: number, row: number, child: number): void {
    const inner = this.inner;
    if (level > this.height) {
      const root = inner.create();
      inner.insert(root, 0, 0, 0, 0, this.root);
      inner.insert(root, 1, hi, lo, row, child);
      this.root = root;
      this.height = level;
      this.countMemory();
      return;
    }
    const node = this.pathNode[level]!;
    const at = this.pathSlot[level]! + 1;
    if (inner.count[node]! < SLOTS) {
      inner.insert(node, at, hi, lo, row, child);
      return;
    }
    // As with leaves: a node that grows at its end stays nearly full.
    const keep = at === SLOTS ? SLOTS - 1 : SLOTS >> 1;
    const right = inner.split(node, keep);
    if (at < keep) inner.insert(node, at, hi, lo, row, child);
    else inner.insert(right, at - keep, hi, lo, row, child);
    const first = right << SLOT_BITS;
    this.countMemory();
    this.insertSeparator(level + 1, inner.hi[first]!, inner.lo[first]!, inner.row[first]!, right);
  }

  private newLeaf(): number {
    const leaf = this.leaves++;
    if (leaf === this.leafCount.length) {
      const leaves = leaf * 2;
      this.leafHi = grown(this.leafHi, leaves << SLOT_BITS);
      this.leafLo = grown(this.leafLo, leaves << SLOT_BITS);
      this.leafRow = grown(this.leafRow, leaves << SLOT_BITS);
      this.leafCount = grown(this.leafCount, leaves);
      this.leafNext = grown(this.leafNext, leaves);
      this.leafPrev = grown(this.leafPrev, leaves);
      this.countMemory();
    }
    return leaf;
  }

  private countMemory(): void {
    this.memoryBytes = this.leafCount.length * (SLOTS * 12 + 12) + this.inner.memoryBytes;
  }

  /** Shortens the prefix that the words leave out if the key does not share all of it. */
  private keepPrefix(bytes: Uint8Array, keyStart: number, keyEnd: number): void {
    if (this.size === 0) {
      this.skip = this.prefixGivenUp ? 0 : keyEnd - keyStart;
      this.prefixBytes = bytes;
      this.prefixAt = keyStart;
      return;
    }
    const at = this.prefixAt;
    const shared = commonPrefixLength(this.prefixBytes, at, at + this.skip, bytes, keyStart, keyEnd);
    if (shared === this.skip) return;
    if (this.height > 0 && ++this.rebuilds > MAX_REBUILDS) this.prefixGivenUp = true;
    this.skip = this.prefixGivenUp ? 0 : shared;
    this.takeWords(this.leafHi, this.leafLo, this.leafRow, this.leafCount, this.leaves);
    const inner = this.inner;
    this.takeWords(inner.hi, inner.lo, inner.row, inner.count, inner.size);
  }

  private takeWords(his: Int32Array, los: Int32Array, refs: Int32Array, counts: Int32Array, nodes: number): void {
    const rows = this.rows;
    for (let node = 0; node < nodes; node++) {
      const base = node << SLOT_BITS;
      for (let slot = base; slot < base + counts[node]!; slot++) {
        const row = refs[slot]!;
        const bytes = rows.bytesOf(row);
        const start = rows.keyStartOf(row);
        const end = start + rows.keyLengthOf(row);
        his[slot] = keyWord(bytes, start + this.skip, end);
        los[slot] = keyWord(bytes, start + this.skip + 4, end);
      }
    }
  }
}
