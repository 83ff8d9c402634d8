/**
 * Time that never goes back, as a number.
 *
 * @module
 */
import type { Clock } from "effect";

/** The monotonic time of `clock`, ms with fractions; only differences mean something. */
export function monotonicMillis(clock: Clock.Clock): number {
  return Number(clock.monotonicTimeNanosUnsafe()) / 1e6;
}
