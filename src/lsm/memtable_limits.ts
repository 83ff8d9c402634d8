/**
 * When a memtable takes no more rows: one rule for the writer, its replay, and readers.
 *
 * @module
 */
import type { Memtable } from "./memtable.ts";

/**
 * Range tombstones after which a memtable is full however small it is: where they overlap, its table has up to their
 * number times that of the snapshots and iterators that tell them apart.
 */
export const RANGES_PER_MEMTABLE: number = 2048;

/**
 * Whether the next batch belongs to a further memtable. One without rows is never full.
 *
 * @param maxSstBytes size of a table, bytes
 */
export function isFull(memtable: Memtable, maxSstBytes: number): boolean {
  return memtable.entryCount > 0 &&
    (memtable.estimatedSstBytes >= maxSstBytes || memtable.ranges.count >= RANGES_PER_MEMTABLE);
}
