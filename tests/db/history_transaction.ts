/**
 * A transaction of a random history as the model knows it: what it wrote, what it looked at, and whether its commit
 * must be refused.
 *
 * @module
 */
import type { Transaction } from "../../src/db/transaction_api.ts";
import {
  type Commit,
  covers,
  type HistoryModel,
  lasting,
  type Op,
  overlap,
  type Span,
  type View,
} from "./history_model.ts";

/** What the model says about a commit. "either": the range of an expanded range delete is all that is in the way. */
export type Verdict = "passes" | "refused" | "either";

/** One open transaction beside its model. */
export class ShadowTransaction {
  readonly tx: Transaction;
  readonly name: string;
  /** What of it was durable when it began. */
  readonly durableSeq: number;
  readonly ops: Op[] = [];
  readonly unmarked = new Set<string>();
  readonly #keys = new Set<string>();
  readonly #spans: Span[] = [];

  constructor(tx: Transaction, name: string, durableSeq: number) {
    this.tx = tx;
    this.name = name;
    this.durableSeq = Math.min(durableSeq, tx.seq);
  }

  /** What a read sees at a time. */
  view(now: number, durable: boolean): View {
    return { maxSeq: durable ? this.durableSeq : this.tx.seq, own: this.ops.slice(), from: now, to: now };
  }

  /** Notes keys that were read, or are to count as read. */
  readKeys(keys: readonly string[], whatever: boolean): void {
    if (whatever || this.tx.isolation === "serializable") { for (const key of keys) this.#keys.add(key); }
  }

  /** Notes a span that was looked at. */
  looked(span: Span): void {
    if (this.tx.isolation === "serializable") this.#spans.push(span);
  }

  /** Whether somebody is in its way. */
  verdict(model: HistoryModel, expands: boolean): Verdict {
    const later = model.since(this.tx.seq);
    if (later.some((one) => this.#meets(one, !expands))) return "refused";
    return expands && later.some((one) => this.#meets(one, true)) ? "either" : "passes";
  }

  /** Of an expanded range delete only the keys that it found count, and nobody tells which those were. */
  #meets({ keys, spans }: Commit, withRanges: boolean): boolean {
    const ranges = withRanges ? spans : [];
    const hits = (key: string) => keys.has(key) || ranges.some((span) => covers(span, key));
    const meets = (span: Span) =>
      [...keys].some((key) => covers(span, key)) || ranges.some((one) => overlap(one, span));
    for (const op of lasting(this.ops)) {
      if (op.kind === "deleteRange" ? meets(op.span) : !this.unmarked.has(op.key) && hits(op.key)) return true;
    }
    return [...this.#keys].some(hits) || this.#spans.some(meets);
  }
}
