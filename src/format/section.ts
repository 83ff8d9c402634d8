/**
 * A table's section: `compress(payload)`, then its CRC-32 as u32 big-endian.
 *
 * Blocks, filter, index and stats are sections of the table's codec; the info is one that is never compressed.
 * The checksum covers the stored bytes, so it is checked before anything is decompressed or parsed.
 *
 * @module
 */
import type { ByteWriter } from "../bytes/byte_writer.ts";
import { crc32 } from "../bytes/crc32.ts";
import { FormatError } from "../errors.ts";
import { compress, decompress, MAX_SECTION_BYTES } from "./compression.ts";
import type { CompressionCode } from "./types.ts";

/** Bytes of the checksum, counted in every stored section length. */
export const CHECKSUM_BYTES = 4;

/**
 * Appends the section of `payload[0..length)` to `out`.
 *
 * @returns the section's length in bytes
 */
export function appendSection(out: ByteWriter, payload: Uint8Array, length: number, code: CompressionCode): number {
  const stored = code === 0 ? payload : compress(code, payload.subarray(0, length));
  const storedLength = code === 0 ? length : stored.length;
  out.put(stored, 0, storedLength);
  out.u32(crc32(stored, 0, storedLength));
  return storedLength + CHECKSUM_BYTES;
}

/** The section of `payload` as bytes of its own. */
export function sealSection(payload: Uint8Array, code: CompressionCode): Uint8Array {
  const stored = compress(code, payload);
  const out = new Uint8Array(stored.length + CHECKSUM_BYTES);
  out.set(stored);
  const sum = crc32(stored, 0, stored.length);
  out[stored.length] = sum >>> 24;
  out[stored.length + 1] = sum >>> 16;
  out[stored.length + 2] = sum >>> 8;
  out[stored.length + 3] = sum;
  return out;
}

/**
 * Checks and decompresses a section.
 *
 * @param bytes the section with its checksum
 * @param section name for errors, as in `DataError`
 * @param limitBytes largest accepted payload, default and maximum 1 GiB
 * @returns the payload; with code 0 a view of `bytes`
 * @throws FormatError "truncated", "checksum", "unsupported-codec", "too-large" or "malformed"
 */
export function openSection(
  bytes: Uint8Array,
  code: CompressionCode,
  section: string,
  limitBytes: number = MAX_SECTION_BYTES,
): Uint8Array {
  const end = bytes.length - CHECKSUM_BYTES;
  if (end < 0) throw new FormatError(section, 0, "truncated", `${bytes.length} bytes, shorter than a checksum`);
  const stored = ((bytes[end]! << 24) | (bytes[end + 1]! << 16) | (bytes[end + 2]! << 8) | bytes[end + 3]!) >>> 0;
  const found = crc32(bytes, 0, end);
  if (found !== stored) {
    const detail = `stored ${stored.toString(16).padStart(8, "0")}, computed ${found.toString(16).padStart(8, "0")}`;
    throw new FormatError(section, end, "checksum", detail);
  }
  return decompress(code, bytes.subarray(0, end), limitBytes, section);
}
