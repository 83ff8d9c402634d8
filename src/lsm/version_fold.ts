/**
 * Makes one answer of the versions of one key: newest value, or merge operands folded onto it.
 *
 * Versions come newest first. The first visible one that is not an operand decides. Read-time expiry is judged row by
 * row before folding (decision D9): an expired value acts as a tombstone, an expired operand is as if not there.
 * A folded answer carries the greatest sequence number and creation time and the smallest expiry of what went into it,
 * base included.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import { FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../format/types.ts";
import type { FoldMerge } from "./merge_operator.ts";
import type { RowView } from "./row_fields.ts";

const EMPTY = new Uint8Array(0);

/** What a read sees. */
export interface ReadSpec {
  /** Newest sequence number that the read sees. */
  readonly maxSeq: number;
  /** Rows that expire at or before this time are hidden; -Infinity hides none (TTL mode "slatedb"). */
  readonly nowMillis: number;
  /** Undefined: a visible operand fails the read. */
  readonly mergeOperator: FoldMerge | undefined;
}

/** The answer about one key. */
export interface FoundRow {
  value: Uint8Array;
  seq: number;
  /** ms since 1970; NO_TICK when the row has none. */
  createTs: number;
  /** ms since 1970; NO_EXPIRY when the row has none. */
  expireTs: number;
}

/** An empty answer to be filled by a lookup. */
export function emptyRow(): FoundRow {
  return { value: EMPTY, seq: 0, createTs: NO_TICK, expireTs: NO_EXPIRY };
}

/** The failure of a read that met an operand without an operator. */
function mergeOperatorMissing(): InvalidArgument {
  return new InvalidArgument({
    reason: "merge-operator-missing",
    message: "Cannot read: the key has merge operands and the database was opened without a merge operator",
  });
}

/** Collects the versions of one key. Used again for the next key after `reset`. */
export class VersionFold {
  /** Whether any version was taken that contributes to an answer. */
  found = false;
  hasBase = false;
  baseBytes: Uint8Array = EMPTY;
  baseStart = 0;
  baseEnd = 0;
  seq = 0;
  createTs: number = NO_TICK;
  expireTs: number = NO_EXPIRY;
  /** Newest first. */
  readonly operands: Uint8Array[] = [];
  /** A visible operand was met without an operator: the answer is a failure. */
  operatorMissing = false;

  /** Forgets the versions taken. */
  reset(): void {
    this.found = false;
    this.operatorMissing = false;
    this.hasBase = false;
    this.baseBytes = EMPTY;
    this.seq = 0;
    this.createTs = NO_TICK;
    this.expireTs = NO_EXPIRY;
    if (this.operands.length > 0) this.operands.length = 0;
  }

  /**
   * Takes the next older version; true when older ones can not matter any more.
   *
   * Keeps references to the row's bytes, or copies of operands when `copies` is set.
   */
  take(row: RowView, spec: ReadSpec, copies: boolean): boolean {
    if (row.seq > spec.maxSeq) return false;
    const flags = row.flags;
    if ((flags & FLAG_TOMBSTONE) !== 0) return true;
    const isOperand = (flags & FLAG_MERGE) !== 0;
    if (row.expireTs <= spec.nowMillis) return !isOperand;
    if (!this.found) {
      this.found = true;
      this.seq = row.seq;
      this.createTs = row.createTs;
      this.expireTs = row.expireTs;
    } else {
      if (row.seq > this.seq) this.seq = row.seq;
      if (row.createTs > this.createTs) this.createTs = row.createTs;
      if (row.expireTs < this.expireTs) this.expireTs = row.expireTs;
    }
    if (isOperand) {
      if (spec.mergeOperator === undefined) {
        this.operatorMissing = true;
        return true;
      }
      const { valueBytes, valueStart, valueEnd } = row;
      this.operands.push(
        copies ? valueBytes.slice(valueStart, valueEnd) : valueBytes.subarray(valueStart, valueEnd),
      );
      return false;
    }
    this.hasBase = true;
    this.baseBytes = row.valueBytes;
    this.baseStart = row.valueStart;
    this.baseEnd = row.valueEnd;
    return true;
  }

  /**
   * Folds the operands onto the base. Only when there are operands; everything given to the operator is a copy.
   *
   * @throws InvalidArgument "merge-operator-missing", and what the operator throws
   */
  fold(key: Uint8Array, operator: FoldMerge | undefined): Uint8Array {
    if (operator === undefined || this.operatorMissing) throw mergeOperatorMissing();
    const base = this.hasBase ? this.baseBytes.slice(this.baseStart, this.baseEnd) : undefined;
    return operator(key, base, this.operands.map((operand) => operand.slice()).reverse());
  }
}
