/**
 * Many ranges of one object with few requests: those that touch, overlap or lie close together are read as one.
 *
 * @module
 */
import type { ByteRange } from "../object_store.ts";

/** Ranges further apart than this are read apart: about what one round trip could have carried. */
const GAP_BYTES = 16 << 10;
/** Ranges are not joined beyond this size, so that parts can travel side by side. */
const JOINED_BYTES_MAX = 8 << 20;

/** Ranges that are read with one request. */
export interface JoinedRange extends ByteRange {
  /** Indexes of the ranges asked for. */
  readonly members: ReadonlyArray<number>;
}

/** Joins `ranges`, in ascending order of their places. */
export function joinRanges(ranges: ReadonlyArray<ByteRange>): ReadonlyArray<JoinedRange> {
  const order = ranges.map((_, index) => index).sort((a, b) => ranges[a]!.offset - ranges[b]!.offset);
  const joined: Array<{ offset: number; length: number; members: number[] }> = [];
  for (const index of order) {
    const { offset, length } = ranges[index]!;
    const last = joined.at(-1);
    const end = last === undefined ? 0 : last.offset + last.length;
    const grown = Math.max(end, offset + length) - (last?.offset ?? 0);
    if (last !== undefined && (offset + length <= end || (offset <= end + GAP_BYTES && grown <= JOINED_BYTES_MAX))) {
      last.length = grown;
      last.members.push(index);
    } else {
      joined.push({ offset, length, members: [index] });
    }
  }
  return joined;
}

/** Cuts the bytes of `joined` into those of its members and puts them in their places in `parts`. */
export function cutRanges(
  joined: JoinedRange,
  bytes: Uint8Array,
  ranges: ReadonlyArray<ByteRange>,
  parts: Array<Uint8Array>,
): void {
  const alone = joined.members.length === 1;
  for (const index of joined.members) {
    const { offset, length } = ranges[index]!;
    const from = offset - joined.offset;
    // Copies: what is given out is nobody else's, and one small part must not keep the rest in memory.
    parts[index] = alone ? bytes : bytes.slice(from, from + length);
  }
}
