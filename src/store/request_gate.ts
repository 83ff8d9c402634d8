/**
 * How many requests one process has under way at one store.
 *
 * Beyond that number requests would wait where nobody knows what is urgent, such as for a free connection: a writer's
 * PUT behind thousands of reads, until its time is up although it was never sent. So they wait here, in the order of
 * `places.ts`, and the time limit of an attempt begins when it has a place.
 *
 * Who finds a place takes it at once, without a fiber or a timer. A wait that is interrupted gives back what it got.
 *
 * @module
 */
import { Effect, Exit } from "effect";
import { OneShot } from "../env/one_shot.ts";
import { Places, type Urgency, UrgencyQueue } from "./places.ts";

/** Requests under way at once unless the store says what it has connections for. */
export const REQUESTS_AT_ONCE: number = 64;

/** What is kept for each urgency (B3). */
const SHARES: Readonly<Record<Urgency, number>> = { flush: 0.125, call: 0.125, background: 0.0625 };

interface Waiter {
  readonly urgency: Urgency;
  granted: boolean;
  readonly bell: OneShot<never>;
}

/** The gate of one store. */
export class RequestGate {
  readonly #places: Places;
  readonly #queue: UrgencyQueue<Waiter> = new UrgencyQueue();
  #isServing = false;

  /**
   * A gate that nobody has passed.
   *
   * @param requestsAtOnce requests under way at once, at least 1; 64 when absent
   */
  constructor(requestsAtOnce: number = REQUESTS_AT_ONCE) {
    this.#places = new Places(requestsAtOnce, SHARES);
  }

  /**
   * Runs `work` when there is a place for it.
   *
   * @param withinMillis longest wait for the place; Infinity = any
   * @param late the error when there was none in that time; `work` was not begun
   */
  pass<A, E>(
    urgency: Urgency,
    withinMillis: number,
    work: Effect.Effect<A, E>,
    late: () => E,
  ): Effect.Effect<A, E> {
    return Effect.uninterruptibleMask((restore) => {
      const held = Effect.ensuring(restore(work), Effect.sync(() => this.#leave(urgency)));
      // Nobody of this urgency waits while there is a place for it.
      if (this.#places.hasPlace(urgency)) {
        this.#places.take(urgency);
        return held;
      }
      const waiter: Waiter = { urgency, granted: false, bell: new OneShot() };
      this.#queue.add(waiter);
      const wait: Effect.Effect<void, E> = withinMillis === Infinity ? waiter.bell.wait : Effect.timeoutOrElse(
        waiter.bell.wait,
        { duration: withinMillis, orElse: () => Effect.fail(late()) },
      );
      const waited = Effect.onExit(restore(wait), (exit) =>
        Effect.sync(() => {
          if (!Exit.isSuccess(exit)) this.#giveUp(waiter);
        }));
      return Effect.andThen(waited, held);
    });
  }

  #giveUp(waiter: Waiter): void {
    if (waiter.granted) return this.#leave(waiter.urgency);
    this.#queue.remove(waiter);
  }

  #leave(urgency: Urgency): void {
    this.#places.give(urgency);
    // Who is let in goes on at once, and may leave again before the bell has rung out: the loop outside lets in the next.
    if (this.#isServing) return;
    this.#isServing = true;
    for (;;) {
      const next = this.#queue.next((waiter) => this.#places.hasPlace(waiter.urgency));
      if (next === undefined) break;
      this.#places.take(next.urgency);
      this.#queue.served(next);
      next.granted = true;
      next.bell.succeed();
    }
    this.#isServing = false;
  }
}
