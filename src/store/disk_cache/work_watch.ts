/**
 * Notices that work on a disk makes no progress: a call that never returns must not hold up whoever waits for the work.
 *
 * The work tells each step it has made, however small. When there was none for so long, it is given up; what hangs then
 * goes on by itself, and whoever gave it up begins nothing new on that disk before it has ended.
 *
 * @module
 */
import { Effect } from "effect";
import type { OneShot } from "../../env/one_shot.ts";

/** Time between two looks, ms. After two looks without a step between them the work is given up. */
const LOOK_MILLIS = 2_500;

/** Work that goes on, one after the other, and is watched. */
export class WorkWatch {
  #steps = 0;
  #isWatched = false;
  #giveUp: (() => void) | undefined = undefined;

  /** The work has made a step. */
  step(): void {
    this.#steps++;
  }

  /** Waits for work: true when it has ended, false when it was given up. Fails like the work. */
  async within(work: Promise<void>): Promise<boolean> {
    const { promise: stuck, resolve } = Promise.withResolvers<false>();
    this.#steps++;
    this.#giveUp = () => resolve(false);
    try {
      return await Promise.race([work.then(() => true), stuck]);
    } finally {
      this.#giveUp = undefined;
    }
  }

  /** Watches in a fiber of its own, until what `idle` answers has settled; nothing where somebody does already. */
  watch(idle: () => OneShot<never>): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.#isWatched || idle().settled) return Effect.void;
      this.#isWatched = true;
      return Effect.asVoid(Effect.forkDetach(this.#look(idle, 0)));
    });
  }

  #look(idle: () => OneShot<never>, quiet: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const seen = this.#steps;
      return Effect.flatMap(Effect.timeoutOption(idle().wait, LOOK_MILLIS), () => {
        if (idle().settled) {
          this.#isWatched = false;
          return Effect.void;
        }
        const now = this.#steps === seen ? quiet + 1 : 0;
        if (now >= 2) this.#giveUp?.();
        return this.#look(idle, now >= 2 ? 0 : now);
      });
    });
  }
}
