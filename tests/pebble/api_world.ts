/**
 * A database behind the public API for the files that work through it.
 *
 * Upstream's appender is concatenation. Nothing here waits for durability: the files are about what is read.
 *
 * @module
 */
import { open } from "../../mod.ts";
import type { Db } from "../../src/db/api.ts";
import { memoryStore } from "../../src/store/memory_store.ts";

const NOT_DURABLE = { durable: false };

function append(_key: Uint8Array, existing: Uint8Array | undefined, operand: Uint8Array): Uint8Array {
  return Uint8Array.of(...existing ?? [], ...operand);
}

/** Opens an empty database that concatenates merges. */
export function openEmpty(): Promise<Db> {
  return open({ store: memoryStore(), path: "" }, {
    compactor: false,
    garbageCollector: false,
    mergeOperator: append,
    blockSizeBytes: 1024,
    blockCacheBytes: 0,
  });
}

/** What batches are written to: a database or a transaction. */
export interface Writes {
  readonly put: (key: string, value: string) => Promise<unknown>;
  readonly delete: (key: string) => Promise<unknown>;
  readonly merge: (key: string, operand: string) => Promise<unknown>;
  readonly deleteRange: (range: { readonly gte: string; readonly lt: string }) => Promise<unknown>;
}

/** Writes of a database that do not wait for the store. */
export function writesOf(db: Db): Writes {
  return {
    put: (key, value) => db.put(key, value, NOT_DURABLE),
    delete: (key) => db.delete(key, NOT_DURABLE),
    merge: (key, operand) => db.merge(key, operand, NOT_DURABLE),
    deleteRange: (range) => db.deleteRange(range, NOT_DURABLE),
  };
}

/** Executes `set k v`, `del k`, `merge k v` or `del-range a b`. */
export async function write(to: Writes, line: string): Promise<void> {
  const [name, first, second] = line.split(" ");
  if (name === "set") await to.put(first!, second!);
  else if (name === "del") await to.delete(first!);
  else if (name === "merge") await to.merge(first!, second!);
  else if (name === "del-range") await to.deleteRange({ gte: first!, lt: second! });
  else throw new Error(`no write: ${line}`);
}
