/**
 * Databases of known tables, and the requests that reading them takes.
 *
 * @module
 */
import { Effect } from "effect";
import { open, WriteBatch } from "../../mod.ts";
import type { Db, Reads } from "../../src/db/api.ts";
import type { OpenOptions } from "../../src/db/options.ts";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { ObjectStoreShape } from "../../src/store/object_store.ts";
import { assert } from "../support/suite.ts";

export const QUIET: OpenOptions = { compactor: false, garbageCollector: false, flushIntervalMillis: null };
export const ROWS = 4_000;
export const key = (n: number): string => `key ${String(n).padStart(6, "0")}`;
export const text = (bytes: Uint8Array | undefined): string | undefined => bytes && new TextDecoder().decode(bytes);

/** Fills a store with `tables` L0 tables of {@linkcode ROWS} rows each, about 500 kB, later ones overwriting a part. */
export async function filled(tables = 1): Promise<MemoryStore> {
  const store = memoryStore();
  const db = await open({ store, path: "db" }, QUIET);
  for (let t = 0; t < tables; t++) {
    const batch = new WriteBatch();
    for (let n = t; n < ROWS; n++) batch.put(key(n), `${t} of ${n} `.padEnd(100, "."));
    await db.write(batch);
    await db.flush({ kind: "memtable" });
  }
  await db.close();
  return store;
}

/** Reads rows here and there, and checks them. */
export async function readSome(db: Reads, tables = 1): Promise<void> {
  for (let n = 100; n < ROWS; n += 371) {
    assert.match(text(await db.get(key(n)))!, new RegExp(`^${tables - 1} of ${n} `));
  }
  assert.equal(await db.get("nothing"), undefined);
}

/** Requests for parts of tables. */
export function tableReads(store: ObjectStoreShape): { readonly store: ObjectStoreShape; readonly ranges: string[] } {
  const ranges: string[] = [];
  const counting: ObjectStoreShape = {
    ...store,
    getRange: (path, range) =>
      Effect.suspend(() => {
        if (path.includes("/compacted/")) ranges.push(`${path} ${range.offset}+${range.length}`);
        return store.getRange(path, range);
      }),
  };
  return { store: counting, ranges };
}

export function metric(db: Db, name: string): number | undefined {
  return db.metrics().find((one) => one.name === `slatedb.object_store_cache.${name}`)?.value;
}

/** Waits until `happened`, for at most five seconds. */
export async function eventually(happened: () => boolean, what: string): Promise<void> {
  for (let i = 0; !happened(); i++) {
    assert.ok(i < 1000, `never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
