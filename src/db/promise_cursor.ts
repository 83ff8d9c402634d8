/**
 * A cursor as promises: a move that memory can answer is made at the call, without a fiber.
 *
 * @module
 */
import { keyBytes } from "../lsm/key_range.ts";
import { type CursorTask, TO_FIRST, TO_GE, TO_LAST, TO_LT, TO_NEXT, TO_PREV } from "../lsm/row_cursor.ts";
import { type Bytes, type Entry, NOT_CACHED } from "./api.ts";
import type { Cursor } from "./cursor_api.ts";
import type { CursorSource } from "./cursor_source.ts";
import { asDbError } from "./failures.ts";
import { abortable } from "./promise_reads.ts";
import type { Runtime } from "./runtime.ts";

/** The Promise face of a cursor. */
export class PromiseCursor implements Cursor {
  readonly #source: CursorSource;
  readonly #runtime: Runtime;
  readonly #signal: AbortSignal | undefined;
  /** Ends when all moves called so far have ended; undefined while none waits. */
  #turn: Promise<void> | undefined = undefined;

  constructor(source: CursorSource, runtime: Runtime, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#runtime = runtime;
    this.#signal = signal;
  }

  first(): Promise<Entry | undefined> {
    return this.#move(TO_FIRST);
  }

  last(): Promise<Entry | undefined> {
    return this.#move(TO_LAST);
  }

  next(): Promise<Entry | undefined> {
    return this.#move(TO_NEXT);
  }

  prev(): Promise<Entry | undefined> {
    return this.#move(TO_PREV);
  }

  seekGE(key: Bytes): Promise<Entry | undefined> {
    return this.#seek(TO_GE, key);
  }

  seekLT(key: Bytes): Promise<Entry | undefined> {
    return this.#seek(TO_LT, key);
  }

  get current(): Entry | undefined {
    return this.#source.current;
  }

  close(): Promise<void> {
    try {
      this.#source.close();
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(asDbError(error));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#source.release();
    return Promise.resolve();
  }

  #seek(task: CursorTask, to: Bytes): Promise<Entry | undefined> {
    try {
      this.#signal?.throwIfAborted();
      return this.#move(task, keyBytes(to));
    } catch (error) {
      return Promise.reject(this.#rejection(error));
    }
  }

  #move(task: CursorTask, key?: Uint8Array): Promise<Entry | undefined> {
    try {
      this.#signal?.throwIfAborted();
      if (this.#turn === undefined) {
        const entry = this.#source.tryMove(task, key);
        if (entry !== NOT_CACHED) return Promise.resolve(entry);
      }
    } catch (error) {
      return Promise.reject(this.#rejection(error));
    }
    // The caller may use its array again while the move waits.
    return this.#inTurn(task, key?.slice());
  }

  #inTurn(task: CursorTask, key: Uint8Array | undefined): Promise<Entry | undefined> {
    const move = () => abortable(this.#runtime, this.#source.move(task, key), this.#signal);
    const begun = this.#turn === undefined ? move() : this.#turn.then(move);
    const answer = begun.catch((error) => {
      throw this.#rejection(error);
    });
    const ended = () => {
      if (this.#turn === turn) this.#turn = undefined;
    };
    const turn: Promise<void> = answer.then(ended, ended);
    this.#turn = turn;
    return answer;
  }

  #rejection(error: unknown): unknown {
    if (this.#signal?.aborted !== true) return asDbError(error);
    // Nobody can go on with it.
    this.#source.letGo();
    return this.#signal.reason;
  }
}
