/**
 * Bytes as text, both ways: on the command line, in output lines and in JSON.
 *
 * On the command line a key or value is its UTF-8 text, or `hex:00ff`, or `base64:AP8=`. In output lines text is shown
 * as it is, with `\t`, `\n`, `\r` and `\\` escaped; what is not UTF-8, holds other control characters (they could
 * steer a terminal), or would itself read as one of the two forms, is shown as `hex:…`. In JSON valid UTF-8 is a
 * string and everything else `{"hex": "…"}`.
 *
 * Invariants: what a line shows reads back as the same bytes after unescaping; so does what JSON shows.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { toHex } from "../bytes/hex.ts";
import { UsageError } from "./usage_error.ts";

/** Bytes in JSON. */
export type JsonBytes = string | { readonly hex: string } | { readonly base64: string };

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const HEX = "hex:";
const BASE64 = "base64:";

/** UTF-8 text as bytes. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The text that `bytes` are the UTF-8 of, or undefined. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

/** Bytes of hex digits. @throws UsageError */
export function fromHex(digits: string): Uint8Array {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(digits)) throw new UsageError(`"${shorten(digits)}" is not pairs of hex digits`);
  return new Uint8Array(Buffer.from(digits, "hex"));
}

/** Bytes of base64, padded or not, either alphabet. @throws UsageError */
export function fromBase64(text: string): Uint8Array {
  const bare = text.replace(/={1,2}$/, "");
  if (!/^[A-Za-z0-9+/_-]*$/.test(bare) || bare.length % 4 === 1) {
    throw new UsageError(`"${shorten(text)}" is not base64`);
  }
  return new Uint8Array(Buffer.from(bare, "base64"));
}

/** Bytes of a key or value as written on the command line. @throws UsageError */
export function parseBytes(text: string): Uint8Array {
  if (text.startsWith(HEX)) return fromHex(text.slice(HEX.length));
  if (text.startsWith(BASE64)) return fromBase64(text.slice(BASE64.length));
  return utf8(text);
}

/** Bytes from a JSON value: a string, `{"hex"}` or `{"base64"}`. @throws UsageError */
export function parseJsonBytes(value: unknown, what: string): Uint8Array {
  if (typeof value === "string") return utf8(value);
  if (typeof value === "object" && value !== null && Object.keys(value).length === 1) {
    const { hex, base64 } = value as { readonly hex?: unknown; readonly base64?: unknown };
    if (typeof hex === "string") return fromHex(hex);
    if (typeof base64 === "string") return fromBase64(base64);
  }
  throw new UsageError(`${what} must be a string, {"hex":"…"} or {"base64":"…"}`);
}

/** Bytes for JSON output. */
export function jsonBytes(bytes: Uint8Array, binary: "hex" | "base64" = "hex"): JsonBytes {
  const text = textOf(bytes);
  if (text !== undefined) return text;
  return binary === "hex" ? { hex: toHex(bytes) } : { base64: toBase64(bytes) };
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const UNESCAPES: Readonly<Record<string, string>> = { "\\": "\\", t: "\t", n: "\n", r: "\r" };
// deno-lint-ignore no-control-regex -- control characters are what this is about
const UNSHOWABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;

/** Bytes on one line of output; see the module's text. */
export function lineBytes(bytes: Uint8Array, alwaysHex: boolean = false): string {
  const text = alwaysHex ? undefined : textOf(bytes);
  if (text === undefined || UNSHOWABLE.test(text) || text.startsWith(HEX) || text.startsWith(BASE64)) {
    return HEX + toHex(bytes);
  }
  return text.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character]!);
}

/** The bytes that a field of a line stands for. @throws UsageError */
export function parseLineBytes(field: string): Uint8Array {
  return parseBytes(field.replace(/\\(.?)/gs, (whole, character: string) => {
    const meant = UNESCAPES[character];
    if (meant === undefined) throw new UsageError(`"${whole}" is no escape; known are \\t \\n \\r \\\\`);
    return meant;
  }));
}

/** A value as `get` prints it: its text with line breaks as they are, or `hex:…`. */
export function blockText(bytes: Uint8Array, alwaysHex: boolean): string {
  const text = alwaysHex ? undefined : textOf(bytes);
  return text === undefined || UNSHOWABLE.test(text) ? HEX + toHex(bytes) : text;
}

/** At most `max` characters of a text, for messages and tables. */
export function shorten(text: string, max: number = 40): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}
