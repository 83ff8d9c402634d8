/**
 * What a flush or a compaction keeps of the versions of a key, and how it folds merge operands.
 *
 * Reads at every sequence number from `minSeq` on must give the same answer before and after. Per key, newest first:
 *
 * 1. A row that expired by `tick`: an operand is dropped, a value becomes a tombstone (it must go on hiding older rows).
 * 2. Rows above `minSeq` and operands are kept; the first value or tombstone at or below it is kept and ends the key.
 * 3. Operands at or below `minSeq`, with an operator: neighbours of equal expiry fold into one operand, or, with the
 *    row that ends the key (a value of the same expiry, or any tombstone), into a value. Those above `minSeq` never
 *    fold: a snapshot may lie between them.
 * 4. A row that two sources hold (equal key and sequence number) counts once: the newer source's.
 * 5. Where nothing older of a key exists anywhere (`dropTombstones`, or the key lies outside `olderSpans`), the oldest rows
 *    kept that are tombstones are dropped.
 * 6. Under a range tombstone of at most `minSeq` (`barriers`) nothing older of a key is ever seen: operands that no row
 *    ends become a value there, as onto a tombstone. What such a tombstone hides, the source leaves out itself.
 *
 * Streaming: a key with one version passes through without copying anything but its key. Held in memory: one group of
 * at most 100 operands, and the tombstones of one key that may turn out to be its oldest rows.
 *
 * @module
 */
import { FLAG_CREATE, FLAG_EXPIRE, FLAG_MERGE, FLAG_TOMBSTONE, NO_EXPIRY, NO_TICK } from "../format/types.ts";
import { copyInto } from "./arena.ts";
import { type Cursor, END, type Move, type Need, PENDING, READY } from "./cursor.ts";
import { type FoldMerge, MERGE_BATCH_OPERANDS } from "./merge_operator.ts";
import { NOT_COVERED, type RangeSet } from "./range_set.ts";
import { RowFields, type RowView } from "./row_fields.ts";
import { type KeySpan, overlapsGroups } from "./table_span.ts";

const NO_BYTES = new Uint8Array(0);

/** What decides about a row. */
export interface RetentionRules {
  /** Reads at this sequence number and above must not change; Infinity when only the newest state counts. */
  readonly minSeq: number;
  /** Rows that expire at or before this time (ms) are expired; NO_TICK for none. */
  readonly tick: number;
  /** Whether nothing older than the source exists. */
  readonly dropTombstones: boolean;
  /** Where something older may lie otherwise, ascending and apart; undefined or empty: anywhere. */
  readonly olderSpans?: ReadonlyArray<KeySpan> | undefined;
  /** Undefined: operands stay as they are. */
  readonly merge: FoldMerge | undefined;
  /** Range tombstones of at most `minSeq` over the source's keys; the rows that they hide are not in the source. */
  readonly barriers?: RangeSet | undefined;
}

/** Operands of one key and one expiry that are about to be folded, newest first. */
class OperandGroup {
  readonly values: Uint8Array[] = [];
  readonly seqs: number[] = [];
  readonly ticks: number[] = [];
  expireTs: number = NO_EXPIRY;
  /** The operator refused: the operands leave as they came. */
  unfoldable = false;
  /** Operands that have left. */
  drained = 0;

  get size(): number {
    return this.values.length;
  }

  get newestTick(): number {
    return this.ticks.reduce((newest, tick) => Math.max(newest, tick), NO_TICK);
  }

  add(value: Uint8Array, seq: number, tick: number): void {
    this.values.push(value);
    this.seqs.push(seq);
    this.ticks.push(tick);
  }

  clear(): void {
    this.values.length = this.seqs.length = this.ticks.length = 0;
    this.unfoldable = false;
    this.drained = 0;
  }
}

const FIRST = 0;
const NEXT = 1;
const ON_ROW = 2;
const ENDED = 3;

/** The rows of a source that stay, in internal order. */
export class RetainedRows {
  /** The current row, after `next` answered READY; valid until the next call. */
  row: RowView;
  /** Moves of the source that are left before `next` answers PENDING without a need, so that others get a turn. */
  budget: number = Infinity;
  /** Operands that went into a fold. */
  foldedOperands: number = 0;
  /** The newest failure of the operator; its operands were kept unfolded. */
  foldFailure: unknown = undefined;

