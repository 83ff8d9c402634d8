/**
 * A scan as promises and async iterators.
 *
 * Rows are pulled in batches from the synchronous core; a promise is awaited only where the store must be asked. Each
 * iteration captures its own view when it begins, so one scan object can be run several times.
 *
 * @module
 */
import { PENDING } from "../lsm/cursor.ts";
import type { Bytes, Entry, Scan, ScanIterator } from "./api.ts";
import { badOption } from "./call_options.ts";
import { asDbError } from "./failures.ts";
import { abortable } from "./promise_reads.ts";
import type { Runtime } from "./runtime.ts";
import type { ScanSource } from "./scan_source.ts";

/** Entries pulled at a time by the row-wise iterators. */
const ROWS_PER_PULL = 64;
/** Entries per batch unless the caller says otherwise. */
const BATCH_ROWS = 256;

/** The Promise face of a scan. */
export class PromiseScan implements Scan {
  readonly #start: () => ScanSource;
  readonly #runtime: Runtime;
  readonly #signal: AbortSignal | undefined;

  constructor(start: () => ScanSource, runtime: Runtime, signal: AbortSignal | undefined) {
    this.#start = start;
    this.#runtime = runtime;
    this.#signal = signal;
  }

  batches(size: number = BATCH_ROWS): AsyncIterable<readonly Entry[]> {
    if (!(Number.isSafeInteger(size) && size >= 1)) throw badOption("size", "a whole number of at least 1");
    return {
      [Symbol.asyncIterator]: () => {
        const pull = this.#puller();
        return {
          next: async () => {
            const batch: Entry[] = [];
            await pull.into(batch, size);
            return batch.length === 0 ? { done: true, value: undefined } : { done: false, value: batch };
          },
          return: () => pull.end(),
        };
      },
    };
  }

  async toArray(): Promise<Entry[]> {
    const rows: Entry[] = [];
    await this.#puller().into(rows, Infinity);
    return rows;
  }

  keys(): AsyncIterable<Uint8Array> {
    return { [Symbol.asyncIterator]: () => rowIterator(this.#puller(), (entry) => entry.key) };
  }

  [Symbol.asyncIterator](): AsyncIterator<Entry> {
    return rowIterator(this.#puller(), (entry) => entry);
  }

  iterator(): ScanIterator {
    const pull = this.#puller();
    const close = () => pull.end().then(() => undefined);
    return {
      next: async () => {
        const row: Entry[] = [];
        await pull.into(row, 1);
        return row[0];
      },
      seek: (key: Bytes) => pull.seek(key),
      close,
      return: close,
      [Symbol.asyncDispose]: close,
    };
  }

  #puller(): Puller {
    return new Puller(this.#start, this.#runtime, this.#signal);
  }
}

/** Drives one run of a scan; moves are made one after another, however they are called. */
class Puller {
  readonly #runtime: Runtime;
  readonly #signal: AbortSignal | undefined;
  #source: ScanSource | undefined = undefined;
  #failure: unknown = undefined;
  #turn: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(start: () => ScanSource, runtime: Runtime, signal: AbortSignal | undefined) {
    this.#runtime = runtime;
    this.#signal = signal;
    try {
      this.#source = start();
    } catch (error) {
      this.#failure = asDbError(error);
    }
  }

  /** Rows to pull at a time for a caller who takes them one by one. */
  get rowsPerPull(): number {
    return this.#source?.rowsPerPull(ROWS_PER_PULL) ?? ROWS_PER_PULL;
  }

  /** Appends rows until `into` holds `max` or the scan ends. */
  into(into: Entry[], max: number): Promise<void> {
    if (!this.#busy) {
      try {
        this.#check();
        if (this.#source!.fill(into, max) !== PENDING) return Promise.resolve();
      } catch (error) {
        return Promise.reject(this.#rejection(error));
      }
    }
    return this.#inTurn(() => this.#fetchInto(into, max));
  }

  /** Skips forward. */
  seek(key: Bytes): Promise<void> {
    return this.#inTurn(() => {
      try {
        this.#check();
        this.#source!.seek(key);
        return Promise.resolve();
      } catch (error) {
        return Promise.reject(this.#rejection(error));
      }
    });
  }

  /** Ends the run. */
  end(): Promise<{ done: true; value: undefined }> {
    this.#source?.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #fetchInto(into: Entry[], max: number): Promise<void> {
    try {
      this.#check();
      while (this.#source!.fill(into, max) === PENDING) {
        await abortable(this.#runtime, this.#source!.fetch, this.#signal);
      }
    } catch (error) {
      throw this.#rejection(error);
    }
  }

  #inTurn(move: () => Promise<void>): Promise<void> {
    this.#busy = true;
    const result = this.#turn.then(move);
    const turn: Promise<void> = result.catch(() => {}).then(() => {
      if (this.#turn === turn) this.#busy = false;
    });
    this.#turn = turn;
    return result;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#signal?.throwIfAborted();
  }

  #rejection(error: unknown): unknown {
    if (this.#signal?.aborted !== true) return asDbError(error);
    // Nobody can go on with it.
    this.#source?.close();
    return this.#signal.reason;
  }
}

/** Iterates row by row over pulled batches. Calls of `next` that do not wait for each other are answered in order. */
function rowIterator<A>(pull: Puller, pick: (entry: Entry) => A): AsyncIterator<A> {
  let rows: Entry[] = [];
  let at = 0;
  let refilling: Promise<IteratorResult<A>> | undefined = undefined;
  const step = async (): Promise<IteratorResult<A>> => {
    if (at === rows.length) {
      rows = [];
      at = 0;
      await pull.into(rows, pull.rowsPerPull);
    }
    return at < rows.length ? { done: false, value: pick(rows[at++]!) } : { done: true, value: undefined };
  };
  const inTurn = (): Promise<IteratorResult<A>> => {
    const previous = refilling;
    const answer = previous === undefined ? step() : previous.then(step);
    const settled = () => {
      if (refilling === answer) refilling = undefined;
    };
    refilling = answer;
    answer.then(settled, settled);
    return answer;
  };
  return {
    next: () =>
      refilling === undefined && at < rows.length
        ? Promise.resolve({ done: false, value: pick(rows[at++]!) })
        : inTurn(),
    return: () => {
      rows = [];
      at = 0;
      return pull.end();
    },
  };
}
