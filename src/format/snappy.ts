/**
 * Snappy raw blocks (not framed): varint uncompressed size, then literals and copies.
 *
 * Written from Google's format_description.txt. The encoder makes literals, copies of 4..11 bytes within 2047 and
 * copies of 1..64 bytes within 65535; the decoder takes every element, with 4-byte distances too.
 *
 * Invariants: as for LZ4: no access outside input or announced size, and no allocation for an announced size that the
 * input could not produce (64 bytes for each byte is more than the format can do).
 *
 * @module
 */
import { readVarint, varintEnd, varintLength, writeVarint } from "../bytes/varint.ts";
import { FormatError } from "../errors.ts";
import { copyMatch } from "./lz4.ts";

const MAX_EXPANSION = 64;

const smallTable: Int32Array = new Int32Array(1 << 12);
let largeTable: Int32Array | undefined;

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function writeLiterals(out: Uint8Array, at: number, source: Uint8Array, from: number, to: number): number {
  const last = to - from - 1;
  if (last < 0) return at;
  if (last < 60) {
    out[at++] = last << 2;
  } else {
    const lengthBytes = last < 0x100 ? 1 : last < 0x10000 ? 2 : last < 0x1000000 ? 3 : 4;
    out[at++] = (59 + lengthBytes) << 2;
    for (let i = 0; i < lengthBytes; i++) out[at++] = last >>> (8 * i);
  }
  if (last < 32) { for (let i = from; i < to; i++) out[at++] = source[i]!; }
  else {
    out.set(source.subarray(from, to), at);
    at += last + 1;
  }
  return at;
}

function writeCopies(out: Uint8Array, at: number, distance: number, length: number): number {
  while (length > 0) {
    if (length >= 4 && length <= 11 && distance < 2048) {
      out[at++] = 1 | ((length - 4) << 2) | ((distance >>> 8) << 5);
      out[at++] = distance;
      return at;
    }
    const part = length > 64 ? 64 : length;
    out[at++] = 2 | ((part - 1) << 2);
    out[at++] = distance;
    out[at++] = distance >>> 8;
    length -= part;
  }
  return at;
}

/** Compresses `source` greedily with one hash probe per position. */
export function compressSnappy(source: Uint8Array): Uint8Array {
  const size = source.length;
  const out = new Uint8Array(varintLength(size) + size + Math.floor(size / 6) + 32);
  let at = writeVarint(out, 0, size);
  let literalsFrom = 0;
  const lastStart = size - 8;
  const bits = size <= 16384 ? 12 : 15;
  const table = bits === 12 ? smallTable : (largeTable ??= new Int32Array(1 << 15));
  table.fill(-1);
  let misses = 64;
  for (let here = 0; here <= lastStart;) {
    const sequence = word(source, here);
    const slot = Math.imul(sequence, -1640531535) >>> (32 - bits);
    const match = table[slot]!;
    table[slot] = here;
    if (match < 0 || here - match > 65535 || word(source, match) !== sequence) {
      here += misses++ >> 6;
      continue;
    }
    misses = 64;
    let end = here + 4;
    for (let reference = match + 4; end < size && source[end] === source[reference]; reference++) end++;
    at = writeLiterals(out, at, source, literalsFrom, here);
    at = writeCopies(out, at, here - match, end - here);
    literalsFrom = here = end;
  }
  at = writeLiterals(out, at, source, literalsFrom, size);
  return out.subarray(0, at);
}

function damaged(section: string, at: number, detail: string): FormatError {
  return new FormatError(section, at, "malformed", `snappy: ${detail}`);
}

/**
 * Decompresses a raw Snappy block.
 *
 * @param limitBytes largest accepted uncompressed size
 * @param section name for errors
 * @throws FormatError "truncated", "malformed" or "too-large"
 */
export function decompressSnappy(bytes: Uint8Array, limitBytes: number, section: string): Uint8Array {
  const inputEnd = bytes.length;
  let from = varintEnd(bytes, 0, inputEnd);
  if (from < 0) throw new FormatError(section, 0, "truncated", "snappy: size does not end");
  const size = readVarint(bytes, 0, from);
  if (size < 0) throw damaged(section, 0, "size over 32 bits");
  if (size > limitBytes) throw new FormatError(section, 0, "too-large", `snappy: ${size} bytes, limit ${limitBytes}`);
  if (size > MAX_EXPANSION * inputEnd) throw damaged(section, 0, `${size} bytes cannot come from ${inputEnd}`);
  const out = new Uint8Array(size);
  let at = 0;
  while (from < inputEnd) {
    const tag = bytes[from++]!;
    const kind = tag & 3;
    let length = (tag >>> 2) + 1;
    // Bytes after the tag: those of a long literal's length, or those of the distance.
    const extra = kind === 0 ? (length > 60 ? length - 60 : 0) : kind === 3 ? 4 : kind;
    if (extra > inputEnd - from) throw damaged(section, from, "element runs over the end");
    let number = 0;
    for (let i = 0, scale = 1; i < extra; i++, scale *= 256) number += bytes[from + i]! * scale;
    from += extra;
    if (kind === 0) {
      if (extra > 0) length = number + 1;
      if (length > inputEnd - from || length > size - at) throw damaged(section, from, "literals run over the end");
      if (length <= 32) { for (let i = 0; i < length; i++) out[at + i] = bytes[from + i]!; }
      else out.set(bytes.subarray(from, from + length), at);
      from += length;
    } else {
      if (kind === 1) {
        length = ((tag >>> 2) & 7) + 4;
        number += (tag >>> 5) << 8;
      }
      if (number === 0 || number > at) throw damaged(section, from, `distance ${number} at output byte ${at}`);
      if (length > size - at) throw damaged(section, from, "copy runs over the announced size");
      copyMatch(out, at, number, length);
    }
    at += length;
  }
  if (at !== size) throw damaged(section, from, `${at} bytes where ${size} were announced`);
  return out;
}
