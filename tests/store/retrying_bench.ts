/**
 * Retrying stores over faulty ones, in virtual time.
 *
 * @module
 */
import { Cause, Effect, Exit, type Fiber, Random } from "effect";
import { Ids, seededIds } from "../../src/env/ids.ts";
import { type VirtualClock, virtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { StoreError } from "../../src/errors.ts";
import { type FaultRule, type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { RetryDeadline, retrying, type RetryOptions } from "../../src/store/retrying_store.ts";
import { type HealthOptions, StoreHealth } from "../../src/store/store_health.ts";

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A retrying store over a faulty one, in virtual time. */
export class Bench {
  readonly clock: VirtualClock = virtualClock();
  readonly inner: MemoryStore = memoryStore();
  readonly faulty: FaultyStore;
  readonly store: ObjectStoreShape;

  constructor(
    rules: ReadonlyArray<FaultRule>,
    options: RetryOptions = {},
    view: (inner: MemoryStore) => ObjectStoreShape = (s) => s,
  ) {
    this.faulty = faultyStore(view(this.inner), { rules });
    this.store = retrying(this.faulty, options);
  }

  fork<A>(effect: Effect.Effect<A, StoreError>, deadlineMillis?: number): Fiber.Fiber<A, StoreError> {
    const limited = deadlineMillis === undefined
      ? effect
      : Effect.provideService(effect, RetryDeadline, deadlineMillis);
    const seeded = limited.pipe(Effect.provideService(Ids, seededIds(1)), Random.withSeed("seed"));
    return Effect.runFork(Effect.provideContext(seeded, virtualClockContext(this.clock)), {
      scheduler: this.clock.scheduler,
    });
  }

  /** The verdict on an effect after `millis` of virtual time. */
  async after<A>(millis: number, effect: Effect.Effect<A, StoreError>, deadlineMillis?: number): Promise<string> {
    const fiber = this.fork(effect, deadlineMillis);
    await this.clock.advance(millis);
    return verdict(fiber);
  }

  get attempts(): number {
    return this.faulty.controls.requestCount;
  }
}

export function verdict(fiber: Fiber.Fiber<unknown, StoreError>): string {
  const exit = fiber.pollUnsafe();
  if (exit === undefined) return "pending";
  if (Exit.isSuccess(exit)) return typeof exit.value === "string" ? exit.value : "ok";
  const error = Cause.squash(exit.cause);
  return error instanceof StoreError ? `${error.reason}/${error.outcome}` : String(error);
}

export const healthy = (options: HealthOptions): RetryOptions => ({ health: new StoreHealth(options) });

export const fails = (op: FaultRule["op"] & string, times: number, more: Partial<FaultRule> = {}): FaultRule => ({
  op,
  times,
  fault: { kind: "before" },
  ...more,
});
