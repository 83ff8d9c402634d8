/**
 * Unsigned LEB128 numbers of 32 bits: 7 bits a byte, lowest first, top bit set on every byte but the last.
 *
 * At most 5 bytes; overlong forms are read (the format does not forbid them), values of 2 ** 32 and more are not.
 * Reading gives two numbers, the value and where it ended, without an object: the end follows from the value only for
 * the shortest form, so {@linkcode varintEnd} finds it in the bytes.
 *
 * @module
 */

/** Largest encoded length in bytes. */
export const MAX_VARINT_BYTES = 5;

/** Bytes that `value` (0..2 ** 32 - 1) takes in its shortest form. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

/**
 * Writes `value` (0..2 ** 32 - 1) in its shortest form.
 *
 * @returns the position after the last byte written
 */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  while (value >= 0x80) {
    bytes[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  bytes[at++] = value;
  return at;
}

/**
 * The position after the number that starts at `at`.
 *
 * @returns -1 when it does not end before `end`, or within 5 bytes
 */
export function varintEnd(bytes: Uint8Array, at: number, end: number): number {
  const limit = at + MAX_VARINT_BYTES < end ? at + MAX_VARINT_BYTES : end;
  while (at < limit) if (bytes[at++]! < 0x80) return at;
  return -1;
}

/**
 * Reads the number in `bytes[at..end)`, where `end` comes from {@linkcode varintEnd}.
 *
 * @returns 0..2 ** 32 - 1, or -1 when the number needs more than 32 bits
 */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  const last = end - 1;
  if (last === at) return bytes[at]!;
  let value = 0;
  let scale = 1;
  for (let i = at; i <= last; i++) {
    value += (bytes[i]! & 0x7f) * scale;
    scale *= 128;
  }
  return value > 0xffffffff ? -1 : value;
}
