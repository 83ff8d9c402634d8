/**
 * What the tests of past compactor faults have in common: small tables, the journal, and whether anything is lost.
 *
 * @module
 */
import { WriteBatch } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { decodeCompactions, encodeCompactions } from "../../src/format/compactions_codec.ts";
import { compactionsPath, parseNumberedName, parseTableName } from "../../src/format/paths.ts";
import type { CompactionRecord } from "../../src/format/types.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import type { World } from "../db/fault_world.ts";
import { assert } from "../support/suite.ts";

/** A writer that flushes when told, neither compacts nor collects, and makes small blocks. */
export const QUIET: OpenOptions = {
  flushIntervalMillis: null,
  blockSizeBytes: 1024,
  compactor: false,
  garbageCollector: false,
};

/** Ten minutes: longer than any of the waits below should take, ms of virtual time. */
export const LONG = 600_000;

/** Writes one L0 table: `count` keys whose values begin with `tag` and are `padding` longer. */
export async function table(world: World, db: Db, count: number, tag: string, padding = 20): Promise<void> {
  const batch = new WriteBatch();
  for (let i = 0; i < count; i++) batch.put(`k${String(i).padStart(4, "0")}`, `${tag} ${"x".repeat(padding)}`);
  await world.get(Promise.all([db.write(batch, { durable: false }), db.flush({ kind: "memtable" })]), LONG);
}

/** Writes so many L0 tables of the same keys. */
export async function tables(world: World, db: Db, times: number, count = 20, padding = 20): Promise<void> {
  for (let i = 0; i < times; i++) await table(world, db, count, `${i}`, padding);
}

/** Entries of the newest compactions object. */
export function journal(world: World): ReadonlyArray<CompactionRecord> {
  const newest = world.paths("compactions").at(-1);
  return newest === undefined ? [] : decodeCompactions(world.inner.peek(newest)!).recentCompactions;
}

/** How the entries of the journal stand. */
export const statuses = (world: World): string[] => journal(world).map(({ status }) => status);

/** Somebody else submits a compaction: an entry in a new version of the journal. */
export function submit(
  world: World,
  madeAtMillis: number,
  sources: Partial<Pick<CompactionRecord, "l0ViewIds" | "sortedRuns">>,
): void {
  const newest = world.paths("compactions").at(-1);
  const id = newest === undefined ? 0 : parseNumberedName(newest)!;
  const old = newest === undefined
    ? { compactorEpoch: world.manifest.compactorEpoch, recentCompactions: [] }
    : decodeCompactions(world.inner.peek(newest)!);
  const entry: CompactionRecord = {
    id: ulidFromParts(madeAtMillis, new Uint8Array(10)),
    l0ViewIds: [],
    sortedRuns: [],
    status: "submitted",
    outputSsts: [],
    ...sources,
  };
  const recentCompactions = [...old.recentCompactions, entry];
  world.inner.plant(compactionsPath("", id + 1), encodeCompactions({ ...old, recentCompactions }));
}

/** Fails when the newest manifest names a table that is not stored. */
export function assertAllStored(world: World): void {
  const { l0, compacted } = world.manifest;
  const named = [...l0, ...compacted.flatMap(({ ssts }) => ssts)].map(({ sstId }) => sstId);
  const stored = new Set(world.paths("compacted").map(parseTableName));
  assert.deepEqual(named.filter((id) => !stored.has(id)), [], `of ${named.length} tables named`);
}

/** Damages an object in the store from byte `from` to byte `to`. */
export function damage(world: World, path: string, from: number, to: number): void {
  const bytes = world.inner.peek(path)!.slice();
  for (let i = from; i < to; i++) bytes[i]! ^= 0xff;
  world.inner.plant(path, bytes);
}
