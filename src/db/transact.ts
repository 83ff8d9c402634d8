/**
 * Running a transaction to its end: begin, body, commit, and again after a conflict, a bounded number of times.
 *
 * Only the transaction's own conflicts are a reason to run the body again. Waits double from one repetition to the next
 * and are drawn at random, so that two that met do not meet again; time and chance come from the services.
 *
 * @module
 */
import { Effect, Random } from "effect";
import { type DbError, InvalidArgument } from "../errors.ts";
import { badOption, checkFields } from "./call_options.ts";
import { asDbError } from "./failures.ts";
import type { OpenTransaction } from "./transaction.ts";
import type { BeginOptions, TransactOptions, TransactRetry } from "./transaction_api.ts";
import { effectOf } from "./write_result.ts";

/** Retries unless the caller says otherwise. */
export const RETRY_DEFAULTS: Required<TransactRetry> = { times: 10, firstDelayMillis: 2, maxDelayMillis: 1000 };

const TRANSACT_FIELDS: ReadonlySet<string> = new Set(["isolation", "durable", "retry"]);
const RETRY_FIELDS: ReadonlySet<string> = new Set(["times", "firstDelayMillis", "maxDelayMillis"]);
const TIMES_MAX = 1000;

/** @throws InvalidArgument reason "body" */
export function assertBody(body: unknown): void {
  if (typeof body === "function") return;
  throw badBody(`its body is ${body === null ? "null" : typeof body}. Give a function, which gets the transaction`);
}

/** What is no effect would end the fiber without a rollback. */
function answerOf<A, E, R>(answer: Effect.Effect<A, E, R>): Effect.Effect<A, E | DbError, R> {
  return Effect.isEffect(answer) ? answer : Effect.fail(badBody("its body answered no effect. Answer one"));
}

function badBody(what: string): InvalidArgument {
  return new InvalidArgument({ reason: "body", message: `Cannot run the transaction: ${what}` });
}

/** @throws InvalidArgument reason "options" */
function resolveRetry(retry: TransactOptions["retry"]): Required<TransactRetry> {
  const given: TransactRetry = typeof retry === "number" ? { times: retry } : retry ?? {};
  checkFields(given, RETRY_FIELDS);
  const { times, firstDelayMillis, maxDelayMillis } = { ...RETRY_DEFAULTS, ...given };
  if (!(Number.isInteger(times) && times >= 0 && times <= TIMES_MAX)) {
    throw badOption("retry.times", `a whole number from 0 to ${TIMES_MAX}`);
  }
  if (!(Number.isFinite(firstDelayMillis) && firstDelayMillis >= 0)) {
    throw badOption("retry.firstDelayMillis", "a number of ms of at least 0");
  }
  const longest = given.maxDelayMillis ?? Math.max(maxDelayMillis, firstDelayMillis);
  if (!(Number.isFinite(longest) && longest >= firstDelayMillis)) {
    throw badOption("retry.maxDelayMillis", "a number of ms not below retry.firstDelayMillis");
  }
  return { times, firstDelayMillis, maxDelayMillis: longest };
}

/**
 * Runs `body` in a transaction and commits it. A body that ended the transaction itself has the last word.
 *
 * Fails with what `body` fails with, after a rollback; with `TransactionConflict` when all repetitions met one.
 */
export function runTransaction<A, E, R>(
  begin: (options: BeginOptions) => OpenTransaction,
  body: (tx: OpenTransaction) => Effect.Effect<A, E, R>,
  options: TransactOptions = {},
): Effect.Effect<A, E | DbError, R> {
  return Effect.suspend(() => {
    let retry: Required<TransactRetry>;
    try {
      checkFields(options, TRANSACT_FIELDS);
      retry = resolveRetry(options.retry);
    } catch (error) {
      return Effect.fail(asDbError(error));
    }
    const { isolation, durable } = options;
    const attempt = (run: number): Effect.Effect<A, E | DbError, R> =>
      Effect.suspend(() => {
        let tx: OpenTransaction;
        try {
          tx = begin(isolation === undefined ? {} : { isolation });
        } catch (error) {
          return Effect.fail(asDbError(error));
        }
        return Effect.flatMap(
          Effect.suspend(() => answerOf(body(tx))),
          (value) => tx.isEnded ? Effect.succeed(value) : Effect.as(commitOf(tx, durable), value),
        ).pipe(
          Effect.onExit(() => Effect.sync(() => tx.rollback())),
          Effect.catch((error) =>
            error !== undefined && error === tx.conflict && run < retry.times
              ? Effect.andThen(pause(retry, run), attempt(run + 1))
              : Effect.fail(error)
          ),
        );
      });
    return attempt(0);
  });
}

/** Commits and waits as `durable` says. */
function commitOf(tx: OpenTransaction, durable: boolean | undefined): Effect.Effect<void, DbError> {
  return Effect.suspend(() => {
    try {
      const accepted = tx.commit(durable === undefined ? {} : { durable });
      return accepted === undefined ? Effect.void : Effect.asVoid(effectOf(accepted, durable !== false));
    } catch (error) {
      return Effect.fail(asDbError(error));
    }
  });
}

/** The wait after run number `run`, counted from 0. */
function pause({ firstDelayMillis, maxDelayMillis }: Required<TransactRetry>, run: number): Effect.Effect<void> {
  return Effect.flatMap(Random.Random, (random) => {
    const longest = Math.min(maxDelayMillis, firstDelayMillis * 2 ** run);
    return Effect.sleep(longest * (0.5 + random.nextDoubleUnsafe() / 2));
  });
}
