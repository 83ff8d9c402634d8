/**
 * Keys as messages show them: escaped, and cut to a readable length.
 *
 * Keys are the user's data: they go into the error that the caller gets, and nowhere else.
 *
 * @module
 */
import { toHex } from "./hex.ts";

/** Bytes of a key that a message shows. */
const SHOWN_BYTES = 64;

/** A key as a message shows it: quoted when it is printable ASCII, else in hex; long ones are cut. */
export function shownKey(key: Uint8Array): string {
  const shown = key.subarray(0, SHOWN_BYTES);
  const rest = key.length > SHOWN_BYTES ? `… (${key.length} bytes)` : "";
  if (shown.every((byte) => byte >= 0x20 && byte < 0x7f)) {
    return `${JSON.stringify(String.fromCharCode(...shown))}${rest}`;
  }
  return `0x${toHex(shown)}${rest}`;
}
