/**
 * The rows that benchmarks write: keys of 16 bytes in an order that looks random, values that compress by half.
 *
 * The same number always gives the same row, so that every process of a run works on the same data.
 *
 * @module
 */

/** Bytes of every key. */
export const KEY_BYTES = 16;

/** Spreads 32 bits over all others, so that neighbours end up far apart. */
export function mix(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** The key of row `i`; ascending `i` gives random order. */
export function keyOf(i: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  const view = new DataView(key.buffer);
  view.setUint32(0, mix(i + 1));
  view.setUint32(4, mix(i ^ 0x5bd1e995));
  view.setUint32(12, i);
  return key;
}

/** 64 different values of `bytes` each: half random, half one byte repeated. */
export function makeValues(bytes: number): readonly Uint8Array[] {
  return Array.from({ length: 64 }, (_, which) => {
    const value = new Uint8Array(bytes).fill(which);
    for (let i = 0; i < bytes / 2; i++) value[i] = mix(which * bytes + i);
    return value;
  });
}
