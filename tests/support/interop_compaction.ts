/**
 * What tests of compaction by both engines share: when a compactor is at rest, what the journal holds, which objects a
 * database reaches.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { deleteCheckpoint, listCheckpoints } from "../../mod.ts";
import type { GcReport } from "../../src/db/admin_api.ts";
import { collectGarbage } from "../../src/db/collect.ts";
import { decodeCompactions } from "../../src/format/compactions_codec.ts";
import { decodeManifest } from "../../src/format/manifest_codec.ts";
import type { Compactions, Manifest } from "../../src/format/types.ts";
import { reachesWal, reachOf } from "../../src/state/reachable.ts";
import { fileStore } from "../../src/store/file_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { newestManifest, type OursWriter } from "./interop_ours.ts";
import { assert } from "./suite.ts";

/** Longest that anything is waited for, ms. */
const PATIENCE_MILLIS = 15_000;
const LOOK_MILLIS = 20;

/** Waits until `isSo` has answered true `times` times in a row. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, times = 1): Promise<void> {
  const end = Date.now() + PATIENCE_MILLIS;
  for (let inARow = 0; inARow < times;) {
    inARow = await isSo() ? inARow + 1 : 0;
    if (inARow === times) return;
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await sleep(LOOK_MILLIS);
  }
}

/** Runs work side by side, at most `max` at once: most of it waits for compactors to look. */
export class Lanes {
  readonly #max: number;
  readonly #busy: Set<Promise<void>> = new Set();
  #failures: unknown[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  /** Waits for a free lane and starts `work` there. @throws what earlier work failed with */
  async start(work: () => Promise<void>): Promise<void> {
    while (this.#busy.size >= this.#max) await Promise.race(this.#busy);
    if (this.#failures.length > 0) await this.done();
    const lane = work().catch((error) => void this.#failures.push(error)).finally(() => this.#busy.delete(lane));
    this.#busy.add(lane);
  }

  /** Waits for all of it. @throws what the first failed with */
  async done(): Promise<void> {
    await Promise.all(this.#busy);
    if (this.#failures.length > 0) throw this.#failures[0];
  }
}

/** Numbers of the stored versions, ascending. */
export function versionsOf(folder: string, kind: "manifest" | "compactions"): number[] {
  const at = join(folder, kind);
  if (!existsSync(at)) return [];
  return readdirSync(at).filter((name) => name.endsWith(`.${kind}`)).map((name) => Number.parseInt(name))
    .sort((a, b) => a - b);
}

function bytesOfVersion(folder: string, kind: "manifest" | "compactions", id: number): Uint8Array {
  return new Uint8Array(readFileSync(join(folder, kind, `${String(id).padStart(20, "0")}.${kind}`)));
}

/** A stored version of the compactions object. */
export function compactionsVersion(folder: string, id: number): Compactions {
  return decodeCompactions(bytesOfVersion(folder, "compactions", id));
}

/** The newest version of the compactions object, if there is one. */
export function newestCompactions(folder: string): Compactions | undefined {
  const id = versionsOf(folder, "compactions").at(-1);
  return id === undefined ? undefined : compactionsVersion(folder, id);
}

/** The entries of the compactions object that have not ended. */
export function activeEntries(compactions: Compactions | undefined): Compactions["recentCompactions"] {
  return (compactions?.recentCompactions ?? []).filter(({ status }) => status === "submitted" || status === "running");
}

/** Fails when an active entry carries outputs: the official compactor would go on from them as if it had made them. */
export function assertNoActiveOutputs(folder: string, after: number): void {
  for (const id of versionsOf(folder, "compactions").filter((one) => one > after)) {
    for (const entry of activeEntries(compactionsVersion(folder, id))) {
      assert.deepEqual(entry.outputSsts, [], `version ${id}: the active entry ${entry.id} carries outputs`);
    }
  }
}

/** Waits until the official compactor, set to `sources` L0 tables, has nothing left to do with them. */
export function officialAtRest(folder: string, sources: number): Promise<void> {
  return until(
    "the official compactor at rest",
    () => newestManifest(folder).l0.length < sources && activeEntries(newestCompactions(folder)).length === 0,
    3,
  );
}

/** Waits until our embedded compactor, set to `sources` L0 tables, has nothing left to do. */
export function oursAtRest({ db }: OursWriter, sources: number): Promise<void> {
  return until("our compactor at rest", () => {
    const { compactor, l0Count, warnings } = db.status;
    assert.ok(compactor !== "superseded" && compactor !== "failing", `our compactor is ${compactor}: ${warnings}`);
    return compactor === "idle" && l0Count < sources;
  }, 3);
}

/** Fails unless every object that the newest manifest or one that a checkpoint pins reaches is stored. */
export function assertAllReachableStored(folder: string, what: string): void {
  const newest = newestManifest(folder);
  const stored = new Set(readdirSync(join(folder, "compacted")));
  const wal = new Set(readdirSync(join(folder, "wal")).map((name) => Number.parseInt(name)));
  const check = (manifest: Manifest, name: string) => {
    const reach = reachOf(manifest);
    for (const table of reach.tables) {
      assert.ok(stored.has(`${table}.sst`), `${what}: table ${table} of ${name} is gone`);
    }
    for (let id = reach.replayAfterWalId + 1; reachesWal(reach, id); id++) {
      assert.ok(wal.has(id), `${what}: WAL object ${id} of ${name} is gone`);
    }
  };
  check(newest, "the newest manifest");
  for (const { manifestId } of newest.checkpoints) {
    check(decodeManifest(bytesOfVersion(folder, "manifest", manifestId)).manifest, `the pinned manifest ${manifestId}`);
  }
}

/**
 * Removes checkpoints but those of `keep`: compactors make them to protect readers for 15 minutes, and collectors would
 * find nothing.
 */
export async function dropCheckpoints(folder: string, keep: ReadonlySet<string> = new Set()): Promise<void> {
  const place = locationOf(folder);
  for (const { id } of await listCheckpoints(place)) if (!keep.has(id)) await deleteCheckpoint(place, id);
}

/** Removes only the checkpoints of compactions, known by their 15 minutes; answers how many. */
export async function dropCompactorCheckpoints(folder: string): Promise<number> {
  const place = locationOf(folder);
  const theirs = (await listCheckpoints(place)).filter(({ createdAt, expiresAt = Infinity }) => {
    const lifetime = expiresAt - createdAt;
    return lifetime >= 899_000 && lifetime <= 901_000;
  });
  for (const { id } of theirs) await deleteCheckpoint(place, id);
  return theirs.length;
}

/** Our collector, once, whatever the age. Nothing else may have the database open. */
export function collectAll(folder: string): Promise<GcReport> {
  return collectGarbage(locationOf(folder), { minAgeMillis: 0, allowUnsafeAge: true });
}

/** A folder as a location of our engine, in the form that both engines use. */
export function locationOf(folder: string): { readonly store: ObjectStoreShape; readonly path: string } {
  return { store: fileStore(dirname(folder)), path: basename(folder) };
}
