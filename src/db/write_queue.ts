/**
 * Writes that wait for room, or for an answer of the store, in call order.
 *
 * A write takes effect where it was called (decision D18): once one waits, all later ones wait behind it. The queue
 * holds the bytes of its writes and has a bound; at close everybody in it is answered.
 *
 * A write whose application depends on what is stored is asked whether it is ready, when its turn has come. From a "yes"
 * on nothing happens before it is applied; after a "no" it has the queue drained again when it knows more.
 *
 * @module
 */
import { type Closed, type DbError, Unavailable } from "../errors.ts";
import { asDbError } from "./failures.ts";
import { OneShot } from "../env/one_shot.ts";
import type { AppliedWrite } from "../state/writer_state.ts";

/** A write that waits. `ready` settles when it was applied or refused. */
export class QueuedWrite {
  readonly ready: OneShot<DbError> = new OneShot<DbError>();
  applied: AppliedWrite | undefined = undefined;
  readonly apply: () => AppliedWrite;
  readonly bytes: number;
  readonly durable: boolean;
  readonly isReady: (() => boolean) | undefined;

  constructor(apply: () => AppliedWrite, bytes: number, durable: boolean, isReady: (() => boolean) | undefined) {
    this.apply = apply;
    this.bytes = bytes;
    this.durable = durable;
    this.isReady = isReady;
  }
}

/** First in, first out. */
export class WriteQueue {
  readonly #maxBytes: number;
  #waiting: QueuedWrite[] = [];
  #head = 0;
  #bytes = 0;

  /** @param maxBytes bytes that may wait before further writes are refused */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#head === this.#waiting.length;
  }

  /** The newest waiting write; only when not empty. */
  get last(): QueuedWrite {
    return this.#waiting[this.#waiting.length - 1]!;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds a write. @throws Unavailable reason "backpressure" when too much waits already.
   *
   * @param isReady whether the write can be applied at this very moment; absent: whenever there is room
   */
  add(apply: () => AppliedWrite, bytes: number, durable: boolean, isReady?: () => boolean): QueuedWrite {
    if (this.#bytes >= this.#maxBytes) {
      throw new Unavailable({
        reason: "backpressure",
        message: `Cannot write: ${this.#bytes} bytes of writes wait for room already (maxUnflushedBytes). ` +
          "Await writes before issuing more, and check that the object store answers",
      });
    }
    const write = new QueuedWrite(apply, bytes, durable, isReady);
    this.#waiting.push(write);
    this.#bytes += bytes;
    return write;
  }

  /** Applies waiting writes while `hasRoom` says so; `onApplied` runs after each. */
  drain(hasRoom: () => boolean, onApplied: (write: QueuedWrite) => void): void {
    while (!this.isEmpty && hasRoom()) {
      if (this.#waiting[this.#head]!.isReady?.() === false) return;
      const write = this.#take();
      try {
        write.applied = write.apply();
      } catch (error) {
        write.ready.fail(asDbError(error));
        continue;
      }
      onApplied(write);
      write.ready.succeed();
    }
  }

  /** Refuses everything that waits. */
  fail(error: Closed): void {
    while (!this.isEmpty) this.#take().ready.fail(error);
  }

  #take(): QueuedWrite {
    const write = this.#waiting[this.#head]!;
    this.#waiting[this.#head] = undefined as unknown as QueuedWrite;
    this.#head++;
    this.#bytes -= write.bytes;
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return write;
  }
}
