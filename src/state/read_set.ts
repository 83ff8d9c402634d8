/**
 * What a transaction has read: the keys it asked for and the spans of keys that its scans and cursors have looked at.
 *
 * A scan has looked at everything from where it began, or was told to go on, to the last row that it answered, and at
 * the whole rest of its range once it found no more: the gaps between rows are read as much as the rows (K-20). A move
 * of a cursor has looked at everything from where it began to the row that it answered, or to the end of the range.
 *
 * Invariants: X3 whatever was read lies in what the set covers; X4 its memory is bounded: past the bound it covers one
 * span from the first to the last key read, which may find conflicts that are none but misses none.
 *
 * @module
 */
import type { ScanRange } from "../lsm/key_range.ts";
import { type KeySpan, keyText, textSuccessor } from "./key_spans.ts";

const KEY_OVERHEAD_BYTES = 60;
const SPAN_OVERHEAD_BYTES = 120;

/** A span that still grows. */
interface OpenSpan extends KeySpan {
  lower: string;
  upper: string | undefined;
}

/** Keys and spans read by one transaction. */
export class ReadSet {
  readonly #maxBytes: number;
  readonly #keys = new Set<string>();
  #spans = new Set<OpenSpan>();
  #bytes = 0;
  /** Set once the bound was passed: covers everything. */
  #hull: OpenSpan | undefined = undefined;

  /** @param maxBytes memory for keys and spans */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Keys read one by one. */
  get keys(): ReadonlySet<string> {
    return this.#keys;
  }

  /** Spans looked at. */
  get spans(): Iterable<KeySpan> {
    return this.#spans;
  }

  /** Adds a key that was asked for, found or not. */
  addKey(key: Uint8Array): void {
    const text = keyText(key);
    if (this.#hull !== undefined) return widen(this.#hull, text, textSuccessor(text));
    if (this.#keys.has(text)) return;
    this.#keys.add(text);
    this.#grown(text.length + KEY_OVERHEAD_BYTES);
  }

  /** A scan of `range` begins; what it looks at is told to the answer. */
  scan(range: ScanRange, descending: boolean): ScanTrace {
    const { start, startInclusive, end, endInclusive } = range;
    const first = start === undefined ? "" : keyText(start);
    const last = end === undefined ? undefined : keyText(end);
    return new ScanTrace(
      (span) => this.#addSpan(span),
      {
        lower: startInclusive ? first : textSuccessor(first),
        upper: last === undefined || !endInclusive ? last : textSuccessor(last),
      },
      descending,
    );
  }

  /**
   * A cursor begins: each span that it looks at, half-open and undefined where unbounded, is told to the answer. Spans
   * that touch the one before grow together with it, so that going back and forth costs no memory.
   */
  cursor(): (lower: Uint8Array | undefined, upper: Uint8Array | undefined) => void {
    let last: OpenSpan | undefined;
    return (lower, upper) => {
      const span = {
        lower: lower === undefined ? "" : keyText(lower),
        upper: upper === undefined ? undefined : keyText(upper),
      };
      if (last !== undefined && spansTouch(last, span)) widen(last, span.lower, span.upper);
      else last = span;
      this.#addSpan(last);
    };
  }

  /** Takes a span, new or grown since. */
  #addSpan(span: OpenSpan): void {
    if (this.#hull !== undefined) return widen(this.#hull, span.lower, span.upper);
    if (this.#spans.has(span)) return;
    this.#spans.add(span);
    this.#grown(span.lower.length + (span.upper?.length ?? 0) + SPAN_OVERHEAD_BYTES);
  }

  #grown(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#maxBytes) return;
    let hull: OpenSpan | undefined;
    const cover = (lower: string, upper: string | undefined) => {
      if (hull === undefined) hull = { lower, upper };
      else widen(hull, lower, upper);
    };
    for (const key of this.#keys) cover(key, textSuccessor(key));
    for (const { lower, upper } of this.#spans) cover(lower, upper);
    this.#keys.clear();
    this.#hull = hull!;
    this.#spans = new Set([hull!]);
  }
}

/** Where one scan has looked. */
export class ScanTrace {
  readonly #add: (span: OpenSpan) => void;
  readonly #range: KeySpan;
  readonly #descending: boolean;
  /** What was looked at since the scan began or was last told where to go on; undefined before the first answer. */
  #span: OpenSpan | undefined = undefined;
  /** Where that begins, in scan order. */
  #from: string | undefined;

  constructor(add: (span: OpenSpan) => void, range: KeySpan, descending: boolean) {
    this.#add = add;
    this.#range = range;
    this.#descending = descending;
    this.#from = descending ? range.upper : range.lower;
  }

  /** The scan has answered rows up to `key`. */
  reached(key: Uint8Array): void {
    const text = keyText(key);
    this.#cover(this.#descending ? text : textSuccessor(text));
  }

  /** The scan has found no more rows. */
  ended(): void {
    this.#cover(this.#descending ? this.#range.lower : this.#range.upper);
  }

  /** The scan goes on at `key` and has not looked at what it skips. */
  sought(key: Uint8Array): void {
    const text = keyText(key);
    this.#span = undefined;
    this.#from = this.#descending ? textSuccessor(text) : text;
  }

  #cover(to: string | undefined): void {
    this.#span ??= this.#descending ? { lower: to ?? "", upper: this.#from } : { lower: this.#from ?? "", upper: to };
    if (this.#descending) this.#span.lower = to ?? "";
    else this.#span.upper = to;
    this.#add(this.#span);
  }
}

function spansTouch(a: KeySpan, b: KeySpan): boolean {
  return (a.upper === undefined || b.lower <= a.upper) && (b.upper === undefined || a.lower <= b.upper);
}

function widen(span: OpenSpan, lower: string, upper: string | undefined): void {
  if (lower < span.lower) span.lower = lower;
  if (upper === undefined || (span.upper !== undefined && upper > span.upper)) span.upper = upper;
}
