/**
 * The store stack of one database, the same for every role: counted below, retried above.
 *
 * @module
 */
import type { StoreOp } from "../errors.ts";
import { metered, type MeteredStore } from "../store/metered_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { type DegradedReport, retrying } from "../store/retrying_store.ts";

/** A request that has not answered for so long is made again: even where nothing has a deadline, nothing may hang. */
const ATTEMPT_TIMEOUT_MILLIS = 30_000;

/** The stores of one database. Every attempt of a retried request is counted. */
export interface Stores {
  /** Counts requests for manifests and tables. */
  readonly mainMeter: MeteredStore;
  /** Counts requests for the WAL, wherever it lives. */
  readonly walMeter: MeteredStore;
  /** Manifests and tables. */
  readonly main: ObjectStoreShape;
  /** The WAL. */
  readonly wal: ObjectStoreShape;
}

/**
 * Stacks the decorators. `onDegraded` hears what is wrong when a store has not done what it was asked for long, and
 * undefined when it does again.
 */
export function stackStores(
  store: ObjectStoreShape,
  walStore: ObjectStoreShape | undefined,
  onDegraded: (trouble: string | undefined) => void,
): Stores {
  const mainMeter = metered(store, { component: "db" });
  const walMeter = metered(walStore ?? store, { component: "wal" });
  const troubles: { main: string | undefined; wal: string | undefined } = { main: undefined, wal: undefined };
  const hear = (which: keyof typeof troubles) => (degraded: boolean, report?: DegradedReport) => {
    troubles[which] = degraded ? troubleText(report) : undefined;
    onDegraded(troubles.main ?? troubles.wal);
  };
  return {
    mainMeter,
    walMeter,
    main: retrying(mainMeter, { onDegraded: hear("main"), attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS }),
    wal: retrying(walMeter, { onDegraded: hear("wal"), attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS }),
  };
}

const WRITES: ReadonlySet<StoreOp> = new Set(["put", "putIfAbsent", "copy", "upload", "delete"]);

/** What an operator reads about a store that does not do what it is asked. */
function troubleText(report: DegradedReport | undefined): string {
  if (report === undefined) return "The object store does not answer";
  const { op, failingMillis, error } = report;
  const what = WRITES.has(op) ? "has not taken a write" : "has not answered a read";
  const detail = error.detail === undefined ? "" : ` (${error.detail})`;
  return `The object store ${what} for ${Math.floor(failingMillis / 1000)} s: ${error.reason}${detail}`;
}
