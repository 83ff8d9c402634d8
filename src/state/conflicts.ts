/**
 * What was committed since the oldest open transaction began: the memory that conflict detection asks.
 *
 * While nobody watches, nothing is recorded and nothing allocated. Whoever begins a transaction (or anything else that
 * reads first and writes later) opens a {@linkcode Watch} at the last sequence number; from then on every applied write
 * is recorded under its own, plain batches too. A record is dropped when no open watch is older than it. The memory has
 * a bound: past it the oldest watches lose their history, and a transaction without history is refused instead of being
 * let through unchecked (K-15).
 *
 * Keys meet keys by hash; ranges are walked over what was committed since the watch began. Pure and synchronous: check,
 * sequence number and application are one step of the write path.
 *
 * Invariants: X1 a write that a watch must know of is found, or the watch is lost; X2 the bytes recorded stay below the
 * bound.
 *
 * @module
 */
import { type KeySpan, keyText, spanContains, SpanSet, spansOverlap } from "./key_spans.ts";

/** What a batch writes, told key by key. */
export interface Footprint {
  /** Calls back with each key, `bytes[start..end)`. */
  forEachKey(visit: (bytes: Uint8Array, start: number, end: number) => void): void;
  /** Calls back with each range that is deleted as a whole. */
  forEachRange?(visit: (range: KeySpan) => void): void;
}

/** What must not have been written by others since a watch began. */
export interface Claim {
  /** What the transaction writes itself. */
  readonly writes?: Footprint | undefined;
  /** Keys whose writes by others do not matter, though it writes them too. */
  readonly exempt?: ReadonlySet<string> | undefined;
  /** Keys that it read. */
  readonly keys?: Iterable<string> | undefined;
  /** Spans that it looked at. */
  readonly spans?: Iterable<KeySpan> | undefined;
}

/** The first thing found that others wrote. */
export interface Conflict {
  /** Others wrote what is written here, a key that was read, a key in a span that was scanned; or nobody knows. */
  readonly reason: "write" | "read" | "range" | "history-lost";
  /** The key that both sides touched; absent when two ranges meet. */
  readonly key?: string;
  /** The range that was deleted, scanned, or both; absent when two keys meet. */
  readonly range?: KeySpan;
  /** Sequence number of the write that is in the way. */
  readonly seq?: number;
}

/** Somebody who will ask what was committed after a sequence number. */
export class Watch {
  /** Writes after this number matter. */
  readonly startedSeq: number;
  /** Its history was dropped: what was committed since is not known. */
  isLost = false;

  constructor(startedSeq: number) {
    this.startedSeq = startedSeq;
  }
}

/** A range that was deleted. */
interface RecordedRange extends KeySpan {
  readonly seq: number;
}

/** Memory of a recorded key besides its bytes: string, log and map. */
const KEY_OVERHEAD_BYTES = 80;
const RANGE_OVERHEAD_BYTES = 120;
/** Dropped records that may stay in the arrays. */
const SLACK_RECORDS = 1024;

/** Recent committed writes, for as long as somebody watches. */
export class ConflictHistory {
  readonly #maxBytes: number;
  /** In the order in which they began, which is the order of their numbers. */
  readonly #watches = new Set<Watch>();
  /** The log: key and number of each record from `#head` on, oldest first. */
  #keys: string[] = [];
  #seqs: number[] = [];
  #head = 0;
  /** Number of the newest record of each key in the log. */
  readonly #newest = new Map<string, number>();
  /** Oldest first. */
  #ranges: RecordedRange[] = [];
  #lastSeq = 0;
  /** Number of the newest write of which some keys were left out on purpose. */
  #lastExemptSeq = 0;
  #bytes = 0;

  /** @param maxBytes memory for records */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether anybody watches. */
  get isActive(): boolean {
    return this.#watches.size > 0;
  }

  /** Bytes held, estimated. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Begins to watch; `seq` is the last sequence number applied. */
  watch(seq: number): Watch {
    const watch = new Watch(seq);
    this.#watches.add(watch);
    return watch;
  }

