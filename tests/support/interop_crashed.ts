/**
 * Databases that a crash of ours left in memory, as files for the official engine, and what an engine finds in them.
 *
 * @module
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type MemoryStore, memoryStore } from "../../src/store/memory_store.ts";
import type { State } from "./crash_script.ts";
import type { Writer } from "./interop_official.ts";
import { assert } from "./suite.ts";

/** Everything that a writer's scan shows; its gets must agree. */
export async function stateOf(writer: Writer): Promise<State> {
  const text = (hex: string) => Buffer.from(hex, "hex").toString();
  const state = new Map<string, string>();
  for (const { key, value } of await writer.rows()) {
    state.set(text(key), text(value));
    assert.equal((await writer.get(Buffer.from(key, "hex")))?.value, value, `get and scan disagree about ${text(key)}`);
  }
  return state;
}

/** Writes every object to files. */
export function writeOut(store: MemoryStore, root: string): void {
  for (const path of store.objects()) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), store.peek(path)!);
  }
}

/** The objects of the database in `folder`, below the path `db` of a store in memory. */
export function readIn(folder: string): MemoryStore {
  const store = memoryStore();
  for (const kind of readdirSync(folder)) {
    for (const name of readdirSync(join(folder, kind))) {
      store.plant(`db/${kind}/${name}`, new Uint8Array(readFileSync(join(folder, kind, name))));
    }
  }
  return store;
}
