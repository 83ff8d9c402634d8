/**
 * Walks a memtable in both directions while it grows.
 *
 * The cursor remembers its row, not its place: when the tree has changed since the last move, the place is looked up
 * again by the row's key and sequence number, which never leave the tree. So rows inserted between two moves are met
 * if they lie ahead in the direction of the walk, and none is met twice. What a reader may see of them is for its
 * sequence number to decide. Moves never answer `PENDING`.
 *
 * @module
 */
import { FLAG_EXPIRE, NO_EXPIRY } from "../format/types.ts";
import type { RowArena } from "./arena.ts";
import { type Cursor, END, keyWord, type Move, type Need, READY } from "./cursor.ts";
import { PLACE_BITS, PLACE_MASK, SLOT_BITS } from "./memtable_nodes.ts";
import type { MemtableTree } from "./memtable_tree.ts";

/** Fields of one row; every {@linkcode Cursor} is one. */
export type RowSlot = Pick<
  Cursor,
  | "keyBytes"
  | "keyStart"
  | "keyEnd"
  | "keyHi"
  | "keyLo"
  | "seq"
  | "flags"
  | "createTs"
  | "expireTs"
  | "valueBytes"
  | "valueStart"
  | "valueEnd"
>;

/** Points `slot` at a row; nothing is copied. The views stay valid for as long as they are held. */
export function fillRow(rows: RowArena, row: number, slot: RowSlot): void {
  const bytes = rows.bytesOf(row);
  const keyStart = rows.keyStartOf(row);
  const keyEnd = keyStart + rows.keyLengthOf(row);
  slot.keyBytes = bytes;
  slot.keyStart = keyStart;
  slot.keyEnd = keyEnd;
  slot.keyHi = keyWord(bytes, keyStart, keyEnd);
  slot.keyLo = keyWord(bytes, keyStart + 4, keyEnd);
  slot.seq = rows.seqOf(row);
  const flags = rows.flagsOf(row);
  slot.flags = flags;
  slot.createTs = rows.createTsOf(row);
  slot.expireTs = (flags & FLAG_EXPIRE) === 0 ? NO_EXPIRY : rows.expireTsOf(row);
  slot.valueBytes = bytes;
  slot.valueStart = keyEnd;
  slot.valueEnd = keyEnd + rows.valueLengthOf(row);
}

/** A {@linkcode Cursor} over a live memtable. */
export class MemtableCursor implements Cursor {
  keyBytes: Uint8Array = new Uint8Array(0);
  keyStart: number = 0;
  keyEnd: number = 0;
  keyHi: number = 0;
  keyLo: number = 0;
  seq: number = 0;
  flags: number = 0;
  createTs: number = 0;
  expireTs: number = NO_EXPIRY;
  valueBytes: Uint8Array = this.keyBytes;
  valueStart: number = 0;
  valueEnd: number = 0;
  /** Id of the current row. */
  row: number = -1;

  private readonly rows: RowArena;
  private readonly tree: MemtableTree;
  private leaf = 0;
  private slot = 0;
  private changes = -1;
  /** Result of the loads that warm the cache, kept so that they are not optimised away. */
  private touched = 0;

  constructor(rows: RowArena, tree: MemtableTree) {
    this.rows = rows;
    this.tree = tree;
  }

  first(): Move {
    return this.stand(0, 0);
  }

  last(): Move {
    const { tree } = this;
    return this.stand(tree.tail, tree.leafCount[tree.tail]! - 1);
  }

  seekGE(key: Uint8Array): Move {
    const place = this.tree.seek(key, 0, key.length, Infinity);
    return this.stand(place >>> PLACE_BITS, place & PLACE_MASK);
  }

  seekLT(key: Uint8Array): Move {
    const place = this.tree.seek(key, 0, key.length, Infinity);
    return this.stand(place >>> PLACE_BITS, (place & PLACE_MASK) - 1);
  }

  next(): Move {
    if (this.changes !== this.tree.changes) this.findAgain();
    return this.stand(this.leaf, this.slot + 1);
  }

  prev(): Move {
    if (this.changes !== this.tree.changes) this.findAgain();
    return this.stand(this.leaf, this.slot - 1);
  }

  collectNeeds(_into: Need[]): void {}

  private findAgain(): void {
    const place = this.tree.seek(this.keyBytes, this.keyStart, this.keyEnd, this.seq);
    this.leaf = place >>> PLACE_BITS;
    this.slot = place & PLACE_MASK;
  }

  /** Stands on a slot; one before the first or after the last slot of a leaf means the neighbour leaf's. */
  private stand(leaf: number, slot: number): Move {
    const { tree } = this;
    if (slot < 0) {
      leaf = tree.leafPrev[leaf]!;
      if (leaf < 0) return END;
      slot = tree.leafCount[leaf]! - 1;
      this.touched = this.rows.touch(tree.leafRow, leaf << SLOT_BITS, slot + 1);
    } else if (slot === tree.leafCount[leaf]) {
      leaf = tree.leafNext[leaf]!;
      if (leaf < 0) return END;
      slot = 0;
      this.touched = this.rows.touch(tree.leafRow, leaf << SLOT_BITS, tree.leafCount[leaf]!);
    }
    this.leaf = leaf;
    this.slot = slot;
    this.changes = tree.changes;
    this.row = tree.leafRow[(leaf << SLOT_BITS) + slot]!;
    fillRow(this.rows, this.row, this);
    return READY;
  }
}
