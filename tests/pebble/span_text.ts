/**
 * Spans as Pebble's files write them, and as tombstones of our engine.
 *
 * A span's keys have a kind and more, of which our engine knows nothing: they are opaque. Each key text gets a number that
 * stands for it, so that numbers order keys as upstream does (by sequence number, then kind, then place in the file) and
 * a read bound is a number too. Test keys `prefix@n` sort by falling `n`; their bytes are made so that ours do the same.
 *
 * @module
 */
import { compareBytes } from "../../src/bytes/compare.ts";
import type { RangeTombstone } from "../../src/format/types.ts";
import { NOT_COVERED, type RangeSet } from "../../src/lsm/range_set.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Numbers between two sequence numbers, for the keys that share one. */
const SLOTS = 64;
/** Number of what no read sees: a fragment that has it alone prints without keys. */
export const NEVER_SEEN: number = Number.MAX_SAFE_INTEGER;
/** Kinds that share a sequence number stand in this order. */
const KINDS = ["RANGEKEYSET", "RANGEKEYUNSET", "RANGEKEYDEL", "RANGEDEL"];

/** The bytes of a key: `prefix@n` sorts behind `prefix` and before every longer prefix, greater `n` first. */
export function keyOf(text: string): Uint8Array {
  const [, prefix, suffix] = /^(.*)@(\d+)$/.exec(text) ?? [];
  if (prefix === undefined) return encoder.encode(text);
  const inverted = 0xffffffff - Number(suffix);
  return Uint8Array.from([...encoder.encode(prefix), 0, ...[24, 16, 8, 0].map((bits) => (inverted >>> bits) & 0xff)]);
}

/** The text of a key. */
export function textOf(key: Uint8Array): string {
  const at = key.indexOf(0);
  if (at < 0 || key.length !== at + 5) return decoder.decode(key);
  const inverted = new DataView(key.buffer, key.byteOffset + at + 1, 4).getUint32(0);
  return `${decoder.decode(key.subarray(0, at))}@${0xffffffff - inverted}`;
}

/** The first key behind all that have the prefix that `key` has: they are `prefix` and `prefix@n`. */
export function behindPrefixOf(key: Uint8Array): Uint8Array {
  const at = key.indexOf(0);
  return Uint8Array.from([...(at < 0 ? key : key.subarray(0, at)), 1]);
}

/** A span of a file: its bounds and its keys' texts, newest first. */
export interface SpanText {
  readonly start: string;
  readonly end: string;
  readonly keys: ReadonlyArray<string>;
}

