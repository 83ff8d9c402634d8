/**
 * SipHash-1-3 with the key 0/0, the hash of the format's bloom filters.
 *
 * After "SipHash: a fast short-input PRF" (Aumasson, Bernstein 2012) with one compression and three finalization
 * rounds. The 64-bit lanes are pairs of 32-bit halves in local variables: BigInt is twenty times slower, and the
 * probe loop of the filter wants the halves anyway. It is no protection against chosen keys, since the key is fixed.
 *
 * @module
 */

/**
 * Hashes `bytes[start..end)`.
 *
 * @param out receives the 64-bit hash as `[low 32 bits, high 32 bits]`
 */
export function sipHash13(bytes: Uint8Array, start: number, end: number, out: Uint32Array): void {
  // "somepseudorandomlygeneratedbytes", the initial state for the key 0/0.
  let a = 0x70736575, A = 0x736f6d65, b = 0x6e646f6d, B = 0x646f7261;
  let c = 0x6e657261, C = 0x6c796765, d = 0x79746573, D = 0x74656462;
  // Message words, the last one with the length, then three rounds that absorb nothing.
  const words = (end - start) >>> 3;
  let at = start;
  for (let step = 0; step < words + 4; step++) {
    let low = 0, high = 0;
    if (step < words) {
      low = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      high = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
      at += 8;
    } else if (step === words) {
      high = (end - start) << 24;
      for (let i = 0; at + i < end; i++) {
        if (i < 4) low |= bytes[at + i]! << (8 * i);
        else high |= bytes[at + i]! << (8 * (i - 4));
      }
    } else if (step === words + 1) c ^= 0xff;
    d ^= low;
    D ^= high;
    // Carries are computed, not branched on: they are random, and a wrong guess costs more than the whole round.
    let sum = (a + b) | 0;
    A = (A + B + (((a & b) | ((a | b) & ~sum)) >>> 31)) | 0;
    a = sum;
    let turned = (b << 13) | (B >>> 19);
    B = ((B << 13) | (b >>> 19)) ^ A;
    b = turned ^ a;
    turned = a;
    a = A;
    A = turned;
    sum = (c + d) | 0;
    C = (C + D + (((c & d) | ((c | d) & ~sum)) >>> 31)) | 0;
    c = sum;
    turned = (d << 16) | (D >>> 16);
    D = ((D << 16) | (d >>> 16)) ^ C;
    d = turned ^ c;
    sum = (a + d) | 0;
    A = (A + D + (((a & d) | ((a | d) & ~sum)) >>> 31)) | 0;
    a = sum;
    turned = (d << 21) | (D >>> 11);
    D = ((D << 21) | (d >>> 11)) ^ A;
    d = turned ^ a;
    sum = (c + b) | 0;
    C = (C + B + (((c & b) | ((c | b) & ~sum)) >>> 31)) | 0;
    c = sum;
    turned = (b << 17) | (B >>> 15);
    B = ((B << 17) | (b >>> 15)) ^ C;
    b = turned ^ c;
    turned = c;
    c = C;
    C = turned;
    a ^= low;
    A ^= high;
  }
  out[0] = a ^ b ^ c ^ d;
  out[1] = A ^ B ^ C ^ D;
}
