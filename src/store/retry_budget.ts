/**
 * How much one process may ask of a store that fails: one budget per store, shared by everybody who repeats requests.
 *
 * A repetition takes a *turn*: a place among those under way, and a token. Tokens come at a steady trickle and as a share
 * of what succeeds, so a store that is dead sees a bounded number of requests per second whatever the load, and one that
 * fails now and then sees as many repetitions as it can answer. First attempts are free, except:
 *
 * - While the store is *down* (it has answered nothing for a second and failed sixteen times in a row) a first attempt
 *   takes a turn, too. Hundreds of new calls then cost no more than those that wait already. Never otherwise is the
 *   first attempt of a user's call or of a writer's flush delayed.
 * - While the store *throttles* (503 SlowDown, 429) first attempts of background work take a turn, and all turns come
 *   more slowly: each answer of that kind to a request that began after the last slowing halves the trickle, down to one
 *   turn a second for everybody together, with jitter, and without a burst. Every success raises it again, and half a
 *   minute without such an answer ends it.
 *
 * Turns are given in the order of `places.ts`. A quarter of the places is kept for flush paths, a quarter for calls and
 * an eighth for background work: requests that hang, or that are repeated all the time, never use up what others need.
 *
 * Invariants: B1 turns given out in any span are at most the burst, the trickle of the span and what successes gave
 * back; B2 of any four turns in a row a flush path for which there is a place gets at least two; B3 no urgency takes the
 * places that are kept for another. There is no fiber here and, while nobody waits, no timer; as long as somebody waits
 * for a token, one of those who wait looks after the time. All waits are on the clock of the fiber that waits, and a wait
 * that is interrupted gives back what it got.
 *
 * A thread has a budget of its own: nothing but messages crosses.
 *
 * @module
 */
import { Clock, Effect, Exit, Random } from "effect";
import { monotonicMillis } from "../env/monotonic_time.ts";
import { OneShot } from "../env/one_shot.ts";
import type { StoreErrorReason } from "../errors.ts";
import { Places, type Urgency, UrgencyQueue } from "./places.ts";
import { RequestGate } from "./request_gate.ts";

export type { Urgency } from "./places.ts";

/** Repetitions under way at once unless said otherwise. */
const TURNS_AT_ONCE: number = 16;
/** What of them is kept for each urgency. */
const SHARES: Readonly<Record<Urgency, number>> = { flush: 0.25, call: 0.25, background: 0.125 };
/** Turns per second that a store gets when nothing succeeds. */
export const TURNS_PER_SECOND: number = 10;
/** The same while it throttles, at the slowest. */
const THROTTLED_TURNS_PER_SECOND: number = 1;
/** Turns that may be saved up. */
export const TURNS_BURST: number = 32;
/** What a first attempt that succeeds adds, in turns. */
const FIRST_SHARE = 0.2;
/** What a turn that succeeds gives back: itself and one more, so that a store that is back is soon fully used. */
const TURN_RETURNS = 2;
/** The same while the store throttles. */
const THROTTLED_RETURNS = 1;
/** Turns per second that each success gives back to a slowed trickle. */
const SPEED_UP = 0.25;
/** Time without an answer that asks for fewer requests after which the trickle is as always, ms. */
const THROTTLE_MEMORY_MILLIS = 30_000;
/** Failures in a row, and time without an answer (ms), that make a store "down". */
const DOWN_FAILURES = 16;
const DOWN_MILLIS = 1000;

/** Reasons that say nothing but that the store does not answer. */
const NO_ANSWER: ReadonlySet<StoreErrorReason> = new Set(["unavailable", "timeout", "throttled"]);

interface Waiter {
  readonly urgency: Urgency;
  /** Whether it has asked for nothing yet: it needs a token only for as long as the store is not to be asked freely. */
  readonly isFirst: boolean;
  /** What its turn costs more or less while the store throttles, -0.25..0.25. */
  readonly jitter: number;
  granted: boolean;
  /** What it paid, to be given back when it does not use its turn. */
  paid: number;
  /** Rung when it got its turn, or has to look after the time. */
  bell: OneShot<never>;
}

