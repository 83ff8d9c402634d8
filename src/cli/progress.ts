/**
 * A progress bar on a terminal, and nothing anywhere else.
 *
 * Redrawn at most every 60 ms by the clock it is given; erased when done, so that what was printed before and after
 * stands as if there had been none.
 *
 * @module
 */
import type { Clock } from "effect";
import type { Printer } from "./output.ts";
import { countText, sizeText } from "./text_layout.ts";

/** Least time between two drawings, ms. */
const REDRAW_MILLIS = 60;
const BAR_CELLS = 20;
const ERASE_LINE = "\r\u001b[2K";

/** What a bar shows. */
export interface ProgressPlan {
  /** What is happening, a word or two. */
  readonly label: string;
  /** What is counted, such as "files". */
  readonly unit: string;
  /** How many there are; undefined when nobody knows. */
  readonly total: number | undefined;
}

/** How far work is whose extent becomes known as it goes. */
export interface ByteShare {
  /** Bytes done, of `total`. */
  readonly done: number;
  readonly total: number;
}

/** One bar. */
export class Progress {
  readonly #printer: Printer;
  readonly #clock: Clock.Clock;
  readonly #plan: ProgressPlan;
  readonly #startedAt: number;
  #drawnAt = -Infinity;
  #count = 0;
  #bytes = 0;

  constructor(printer: Printer, clock: Clock.Clock, plan: ProgressPlan) {
    this.#printer = printer;
    this.#clock = clock;
    this.#plan = plan;
    this.#startedAt = clock.currentTimeMillisUnsafe();
  }

  /** Adds what was done since the last call. */
  async add(count: number, bytes: number): Promise<void> {
    this.#count += count;
    this.#bytes += bytes;
    await this.#draw((now) => this.text(now));
  }

  /** Shows how far the work is by now, for work that is measured in bytes. */
  async show(share: ByteShare): Promise<void> {
    await this.#draw(() => this.shareText(share));
  }

  /** Shows that `done` of `total` are done, for work whose bytes say nothing. */
  async step(done: number, total: number): Promise<void> {
    await this.#draw(() => this.stepText(done, total));
  }

  /** Takes the bar away. */
  async done(): Promise<void> {
    if (this.#printer.isTerminal && this.#drawnAt !== -Infinity) await this.#print(ERASE_LINE);
  }

  /** The bar at a time, ms. */
  text(now: number): string {
    const { label, unit, total } = this.#plan;
    const seconds = Math.max(0.001, (now - this.#startedAt) / 1000);
    const speed = `${sizeText(this.#bytes)}, ${sizeText(Math.round(this.#bytes / seconds))}/s`;
    if (total === undefined) return `${label} ${countText(this.#count)} ${unit}, ${speed}`;
    return `${label} ${bar(this.#count, total)}  ${countText(this.#count)} of ${countText(total)} ${unit}, ${speed}`;
  }

  /** The bar of work that is measured in bytes. */
  shareText({ done, total }: ByteShare): string {
    const { label, unit } = this.#plan;
    return `${label} ${bar(done, total)}  ${sizeText(Math.min(done, total))} of ${sizeText(total)} ${unit}`;
  }

  /** The bar of work that is measured in steps. */
  stepText(done: number, total: number): string {
    return `${this.#plan.label} ${bar(done, total)}  ${countText(done)} of ${countText(total)} ${this.#plan.unit}`;
  }

  async #draw(text: (now: number) => string): Promise<void> {
    if (!this.#printer.isTerminal) return;
    const now = this.#clock.currentTimeMillisUnsafe();
    if (now - this.#drawnAt < REDRAW_MILLIS) return;
    this.#drawnAt = now;
    await this.#print(ERASE_LINE + text(now).slice(0, this.#printer.columns - 1));
  }

  async #print(text: string): Promise<void> {
    await this.#printer.bytes(new TextEncoder().encode(text));
    await this.#printer.flush();
  }
}

function bar(count: number, total: number): string {
  const share = total === 0 ? 1 : Math.min(1, count / total);
  const cells = Math.round(share * BAR_CELLS);
  return `${"█".repeat(cells)}${"░".repeat(BAR_CELLS - cells)} ${`${Math.floor(share * 100)}%`.padStart(4)}`;
}
