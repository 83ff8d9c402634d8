/**
 * Tables that a database only refers to: a clone reads those of the database it came from.
 *
 * The manifest lists the other databases with the ids of their tables that are used here. Whoever holds tables asks
 * this for their root, and lets it adopt each newer manifest.
 *
 * @module
 */
import type { Manifest, Ulid } from "../format/types.ts";

/** Which other database a table belongs to, by the manifest's list. */
export class ExternalRoots {
  #roots = new Map<Ulid, string>();

  constructor(manifest: Manifest) {
    this.adopt(manifest);
  }

  /** Goes on with the list of a newer manifest. */
  adopt(manifest: Manifest): void {
    if (manifest.externalDbs.length === 0 && this.#roots.size === 0) return;
    this.#roots = new Map(manifest.externalDbs.flatMap((db) => db.sstIds.map((id) => [id, db.path] as const)));
  }

  /** Root of the database that the table belongs to; undefined for the database's own tables. */
  rootOf(id: Ulid): string | undefined {
    return this.#roots.get(id);
  }
}
