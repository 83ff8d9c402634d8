/**
 * Tells listeners when the status of a database changed, without ever holding up the engine; and why writes wait.
 *
 * @module
 */
import type { WriterState } from "../state/writer_state.ts";
import type { DbStatus } from "./api.ts";
import type { StoreTrouble } from "./stores.ts";

/** Listeners of one database's status. A listener that throws is reported to nobody and harms nobody. */
export class StatusBoard {
  readonly #read: () => DbStatus;
  readonly #listeners = new Set<(status: DbStatus) => void>();
  readonly #later: (task: () => void) => void;
  #trouble: StoreTrouble = { degraded: [], slow: [] };
  /** What is worth a warning besides. */
  others: () => ReadonlyArray<string | undefined> = () => [];
  #telling = false;
  #toldLater = false;

  /** @param later runs a task after the current one has ended */
  constructor(read: () => DbStatus, later: (task: () => void) => void) {
    this.#read = read;
    this.#later = later;
  }

  /** The status now. */
  get current(): DbStatus {
    return this.#read();
  }

  /** Whether a store has not taken a flush for a while. */
  get degraded(): boolean {
    return this.#trouble.degraded.length > 0;
  }

  /** What is wrong with caches and stores: first what only costs time, last why the status is degraded. */
  get storeWarnings(): readonly string[] {
    return [...this.others().filter((one) => one !== undefined), ...this.#trouble.slow, ...this.#trouble.degraded];
  }

  /** Records what is wrong with the stores. */
  setTrouble(trouble: StoreTrouble): void {
    this.#trouble = trouble;
    this.changed();
  }

  /**
   * Calls every listener with the new status. A change that a listener itself causes is told later, so that a listener
   * that writes does not call itself for ever.
   */
  changed(): void {
    if (this.#listeners.size === 0) return;
    if (this.#telling) {
      if (this.#toldLater) return;
      this.#toldLater = true;
      this.#later(() => {
        this.#toldLater = false;
        this.changed();
      });
      return;
    }
    this.#telling = true;
    const status = this.#read();
    for (const listener of [...this.#listeners]) {
      try {
        listener(status);
      } catch {
        // The listener's own problem: the engine must go on.
      }
    }
    this.#telling = false;
  }

  /** Adds a listener; answers the function that takes it away. */
  listen(listener: (status: DbStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** Why writes wait, if it is for the ceiling: a full buffer waits for its turn while memory is full. */
export function ceilingTrouble(
  { wal }: WriterState,
  { maxWalPutsPerSecond, l0SstSizeBytes }: { readonly maxWalPutsPerSecond: number; readonly l0SstSizeBytes: number },
): string | undefined {
  if (maxWalPutsPerSecond === Infinity || wal?.nextToFlush === undefined) return undefined;
  return `Writes wait for the log: maxWalPutsPerSecond = ${maxWalPutsPerSecond} with l0SstSizeBytes = ${l0SstSizeBytes} ` +
    `stores about ${Math.round(maxWalPutsPerSecond * l0SstSizeBytes)} bytes a second; raise one of them`;
}
