/**
 * The store stack of one database, the same for every role: counted below, retried above.
 *
 * @module
 */
import { metered, type MeteredStore } from "../store/metered_store.ts";
import type { ObjectStoreShape } from "../store/object_store.ts";
import { retrying } from "../store/retrying_store.ts";

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

/** Stacks the decorators. `onDegraded` hears when a store has not answered for long, and when it does again. */
export function stackStores(
  store: ObjectStoreShape,
  walStore: ObjectStoreShape | undefined,
  onDegraded: (degraded: boolean) => void,
): Stores {
  const mainMeter = metered(store, { component: "db" });
  const walMeter = metered(walStore ?? store, { component: "wal" });
  const late = { main: false, wal: false };
  const hear = (which: keyof typeof late) => (degraded: boolean) => {
    late[which] = degraded;
    onDegraded(late.main || late.wal);
  };
  return {
    mainMeter,
    walMeter,
    main: retrying(mainMeter, { onDegraded: hear("main"), attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS }),
    wal: retrying(walMeter, { onDegraded: hear("wal"), attemptTimeoutMillis: ATTEMPT_TIMEOUT_MILLIS }),
  };
}
