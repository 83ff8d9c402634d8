/**
 * Transactions of the Promise face.
 *
 * @module
 */
import { Effect } from "effect";
import type { Bytes, KeyRange, WriteOptions, WriteResult } from "./api.ts";
import type { Database } from "./database.ts";
import { asDbError } from "./failures.ts";
import { PromiseReads } from "./promise_reads.ts";
import type { Runtime } from "./runtime.ts";
import { assertBody, runTransaction } from "./transact.ts";
import type { OpenTransaction } from "./transaction.ts";
import type { Isolation, Transaction, TransactionPutOptions, TransactOptions } from "./transaction_api.ts";
import { promiseOf } from "./write_result.ts";

/** A transaction as promises. What it refuses is refused by a rejection; what it accepts it has taken at the call. */
export class PromiseTransaction extends PromiseReads implements Transaction {
  readonly #tx: OpenTransaction;

  constructor(tx: OpenTransaction, runtime: Runtime) {
    super(tx.reader, runtime);
    this.#tx = tx;
  }

  get isolation(): Isolation {
    return this.#tx.isolation;
  }

  get seq(): number {
    return this.#tx.seq;
  }

  put(key: Bytes, value: Bytes, options?: TransactionPutOptions): Promise<void> {
    return done(() => this.#tx.put(key, value, options));
  }

  delete(key: Bytes): Promise<void> {
    return done(() => this.#tx.delete(key));
  }

  merge(key: Bytes, operand: Bytes, options?: TransactionPutOptions): Promise<void> {
    return done(() => this.#tx.merge(key, operand, options));
  }

  deleteRange(range: KeyRange): Promise<void> {
    return done(() => this.#tx.deleteRange(range));
  }

  markRead(keys: readonly Bytes[]): Promise<void> {
    return done(() => this.#tx.markRead(keys));
  }

  unmarkWrite(keys: readonly Bytes[]): Promise<void> {
    return done(() => this.#tx.unmarkWrite(keys));
  }

  commit(options?: WriteOptions): Promise<WriteResult | undefined> {
    try {
      const accepted = this.#tx.commit(options);
      return accepted === undefined ? Promise.resolve(undefined) : promiseOf(accepted, options?.durable !== false);
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  rollback(): Promise<void> {
    return done(() => this.#tx.rollback());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.rollback();
  }
}

function done(act: () => void): Promise<void> {
  try {
    act();
    return Promise.resolve();
  } catch (error) {
    return Promise.reject(asDbError(error));
  }
}

/** Runs a promise-making body in a transaction of `database`; rejects with what the body rejects with. */
export function transactPromise<A>(
  database: Database,
  body: (tx: Transaction) => Promise<A>,
  options: TransactOptions | undefined,
): Promise<A> {
  try {
    assertBody(body);
  } catch (error) {
    return Promise.reject(error);
  }
  const { runtime } = database.engine.parts;
  return runtime.promise(runTransaction(
    (begin) => database.begin(begin),
    (tx) =>
      Effect.tryPromise({
        try: async () => await body(new PromiseTransaction(tx, runtime)),
        catch: (error) => error,
      }),
    options,
  ));
}
