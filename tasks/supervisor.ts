/**
 * One close reason for a whole database, and nobody left waiting.
 *
 * Every critical fiber runs under {@linkcode Supervisor.watch}. The first error, defect or close wins and is kept for
 * ever: all later calls fail with it, everything that waits is answered with it, and the scope that holds the fibers is
 * closed. Supervision is fail-stop: nothing restarts a writer's own part after a failure that retrying could not mend.
 *
 * Invariant C1: once a close reason is set, every waiter registered with `onClose` has been called.
 *
 * @module
 */
import { Cause, Effect, Exit } from "effect";
import { OneShot } from "../src/env/one_shot.ts";
import { Closed, DataError, StoreError, textOf, Unavailable } from "../src/errors.ts";

/** Holds the close reason of one database. */
export class Supervisor {
  #closed: Closed | undefined = undefined;
  #listeners: Array<(error: Closed) => void> = [];
  /** Settles when `close()` was called: what is left to store is stored without waiting for a better moment. */
  readonly closing: OneShot<never> = new OneShot();

  /** Why the database is closed; undefined while it is open. */
  get closed(): Closed | undefined {
    return this.#closed;
  }

  /** Calls `listener` when the database closes, at once when it has. Answers a function that takes it back. */
  onClose(listener: (error: Closed) => void): () => void {
    if (this.#closed !== undefined) {
      listener(this.#closed);
      return () => {};
    }
    this.#listeners.push(listener);
    return () => {
      const at = this.#listeners.indexOf(listener);
      if (at >= 0) this.#listeners.splice(at, 1);
    };
  }

  /** Sets the close reason unless one is set; answers the one that holds. Listeners run before this returns. */
  close(error: Closed): Closed {
    if (this.#closed !== undefined) return this.#closed;
    this.#closed = error;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener(error);
    return error;
  }

  /** Closes with the reason that `cause` stands for. */
  fail(name: string, cause: unknown): Closed {
    return this.close(closedBy(name, cause));
  }

  /**
   * Runs a critical effect: whatever ends it closes the database. An interruption too, unless the database is closed:
   * only then is it the end of the scope; a request that ends by interruption must not end a part in silence.
   */
  watch(name: string): <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<void, never, R> {
    return (effect) =>
      effect.pipe(
        Effect.asVoid,
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit) && this.#closed === undefined) this.fail(name, Cause.squash(exit.cause));
          })
        ),
        Effect.catchCause(() => Effect.void),
      );
  }
}

/** The close error that stands for a failure of the part `name`. */
export function closedBy(name: string, cause: unknown): Closed {
  if (cause instanceof Closed) return cause;
  const known = cause instanceof DataError || cause instanceof StoreError || cause instanceof Unavailable;
  const text = textOf(cause).replace(/\.$/, "");
  return new Closed({
    reason: "failed",
    message:
      `Closed: the ${name} failed${known ? "" : " of a defect"}: ${text}. Everything acknowledged as durable is ` +
      "safe; open the database again",
    cause,
  });
}
