/**
 * SipHash-1-3 with the key 0/0, the hash of the format's bloom filters.
 *
 * After "SipHash: a fast short-input PRF" (Aumasson, Bernstein 2012) with one compression and three finalization
 * rounds. The 64-bit lanes are pairs of 32-bit halves in local variables: BigInt is twenty times slower, and the
 * probe loop of the filter wants the halves anyway. It is no protection against chosen keys, since the key is fixed.
 *
 * @module
 */

/** State between rounds: v0..v3, each low half then high half. One per module: hashing never yields. */
const state: Int32Array = new Int32Array(8);

/** One message word: xor into v3, one SipRound, xor into v0. A word of `0, 0` with `rounds` > 1 finalizes. */
function absorb(low: number, high: number, rounds: number): void {
  let a = state[0]!, A = state[1]!, b = state[2]!, B = state[3]!;
  let c = state[4]!, C = state[5]!, d = state[6]! ^ low, D = state[7]! ^ high;
  for (let round = 0; round < rounds; round++) {
    let sum = (a >>> 0) + (b >>> 0);
    A = (A + B + (sum > 0xffffffff ? 1 : 0)) | 0;
    a = sum | 0;
    let turned = (b << 13) | (B >>> 19);
    B = ((B << 13) | (b >>> 19)) ^ A;
    b = turned ^ a;
    turned = a;
    a = A;
    A = turned;

    sum = (c >>> 0) + (d >>> 0);
    C = (C + D + (sum > 0xffffffff ? 1 : 0)) | 0;
    c = sum | 0;
    turned = (d << 16) | (D >>> 16);
    D = ((D << 16) | (d >>> 16)) ^ C;
    d = turned ^ c;

    sum = (a >>> 0) + (d >>> 0);
    A = (A + D + (sum > 0xffffffff ? 1 : 0)) | 0;
    a = sum | 0;
    turned = (d << 21) | (D >>> 11);
    D = ((D << 21) | (d >>> 11)) ^ A;
    d = turned ^ a;

    sum = (c >>> 0) + (b >>> 0);
    C = (C + B + (sum > 0xffffffff ? 1 : 0)) | 0;
    c = sum | 0;
    turned = (b << 17) | (B >>> 15);
    B = ((B << 17) | (b >>> 15)) ^ C;
    b = turned ^ c;
    turned = c;
    c = C;
    C = turned;
  }
  state[0] = a ^ low;
  state[1] = A ^ high;
  state[2] = b;
  state[3] = B;
  state[4] = c;
  state[5] = C;
  state[6] = d;
  state[7] = D;
}

/**
 * Hashes `bytes[start..end)`.
 *
 * @param out receives the 64-bit hash as `[low 32 bits, high 32 bits]`
 */
export function sipHash13(bytes: Uint8Array, start: number, end: number, out: Uint32Array): void {
  // "somepseudorandomlygeneratedbytes", the initial state for the key 0/0.
  state[0] = 0x70736575;
  state[1] = 0x736f6d65;
  state[2] = 0x6e646f6d;
  state[3] = 0x646f7261;
  state[4] = 0x6e657261;
  state[5] = 0x6c796765;
  state[6] = 0x79746573;
  state[7] = 0x74656462;

  let at = start;
  for (; at + 8 <= end; at += 8) {
    absorb(
      bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24),
      bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24),
      1,
    );
  }
  let low = 0;
  let high = (end - start) << 24;
  for (let i = 0; at + i < end; i++) {
    if (i < 4) low |= bytes[at + i]! << (8 * i);
    else high |= bytes[at + i]! << (8 * (i - 4));
  }
  absorb(low, high, 1);
  state[4] = state[4]! ^ 0xff;
  absorb(0, 0, 3);
  out[0] = state[0]! ^ state[2]! ^ state[4]! ^ state[6]!;
  out[1] = state[1]! ^ state[3]! ^ state[5]! ^ state[7]!;
}
