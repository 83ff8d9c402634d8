/**
 * What a set of range tombstones tells of one of its fragments.
 *
 * @module
 */
import { bytesEqual } from "../../src/bytes/compare.ts";
import type { RangeSet } from "../../src/lsm/range_set.ts";

/** The numbers of all tombstones over fragment `i`, newest first. */
export function seqsOver(set: RangeSet, i: number): number[] {
  return set.fragments().flatMap(({ start, seq }) => bytesEqual(start, set.start(i)) ? [seq] : []);
}
