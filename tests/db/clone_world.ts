/**
 * A parent and its clones in one memory store, in virtual time: what the tests of clones have in common.
 *
 * @module
 */
import { type CloneOptions, open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { decodeManifest, encodeManifest } from "../../src/format/manifest_codec.ts";
import { manifestPath, parseNumberedName, walPath } from "../../src/format/paths.ts";
import { encodeEmptySst } from "../../src/format/sst_builder.ts";
import type { CheckpointRecord, Manifest } from "../../src/format/types.ts";
import { virtualClock } from "../../src/env/virtual_clock.ts";
import { removeExpired } from "../../src/state/checkpoint_edits.ts";
import { isTombstone } from "../../src/state/tombstone.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert } from "../support/suite.ts";
import { START_MILLIS, World } from "./fault_world.ts";

const FENCE_BYTES = encodeEmptySst().length;

/** What a database holds. */
export type Rows = ReadonlyMap<string, string>;

/** A world with databases at several roots. */
export class CloneWorld extends World {
  /** Opens the database at `root`. */
  at(root: string, options: OpenOptions = {}): Promise<Db> {
    return this.get(open({ store: this.store, path: root }, { ...this.options, ...options }), 100_000);
  }

  /** The place of the database at `root`. */
  place(root: string): { readonly store: ObjectStoreShape; readonly path: string } {
    return { store: this.store, path: root };
  }

  /** Options of calls from outside. */
  get calls(): CloneOptions {
    return { clock: this.clock };
  }

  /** Makes the database at `root` with tables and a log, closed or left open as a crash leaves it. */
  async fill(root: string, closes: boolean): Promise<Map<string, string>> {
    const db = await this.at(root);
    for (let i = 0; i < 9; i++) {
      await this.get(db.put(`k${i % 6}`, `${root} ${i}`));
      if (i % 4 === 3) await this.get(db.flush({ kind: "memtable" }));
    }
    await this.get(db.delete("k2"));
    if (closes) await this.get(db.close());
    return new Map([0, 1, 3, 4, 5].map((k) => [`k${k}`, `${root} ${k < 3 ? k + 6 : k}`]));
  }

  /** The newest stored manifest below `root`, read behind everybody's back. */
  manifestAt(root: string): Manifest | undefined {
    return newestAt(this.inner, root);
  }

  /** Paths below a root's folder. */
  below(root: string): string[] {
    return this.inner.objects().filter((path) => path.startsWith(`${root}/`));
  }
}

/** The newest manifest below `root` in a store. */
export function newestAt(store: MemoryStore, root: string): Manifest | undefined {
  const newest = store.objects().filter((path) => path.startsWith(`${root}/manifest/`)).at(-1);
  return newest === undefined ? undefined : decodeManifest(store.peek(newest)!).manifest;
}

/** Manifest version `id` below `root`. */
export function manifestIn(store: MemoryStore, root: string, id: number): Manifest {
  return decodeManifest(store.peek(manifestPath(root, id))!).manifest;
}

/** Checkpoints of the database at `root` that never end. */
export function endless(store: MemoryStore, root: string): CheckpointRecord[] {
  return newestAt(store, root)!.checkpoints.filter((one) => one.expireTimeSeconds === 0);
}

/** What the database at `root` holds, read in a copy of the store by a new writer. */
export async function rowsOf(store: MemoryStore, root: string): Promise<Map<string, string>> {
  return await rowsIn(store.clone(), root);
}

/** What the database at `root` holds, read by a new writer in the store itself. */
export async function rowsIn(store: ObjectStoreShape, root: string): Promise<Map<string, string>> {
  const clock = virtualClock(START_MILLIS + 100_000_000);
  const db = await open({ store, path: root }, { flushIntervalMillis: null, clock });
  const decoder = new TextDecoder();
  const rows = await db.scan().toArray();
  for (const { key, value } of rows) assert.deepEqual(await db.get(key), value);
  await db.close();
  return new Map(rows.map((row) => [decoder.decode(row.key), decoder.decode(row.value)]));
}

/** Removes what an eager and correct collector of the database at `root` would: all that nothing pins. */
export function collect(store: MemoryStore, root: string): void {
  const ids = store.objects().filter((path) => path.startsWith(`${root}/manifest/`)).map((path) =>
    parseNumberedName(path)!
  );
  const latest = newestAt(store, root)!;
  const kept = new Set([ids.at(-1)!, ...latest.checkpoints.map((one) => one.manifestId)]);
  const states = [...kept].map((id) => manifestIn(store, root, id));
  const tables = new Set(
    states.flatMap((one) => [...one.l0, ...one.compacted.flatMap((run) => run.ssts)]).map((view) => view.sstId),
  );
  const greatest = latest.replayAfterWalId;
  for (const path of store.objects().filter((path) => path.startsWith(`${root}/`))) {
    const [folder, name] = path.slice(root.length + 1).split("/") as [string, string];
    const id = parseNumberedName(path);
    if (folder === "manifest" && !kept.has(id!)) store.remove(path);
    if (folder === "compacted" && !tables.has(name.slice(0, 26))) store.remove(path);
    const pinned = states.some((one) => id! > one.replayAfterWalId && id! <= one.walIdLastSeen);
    if (folder === "wal" && id! < greatest && !pinned) store.remove(path);
  }
}

/** Commits a change of the newest manifest below `root`, as some process would. */
export function commit(store: MemoryStore, root: string, edit: (current: Manifest) => Manifest): void {
  const newest = store.objects().filter((path) => path.startsWith(`${root}/manifest/`)).at(-1)!;
  store.plant(manifestPath(root, parseNumberedName(newest)! + 1), encodeManifest(edit(newestAt(store, root)!)));
}

/** Takes the checkpoints away that have ended, as any collector does. */
export function dropExpired(store: MemoryStore, root: string, atMillis: number): void {
  commit(store, root, (current) => removeExpired(atMillis)(current, 0) ?? current);
}

/** Writes to a database what no other has. */
export async function diverge(store: ObjectStoreShape, root: string, rows: Map<string, string>): Promise<void> {
  const clock = virtualClock(START_MILLIS + 100_000_000);
  const db = await open({ store, path: root }, { flushIntervalMillis: null, clock });
  for (const key of ["k0", "k2", `own ${root}`]) {
    await db.put(key, `later in ${root}`);
    rows.set(key, `later in ${root}`);
  }
  await db.flush({ kind: "memtable" });
  await db.delete("k1");
  rows.delete("k1");
  await db.close();
}

/** What the deletion of the clone at `root` left besides the mark, the tombstone and the fence. */
export function leftAt(store: MemoryStore, root: string): string[] {
  const found = store.objects().filter((path) => path.startsWith(`${root}/`));
  const numbered = (path: string, name: typeof walPath) => path === name(root, parseNumberedName(path) ?? 0);
  const manifests = found.filter((path) => numbered(path, manifestPath)).slice(-2);
  const last = manifests.at(-1)!;
  assert.ok(
    isTombstone(parseNumberedName(last)!, decodeManifest(store.peek(last)!).manifest),
    `no tombstone at ${root}`,
  );
  const fences = found.filter((path) => numbered(path, walPath) && store.peek(path)!.length === FENCE_BYTES);
  assert.ok(fences.length > 0, "nothing stops an old writer");
  return found.filter((path) => !manifests.includes(path) && !fences.includes(path));
}

/** In the order of their keys. */
export function sorted(rows: Rows): Array<[string, string]> {
  return [...rows].sort(([a], [b]) => a < b ? -1 : 1);
}
