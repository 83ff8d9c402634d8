/**
 * The store stack of one database, the same for every role: counted below, retried above.
 *
 * All components share one health per store; the main store and a WAL store of its own have one each. The retry budget is
 * shared by all databases, readers and calls of the process that use the same store (`shared_budgets.ts`). A compaction's
 * thread has a budget of its own, and tells about its store by messages.
 *
 * @module
 */
import { DateTime } from "effect";
import { metered, StoreMeter } from "../store/metered_store.ts";
import { type ObjectStoreShape, READ_OPS } from "../store/object_store.ts";
import { retrying } from "../store/retrying_store.ts";
import { sharedBudget } from "../store/shared_budgets.ts";
import { type DegradedReport, type SlowReport, StoreHealth } from "../store/store_health.ts";

/** A request that has not answered for so long is made again: even where nothing has a deadline, nothing may hang. */
export const ATTEMPT_TIMEOUT_MILLIS: number = 30_000;

/** What is wrong with the stores of a database, as texts for an operator: at most one of each kind for each store. */
export interface StoreTrouble {
  /** Stores that have not done what they were asked for long. */
  readonly degraded: readonly string[];
  /** Stores that do, but take long. */
  readonly slow: readonly string[];
}

/** The stores of one database. Every attempt of a retried request is counted, by the component that makes it. */
export interface Stores {
  /** Counts all requests, wherever the WAL lives. */
  readonly meter: StoreMeter;
  /** Counts the requests to the store of the log once more, where the log has a store of its own. */
  readonly walMeter: StoreMeter | undefined;
  /** Manifests and tables, for the writer. */
  readonly main: ObjectStoreShape;
  /** The WAL. */
  readonly wal: ObjectStoreShape;
  /**
   * The main store as another component ("compactor", "gc", …) sees and pays for it. Only one that never gives a request
   * up may be heard as degraded; all are heard when the store is well.
   */
  readonly mainFor: (component: string, heard: boolean) => ObjectStoreShape;
  /** The store of the WAL, likewise, not heard. */
  readonly walFor: (component: string) => ObjectStoreShape;
  /** Takes what a store that lies elsewhere (in a thread) tells about whether it does what it is asked. */
  readonly heardFrom: (component: string) => (degraded: boolean, report?: DegradedReport) => void;
}

/** Components whose work nobody waits for: while a store throttles, theirs is put off first. */
const BACKGROUND: ReadonlySet<string> = new Set(["compactor", "gc", "preload"]);

/**
 * Stacks the decorators. `onTrouble` hears what is wrong with the stores whenever that changes.
 *
 * @param component who the requests of `main` are counted for
 */
export function stackStores(
  store: ObjectStoreShape,
  walStore: ObjectStoreShape | undefined,
  onTrouble: (trouble: StoreTrouble) => void,
  component: string = "db",
): Stores {
  const meter = new StoreMeter();
  const walMeter = walStore === undefined ? undefined : new StoreMeter();
  const troubles = new Troubles(onTrouble);
  const stackOf = (inner: ObjectStoreShape, name: string, logMeter?: StoreMeter) => {
    const shared = {
      attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS,
      budget: sharedBudget(inner),
      health: new StoreHealth({
        onDegraded: (degraded, report) => troubles.degraded(name, name, degraded, report),
        onSlow: (report) => troubles.slow(name, report),
      }),
    };
    return (of: string, heard: boolean): ObjectStoreShape => {
      const counted = logMeter === undefined ? inner : metered(inner, { component: of, meter: logMeter });
      return retrying(metered(counted, { component: of, meter }), { ...shared, heard, background: BACKGROUND.has(of) });
    };
  };
  const main = stackOf(store, MAIN);
  const wal = walStore === undefined ? main : stackOf(walStore, "The WAL's object store", walMeter);
  return {
    meter,
    walMeter,
    main: main(component, true),
    wal: wal("wal", true),
    mainFor: main,
    walFor: (of) => wal(of, false),
    heardFrom: (of) => (degraded, report) => troubles.degraded(of, MAIN, degraded, report),
  };
}

const MAIN = "The object store";

/** What is wrong now, by who says so. */
class Troubles {
  readonly #onTrouble: (trouble: StoreTrouble) => void;
  readonly #degraded: Map<string, { readonly store: string; readonly text: string }> = new Map();
  readonly #slow: Map<string, string> = new Map();

  constructor(onTrouble: (trouble: StoreTrouble) => void) {
    this.#onTrouble = onTrouble;
  }

  degraded(source: string, store: string, isDegraded: boolean, report: DegradedReport | undefined): void {
    if (isDegraded) this.#degraded.set(source, { store, text: troubleText(store, report) });
    else this.#degraded.delete(source);
    this.#tell();
  }

  slow(store: string, report: SlowReport | undefined): void {
    if (report === undefined) this.#slow.delete(store);
    else {
      const seconds = (report.tookMillis / 1000).toFixed(1);
      this.#slow.set(store, `${store} is slow: requests take ${seconds} s, since ${timeText(report.sinceMillis)}`);
    }
    this.#tell();
  }

  #tell(): void {
    // One for each store, whoever of its users spoke first.
    const degraded = new Map<string, string>();
    for (const { store, text } of this.#degraded.values()) if (!degraded.has(store)) degraded.set(store, text);
    this.#onTrouble({ degraded: [...degraded.values()], slow: [...this.#slow.values()] });
  }
}

/** What an operator reads about a store that does not do what it is asked. */
function troubleText(store: string, report: DegradedReport | undefined): string {
  if (report === undefined) return `${store} does not answer`;
  const { op, sinceMillis, error } = report;
  const what = READ_OPS.has(op) ? "has not answered a read" : "has not taken a write";
  const detail = error.detail === undefined ? "" : ` (${error.detail})`;
  return `${store} ${what} since ${timeText(sinceMillis)}: ${reasonText(error.reason)}${detail}`;
}

function reasonText(reason: DegradedReport["error"]["reason"]): string {
  switch (reason) {
    case "throttled":
      return "throttled, it asks for fewer requests";
    case "unavailable":
      return "unavailable, it fails or cannot be reached";
    case "timeout":
      return "timeout, it does not answer";
    default:
      return reason;
  }
}

/** Farthest time that can be written as a date, ms from 1970. */
const LAST_DATE_MILLIS = 8.64e15;

/** A time of the wall clock, whole seconds. */
function timeText(millis: number): string {
  if (!(Math.abs(millis) <= LAST_DATE_MILLIS)) return `${millis} ms`;
  return DateTime.formatIso(DateTime.makeUnsafe(millis)).replace(/\.\d+Z$/, "Z");
}
