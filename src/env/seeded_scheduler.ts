/**
 * A scheduler that lets a seed decide which ready fiber runs next, and how long it runs before it must yield.
 *
 * The same seed gives the same interleaving on every runtime, as long as the program waits for nothing but other
 * fibers and a virtual clock. All dispatchers share one list of ready tasks: priorities are ignored on purpose, since a
 * correct program may not depend on them. The tasks run in promise jobs, so a run needs no timer.
 *
 * @module
 */
import type { Fiber, Scheduler } from "effect";

/** Settings of {@linkcode SeededScheduler}. */
export interface SeededSchedulerOptions {
  /** Chance, 0..1, that a fiber is made to yield at any of its steps; 0.02 when absent. */
  readonly preemption?: number;
}

/** Effect scheduler whose choices are drawn from a 32-bit seed. */
export class SeededScheduler implements Scheduler.Scheduler {
  /** Fibers resume in later promise jobs, as under Effect's own scheduler. */
  readonly executionMode = "async" as const;
  readonly #preemptBelow: number;
  #state: number;
  #ready: Array<() => void> = [];
  #armed = false;
  #choices = 0;

  /** A scheduler whose choices follow from `seed` (32 bits; each is as good as any other). */
  constructor(seed: number, options: SeededSchedulerOptions = {}) {
    this.#state = seed | 0;
    this.#preemptBelow = Math.round((options.preemption ?? 0.02) * 2 ** 32);
  }

  /** Number of draws so far; equal numbers at equal points show that two runs went the same way. */
  get choices(): number {
    return this.#choices;
  }

  /** Number of tasks that are ready to run. */
  get ready(): number {
    return this.#ready.length;
  }

  /** Whether the running fiber must let others go first. Always after 2048 steps, else by the seed. */
  shouldYield(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    return fiber.currentOpCount >= 2048 || this.#draw() < this.#preemptBelow;
  }

  /** A dispatcher over the one shared list of ready tasks. */
  makeDispatcher(): Scheduler.SchedulerDispatcher {
    return {
      scheduleTask: (task) => {
        this.#ready.push(task);
        if (this.#armed) return;
        this.#armed = true;
        Promise.resolve().then(() => {
          this.#armed = false;
          this.#drain();
        });
      },
      flush: () => this.#drain(),
    };
  }

  #drain(): void {
    while (this.#ready.length > 0) {
      const at = this.#draw() % this.#ready.length;
      const task = this.#ready[at]!;
      const last = this.#ready.pop()!;
      if (at < this.#ready.length) this.#ready[at] = last;
      task();
    }
  }

  /** Next number, 0..2 ** 32 - 1: a Weyl sequence through a 32-bit finalizer (splitmix32). */
  #draw(): number {
    this.#choices++;
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  }
}
