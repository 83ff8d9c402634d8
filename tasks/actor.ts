/**
 * The kit every moving part is made of: one fiber that owns its work and takes messages from a bounded mailbox.
 *
 * Messages are kinds without payload: "there may be something to do". The state they speak of lives with the actor or
 * in the writer's state, so a kind that already waits in the mailbox need not be queued twice, and the mailbox can
 * never hold more messages than there are kinds. Telling is synchronous and never waits, so that the write path can do
 * it without a fiber. The error that ends an actor goes to the supervisor, which answers everybody.
 *
 * @module
 */
import { Effect, Queue, type Scope } from "effect";
import type { Supervisor } from "./supervisor.ts";

/** The sending side of an actor. */
export interface Actor<Kind extends string> {
  /** Leaves a message, unless one of this kind waits already. Does nothing once the actor has ended. */
  readonly tell: (kind: Kind) => void;
}

/** What an actor does. */
export interface ActorSpec<Kind extends string, E, R> {
  /** Name used in errors. */
  readonly name: string;
  /** Every kind the mailbox may hold, once each. */
  readonly kinds: ReadonlyArray<Kind>;
  /** Handles one message; an error is fatal for the database. Transient faults are retried inside. */
  readonly handle: (kind: Kind, self: Actor<Kind>) => Effect.Effect<void, E, R>;
}

/** Starts an actor in the current scope under `supervisor`. Ending the scope interrupts it. */
export function spawn<Kind extends string, E, R>(
  supervisor: Supervisor,
  spec: ActorSpec<Kind, E, R>,
): Effect.Effect<Actor<Kind>, never, R | Scope.Scope> {
  return Effect.gen(function* () {
    const mailbox = yield* Queue.bounded<Kind>(spec.kinds.length);
    const waiting = new Set<Kind>();
    const self: Actor<Kind> = {
      tell: (kind) => {
        if (waiting.has(kind)) return;
        waiting.add(kind);
        Queue.offerUnsafe(mailbox, kind);
      },
    };
    yield* Queue.take(mailbox).pipe(
      Effect.flatMap((kind) => {
        waiting.delete(kind);
        return spec.handle(kind, self);
      }),
      Effect.forever({ disableYield: true }),
      supervisor.watch(spec.name),
      Effect.forkScoped,
    );
    return self;
  });
}

/**
 * A timer of which at most one is armed: the effect arms it, or does nothing when it is armed or never to fire.
 *
 * @param millis Infinity = never
 * @param fire runs when the time has passed
 */
export function oneTimer(scope: Scope.Scope, millis: number, fire: () => void): Effect.Effect<void> {
  let armed = false;
  return Effect.suspend(() => {
    if (armed || !Number.isFinite(millis)) return Effect.void;
    armed = true;
    return Effect.sleep(millis).pipe(
      Effect.andThen(Effect.sync(() => {
        armed = false;
        fire();
      })),
      Effect.forkIn(scope),
      Effect.asVoid,
    );
  });
}