/** Reads `start-end:{(#seq,KIND,…) …}`. */
export function parseSpan(line: string): SpanText {
  const [, start, end, inside] = /^([^-]*)-([^:]*):\{(.*)\}$/.exec(line.trim()) ?? [];
  if (inside === undefined) throw new Error(`not a span: ${line}`);
  const keys = [...inside.matchAll(/\(?(#[^()\s]+)\)?/g)].map(([, key]) => key!);
  return { start: start!, end: end!, keys };
}

/** Reads spans drawn to scale: `seq: start---end`. */
export function parseDrawn(lines: ReadonlyArray<string>): RangeTombstone[] {
  return lines.map((line) => {
    const [, seq, start, end] = /^(\d+):\s*([a-z])-*([a-z])$/.exec(line.trim()) ?? [];
    if (end === undefined) throw new Error(`not a drawn span: ${line}`);
    return { start: keyOf(start!), end: keyOf(end), seq: Number(seq), createTs: 0 };
  });
}

/** A span to scale: a letter's column is its place in the alphabet. */
export function draw({ start, end, seq }: RangeTombstone): string {
  const [from, to] = [textOf(start), textOf(end!)];
  const column = (letter: string) => letter.charCodeAt(0) - "a".charCodeAt(0);
  return `${seq}: ${" ".repeat(column(from))}${from}${"-".repeat(column(to) - column(from) - 1)}${to}`;
}

/** `start-end:{(key) (key)}`. */
export function spanText(start: Uint8Array, end: Uint8Array | undefined, keys: ReadonlyArray<string>): string {
  return `${textOf(start)}-${textOf(end!)}:{${keys.map((key) => `(${key})`).join(" ")}}`;
}

/** The greatest number that a read at `seq` sees: all below. */
export function boundOf(seq: number): number {
  return seq * SLOTS - 1;
}

/** The numbers that a read up to `maxSeq` sees of fragment `i`, newest first. */
export function seenOf(set: RangeSet, i: number, maxSeq: number): number[] {
  const seen: number[] = [];
  for (let seq = set.seqAt(i, maxSeq); seq !== NOT_COVERED; seq = set.seqAt(i, justBelow(seq))) seen.push(seq);
  return seen;
}

/** The next smaller number there is. */
function justBelow(seq: number): number {
  return seq * (1 - Number.EPSILON / 2);
}

/** Which number stands for which key, for the spans of one definition. */
export class SpanKeys {
  readonly #texts: Map<number, string> = new Map();
  readonly #numbers: Map<string, number> = new Map();

  constructor(spans: ReadonlyArray<SpanText>) {
    const bySeq = new Map<number, Set<string>>();
    for (const key of spans.flatMap(({ keys }) => keys)) {
      const seq = seqOf(key);
      bySeq.set(seq, (bySeq.get(seq) ?? new Set()).add(key));
    }
    for (const [seq, keys] of bySeq) {
      const sorted = [...keys].sort((a, b) => KINDS.indexOf(kindOf(a)) - KINDS.indexOf(kindOf(b)));
      if (sorted.length > SLOTS) throw new Error(`${sorted.length} keys have the number ${seq}`);
      for (const [i, key] of sorted.entries()) {
        const number = seq * SLOTS + SLOTS - 1 - i;
        this.#texts.set(number, key);
        this.#numbers.set(key, number);
      }
    }
  }

  /** The tombstones that stand for spans; a span without keys for one that nobody sees. */
  tombstones(spans: ReadonlyArray<SpanText>): RangeTombstone[] {
    return spans.flatMap(({ start, end, keys }) => {
      const numbers = keys.length === 0 ? [NEVER_SEEN] : keys.map((key) => this.#numbers.get(key)!);
      return numbers.map((seq) => ({ start: keyOf(start), end: keyOf(end), seq, createTs: 0 }));
    });
  }

  /** The texts of numbers. */
  textsOf(numbers: ReadonlyArray<number>): string[] {
    return numbers.map((number) => this.#texts.get(number)!);
  }

  /** Fragment `i` as a read up to `maxSeq` sees it. */
  show(set: RangeSet, i: number, maxSeq: number = NEVER_SEEN - 1): string {
    return spanText(set.start(i), set.end(i), this.textsOf(seenOf(set, i, maxSeq)));
  }
}

/** The sequence number of a key's text. */
export function seqOf(key: string): number {
  return Number(/^#(\d+),/.exec(key)?.[1]);
}

/** The kind of a key's text. */
export function kindOf(key: string): string {
  return key.split(",")[1]!;
}

/** A walk over the fragments of a set, or of a window of them: before the first, on one, or after the last. */
export class SpanWalk {
  readonly #set: RangeSet;
  readonly #low: number;
  readonly #high: number;
  #at: number;

  /** @param window numbers of the first fragment and of that behind the last; default: all */
  constructor(set: RangeSet, window: { readonly low: number; readonly high: number } = { low: 0, high: set.count }) {
    this.#set = set;
    this.#low = window.low;
    this.#high = Math.max(window.low, window.high);
    this.#at = this.#low - 1;
  }

  /** Number of the fragment that the walk stands on; undefined outside. */
  get at(): number | undefined {
    return this.#at < this.#low || this.#at >= this.#high ? undefined : this.#at;
  }

  /** Executes `first`, `last`, `next`, `prev`, `seek-ge k`, `seek-lt k` or `seek-le k`. */
  move(line: string): this {
    const [operation, argument] = line.trim().split(/\s+/);
    const to = this.#target(operation!, argument);
    this.#at = Math.max(this.#low - 1, Math.min(this.#high, to));
    return this;
  }

  #target(operation: string, argument: string | undefined): number {
    switch (operation) {
      case "first":
        return this.#low;
      case "last":
        return this.#high - 1;
      case "next":
        return this.#at + 1;
      case "prev":
        return this.#at - 1;
      case "seek-ge":
        return this.#set.find(keyOf(argument!));
      case "seek-lt":
        return lastBelow(this.#set, keyOf(argument!), false);
      case "seek-le":
        return lastBelow(this.#set, keyOf(argument!), true);
      default:
        throw new Error(`unknown operation: ${operation}`);
    }
  }
}

/** The last fragment that starts below `key`, or at it. */
export function lastBelow(set: RangeSet, key: Uint8Array, inclusive: boolean): number {
  const i = set.find(key);
  if (i === set.count) return i - 1;
  const order = compareBytes(set.start(i), key);
  return order < 0 || (order === 0 && inclusive) ? i : i - 1;
}
