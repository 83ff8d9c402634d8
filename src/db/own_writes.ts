/**
 * A transaction's own writes as its reads see them: a private memtable above everything that was committed.
 *
 * Its rows carry numbers between the newest number that the transaction sees and the next one, so that to every lookup
 * and cursor they are simply the newest versions. Numbers rise by steps: a read that may last sees the steps taken so
 * far, and what is written later gets a later one, so that an open scan never changes under its caller. Operands stand
 * on steps of their own and are folded by whoever reads them; so do deleted ranges, which hide what stands on steps
 * below theirs. When the steps are used up, the batch is resolved into a fresh memtable, as a commit would do it.
 *
 * A lifetime that counts from the commit has not begun: such rows do not expire here.
 *
 * Invariant: X6 a read sees the committed rows up to the bound and the writes before its own beginning, for as long as
 * it goes on.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import { FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../format/types.ts";
import type { LsmView } from "../lsm/lsm_view.ts";
import { Memtable } from "../lsm/memtable.ts";
import type { FoldMerge } from "../lsm/merge_operator.ts";
import type { ReadSpec } from "../lsm/version_fold.ts";
import type { MergeOperator } from "./api.ts";
import { type BatchOps, TTL_AT } from "./batch_rows.ts";
import type { DeletedRange } from "./deleted_range.ts";
import type { WriteBatch } from "./write_batch.ts";

/** Bits of a number's mantissa. */
const MANTISSA_BITS = 52;
/** Steps never need more bits than this. */
const STEP_BITS_MAX = 30;

/** How the database folds; for resolving a batch. */
export interface Folding {
  readonly merge: FoldMerge | undefined;
  readonly mergeOperator: MergeOperator | "elsewhere" | undefined;
}

/** What a read inside a transaction works with: `own` is its private memtable, if it has written anything. */
export interface OwnSpec extends ReadSpec {
  readonly own: Memtable | undefined;
}

/** The writes of a batch above one bound. */
export class OwnWrites {
  readonly #batch: WriteBatch;
  readonly #bound: number;
  readonly #folding: Folding;
  readonly #steps: number;
  #table: Memtable | undefined = undefined;
  /** Operations of the batch that are in the table. */
  #taken = 0;
  /** Deleted ranges of the batch that are in the table. */
  #takenRanges = 0;
  /** Step of the newest rows, from 1. */
  #step = 1;
  /** Whether what comes next must stand on a later step. */
  #isStepClosed = false;
  /** Whether rows stand on the current step. */
  #isStepUsed = false;

  /** @param bound the newest committed number that reads see; the rows lie above it and below the next one */
  constructor(batch: WriteBatch, bound: number, folding: Folding) {
    this.#batch = batch;
    this.#bound = bound;
    this.#folding = folding;
    const bits = Math.min(STEP_BITS_MAX, MANTISSA_BITS - Math.ceil(Math.log2(bound + 2)));
    if (bits < 2) {
      throw new InvalidArgument({
        reason: "sequence-numbers",
        message:
          `Cannot begin a transaction: sequence number ${bound} leaves no room above it. Write without transactions`,
      });
    }
    this.#steps = 2 ** bits;
  }

  /**
   * The view of a read that starts now, and the number it sees.
   *
   * @param lasts whether the read may still go on when the next operation is added
   * @throws InvalidArgument when operands that have to be folded can not be
   */
  spec(base: ReadSpec, lasts: boolean): OwnSpec {
    const { nowMillis, mergeOperator } = base;
    const { size } = this.#batch;
    if (size === 0) return { maxSeq: this.#bound, nowMillis, mergeOperator, own: undefined };
    if (this.#taken + this.#takenRanges < size) this.#take();
    if (lasts) this.#isStepClosed = true;
    return { maxSeq: this.#numberOf(this.#step), nowMillis, mergeOperator, own: this.#table };
  }

  #numberOf(step: number): number {
    return this.#bound + step / this.#steps;
  }

  /** Brings the table up to the batch. */
  #take(): void {
    const { ops, points, ranges } = this.#batch.clone();
    while (this.#taken < points || this.#takenRanges < ranges.length) {
      const range = ranges[this.#takenRanges];
      if (range !== undefined && range.at <= this.#taken) this.#takeRange(range);
      else this.#takeOp(ops, this.#taken);
    }
  }

  #takeOp(ops: BatchOps, op: number): void {
    const { bytes, starts, keyEnds, ends, kinds, ttlModes, ttlMillis } = ops;
    const kind = kinds[op]!;
    // Only puts and deletes make what stood below them on the same step irrelevant.
    const table = this.#tableFor((kind & ~FLAG_TOMBSTONE) !== 0);
    if (table === undefined) return;
    const start = starts[op]!;
    const keyEnd = keyEnds[op]!;
    const expireTs = ttlModes[op] === TTL_AT ? ttlMillis[op]! : NO_EXPIRY;
    const seq = this.#numberOf(this.#step);
    table.insert(bytes, start, keyEnd, seq, kind, NO_TICK, expireTs, bytes, keyEnd, ends[op]!);
    this.#taken++;
  }

  #takeRange({ start, end }: DeletedRange): void {
    const table = this.#tableFor(true);
    if (table === undefined) return;
    table.insertRange({ start, end, seq: this.#numberOf(this.#step), createTs: NO_TICK });
    this.#takenRanges++;
  }

  /** The table for what comes next, on the right step; undefined when all of the batch was resolved into it just now. */
  #tableFor(needsOwnStep: boolean): Memtable | undefined {
    if (this.#isStepUsed && (this.#isStepClosed || needsOwnStep) && this.#nextStep() === "resolved") return undefined;
    this.#isStepClosed = false;
    this.#isStepUsed = true;
    return this.#table ??= new Memtable();
  }

  #nextStep(): "next" | "resolved" {
    this.#isStepUsed = false;
    if (++this.#step < this.#steps) return "next";
    const captured = this.#batch.clone();
    const { merge, mergeOperator } = this.#folding;
    // At the end of all times no lifetime that begins then has passed.
    const rows = captured.plan(Number.MAX_SAFE_INTEGER, Infinity, merge, mergeOperator);
    this.#table = new Memtable();
    this.#step = 1;
    rows.insertInto(this.#table, this.#numberOf(1));
    this.#taken = captured.points;
    this.#takenRanges = captured.ranges.length;
    this.#isStepUsed = true;
    this.#isStepClosed = false;
    return "resolved";
  }
}

/** The view that a read with `spec` works on: the private memtable on top of `base`. */
export function viewWith(base: LsmView, spec: OwnSpec): LsmView {
  if (spec.own === undefined) return base;
  return { memtables: [spec.own, ...base.memtables], l0: base.l0, runs: base.runs };
}
