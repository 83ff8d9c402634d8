/**
 * The outline of a Zstandard frame (RFC 8878, section 3.1.1), walked without decompressing it.
 *
 * The runtimes' decompressors take a frame that is cut short, or followed by other bytes, and answer with what they
 * have. Walking the block headers tells whether a payload is exactly one whole frame, and how large its content
 * claims to be.
 *
 * @module
 */
import { FormatError } from "../errors.ts";

/** Bytes of the content size field by its flag; flag 0 means 1 byte in single-segment frames and none otherwise. */
const SIZE_FIELD_BYTES: readonly number[] = [0, 2, 4, 8];
const DICTIONARY_FIELD_BYTES: readonly number[] = [0, 1, 2, 4];
const MAX_BLOCK_BYTES = 131_072;

function littleEndian(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = length - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}

/**
 * Checks that `bytes` is one whole frame without a dictionary.
 *
 * @param section name for errors
 * @returns the content's size in bytes if the frame states it, otherwise -1
 * @throws FormatError "truncated" or "malformed"
 */
export function zstdContentSize(bytes: Uint8Array, section: string): number {
  const end = bytes.length;
  const cut = (at: number): FormatError => new FormatError(section, at, "truncated", "zstd: frame ends early");
  const bad = (at: number, detail: string): FormatError => new FormatError(section, at, "malformed", `zstd: ${detail}`);
  if (end < 6) throw cut(end);
  if (littleEndian(bytes, 0, 4) !== 0xfd2fb528) throw bad(0, "not a frame");
  const descriptor = bytes[4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x08) !== 0) throw bad(4, "reserved bit");
  const dictionaryBytes = DICTIONARY_FIELD_BYTES[descriptor & 3]!;
  const sizeFlag = descriptor >>> 6;
  const sizeBytes = sizeFlag === 0 && singleSegment ? 1 : SIZE_FIELD_BYTES[sizeFlag]!;
  let at = 5 + (singleSegment ? 0 : 1);
  if (at + dictionaryBytes + sizeBytes > end) throw cut(end);
  if (littleEndian(bytes, at, dictionaryBytes) !== 0) throw bad(at, "needs a dictionary");
  at += dictionaryBytes;
  // The 2-byte form counts from 256 on.
  const contentSize = sizeBytes === 0 ? -1 : littleEndian(bytes, at, sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  at += sizeBytes;
  for (let last = false; !last;) {
    if (at + 3 > end) throw cut(at);
    const header = littleEndian(bytes, at, 3);
    last = (header & 1) !== 0;
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type === 3 || size > MAX_BLOCK_BYTES) throw bad(at, "block header");
    at += 3 + (type === 1 ? 1 : size);
  }
  if ((descriptor & 0x04) !== 0) at += 4;
  if (at > end) throw cut(end);
  if (at < end) throw bad(at, `${end - at} bytes after the frame`);
  return contentSize;
}
