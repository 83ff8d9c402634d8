/**
 * Keys and spans of keys as conflict detection compares them: as strings of one unit per byte.
 *
 * Such strings order as their bytes do, hash by themselves and compare natively, so that sets and maps of the platform
 * hold keys. A span is half-open; "" below means from the first key, undefined above means to the last.
 *
 * @module
 */

/** All keys from `lower` (inclusive; "" = from the first) to `upper` (exclusive; undefined = to the last). */
export interface KeySpan {
  readonly lower: string;
  readonly upper: string | undefined;
}

/** Units that are turned into text at once: arguments of one call. */
const TEXT_UNITS = 4096;

/** The bytes `[start..end)` as a string of one unit per byte. */
export function keyText(bytes: Uint8Array, start: number = 0, end: number = bytes.length): string {
  let text = "";
  for (let from = start; from < end; from += TEXT_UNITS) {
    const to = Math.min(end, from + TEXT_UNITS);
    text += String.fromCharCode.apply(null, bytes.subarray(from, to) as unknown as number[]);
  }
  return text;
}

/** The bytes that `text` stands for. */
export function textBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** The smallest key after `key`. */
export function textSuccessor(key: string): string {
  return `${key}\0`;
}

/** Whether `key` lies in `span`. */
export function spanContains(span: KeySpan, key: string): boolean {
  return key >= span.lower && (span.upper === undefined || key < span.upper);
}

/** Whether two spans have a key in common, if every key that could exist did. */
export function spansOverlap(a: KeySpan, b: KeySpan): boolean {
  return (a.upper === undefined || b.lower < a.upper) && (b.upper === undefined || a.lower < b.upper);
}

/** Spans, sorted, those that touch joined: answers by halving which of them a key or a span meets. */
export class SpanSet {
  readonly #spans: KeySpan[] = [];

  /** @param spans in any order; empty ones (`lower >= upper`) are left out */
  constructor(spans: Iterable<KeySpan>) {
    const sorted = [...spans].filter(({ lower, upper }) => upper === undefined || lower < upper);
    sorted.sort((a, b) => a.lower < b.lower ? -1 : a.lower > b.lower ? 1 : 0);
    for (const span of sorted) {
      const last = this.#spans.at(-1);
      if (last === undefined || (last.upper !== undefined && last.upper < span.lower)) this.#spans.push(span);
      else if (last.upper !== undefined && (span.upper === undefined || span.upper > last.upper)) {
        this.#spans[this.#spans.length - 1] = { lower: last.lower, upper: span.upper };
      }
    }
  }

  /** Whether there is no span. */
  get isEmpty(): boolean {
    return this.#spans.length === 0;
  }

  /** The joined span that holds `key`. */
  holding(key: string): KeySpan | undefined {
    const span = this.#spans[this.#startingAbove(key) - 1];
    return span !== undefined && spanContains(span, key) ? span : undefined;
  }

  /** The first joined span that has a key in common with `span`. */
  meeting(span: KeySpan): KeySpan | undefined {
    const before = this.#startingAbove(span.lower) - 1;
    for (let i = Math.max(0, before); i <= before + 1 && i < this.#spans.length; i++) {
      if (spansOverlap(this.#spans[i]!, span)) return this.#spans[i];
    }
    return undefined;
  }

  /** Number of the first span that begins above `key`. */
  #startingAbove(key: string): number {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#spans[middle]!.lower <= key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
