/**
 * When a reader looks at its store: every so often, at once when somebody asks, later and later while looks fail.
 *
 * One fiber looks, so that a timer and a caller never look at the same time; all who ask before a look begins share it.
 * A failed look never closes the reader, except for damage that two looks in a row met (one may be a bad transfer) and
 * for defects. Everybody who waits is answered when the reader closes.
 *
 * @module
 */
import { Cause, Effect, type Scope } from "effect";
import { OneShot } from "../src/env/one_shot.ts";
import { DataError, StoreError, textOf, Unavailable } from "../src/errors.ts";
import type { Supervisor } from "./supervisor.ts";

/** Wait after the first failed look, ms; it doubles up to the poll interval. */
const FIRST_WAIT_MILLIS = 1000;
/** After so many looks in a row that met damage, it is believed. */
const DAMAGED_LOOKS = 2;

/** What the poller works with. */
export interface ReaderPollerSpec {
  readonly supervisor: Supervisor;
  /** One look; "more" asks for the next one at once. */
  readonly look: Effect.Effect<"done" | "more", unknown>;
  /** Time between looks, ms. */
  readonly intervalMillis: number;
  /** Hears what a failed look failed with, and undefined after one that did not. */
  readonly onTrouble: (trouble: string | undefined) => void;
}

/** The sending side of a poller. */
export interface ReaderPoller {
  /** Waits for a look that begins after this call; fails with what that look fails with, or with the close reason. */
  readonly refresh: Effect.Effect<void, unknown>;
}

/** Starts the poller in the current scope. The first look comes after `firstMillis`. */
export function readerPoller(
  spec: ReaderPollerSpec,
  firstMillis: number,
): Effect.Effect<ReaderPoller, never, Scope.Scope> {
  return Effect.gen(function* () {
    const poller = new Poller(spec, firstMillis);
    yield* poller.round.pipe(
      Effect.forever({ disableYield: true }),
      spec.supervisor.watch("reader's poller"),
      Effect.forkScoped,
    );
    return poller;
  });
}

class Poller implements ReaderPoller {
  readonly #spec: ReaderPollerSpec;
  #waitMillis: number;
  #failures = 0;
  #damaged = 0;
  #wake: OneShot = new OneShot();
  /** Settles with the next look to begin; undefined while nobody waits for it. */
  #next: OneShot | undefined = undefined;
  /** Settles with the look under way. */
  #asked: OneShot | undefined = undefined;

  constructor(spec: ReaderPollerSpec, firstMillis: number) {
    this.#spec = spec;
    this.#waitMillis = firstMillis;
    spec.supervisor.onClose((error) => {
      this.#asked?.fail(error);
      this.#next?.fail(error);
    });
  }

  readonly refresh: Effect.Effect<void, unknown> = Effect.suspend(() => {
    const { closed } = this.#spec.supervisor;
    if (closed !== undefined) return Effect.fail(closed);
    const next = this.#next ??= new OneShot();
    // The look may begin, and even end, within this call.
    this.#wake.succeed();
    return next.wait;
  });

  /** Waits, looks once, answers who asked. */
  readonly round: Effect.Effect<void, unknown> = Effect.suspend(() =>
    Effect.raceFirst(Effect.sleep(this.#waitMillis), this.#wake.wait)
  ).pipe(
    Effect.andThen(Effect.suspend(() => {
      this.#wake = new OneShot();
      this.#asked = this.#next;
      this.#next = undefined;
      return this.#spec.look;
    })),
    Effect.matchCauseEffect({
      onSuccess: (result) => Effect.sync(() => this.#succeeded(result)),
      onFailure: (cause) => this.#failed(cause),
    }),
  );

  #succeeded(result: "done" | "more"): void {
    this.#failures = 0;
    this.#damaged = 0;
    this.#spec.onTrouble(undefined);
    this.#waitMillis = result === "more" ? 0 : this.#spec.intervalMillis;
    this.#answer((asked) => asked.succeed());
  }

  #failed(cause: Cause.Cause<unknown>): Effect.Effect<void, unknown> {
    const error = Cause.squash(cause);
    const mayPass = error instanceof DataError || error instanceof StoreError || error instanceof Unavailable;
    this.#damaged = error instanceof DataError ? this.#damaged + 1 : 0;
    if (!mayPass || Cause.hasInterrupts(cause) || this.#damaged >= DAMAGED_LOOKS) return Effect.failCause(cause);
    this.#spec.onTrouble(textOf(error));
    this.#waitMillis = Math.min(this.#spec.intervalMillis, FIRST_WAIT_MILLIS * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    this.#answer((asked) => asked.fail(error));
    return Effect.void;
  }

  #answer(settle: (asked: OneShot) => void): void {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked !== undefined) settle(asked);
  }
}
