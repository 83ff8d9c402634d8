/**
 * Whether a store does what it is asked, as everybody who uses it in one process finds it together.
 *
 * *Degraded*: a call that is never given up has been failing for 30 s. It ends when no such call is left and something
 * has succeeded, whoever asked for it; giving up is no recovery. *Slow*: the last four requests have each taken two
 * seconds and more, not counting the time that 100 kB/s would take for their bytes; it ends when one did not. Slow is a
 * warning only.
 *
 * Plain synchronous state; told when something changes and at no other time.
 *
 * @module
 */
import type { StoreError, StoreOp } from "../errors.ts";

/** A call that has been failing for long. */
export interface DegradedReport {
  /** What the call asks for. */
  readonly op: StoreOp;
  /** Of which object. */
  readonly path: string;
  /** When the call began, ms since 1970. */
  readonly sinceMillis: number;
  /** Time since then, ms. */
  readonly failingMillis: number;
  /** The error of its last attempt. */
  readonly error: StoreError;
}

/** Requests that take long although they succeed. */
export interface SlowReport {
  /** When the first of them in a row was sent, ms since 1970. */
  readonly sinceMillis: number;
  /** How long the last one took, ms. */
  readonly tookMillis: number;
}

/** Settings of {@linkcode StoreHealth}. */
export interface HealthOptions {
  /** Time after which a failing call makes the store degraded, ms; 30,000 when absent. */
  readonly degradedAfterMillis?: number;
  /**
   * Told when the store becomes degraded (with the call that made it so), when that call fails for another reason than
   * before, and when the store has recovered.
   */
  readonly onDegraded?: (degraded: boolean, report?: DegradedReport) => void;
  /** Told when the store has become slow, and undefined when it is not any more. */
  readonly onSlow?: (report: SlowReport | undefined) => void;
}

/** Slowest transfer that is not taken for a request that will never answer, or for a slow one. */
export const SLOWEST_BYTES_PER_MILLI: number = 100;
/** A request that takes as long as this is slow, ms. */
export const SLOW_MILLIS: number = 2000;
/** So many in a row make the store slow. */
const SLOW_REQUESTS: number = 4;

/** The state of one store. */
export class StoreHealth {
  readonly #degradedAfter: number;
  readonly #onDegraded: (degraded: boolean, report?: DegradedReport) => void;
  readonly #onSlow: (report: SlowReport | undefined) => void;
  /** Calls that have been failing for long. */
  readonly #late: Set<object> = new Set();
  /** The one of them that is told about, and what was told last. */
  #teller: object | undefined = undefined;
  #told = "";
  #degraded = false;
  #slowInRow = 0;
  #slowSince = 0;

  /** The state of a store that nothing is known of yet. */
  constructor(options: HealthOptions = {}) {
    this.#degradedAfter = options.degradedAfterMillis ?? 30_000;
    this.#onDegraded = options.onDegraded ?? (() => {});
    this.#onSlow = options.onSlow ?? (() => {});
  }

  /** A call has failed once more. */
  callFailed(call: object, report: DegradedReport): void {
    if (report.failingMillis < this.#degradedAfter) return;
    this.#late.add(call);
    this.#teller ??= call;
    const news = `${report.op} ${report.error.reason}`;
    if (this.#teller !== call || (this.#degraded && news === this.#told)) return;
    this.#degraded = true;
    this.#told = news;
    this.#onDegraded(true, report);
  }

  /** A call has ended, well or not: it is no longer a reason to be degraded. */
  callEnded(call: object): void {
    this.#late.delete(call);
    if (this.#teller === call) this.#teller = undefined;
  }

  /** A request has succeeded. */
  succeeded(): void {
    if (!this.#degraded || this.#late.size > 0) return;
    this.#degraded = false;
    this.#onDegraded(false);
  }

  /** A request has been answered after `tookMillis`; it moved so many bytes. */
  took(tookMillis: number, bytes: number, nowMillis: number): void {
    if (tookMillis - bytes / SLOWEST_BYTES_PER_MILLI < SLOW_MILLIS) {
      if (this.#slowInRow >= SLOW_REQUESTS) this.#onSlow(undefined);
      this.#slowInRow = 0;
      return;
    }
    if (this.#slowInRow++ === 0) this.#slowSince = nowMillis - tookMillis;
    if (this.#slowInRow === SLOW_REQUESTS) this.#onSlow({ sinceMillis: this.#slowSince, tookMillis });
  }
}
