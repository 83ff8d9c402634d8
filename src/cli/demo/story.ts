/**
 * Tells the demo: headings, sentences, claims that were checked. With `--json` nothing is told until the end, when all
 * claims and figures come as one value.
 *
 * @module
 */
import type { Printer } from "../output.ts";

const BOLD = "\u001b[1m";
const PLAIN = "\u001b[0m";

/** A claim and whether it held. */
export interface Claim {
  readonly claim: string;
  readonly held: boolean;
}

/** The demo's voice and its record. */
export class Story {
  readonly claims: Claim[] = [];
  /** Figures for `--json`. */
  readonly figures: Record<string, unknown> = {};
  readonly #out: Printer;
  readonly #silent: boolean;
  readonly #color: boolean;
  #chapter = 0;

  constructor(out: Printer, silent: boolean, color: boolean) {
    this.#out = out;
    this.#silent = silent;
    this.#color = color;
  }

  /** Begins a chapter. */
  async chapter(title: string): Promise<void> {
    this.#chapter++;
    const heading = `${this.#chapter}. ${title}`;
    await this.#print(`\n${this.#color ? BOLD + heading + PLAIN : heading}`);
  }

  /** Says something. */
  say(sentence: string): Promise<void> {
    return this.#print(sentence === "" ? "" : `   ${sentence}`);
  }

  /** Says whether something that was checked is so. */
  async check(claim: string, held: boolean): Promise<void> {
    this.claims.push({ claim, held });
    await this.#print(`   ${held ? "ok  " : "FAIL"} ${claim}`);
  }

  /** Whether every claim held so far. */
  get allHeld(): boolean {
    return this.claims.every((claim) => claim.held);
  }

  /** Ends the story: the record for `--json`. */
  async end(): Promise<void> {
    if (this.#silent) await this.#out.json({ ok: this.allHeld, ...this.figures, claims: this.claims });
    await this.#out.flush();
  }

  async #print(line: string): Promise<void> {
    if (this.#silent) return;
    await this.#out.line(line);
    await this.#out.flush();
  }
}
