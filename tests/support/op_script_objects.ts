/**
 * What op-scripts do to a store behind the engine's back, and what they check there.
 *
 * Names are judged by expressions of our own, and what reaches what is followed here again from the decoded manifests,
 * so that a mistake of the collector's rules does not excuse itself.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Effect } from "effect";
import { open } from "../../mod.ts";
import { type VirtualClock, virtualClockContext } from "../../src/env/virtual_clock.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import type { Manifest } from "../../src/format/types.ts";
import { memoryStore } from "../../src/store/memory_store.ts";
import { listAll } from "../../src/store/list_all.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { fromHex } from "./bytes.ts";
import type { HexPair, Step } from "./op_script_values.ts";

/** Names that the format defines, below a database's root. */
const NAMES = {
  manifest: /^manifest\/(\d{20})\.manifest$/,
  compactions: /^compactions\/(\d{20})\.compactions$/,
  wal: /^wal\/(\d{20})\.sst$/,
  table: /^compacted\/([0-7][0-9A-HJKMNP-TV-Z]{25})\.sst$/,
} as const;

/** A store as a script sees it. */
export class ScriptObjects {
  readonly #store: ObjectStoreShape;
  readonly #root: string;
  readonly #clock: VirtualClock;
  readonly #compacting: boolean;
  /** Numbers of tables by the name that a script gave them. */
  readonly #remembered = new Map<string, number>();

  /** @param compacting a compactor is at work, so that there may be as few tables as can be at any time */
  constructor(store: ObjectStoreShape, root: string, clock: VirtualClock, compacting: boolean) {
    this.#store = store;
    this.#root = root;
    this.#clock = clock;
    this.#compacting = compacting;
  }

  /** Puts a foreign object into the table folder. */
  async plant(kind: string, entries: readonly HexPair[]): Promise<void> {
    if (kind === "tempObject") {
      await this.#run(this.#store.put(`${this.#root}/compacted/upload-7.sst.tmp`, new Uint8Array([1, 2, 3])));
      return;
    }
    assert.equal(kind, "orphanTable");
    // Another database writes the table, under an id of its own.
    const elsewhere = memoryStore();
    const db = await open({ store: elsewhere, path: "" }, {
      clock: this.#clock,
      compactor: false,
      garbageCollector: false,
    });
    for (const [key, value] of entries) await db.put(fromHex(key), fromHex(value), { durable: false });
    await db.flush({ kind: "memtable" });
    await db.close();
    const table = elsewhere.objects().find((name) => NAMES.table.test(name))!;
    await this.#run(this.#store.put(`${this.#root}/${table}`, elsewhere.peek(table)!));
  }

  /** Checks every field of a `storeCheck` step. */
  async check(step: Step): Promise<void> {
    const names = await this.#names();
    const tables = names.flatMap((name) => NAMES.table.exec(name)?.[1] ?? []);
    const { minTables, noTempObjects, allReferencedExist, unreferencedTables, remember, fewerTablesThan } = step;
    if (minTables !== undefined) assert.ok(tables.length >= Number(minTables), `${tables.length} tables`);
    if (noTempObjects === true) {
      const known = Object.values(NAMES);
      assert.deepEqual(names.filter((name) => !known.some((pattern) => pattern.test(name))), [], "foreign names");
    }
    const reached = await this.#reached(names);
    if (allReferencedExist === true) {
      assert.deepEqual([...reached].filter((name) => !names.includes(name)), [], "reached but not there");
    }
    if (unreferencedTables !== undefined) {
      const stray = tables.filter((id) => !reached.has(`compacted/${id}.sst`));
      assert.equal(stray.length, unreferencedTables, `tables that nothing reaches: ${stray.join(", ")}`);
    }
    if (fewerTablesThan !== undefined) {
      const before = this.#remembered.get(fewerTablesThan as string);
      assert.ok(before !== undefined, `nothing was remembered as ${fewerTablesThan as string}`);
      const isFewer = this.#compacting ? tables.length <= before : tables.length < before;
      assert.ok(isFewer, `${tables.length} tables, ${before} before`);
    }
    if (remember !== undefined) this.#remembered.set(remember as string, tables.length);
  }

  /** All names below the root, without it. */
  async #names(): Promise<string[]> {
    const names: string[] = [];
    const note = ({ path }: { readonly path: string }) => void names.push(path.slice(this.#root.length + 1));
    await this.#run(listAll(this.#store, `${this.#root}/`, undefined, note));
    return names;
  }

  /** Names of everything that the newest manifest reaches, directly or through its checkpoints. */
  async #reached(names: readonly string[]): Promise<Set<string>> {
    const versions = names.filter((name) => NAMES.manifest.test(name)).sort();
    const reached = new Set<string>();
    const newest = versions.at(-1);
    if (newest === undefined) return reached;
    const manifest = await this.#manifest(newest);
    addReach(reached, newest, manifest);
    for (const { manifestId } of manifest.checkpoints) {
      const name = `manifest/${numbered(manifestId)}.manifest`;
      reached.add(name);
      // One that is missing is found missing; what it reached nobody can tell.
      if (versions.includes(name)) addReach(reached, name, await this.#manifest(name));
    }
    return reached;
  }

  async #manifest(name: string): Promise<Manifest> {
    return decodeManifest(await this.#run(this.#store.get(`${this.#root}/${name}`))).manifest;
  }

  /** Runs a request at the script's time. */
  #run<A, E>(effect: Effect.Effect<A, E>): Promise<A> {
    return Effect.runPromise(Effect.provideContext(effect, virtualClockContext(this.#clock)));
  }
}

function addReach(reached: Set<string>, name: string, manifest: Manifest): void {
  reached.add(name);
  for (const { sstId } of [...manifest.l0, ...manifest.compacted.flatMap(({ ssts }) => ssts)]) {
    reached.add(`compacted/${sstId}.sst`);
  }
  for (let id = manifest.replayAfterWalId + 1; id <= manifest.walIdLastSeen; id++) {
    reached.add(`wal/${numbered(id)}.sst`);
  }
}

function numbered(id: number): string {
  return String(id).padStart(20, "0");
}
