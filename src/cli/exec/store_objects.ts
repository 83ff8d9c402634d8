/**
 * What scripts do to a store behind the engine's back, and what they check there.
 *
 * Names are judged by expressions of its own, and what reaches what is followed here again from the decoded manifests,
 * so that a mistake of the collector's rules does not excuse itself.
 *
 * @module
 */
import type { Effect } from "effect";
import { open } from "../../db/promise_open.ts";
import type { Runtime } from "../../db/runtime.ts";
import { decodeManifest } from "../../format/manifest_codec.ts";
import type { Manifest } from "../../format/types.ts";
import type { VirtualClock } from "../../env/virtual_clock.ts";
import { listAll } from "../../store/list_all.ts";
import { memoryStore } from "../../store/memory_store.ts";
import type { ObjectStoreShape } from "../../store/object_store.ts";
import { CheckFailed } from "./answers.ts";
import { bytesOf, type Json, pairsOf, type Step } from "./step_values.ts";

/** Names that the format defines, below a database's root. */
const NAMES = {
  manifest: /^manifest\/(\d{20})\.manifest$/,
  compactions: /^compactions\/(\d{20})\.compactions$/,
  wal: /^wal\/(\d{20})\.sst$/,
  table: /^compacted\/([0-7][0-9A-HJKMNP-TV-Z]{25})\.sst$/,
} as const;

/** Names that a script may remember. */
const REMEMBERED_MAX = 10_000;

/** Where the objects are. */
export interface ObjectsPlace {
  readonly store: ObjectStoreShape;
  /** The store of the log, where it is another one. */
  readonly walStore?: ObjectStoreShape | undefined;
  /** Root of the database in the store. */
  readonly root: string;
  readonly runtime: Runtime;
  readonly clock?: VirtualClock | undefined;
  /** A compactor is at work beside the script, so that there may be as few tables as can be at any time. */
  readonly isCompacting: boolean;
}

/** A store as a script sees it. */
export class StoreObjects {
  readonly #place: ObjectsPlace;
  readonly #prefix: string;
  /** Numbers of tables by the name that a script gave them. */
  readonly #remembered = new Map<string, number>();

  constructor(place: ObjectsPlace) {
    this.#place = place;
    this.#prefix = place.root === "" ? "" : `${place.root}/`;
  }

  /** Puts a foreign object into the table folder. */
  async plant(step: Step): Promise<void> {
    const { store, clock } = this.#place;
    if (step["kind"] === "tempObject") {
      await this.#run(store.put(`${this.#prefix}compacted/upload-7.sst.tmp`, new Uint8Array([1, 2, 3])));
      return;
    }
    // Another database writes the table, under an id of its own.
    const elsewhere = memoryStore();
    const db = await open({ store: elsewhere, path: "" }, {
      ...(clock === undefined ? {} : { clock }),
      flushIntervalMillis: null,
      compactor: false,
      garbageCollector: false,
    });
    for (const [key, value] of pairsOf(step["entries"] ?? [])) {
      await db.put(bytesOf(key), bytesOf(value), { durable: false });
    }
    await db.flush({ kind: "memtable" });
    await db.close();
    for (const name of elsewhere.objects()) {
      if (NAMES.table.test(name)) await this.#run(store.put(this.#prefix + name, elsewhere.peek(name)!));
    }
  }

