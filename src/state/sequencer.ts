/**
 * The numbers that only go up: sequence numbers, clock ticks, the applied and the durable watermark.
 *
 * Invariants: S1 every write takes exactly the last sequence number + 1, after its last check that may fail;
 * S2 `durableSeq <= lastSeq`; S3 ticks never decrease (decision D20).
 *
 * Owned by one database; changed only by its synchronous write step, its recovery and its flushers.
 *
 * @module
 */
import { InvalidArgument } from "../errors.ts";
import { NO_TICK } from "../format/types.ts";

/** Hands out sequence numbers and ticks and remembers the watermarks. */
export class Sequencer {
  /** Sequence number of the newest applied write; 0 when there is none. */
  lastSeq = 0;
  /** Every write up to this number survives a crash. */
  durableSeq = 0;
  /** Newest creation time handed out or replayed, ms. */
  lastTick: number = NO_TICK;
  /** Newest time any read used, so that an expired row does not come back when the clock steps back. */
  #lastReadMillis: number = NO_TICK;
  readonly #clockToleranceMillis: number;

  constructor(clockToleranceMillis: number) {
    this.#clockToleranceMillis = clockToleranceMillis;
  }

  /**
   * The creation time of a write made now: the wall clock, or the last tick when the wall clock lags behind it by no
   * more than the tolerance.
   *
   * @throws InvalidArgument reason "clock-behind" beyond the tolerance; nothing was taken.
   */
  tick(nowMillis: number): number {
    if (nowMillis >= this.lastTick) {
      this.lastTick = nowMillis;
      return nowMillis;
    }
    const lag = this.lastTick - nowMillis;
    if (lag <= this.#clockToleranceMillis) return this.lastTick;
    throw new InvalidArgument({
      reason: "clock-behind",
      message: `Cannot write: the clock is ${lag} ms behind the newest row, more than clockToleranceMillis = ` +
        `${this.#clockToleranceMillis}. Set the clock right, or raise the tolerance`,
    });
  }

  /** Takes the next sequence number. */
  next(): number {
    return ++this.lastSeq;
  }

  /** The time a read judges expiry by: never before any tick or earlier read. */
  readTime(nowMillis: number): number {
    const time = Math.max(nowMillis, this.lastTick, this.#lastReadMillis);
    this.#lastReadMillis = time;
    return time;
  }

  /** Starts from, or moves on to, what stored data shows: all of it is durable. */
  restore(seq: number, tick: number): void {
    this.lastSeq = Math.max(this.lastSeq, seq);
    this.durableSeq = Math.max(this.durableSeq, seq);
    this.lastTick = Math.max(this.lastTick, tick);
  }

  /** Raises the durable watermark. */
  markDurable(seq: number): void {
    this.durableSeq = Math.max(this.durableSeq, seq);
  }
}
