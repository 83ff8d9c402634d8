/**
 * What can go wrong with a store request, and the rules that say when.
 *
 * Each rule looks at the requests it matches (by operation and name prefix) and strikes either at counted ones ("the
 * 3rd put of `manifest/`") or by chance, drawn from the plan's seed. The first rule that strikes decides; but every
 * rule counts and draws for every request it matches, so that adding one does not move the others.
 *
 * @module
 */
import type { StoreErrorReason } from "../../errors.ts";

/** Kinds of request that a faulty store sees. An upload is several: its start, its writes, its end. */
export type FaultyOp =
  | "get"
  | "getRange"
  | "getRanges"
  | "head"
  | "put"
  | "putIfAbsent"
  | "list"
  | "delete"
  | "deleteMany"
  | "copy"
  | "upload"
  | "uploadWrite"
  | "uploadComplete"
  | "uploadAbort";

/** What goes wrong. */
export type Fault =
  /** Fails without having done anything. */
  | {
    readonly kind: "before";
    /** "unavailable" when absent. */
    readonly reason?: StoreErrorReason;
    /** By the reason when absent: trouble of the moment may be retried, answers may not. */
    readonly retryable?: boolean;
    /** "none" when absent; "unknown" = the caller cannot tell that nothing was done. */
    readonly outcome?: "none" | "unknown";
  }
  /** Is done, but the answer is lost: the error says that the outcome is unknown. */
  | { readonly kind: "after"; readonly reason?: StoreErrorReason; readonly retryable?: boolean }
  /** Fails as unknown, and is done only when `deliverLate` is called: an abandoned request that arrives after all. */
  | { readonly kind: "late"; readonly reason?: StoreErrorReason }
  /** Never answers; done or not. Other requests go on. */
  | { readonly kind: "hang"; readonly when: "before" | "after" }
  /** Is done after a pause, by the clock of the fiber. */
  | { readonly kind: "delay"; readonly millis: number }
  /** A read whose body is shorter than it should be by `bytes` (1 when absent), given out as if it were right. */
  | { readonly kind: "short"; readonly bytes?: number }
  /** A read with one byte changed, at `offset` or at a place drawn from the seed. */
  | { readonly kind: "corrupt"; readonly offset?: number }
  /** A listing that does not show the `hide` (1 when absent) names created last through this store. */
  | { readonly kind: "stale"; readonly hide?: number };

/** When something goes wrong. */
export interface FaultRule {
  /** Operations it looks at; all when absent. */
  readonly op?: FaultyOp | ReadonlyArray<FaultyOp>;
  /** Only names (of the object, the listed folder, the copy's target) that begin so; all when absent. */
  readonly prefix?: string;
  /** Strikes at the nth request it matches, from 1. Without `nth` and `rate`: at the first. */
  readonly nth?: number;
  /** Strikes with this chance, 0..1, at every request it matches. */
  readonly rate?: number;
  /** How often it strikes at most, with `nth` in a row; 1 with `nth`, any number with `rate`, when absent. */
  readonly times?: number;
  /** What it does when it strikes. */
  readonly fault: Fault;
}

/** Where to crash: before or after the effect of the request with this index, counted from 0. */
export interface CrashPoint {
  /** Number of the request, from 0. */
  readonly index: number;
  /** Whether the request itself is still executed. */
  readonly when: "before" | "after";
}

/** What a faulty store does wrong. */
export interface FaultPlan {
  /** Rules in order of precedence. */
  readonly rules?: ReadonlyArray<FaultRule>;
  /** Seed of all chances, 32 bits; 0 when absent. */
  readonly seed?: number;
  /** Pause of every request, ms: a number, or drawn evenly between two. None when absent. */
  readonly latencyMillis?: number | readonly [from: number, to: number];
  /** From this request on nothing is executed, and nothing answers: the process is dead. */
  readonly crashAt?: CrashPoint;
}

/** Evenly distributed numbers from a seed (a Weyl sequence through a 32-bit mixer). */
export class FaultDice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** The next number, 0 <= x < 1. */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
  }
}

/** One rule with its counters. */
export class ArmedRule {
  readonly #rule: FaultRule;
  readonly #dice: FaultDice;
  #matched = 0;
  #struck = 0;

  constructor(rule: FaultRule, seed: number) {
    this.#rule = rule;
    this.#dice = new FaultDice(seed);
  }

  /** How often it has struck. */
  get struck(): number {
    return this.#struck;
  }

  /** The fault for this request, if the rule strikes. `taken` = another rule has struck already. */
  judge(op: FaultyOp, path: string, taken: boolean): Fault | undefined {
    const { op: ops, prefix, nth, rate, fault } = this.#rule;
    if (ops !== undefined && (typeof ops === "string" ? ops !== op : !ops.includes(op))) return undefined;
    if (prefix !== undefined && !path.startsWith(prefix)) return undefined;
    this.#matched++;
    const drawn = rate === undefined ? undefined : this.#dice.next() < rate;
    const times = this.#rule.times ?? (rate === undefined ? 1 : Infinity);
    const first = nth ?? 1;
    const due = this.#matched >= first && (drawn ?? this.#matched < first + times) && this.#struck < times;
    if (!due || taken) return undefined;
    this.#struck++;
    return fault;
  }
}
