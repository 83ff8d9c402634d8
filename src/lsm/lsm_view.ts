/**
 * The immutable capture that one read works on: memtables, level 0 and sorted runs, in order of age.
 *
 * Newest first everywhere: active memtable, frozen ones, L0 in manifest order, runs in manifest order. For one key every
 * version in a newer source has a greater sequence number than every version in an older one (invariant LSM order).
 * A capture is never changed; the active memtable in it may still grow, which a read does not notice because the new
 * rows lie above its sequence number.
 *
 * @module
 */
import type { Manifest } from "../format/types.ts";
import type { Memtable } from "./memtable.ts";
import { TableRef } from "./table_ref.ts";
import type { TableStore } from "./table_store.ts";

/** A sorted run as readers see it. */
export interface RunRef {
  readonly id: number;
  /** In ascending key order. */
  readonly tables: ReadonlyArray<TableRef>;
}

/** What the manifest says about tables. */
export interface Levels {
  /** Newest first. */
  readonly l0: ReadonlyArray<TableRef>;
  /** Newest first. */
  readonly runs: ReadonlyArray<RunRef>;
}

/** Everything one read looks at. */
export interface LsmView extends Levels {
  /** Newest first, the active one in front. */
  readonly memtables: ReadonlyArray<Memtable>;
}

/** The levels of a manifest version. Tables are the store's shared objects, so cached parts carry over. */
export function buildLevels(manifest: Manifest, tables: TableStore): Levels {
  return {
    l0: manifest.l0.map((view) => new TableRef(tables.table(view), view)),
    runs: manifest.compacted.map((run) => ({
      id: run.id,
      tables: run.ssts.map((view) => new TableRef(tables.table(view), view)),
    })),
  };
}