/** A budget of turns. */
export class RetryBudget {
  /** What every request to the store passes, repeated or not. */
  readonly gate: RequestGate;
  readonly #places: Places;
  readonly #queue: UrgencyQueue<Waiter> = new UrgencyQueue();
  #tokens: number = TURNS_BURST;
  #rate: number = TURNS_PER_SECOND;
  /** Monotonic times, ms. */
  #filledAt = -Infinity;
  #slowedAt = -Infinity;
  #throttledAt = -Infinity;
  #failingSince = -Infinity;
  #failuresInRow = 0;
  #lastFailure: StoreErrorReason = "unavailable";
  #isServing = false;
  /** The waiter that looks after the time for all. */
  #keeper: Waiter | undefined = undefined;

  /**
   * A budget with all of its burst.
   *
   * @param turnsAtOnce repetitions under way at once, at least 1; 16 when absent
   * @param gate what every request passes; one of its own when absent
   */
  constructor(turnsAtOnce: number = TURNS_AT_ONCE, gate: RequestGate = new RequestGate()) {
    this.#places = new Places(turnsAtOnce, SHARES);
    this.gate = gate;
  }

  /** What the store failed with last. */
  get lastFailure(): StoreErrorReason {
    return this.#lastFailure;
  }

  /** Whether the store has answered nothing for a while. */
  isDown(nowMillis: number): boolean {
    return this.#failuresInRow >= DOWN_FAILURES && nowMillis - this.#failingSince >= DOWN_MILLIS;
  }

  /** Whether the store has asked for fewer requests, and not taken enough since. */
  isThrottled(nowMillis: number): boolean {
    if (this.#rate < TURNS_PER_SECOND && nowMillis - this.#throttledAt >= THROTTLE_MEMORY_MILLIS) {
      this.#fill(nowMillis);
      this.#rate = TURNS_PER_SECOND;
    }
    return this.#rate < TURNS_PER_SECOND;
  }

  /** Whether a first attempt needs no turn. */
  isFree(urgency: Urgency, nowMillis: number): boolean {
    return !this.isDown(nowMillis) && (urgency !== "background" || !this.isThrottled(nowMillis));
  }

