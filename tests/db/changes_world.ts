/**
 * Change feeds in virtual time, and logs made by hand: what the tests of the feed have in common.
 *
 * @module
 */
import { changes } from "../../mod.ts";
import type { Change, ChangesOptions } from "../../src/db/admin_api.ts";
import { DataError } from "../../src/errors.ts";
import { encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName, walPath } from "../../src/format/paths.ts";
import { FLAG_CREATE, type Manifest } from "../../src/format/types.ts";
import { WalSstBuilder } from "../../src/format/wal_sst.ts";
import { emptyManifest } from "../../src/state/manifest_edits.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { text } from "../support/bytes.ts";
import { assert } from "../support/suite.ts";
import type { World } from "./fault_world.ts";

/** A change as one word: `put a=1 @3`, `deleteRange a..c @4`; a side without bound is left out. */
export function said(change: Change): string {
  if (change.kind === "deleteRange") {
    const { gte, lt } = change.range;
    return `deleteRange ${text(gte)}..${text(lt) ?? ""} @${change.seq}`;
  }
  return `${change.kind} ${text(change.key)}${change.kind === "delete" ? "" : `=${text(change.value)}`} @${change.seq}`;
}

/** One feed in a world's virtual time. */
export class Feed {
  readonly #world: World;
  readonly #rows: AsyncIterator<Change>;
  #pending: Promise<IteratorResult<Change>> | undefined = undefined;

  constructor(world: World, options: ChangesOptions = {}, store: ObjectStoreShape = world.store, path = "") {
    this.#world = world;
    const feed = changes({ store, path }, { clock: world.clock, ...options });
    this.#rows = feed[Symbol.asyncIterator]();
  }

  /** Starts the feed where it starts without a sequence number: behind everything that is stored. */
  async start(): Promise<this> {
    await this.quiet(1);
    return this;
  }

  /** The next change; undefined at the end. */
  async next(withinMillis = 10_000): Promise<string | undefined> {
    const { done, value } = await this.#world.get(this.#take(), withinMillis);
    return done === true ? undefined : said(value);
  }

  /** The next `count` changes. */
  async take(count: number, withinMillis = 10_000): Promise<string[]> {
    const rows: string[] = [];
    while (rows.length < count) rows.push(await this.next(withinMillis) ?? "end");
    return rows;
  }

  /** Fails unless nothing comes for so long. */
  async quiet(millis: number): Promise<void> {
    const pending = this.#take();
    this.#pending = pending;
    pending.catch(() => {});
    const outcome = await this.#world.outcome(pending, millis);
    assert.equal(outcome.ended, "never", `something came: ${JSON.stringify(outcome)}`);
  }

  /** The error that comes next. */
  error(withinMillis = 10_000): Promise<unknown> {
    return this.#world.error(this.#take(), withinMillis);
  }

  /** The "gone" that comes next: its text, and the oldest sequence number it names. */
  async gone(withinMillis = 10_000): Promise<{ readonly detail: string; readonly oldest: number | undefined }> {
    const error = await this.error(withinMillis);
    assert.ok(error instanceof DataError && error.reason === "gone", `not gone, but ${String(error)}`);
    return { detail: error.detail ?? "", oldest: error.oldestSeq };
  }

  /** Ends the feed. */
  end(): Promise<IteratorResult<Change>> {
    return this.#rows.return!();
  }

  #take(): Promise<IteratorResult<Change>> {
    const pending = this.#pending ?? this.#rows.next();
    this.#pending = undefined;
    return pending;
  }
}

/** Everything from `fromSeq` (default 1) to the end. */
export async function everything(world: World, options: ChangesOptions = {}): Promise<string[]> {
  const rows: string[] = [];
  const feed = new Feed(world, { follow: false, fromSeq: 1, ...options });
  for (let row = await feed.next(); row !== undefined; row = await feed.next()) rows.push(row);
  return rows;
}

/** Deletes what 0.12.1's collector may delete of the log: everything below the replay boundary, fences too. */
export function collectLog(world: World, store: MemoryStore = world.inner): void {
  const { replayAfterWalId } = world.manifest;
  for (const path of store.objects()) {
    if (path.startsWith("wal/") && parseNumberedName(path)! < replayAfterWalId) store.remove(path);
  }
}

/** A WAL object with a put of `k<seq>` = `value` for each sequence number, in the order given; none makes a fence. */
export function walObject(seqs: readonly number[], value = "v"): Uint8Array {
  const builder = new WalSstBuilder({
    blockSizeBytes: 4096,
    compression: 0,
    minFilterKeys: 1000,
    filterBitsPerKey: 10,
  });
  const encoder = new TextEncoder();
  for (const seq of seqs) {
    const key = encoder.encode(`k${seq}`);
    builder.add(key, 0, key.length, seq, FLAG_CREATE, 1000 + seq, Infinity, encoder.encode(value), 0, value.length);
  }
  return builder.finish();
}

/** Plants a log: sequence numbers by WAL id. */
export function plantLog(
  store: MemoryStore,
  objects: Readonly<Record<number, readonly number[]>>,
  value = "v",
): void {
  for (const [id, seqs] of Object.entries(objects)) store.plant(walPath("", Number(id)), walObject(seqs, value));
}

/** Plants the next version of the manifest. */
export function plantManifest(store: MemoryStore, fields: Partial<Manifest>): void {
  const newest = store.objects().filter((path) => path.startsWith("manifest/")).at(-1);
  const id = newest === undefined ? 1 : parseNumberedName(newest)! + 1;
  store.plant(manifestPath("", id), encodeManifest({ ...emptyManifest(false), ...fields }));
}
