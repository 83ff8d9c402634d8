/**
 * Handler of `keyspan-visible` and `keyspan-visible_at`: which keys of a span a read sees.
 *
 * Numbers with bit 55 set belong to a batch that is not committed. In our engine that is a transaction's own batch: as many
 * range deletes as the span has such numbers, in a transaction that begins where the read stands.
 *
 * @module
 */
import { OwnWrites } from "../../src/db/own_writes.ts";
import { WriteBatch } from "../../src/db/write_batch.ts";
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
  readonly #committed: ReadonlyArray<RangeTombstone>;
  readonly #own: ReadonlyArray<RangeTombstone>;
  readonly #maxSeq: number;

  constructor(span: SpanText, seq: number) {
    this.#span = span;
    const [start, end] = [keyOf(span.start), keyOf(span.end)];
    const seqs = span.keys.map(seqOf);
    this.#committed = seqs.filter((one) => one < BATCH_BIT).map((one) => ({ start, end, seq: one, createTs: 0 }));
    const batch = new WriteBatch();
    for (let own = seqs.length - this.#committed.length; own > 0; own--) batch.deleteRange({ gte: start, lt: end });
    const folding = { merge: undefined, mergeOperator: undefined };
    const read = { maxSeq: seq - 1, nowMillis: 0, mergeOperator: undefined };
    const { own, maxSeq } = new OwnWrites(batch, seq - 1, folding).spec(read, true);
    this.#own = own?.ranges.all().sort((a, b) => b.seq - a.seq) ?? [];
    this.#maxSeq = maxSeq;
  }

  /** The span with what the read sees of it. */
  seen(): string {
    const all = [...this.#own, ...this.#committed];
    const set = RangeSet.of(all);
    // The keys stand newest first, those of the batch in front.
    const seen = seenOf(set, 0, this.#maxSeq).map((one) => this.#span.keys[all.findIndex(({ seq }) => seq === one)]!);
    return spanText(set.start(0), set.end(0), seen);
  }

  /** Whether it sees one, over the sets that a view has. */
  seesAny(): boolean {
    const sets = [RangeSet.of(this.#own), RangeSet.of(this.#committed)];
    return newestOver(sets, keyOf(this.#span.start), this.#maxSeq) !== NOT_COVERED;
  }
}
