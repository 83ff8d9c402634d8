/**
 * What tests of the gate have in common: a store that is judged after each request that changes it, and what of range
 * tombstones its objects hold.
 *
 * @module
 */
import { Effect } from "effect";
import { WriteBatch } from "../../mod.ts";
import type { Db, WriteResult } from "../../src/db/api.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import { parseNumberedName } from "../../src/format/paths.ts";
import { type Manifest, RANGE_FORMAT } from "../../src/format/types.ts";
import { WalRows } from "../../src/format/wal_sst.ts";
import { isGated, namesRanges } from "../../src/state/range_gate.ts";
import type { MemoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";

/** A range delete whose durability nobody waits for. */
export function deleteLater(db: Db, gte: string, lt: string): Promise<WriteResult> {
  return db.write(new WriteBatch().deleteRange({ gte, lt }), { durable: false });
}

/** A durable range delete. */
export function deleteNow(db: Db, gte: string, lt: string): Promise<WriteResult> {
  return db.write(new WriteBatch().deleteRange({ gte, lt }));
}

function under(store: MemoryStore, folder: string): string[] {
  return store.objects().filter((path) => `/${path}`.includes(`/${folder}/`));
}

/** A stored manifest version. */
export interface Version {
  readonly id: number;
  readonly manifest: Manifest;
}

/** The stored manifest versions, oldest first. */
export function versions(store: MemoryStore): Version[] {
  return under(store, "manifest").filter((path) => path.endsWith(".manifest"))
    .map((path) => ({ id: parseNumberedName(path)!, manifest: decodeManifest(store.peek(path)!).manifest }));
}

/** Whether each stored manifest version is gated, oldest first: "g" and ".". */
export function gates(store: MemoryStore): string {
  return versions(store).map(({ manifest }) => isGated(manifest) ? "g" : ".").join("");
}

/** Ids of the log objects that hold range tombstones. */
export function rangeWal(store: MemoryStore): number[] {
  return under(store, "wal").filter((path) => new WalRows(store.peek(path)!).version === RANGE_FORMAT)
    .map((path) => parseNumberedName(path)!);
}

/** What breaks the promise of the gate in this state of a store; undefined when nothing does. */
export function breach(store: MemoryStore): string | undefined {
  return breachIn(versions(store), rangeWal(store));
}

/** @param log ids of the log objects that hold range tombstones */
function breachIn(all: ReadonlyArray<Version>, log: ReadonlyArray<number>): string | undefined {
  const newest = all.at(-1);
  for (const { id, manifest } of all) {
    if (isGated(manifest)) continue;
    if (namesRanges(manifest)) return `manifest ${id} names range tombstones without the gate`;
    const last = id === newest!.id ? Infinity : manifest.walIdLastSeen;
    const found = log.find((wal) => wal > manifest.replayAfterWalId && wal <= last);
    if (found !== undefined) return `log object ${found} belongs to manifest ${id}, which has no gate`;
  }
  return undefined;
}

/**
 * Judges stores after each request that may have changed them, of one database: the one with its manifests and its log,
 * or one for each. Looks only at what a request names, so that nobody else may change them.
 */
export class GateJudge {
  /** What was found. */
  readonly breaches: string[] = [];
  readonly #versions = new Map<number, Manifest>();
  readonly #log = new Set<number>();

  /** Whether a gated manifest was among what was stored. */
  sawGate = false;

  /** The store behind the judge, which must be empty now. */
  over(store: MemoryStore): ObjectStoreShape {
    const watch = <A, E>(paths: ReadonlyArray<string>, effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.tap(effect, () =>
        Effect.sync(() => {
          for (const path of paths) this.#look(path, store.peek(path));
        }));
    const { provider, get, getRange, getRanges, head, list, upload, deleteMany } = store;
    return {
      ...{ provider, get, getRange, getRanges, head, list, upload },
      put: (path, body) => watch([path], store.put(path, body)),
      putIfAbsent: (path, body, identity) => watch([path], store.putIfAbsent(path, body, identity)),
      delete: (path) => watch([path], store.delete(path)),
      deleteMany: deleteMany && ((paths) => watch(paths, deleteMany(paths))),
      copy: (source, target) => watch([target], store.copy(source, target)),
    };
  }

  #look(path: string, body: Uint8Array | undefined): void {
    const id = parseNumberedName(path);
    if (id === undefined) return;
    if (path.endsWith(".manifest")) {
      if (body === undefined) this.#versions.delete(id);
      else this.#versions.set(id, decodeManifest(body).manifest);
      this.sawGate ||= body !== undefined && isGated(this.#versions.get(id)!);
    } else if (`/${path}`.includes("/wal/")) {
      if (body !== undefined && new WalRows(body).version === RANGE_FORMAT) this.#log.add(id);
      else this.#log.delete(id);
    } else return;
    const all = [...this.#versions].map(([id, manifest]) => ({ id, manifest })).sort((a, b) => a.id - b.id);
    const found = all.length === 0 ? undefined : breachIn(all, [...this.#log]);
    if (found !== undefined) this.breaches.push(`${path}: ${found}`);
  }
}

/**
 * A store that is judged after each request that may have changed it.
 *
 * @param breaches what was found
 * @param onWayBack called when a manifest without the gate is about to follow one with it
 */
export function judged(
  store: MemoryStore,
  breaches: string[],
  onWayBack: () => void = () => {},
): ObjectStoreShape {
  const look = (path: string, body: Uint8Array): void => {
    if (!path.endsWith(".manifest") || !gates(store).endsWith("g")) return;
    if (!isGated(decodeManifest(body).manifest)) onWayBack();
  };
  const watch = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.tap(effect, () =>
      Effect.sync(() => {
        const found = breach(store);
        if (found !== undefined) breaches.push(found);
      }));
  return {
    provider: store.provider,
    get: (path) => store.get(path),
    getRange: (path, range, hint) => store.getRange(path, range, hint),
    getRanges: (path, ranges) => store.getRanges(path, ranges),
    head: (path) => store.head(path),
    put: (path, body) => watch(store.put(path, body)),
    putIfAbsent: (path, body, identity) =>
      Effect.suspend(() => {
        look(path, body);
        return watch(store.putIfAbsent(path, body, identity));
      }),
    list: (prefix, startAfter) => store.list(prefix, startAfter),
    delete: (path) => watch(store.delete(path)),
    deleteMany: store.deleteMany && ((paths) => watch(store.deleteMany!(paths))),
    copy: (source, target) => watch(store.copy(source, target)),
    upload: (path) => store.upload(path),
  };
}
