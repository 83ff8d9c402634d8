/**
 * Handler of `keyspan-visible` and `keyspan-visible_at`: which keys of a span a read sees.
 *
 * Numbers with bit 55 set belong to a batch that is not committed. In our engine that is a transaction's own batch, whose
 * rows carry numbers between the last one that it sees and the next: for each read they are numbered anew.
 *
 * @module
 */
import type { RangeTombstone } from "../../src/format/types.ts";
import { newestOver, NOT_COVERED, RangeSet } from "../../src/lsm/range_set.ts";
import type { PebbleBlock, PebbleSession } from "./pebble_files.ts";
import { keyOf, parseSpan, seenOf, seqOf, type SpanText, spanText } from "./span_text.ts";

/** From this number on a number is one of an uncommitted batch. */
const BATCH_BIT = 2 ** 55;

/** Handles `define`, `visible` and `visible-at`. */
export function visible(): PebbleSession {
  let span: SpanText = { start: "", end: "", keys: [] };
  const answer = (block: PebbleBlock, show: (read: Read) => string): string =>
    block.input.map((line) => `${line.trim().padEnd(2)}: ${show(new Read(span, Number(line)))}`).join("\n");
  return {
    commands: {
      define: ({ input }) => {
        span = parseSpan(input[0]!);
        return "";
      },
      visible: (block) => answer(block, (read) => read.seen()),
      "visible-at": (block) => answer(block, (read) => String(read.seesAny())),
    },
  };
}

/** A read of a transaction that began when `seq` was the next number. */
class Read {
  readonly #span: SpanText;
  readonly #committed: ReadonlyArray<number>;
  readonly #own: ReadonlyArray<number>;
  readonly #maxSeq: number;

  constructor(span: SpanText, seq: number) {
    this.#span = span;
    const seqs = span.keys.map(seqOf);
    this.#committed = seqs.filter((one) => one < BATCH_BIT);
    const own = seqs.length - this.#committed.length;
    this.#own = Array.from({ length: own }, (_, i) => seq - 1 + (own - i) / (own + 1));
    this.#maxSeq = seq - 1 + own / (own + 1);
  }

  /** The span with what the read sees of it. */
  seen(): string {
    const set = RangeSet.of(this.#tombstones([...this.#own, ...this.#committed]));
    const seen = seenOf(set, 0, this.#maxSeq).map((one) => {
      const i = this.#own.indexOf(one);
      return this.#span.keys[i >= 0 ? i : this.#own.length + this.#committed.indexOf(one)]!;
    });
    return spanText(set.start(0), set.end(0), seen);
  }

  /** Whether it sees one, over the sets that a view has. */
  seesAny(): boolean {
    const sets = [this.#own, this.#committed].map((seqs) => RangeSet.of(this.#tombstones(seqs)));
    return newestOver(sets, keyOf(this.#span.start), this.#maxSeq) !== NOT_COVERED;
  }

  #tombstones(seqs: ReadonlyArray<number>): RangeTombstone[] {
    const { start, end } = this.#span;
    return seqs.map((seq) => ({ start: keyOf(start), end: keyOf(end), seq, createTs: 0 }));
  }
}
