/**
 * The range of a range delete: judged, and brought to the one shape that tombstones have.
 *
 * Whatever bounds a caller gives become `[start, end)`: behind k comes k and a zero byte (so a bound has one byte more
 * than a key may have), an empty start is the first key, an absent end lies behind the last one. What is lenient for a
 * scan is refused where it would delete more than was meant: a bound that is undefined, an empty prefix alone.
 *
 * @module
 */
import { compareBytes } from "../bytes/compare.ts";
import { InvalidArgument } from "../errors.ts";
import { emptyRange, KEY_BYTES_MAX, resolveRange, successor } from "../lsm/key_range.ts";
import { type KeySpan, keyText } from "../state/key_spans.ts";
import type { KeyRange } from "./api.ts";

/** Keys that are deleted together: at or after `start` (empty: from the first key), before `end`. */
export interface DeletedRange {
  readonly start: Uint8Array;
  /** Undefined: to the last key. */
  readonly end: Uint8Array | undefined;
}

const FROM_THE_FIRST_KEY = new Uint8Array(0);
const BOUNDS: ReadonlyArray<keyof KeyRange> = ["gte", "gt", "lte", "lt", "prefix"];
const EVERYTHING = 'To delete every key say so: { gte: "" }';

function refuse(reason: string, message: string): never {
  throw new InvalidArgument({ reason, message: `Cannot delete a range: ${message}` });
}

/**
 * The bytes of a range to delete, which belong to the answer.
 *
 * @throws InvalidArgument with reason "range-unbounded" when no bound is given, one is undefined, or there is an empty
 * prefix alone; "range-empty" when no key can lie inside, "key-too-long" for a bound longer than any key, "range",
 * "range-field", "not-bytes" or "detached"
 */
export function deletedRange(range: KeyRange): DeletedRange {
  if (range === undefined) refuse("range-unbounded", `no range is given. ${EVERYTHING}`);
  if (typeof range !== "object" || range === null) {
    refuse("range", "the range is not an object with bounds. Give { gte, lt }, say, or { prefix }");
  }
  const resolved = resolveRange(range);
  assertMeant(range);
  const { start, startInclusive, end, endInclusive } = resolved;
  assertBound(start);
  assertBound(end);
  const from = start === undefined ? FROM_THE_FIRST_KEY : startInclusive ? start : successor(start);
  const to = end === undefined || !endInclusive ? end : successor(end);
  if (end?.length === 0 || (to !== undefined && compareBytes(from, to) >= 0)) throw emptyRange(resolved);
  return { start: from, end: to };
}

/** Refuses a range that is open where its caller may have meant a bound. */
function assertMeant(range: KeyRange): void {
  const given = BOUNDS.filter((name) => name in range);
  if (given.length === 0) refuse("range-unbounded", `it has no bound. ${EVERYTHING}`);
  for (const name of given) {
    if (range[name] !== undefined) continue;
    refuse("range-unbounded", `its bound "${name}" is undefined. Give a key, or leave the bound out. ${EVERYTHING}`);
  }
  if (given.length === 1 && range.prefix?.length === 0) {
    refuse("range-unbounded", `its prefix is empty, which every key has. ${EVERYTHING}`);
  }
}

function assertBound(bound: Uint8Array | undefined): void {
  if (bound === undefined || bound.length <= KEY_BYTES_MAX) return;
  refuse("key-too-long", `a bound has ${bound.length} bytes; a key has 1 to ${KEY_BYTES_MAX} bytes`);
}

/** The bytes of its bounds. */
export function boundBytes({ start, end }: DeletedRange): number {
  return start.length + (end?.length ?? 0);
}

/** The same range as conflict detection compares it. */
export function spanOf({ start, end }: DeletedRange): KeySpan {
  return { lower: keyText(start), upper: end === undefined ? undefined : keyText(end) };
}

/** Orders by start, then by end; one that goes to the last key comes last. */
export function compareRanges(a: DeletedRange, b: DeletedRange): number {
  const byStart = compareBytes(a.start, b.start);
  if (byStart !== 0) return byStart;
  if (a.end === undefined || b.end === undefined) return a.end === b.end ? 0 : a.end === undefined ? 1 : -1;
  return compareBytes(a.end, b.end);
}
