/**
 * The store stack of one database, the same for every role: counted below, retried above.
 *
 * @module
 */
import type { StoreOp } from "../errors.ts";
import { metered, StoreMeter } from "../store/metered_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { type DegradedReport, retrying } from "../store/retrying_store.ts";

/** A request that has not answered for so long is made again: even where nothing has a deadline, nothing may hang. */
export const ATTEMPT_TIMEOUT_MILLIS: number = 30_000;

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
   * up may be heard as `onDegraded`: of another nobody would hear that it is well again.
   */
  readonly mainFor: (component: string, heard: boolean) => ObjectStoreShape;
  /** The store of the WAL, likewise, not heard. */
  readonly walFor: (component: string) => ObjectStoreShape;
  /** Takes what a store that lies elsewhere (in a thread) tells about whether it does what it is asked. */
  readonly heardFrom: (component: string) => (degraded: boolean, report?: DegradedReport) => void;
}

/**
 * Stacks the decorators. `onDegraded` hears what is wrong when a store has not done what it was asked for long, and
 * undefined when it does again.
 *
 * @param component who the requests of `main` are counted for
 */
export function stackStores(
  store: ObjectStoreShape,
  walStore: ObjectStoreShape | undefined,
  onDegraded: (trouble: string | undefined) => void,
  component: string = "db",
): Stores {
  const meter = new StoreMeter();
  const walMeter = walStore === undefined ? undefined : new StoreMeter();
  const troubles = new Map<string, string>();
  const heardFrom = (of: string) => (degraded: boolean, report?: DegradedReport): void => {
    if (degraded) troubles.set(of, troubleText(report));
    else troubles.delete(of);
    onDegraded(troubles.values().next().value);
  };
  const stack = (inner: ObjectStoreShape, of: string, heard: boolean) =>
    retrying(metered(inner, { component: of, meter }), {
      attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS,
      onDegraded: heard ? heardFrom(of) : () => {},
    });
  const logFor = (of: string): ObjectStoreShape =>
    walStore === undefined || walMeter === undefined ? store : metered(walStore, { component: of, meter: walMeter });
  return {
    meter,
    walMeter,
    main: stack(store, component, true),
    wal: stack(logFor("wal"), "wal", true),
    mainFor: (of, heard) => stack(store, of, heard),
    walFor: (of) => stack(logFor(of), of, false),
    heardFrom,
  };
}

const WRITES: ReadonlySet<StoreOp> = new Set(["put", "putIfAbsent", "copy", "upload", "delete", "deleteMany"]);

/** What an operator reads about a store that does not do what it is asked. */
function troubleText(report: DegradedReport | undefined): string {
  if (report === undefined) return "The object store does not answer";
  const { op, failingMillis, error } = report;
  const what = WRITES.has(op) ? "has not taken a write" : "has not answered a read";
  const detail = error.detail === undefined ? "" : ` (${error.detail})`;
  return `The object store ${what} for ${Math.floor(failingMillis / 1000)} s: ${error.reason}${detail}`;
}
