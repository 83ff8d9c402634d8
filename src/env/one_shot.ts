/**
 * A signal that settles once, for many waiters: "this WAL object is durable", "this memtable is uploaded".
 *
 * Settled and observed synchronously, so that the write path needs no fiber to announce anything. Waiters are called
 * in the order in which they subscribed. A promise is made only when somebody asks for one, and its rejection never
 * counts as unhandled.
 *
 * @module
 */
import { Effect } from "effect";

/** A one-shot signal that ends with success or with an error of type `E`. */
export class OneShot<E = unknown> {
  #state: "open" | "succeeded" | "failed" = "open";
  #error: E | undefined = undefined;
  #waiters: Array<() => void> = [];
  #promise: Promise<void> | undefined = undefined;

  /** Whether the signal has settled. */
  get settled(): boolean {
    return this.#state !== "open";
  }

  /** Whether the signal settled with success. */
  get succeeded(): boolean {
    return this.#state === "succeeded";
  }

  /** The error it settled with, if it failed. */
  get error(): E | undefined {
    return this.#error;
  }

  /** Settles with success; does nothing when already settled. */
  succeed(): void {
    if (this.#state === "open") this.#settle("succeeded");
  }

  /** Settles with `error`; does nothing when already settled. */
  fail(error: E): void {
    if (this.#state !== "open") return;
    this.#error = error;
    this.#settle("failed");
  }

  /** Calls `waiter` when settled, at once if it is; answers a function that takes the waiter back. */
  subscribe(waiter: () => void): () => void {
    if (this.#state !== "open") {
      waiter();
      return () => {};
    }
    this.#waiters.push(waiter);
    return () => {
      const at = this.#waiters.indexOf(waiter);
      if (at >= 0) this.#waiters.splice(at, 1);
    };
  }

  /** A promise of the outcome, shared by all who ask. */
  get promise(): Promise<void> {
    if (this.#promise === undefined) {
      this.#promise = new Promise<void>((resolve, reject) => {
        this.subscribe(() => this.#state === "failed" ? reject(this.#error) : resolve());
      });
      this.#promise.catch(() => {});
    }
    return this.#promise;
  }

  /** An effect that waits for the outcome; interrupting it only ends the wait. */
  get wait(): Effect.Effect<void, E> {
    return Effect.callback<void, E>((resume) => {
      const cancel = this.subscribe(() =>
        resume(this.#state === "failed" ? Effect.fail(this.#error as E) : Effect.void)
      );
      return Effect.sync(cancel);
    });
  }

  #settle(state: "succeeded" | "failed"): void {
    this.#state = state;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}
