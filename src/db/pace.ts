/**
 * Keeps a writer that waits for nothing from starving everybody else of the event loop.
 *
 * Promises that are settled already are continued before any timer, disk or network answer. A loop of
 * `await db.put(key, value, { durable: false })` would therefore stop the log, the tables and all other users of the
 * thread for as long as it runs, and fill the memory. So after a burst of bytes the answers of such writes come one turn of
 * the event loop later: after a long burst while memory is mostly empty, a short one when tables fall behind.
 *
 * @module
 */
import { Effect } from "effect";
import type { Runtime } from "./runtime.ts";

/** Bytes between two turns while the tables keep up: some milliseconds of writes. */
const LONG_BURST_BYTES = 1 << 20;
/** The same when they do not: about as much as a turn lets them encode. */
const SHORT_BURST_BYTES = 1 << 16;
/** Memtables' worth of unflushed bytes from which on the tables are behind. */
const BEHIND = 1.5;

/** Decides when a writer waits a turn. */
export class Pace {
  readonly #runtime: Runtime;
  readonly #behindBytes: number;
  #burst = 0;
  #turn: Promise<void> | undefined = undefined;

  constructor(runtime: Runtime, l0SstSizeBytes: number) {
    this.#runtime = runtime;
    this.#behindBytes = BEHIND * l0SstSizeBytes;
  }

  /** The turn that writers wait for now, if they have to. */
  get turn(): Promise<void> | undefined {
    return this.#turn;
  }

  /** A write of `bytes` was applied; `unflushed` bytes wait in memory. */
  wrote(bytes: number, unflushed: number): void {
    this.#burst += bytes;
    if (this.#burst < SHORT_BURST_BYTES || this.#turn !== undefined) return;
    if (this.#burst < LONG_BURST_BYTES && unflushed < this.#behindBytes) return;
    this.#burst = 0;
    this.#turn = this.#runtime.promise(Effect.yieldNow).then(() => {
      this.#turn = undefined;
    });
  }
}
