/**
 * LZ4 blocks with SlateDB's size prefix: u32 little-endian uncompressed size, then one LZ4 block.
 *
 * Written from the LZ4 block format description (lz4.org): sequences of a token, literals, a 2-byte distance and a
 * match; the last 5 bytes are always literals and the last match starts at least 12 bytes before the end.
 *
 * Invariants: the decoder never writes outside the announced size, never reads outside its input, and refuses an
 * announced size that the input could not produce (255 bytes for each byte at most) before it allocates.
 *
 * @module
 */
import { FormatError } from "../errors.ts";

const MIN_MATCH = 4;
const MAX_DISTANCE = 65535;
/** Greatest expansion of the format: a run of 0xff length bytes. */
const MAX_EXPANSION = 255;

const smallTable: Int32Array = new Int32Array(1 << 12);
let largeTable: Int32Array | undefined;

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Writes the rest of a length that did not fit in its four bits. */
function writeLength(out: Uint8Array, at: number, rest: number): number {
  while (rest >= 255) {
    out[at++] = 255;
    rest -= 255;
  }
  out[at++] = rest;
  return at;
}

/** Writes literals `source[from..to)`, then a match unless `matchLength` is 0 (only at the end). */
function writeSequence(
  out: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  to: number,
  distance: number,
  matchLength: number,
): number {
  const literals = to - from;
  const matchRest = matchLength === 0 ? 0 : matchLength - MIN_MATCH;
  out[at++] = ((literals < 15 ? literals : 15) << 4) | (matchRest < 15 ? matchRest : 15);
  if (literals >= 15) at = writeLength(out, at, literals - 15);
  if (literals <= 32) { for (let i = from; i < to; i++) out[at++] = source[i]!; }
  else {
    out.set(source.subarray(from, to), at);
    at += literals;
  }
  if (matchLength === 0) return at;
  out[at++] = distance;
  out[at++] = distance >>> 8;
  return matchRest >= 15 ? writeLength(out, at, matchRest - 15) : at;
}

/** Compresses `source` greedily with one hash probe per position. */
export function compressLz4(source: Uint8Array): Uint8Array {
  const size = source.length;
  const out = new Uint8Array(4 + size + Math.floor(size / 255) + 16);
  out[0] = size;
  out[1] = size >>> 8;
  out[2] = size >>> 16;
  out[3] = size >>> 24;
  let at = 4;
  let literalsFrom = 0;
  const lastStart = size - 12;
  const matchLimit = size - 5;
  const bits = size <= 16384 ? 12 : 15;
  const table = bits === 12 ? smallTable : (largeTable ??= new Int32Array(1 << 15));
  table.fill(-1);
  // The step grows by one every 64 misses, so data that does not compress passes quickly.
  let misses = 64;
  for (let here = 0; here <= lastStart;) {
    const sequence = word(source, here);
    const slot = Math.imul(sequence, -1640531535) >>> (32 - bits);
    let match = table[slot]!;
    table[slot] = here;
    if (match < 0 || here - match > MAX_DISTANCE || word(source, match) !== sequence) {
      here += misses++ >> 6;
      continue;
    }
    misses = 64;
    let start = here;
    let end = here + MIN_MATCH;
    for (let reference = match + MIN_MATCH; end < matchLimit && source[end] === source[reference]; reference++) end++;
    while (start > literalsFrom && match > 0 && source[start - 1] === source[match - 1]) {
      start--;
      match--;
    }
    at = writeSequence(out, at, source, literalsFrom, start, start - match, end - start);
    literalsFrom = here = end;
  }
  at = writeSequence(out, at, source, literalsFrom, size, 0, 0);
  return out.subarray(0, at);
}

/** Copies `length` bytes inside `out` from `distance` bytes back; the ranges may overlap and then repeat. */
export function copyMatch(out: Uint8Array, at: number, distance: number, length: number): void {
  if (length > 32 && distance >= length) {
    out.copyWithin(at, at - distance, at - distance + length);
  } else {
    for (let i = 0; i < length; i++) out[at + i] = out[at + i - distance]!;
  }
}

function damaged(section: string, at: number, detail: string): FormatError {
  return new FormatError(section, at, "malformed", `lz4: ${detail}`);
}

/**
 * Decompresses what {@linkcode compressLz4} or the official engine wrote.
 *
 * @param limitBytes largest accepted uncompressed size
 * @param section name for errors
 * @throws FormatError "truncated", "malformed" or "too-large"
 */
export function decompressLz4(bytes: Uint8Array, limitBytes: number, section: string): Uint8Array {
  if (bytes.length < 5) throw new FormatError(section, 0, "truncated", "lz4: shorter than its size prefix and a token");
  const size = word(bytes, 0) >>> 0;
  if (size > limitBytes) throw new FormatError(section, 0, "too-large", `lz4: ${size} bytes, limit ${limitBytes}`);
  if (size > MAX_EXPANSION * bytes.length) throw damaged(section, 0, `${size} bytes cannot come from ${bytes.length}`);
  const out = new Uint8Array(size);
  const inputEnd = bytes.length;
  let from = 4;
  let at = 0;
  while (from < inputEnd) {
    const token = bytes[from++]!;
    let literals = token >>> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255) {
        if (from >= inputEnd) throw damaged(section, from, "literal length runs over the end");
        more = bytes[from++]!;
        literals += more;
      }
    }
    if (literals > inputEnd - from || literals > size - at) throw damaged(section, from, "literals run over the end");
    if (literals <= 32) { for (let i = 0; i < literals; i++) out[at + i] = bytes[from + i]!; }
    else out.set(bytes.subarray(from, from + literals), at);
    from += literals;
    at += literals;
    if (from === inputEnd) break;
    if (inputEnd - from < 2) throw damaged(section, from, "distance runs over the end");
    const distance = bytes[from]! | (bytes[from + 1]! << 8);
    from += 2;
    if (distance === 0 || distance > at) throw damaged(section, from - 2, `distance ${distance} at output byte ${at}`);
    let length = token & 15;
    if (length === 15) {
      let more = 255;
      while (more === 255) {
        if (from >= inputEnd) throw damaged(section, from, "match length runs over the end");
        more = bytes[from++]!;
        length += more;
      }
    }
    length += MIN_MATCH;
    if (length > size - at) throw damaged(section, from, "match runs over the announced size");
    copyMatch(out, at, distance, length);
    at += length;
  }
  if (at !== size) throw damaged(section, from, `${at} bytes where ${size} were announced`);
  return out;
}
