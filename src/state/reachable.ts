/**
 * What a manifest version reaches: the tables it names and the WAL objects that a replay from it reads.
 *
 * A collector may delete only what neither the newest version nor any version pinned by a checkpoint reaches. Versions
 * never change, so what a pinned one reaches is read once and remembered for as long as a checkpoint names it.
 *
 * @module
 */
import type { Manifest, Ulid } from "../format/types.ts";

/** What one manifest version keeps alive. */
export interface Reach {
  /** Ids of all tables, those of other databases included. */
  readonly tables: ReadonlySet<Ulid>;
  /** A replay reads the WAL objects above this id … */
  readonly replayAfterWalId: number;
  /** … up to this one. */
  readonly walIdLastSeen: number;
}

/** Ids of all tables that a manifest names, those of other databases included. */
export function namedTables({ l0, compacted }: Manifest): Set<Ulid> {
  const ids = new Set<Ulid>();
  for (const view of l0) ids.add(view.sstId);
  for (const run of compacted) for (const view of run.ssts) ids.add(view.sstId);
  return ids;
}

/** What `manifest` reaches. */
export function reachOf(manifest: Manifest): Reach {
  const { replayAfterWalId, walIdLastSeen } = manifest;
  return { tables: namedTables(manifest), replayAfterWalId, walIdLastSeen };
}

/** Whether a replay from that version reads WAL object `id`. */
export function reachesWal(reach: Reach, id: number): boolean {
  return reach.replayAfterWalId < id && id <= reach.walIdLastSeen;
}

/** Most versions remembered. */
const VERSIONS_MAX = 256;
/** Most table ids remembered, over all versions (about 100 bytes each). */
const TABLES_MAX = 250_000;

/** Remembers what pinned versions reach, within fixed bounds. */
export class ReachCache {
  readonly #byVersion = new Map<number, Reach>();
  #tables = 0;

  /** Number of versions remembered. */
  get size(): number {
    return this.#byVersion.size;
  }

  /** What version `id` reaches, if it is remembered. */
  get(id: number): Reach | undefined {
    return this.#byVersion.get(id);
  }

  /** Remembers `reach`; does nothing when there is no room: it is read again when it is needed again. */
  add(id: number, reach: Reach): void {
    if (this.#byVersion.has(id)) return;
    if (this.#byVersion.size >= VERSIONS_MAX || this.#tables + reach.tables.size > TABLES_MAX) return;
    this.#byVersion.set(id, reach);
    this.#tables += reach.tables.size;
  }

  /** Forgets every version but those in `ids`. */
  retain(ids: ReadonlySet<number>): void {
    for (const [id, reach] of this.#byVersion) {
      if (ids.has(id)) continue;
      this.#byVersion.delete(id);
      this.#tables -= reach.tables.size;
    }
  }
}
