/**
 * Transactions of the Effect face.
 *
 * @module
 */
import { Effect, type Scope } from "effect";
import type { DbError } from "../errors.ts";
import type { Bytes, KeyRange, WriteOptions, WriteResult } from "./api.ts";
import type { Database } from "./database.ts";
import { type EffectReads, effectReads } from "./effect_reads.ts";
import { asDbError } from "./failures.ts";
import { surfaced } from "./reads.ts";
import { assertBody, runTransaction } from "./transact.ts";
import type { OpenTransaction } from "./transaction.ts";
import type { BeginOptions, Isolation, TransactionPutOptions, TransactOptions } from "./transaction_api.ts";
import { effectOf } from "./write_result.ts";

/** A transaction of the Effect face; rolled back when its scope ends before it was committed. */
export interface EffectTransaction extends EffectReads {
  /** What it is protected from. */
  readonly isolation: Isolation;
  /** Sequence number of the newest write of others that it sees. */
  readonly seq: number;
  /** Sets a key. Nothing is stored before the commit. */
  readonly put: (key: Bytes, value: Bytes, options?: TransactionPutOptions) => Effect.Effect<void, DbError>;
  /** Deletes a key. */
  readonly delete: (key: Bytes) => Effect.Effect<void, DbError>;
  /** Adds an operand for the merge operator. */
  readonly merge: (key: Bytes, operand: Bytes, options?: TransactionPutOptions) => Effect.Effect<void, DbError>;
  /** Deletes every key of a range, its own writes so far included. It counts as a write of the whole range. */
  readonly deleteRange: (range: KeyRange) => Effect.Effect<void, DbError>;
  /** Makes the commit fail when somebody else has written one of `keys`. */
  readonly markRead: (keys: readonly Bytes[]) => Effect.Effect<void, DbError>;
  /** Leaves `keys` out of the detection of conflicts, though they are written. */
  readonly unmarkWrite: (keys: readonly Bytes[]) => Effect.Effect<void, DbError>;
  /** Applies everything under one sequence number; undefined when nothing was written. */
  readonly commit: (options?: WriteOptions) => Effect.Effect<WriteResult | undefined, DbError>;
  /** Ends the transaction; its writes are forgotten. Does nothing once it has ended, by a refused commit too. */
  readonly rollback: Effect.Effect<void>;
}

/** What the Effect face of a database offers besides reads and single writes. */
export interface EffectTransactions {
  /** Begins a transaction; the scope rolls it back if it is still open then. */
  readonly begin: (options?: BeginOptions) => Effect.Effect<EffectTransaction, DbError, Scope.Scope>;
  /** Runs `body` in a transaction and commits it; runs it again when the commit met a conflict, a few times. */
  readonly transact: <A, E, R>(
    body: (tx: EffectTransaction) => Effect.Effect<A, E, R>,
    options?: TransactOptions,
  ) => Effect.Effect<A, E | DbError, R>;
}

/** The Effect face of one transaction. */
function effectTransaction(tx: OpenTransaction): EffectTransaction {
  const act = (run: () => void): Effect.Effect<void, DbError> =>
    Effect.suspend(() => {
      try {
        run();
        return Effect.void;
      } catch (error) {
        return Effect.fail(asDbError(error));
      }
    });
  return {
    ...effectReads(tx.reader),
    isolation: tx.isolation,
    seq: tx.seq,
    put: (key, value, options) => act(() => tx.put(key, value, options)),
    delete: (key) => act(() => tx.delete(key)),
    merge: (key, operand, options) => act(() => tx.merge(key, operand, options)),
    deleteRange: (range) => act(() => tx.deleteRange(range)),
    markRead: (keys) => act(() => tx.markRead(keys)),
    unmarkWrite: (keys) => act(() => tx.unmarkWrite(keys)),
    commit: (options) =>
      Effect.suspend((): Effect.Effect<WriteResult | undefined, DbError> => {
        try {
          const accepted = tx.commit(options);
          return accepted === undefined ? Effect.undefined : effectOf(accepted, options?.durable !== false);
        } catch (error) {
          return Effect.fail(asDbError(error));
        }
      }),
    rollback: Effect.sync(() => tx.rollback()),
  };
}

/** `begin` and `transact` of an open database. */
export function effectTransactions(database: Database): EffectTransactions {
  return {
    begin: (options) =>
      Effect.map(
        Effect.acquireRelease(
          surfaced(Effect.sync(() => database.begin(options))),
          (tx) => Effect.sync(() => tx.rollback()),
        ),
        effectTransaction,
      ),
    transact: (body, options) =>
      Effect.andThen(
        surfaced(Effect.sync(() => assertBody(body))),
        runTransaction((begin) => database.begin(begin), (tx) => body(effectTransaction(tx)), options),
      ),
  };
}
