/**
 * A writer and its readers on one memory store and one clock: what the tests of readers have in common.
 *
 * @module
 */
import { openReader } from "../../mod.ts";
import type { DbReader } from "../../src/db/admin_api.ts";
import type { Db, Reads } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import type { ReaderOptions } from "../../src/db/reader_options.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, tablePath } from "../../src/format/paths.ts";
import type { Manifest, SstView } from "../../src/format/types.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { type FaultyStore, faultyStore } from "../../src/store/faulty_store.ts";
import { text } from "../support/bytes.ts";
import { World } from "./fault_world.ts";

/** A world whose writer does nothing by itself, and readers with a store of their own before the same objects. */
export class ReaderWorld extends World {
  /** What readers see the objects through. */
  readonly readerStore: FaultyStore;
  #tables = 0;

  constructor(options: OpenOptions = {}) {
    super({ compactor: false, garbageCollector: false, ...options });
    this.readerStore = faultyStore(this.inner, {});
  }

  /** Opens a reader through the readers' store. */
  reader(options: ReaderOptions = {}): Promise<DbReader> {
    return this.get(this.opening(options), 100_000);
  }

  /** The same, not waited for. */
  opening(options: ReaderOptions = {}): Promise<DbReader> {
    return openReader({ store: this.readerStore, path: "" }, { clock: this.clock, ...options });
  }

  /** Number of the newest manifest version. */
  get manifestId(): number {
    return Number(this.paths("manifest").at(-1)!.slice("manifest/".length, -".manifest".length));
  }

  /** Another process commits a version. */
  commit(edit: (manifest: Manifest) => Manifest): void {
    this.inner.plant(manifestPath("", this.manifestId + 1), encodeManifest(edit(this.manifest)));
  }

  /**
   * Another process moves all L0 tables into sorted runs of one table each, under new ids. `collect`: the old objects go
   * too, whatever checkpoints say.
   */
  compact(collect: boolean): void {
    const old = this.manifest.l0;
    const moved = old.map((view): SstView => {
      const sstId = ulidFromParts(this.clock.now() + ++this.#tables, new Uint8Array(10));
      this.inner.plant(tablePath("", sstId), this.inner.peek(tablePath("", view.sstId))!);
      return { ...view, sstId, viewId: sstId };
    });
    this.commit((manifest) => {
      const newest = (manifest.compacted[0]?.id ?? -1) + moved.length;
      const runs = moved.map((view, i) => ({ id: newest - i, ssts: [view] }));
      return {
        ...manifest,
        l0: [],
        compacted: [...runs, ...manifest.compacted],
        lastCompactedL0: old[0]!.viewId,
        recentSnapshotMinSeq: manifest.lastL0Seq,
      };
    });
    if (collect) { for (const { sstId } of old) this.inner.remove(tablePath("", sstId)); }
  }

  /** Durable puts, one WAL object each. */
  async put(db: Db, rows: Readonly<Record<string, string>>): Promise<void> {
    for (const [key, value] of Object.entries(rows)) await this.get(db.put(key, value));
  }

  /** The value of a key as text. */
  async value(reads: Reads, key: string): Promise<string | undefined> {
    return text(await this.get(reads.get(key)));
  }

  /** All rows as text. */
  async rows(reads: Reads): Promise<Record<string, string>> {
    const rows = await this.get(reads.scan().toArray());
    return Object.fromEntries(rows.map((row) => [text(row.key)!, text(row.value)!]));
  }

  /** Requests that readers made since the last call, as "op path". */
  asked(): string[] {
    const { log } = this.readerStore.controls;
    const from = this.#asked;
    this.#asked = log.length;
    return log.slice(from).map(({ op, path }) => `${op} ${path}`);
  }
  #asked = 0;
}
