/**
 * A transaction below its faces: one moment to read from, a batch to write, and a watch over what others commit.
 *
 * It begins at the last sequence number and ends once: by a commit, which hands everything over to the write path, by a
 * rollback, or with the database. From the moment a commit is accepted the write path owns it; a caller that stops
 * waiting changes nothing (K-22). Versions that its reads need are protected as a snapshot's are, down to the durable
 * bound, which is frozen so that durable reads repeat (K-21).
 *
 * @module
 */
import { InvalidArgument, type TransactionConflict } from "../errors.ts";
import { assertKeys, keyBytes } from "../lsm/key_range.ts";
import type { Footprint, Watch } from "../state/conflicts.ts";
import { keyText } from "../state/key_spans.ts";
import { ReadSet } from "../state/read_set.ts";
import type { Bytes, KeyRange, WriteOptions } from "./api.ts";
import { badOption, checkFields, checkWriteFields } from "./call_options.ts";
import { conflictError } from "./conflict_errors.ts";
import type { Database } from "./database.ts";
import { boundBytes, deletedRange } from "./deleted_range.ts";
import type { Engine } from "./engine.ts";
import { OwnWrites } from "./own_writes.ts";
import type { Reader } from "./reads.ts";
import type { BeginOptions, Isolation, TransactionPutOptions } from "./transaction_api.ts";
import { TransactionReader } from "./transaction_reads.ts";
import { valueBytes, WriteBatch } from "./write_batch.ts";
import type { Accepted, TransactionCommit } from "./write_path.ts";

const BEGIN_FIELDS: ReadonlySet<string> = new Set(["isolation"]);
const PUT_FIELDS: ReadonlySet<string> = new Set(["ttl"]);
const COMMIT_FIELDS: ReadonlySet<string> = new Set(["durable"]);

/** An open transaction of a database. */
export class OpenTransaction {
  readonly isolation: Isolation;
  /** Sequence number of the newest write of others that it sees. */
  readonly seq: number;
  readonly reader: Reader;
  readonly #engine: Engine;
  readonly #batch: WriteBatch = new WriteBatch();
  readonly #reads: ReadSet;
  readonly #watch: Watch;
  readonly #unregister: () => void;
  readonly #exempt = new Set<string>();
  #isEnded = false;
  /** Within the call of `commit`, which may run the merge operator. */
  #isCommitting = false;
  /** What its commit was refused with, if somebody was in its way. */
  conflict: TransactionConflict | undefined = undefined;

