/**
 * A clock that runs faster than the real one, for tests with real servers of what takes the engine half a minute.
 *
 * Servers and the network keep their own time: what a deadline allows a request shrinks with the pace.
 *
 * @module
 */
import { type Clock, Duration, Effect } from "effect";

/** A clock on which `pace` seconds go by in each real second, from now on; it begins `aheadMillis` ahead. */
export function hurriedClock(pace: number, aheadMillis: number = 0): Clock.Clock {
  const wallAtStart = Date.now() + aheadMillis;
  const began = performance.now();
  const elapsed = () => (performance.now() - began) * pace;
  const wall = () => Math.floor(wallAtStart + elapsed());
  const nanos = () => BigInt(Math.floor(elapsed() * 1e6));
  return {
    currentTimeMillisUnsafe: wall,
    currentTimeMillis: Effect.sync(wall),
    currentTimeNanosUnsafe: () => BigInt(wall()) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(wall()) * 1_000_000n),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration) / pace;
      if (!Number.isFinite(millis)) return Effect.never;
      return Effect.callback<void>((resume) => {
        const timer = setTimeout(() => resume(Effect.void), Math.min(millis, 2 ** 31 - 1));
        return Effect.sync(() => clearTimeout(timer));
      });
    },
  };
}