  /** Ends a watch. A second time does nothing. */
  end(watch: Watch): void {
    if (this.#watches.delete(watch)) this.#trim();
  }

  /** Notes that write `seq` touched the key `bytes[start..end)`. Numbers never go back. */
  recordKey(seq: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#watches.size > 0) this.#record(seq, keyText(bytes, start, end));
  }

  /** Notes what a batch wrote; `exempt` keys are kept from it. */
  recordWrites(seq: number, writes: Footprint, exempt?: ReadonlySet<string>): void {
    if (this.#watches.size === 0) return;
    if (exempt !== undefined && exempt.size > 0) this.#lastExemptSeq = seq;
    writes.forEachKey((bytes, start, end) => {
      if (this.#watches.size === 0) return;
      const key = keyText(bytes, start, end);
      if (exempt === undefined || !exempt.has(key)) this.#record(seq, key);
    });
    writes.forEachRange?.((range) => this.#recordRange(seq, range));
  }

  /** The first thing of `claim` that was written since `watch` began; undefined when nothing was. */
  check(watch: Watch, claim: Claim): Conflict | undefined {
    if (watch.isLost) return isEmpty(claim) ? undefined : { reason: "history-lost" };
    // The usual case: nothing was committed meanwhile.
    if (this.#lastSeq <= watch.startedSeq) return undefined;
    const since = new Since(this, watch.startedSeq);
    const { writes, exempt, keys, spans } = claim;
    if (writes !== undefined) {
      const conflict = since.writes(writes, exempt);
      if (conflict !== undefined) return conflict;
    }
    for (const key of keys ?? []) {
      const conflict = since.key("read", key);
      if (conflict !== undefined) return conflict;
    }
    return spans === undefined ? undefined : since.spans("range", new SpanSet(spans));
  }

  /** Whether every key and range written since `watch` began is on record, those that no conflict counts too. */
  isComplete(watch: Watch): boolean {
    return !watch.isLost && this.#lastExemptSeq <= watch.startedSeq;
  }

  /** Number of the newest write of `key` recorded; 0 when there is none. */
  newestOf(key: string): number {
    return this.#newest.get(key) ?? 0;
  }

  /** Ranges deleted after `seq`, oldest first. */
  rangesAfter(seq: number): RecordedRange[] {
    let from = this.#ranges.length;
    while (from > 0 && this.#ranges[from - 1]!.seq > seq) from--;
    return this.#ranges.slice(from);
  }

  /** Calls back with the records after `seq`, oldest first, until it answers true. */
  someKeyAfter(seq: number, visit: (key: string, seq: number) => boolean): void {
    let low = this.#head;
    let high = this.#seqs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#seqs[middle]! <= seq) low = middle + 1;
      else high = middle;
    }
    while (low < this.#seqs.length && !visit(this.#keys[low]!, this.#seqs[low]!)) low++;
  }

  #record(seq: number, key: string): void {
    this.#keys.push(key);
    this.#seqs.push(seq);
    this.#newest.set(key, seq);
    this.#noted(seq, key.length + KEY_OVERHEAD_BYTES);
  }

  #recordRange(seq: number, { lower, upper }: KeySpan): void {
    if (this.#watches.size === 0) return;
    this.#ranges.push({ seq, lower, upper });
    this.#noted(seq, rangeBytes(lower, upper));
  }

  #noted(seq: number, bytes: number): void {
    this.#lastSeq = seq;
    this.#bytes += bytes;
    while (this.#bytes > this.#maxBytes) {
      const [oldest] = this.#watches;
      if (oldest === undefined) return;
      oldest.isLost = true;
      this.#watches.delete(oldest);
      this.#trim();
    }
  }

  /** Drops what no watch asks for any more. */
  #trim(): void {
    const [oldest] = this.#watches;
    if (oldest === undefined) return this.#clear();
    const until = oldest.startedSeq;
    while (this.#head < this.#seqs.length && this.#seqs[this.#head]! <= until) {
      const key = this.#keys[this.#head]!;
      if (this.#newest.get(key) === this.#seqs[this.#head]) this.#newest.delete(key);
      this.#keys[this.#head] = "";
      this.#bytes -= key.length + KEY_OVERHEAD_BYTES;
      this.#head++;
    }
    if (this.#head > SLACK_RECORDS && this.#head * 2 > this.#seqs.length) {
      this.#keys = this.#keys.slice(this.#head);
      this.#seqs = this.#seqs.slice(this.#head);
      this.#head = 0;
    }
    let dropped = 0;
    while (dropped < this.#ranges.length && this.#ranges[dropped]!.seq <= until) {
      const { lower, upper } = this.#ranges[dropped++]!;
      this.#bytes -= rangeBytes(lower, upper);
    }
    if (dropped > 0) this.#ranges = this.#ranges.slice(dropped);
  }

  #clear(): void {
    this.#keys = [];
    this.#seqs = [];
    this.#head = 0;
    this.#newest.clear();
    this.#ranges = [];
    this.#bytes = 0;
  }
}

/** What was committed after one number, asked piece by piece. */
class Since {
  readonly #history: ConflictHistory;
  readonly #seq: number;
  readonly #ranges: readonly RecordedRange[];
  readonly #covered: SpanSet;

  constructor(history: ConflictHistory, seq: number) {
    this.#history = history;
    this.#seq = seq;
    this.#ranges = history.rangesAfter(seq);
    this.#covered = new SpanSet(this.#ranges);
  }

  /** What a transaction writes: its keys in their order, then its ranges. */
  writes(writes: Footprint, exempt: ReadonlySet<string> | undefined): Conflict | undefined {
    let found: Conflict | undefined;
    writes.forEachKey((bytes, start, end) => {
      if (found !== undefined) return;
      const key = keyText(bytes, start, end);
      if (exempt === undefined || !exempt.has(key)) found = this.key("write", key);
    });
    if (found !== undefined || writes.forEachRange === undefined) return found;
    const ranges: KeySpan[] = [];
    writes.forEachRange((range) => void ranges.push(range));
    return this.spans("write", new SpanSet(ranges));
  }

  key(reason: "write" | "read", key: string): Conflict | undefined {
    const seq = this.#history.newestOf(key);
    if (seq > this.#seq) return { reason, key, seq };
    if (this.#covered.isEmpty || this.#covered.holding(key) === undefined) return undefined;
    const { seq: deletedAt, lower, upper } = this.#ranges.find((range) => spanContains(range, key))!;
    return { reason, key, range: { lower, upper }, seq: deletedAt };
  }

  spans(reason: "write" | "range", spans: SpanSet): Conflict | undefined {
    if (spans.isEmpty) return undefined;
    let found: Conflict | undefined;
    this.#history.someKeyAfter(this.#seq, (key, seq) => {
      const range = spans.holding(key);
      if (range === undefined) return false;
      found = { reason, key, range, seq };
      return true;
    });
    if (found !== undefined || this.#covered.isEmpty) return found;
    for (const deleted of this.#ranges) {
      const range = spans.meeting(deleted);
      if (range !== undefined && spansOverlap(range, deleted)) return { reason, range, seq: deleted.seq };
    }
    return undefined;
  }
}

function rangeBytes(lower: string, upper: string | undefined): number {
  return lower.length + (upper?.length ?? 0) + RANGE_OVERHEAD_BYTES;
}

/** Whether nothing is claimed, so that nothing can be in its way. */
function isEmpty({ writes, exempt, keys, spans }: Claim): boolean {
  for (const _ of keys ?? []) return false;
  for (const _ of spans ?? []) return false;
  let any = false;
  writes?.forEachKey((bytes, start, end) => {
    any ||= exempt === undefined || !exempt.has(keyText(bytes, start, end));
  });
  writes?.forEachRange?.(() => any = true);
  return !any;
}
