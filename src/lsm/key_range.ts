/**
 * Keys and key ranges as callers give them, checked and turned into bytes.
 *
 * A range is judged after all its bounds and its prefix are intersected (decision D10): an empty or reversed one is
 * refused. An empty key as lower bound or prefix means "from the start". Bounds are copied, since scans are lazy and
 * callers may reuse their arrays; keys of point operations are not.
 *
 * @module
 */
import { compareBytes, prefixEnd, toBytes } from "../bytes/compare.ts";
import { shownKey } from "../bytes/shown_key.ts";
import type { Bytes, KeyRange } from "../db/api.ts";
import { InvalidArgument } from "../errors.ts";

/** Longest key in bytes. */
export const KEY_BYTES_MAX = 65_535;

/** A checked range of user keys. Unbounded sides are undefined; a lower bound is never the empty key. */
export interface ScanRange {
  readonly start: Uint8Array | undefined;
  readonly startInclusive: boolean;
  readonly end: Uint8Array | undefined;
  readonly endInclusive: boolean;
}

/** The range of all keys. */
export const FULL_RANGE: ScanRange = { start: undefined, startInclusive: true, end: undefined, endInclusive: false };

function refuse(reason: string, message: string): never {
  throw new InvalidArgument({ reason, message });
}

/**
 * The bytes of a key of a point operation: 1..65535 of them. Not a copy when given as bytes.
 *
 * @throws InvalidArgument with reason "not-bytes", "detached", "key-empty" or "key-too-long"
 */
export function keyBytes(key: Bytes): Uint8Array {
  assertBytes(key, "key");
  const bytes = toBytes(key);
  assertKeyLength(bytes.length);
  return bytes;
}

/** Refuses what is no array of keys. @throws InvalidArgument with reason "keys" */
export function assertKeys(keys: unknown, doing: string): asserts keys is readonly Bytes[] {
  if (!Array.isArray(keys)) refuse("keys", `Cannot ${doing}: give an array of keys`);
}

/**
 * Refuses a key that is empty or too long to be stored.
 *
 * @throws InvalidArgument with reason "key-empty" or "key-too-long"
 */
export function assertKeyLength(bytes: number): void {
  if (bytes === 0) refuse("key-empty", `The key is empty; a key has 1 to ${KEY_BYTES_MAX} bytes`);
  if (bytes > KEY_BYTES_MAX) {
    refuse("key-too-long", `The key has ${bytes} bytes; a key has 1 to ${KEY_BYTES_MAX} bytes`);
  }
}

/**
 * Refuses what is neither a string nor readable bytes.
 *
 * @throws InvalidArgument with reason "not-bytes" or "detached"
 */
export function assertBytes(value: unknown, what: string): asserts value is Bytes {
  if (typeof value === "string") return;
  if (!(value instanceof Uint8Array)) {
    refuse("not-bytes", `The ${what} is ${value === null ? "null" : typeof value}, not a string or a Uint8Array`);
  }
  if (value.length === 0 && (value.buffer as ArrayBuffer).detached === true) {
    refuse("detached", `The ${what}'s buffer was transferred away; its bytes are gone`);
  }
}

/** A private copy of a bound. */
function boundBytes(value: Bytes | undefined, name: string): Uint8Array | undefined {
  if (value === undefined) return undefined;
  assertBytes(value, `bound "${name}"`);
  const bytes = toBytes(value);
  return typeof value === "string" ? bytes : new Uint8Array(bytes);
}

const KNOWN_FIELDS: ReadonlySet<string> = new Set(["gte", "gt", "lte", "lt", "prefix"]);
/** Names of options that are easily given in the range. */
const OPTION_NAMES: ReadonlySet<string> = new Set([
  "durable",
  "order",
  "limit",
  "durability",
  "ttl",
  "cacheBlocks",
  "readAheadBytes",
  "signal",
]);

/**
 * The intersection of all that `range` says.
 *
 * @throws InvalidArgument with reason "range-empty" when no key can lie inside, "range-field" for an unknown field,
 * "not-bytes" for a bound that is neither bytes nor a string
 */
export function resolveRange(range: KeyRange | undefined): ScanRange {
  if (range === undefined) return FULL_RANGE;
  if (typeof range !== "object" || range === null) refuse("range", "A key range is an object with bounds, or left out");
  for (const field of Object.keys(range)) {
    if (KNOWN_FIELDS.has(field)) continue;
    const isOption = OPTION_NAMES.has(field);
    refuse(
      "range-field",
      `A key range has no field "${field}": ` +
        (isOption ? "options are the second argument, after the range" : `known are ${[...KNOWN_FIELDS].join(", ")}`),
    );
  }
  const bounds = new Bounds();
  bounds.from(boundBytes(range.gte, "gte"), true);
  bounds.from(boundBytes(range.gt, "gt"), false);
  bounds.to(boundBytes(range.lte, "lte"), true);
  bounds.to(boundBytes(range.lt, "lt"), false);
  const prefix = boundBytes(range.prefix, "prefix");
  if (prefix !== undefined) {
    bounds.from(prefix, true);
    bounds.to(prefixEnd(prefix), false);
  }
  return bounds.finish();
}

/** The error of a range in which no key can lie. */
export function emptyRange({ start, startInclusive, end, endInclusive }: ScanRange): InvalidArgument {
  const from = start === undefined ? [] : [`${startInclusive ? "at or after" : "after"} ${shownKey(start)}`];
  const to = end === undefined ? [] : [`${endInclusive ? "at or before" : "before"} ${shownKey(end)}`];
  return new InvalidArgument({
    reason: "range-empty",
    message:
      `The key range is empty: no key lies ${[...from, ...to].join(" and ")}. Bounds and prefix hold together; ` +
      "give a lower end below the upper one, or one key as gte and lte",
  });
}

/** Narrows from both sides. */
class Bounds {
  start: Uint8Array | undefined = undefined;
  startInclusive = true;
  end: Uint8Array | undefined = undefined;
  endInclusive = false;

  from(key: Uint8Array | undefined, inclusive: boolean): void {
    if (key === undefined || key.length === 0) return;
    const order = this.start === undefined ? 1 : compareBytes(key, this.start);
    if (order > 0) {
      this.start = key;
      this.startInclusive = inclusive;
    } else if (order === 0) {
      this.startInclusive = this.startInclusive && inclusive;
    }
  }

  to(key: Uint8Array | undefined, inclusive: boolean): void {
    if (key === undefined) return;
    const order = this.end === undefined ? -1 : compareBytes(key, this.end);
    if (order < 0) {
      this.end = key;
      this.endInclusive = inclusive;
    } else if (order === 0) {
      this.endInclusive = this.endInclusive && inclusive;
    }
  }

  finish(): ScanRange {
    const { start, startInclusive, end, endInclusive } = this;
    if (end !== undefined) {
      const order = start === undefined ? -end.length : compareBytes(start, end);
      if (order > 0 || (order === 0 && !(startInclusive && endInclusive))) {
        throw emptyRange({ start, startInclusive, end, endInclusive });
      }
    }
    return { start, startInclusive, end, endInclusive };
  }
}

/** Whether `key` lies inside `range`. */
export function rangeContains(range: ScanRange, key: Uint8Array): boolean {
  if (range.start !== undefined) {
    const order = compareBytes(key, range.start);
    if (order < 0 || (order === 0 && !range.startInclusive)) return false;
  }
  if (range.end === undefined) return true;
  const order = compareBytes(key, range.end);
  return order < 0 || (order === 0 && range.endInclusive);
}

/** The smallest key after `key`: `key` and a zero byte. */
export function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
