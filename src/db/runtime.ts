/**
 * Where effects of one database run: with the clock, scheduler and services it was opened with.
 *
 * One of the few places that may call `Effect.run*`.
 *
 * @module
 */
import { Clock, Context, Effect, Exit, Fiber, Scheduler, Scope } from "effect";

/** Runs effects with the services of one database. */
export class Runtime {
  readonly context: Context.Context<never>;
  readonly clock: Clock.Clock;

  constructor(context: Context.Context<never>) {
    this.context = context;
    this.clock = Context.get(context, Clock.Clock);
  }

  /** Wall time, ms since 1970, whole. */
  now(): number {
    return Math.floor(this.clock.currentTimeMillisUnsafe());
  }

  /** A promise of the effect's outcome; rejects with the error itself. Aborting `signal` interrupts the effect. */
  promise<A, E>(effect: Effect.Effect<A, E>, signal?: AbortSignal): Promise<A> {
    return Effect.runPromiseWith(this.context)(effect, signal === undefined ? undefined : { signal });
  }

  /** Starts the effect and goes on. */
  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.context)(effect);
  }
}

/** The services of a database that was given its own clock; a virtual clock brings its scheduler along. */
export function contextWithClock(clock: Clock.Clock | undefined): Context.Context<never> {
  if (clock === undefined) return Context.empty();
  const context = Context.make(Clock.Clock, clock) as Context.Context<never>;
  const scheduler = (clock as { readonly scheduler?: Scheduler.Scheduler }).scheduler;
  return scheduler === undefined
    ? context
    : Context.add(context, Scheduler.Scheduler, scheduler) as Context.Context<never>;
}

/** Closes a scope, and waits for it only so long: what the store does not answer must not keep whoever closes. */
export function closeWithin(runtime: Runtime, scope: Scope.Closeable, millis: number): Effect.Effect<void> {
  return Effect.suspend(() => {
    const ended = runtime.fork(Scope.close(scope, Exit.void));
    return Effect.asVoid(Effect.timeoutOption(Fiber.await(ended), millis));
  });
}