  /** Begins now. @throws InvalidArgument for bad options */
  constructor({ engine, reader }: Database, options: BeginOptions = {}) {
    checkFields(options, BEGIN_FIELDS);
    const { isolation = "snapshot" } = options;
    if (isolation !== "snapshot" && isolation !== "serializable") {
      throw badOption("isolation", '"snapshot" or "serializable"');
    }
    const { state, options: settings, merge } = engine.parts;
    const { sequencer, snapshots, conflicts } = state;
    this.isolation = isolation;
    this.seq = sequencer.lastSeq;
    this.#engine = engine;
    const durableSeq = Math.min(this.seq, sequencer.durableSeq);
    const folding = { merge, mergeOperator: settings.mergeOperator };
    const own = new OwnWrites(this.#batch, this.seq, folding);
    const ownDurable = durableSeq === this.seq ? own : new OwnWrites(this.#batch, durableSeq, folding);
    this.#reads = new ReadSet(settings.conflictHistoryBytes);
    this.reader = new TransactionReader({
      host: engine.readHost,
      bounds: {
        maxSeq: (durability) => durability === "durable" ? durableSeq : this.seq,
        assertUsable: () => this.#assertUsable(),
      },
      slab: reader.slab,
      own: (durability) => durability === "durable" ? ownDurable : own,
      reads: isolation === "serializable" ? this.#reads : undefined,
    });
    this.#unregister = snapshots.register(this.seq, durableSeq);
    this.#watch = conflicts.watch(this.seq);
  }

  /** Whether it was committed or rolled back. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Sets a key. */
  put(key: Bytes, value: Bytes, options: TransactionPutOptions = {}): void {
    this.#assertChangeable();
    checkFields(options, PUT_FIELDS);
    const keyOf = keyBytes(key);
    const valueOf = valueBytes(value);
    this.#assertFits(keyOf.length + valueOf.length);
    this.#batch.put(keyOf, valueOf, options);
  }

  /** Deletes a key. */
  delete(key: Bytes): void {
    this.#assertChangeable();
    const keyOf = keyBytes(key);
    this.#assertFits(keyOf.length);
    this.#batch.delete(keyOf);
  }

  /** Adds a merge operand. */
  merge(key: Bytes, operand: Bytes, options: TransactionPutOptions = {}): void {
    this.#assertChangeable();
    checkFields(options, PUT_FIELDS);
    this.#engine.writes.assertMerges();
    const keyOf = keyBytes(key);
    const operandOf = valueBytes(operand);
    this.#assertFits(keyOf.length + operandOf.length);
    this.#batch.merge(keyOf, operandOf, options);
  }

  /** Deletes a range of keys. */
  deleteRange(range: KeyRange): void {
    this.#assertChangeable();
    const bounds = deletedRange(range);
    this.#assertFits(boundBytes(bounds));
    this.#batch.addRange(bounds);
  }

  /** Counts keys as read, whatever the isolation. */
  markRead(keys: readonly Bytes[]): void {
    this.#assertChangeable();
    for (const key of checkedKeys(keys)) this.#reads.addKey(key);
  }

  /** Exempts written keys from conflicts. */
  unmarkWrite(keys: readonly Bytes[]): void {
    this.#assertChangeable();
    for (const key of checkedKeys(keys)) this.#exempt.add(keyText(key));
  }

  /**
   * Ends the transaction and has its writes applied unless somebody is in their way; undefined when there are none.
   *
   * @throws TransactionConflict, or what else it was refused for; only a refusal that did not look at it leaves it open
   */
  commit(options: WriteOptions = {}): Accepted | undefined {
    this.#assertChangeable();
    const exempt = this.#exempt.size === 0 ? undefined : this.#exempt;
    if (this.#batch.size === 0) {
      checkWriteFields(options, COMMIT_FIELDS);
      this.#end();
      try {
        this.#check(undefined);
      } finally {
        this.#endWatch();
      }
      return undefined;
    }
    const commit: TransactionCommit = {
      exempt,
      check: (writes) => this.#check(writes),
      settle: () => {
        this.#end();
        this.#endWatch();
      },
    };
    this.#isCommitting = true;
    try {
      const accepted = this.#engine.writes.commit(this.#batch, commit, options);
      this.#end();
      return accepted;
    } finally {
      this.#isCommitting = false;
    }
  }

  /**
   * Ends the transaction unless it has ended; what was not handed over by a commit is never applied.
   *
   * @throws InvalidArgument "reentrant"
   */
  rollback(): void {
    if (this.#isEnded) return;
    this.#assertNotCommitting();
    this.#end();
    this.#endWatch();
  }

  #check(writes: Footprint | undefined): void {
    const { keys, spans } = this.#reads;
    const claim = { writes, exempt: this.#exempt, keys, spans };
    const conflict = this.#engine.parts.state.conflicts.check(this.#watch, claim);
    if (conflict === undefined) return;
    this.conflict = conflictError(conflict);
    throw this.conflict;
  }

  #end(): void {
    this.#isEnded = true;
    this.#unregister();
  }

  #endWatch(): void {
    this.#engine.parts.state.conflicts.end(this.#watch);
  }

  #assertUsable(): void {
    this.#engine.assertOpen();
    if (!this.#isEnded) return;
    throw new InvalidArgument({
      reason: "transaction-ended",
      message: "Cannot use the transaction: it was committed or rolled back. Begin a new one",
    });
  }

  #assertChangeable(): void {
    this.#assertUsable();
    this.#assertNotCommitting();
  }

  /** Its writes are captured and being applied: what came now would be lost. */
  #assertNotCommitting(): void {
    if (!this.#isCommitting) return;
    throw new InvalidArgument({
      reason: "reentrant",
      message: "Cannot change or end the transaction from inside the merge operator of its own commit; return the " +
        "value instead",
    });
  }

  #assertFits(bytes: number): void {
    this.#engine.writes.assertBatchFits(this.#batch.estimatedBytes + bytes);
  }
}

/** Copies of keys, all of them checked before any is used. */
function checkedKeys(keys: readonly Bytes[]): Uint8Array[] {
  assertKeys(keys, "mark keys in the transaction");
  return keys.map((key: Bytes) => keyBytes(key));
}
