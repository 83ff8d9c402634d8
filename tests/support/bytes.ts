/**
 * Bytes as tests write and read them.
 *
 * @module
 */

/** The bytes of hex digits; white space between them is ignored. */
export function fromHex(digits: string): Uint8Array {
  const bare = digits.replaceAll(/\s/g, "");
  return Uint8Array.from({ length: bare.length / 2 }, (_, i) => Number.parseInt(bare.slice(2 * i, 2 * i + 2), 16));
}

/** Two lower-case hex digits per byte. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The text that bytes are the UTF-8 of; undefined for none. */
export function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}
