/**
 * Order, equality and prefixes of byte strings.
 *
 * Keys are ordered by unsigned bytes, a shorter key before every longer one that starts with it. Everything works on
 * slices `[start, end)` of larger arrays so that the hot loops never make a view. The order of two keys is decided by
 * two int32 words first (`keyWord`) and by a byte loop only when these are equal.
 *
 * @module
 */

const encoder = new TextEncoder();

/** int32 of up to four key bytes from `at`, zero padded, sign-flipped: signed order is byte order. */
export function keyWord(bytes: Uint8Array, at: number, end: number): number {
  const left = end - at;
  if (left >= 4) {
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) ^ -0x80000000;
  }
  let word = 0;
  if (left > 0) word |= bytes[at]! << 24;
  if (left > 1) word |= bytes[at + 1]! << 16;
  if (left > 2) word |= bytes[at + 2]! << 8;
  return word ^ -0x80000000;
}

/**
 * Orders `a[aStart..aEnd)` and `b[bStart..bEnd)` by unsigned bytes.
 *
 * @returns negative, zero or positive, as `Array.prototype.sort` wants
 */
export function compareSlices(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart;
  const bLength = bEnd - bStart;
  const length = aLength < bLength ? aLength : bLength;
  for (let i = 0; i < length; i++) {
    const difference = a[aStart + i]! - b[bStart + i]!;
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}

/** Orders two byte strings by unsigned bytes. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareSlices(a, 0, a.length, b, 0, b.length);
}

/** Whether two byte strings are the same. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  const length = a.length;
  if (length !== b.length) return false;
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** How many bytes `a[aStart..aEnd)` and `b[bStart..bEnd)` have in common at their beginnings. */
export function commonPrefixLength(
  a: Uint8Array,
  aStart: number,
  aEnd: number,
  b: Uint8Array,
  bStart: number,
  bEnd: number,
): number {
  const aLength = aEnd - aStart;
  const bLength = bEnd - bStart;
  const length = aLength < bLength ? aLength : bLength;
  let i = 0;
  while (i < length && a[aStart + i] === b[bStart + i]) i++;
  return i;
}

/** The bytes that `value` stands for: a string's UTF-8, or the array itself (not a copy). */
export function toBytes(value: Uint8Array | string): Uint8Array {
  return typeof value === "string" ? encoder.encode(value) : value;
}

/**
 * The smallest byte string greater than every one that starts with `prefix`.
 *
 * @returns undefined when there is none (empty prefix, or nothing but 0xff), which means "to the end"
 */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return undefined;
  const end = prefix.slice(0, length);
  end[length - 1] = end[length - 1]! + 1;
  return end;
}
