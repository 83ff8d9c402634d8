/**
 * Where real input and output leave the Effect world, and how a virtual clock learns of it.
 *
 * A virtual clock may only say "settled" when no request to a disk or a network is under way. So every leaf that waits
 * for a native promise does it through {@linkcode realIo}: it looks at the clock of the running fiber and, if that
 * clock counts I/O, tells it of the start and of the end. The count ends when the promise ends, also after an
 * interruption. Waiting in virtual time (`Effect.sleep`) is never counted.
 *
 * @module
 */
import { Clock, Effect } from "effect";

/** A clock that wants to know of real I/O, such as the virtual clock. */
export interface IoCountingClock extends Clock.Clock {
  /** A request to a disk or a network begins. */
  readonly ioStarted: () => void;
  /** It has ended, well or not. */
  readonly ioEnded: () => void;
}

function countsIo(clock: Clock.Clock): clock is IoCountingClock {
  return typeof (clock as Partial<IoCountingClock>).ioStarted === "function";
}

/** Tells a clock that counts I/O of work that no effect waits for; answers how to tell it of the end. */
export function beginIo(clock: Clock.Clock): () => void {
  if (!countsIo(clock)) return () => {};
  clock.ioStarted();
  return () => clock.ioEnded();
}

/**
 * Runs `start` as an effect. An interruption aborts the signal and does not wait for the promise: a disk that hangs
 * must not hold up the deadline that interrupted it. What the work still does then is a request of unknown outcome.
 *
 * @param start begins the work; may look at the signal between its steps. One that takes no parameter gets none: an
 *   abort signal costs more than a small read.
 * @param onError turns a rejection into the error of the effect
 */
export function realIo<A, E>(
  start: (signal: AbortSignal) => Promise<A>,
  onError: (cause: unknown) => E,
): Effect.Effect<A, E> {
  return Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock);
    const counting = countsIo(clock) ? clock : undefined;
    const begin = (resume: (effect: Effect.Effect<A, E>) => void, signal: AbortSignal): void => {
      counting?.ioStarted();
      start(signal).then(
        (value) => {
          counting?.ioEnded();
          resume(Effect.succeed(value));
        },
        (cause) => {
          counting?.ioEnded();
          resume(Effect.fail(onError(cause)));
        },
      );
    };
    // Effect makes a signal only for a function of two parameters.
    return start.length === 0
      ? Effect.callback<A, E>((resume) => begin(resume, NEVER_ABORTED))
      : Effect.callback<A, E>((resume, signal) => begin(resume, signal));
  });
}

const NEVER_ABORTED: AbortSignal = new AbortController().signal;