  /** Runs `work` when its turn comes. */
  turn<A, E>(urgency: Urgency, isFirst: boolean, work: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(
        restore(this.#wait(urgency, isFirst)),
        () => Effect.ensuring(restore(work), this.#release(urgency)),
      )
    );
  }

  /** A request was answered, well or not: the store is there. `tookTurn` = it had to wait for a turn. */
  answered(nowMillis: number, tookTurn: boolean): void {
    this.#failuresInRow = 0;
    const isThrottled = this.isThrottled(nowMillis);
    this.#fill(nowMillis);
    this.#add(tookTurn ? (isThrottled ? THROTTLED_RETURNS : TURN_RETURNS) : FIRST_SHARE);
    if (isThrottled) this.#rate = Math.min(TURNS_PER_SECOND, this.#rate + SPEED_UP);
    this.#serve(nowMillis);
    this.#keeper?.bell.succeed();
  }

  /**
   * A request failed.
   *
   * @param begunMillis when it was sent: what was under way when the store was slowed down is no news
   */
  failed(reason: StoreErrorReason, nowMillis: number, begunMillis: number): void {
    if (!NO_ANSWER.has(reason)) return this.answered(nowMillis, false);
    if (this.#failuresInRow++ === 0) this.#failingSince = nowMillis;
    this.#lastFailure = reason;
    if (reason !== "throttled") return;
    this.#throttledAt = nowMillis;
    if (begunMillis < this.#slowedAt) return;
    this.#fill(nowMillis);
    this.#slowedAt = nowMillis;
    this.#rate = Math.max(THROTTLED_TURNS_PER_SECOND, this.#rate / 2);
    this.#tokens = Math.min(this.#tokens, this.#capacity);
  }

  #wait(urgency: Urgency, isFirst: boolean): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock);
      const waiter: Waiter = {
        urgency,
        isFirst,
        jitter: (fiber.getRef(Random.Random).nextDoubleUnsafe() - 0.5) / 2,
        granted: false,
        paid: 0,
        bell: new OneShot(),
      };
      this.#queue.add(waiter);
      const look: Effect.Effect<void> = Effect.suspend(() => {
        const millis = this.#serve(monotonicMillis(clock));
        if (waiter.granted) return Effect.void;
        waiter.bell = new OneShot();
        this.#keeper ??= waiter;
        const rung = waiter.bell.wait;
        const woken = this.#keeper === waiter && millis < Infinity
          ? Effect.raceFirst(Effect.sleep(Math.ceil(millis)), rung)
          : rung;
        return Effect.flatMap(woken, () => look);
      });
      return Effect.onExit(look, (exit) => Effect.sync(() => this.#leave(waiter, Exit.isSuccess(exit))));
    });
  }

  /** A waiter waits no more: somebody else looks after the time, and a turn that will not be used is given back. */
  #leave(waiter: Waiter, used: boolean): void {
    this.#queue.remove(waiter);
    const isGivenBack = !used && waiter.granted;
    if (isGivenBack) {
      this.#places.give(waiter.urgency);
      this.#add(waiter.paid);
    }
    if (this.#keeper === waiter) this.#keeper = undefined;
    // Who was rung to look after the time may have left before it looked: then the next one is rung.
    if (isGivenBack || this.#keeper === undefined) this.#queue.first?.bell.succeed();
  }

  #release(urgency: Urgency): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      this.#places.give(urgency);
      // There is a place now, and perhaps no token: the time has to be looked after from now on.
      if (this.#serve(monotonicMillis(fiber.getRef(Clock.Clock))) < Infinity) this.#keeper?.bell.succeed();
      return Effect.void;
    });
  }

  /** Gives turns to those who may have one; answers the time until there is a token for the next, ms. */
  #serve(nowMillis: number): number {
    this.#fill(nowMillis);
    const isThrottled = this.isThrottled(nowMillis);
    while (true) {
      const waiter = this.#next(nowMillis);
      if (waiter === "no place") return Infinity;
      if (waiter === "no token") return ((1 - this.#tokens) / this.#rate) * 1000;
      // Who got a turn goes on at once, and asks again before the bell has rung out: the loop outside serves the next.
      if (this.#isServing) return 0;
      if (!this.#isFree(waiter, nowMillis)) waiter.paid = 1 + (isThrottled ? waiter.jitter : 0);
      this.#tokens -= waiter.paid;
      this.#isServing = true;
      this.#grant(waiter);
      this.#isServing = false;
    }
  }

  #isFree({ urgency, isFirst }: Waiter, nowMillis: number): boolean {
    return isFirst && this.isFree(urgency, nowMillis);
  }

  /** Who is next, among those for whom there is a place and a token. */
  #next(nowMillis: number): Waiter | "no place" | "no token" {
    let hasPlace = false;
    const next = this.#queue.next((waiter) => {
      if (!this.#places.hasPlace(waiter.urgency)) return false;
      hasPlace = true;
      return this.#tokens >= 1 || this.#isFree(waiter, nowMillis);
    });
    return next ?? (hasPlace ? "no token" : "no place");
  }

  #grant(waiter: Waiter): void {
    this.#queue.served(waiter);
    this.#places.take(waiter.urgency);
    waiter.granted = true;
    waiter.bell.succeed();
  }

  /** Tokens that may be saved up: none worth the name while the store throttles. */
  get #capacity(): number {
    return this.#rate < TURNS_PER_SECOND ? 1 : TURNS_BURST;
  }

  #fill(nowMillis: number): void {
    const elapsed = nowMillis - this.#filledAt;
    if (elapsed <= 0) return;
    this.#filledAt = nowMillis;
    if (elapsed < Infinity) this.#add((elapsed * this.#rate) / 1000);
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(this.#tokens + tokens, Math.max(this.#tokens, this.#capacity));
  }
}
