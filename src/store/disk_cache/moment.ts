/**
 * What work that no fiber waits for is told of its fiber: the time, and a name that was never used.
 *
 * @module
 */
import { Clock, Effect } from "effect";
import { toHex } from "../../bytes/hex.ts";
import { Ids } from "../../env/ids.ts";
import { monotonicMillis } from "../../env/monotonic_time.ts";

/** The moment of a request, and chance. */
export interface Moment {
  readonly wallMillis: number;
  readonly monotonicMillis: number;
  /** Hexadecimal digits that were never used before. */
  readonly unique: string;
  readonly clock: Clock.Clock;
}

/** Now, for the running fiber. */
export const momentNow: Effect.Effect<Moment> = Effect.withFiber((fiber) => {
  const clock = fiber.getRef(Clock.Clock);
  return Effect.succeed({
    wallMillis: clock.currentTimeMillisUnsafe(),
    monotonicMillis: monotonicMillis(clock),
    unique: toHex(fiber.getRef(Ids).randomBytes(8)),
    clock,
  });
});
