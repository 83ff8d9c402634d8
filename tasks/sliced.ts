/**
 * Long computations in slices: whoever shares the thread gets a turn wherever one yields.
 *
 * @module
 */
import { Effect } from "effect";

/** What a computation ends with, which gives others a turn at each `yield`. */
export function sliced<A>(steps: Iterator<void, A>): Effect.Effect<A> {
  return Effect.suspend(() => {
    const turn: Effect.Effect<A> = Effect.suspend(() => {
      const step = steps.next();
      return step.done === true ? Effect.succeed(step.value) : Effect.andThen(Effect.yieldNow, turn);
    });
    return turn;
  });
}
