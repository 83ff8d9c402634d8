/**
 * The five codecs that a table's sections may use, behind one pair of functions.
 *
 * LZ4 and Snappy are our own; zlib and zstd come from `node:zlib`, zstd only where the runtime has it. Decompression
 * is bounded: it stops at the caller's limit and never trusts a length from the data for an allocation.
 *
 * @module
 */
import * as zlib from "node:zlib";
import { FormatError } from "../errors.ts";
import { COMPRESSION_NAMES, type CompressionCode, type CompressionName } from "./types.ts";
import { compressLz4, decompressLz4 } from "./lz4.ts";
import { compressSnappy, decompressSnappy } from "./snappy.ts";
import { zstdContentSize } from "./zstd_frame.ts";

/** Largest uncompressed section that is accepted, whatever a caller allows: 1 GiB. */
export const MAX_SECTION_BYTES: number = 2 ** 30;

interface ZstdFunctions {
  readonly zstdCompressSync?: (bytes: Uint8Array) => Uint8Array;
  readonly zstdDecompressSync?: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
}

const zstd: ZstdFunctions = zlib as ZstdFunctions;

/** The format's code for a codec's name. */
export function compressionCode(name: CompressionName): CompressionCode {
  return COMPRESSION_NAMES.indexOf(name) as CompressionCode;
}

/** Whether this runtime can read and write the codec. Only zstd can be missing. */
export function isCodecAvailable(code: CompressionCode): boolean {
  return code !== 4 || (zstd.zstdCompressSync !== undefined && zstd.zstdDecompressSync !== undefined);
}

function unsupported(code: number, section: string): FormatError {
  const name = COMPRESSION_NAMES[code];
  const detail = name === undefined
    ? `compression code ${code}; known are 0 to ${COMPRESSION_NAMES.length - 1}`
    : `${name} is not available in this runtime`;
  return new FormatError(section, 0, "unsupported-codec", detail);
}

/**
 * Compresses a payload. With code 0 the answer is `payload` itself.
 *
 * @throws FormatError "unsupported-codec" when the runtime lacks the codec
 */
export function compress(code: CompressionCode, payload: Uint8Array): Uint8Array {
  switch (code) {
    case 0:
      return payload;
    case 1:
      return compressSnappy(payload);
    case 2:
      return zlib.deflateSync(payload);
    case 3:
      return compressLz4(payload);
    case 4:
      if (zstd.zstdCompressSync !== undefined) return zstd.zstdCompressSync(payload);
  }
  throw unsupported(code, "section");
}

/**
 * Runs a built-in decompressor; its exceptions become ours, its `Buffer` a plain array. Small results come as slices of
 * the runtime's pool and are copied, so that a cached block does not hold four times its size.
 */
function builtIn(section: string, name: string, limitBytes: number, run: () => Uint8Array): Uint8Array {
  let out: Uint8Array;
  try {
    out = run();
  } catch (cause) {
    const error = cause as { readonly code?: unknown; readonly message?: unknown };
    const tooLarge = error.code === "ERR_BUFFER_TOO_LARGE";
    throw new FormatError(section, 0, tooLarge ? "too-large" : "malformed", `${name}: ${String(error.message)}`);
  }
  if (out.length > limitBytes) throw new FormatError(section, 0, "too-large", `${name}: limit ${limitBytes}`);
  return out.buffer.byteLength === out.length ? new Uint8Array(out.buffer) : new Uint8Array(out);
}

function decompressZlib(bytes: Uint8Array, limitBytes: number, section: string): Uint8Array {
  // 0 is not a legal limit for the runtime; the result is checked against the real one afterwards.
  const maxOutputLength = Math.max(limitBytes, 1);
  return builtIn(section, "zlib", limitBytes, () => zlib.inflateSync(bytes, { maxOutputLength }));
}

function decompressZstd(bytes: Uint8Array, limitBytes: number, section: string): Uint8Array {
  const run = zstd.zstdDecompressSync;
  if (run === undefined) throw unsupported(4, section);
  const claimed = zstdContentSize(bytes, section);
  if (claimed > limitBytes) {
    throw new FormatError(section, 0, "too-large", `zstd: ${claimed} bytes, limit ${limitBytes}`);
  }
  const maxOutputLength = Math.max(limitBytes, 1);
  return builtIn(section, "zstd", limitBytes, () => run(bytes, { maxOutputLength }));
}

/**
 * Decompresses a payload. With code 0 the answer is `bytes` itself.
 *
 * @param limitBytes largest accepted result; values above {@linkcode MAX_SECTION_BYTES} are lowered to it
 * @param section name for errors
 * @throws FormatError "unsupported-codec", "too-large", "truncated" or "malformed"
 */
export function decompress(
  code: CompressionCode,
  bytes: Uint8Array,
  limitBytes: number,
  section: string = "section",
): Uint8Array {
  const limit = limitBytes < MAX_SECTION_BYTES ? limitBytes : MAX_SECTION_BYTES;
  switch (code) {
    case 0:
      if (bytes.length > limit) throw new FormatError(section, 0, "too-large", `${bytes.length} bytes, limit ${limit}`);
      return bytes;
    case 1:
      return decompressSnappy(bytes, limit, section);
    case 2:
      return decompressZlib(bytes, limit, section);
    case 3:
      return decompressLz4(bytes, limit, section);
    case 4:
      return decompressZstd(bytes, limit, section);
  }
  throw unsupported(code, section);
}