  private readonly source: Cursor;
  private readonly rules: RetentionRules;
  private readonly made: RowFields = new RowFields();
  private at: number = FIRST;
  private key: Uint8Array = new Uint8Array(64);
  private keyLength = 0;
  private keyHi = 0;
  private keyLo = 0;
  /** Everything older of this key is dropped. */
  private closed = false;
  /** Whether nothing older of this key exists; undefined until a tombstone asks. */
  private oldest: boolean | undefined = undefined;
  /** Sequence number of the last row that was judged. */
  private seq = 0;
  /** The source's row has not been judged yet. */
  private isFresh = false;
  private readonly group: OperandGroup = new OperandGroup();
  private readonly heldSeqs: number[] = [];
  private readonly heldTicks: number[] = [];
  private heldAt = 0;

  /** @param source walked from its first row to its end; nobody else moves it meanwhile */
  constructor(source: Cursor, rules: RetentionRules) {
    this.source = source;
    this.rules = rules;
    this.row = this.made;
  }

  /** The next row that stays. PENDING: meet the needs, if there are any, and call again. */
  next(): Move {
    for (;;) {
      if (this.at !== ON_ROW) {
        if (this.at !== ENDED) {
          if (this.budget <= 0) return PENDING;
          const move = this.at === FIRST ? this.source.first() : this.source.next();
          if (move === PENDING) return PENDING;
          this.budget--;
          this.at = move === END ? ENDED : ON_ROW;
          this.isFresh = true;
        }
        if (this.at === ENDED) return this.group.size > 0 ? this.endGroup() : END;
      }
      if (!this.isSameKey()) {
        if (this.group.size > 0) return this.endGroup();
        this.startKey();
      } else if (this.closed || (this.isFresh && this.source.seq === this.seq)) {
        this.at = NEXT;
        continue;
      }
      this.isFresh = false;
      this.seq = this.source.seq;
      if (this.judge()) return READY;
    }
  }

  /** Adds to `into` what the last `next`, if it was PENDING, waits for. */
  collectNeeds(into: Need[]): void {
    this.source.collectNeeds(into);
  }

  private isSameKey(): boolean {
    const { source, key, keyLength } = this;
    if (source.keyHi !== this.keyHi || source.keyLo !== this.keyLo) return false;
    if (source.keyEnd - source.keyStart !== keyLength) return false;
    const { keyBytes, keyStart } = source;
    for (let i = 8; i < keyLength; i++) if (keyBytes[keyStart + i] !== key[i]) return false;
    return keyLength > 0;
  }

  private startKey(): void {
    const { source } = this;
    const length = source.keyEnd - source.keyStart;
    if (length > this.key.length) this.key = new Uint8Array(length * 2);
    copyInto(this.key, 0, source.keyBytes, source.keyStart, source.keyEnd);
    this.keyLength = length;
    this.keyHi = source.keyHi;
    this.keyLo = source.keyLo;
    this.closed = false;
    this.oldest = undefined;
    this.forgetHeld();
  }

  /** Decides about the source's row; true when `row` is set. */
  private judge(): boolean {
    const { source, rules } = this;
    const isExpired = source.expireTs <= rules.tick;
    const isKept = source.seq > rules.minSeq;
    if ((source.flags & FLAG_MERGE) !== 0) {
      if (isExpired) return this.skip();
      return isKept || rules.merge === undefined ? this.pass() : this.collect();
    }
    const isTombstone = isExpired || (source.flags & FLAG_TOMBSTONE) !== 0;
    if (this.group.size > 0) {
      const folds = !this.group.unfoldable && (isTombstone || source.expireTs === this.group.expireTs);
      return folds ? this.foldOnto(isTombstone) : this.emitGroup() === READY;
    }
    if (!isTombstone) return this.pass(!isKept);
    this.oldest ??= this.isOldest();
    if (this.oldest) {
      this.heldSeqs.push(source.seq);
      this.heldTicks.push(source.createTs);
      this.closed = !isKept;
      return this.skip();
    }
    if (!isExpired) return this.pass(!isKept);
    this.make(source.seq, FLAG_TOMBSTONE, source.createTs, NO_EXPIRY, NO_BYTES);
    this.closed = !isKept;
    this.at = NEXT;
    return true;
  }

  /** Whether the source has all that exists of the key. */
  private isOldest(): boolean {
    const { dropTombstones, olderSpans } = this.rules;
    if (dropTombstones || olderSpans === undefined || olderSpans.length === 0) return dropTombstones;
    const key = this.key.subarray(0, this.keyLength);
    return !overlapsGroups(olderSpans, { first: key, end: key, endInclusive: true });
  }

  private skip(): false {
    this.at = NEXT;
    return false;
  }

  /** The row stays as it is. */
  private pass(ends: boolean = false): true {
    if (this.emitHeld()) return true;
    this.row = this.source;
    this.closed = ends;
    this.at = NEXT;
    return true;
  }

