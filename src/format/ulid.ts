/**
 * ULIDs and UUIDs: 128-bit identities as text and as 16 big-endian bytes.
 *
 * ```text
 * ULID  48 bits milliseconds since 1970 | 80 random bits    26 upper-case Crockford base32 characters
 * UUID  128 bits                                            8-4-4-4-12 lower-case hex digits
 * ```
 *
 * 26 characters hold 130 bits; the first two are zero, so a ULID starts with 0..7. The alphabet ascends in ASCII, so
 * text order is the order of the numbers. Only the canonical spelling is accepted: every identity has one text, and
 * comparing texts compares identities. Time and randomness come from the caller.
 *
 * @module
 */
import { toHex } from "../bytes/hex.ts";
import { FormatError } from "../errors.ts";
import type { Ulid, Uuid } from "./types.ts";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const ULID_PATTERN = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;
const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MILLIS_LIMIT = 2 ** 48;

/** Value of a character code of the alphabet, 255 for any other; upper case only. */
const VALUES: Uint8Array = new Uint8Array(128).fill(255);
for (let i = 0; i < 32; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

/**
 * The ULID of a time and ten random bytes.
 *
 * @param millis milliseconds since 1970, 0..2 ** 48 - 1; a fraction is cut off
 * @param random exactly 10 bytes
 * @throws RangeError for a time or a number of bytes outside of that
 */
export function ulidFromParts(millis: number, random: Uint8Array): Ulid {
  const time = Math.floor(millis);
  if (!(time >= 0 && time < MILLIS_LIMIT)) throw new RangeError(`ULID time ${millis} is outside 0..2 ** 48 - 1`);
  if (random.length !== 10) throw new RangeError(`A ULID takes 10 random bytes, got ${random.length}`);
  const bytes = new Uint8Array(16);
  const high = Math.floor(time / 0x100000000);
  bytes[0] = high >>> 8;
  bytes[1] = high;
  bytes[2] = time >>> 24;
  bytes[3] = time >>> 16;
  bytes[4] = time >>> 8;
  bytes[5] = time;
  bytes.set(random, 6);
  return ulidFromBytes(bytes);
}

/**
 * The time inside a ULID.
 *
 * @returns milliseconds since 1970
 * @throws FormatError "malformed" when `id` is not a ULID
 */
export function ulidMillis(id: Ulid): number {
  requireUlid(id);
  let millis = 0;
  for (let i = 0; i < 10; i++) millis = millis * 32 + VALUES[id.charCodeAt(i)]!;
  return millis;
}

/** Whether `text` is the canonical text of a ULID. */
export function isUlid(text: string): boolean {
  return ULID_PATTERN.test(text);
}

/**
 * The 128 bits of a ULID, big-endian.
 *
 * @throws FormatError "malformed" when `id` is not a ULID
 */
export function ulidToBytes(id: Ulid): Uint8Array {
  requireUlid(id);
  const bytes = new Uint8Array(16);
  let pending = VALUES[id.charCodeAt(0)]!;
  let bits = 3;
  let at = 0;
  for (let i = 1; i < 26; i++) {
    pending = (pending << 5) | VALUES[id.charCodeAt(i)]!;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at++] = pending >>> bits;
    pending &= (1 << bits) - 1;
  }
  return bytes;
}

/**
 * The text of a ULID.
 *
 * @param bytes 16 bytes, big-endian
 * @throws RangeError for any other length
 */
export function ulidFromBytes(bytes: Uint8Array): Ulid {
  requireSixteen(bytes);
  let text = ALPHABET[bytes[0]! >>> 5]!;
  let pending = bytes[0]! & 31;
  let bits = 5;
  let at = 1;
  for (let i = 1; i < 26; i++) {
    if (bits < 5) {
      pending = (pending << 8) | bytes[at++]!;
      bits += 8;
    }
    bits -= 5;
    text += ALPHABET[(pending >>> bits) & 31]!;
    pending &= (1 << bits) - 1;
  }
  return text;
}

/** Whether `text` is the canonical text of a UUID: lower case, with dashes, any version. */
export function isUuid(text: string): boolean {
  return UUID_PATTERN.test(text);
}

/**
 * The 128 bits of a UUID, big-endian.
 *
 * @throws FormatError "malformed" when `id` is not a UUID
 */
export function uuidToBytes(id: Uuid): Uint8Array {
  if (!isUuid(id)) throw new FormatError("uuid", 0, "malformed", `not a UUID: ${JSON.stringify(id.slice(0, 40))}`);
  const digits = id.replaceAll("-", "");
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

/**
 * The text of a UUID.
 *
 * @param bytes 16 bytes, big-endian
 * @throws RangeError for any other length
 */
export function uuidFromBytes(bytes: Uint8Array): Uuid {
  requireSixteen(bytes);
  const digits = toHex(bytes);
  const groups = [
    digits.slice(0, 8),
    digits.slice(8, 12),
    digits.slice(12, 16),
    digits.slice(16, 20),
    digits.slice(20),
  ];
  return groups.join("-");
}

function requireUlid(id: string): void {
  if (!isUlid(id)) throw new FormatError("ulid", 0, "malformed", `not a ULID: ${JSON.stringify(id.slice(0, 40))}`);
}

function requireSixteen(bytes: Uint8Array): void {
  if (bytes.length !== 16) throw new RangeError(`An identity has 16 bytes, got ${bytes.length}`);
}
