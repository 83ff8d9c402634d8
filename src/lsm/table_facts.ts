/**
 * What this process knows of the rows of tables it wrote itself: whether they are plain values that never expire.
 *
 * Such a table loses nothing when a compaction moves it as it is. Tables of other processes are simply not known.
 *
 * @module
 */
import type { Ulid } from "../format/types.ts";

/** Tables remembered at most; the oldest are forgotten first. */
const TABLES_MAX = 16_384;

/** Remembers facts about tables, bounded. */
export class KnownTables {
  readonly #plain = new Map<Ulid, { readonly isPlain: boolean }>();

  /** Records what the writer of a table saw. */
  note(id: Ulid, isPlain: boolean): void {
    this.#plain.set(id, { isPlain });
    if (this.#plain.size > TABLES_MAX) this.#plain.delete(this.#plain.keys().next().value!);
  }

  /** What is known of a table; undefined = nothing. */
  readonly facts = (id: Ulid): { readonly isPlain: boolean } | undefined => this.#plain.get(id);
}