  /** Checks every field of a `storeCheck` step. @throws CheckFailed */
  async check(step: Step): Promise<void> {
    const names = await this.#names();
    const tables = [...names].flatMap((name) => NAMES.table.exec(name)?.[1] ?? []);
    const { minTables, noTempObjects, allReferencedExist, unreferencedTables, remember, fewerTablesThan } = step;
    demand(
      minTables === undefined || tables.length >= Number(minTables),
      () => `${tables.length} tables, at least ${minTables} wanted`,
    );
    if (noTempObjects === true) {
      const known = Object.values(NAMES);
      const foreign = [...names].filter((name) => !known.some((pattern) => pattern.test(name)));
      demand(foreign.length === 0, () => `foreign names: ${listed(foreign)}`);
    }
    const reached = await this.#reached(names);
    if (allReferencedExist === true) {
      const missing = [...reached].filter((name) => !names.has(name));
      demand(missing.length === 0, () => `reached but not there: ${listed(missing)}`);
    }
    if (unreferencedTables !== undefined) {
      const stray = tables.filter((id) => !reached.has(`compacted/${id}.sst`));
      demand(
        stray.length === unreferencedTables,
        () => `${stray.length} tables that nothing reaches, ${unreferencedTables} wanted: ${listed(stray)}`,
      );
    }
    if (fewerTablesThan !== undefined) this.#compare(fewerTablesThan as string, tables.length);
    if (remember !== undefined) this.#remember(remember, tables.length);
  }

  #compare(name: string, tables: number): void {
    const before = this.#remembered.get(name);
    if (before === undefined) throw new CheckFailed(`nothing was remembered as ${name}`);
    const isFewer = this.#place.isCompacting ? tables <= before : tables < before;
    demand(isFewer, () => `${tables} tables, not fewer than the ${before} remembered as ${name}`);
  }

  #remember(name: Json, tables: number): void {
    const isFull = this.#remembered.size >= REMEMBERED_MAX && !this.#remembered.has(name as string);
    demand(!isFull, () => `no more than ${REMEMBERED_MAX} names can be remembered`);
    this.#remembered.set(name as string, tables);
  }

  /** All names below the root, without it; those of the log as if it were there. */
  async #names(): Promise<Set<string>> {
    const { store, walStore } = this.#place;
    const names = new Set<string>();
    const note = (prefix: string) => ({ path }: { readonly path: string }) => void names.add(path.slice(prefix.length));
    await this.#run(listAll(store, this.#prefix, undefined, note(this.#prefix)));
    if (walStore !== undefined) await this.#run(listAll(walStore, "", undefined, note("")));
    return names;
  }

  /** Names of everything that the newest manifest reaches, directly or through its checkpoints. */
  async #reached(names: ReadonlySet<string>): Promise<Set<string>> {
    const reached = new Set<string>();
    const newest = [...names].filter((name) => NAMES.manifest.test(name)).sort().at(-1);
    if (newest === undefined) return reached;
    const manifest = await this.#manifest(newest);
    addReach(reached, newest, manifest);
    for (const { manifestId } of manifest.checkpoints) {
      const name = `manifest/${numbered(manifestId)}.manifest`;
      if (reached.has(name)) continue;
      reached.add(name);
      // One that is missing is found missing; what it reached nobody can tell.
      if (names.has(name)) addReach(reached, name, await this.#manifest(name));
    }
    return reached;
  }

  async #manifest(name: string): Promise<Manifest> {
    return decodeManifest(await this.#run(this.#place.store.get(this.#prefix + name))).manifest;
  }

  #run<A, E>(effect: Effect.Effect<A, E>): Promise<A> {
    return this.#place.runtime.promise(effect);
  }
}

function addReach(reached: Set<string>, name: string, manifest: Manifest): void {
  reached.add(name);
  // A clone's tables may still lie in its parent.
  const elsewhere = new Set(manifest.externalDbs.flatMap(({ sstIds }) => sstIds));
  for (const { sstId } of [...manifest.l0, ...manifest.compacted.flatMap(({ ssts }) => ssts)]) {
    if (!elsewhere.has(sstId)) reached.add(`compacted/${sstId}.sst`);
  }
  for (let id = manifest.replayAfterWalId + 1; id <= manifest.walIdLastSeen; id++) {
    reached.add(`wal/${numbered(id)}.sst`);
  }
}

function demand(holds: boolean, what: () => string): void {
  if (!holds) throw new CheckFailed(what());
}

/** Names for a message. */
function listed(names: readonly string[]): string {
  return names.length <= 5 ? names.join(", ") : `${names.slice(0, 5).join(", ")} and ${names.length - 5} more`;
}

function numbered(id: number): string {
  return String(id).padStart(20, "0");
}