  /** Takes the operand into the group, or sends the group off first when it does not belong there. */
  private collect(): boolean {
    const { source, group } = this;
    if (group.size > 0 && (group.unfoldable || group.expireTs !== source.expireTs)) return this.emitGroup() === READY;
    group.expireTs = source.expireTs;
    group.add(source.valueBytes.slice(source.valueStart, source.valueEnd), source.seq, source.createTs);
    if (group.size === MERGE_BATCH_OPERANDS) this.shrinkGroup();
    return this.skip();
  }

  /** Folds a full group into one operand. */
  private shrinkGroup(): void {
    const { group } = this;
    const value = this.fold(undefined);
    if (value === undefined) return;
    const seq = group.seqs[0]!;
    const tick = group.newestTick;
    group.clear();
    group.add(value.slice(), seq, tick);
  }

  /** The group becomes a value together with the source's row, which ends the key. */
  private foldOnto(isTombstone: boolean): boolean {
    if (this.emitHeld()) return true;
    const { source, group } = this;
    const value = this.fold(isTombstone ? undefined : source.valueBytes.slice(source.valueStart, source.valueEnd));
    if (value === undefined) return this.emitGroup() === READY;
    const createTs = isTombstone ? group.newestTick : Math.max(group.newestTick, source.createTs);
    this.make(group.seqs[0]!, 0, createTs, group.expireTs, value);
    group.clear();
    this.closed = true;
    this.at = NEXT;
    return true;
  }

  /** The group leaves as the oldest of its key: as a value where a range tombstone hides whatever is older. */
  private endGroup(): typeof READY {
    const { group } = this;
    if (group.unfoldable || !this.isBarred()) return this.emitGroup();
    if (this.emitHeld()) return READY;
    const value = this.fold(undefined);
    if (value === undefined) return this.emitGroup();
    this.make(group.seqs[0]!, 0, group.newestTick, group.expireTs, value);
    group.clear();
    return READY;
  }

  private isBarred(): boolean {
    const { barriers, minSeq } = this.rules;
    return barriers !== undefined && barriers.seqOver(this.key.subarray(0, this.keyLength), minSeq) !== NOT_COVERED;
  }

  /** The group leaves as one operand, or, when the operator refuses, one operand for each call. */
  private emitGroup(): typeof READY {
    const { group } = this;
    if (this.emitHeld()) return READY;
    const value = group.unfoldable ? undefined : group.size === 1 ? group.values[0] : this.fold(undefined);
    if (value !== undefined) {
      this.make(group.seqs[0]!, FLAG_MERGE, group.newestTick, group.expireTs, value);
      group.clear();
      return READY;
    }
    const i = group.drained++;
    this.make(group.seqs[i]!, FLAG_MERGE, group.ticks[i]!, group.expireTs, group.values[i]!);
    if (group.drained === group.size) group.clear();
    return READY;
  }

  /** Calls the operator with copies; undefined when it refuses. */
  private fold(base: Uint8Array | undefined): Uint8Array | undefined {
    const { group } = this;
    try {
      const operands = group.values.map((value) => value.slice()).reverse();
      const value = this.rules.merge!(this.key.slice(0, this.keyLength), base, operands);
      this.foldedOperands += group.size;
      return value;
    } catch (error) {
      // A fold only saves space; a read that meets these operands reports the failure to its caller.
      this.foldFailure = error;
      group.unfoldable = true;
      return undefined;
    }
  }

  /** Sends off the oldest tombstone held back, now that something older stays; true when there was one. */
  private emitHeld(): boolean {
    const i = this.heldAt;
    if (i === this.heldSeqs.length) return false;
    this.make(this.heldSeqs[i]!, FLAG_TOMBSTONE, this.heldTicks[i]!, NO_EXPIRY, NO_BYTES);
    this.heldAt = i + 1;
    if (this.heldAt === this.heldSeqs.length) this.forgetHeld();
    return true;
  }

  private forgetHeld(): void {
    if (this.heldSeqs.length === 0) return;
    this.heldSeqs.length = this.heldTicks.length = 0;
    this.heldAt = 0;
  }

  private make(seq: number, kind: number, createTs: number, expireTs: number, value: Uint8Array): void {
    const row = this.made;
    row.keyBytes = this.key;
    row.keyStart = 0;
    row.keyEnd = this.keyLength;
    row.keyHi = this.keyHi;
    row.keyLo = this.keyLo;
    row.seq = seq;
    row.flags = kind | (createTs === NO_TICK ? 0 : FLAG_CREATE) | (expireTs === NO_EXPIRY ? 0 : FLAG_EXPIRE);
    row.createTs = createTs;
    row.expireTs = expireTs;
    row.valueBytes = value;
    row.valueStart = 0;
    row.valueEnd = value.length;
    this.row = row;
  }
}
