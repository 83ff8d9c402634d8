/**
 * Who goes first, and how many at once: places of which each urgency has some to itself, and a queue for them.
 *
 * Invariant B3: some places are kept for each urgency and are taken by no other, so whatever the others do with theirs,
 * hang or flood, each goes on. In the queue it is first come, first served within an urgency; flush paths go before calls
 * and those before background work, but whoever has been passed over three times in a row is next.
 *
 * Plain synchronous state.
 *
 * @module
 */

/** Who asks: a writer's flush path, a call that somebody waits for, or housekeeping. */
export type Urgency = "flush" | "call" | "background";

/** All of them, the most urgent first. */
export const URGENCIES: readonly Urgency[] = ["flush", "call", "background"];

/** How often in a row an urgency may be passed over. */
const PASSED_MAX = 3;
/** With fewer places than these none is kept for anybody. */
const KEPT_FROM = 4;

/** Places that are taken and given back. */
export class Places {
  readonly #count: number;
  readonly #kept: Readonly<Record<Urgency, number>>;
  readonly #taken: Record<Urgency, number> = { flush: 0, call: 0, background: 0 };

  /**
   * @param count places in all, at least 1
   * @param shares which part of them is kept for each urgency, less than 1 together; of four places and more each gets
   * one at least
   */
  constructor(count: number, shares: Readonly<Record<Urgency, number>>) {
    const kept = (share: number): number => count < KEPT_FROM ? 0 : Math.max(1, Math.floor(count * share));
    this.#count = count;
    this.#kept = { flush: kept(shares.flush), call: kept(shares.call), background: kept(shares.background) };
  }

  /** Whether there is a place that is not kept for others. */
  hasPlace(urgency: Urgency): boolean {
    let used = 0;
    for (const other of URGENCIES) {
      used += other === urgency ? this.#taken[other] : Math.max(this.#taken[other], this.#kept[other]);
    }
    return used < this.#count;
  }

  /** Takes one. */
  take(urgency: Urgency): void {
    this.#taken[urgency]++;
  }

  /** Gives one back. */
  give(urgency: Urgency): void {
    this.#taken[urgency]--;
  }
}

/** Those who wait, in the order in which they go on. */
export class UrgencyQueue<W extends { readonly urgency: Urgency }> {
  readonly #waiting: Readonly<Record<Urgency, Set<W>>> = { flush: new Set(), call: new Set(), background: new Set() };
  readonly #passed: Record<Urgency, number> = { flush: 0, call: 0, background: 0 };

  /** Somebody who waits, if anybody does. */
  get first(): W | undefined {
    for (const urgency of URGENCIES) for (const waiter of this.#waiting[urgency]) return waiter;
    return undefined;
  }

  /** `waiter` waits from now on. */
  add(waiter: W): void {
    this.#waiting[waiter.urgency].add(waiter);
  }

  /** It does no more, and got nothing. */
  remove(waiter: W): void {
    this.#waiting[waiter.urgency].delete(waiter);
  }

  /** Who is next; `may` is asked about the first of each urgency. */
  next(may: (waiter: W) => boolean): W | undefined {
    let next: W | undefined;
    for (const urgency of URGENCIES) {
      for (const waiter of this.#waiting[urgency]) {
        if (!may(waiter)) break;
        if (this.#passed[urgency] >= PASSED_MAX) return waiter;
        next ??= waiter;
        break;
      }
    }
    return next;
  }

  /** `waiter` got what it waited for, before all the others. */
  served(waiter: W): void {
    this.#waiting[waiter.urgency].delete(waiter);
    for (const urgency of URGENCIES) {
      if (urgency === waiter.urgency) this.#passed[urgency] = 0;
      else if (this.#waiting[urgency].size > 0) this.#passed[urgency]++;
    }
  }
}
