/**
 * Databases whose objects are old enough to collect, and what may lie among them.
 *
 * @module
 */
import { compactionsPath, manifestPath, tablePath, walPath } from "../../src/format/paths.ts";
import type { Manifest } from "../../src/format/types.ts";
import { ulidFromParts } from "../../src/format/ulid.ts";
import { WalSstBuilder } from "../../src/format/wal_sst.ts";
import type { GcPass } from "../../src/state/gc_pass.ts";
import { AGES, fill, type GcWorld, gcWorld } from "../tasks/gc_world.ts";

export const MIN_AGE = AGES.minAgeMillis;
export const plain = { compactor: false, garbageCollector: false } as const;
export const random = (n: number) => new Uint8Array(10).fill(n);
export const deleted = ({ report }: GcPass) => Object.values(report.deleted).flat().sort();

/** A checkpoint of version `manifestId`. */
export function pin(manifestId: number, expireTimeSeconds = 0): Manifest["checkpoints"][number] {
  return {
    id: `00000000-0000-4000-8000-${String(manifestId).padStart(12, "0")}`,
    manifestId,
    expireTimeSeconds,
    createTimeSeconds: 0,
    name: undefined,
    writerEpoch: undefined,
  };
}

/** A table object that nothing names, of that age by its id and by the store. */
export function plantTable(world: GcWorld, millis: number, n = 0): string {
  const path = tablePath("", ulidFromParts(millis, random(n)));
  world.inner.plant(path, new Uint8Array(100), { lastModifiedMillis: millis });
  return path;
}

/** A WAL object of one row, of `bytes` of value. */
export function oneRow(bytes: number): Uint8Array {
  const builder = new WalSstBuilder({
    blockSizeBytes: 4096,
    compression: 0,
    minFilterKeys: 1000,
    filterBitsPerKey: 10,
  });
  const value = new Uint8Array(Math.max(bytes, 1));
  builder.add(value, 0, 1, 1, 0, -Infinity, Infinity, value, 0, bytes);
  return builder.finish();
}

/** A fence that another engine wrote with a codec: larger than ours. */
export const fenceOfOthers: Uint8Array = Uint8Array.from(
  atob(
    "KLUv/SAYwQAADAAAAAAABgAIAAQABgAAAAQAAAAAAAAAAF/uzii1L/0gDGEAAAgAAAAEAAQABAAAAFw9DbwgAAAAAAAAABgAIAAAAAAACAAAAAAA" +
      "BwAAAAAAEAAYABgAAAAAAAAEJQAAAAAAAAAlAAAAAAAAABkAAAAAAAAAia2BjAAAAAAAAAA+AAI=",
  ),
  (character) => character.charCodeAt(0),
);

/** A database with tables and old versions, all older than the minimum age. */
export async function oldWorld(rounds = 3, sessions = 2): Promise<GcWorld> {
  const world = gcWorld();
  await fill(world, rounds, sessions);
  await world.wait(MIN_AGE + 1000);
  return world;
}

export function names(folder: string, ids: ReadonlyArray<number>): string[] {
  const named = { wal: walPath, manifest: manifestPath, compactions: compactionsPath }[folder]!;
  return ids.map((id) => named("", id));
}
