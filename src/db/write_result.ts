/**
 * The answer of a write, and how both faces wait for one.
 *
 * @module
 */
import { Effect } from "effect";
import type { DbError } from "../errors.ts";
import type { OneShot } from "../env/one_shot.ts";
import type { AppliedWrite } from "../state/writer_state.ts";
import type { WriteResult } from "./api.ts";
import type { Accepted } from "./write_path.ts";
import { QueuedWrite } from "./write_queue.ts";

/** A write that was applied. */
export class AppliedResult implements WriteResult {
  readonly seq: number;
  readonly createdAt: number;
  readonly #durable: OneShot;

  constructor(applied: AppliedWrite) {
    this.seq = applied.seq;
    this.createdAt = applied.createTs;
    this.#durable = applied.durable;
  }

  get durable(): Promise<void> {
    return this.#durable.promise;
  }

  /** Waits for durability as an effect. */
  get whenDurable(): Effect.Effect<void, DbError> {
    return this.#durable.wait as Effect.Effect<void, DbError>;
  }
}

/** A promise of the result: after the memory write, or after it is durable. */
export function promiseOf(accepted: Accepted, durable: boolean): Promise<WriteResult> {
  if (accepted instanceof QueuedWrite) {
    return accepted.ready.promise.then(() => promiseOf(accepted.applied!, durable));
  }
  const result = new AppliedResult(accepted);
  return durable ? result.durable.then(() => result) : Promise.resolve(result);
}

/** The same as an effect. */
export function effectOf(accepted: Accepted, durable: boolean): Effect.Effect<WriteResult, DbError> {
  if (accepted instanceof QueuedWrite) {
    return Effect.flatMap(accepted.ready.wait, () => effectOf(accepted.applied!, durable));
  }
  const result = new AppliedResult(accepted);
  return durable ? Effect.as(result.whenDurable, result) : Effect.succeed(result);
}
