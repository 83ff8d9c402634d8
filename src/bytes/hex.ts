/**
 * Bytes as hexadecimal digits.
 *
 * For names, identities and texts; nothing that runs per row needs it.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Two lower-case digits per byte. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}
